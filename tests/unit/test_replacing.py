"""A failed or suspect machine is replaced: what is planned, and what is refused."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import Lab, image, wanted, zone

from onebaton.errors import RefusedError, UsageError
from onebaton.model import NodeState
from onebaton.plan.actions import Plan
from onebaton.plan.parking import plan_park
from onebaton.plan.replacing import condemn, plan_replace, size_of
from onebaton.plan.roll import plan_roll
from onebaton.plan.underway import goal_of
from onebaton.plan.wanted import Condemned, Wanted

GOAL = wanted(3, of=image("6.10.0"))
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def goal_for(lab: Lab, one: Condemned) -> Wanted:
    return replace(lab.wanted, size=size_of(lab.observe(), one), condemned=one)


def carry_out(lab: Lab, one: Condemned) -> list[str]:
    """Observe, plan, carry out the first action, and again; ids of the actions done."""
    done = []
    plan = plan_replace(goal_for(lab, one), lab.observe())
    while plan.actions:
        assert plan.transitions[0].during.holds
        lab.do(plan.actions[0])
        lab.write(25)
        done.append(plan.actions[0].id)
        rest = plan_replace(goal_for(lab, one), lab.observe())
        assert rest.rest_of(plan), (done, [a.id for a in rest.actions])
        plan = rest
    return done


def of(size: int = 3, *, leader: int = 0) -> Lab:
    return zone(wanted(size, of=image("6.10.0")), size, leader=leader)


def assert_replaced(lab: Lab, one: Condemned) -> None:
    """As many serve as before, under the same names, and another machine in the place."""
    names = {f"z-a{i + 1}" for i in range(lab.wanted.size)}
    assert {s.name for s in lab.servers} == names == {m.name for m in lab.machines.values()}
    assert lab.machines[one.address].instance != one.instance
    for server in lab.servers:
        machine = lab.machines[server.address]
        assert lab.caught_up(server)
        assert machine.election_timeout_ms == 5000
        assert machine.vip == (server.id == lab.leader)
        others = {s.id for s in lab.servers} - {server.id}
        assert server.id == lab.leader or others <= machine.known
    assert plan_roll(lab.wanted, lab.observe()) == Plan()


def reasons(lab: Lab, name: str) -> str:
    one = condemn(lab.observe(), name, None)
    with pytest.raises(RefusedError) as refusal:
        plan_replace(goal_for(lab, one), lab.observe())
    return " ".join([refusal.value.message, *refusal.value.details, str(refusal.value.resolution)])


def test_a_suspect_follower():
    lab = of()
    one = condemn(lab.observe(), "z-a2", None)
    assert carry_out(lab, one) == [
        "retire:1:z-a2",
        "destroy:z-a2",
        "provision:z-a2",
        "seed:z-a2",
        "join:z-a2",
        "refresh:z-a3",  # z-a1 leads, and will read the list anew when it is elected again
    ]
    assert lab.elections == 0
    assert_replaced(lab, one)


@pytest.mark.parametrize("harm", ["vanished", "switched off", "no ssh"])
def test_a_machine_that_does_not_answer_goes_before_its_server(harm):
    lab = of()
    machine = lab.named("z-a2")
    machine.oned = False
    machine.ssh = harm != "no ssh"
    machine.state = {
        "vanished": NodeState.VANISHED,
        "switched off": NodeState.STOPPED,
        "no ssh": NodeState.RUNNING,
    }[harm]
    one = condemn(lab.observe(), "z-a2", None)
    assert carry_out(lab, one)[:2] == ["fence:1:z-a2", "provision:z-a2"]
    assert lab.elections == 0
    assert_replaced(lab, one)


def test_a_leader_hands_over_to_a_server_that_the_others_know():
    lab = of(leader=0)
    one = condemn(lab.observe(), "z-a1", None)
    assert carry_out(lab, one)[:4] == [
        "refresh:z-a2",
        "hand-over:0:z-a1:z-a2",
        "retire:0:z-a1",
        "destroy:z-a1",
    ]
    assert lab.elections == 1
    assert_replaced(lab, one)


def test_a_killed_leader_that_kept_the_virtual_ip():
    """Its follower hook did not run: two machines hold it (measured note)."""
    lab = of(leader=1)
    lab.named("z-a1").oned, lab.named("z-a1").vip = False, True
    one = condemn(lab.observe(), "z-a1", None)
    assert carry_out(lab, one)[0] == "retire:0:z-a1"
    assert_replaced(lab, one)


def test_a_parked_server():
    lab = of()
    lab.do(plan_park(GOAL, lab.observe(), "z-a2").actions[0])
    one = condemn(lab.observe(), "z-a2", None)
    assert carry_out(lab, one)[0] == "retire:1:z-a2"
    assert_replaced(lab, one)


def test_the_quorum_is_kept():
    lab = of()
    lab.named("z-a3").oned = False
    assert "onebaton replace z-a3" in reasons(lab, "z-a2")
    lab.named("z-a2").oned = False
    assert "z-a3" in reasons(lab, "z-a2")
    assert "quorum" in reasons(of(2), "z-a2")


def test_nobody_else_is_parked():
    lab = of()
    lab.do(plan_park(GOAL, lab.observe(), "z-a3").actions[0])
    assert "onebaton unpark z-a3" in reasons(lab, "z-a2")


def test_images_of_machines_on_its_own_disk_are_not_destroyed():
    lab = of()
    world = lab.observe()
    members = [
        replace(m, facts=replace(m.facts, local_datastores=m.host.name == "z-a2"))
        for m in world.members
        if m.facts is not None
    ]
    world = replace(world, members=tuple(members))
    one = condemn(world, "z-a2", None)
    with pytest.raises(RefusedError) as refusal:
        plan_replace(goal_for(lab, one), world)
    assert "holds images on its own disk" in refusal.value.details[0]


def test_machines_of_somebody_else_and_names_that_nobody_has():
    lab = zone(wanted(3), slot=None)
    with pytest.raises(RefusedError, match="somebody else"):
        condemn(lab.observe(), "one-2", None)
    with pytest.raises(UsageError):
        condemn(lab.observe(), "z-a7", None)


def test_a_roll_is_finished_first():
    lab = zone(wanted(3))
    for _ in range(3):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    with pytest.raises(RefusedError, match="half-done"):
        condemn(lab.observe(), "z-a2", goal_of(lab.wanted, 0.0))
    # The same without a note of it: the image is that of the machine to be replaced.
    lab.wanted = wanted(3, of=image("6.10.0"))
    assert "Finish the rollout" in reasons(lab, "z-a2")


def test_the_new_machine_is_not_replaced_again():
    """The machine is told by its identity: under its name there is another one now."""
    lab = of()
    one = condemn(lab.observe(), "z-a2", None)
    carry_out(lab, one)
    assert plan_replace(goal_for(lab, one), lab.observe()) == Plan()


@relaxed
@given(
    st.integers(3, 7),
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from(["", "down", "gone"]),
    st.dictionaries(st.integers(0, 20), st.integers(0, 4), max_size=8),
)
def test_killed_anywhere_it_goes_on(size, leader, place, harm, crashes):
    lab = of(size, leader=leader % size)
    name = f"z-a{place % size + 1}"
    leads = place % size == leader % size
    if harm and not leads:
        lab.named(name).oned = False
        if harm == "gone":
            lab.named(name).state = NodeState.VANISHED
    one = condemn(lab.observe(), name, None)
    for number in range(100):
        plan = plan_replace(goal_for(lab, one), lab.observe()).transitions
        if not plan:
            break
        assert all(step.during.holds for step in plan)
        steps = lab.steps(plan[0].action)
        for step in steps[: crashes.get(number, len(steps))]:
            step()
            lab.survive()
        lab.write(10)
    assert lab.elections == leads
    assert_replaced(lab, one)


@relaxed
@given(st.integers(0, 8), st.integers(0, 2), st.sampled_from(["down", "no ssh", "gone", "late"]))
def test_a_zone_that_is_harmed_on_the_way_is_refused_or_stays_safe(before, place, harm):
    lab = of()
    one = condemn(lab.observe(), "z-a2", None)
    for _ in range(before):
        plan = plan_replace(goal_for(lab, one), lab.observe())
        if plan.actions:
            lab.do(plan.actions[0])
            lab.write(10)
    server = lab.servers[place % len(lab.servers)]
    machine = lab.machines[server.address]
    machine.oned = machine.oned and harm in ("no ssh", "late")
    machine.ssh = machine.ssh and harm != "no ssh"
    if harm == "gone":
        machine.state = NodeState.VANISHED
    if harm == "late" and server.id != lab.leader:
        machine.index = 0
    if not lab.runs(next(s for s in lab.servers if s.id == lab.leader)):
        lab.leader = None
    with contextlib.suppress(RefusedError):
        while plan := plan_replace(goal_for(lab, one), lab.observe()).transitions:
            assert all(step.during.holds for step in plan)
            lab.do(plan[0].action)
            lab.write(10)
        assert lab.healthy == 3
