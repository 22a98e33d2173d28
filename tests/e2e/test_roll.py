"""The road on a living zone, under traffic: interrupted, killed, gone on with, and proven."""

import json
import signal
import threading
import xmlrpc.client
from pathlib import Path

import pytest
from tests.e2e.conftest import NEW, OLD, wait_whole
from tests.e2e.lab import Lab
from tests.e2e.running import Arguments, Outcome, run, running, wait_until
from tests.e2e.traffic import Traffic

pytestmark = pytest.mark.e2e

#: Longest time without an acknowledged write through the virtual IP, in seconds.
MAX_VIP_WRITE_GAP_S = 2.5
MIN_WRITES_HZ = 20.0
WAITS, REFUSED, LOCKED, INTERRUPTED = 3, 4, 75, 130
#: The database password in the packages' oned.conf, until a node gets one of its own.
AS_SHIPPED = "oneadmin"


class Secrets:
    """The texts that must not be seen anywhere but where they belong."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.texts = {"oneadmin's password": (lab.folder / "oneadmin_password").read_text().strip()}

    def learn(self) -> None:
        """Those of the machines that run now: their databases', and the users' of the API."""
        for address in self._lab.running():
            password = self._lab.ssh(
                address, 'sed -nE \'s/.*PASSWD *= *"([^"]+)".*/\\1/p\' /etc/one/oned.conf'
            ).strip()
            if password != AS_SHIPPED:
                self.texts[f"the database password of {address}"] = password
            for line in self._lab.ssh(address, "cat /var/lib/one/.one/*_auth").splitlines():
                user, _, text = line.partition(":")
                self.texts[f"{user}'s password on {address}"] = text

    def found_in(self, text: str) -> list[str]:
        """Which of them a text holds."""
        return [name for name, secret in self.texts.items() if secret in text]

    def found_under(self, folder: Path) -> list[str]:
        """Which of them which file below a folder holds."""
        return [
            f"{name} in {path}"
            for path in folder.rglob("*")
            if path.is_file()
            for name in self.found_in(path.read_bytes().decode(errors="replace"))
        ]


def listed(lab: Lab) -> int:
    """How many servers the zone lists; 0 while nobody answers."""
    try:
        return len(lab.servers())
    except (OSError, AssertionError, xmlrpc.client.Error):
        return 0


def one_by_one(lab: Lab) -> Path:
    """The configuration of a roll that waits before it hands over, both generations in the zone."""
    stages = "stages: {approve: [handed-over], soak_s: {joined: 2}}\nstate: state"
    return lab.variant(
        "one-by-one", ("strategy: surge", "strategy: one-by-one"), ("state: state", stages)
    )


class MostMachines:
    """How many machines there were at most, looked at all the while."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.most = 0

    def _look(self) -> None:
        while not self._stop.wait(0.3):
            self.most = max(self.most, len(self._lab.containers()))

    def __enter__(self) -> "MostMachines":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def interrupt_between_two_steps(lab: Lab, config: Path) -> Outcome:
    """^C while a step runs: it is finished, the next one is not begun."""
    with running(lab.command("rollout", config=config)) as command:
        command.wait_for_line(r"\] seed ")
        command.signal(signal.SIGINT)
        return command.finish()


def kill_in_the_middle_of_a_join(lab: Lab, config: Path) -> Outcome:
    """SIGKILL once the new server is listed, and before it runs."""
    with running(lab.command("rollout", config=config)) as command:
        command.wait_for_line(r"\] join ")
        wait_until(
            "the new server to be listed", lambda: listed(lab) > lab.size, timeout_s=90,
            interval_s=0.02,
        )  # fmt: skip
        command.signal(signal.SIGKILL)
        return command.finish()


def go_on_alone(lab: Lab, config: Path) -> Outcome:
    """The same command again; meanwhile nobody else may change anything."""
    with running(lab.command("rollout", config=config)) as command:
        command.wait_for_line(r"\] join ")
        for words in (["rollout"], ["bake"], ["destroy", "--yes"]):
            second = run(lab.command(*words))
            second.show(f"{words[0]} while a rollout runs")
            assert second.status == LOCKED, second.err
            assert "another run holds the lock" in second.err
        return command.finish(timeout_s=420)


def left_by_the_tool(lab: Lab, generation: str) -> list[str]:
    """Names of documents that probes and checks wrote and that are still there."""
    return [
        name
        for address in lab.addresses(generation)
        for name in lab.ssh(
            address,
            "mariadb -N opennebula -e \"SELECT name FROM document_pool "
            "WHERE name LIKE 'onebaton%'\"",
        ).split()
    ]  # fmt: skip


def prove(lab: Lab, traffic: Traffic, generation: str) -> None:
    """Nothing acknowledged was lost, nothing is left over, and clients hardly noticed."""
    wait_whole(lab)
    assert lab.problems(traffic, generation=generation, version=NEW) == []
    assert left_by_the_tool(lab, generation) == []
    gap_s, begin, _ = traffic.writes["vip"].longest_gap()
    print(  # noqa: T201 - for a human to judge
        f"{len(traffic.acknowledged)} acknowledged writes, {traffic.rate():.1f} a second; longest "
        f"gap of writes through the VIP {gap_s:.2f} s at +{begin - traffic.began:.0f} s of "
        f"{traffic.ended - traffic.began:.0f} s"
    )
    assert gap_s <= MAX_VIP_WRITE_GAP_S
    # The demo asks for all of them; a busy machine must not fail this one.
    assert traffic.rate() >= MIN_WRITES_HZ / 2


