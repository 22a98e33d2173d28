"""What the doctor says to a rollout: blockers, but never what an interrupted step left."""

from dataclasses import replace

import pytest
from tests.fakes.examiner import VIP, sound
from tests.fakes.worlds import Lab, next_release, wanted, zone

from onebaton.examination import Checkup, Examination, Reading, Transients
from onebaton.plan.diagnosis.blocking import in_the_way, spared
from onebaton.plan.findings import Finding
from onebaton.plan.roll import plan_roll


def looked_at(lab: Lab, **others: Examination) -> Checkup:
    """Sound machines, but for some."""
    ids = tuple(sorted(s.id for s in lab.servers))
    machines: dict[str, Examination | str] = {s.name: sound() for s in lab.servers} | others
    return Checkup(
        2.0, machines, {i: Reading(lab.term, ids) for i in ids}, Transients((), 1, complete=True)
    )


def found(lab: Lab, checkup: Checkup) -> tuple[Finding, ...]:
    plan_roll(lab.wanted, lab.observe())  # it is not refused
    seen = spared(lab.wanted, lab.observe())
    return in_the_way(lab.wanted, seen, checkup, VIP) if seen is not None else ()


@pytest.mark.parametrize("goal", [wanted(3), next_release(3)])
def test_a_sound_zone_is_rolled_and_cut_over(goal):
    lab = zone(goal)
    assert found(lab, looked_at(lab)) == ()


def test_what_no_gate_asks_stands_in_the_way():
    lab = zone(wanted(3))
    hookless = replace(sound(), may_change_addresses=False)
    (finding,) = found(lab, looked_at(lab, **{"z-a2": hookless}))
    assert "z-a2" in finding.what
    assert finding.way_out


def test_a_term_that_rises_stands_in_the_way():
    lab = zone(wanted(3))
    checkup = looked_at(lab)
    readings = {i: Reading(lab.term + 4, r.servers) for i, r in checkup.readings.items()}
    assert "the term changed" in found(lab, replace(checkup, readings=readings))[0].what


def test_a_warning_and_what_cannot_be_told_do_not():
    lab = zone(wanted(3))
    machines = {"z-a2": replace(sound(), has_arping=False), "z-a3": "no answer"}
    assert found(lab, looked_at(lab, **machines)) == ()


def test_a_member_that_a_step_was_busy_with_is_that_steps():
    """Killed between addserver and the start: no configuration yet, and no word of its own."""
    lab = zone(wanted(3))
    for _ in range(3):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    join = plan_roll(lab.wanted, lab.observe()).actions[0]
    for step in lab.steps(join)[:2]:
        step()
    assert not lab.runs(lab.servers[-1])
    blank = replace(sound(), may_change_addresses=False, hooks=())
    checkup = looked_at(lab, **{"z-b2": blank})
    own = checkup.readings | {lab.servers[-1].id: Reading(0, ())}
    assert found(lab, replace(checkup, readings=own)) == ()


@pytest.mark.parametrize(
    "goal",
    [wanted(3), wanted(3, "one-by-one"), next_release(3), next_release(3, way="plain")],
    ids=["surge", "one-by-one", "stand-by", "plain"],
)
def test_nothing_that_a_rollout_passes_through_stands_in_its_way(goal):
    trunk = zone(goal)
    looks = 0
    while planned := plan_roll(trunk.wanted, trunk.observe()).actions:
        for carried_out in range(len(trunk.steps(planned[0]))):
            lab = trunk.copy()
            for step in lab.steps(planned[0])[:carried_out]:
                step()
            lab.write(10)
            assert found(lab, looked_at(lab)) == (), planned[0].id
            looks += 1
        trunk.do(planned[0])
        trunk.write(100)  # one that has just started stands some records back
    assert looks > 20


def test_a_hand_over_that_was_begun_waits_for_no_doctor():
    lab = zone(wanted(3))
    while not (action := plan_roll(lab.wanted, lab.observe()).actions[0]).id.startswith("hand"):
        lab.do(action)
    lab.steps(action)[0]()
    assert spared(lab.wanted, lab.observe()) is None
