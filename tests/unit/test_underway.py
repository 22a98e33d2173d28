"""What a rollout goes to is noted, and another one is refused while its work is half-done."""

import json
from dataclasses import replace

import pytest
from tests.fakes.store import MemoryStore
from tests.fakes.worlds import Lab, image, next_release, wanted, zone

from onebaton.errors import RefusedError, Status, UnreadableError
from onebaton.model import NodeState, Vip, World
from onebaton.plan.abort import former_digest, plan_abort, plan_swap_back
from onebaton.plan.roll import plan_roll
from onebaton.plan.underway import Goal, goal_of, half_done, other_goal
from onebaton.plan.wanted import Condemned, Wanted
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
    note.save(goal_of(wanted(3, "swap"), 2.5, world))
    assert note.load().strategy == "swap"
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


def test_a_swap_is_half_done_while_machines_of_both_images_share_their_places():
    lab = zone(wanted(3, "swap"))
    forward(lab, 5)
    goal, world = goal_of(lab.wanted, 1.5), lab.observe()
    assert [node.spec.name for node in half_done(goal, world)] == ["z-a2", "z-a3"]
    vip = Vip("10.0.0.100", 24, "eth0")
    view = status_view(world, vip, 0.0, goal)
    (note,) = view.notes
    assert "a rollout by swap to onebaton/z:6.10.5" in note
    assert [row.image for row in view.nodes] == [
        "onebaton/z:6.10.0",
        "onebaton/z:6.10.5",
        "onebaton/z:6.10.5",
    ]
    (found,) = other_goal(OTHER, world, goal)
    assert "onebaton abort" in found.way_out


@pytest.mark.parametrize(("begun", "now"), [("swap", "surge"), ("one-by-one", "swap")])
def test_a_swap_is_not_gone_on_with_beside_the_old_machines_nor_the_other_way_round(begun, now):
    lab = zone(wanted(3, begun))
    forward(lab, 3)
    (found,) = other_goal(wanted(3, now), lab.observe(), goal_of(lab.wanted, 1.5))
    assert f"begun as {begun}, and rollout.strategy is {now}" in found.what
    assert f"rollout.strategy to {begun}" in found.way_out
    assert not [*other_goal(wanted(3, begun), lab.observe(), goal_of(lab.wanted, 1.5))]


def test_an_operator_is_told_what_is_made_anew():
    lab = zone(wanted(3, "swap"))
    forward(lab, 5)
    former = replace(
        wanted(3, "swap", of=image("6.10.0")), given_up=former_of(lab.wanted, lab.observe())
    )
    view = abort_view(lab.wanted, plan_swap_back(former, lab.observe()))
    assert (view.retires, view.destroys) == ((), ())
    assert view.swaps == ("z-a3", "z-a2")


def former_of(given_up: Wanted, world: World) -> str:
    """The digest that is given up, once the one to go back to was told from the machines."""
    assert former_digest(given_up, world) == "sha256:6.10.0"
    return given_up.image.digest


def test_there_is_nothing_to_swap_back_to_once_every_machine_is_new():
    lab = zone(wanted(3, "swap"))
    forward(lab, 10)
    with pytest.raises(RefusedError, match=r"every server runs 6\.10\.5") as refusal:
        former_digest(lab.wanted, lab.observe())
    assert "onebaton rollout" in str(refusal.value.resolution)


def test_an_operator_is_told_what_leaves():
    lab = zone(wanted(3))
    forward(lab, 4)
    lab.named("z-b1").state = NodeState.VANISHED
    view = abort_view(lab.wanted, plan_abort(lab.wanted, lab.observe()))
    assert view.retires == ("z-b1", "z-b2")
    assert view.destroys == ("z-b1", "z-b2", "z-b3")
