"""Going back to the generation that a rollout began with, as long as that is safe."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import Lab, next_release, wanted, zone

from onebaton.errors import RefusedError
from onebaton.model import NodeState
from onebaton.plan.abort import plan_abort
from onebaton.plan.actions import Plan
from onebaton.plan.roll import plan_roll

relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def ids(plan: Plan) -> list[str]:
    return [action.id for action in plan.actions]


def forward(lab: Lab, steps: int) -> list[str]:
    """Carry out so many actions of a roll, or all there are."""
    done = []
    for _ in range(steps):
        plan = plan_roll(lab.wanted, lab.observe())
        if not plan.actions:
            break
        lab.do(plan.actions[0])
        lab.write(25)
        done.append(plan.actions[0].id)
    return done


def go_back(lab: Lab) -> list[str]:
    """Observe, plan, carry out the first action, and again; ids of the actions done."""
    done = []
    plan = plan_abort(lab.wanted, lab.observe())
    while plan.actions:
        assert plan.transitions[0].during.holds
        lab.do(plan.actions[0])
        lab.write(25)
        done.append(plan.actions[0].id)
        rest = plan_abort(lab.wanted, lab.observe())
        assert rest.rest_of(plan), (ids(plan), ids(rest))
        plan = rest
    return done


def assert_old(lab: Lab, before: Lab) -> None:
    """The zone is what it was, and nothing of the new generation is left."""
    assert lab.servers == before.servers
    assert lab.leader == before.leader
    assert lab.elections == 0
    assert set(lab.machines) == set(before.machines)
    for address, machine in before.machines.items():
        now = lab.machines[address]
        assert (now.oned, now.masked, now.known) == (machine.oned, machine.masked, machine.known)
    assert all(lab.caught_up(s) for s in lab.servers)


def reasons(lab: Lab) -> str:
    with pytest.raises(RefusedError) as refusal:
        plan_abort(lab.wanted, lab.observe())
    return " ".join(refusal.value.details)


def test_after_all_joined() -> None:
    lab = zone(wanted(3))
    before = lab.copy()
    assert forward(lab, 6)[-1] == "refresh:z-b2"
    assert go_back(lab) == [
        "retire:5:z-b3",
        "retire:4:z-b2",
        "retire:3:z-b1",
        "destroy:z-b1,z-b2,z-b3",
    ]
    assert_old(lab, before)


def test_nothing_new_is_there() -> None:
    lab = zone(wanted(3))
    assert plan_abort(lab.wanted, lab.observe()) == Plan()


def test_nodes_that_are_no_members_yet_go_without_anything_else() -> None:
    lab = zone(wanted(3))
    before = lab.copy()
    forward(lab, 2)
    assert go_back(lab) == ["destroy:z-b1,z-b2,z-b3"]
    assert_old(lab, before)


def test_a_new_server_whose_machine_is_gone_leaves_first() -> None:
    lab = zone(wanted(3))
    before = lab.copy()
    forward(lab, 4)
    lab.named("z-b1").state = NodeState.VANISHED
    assert go_back(lab) == ["fence:3:z-b1", "retire:4:z-b2", "destroy:z-b2,z-b3"]
    assert_old(lab, before)


def test_a_new_server_that_cannot_be_reached_goes_with_its_machine() -> None:
    lab = zone(wanted(3))
    before = lab.copy()
    forward(lab, 4)
    machine = lab.named("z-b2")
    machine.ssh = machine.oned = False
    assert go_back(lab)[:2] == ["fence:4:z-b2", "retire:3:z-b1"]
    assert_old(lab, before)


@pytest.mark.parametrize("stage", [3, 4])
def test_a_cut_over_that_was_only_prepared_leaves_the_zone_alone(stage: int) -> None:
    lab = zone(next_release(3))
    before = lab.copy()
    assert forward(lab, stage)[-1].startswith(("prepare:", "hold:"))
    assert go_back(lab) == ["destroy:z-b1,z-b2,z-b3"]
    assert_old(lab, before)


def test_a_cut_over_that_was_carried_out_is_taken_back_by_rollback() -> None:
    lab = zone(next_release(3))
    assert forward(lab, 5)[-1] == "cut-over:z-b1"
    assert "onebaton rollback" in reasons(lab)
    forward(lab, 20)
    assert "onebaton rollback" in reasons(lab)


def test_a_cut_over_that_was_begun_is_taken_back_by_rollback() -> None:
    lab = zone(next_release(3))
    forward(lab, 4)
    for step in lab.steps(plan_roll(lab.wanted, lab.observe()).actions[0])[:2]:
        step()
    assert "a cut-over is under way" in reasons(lab)
    assert "onebaton rollback" in reasons(lab)


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_there_is_no_way_back_once_an_old_server_of_three_is_retired(strategy) -> None:
    lab = zone(wanted(3, strategy))
    for _ in range(30):
        done = forward(lab, 1)
        if done[0].startswith("retire"):
            break
    assert "could not carry the zone" in reasons(lab)
    assert "onebaton rollout" in reasons(lab)


def test_of_five_old_servers_three_are_enough() -> None:
    lab = zone(wanted(5))
    while not forward(lab, 1)[0].startswith("retire"):
        pass
    forward(lab, 1)
    assert len([s for s in lab.servers if s.name.startswith("z-a")]) == 3
    assert go_back(lab)[-1] == "destroy:z-b1,z-b2,z-b3,z-b4,z-b5"
    assert {s.name for s in lab.servers} == {"z-a1", "z-a4", "z-a5"}
    assert lab.elections == 0


def test_an_old_server_that_is_being_retired_is_not_left_behind() -> None:
    lab = zone(wanted(5))
    while not plan_roll(lab.wanted, lab.observe()).actions[0].id.startswith("retire"):
        forward(lab, 1)
    retire = plan_roll(lab.wanted, lab.observe()).actions[0]
    lab.steps(retire)[0]()
    assert "z-a2 does not serve" in reasons(lab)


def test_a_new_leader_is_not_deposed() -> None:
    lab = zone(wanted(3))
    while not forward(lab, 1)[0].startswith("hand-over"):
        pass
    assert "a new server leads already" in reasons(lab)
    forward(lab, 30)
    assert "no older generation" in reasons(lab)


def test_a_hand_over_that_was_begun_is_seen_through() -> None:
    lab = zone(wanted(3))
    while not plan_roll(lab.wanted, lab.observe()).actions[0].id.startswith("hand-over"):
        forward(lab, 1)
    lab.steps(plan_roll(lab.wanted, lab.observe()).actions[0])[0]()
    assert "hand-over to the new generation is under way" in reasons(lab)


def test_the_quorum_is_kept_on_the_way() -> None:
    """Two new servers, and an old one that is down: going back would end with two of three."""
    lab = zone(wanted(3))
    forward(lab, 4)
    lab.named("z-a2").oned = False
    assert "the old server z-a2 does not serve" in reasons(lab)


labs = st.builds(
    lambda size, strategy, leader, slot: zone(
        wanted(size, strategy), size, leader=leader % size, slot=slot
    ),
    size=st.integers(3, 7),
    strategy=st.sampled_from(["surge", "one-by-one"]),
    leader=st.integers(0, 8),
    slot=st.sampled_from(["a", "b", None]),
)


@relaxed
@given(
    labs,
    st.integers(0, 12),
    st.integers(0, 6),
    st.dictionaries(st.integers(0, 12), st.integers(0, 3), max_size=5),
)
def test_from_anywhere_in_a_roll_and_killed_anywhere_it_is_safe_or_refused(
    lab, steps, part, crashes
):
    before = lab.copy()
    forward(lab, steps)
    planned = plan_roll(lab.wanted, lab.observe()).actions
    for step in lab.steps(planned[0])[:part] if planned else ():
        step()
        lab.survive()
    lab.write(5)
    retired = {s.id for s in before.servers} - {s.id for s in lab.servers}
    try:
        plan_abort(lab.wanted, lab.observe())
    except RefusedError:
        old = [s for s in lab.servers if s in before.servers]
        # Refused only where something of the old generation is gone, or going.
        assert retired or lab.leader not in {s.id for s in old} or not all(map(lab.runs, old))
        return
    for number in range(60):
        plan = plan_abort(lab.wanted, lab.observe())
        if not plan.actions:
            break
        assert all(step.during.holds for step in plan)
        doing = lab.steps(plan.actions[0])
        for step in doing[: crashes.get(number, len(doing))]:
            step()
            lab.survive()
        lab.write(5)
    assert plan_abort(lab.wanted, lab.observe()) == Plan()
    assert lab.elections == 0
    digest = lab.wanted.image.digest
    assert not [m for m in lab.machines.values() if m.spec and m.spec.image_digest == digest]
    if not retired:
        assert_old(lab, before)


@relaxed
@given(labs, st.integers(0, 12), st.integers(0, 13), st.sampled_from(["down", "no ssh", "gone"]))
def test_a_harmed_zone_goes_back_safely_or_not_at_all(lab, steps, place, harm):
    forward(lab, steps)
    server = lab.servers[place % len(lab.servers)]
    machine = lab.machines[server.address]
    if harm == "gone" and machine.spec is None:
        return
    machine.oned = machine.oned and harm == "no ssh"
    machine.ssh = machine.ssh and harm != "no ssh"
    if harm == "gone":
        machine.state = NodeState.VANISHED
    if not lab.runs(next(s for s in lab.servers if s.id == lab.leader)):
        lab.leader = None
    with contextlib.suppress(RefusedError):
        while plan := plan_abort(lab.wanted, lab.observe()).transitions:
            assert all(step.during.holds for step in plan)
            lab.do(plan[0].action)
            lab.write(5)
        assert lab.elections <= 1
        assert lab.has_quorum
