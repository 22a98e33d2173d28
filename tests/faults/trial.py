"""A zone under a fault: run the command, stop it at a transition, and see how the zone ends.

The journal is only watched, and from outside: it says at which point the command is.
"""

import contextlib
import json
import os
import re
import signal
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.e2e.conftest import NEW, OLD, of_release, wait_whole
from tests.e2e.lab import FOLLOWER, LEADER, Lab
from tests.e2e.running import Outcome, Running, run, wait_until
from tests.e2e.traffic import Traffic
from tests.faults.diverged import diverged, heal_diverged
from tests.faults.faults import LeadersSeen

OK, FAILED, PENDING, REFUSED, UNAVAILABLE, DEADLINE = 0, 1, 3, 4, 69, 75
#: So often a rollout is repeated that nothing is wrong with.
MOST_RUNS = 5
#: A server that died is back and level after so long.
PAUSE_S = 4.0
#: How often the journal is looked at.
LOOK_S = 0.004
#: Records that a follower under writes may be behind and be at rest.
NEARLY_LEVEL = 30


@dataclass(frozen=True)
class Transition:
    """An entry of the journal: what began or ended."""

    event: str
    step: str


class Command(Running):
    """A command that changes the zone, stopped where its journal says it is."""

    def __init__(
        self,
        lab: Lab,
        *words: str,
        config: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> None:
        self._journal = lab.folder / "state" / "journal"
        self._began = time.time()
        super().__init__(lab.command(*words, config=config), env=env)

    def transitions(self) -> list[Transition]:
        """What this run has written so far, in order."""
        found = []
        for path in self._paths():
            entry = json.loads(path.read_bytes())
            found.append((entry["at"], entry["number"], entry["event"], entry["step"]))
        return [Transition(event, step) for at, _, event, step in sorted(found) if at > self._began]

    def _paths(self) -> Iterator[Path]:
        """Of entries in runs that began no earlier than this one; runs are named by the second."""
        first = datetime.fromtimestamp(self._began, UTC).strftime("%Y%m%dT%H%M%S")
        for run_folder in self._journal.glob("*-*"):
            if run_folder.name >= first:
                yield from run_folder.glob("*.json")

    def reached(self, event: str, step: str, *, timeout_s: float = 300) -> Transition | None:
        """Wait until such a transition of the step whose id begins so is written.

        :returns: ``None`` if the run ends before.
        :raises AssertionError: if it does not come in time.
        """
        until = time.monotonic() + timeout_s
        while True:
            ended = self.process.poll() is not None
            for one in self.transitions():
                if one.event == event and one.step.startswith(step):
                    return one
            if ended:
                return None
            assert time.monotonic() < until, f"{event} {step} did not come within {timeout_s:g} s"
            time.sleep(LOOK_S)

    @contextlib.contextmanager
    def frozen_at(self, event: str, step: str) -> Iterator[None]:
        """Freeze the run at a transition of the step whose id begins so, for as long as that."""
        found = self.reached(event, step)
        assert found is not None, f"ended before {event} {step}:\n{''.join(self._err)}"
        with self.frozen():
            yield

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the run here and now."""
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@dataclass
class Trial:
    """One zone, whose faults come and go.

    :param generation: the one that the zone runs on while it is at rest.
    """

    lab: Lab
    generation: str = ""

    @property
    def target(self) -> str:
        """The generation that the next roll leads to."""
        return "b" if self.generation == "a" else "a"

    def old(self, number: int) -> str:
        """Address of a node of the generation that a roll replaces, counted from 1."""
        return self.lab.addresses(self.generation)[number - 1]

    def new(self, number: int) -> str:
        """Address of a node of the generation that a roll brings, counted from 1."""
        return self.lab.addresses(self.target)[number - 1]

    def node(self, number: int) -> str:
        """Name of a new node, counted from 1."""
        return f"{self.lab.name}-{self.target}{number}"

    def leader(self) -> str:
        """Address of the leader, once there is exactly one."""
        return wait_until("one leader", self.lab.leader, timeout_s=60, interval_s=0.3)

    def follower(self) -> str:
        """Address of an old follower."""
        leader = self.leader()
        return next(a for a in self.lab.addresses(self.generation) if a != leader)

    def retiring(self, command: "Command") -> str:
        """Address of the server that the step under way takes out."""
        step = command.transitions()[-1].step
        number = int(step.rpartition("-")[2].lstrip("ab"))
        return self.old(number)

    def server_id(self, address: str) -> int:
        """Id that the zone has for the server at an address."""
        zone = ET.fromstring(self.lab.call(self.lab.vip, "one.zone.info", 0, False))
        ids = {s.findtext("ENDPOINT"): int(s.findtext("ID") or -1) for s in zone.iter("SERVER")}
        return ids[self.lab.endpoint(address)]

    # Before and after

    def make_ready(self) -> None:
        """A whole zone of three and nothing else, and an image to roll it to."""
        if not self._is_whole():
            self.lab.onebaton("destroy", "--yes", timeout_s=120)
            self.lab.onebaton("bootstrap", "--version", OLD)
            wait_whole(self.lab)
            self.generation = "a"
        self.want_another_image()

    def _is_whole(self) -> bool:
        letters = {name.removeprefix(f"{self.lab.name}-")[0] for name in self.lab.containers()}
        if len(letters) != 1 or len(self.lab.running()) != self.lab.size:
            return False
        try:
            wait_whole(self.lab, timeout_s=30)
        except (AssertionError, OSError, xmlrpc.client.Error):
            return False
        self.generation = letters.pop()
        return not diverged(self.lab)

    def want_another_image(self) -> None:
        """Leave that image of the new release in the catalogue that the zone does not run on.

        The second one is baked where it is needed.
        """
        images, aside = take_back_withdrawn(self.lab)
        shown = run(
            ["podman", "container", "inspect", "--format",
             '{{index .Config.Labels "onebaton.image-digest"}}',
             f"{self.lab.name}-{self.generation}1"],
        )  # fmt: skip
        runs_on = shown.out.strip()
        if all(digest_of(entry) == runs_on for entry in of_release(images, NEW)):
            self.lab.onebaton("bake", "--force")
        for entry in of_release(images, NEW):
            if digest_of(entry) == runs_on:
                entry.rename(aside / entry.name)

    @contextlib.contextmanager
    def writes(self) -> Iterator["Writes"]:
        """Clients write and read all the while, and somebody watches who leads."""
        traffic = self.lab.traffic(vip_writes_hz=10.0, member_writes_hz=4.0, reads_hz=4.0)
        with LeadersSeen(self.lab) as leaders:
            traffic.start()
            try:
                yield Writes(traffic, leaders)
            finally:
                traffic.stop()

    def require_end(self, writes: "Writes") -> None:
        """The zone is as an undisturbed roll leaves it, and nothing acknowledged is lost."""
        writes.require_nothing_doubled()
        self.at_rest()
        wait_whole(self.lab)
        heal_diverged(self.lab)
        traffic = writes.traffic
        problems = self.lab.problems(traffic, generation=self.target, version=NEW)
        assert not problems, "\n".join(problems)
        for address in self.lab.addresses(self.target):
            left = self.lab.ssh(
                address,
                'mariadb -N opennebula -e "SELECT name FROM document_pool '
                "WHERE name LIKE 'onebaton%'\"",
            )
            assert left == "", f"left by the command on {address}: {left}"
        plan = run(self.lab.command("plan"))
        assert (plan.status, "nothing to do" in plan.out) == (OK, True), plan.err
        assert len(traffic.acknowledged) > 0
        gap_s, begin, _ = traffic.writes["vip"].longest_gap()
        print(  # noqa: T201 - for a human to judge
            f"{len(traffic.acknowledged)} acknowledged writes, none lost; longest gap through the "
            f"VIP {gap_s:.1f} s at +{begin - traffic.began:.0f} s of "
            f"{traffic.ended - traffic.began:.0f} s; leaders by term: "
            f"{ {term: sorted(who) for term, who in sorted(writes.leaders.by_term.items())} }"
        )

    def require_unchanged(self, writes: "Writes", containers: list[str]) -> None:
        """The old generation serves as before, and nothing acknowledged is lost."""
        writes.require_nothing_doubled()
        wait_whole(self.lab)
        heal_diverged(self.lab)
        there = self.lab.containers()
        assert there == containers, f"{there}, and before {containers}"
        self.lab.require_none_lost(self.lab.addresses(self.generation), writes.traffic)
        plan = run(self.lab.command("plan"))
        assert plan.status == PENDING, plan.err

    def at_rest(self) -> None:
        """Wait until every server that the zone lists is of one mind and clients reach the leader.

        Unlike a whole zone it may be in the middle of a roll, and be written to.
        """

        def look() -> bool:
            try:
                endpoints = self.lab.servers().values()
            except (OSError, AssertionError, xmlrpc.client.Error):
                return False
            said = [self.lab.raft(e.removeprefix("http://").partition(":")[0]) for e in endpoints]
            if None in said:
                return False
            states = sorted(s["STATE"] for s in said)
            indexes = [s["LOG_INDEX"] for s in said]
            return (
                states == [FOLLOWER] * (len(said) - 1) + [LEADER]
                and len({s["TERM"] for s in said}) == 1
                and max(indexes) - min(indexes) <= NEARLY_LEVEL
                and self.vip_holders() == [self.lab.leader()]
            )

        # A hook announces the address for ten seconds before another one may take it off.
        wait_until("the zone to be at rest", look, timeout_s=90, interval_s=0.5)

    def served(self) -> None:
        """Wait until there is one leader and clients reach it, whoever else is down.

        A zone that is being founded may not have come so far, and is not waited for.
        """
        if not any(self.lab.raft(address) for address in self.lab.running()):
            return

        def look() -> bool:
            through = self.lab.raft(f"{self.lab.net}.100")
            return through is not None and through["STATE"] == LEADER and bool(self.lab.leader())

        wait_until("the zone to be served", look, timeout_s=90, interval_s=0.3)

    def back(self, address: str) -> None:
        """Wait until a server that died follows again, and holds no address any more.

        Its unit comes back when its follower's hook has ended, which waits for a leader's; and
        where systemd misses that its control group became empty, 90 s later (seen here).
        """

        def look() -> bool:
            said = self.lab.raft(address)
            return said is not None and said["STATE"] in (FOLLOWER, LEADER)

        wait_until(f"{address} to be back", look, timeout_s=150, interval_s=0.5)
        self.served()
        wait_until("one VIP", lambda: len(self.vip_holders()) == 1, timeout_s=60, interval_s=0.5)

    def vip_holders(self) -> list[str]:
        """Addresses of the machines with the virtual IP."""
        vip = f"{self.lab.net}.100"
        return [a for a in self.lab.running() if self.lab.ssh(a, f"ip -o -4 address show to {vip}")]

    # The command

    def rollout(
        self, *, env: dict[str, str] | None = None
    ) -> contextlib.AbstractContextManager[Command]:
        """A rollout under way; it is gone when the block is left."""
        return self.command("rollout", env=env)

    @contextlib.contextmanager
    def rollout_reaching(self, event: str, step: str) -> Iterator[Command]:
        """A rollout that came to a transition of a step whose id begins so.

        It is repeated where a machine with too much to do stopped it before.
        """
        for _ in range(MOST_RUNS):
            with self.rollout() as command:
                if command.reached(event, step) is not None:
                    yield command
                    return
                outcome = command.finish()
            self._again_after(outcome)
        raise AssertionError(f"no {step} within {MOST_RUNS} runs:\n{outcome.err}")

    @contextlib.contextmanager
    def command(self, *words: str, env: dict[str, str] | None = None) -> Iterator[Command]:
        """A command under way; it is gone when the block is left."""
        command = Command(self.lab, *words, env=env)
        try:
            yield command
        finally:
            if command.process.poll() is None:
                command.process.kill()
                command.process.wait(30)

    def rollout_fails(
        self, status: int | tuple[int, ...], *texts: str, env: dict[str, str] | None = None
    ) -> Outcome:
        """Run a rollout to its end, which is this failure, said honestly."""
        with self.rollout(env=env) as command:
            return told(command.finish(), status, *texts)

    def rollout_ends(self) -> Outcome:
        """Run a rollout to its good end.

        On a machine that has too much to do a server may miss heartbeats: a run that stops for
        it says so, and is repeated once the zone is served, as its message asks for.
        """
        return self._ends("rollout")

    def abort_ends(self) -> Outcome:
        """Give a rollout up, to its good end; stopped for an overloaded machine as above."""
        return self._ends("abort", "--yes")

    def _ends(self, *words: str) -> Outcome:
        for _ in range(MOST_RUNS):
            with self.command(*words) as command:
                outcome = command.finish()
            if outcome.status == OK:
                outcome.show(f"{words[0]}, gone on with")
                return outcome
            self._again_after(outcome)
        raise AssertionError(f"not done after {MOST_RUNS} runs:\n{outcome.err}")

    def rollout_under(
        self, step: str, fault: Callable[[Command], object], *, event: str = "started"
    ) -> Outcome:
        """Run a rollout to its end; the fault comes about when such a step begins or is done.

        :param fault: is given the command, which stands still meanwhile; not called where the
            roll comes to its end without such a step.
        """
        for _ in range(MOST_RUNS):
            with self.rollout() as command:
                reached = command.reached(event, step)
                if reached is not None:
                    with command.frozen():
                        fault(command)
                outcome = command.finish()
            if reached is not None or outcome.status == OK:
                return outcome
            self._again_after(outcome)
        raise AssertionError(f"no {step} within {MOST_RUNS} runs:\n{outcome.err}")

    def _again_after(self, outcome: Outcome) -> None:
        told(outcome, (REFUSED, UNAVAILABLE, DEADLINE))
        self.served()
        if "are not the zone's" in outcome.err:
            heal_diverged(self.lab)
        time.sleep(PAUSE_S)


@dataclass(frozen=True)
class Writes:
    """What clients were told, and who led meanwhile."""

    traffic: Traffic
    leaders: LeadersSeen

    def require_nothing_doubled(self) -> None:
        """No term had two leaders."""
        assert not self.leaders.rivals, f"two leaders in a term: {self.leaders.rivals}"


def digest_of(entry: Path) -> str:
    """What identifies the image of a catalogue's entry."""
    return json.loads(entry.read_text())["digest"]


def take_back_withdrawn(lab: Lab) -> tuple[Path, Path]:
    """Put every withdrawn image back into the catalogue.

    :returns: the folders of the catalogue and of what is withdrawn.
    """
    images, aside = lab.folder / "state" / "images", lab.folder / "withdrawn"
    images.mkdir(parents=True, exist_ok=True)
    aside.mkdir(exist_ok=True)
    for entry in aside.glob("*.json"):
        entry.rename(images / entry.name)
    return images, aside


def told(outcome: Outcome, status: int | tuple[int, ...], *texts: str) -> Outcome:
    """One error of this status, which says these things and names the way out."""
    outcome.show("rollout under the fault")
    allowed = status if isinstance(status, tuple) else (status,)
    assert outcome.status in allowed, f"status {outcome.status}:\n{outcome.err}"
    before, *errors = re.split("^error: ", outcome.err, flags=re.MULTILINE)
    assert len(errors) == 1, outcome.err
    said = outcome.err[len(before) :]
    assert "→ " in said, said
    for text in texts:
        assert text in said, f"{text!r} is not said:\n{said}"
    return outcome


def with_path(folder: Path) -> dict[str, str]:
    """The environment, with a folder's programs before all others."""
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
