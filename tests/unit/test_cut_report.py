"""What the report of a rollout says of a cut-over."""

from dataclasses import replace

import pytest
from tests.fakes.clock import VirtualClock
from tests.fakes.reporter import ListReporter
from tests.fakes.worlds import SCHEMA, wanted, zone

from onebaton.model import Health, Prior, PriorPhase, World
from onebaton.plan.actions import CutOver, Plan, Seed, Transition
from onebaton.plan.quorum import Quorum
from onebaton.rollout.cut_report import CutReport
from onebaton.rollout.runner import Taken

NOW = Quorum(3, 3)
CUT = Plan((Transition(CutOver("z-b1", "stand-by"), "why", NOW, NOW, NOW),))
PRIOR = Prior(
    zone=zone(wanted(3)).observe().zone,
    leader_id=0,
    node="z-b1",
    schema=SCHEMA,
    version="6.10.0",
    image_digest="sha256:7",
    way="stand-by",
    phase=PriorPhase.SERVED,
    began_at=100.0,
    cut_index=1000,
    served_at=102.5,
)


def world(size: int, *, down: int = 0, prior: Prior | None = PRIOR) -> World:
    """A new zone of so many servers."""
    seen = zone(wanted(size), slot="b").observe()
    members = tuple(
        replace(m, health=Health.UNHEALTHY) if place >= size - down else m
        for place, m in enumerate(seen.members)
    )
    return replace(seen, members=members, prior=prior)


def follow(*seen: tuple[float, World], size: int = 3, plan: Plan = CUT) -> CutReport:
    """A rollout that observed these, each at its moment."""
    clock = VirtualClock()
    report = CutReport(clock, ListReporter(), size, plan, seen[0][1].prior)
    for at, what in seen:
        clock.sleep(at - clock.now())
        report.seen(what)
    return report


def taken(step: str, ended_at: float) -> Taken:
    return Taken(step, step, ended_at - 5.0, 5.0, "done")


def test_a_roll_says_nothing_of_a_cut_over():
    report = follow((90.0, world(3, prior=None)), (120.0, world(3, prior=None)), plan=Plan())
    assert report.notes() == ()
    assert not report.is_cut_over


def test_time_without_redundancy_ends_with_the_join_of_the_third_server():
    report = follow(
        (90.0, world(3, prior=None)),
        (104.0, world(1)),
        (115.0, world(2)),
        (126.0, world(3)),
        (140.0, world(3)),
    )
    cut, redundancy, kept = report.notes(
        (
            taken("cut-over:z-b1", 103.0),
            taken("join:z-b2", 114.0),
            taken("join:z-b3", 125.5),
            taken("restore:z-b1", 139.0),
        )
    )
    assert cut == "the cut (held stand-by): 2.5 s from its beginning to the first write"
    assert redundancy == "time without redundancy: 23 s"
    assert "z-a1, z-a2, z-a3" in kept
    assert "onebaton rollback" in kept
    assert "onebaton finalize" in kept
    assert report.is_cut_over


def test_where_the_outage_went_is_kept_and_what_other_steps_say_is_not():
    said = ListReporter()
    report = CutReport(VirtualClock(), said, 3, CUT, None)
    report.seen(world(3, prior=None))
    report.before(Seed("z-a2", ("z-b1",)))
    report.reporter.note("seeded")
    report.seen(world(3, prior=None))
    report.before(CutOver("z-b1", "stand-by"))
    report.reporter.warn("vm 7 is in flight")
    report.reporter.progress("cutting over: old servers stopped")
    report.reporter.note("old servers stopped: 0.61 s")
    report.seen(world(1))
    report.reporter.note("joined")
    assert [note for note in report.notes() if note.startswith("in the cut")] == [
        "in the cut: warning: vm 7 is in flight",
        "in the cut: old servers stopped: 0.61 s",
    ]
    # The operator is told all of it as it goes on.
    assert {"seeded", "old servers stopped: 0.61 s", "joined"} <= set(said.notes)


def test_three_of_which_one_is_down_bear_no_loss_yet():
    report = follow((104.0, world(2)), (115.0, world(3, down=1)), (130.0, world(3)))
    assert "time without redundancy: 28 s" in report.notes((taken("refresh:z-b2", 130.0),))


def test_a_run_that_goes_on_counts_from_the_first_write():
    report = follow((500.0, world(2)), (510.5, world(3)), plan=Plan())
    assert "time without redundancy: 408 s" in report.notes((taken("join:z-b3", 510.0),))
    assert report.is_cut_over


def test_what_an_earlier_run_brought_about_is_not_measured_again():
    report = follow((900.0, world(3)), (910.0, world(3)), plan=Plan())
    assert not any("redundancy" in note for note in report.notes())


@pytest.mark.parametrize(("size", "said"), [(1, "1 server "), (2, "2 servers ")])
def test_a_small_zone_has_none(size, said):
    report = follow((104.0, world(1)), (110.0, world(size)), size=size)
    (note,) = (note for note in report.notes() if "redundancy" in note)
    assert said in note
    assert "none" in note


@pytest.mark.parametrize("phase", [PriorPhase.CUTTING, PriorPhase.FINAL])
def test_what_is_not_served_or_is_final_has_no_way_back_to_tell_of(phase):
    prior = replace(PRIOR, phase=phase)
    assert follow((104.0, world(3, prior=prior))).notes() == ()