def test_a_roll_that_is_interrupted_and_killed_loses_nothing(zone: Lab):
    """One by one, stopped by ^C, killed, gone on with until an approval is due, and approved."""
    secrets = Secrets(zone)
    secrets.learn()
    config = one_by_one(zone)
    traffic = zone.traffic(vip_writes_hz=20.0, member_writes_hz=10.0)
    traffic.start()
    try:
        with Arguments() as arguments, MostMachines(zone) as machines:
            stopped = interrupt_between_two_steps(zone, config)
            stopped.show("rollout, stopped by ^C")
            assert stopped.status == INTERRUPTED
            assert "every step before it is complete" in stopped.err
            assert f"→ To go on: onebaton rollout --config {zone.folder}/cluster" in stopped.err
            assert "] join " not in stopped.err
            assert listed(zone) == zone.size
            secrets.learn()

            killed = kill_in_the_middle_of_a_join(zone, config)
            assert killed.status == -signal.SIGKILL
            assert listed(zone) == zone.size + 1

            waiting = go_on_alone(zone, config)
            waiting.show("rollout, gone on with until somebody approves")
            assert waiting.status == WAITS, waiting.err
            assert "the lock of 'onebaton rollout" in waiting.err
            assert "waits for an approval before the stage handed-over" in waiting.out
            assert listed(zone) == zone.size + 1

            words = ("continue", "--as", "the tests", "--json")
            finished = run(zone.command(*words, config=config), timeout_s=420)
            finished.show("continue")
            assert finished.status == 0, finished.err
    finally:
        traffic.stop()

    prove(zone, traffic, "b")
    assert machines.most == zone.size + 1
    require_told(zone, json.loads(finished.out))
    secrets.learn()
    assert secrets.found_under(zone.folder / "state") == []
    for outcome in (stopped, killed, waiting, finished):
        assert secrets.found_in(outcome.out + outcome.err) == []
    assert len(arguments.seen) > 50
    for name, text in secrets.texts.items():
        assert (name, arguments.holding(text)) == (name, [])


def require_told(lab: Lab, report: dict) -> None:
    """The last of the four runs tells what it did, and the reports before it what was before."""
    # What was done before it is not done again.
    ids = [step["step_id"].partition(":")[0] for step in report["steps"]]
    assert ids == ["hand-over", "retire", "destroy", "restore"]
    assert {step["outcome"] for step in report["steps"]} == {"done"}
    assert all(step["duration_s"] > 0 for step in report["steps"])
    assert "handed-over was approved by the tests" in [row["text"] for row in report["stages"]]
    leaders = list(dict.fromkeys(sample["leader"] for sample in report["samples"]))
    assert leaders[0].startswith(f"{lab.name}-a")
    assert leaders[-1] == f"{lab.name}-b1"
    gaps = {(gap["target"], gap["kind"]): gap for gap in report["gaps"]}
    for kind in ("read", "write"):
        assert gaps["VIP", kind]["requests"] > 0
        assert 0 < gaps["VIP", kind]["longest_s"] <= MAX_VIP_WRITE_GAP_S
    assert {f"{lab.name}-b{i}" for i in (1, 2, 3)} <= {target for target, _ in gaps}
    runs = json.loads(run(lab.command("report", "--json")).out)[-4:]
    # Of the one that was killed its journal tells.
    assert [one["ending"] for one in runs] == ["interrupted", "unfinished", "waiting", "finished"]
    kept = lab.folder / "state" / "reports" / f"{runs[2]['run']}.json"
    steps = json.loads(kept.read_text())["steps"]
    # The killed run may have come as far as starting the first one.
    ids = {step["step_id"] for step in steps}
    assert {f"join:{lab.name}-b2", f"join:{lab.name}-b3"} <= ids
    assert not {f"provision:{lab.name}-b1", f"seed:{lab.name}-b1"} & ids
    assert {step["outcome"] for step in steps} <= {"done", "skipped"}
    page = run(lab.command("report", "last", "--format", "html"))
    assert "hand over from server" in page.out


def test_what_is_done_is_not_done_again(zone: Lab):
    plan = run(zone.command("plan"))
    assert (plan.status, "nothing to do" in plan.out) == (0, True), plan.err
    before = zone.containers()
    again = run(zone.command("rollout", "--json"))
    assert again.status == 0, again.err
    assert json.loads(again.out)["steps"] == []
    assert zone.containers() == before


def test_there_is_no_way_back(zone: Lab):
    outcome = run(zone.command("rollout", "--version", OLD))
    outcome.show("rollout to an older release")
    assert outcome.status == REFUSED
    assert "the wanted image is older than the zone" in outcome.err
