"""A change of the schema that fails in the middle of its outage: the old generation serves again.

One zone, whose tests build on each other: each taking back leaves it as it was, and the last
one changes the schema for good.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import lab_of, wait_whole
from tests.e2e.lab import Lab
from tests.e2e.running import Outcome
from tests.e2e.test_cutover import unit, wait_whole_of
from tests.e2e.traffic import DOCUMENT, SERVICE_TYPE, Traffic
from tests.e2e.watching import Watch
from tests.faults.conftest import TIMEOUTS
from tests.faults.diverged import heal_diverged
from tests.faults.faults import (
    kill_server,
    migrator_changed,
    server_does_not_start,
    ssh_black_holed,
)
from tests.faults.test_killed import kill_at_each_transition, kinds
from tests.faults.trial import DEADLINE, FAILED, REFUSED, UNAVAILABLE, Command, Trial, told

pytestmark = [pytest.mark.faults]

OLD, NEXT = "6.10.5", "7.0.2"
#: What is said, whatever the reason.
TAKEN_BACK = "the cut-over failed and was taken back; the old generation serves"
#: The moment from which on nobody is served, and the one at which all rows are there.
FROZEN, MIGRATED = "old servers stopped and masked: ", "last records migrated: "
#: Longer than a cut-over takes here, and shorter than the migrator sleeps.
MAX_OUTAGE_S, SLEEP_S = 15, 60
SLOW = f"time.sleep({SLEEP_S})"
BROKEN = "raise RuntimeError('broken for this test')"
#: How long clients go on writing to the zone that serves again, in seconds.
AFTERWARDS_S = 2.0


@pytest.fixture(scope="module")
def cut() -> Iterator[Trial]:
    """A zone of three on the old release, and a change of the schema that was rehearsed."""
    with lab_of(
        "faults-cut", "flc", "10.201.13", version=NEXT, bakes=(OLD, NEXT), rollout=TIMEOUTS
    ) as lab:
        lab.onebaton("bootstrap", "--version", OLD)
        wait_whole(lab)
        # Only what was there is rehearsed.
        for number in range(5):
            lab.call(
                lab.vip,
                "one.document.allocate",
                DOCUMENT.format(f"before-{number}"),
                SERVICE_TYPE,
            )
        lab.onebaton("rehearse", "--keep")
        yield Trial(lab, generation="a")


@dataclass(frozen=True)
class Seen:
    """What clients were told, and who led and held the virtual IP meanwhile."""

    traffic: Traffic
    watch: Watch


@contextlib.contextmanager
def writes(lab: Lab) -> Iterator[Seen]:
    """Clients write all the while; some of them to the old servers, wherever they are."""
    traffic = lab.traffic(
        document_type=SERVICE_TYPE,
        vip_writes_hz=10.0,
        member_writes_hz=3.0,
        reads_hz=2.0,
        hammered=sorted(lab.servers().values()),
    )
    with Watch(lab) as watch:
        traffic.start()
        try:
            yield Seen(traffic, watch)
        finally:
            traffic.stop()


@contextlib.contextmanager
def rollout(zone: Trial, *words: str, config: Path | None = None) -> Iterator[Command]:
    """A rollout under way; it is gone when the block is left."""
    command = Command(zone.lab, "rollout", *words, config=config)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait(30)


def fails_after(
    zone: Trial,
    line: str,
    fault: Callable[[], object],
    *words: str,
    config: Path | None = None,
) -> Outcome:
    """Run a rollout to its end; the fault comes about when it has written such a line."""
    with rollout(zone, *words, config=config) as command:
        command.wait_for_line(line, timeout_s=300)
        with command.frozen():
            fault()
        return command.finish()


def is_taken_back(zone: Trial, seen: Seen, outcome: Outcome, *texts: str) -> None:
    """The old generation serves, by itself; to be called while clients still write."""
    told(outcome, FAILED, TAKEN_BACK, *texts)
    assert zone.lab.call(zone.lab.vip, "one.system.version") == OLD
    back = len(seen.traffic.writes["vip"].successes)
    time.sleep(AFTERWARDS_S)
    assert len(seen.traffic.writes["vip"].successes) > back
    assert len(zone.vip_holders()) == 1


def require_nothing_lost(zone: Trial, seen: Seen) -> None:
    """All that was acknowledged is on each old server, and nobody else led or leads.

    The new machines are stopped for good, and no record of a cut is left.
    """
    lab = zone.lab
    wait_whole_of(lab, "a")
    acknowledged = seen.traffic.acknowledged
    assert len(acknowledged) > 0
    for address in lab.addresses("a"):
        assert lab.call(lab.endpoint(address), "one.system.version") == OLD
    heal_diverged(lab)
    lab.require_none_lost(lab.addresses("a"), seen.traffic)
    assert seen.watch.looks > 50
    assert seen.watch.holders == []
    assert seen.watch.leaders_at_a_time() == []
    assert set(seen.watch.leaders()) <= set(lab.addresses("a"))
    node = lab.addresses("b")[0]
    assert unit(lab, node) == ["inactive", "masked"]
    assert not (lab.folder / "state" / "cutover.json").exists()
    gap_s, begin, _ = seen.traffic.writes["vip"].longest_gap()
    print(  # noqa: T201 - for a human to judge
        f"{len(acknowledged)} acknowledged writes, none lost; out for {gap_s:.1f} s at "
        f"+{begin - seen.traffic.began:.0f} s; led: {seen.watch.leaders()}"
    )


def test_an_outage_that_takes_too_long(cut: Trial):
    """The migrator hangs in the last batch, past the longest outage that is allowed."""
    strategy = f"  strategy: {cut.lab.strategy}\n"
    brief = cut.lab.variant("brief", (strategy, f"{strategy}  max_outage_s: {MAX_OUTAGE_S}\n"))
    with writes(cut.lab) as seen, contextlib.ExitStack() as fault:
        outcome = fails_after(
            cut,
            FROZEN,
            lambda: fault.enter_context(migrator_changed(cut.lab, cut.new(1), SLOW)),
            config=brief,
        )
        is_taken_back(cut, seen, outcome)
    require_nothing_lost(cut, seen)
    gap_s, _, _ = seen.traffic.writes["vip"].longest_gap()
    assert MAX_OUTAGE_S < gap_s < SLEEP_S


def test_the_migrator_fails_in_the_last_batch(cut: Trial):
    with writes(cut.lab) as seen, contextlib.ExitStack() as fault:
        outcome = fails_after(
            cut,
            FROZEN,
            lambda: fault.enter_context(migrator_changed(cut.lab, cut.new(1), BROKEN)),
        )
        is_taken_back(cut, seen, outcome, "broken for this test")
    require_nothing_lost(cut, seen)


def test_the_held_server_dies_right_before_its_release(cut: Trial):
    with writes(cut.lab) as seen:
        outcome = fails_after(cut, MIGRATED, lambda: kill_server(cut.lab, cut.new(1)))
        is_taken_back(cut, seen, outcome, "does not answer")
    require_nothing_lost(cut, seen)


def test_an_old_machine_cannot_be_reached_at_the_freeze(cut: Trial):
    """Its server goes on running, and acknowledges nothing without the other two.

    It may lead again before they do. Then nobody sees which addresses its machine has: the zone
    is served all the same, and the run after the machine answers again says so.
    """
    gone = cut.follower()
    with writes(cut.lab) as seen, contextlib.ExitStack() as fault:
        with rollout(cut) as command:
            with command.frozen_at("started", "cut-over:"):
                fault.enter_context(ssh_black_holed(cut.lab, gone))
            outcome = command.finish()
        told(outcome, FAILED, "does not answer over ssh")
        cut.served()
        fault.close()
        if "and was not taken back" in outcome.err:
            with rollout(cut) as command:
                outcome = command.finish()
        is_taken_back(cut, seen, outcome)
    require_nothing_lost(cut, seen)


def test_the_plain_way_the_new_server_does_not_start(cut: Trial):
    with writes(cut.lab) as seen, contextlib.ExitStack() as fault:
        outcome = fails_after(
            cut,
            FROZEN,
            lambda: fault.enter_context(server_does_not_start(cut.lab, cut.new(1))),
            "--cut",
            "plain",
        )
        is_taken_back(cut, seen, outcome, "oned on flc-b1 ended instead of starting")
    require_nothing_lost(cut, seen)


def test_killed_at_every_transition_it_is_cut_over(cut: Trial):
    """Nothing that was taken back is in the way; what each run left, the next one goes on from.

    Killed within the outage, it is finished or taken back.
    """
    lab = cut.lab
    with writes(lab) as seen:
        killed_at = kill_at_each_transition(
            cut, "rollout", honest=(FAILED, REFUSED, UNAVAILABLE, DEADLINE), outage=True
        )
        time.sleep(AFTERWARDS_S)
    print(*killed_at, sep="\n")  # noqa: T201 - for a human to judge
    wait_whole_of(lab, "b")
    assert lab.problems(seen.traffic, generation="b", version=NEXT, kept="ab") == []
    assert seen.watch.holders == []
    assert seen.watch.leaders_at_a_time() == []
    for address in lab.addresses("a"):
        assert unit(lab, address) == ["inactive", "masked"]
    begun = kinds(killed_at, "started")
    assert {"hold": 1, "cut-over": 1, "join": 2}.items() <= begun.items()
    assert {"cut-over": 1, "join": 2}.items() <= kinds(killed_at, "done", "failed").items()
