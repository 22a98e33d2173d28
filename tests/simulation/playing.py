"""Plays a schedule: rolls, lets faults fall, heals them, rolls again, and looks at the end."""

import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.fakes.danger import DiedError, insist
from tests.fakes.simulated_tool import OLD, Tool, assert_rolled, running_zone
from tests.fakes.weather import TOOL, StormyCluster
from tests.fakes.worlds import wanted
from tests.simulation.schedules import Fault, Schedule

from onebaton.errors import OnebatonError
from onebaton.model import World
from onebaton.plan.quorum import majority
from onebaton.plan.wanted import Wanted

#: How often the tool is run while faults fall, and at most after they were healed.
RUNS, RUNS_HEALED = 6, 8
#: What an operator waits before running it again.
AGAIN_AFTER_S = 10.0
#: Until a zone has settled that was healed: boots, warm-ups, and an election or two.
SETTLED_S = 30.0


@dataclass
class Outcome:
    """What became of a schedule.

    :ivar refusals: what the tool ended with, each with how often.
    :ivar end: how it ended.
    """

    runs: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    end: str = "under way"
    fallen: Counter[str] = field(default_factory=Counter)


class WatchedTool(Tool):
    """A run of the tool, of which the cluster knows when it looked last."""

    def observe(self) -> World:
        begin = self.cluster.clock.now()
        world = super().observe()
        assert isinstance(self.cluster, StormyCluster)
        self.cluster.observed_at = begin
        return world


