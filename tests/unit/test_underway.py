"""What a rollout goes to is noted, and another one is refused while its work is half-done."""

import json

import pytest
from tests.fakes.store import MemoryStore
from tests.fakes.worlds import Lab, image, next_release, wanted, zone

from onebaton.errors import Status, UnreadableError
from onebaton.model import NodeState, Vip
from onebaton.plan.abort import plan_abort
from onebaton.plan.roll import plan_roll
from onebaton.plan.underway import Goal, goal_of, half_done, other_goal
from onebaton.plan.wanted import Condemned
from onebaton.rollout.notes import condemnations, goals
from onebaton.rollout.reporting import abort_view, status_view

GOAL = goal_of(wanted(3), 1.5)
OTHER = wanted(3, of=image("6.10.6"))


def forward(lab: Lab, steps: int) -> None:
    for _ in range(steps):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
        lab.write(25)


def test_it_comes_back_as_it_was_noted():
    note = goals(MemoryStore())
    assert note.load() is None
    note.save(GOAL)
    assert note.load() == GOAL == Goal("onebaton/z:6.10.5", "sha256:6.10.5", "6.10.5", 1.5)
    world = zone(wanted(3)).observe()
    note.save(goal_of(wanted(3), 2.5, world))
    assert note.load().endpoints == tuple(server.endpoint for server in world.zone.servers)
    note.forget()
    note.forget()
    assert note.load() is None


def test_each_note_has_a_file_of_its_own():
    store = MemoryStore()
    one = Condemned("z-a2", "10.0.0.12", "i", "sha256:6.10.0")
    condemnations(store).save(one)
    goals(store).save(GOAL)
    goals(store).forget()
    assert condemnations(store).load() == one


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"format": 1, "note"', "JSON"),
        (json.dumps({"format": 2, "note": None}).encode(), "another format"),
        (json.dumps({"format": 1}).encode(), "note"),
        (
            b'{"format": 1, "note": {"image": "i", "digest": 7, "version": "v", "began_at": 0.0}}',
            "note.digest",
        ),
    ],
)
def test_what_cannot_be_read_is_no_note(content, told):
    store = MemoryStore()
    store.write("rollout.json", content)
    with pytest.raises(UnreadableError) as error:
        goals(store).load()
    assert error.value.status == Status.UNREADABLE
    assert told in " ".join(error.value.details)
    assert "rollout.json" in error.value.message


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 6, 7, 8, 9])
def test_another_image_is_refused_from_the_first_node_to_the_last_old_server(steps):
    lab = zone(wanted(3))
    forward(lab, steps)
    world = lab.observe()
    assert half_done(GOAL, world)
    assert not [*other_goal(lab.wanted, world, GOAL)]
    (found,) = other_goal(OTHER, world, GOAL)
    for said in ("onebaton/z:6.10.5", "onebaton/z:6.10.6"):
        assert said in found.what
    assert "z-b1" in found.evidence
    assert "onebaton rollout --version 6.10.5" in found.way_out
    assert "onebaton abort" in found.way_out


def test_the_note_alone_refuses_nothing():
    lab = zone(wanted(3))
    assert not [*other_goal(OTHER, lab.observe(), GOAL)], "no node of it was made"
    forward(lab, 10)
    assert len(lab.servers) == 3
    assert not [*other_goal(OTHER, lab.observe(), GOAL)], "all servers run it"
    assert not [*other_goal(OTHER, lab.observe(), None)]


def test_after_an_abort_another_image_is_welcome():
    lab = zone(wanted(3))
    forward(lab, 4)
    while plan := plan_abort(lab.wanted, lab.observe()).actions:
        lab.do(plan[0])
    assert not [*other_goal(OTHER, lab.observe(), GOAL)]


def test_a_cut_over_that_was_prepared_counts_as_well():
    lab = zone(next_release(3))
    forward(lab, 4)
    (found,) = other_goal(OTHER, lab.observe(), goal_of(lab.wanted, 0.0))
    assert "outside of it" in found.evidence


def test_what_a_cut_over_left_is_not_half_done():
    """The rollout that brought the old generation is long over, whatever its note says."""
    lab = zone(next_release(3), version="6.10.5")
    forward(lab, 9)
    world = lab.observe()
    assert world.prior is not None
    assert half_done(GOAL, world) == ()


def test_the_status_tells_of_it():
    lab = zone(wanted(3))
    forward(lab, 3)
    vip = Vip("10.0.0.100", 24, "eth0")
    (note,) = status_view(lab.observe(), vip, 0.0, GOAL).notes
    assert "onebaton abort" in note
    assert status_view(lab.observe(), vip, 0.0).notes == ()


def test_an_operator_is_told_what_leaves():
    lab = zone(wanted(3))
    forward(lab, 4)
    lab.named("z-b1").state = NodeState.VANISHED
    view = abort_view(lab.wanted, plan_abort(lab.wanted, lab.observe()))
    assert view.retires == ("z-b1", "z-b2")
    assert view.destroys == ("z-b1", "z-b2", "z-b3")
