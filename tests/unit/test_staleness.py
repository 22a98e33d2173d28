"""Each thing that a plan was decided on, changed: told by its name, and nothing else is."""

from dataclasses import replace

import pytest
from tests.fakes.planning import SETTINGS, STATE, planned, planned_cut

from onebaton.errors import RefusedError
from onebaton.plan.actions import Plan
from onebaton.plan.artefact import Artefact, Listed, Waypoint, waypoint_of
from onebaton.plan.roll import plan_roll
from onebaton.plan.staleness import (
    Around,
    Difference,
    changed_around,
    changed_steps,
    changed_zone,
    refuse_stale,
)
from onebaton.records import StateIdentity

AROUND = Around(
    onebaton="0.1.0",
    settings=SETTINGS,
    known=True,
    revoked="",
    channel_digest=None,
    rehearsal="",
    state=STATE,
)


@pytest.fixture
def artefact() -> Artefact:
    return planned()[1]


def told(found: tuple[Difference, ...]) -> list[str]:
    return [str(one) for one in found]


def test_nothing_changed(artefact):
    assert changed_zone(artefact, artefact.start, fresh=True) == ()
    assert changed_around(artefact, AROUND, state=STATE) == ()


def moved(zone: Waypoint, number: int, **changes: object) -> Waypoint:
    """One member is another."""
    members = list(zone.members)
    members[number] = replace(members[number], **changes)
    return replace(zone, members=tuple(members))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda z: replace(z, leader="z-a3"), "leader: planned z-a1; now z-a3"),
        (
            lambda z: moved(z, 1, endpoint="http://10.0.0.55:2633/RPC2"),
            "endpoint of server 1 (z-a2): planned http://10.0.0.12:2633/RPC2; now "
            "http://10.0.0.55:2633/RPC2",
        ),
        (
            lambda z: moved(z, 1, id=7),
            "id of the server at http://10.0.0.12:2633/RPC2: planned 1; now 7",
        ),
        (
            lambda z: moved(z, 1, name="other"),
            "name of the server at http://10.0.0.12:2633/RPC2: planned z-a2; now other",
        ),
        (
            lambda z: replace(z, members=z.members[:2]),
            "member: planned server 2 (z-a3) at http://10.0.0.13:2633/RPC2; now gone",
        ),
        (
            lambda z: replace(z, members=(*z.members, Listed(9, "new", "http://10.0.0.9:2633/"))),
            "member: planned none at http://10.0.0.9:2633/; now server 9 (new) was added",
        ),
        (
            lambda z: replace(z, schema="6.12.0"),
            "schema of the zone: planned 6.10.0; now 6.12.0",
        ),
    ],
    ids=["leader", "endpoint", "id", "name", "gone", "added", "schema"],
)
def test_another_zone(artefact, change, text):
    assert told(changed_zone(artefact, change(artefact.start), fresh=True)) == [text]


def test_that_nobody_leads_is_for_the_gates_to_tell(artefact):
    nobody = replace(artefact.start, leader=None)
    assert changed_zone(artefact, nobody, fresh=True) == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"onebaton": "0.2.0"}, "onebaton: planned 0.1.0; now 0.2.0"),
        (
            {"settings": {**SETTINGS, "rollout.strategy": "9", "new": "1"}},
            "configuration: planned as it was; now other values of new, rollout.strategy",
        ),
        ({"known": False}, "image: planned onebaton/z:6.10.5; now not in the catalogue any more"),
        ({"revoked": "it leaks"}, "image: planned onebaton/z:6.10.5; now revoked: it leaks"),
        (
            {"state": StateIdentity("lineage", 8)},
            "Terraform state: planned serial 7 of lineage; now serial 8 of lineage",
        ),
        (
            {"state": StateIdentity("other", 7)},
            "Terraform state: planned serial 7 of lineage; now serial 7 of other",
        ),
        ({"state": None}, "Terraform state: planned serial 7 of lineage; now none"),
    ],
)
def test_something_else_beside_the_zone(artefact, changes, text):
    found = changed_around(artefact, replace(AROUND, **changes), state=STATE)
    assert told(found) == [text]


def test_a_channel_that_moved():
    _, artefact = planned(channel="staging")
    there = replace(AROUND, channel_digest="sha256:6.10.5")
    assert changed_around(artefact, there, state=STATE) == ()
    moved_on = replace(AROUND, channel_digest="sha256:6.10.6")
    assert told(changed_around(artefact, moved_on, state=STATE)) == [
        "channel staging: planned sha256:6.10.5; now sha256:6.10.6"
    ]
    assert told(changed_around(artefact, AROUND, state=STATE)) == [
        "channel staging: planned sha256:6.10.5; now no image"
    ]


@pytest.mark.parametrize(
    ("now", "text"),
    [("sha256:newer", "there is a newer one, or it changed"), ("", "it is gone")],
)
def test_a_rehearsal_that_is_another(now, text):
    _, artefact = planned_cut()
    there = replace(AROUND, rehearsal="sha256:report")
    assert changed_around(artefact, there, state=STATE) == ()
    found = changed_around(artefact, replace(AROUND, rehearsal=now), state=STATE)
    assert told(found) == [f"rehearsal: planned rehearsals/1.json; now {text}"]


def test_progress_of_its_own_making_is_no_change():
    """After each step, the zone and what is left to be done are as foreseen."""
    for make in (planned, planned_cut):
        lab, artefact = make()
        for number, step in enumerate(artefact.steps):
            world = lab.observe()
            plan = plan_roll(lab.wanted, world)
            fresh = number == 0
            assert changed_zone(artefact, waypoint_of(world), fresh=fresh) == ()
            assert changed_steps(artefact, plan, fresh=fresh) == ()
            assert plan.actions[0].id == step.id
            lab.do(plan.actions[0])
        assert changed_zone(artefact, waypoint_of(lab.observe()), fresh=False) == ()
        assert changed_steps(artefact, Plan(), fresh=False) == ()


def test_what_was_begun_by_somebody_else_is_not_this_plans_progress():
    lab, artefact = planned()
    for _ in range(3):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    world = lab.observe()
    assert told(changed_zone(artefact, waypoint_of(world), fresh=True)) == [
        "member: planned none at http://10.0.0.21:2633/RPC2; now server 3 (z-b1) was added"
    ]
    (found,) = changed_steps(artefact, plan_roll(lab.wanted, world), fresh=True)
    assert found.what == "steps"


def test_steps_that_take_servers_out_are_the_plans_own():
    """A plan for another leader retires others: it is no rest of this one."""
    lab, artefact = planned()
    lab.leader = 2
    lab.named("z-a1").vip, lab.named("z-a3").vip = False, True
    other = plan_roll(lab.wanted, lab.observe())
    (found,) = changed_steps(artefact, other, fresh=False)
    assert found.what == "steps"
    assert "retire:0:z-a1" in found.now


def test_a_refusal_says_whether_anything_was_done():
    one = Difference("leader", "a", "b")
    refuse_stale((), begun=False, again="x")
    with pytest.raises(RefusedError, match="one thing that it was decided on") as error:
        refuse_stale((one,), begun=False, again="onebaton plan --out p")
    assert error.value.details == ("leader: planned a; now b",)
    assert "Nothing was changed" in (error.value.resolution or "")
    with pytest.raises(RefusedError, match="2 things that it was decided on") as error:
        refuse_stale((one, one), begun=True, again="onebaton plan --out p")
    assert "onebaton abort" in (error.value.resolution or "")