class Play:
    """One schedule on its way."""

    def __init__(self, schedule: Schedule, tell: Callable[[str], None] | None = None) -> None:
        self.schedule = schedule
        self._told = tell
        self.outcome = Outcome()
        self._dice = random.Random(schedule.seed + 1)
        self._points = itertools.count()
        self._crashes = {crash.point: crash for crash in schedule.crashes}
        self._waiting = {n: [f for f in schedule.faults if f.point == n] for n in _points(schedule)}
        self._ahead: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._pause_s = 0.0
        self.goal: Wanted = wanted(schedule.size, schedule.strategy)
        cluster = running_zone(
            self.goal,
            own=schedule.own,
            leader=schedule.leader,
            made_by=lambda images: StormyCluster(images, self._dice),
        )
        assert isinstance(cluster, StormyCluster)
        self.cluster = cluster
        self._servers = cluster.servers

    def to_its_end(self) -> Outcome:
        """Play it.

        :raises DangerError: if something was that must never be.
        """
        self.cluster.at_point, self.cluster.when_due = self._point, self._due
        if self.schedule.size == 1:
            return self._alone()
        for _ in range(RUNS):
            if self._run() and not self._ahead:
                break
            self.cluster.clock.sleep(self._pause_s)
        self.cluster.at_point, self.cluster.when_due = _nobody_looks, _nothing_due
        self._tell("all is healed")
        self.cluster.mend()
        self.cluster.clock.sleep(SETTLED_S)
        self._operate()
        for _ in range(RUNS_HEALED):
            if self._run():
                break
            if self._without_majority():
                # A fault took it for good: there is no more than to say so.
                said = ("no leader", "unreachable")
                insist(any(words in self._last_words for words in said), self._last_words)
                self.outcome.end = "stopped: the majority is gone"
                return self.outcome
            self.cluster.clock.sleep(AGAIN_AFTER_S)
            self._operate()
        else:
            insist(False, f"stuck after all was healed: {self._last_words}")
        self.outcome.end = "rolled"
        assert_rolled(self.cluster, self.goal)
        if self.goal.strategy == "swap":
            insist(self.cluster.servers == self._servers, "a swap changed the list of servers")
        return self.outcome

    def _run(self) -> bool:
        """Run the tool once; whether it came to its end."""
        self.outcome.runs += 1
        self._tell(f"run {self.outcome.runs}")
        self._pause_s = AGAIN_AFTER_S
        try:
            WatchedTool(self.cluster, self.goal).roll()
        except DiedError:
            self._tell("the tool died")
            return False
        except OnebatonError as error:
            self._last_words = " | ".join([error.message, *error.details])
            self._advice = error.resolution or ""
            insist(error.message != "", "an error without words")
            self.outcome.refusals[error.message] += 1
            self._tell(f"ended: {self._last_words}")
            return False
        return True

    def _without_majority(self) -> bool:
        """A machine is gone for good, and those that are left cannot elect."""
        cluster = self.cluster
        return bool(cluster.gone) and self._up() < majority(len(cluster.servers))

    def _up(self) -> int:
        """How many servers run."""
        cluster = self.cluster
        return sum(cluster.oned_at(s.endpoint) is not None for s in cluster.servers.values())

    def _alone(self) -> Outcome:
        """A zone of one cannot be rolled: that is said, and nothing is changed."""
        insist(not self._run(), "a zone of one was rolled")
        insist("one server" in self._last_words, self._last_words)
        self.outcome.end = "refused: a zone of one"
        insist(self.cluster.platform.nodes() == () or self.schedule.own, "a node was made")
        images = {node.spec.image_digest for node in self.cluster.platform.nodes()}
        insist(images <= {OLD.digest}, "a node was made")
        return self.outcome

    # Faults

    def _tell(self, text: str) -> None:
        if self._told is not None:
            clock, raft = self.cluster.clock, self.cluster.raft
            zone = " ".join(
                f"{o.machine}:{o.state.name[0]}{o.term}/{o.last[1]}" for o in raft.oneds.values()
            )
            self._told(f"{clock.now() - 1000:7.1f} s  {text}  [{zone}]")

    def _point(self, what: str) -> None:
        number = next(self._points)
        self._tell(f"{number} {what}")
        for fault in self._waiting.pop(number, ()):
            if fault.after_s:
                self._later(fault.after_s, lambda fault=fault: self._fall(fault))
            else:
                self._fall(fault)
        crash = self._crashes.pop(number, None)
        if crash is not None:
            self._pause_s = crash.pause_s
            self.outcome.fallen["tool killed"] += 1
            raise DiedError

    def _later(self, seconds: float, do: Callable[[], None]) -> None:
        self._ahead.append((self.cluster.clock.now() + seconds, next(self._order), do))

    def _due(self, now: float) -> None:
        for thing in sorted(thing for thing in self._ahead if thing[0] <= now):
            self._ahead.remove(thing)
            thing[2]()

    def _victim(self, fault: Fault) -> str | None:
        cluster = self.cluster
        leader = cluster.leader
        names = sorted(name for name in cluster.machines if name not in cluster.gone)
        wanted_image = self.goal.image.digest
        nodes = cluster.platform.nodes()
        new = {n.spec.name for n in nodes if n.spec.image_digest == wanted_image}
        lead = leader.machine if leader is not None else ""
        choice = {
            "leader": [n for n in names if n == lead],
            "follower": [n for n in sorted(cluster.raft.oneds) if n != lead],
            "old": [n for n in names if n not in new],
            "new": [n for n in names if n in new],
            "any": names,
        }[fault.role]
        return self._dice.choice(choice or names) if names else None

    def _fall(self, fault: Fault) -> None:
        """It falls, and is over after its time."""
        victim = self._victim(fault)
        if victim is None:
            return
        self._tell(f"fault: {fault.kind} ({victim})")
        over = self._fell(fault, victim)
        self.outcome.fallen[fault.kind] += 1
        if over is not None:
            self._later(fault.lasts_s, over)

    def _fell(self, fault: Fault, victim: str) -> Callable[[], None] | None:  # noqa: PLR0911, PLR0912
        cluster, network = self.cluster, self.cluster.network
        others = [name for name in cluster.machines if name != victim]
        match fault.kind:
            case "messages lost":
                network.lost = self._dice.choice((0.1, 0.4, 0.8))
                return lambda: setattr(network, "lost", 0.0)
            case "messages late":
                network.delayed = self._dice.choice((0.1, 0.4, 0.8))
                return lambda: setattr(network, "delayed", 0.0)
            case "network split":
                side = set(self._dice.sample(sorted(cluster.machines), len(cluster.machines) // 2))
                return self._cut(
                    {(a, b) for a in side for b in set(cluster.machines) - side}, both=True
                )
            case "one does not send":
                return self._cut({(victim, other) for other in others})
            case "one does not hear":
                return self._cut({(other, victim) for other in others})
            case "tool cut off from one":
                return self._cut({(TOOL, victim)}, both=self._dice.random() < 0.5)
            case "black hole":
                cluster.strike(victim)
                network.silent.add(victim)

                def heard() -> None:
                    network.silent.discard(victim)
                    cluster.recovered(victim)

                return heard
            case "answer lost":
                cluster.answer_lost = True
            case "oned killed":
                cluster.kill(victim)
            case "reboot":
                cluster.reboot(victim)
                return lambda: cluster.recovered(victim)
            case "power off":
                machine = cluster.machines[victim]
                cluster.switch_off(victim)

                def on() -> None:
                    if cluster.machines.get(victim) is machine:
                        cluster.switch_on(victim)
                        self._later(10.0, lambda: cluster.recovered(victim))

                return on
            case "machine gone":
                if not cluster.gone:
                    cluster.lose(victim)
            case "MariaDB stopped":
                cluster.stop_database(victim)

                def runs() -> None:
                    cluster.start_database(victim)
                    cluster.recovered(victim)

                return runs
            case "hook fails":
                cluster.no_hook.add(victim)
            case "never boots":
                cluster.faults.never_boots.add(victim)
            case "seed damaged":
                cluster.faults.bad_seed.add(victim)
            case "other secrets":
                cluster.faults.other_secrets.add(victim)
        return None

    def _cut(self, pairs: set[tuple[str, str]], *, both: bool = False) -> Callable[[], None]:
        all_pairs = pairs | ({(b, a) for a, b in pairs} if both else set())
        self.cluster.network.cut |= all_pairs
        return lambda: self.cluster.network.cut.difference_update(all_pairs)

    # What an operator does whom an error sends

    _last_words = ""
    _advice = ""

    def _operate(self) -> None:
        cluster, words = self.cluster, self._last_words
        swaps = self.schedule.strategy == "swap"
        if swaps and self._up() < majority(len(cluster.servers)):
            cluster.unmask_all()
        # One that is being swapped is without a machine for a while, and stays in the zone.
        for server in () if swaps else tuple(cluster.servers.values()):
            machine = cluster.endpoints.get(server.endpoint)
            said = f"({server.name}) is unhealthy: opennebula.service is"
            masked = f"{said} masked" in words
            # It vanished, and was made anew as it was while another one was taken away.
            empty = machine in cluster.machines and cluster.machines[machine].database is None
            hollow = empty and f"{said} not running" in words
            if masked or hollow or machine is None or machine in cluster.gone:
                cluster.forget(server)
        if "virtual IP" in words or "virtual IP" in self._advice:
            cluster.set_vip_right()
        for name, machine in cluster.machines.items():
            if f"{name} was seeded wrongly" in words:
                machine.database = None


def play(schedule: Schedule, tell: Callable[[str], None] | None = None) -> Outcome:
    """Play a schedule to its end.

    :param tell: called with everything that happens, a line each.
    :raises DangerError: if something was that must never be.
    """
    return Play(schedule, tell).to_its_end()


def _points(schedule: Schedule) -> set[int]:
    return {fault.point for fault in schedule.faults}


def _nobody_looks(_what: str) -> None:
    """The faults are over."""


def _nothing_due(_now: float) -> None:
    """Nothing more falls."""
