"""A follower out of service and back: what is planned, and what is refused."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import Lab, image, next_release, wanted, zone

from onebaton.errors import RefusedError, Status, UsageError
from onebaton.model import NodeState
from onebaton.plan.abort import plan_abort
from onebaton.plan.actions import Plan
from onebaton.plan.bootstrap import plan_bootstrap
from onebaton.plan.parking import plan_park, plan_unpark
from onebaton.plan.roll import plan_roll

GOAL = wanted(3, of=image("6.10.0"))
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def carry_out(lab: Lab, plan) -> list[str]:
    done = []
    while actions := plan(lab.wanted, lab.observe(), "z-a2").transitions:
        assert all(step.during.holds for step in actions)
        lab.do(actions[0].action)
        lab.write(25)
        done.append(actions[0].action.id)
        assert len(done) < 10
    return done


def reasons(plan, lab: Lab, name: str = "z-a2") -> str:
    with pytest.raises(RefusedError) as refusal:
        plan(lab.wanted, lab.observe(), name)
    return " ".join(refusal.value.details)


def parked_zone(goal=GOAL) -> Lab:
    lab = zone(goal)
    assert carry_out(lab, plan_park) == ["park:1:z-a2"]
    return lab


def test_there_and_back():
    lab = zone(GOAL)
    before = lab.copy()
    assert carry_out(lab, plan_park) == ["park:1:z-a2"]
    assert lab.servers == before.servers
    lab.write(1000)
    assert carry_out(lab, plan_unpark) == ["unpark:1:z-a2"]
    assert lab.servers == before.servers
    assert lab.elections == 0
    assert lab.caught_up(lab.servers[1])
    assert plan_roll(GOAL, lab.observe()) == Plan()


def test_the_plan_says_what_the_zone_can_bear():
    (step,) = plan_park(GOAL, zone(GOAL).observe(), "z-a2").transitions
    assert str(step.during).startswith("2 of 3 needed, 2 healthy seen, survives no further")


def test_out_for_too_long_it_is_seeded_anew():
    lab = parked_zone()
    lab.write(125_000)
    assert carry_out(lab, plan_unpark) == ["seed:z-a2", "unpark:1:z-a2"]
    assert lab.caught_up(lab.servers[1])


def test_other_secrets_are_replaced_by_the_zones():
    lab = parked_zone()
    lab.named("z-a2").secret = "another"
    assert carry_out(lab, plan_unpark)[0] == "seed:z-a2"


def test_one_that_passed_over_a_record_of_the_log_is_seeded_anew():
    lab = zone(GOAL)
    lab.named("z-a2").passed_over = 7
    assert carry_out(lab, plan_park) == ["park:1:z-a2"]
    assert carry_out(lab, plan_unpark) == ["seed:z-a2", "unpark:1:z-a2"]
    assert plan_roll(GOAL, lab.observe()) == Plan()


def test_nothing_is_copied_from_one_that_passed_over_a_record():
    lab = parked_zone()
    lab.write(125_000)
    lab.named("z-a3").passed_over = 7
    seed, *_ = plan_unpark(GOAL, lab.observe(), "z-a2").actions
    assert seed.source == "z-a1"


def test_nothing_is_done_twice():
    lab = parked_zone()
    assert plan_park(GOAL, lab.observe(), "z-a2") == Plan()
    carry_out(lab, plan_unpark)
    assert plan_unpark(GOAL, lab.observe(), "z-a2") == Plan()


def test_the_leader_is_not_parked():
    told = reasons(plan_park, zone(GOAL), "z-a1")
    assert "z-a1 leads the zone" in told
    assert "Stop opennebula.service on it" in told


def test_it_is_not_parked_where_the_others_have_no_majority():
    lab = zone(GOAL)
    lab.named("z-a3").oned = False
    told = reasons(plan_park, lab)
    assert "2 of 3 needed, 1 healthy seen, no quorum" in told
    assert "no quorum" in reasons(plan_park, zone(wanted(2, of=image("6.10.0"))))


def test_one_that_is_down_can_be_parked():
    lab = zone(GOAL)
    lab.named("z-a2").oned = False
    assert carry_out(lab, plan_park) == ["park:1:z-a2"]


def test_a_machine_that_does_not_answer_is_not_parked():
    lab = zone(GOAL)
    lab.named("z-a2").state = NodeState.STOPPED
    assert "onebaton replace z-a2" in reasons(plan_park, lab)


def test_a_name_that_nobody_has():
    with pytest.raises(UsageError) as error:
        plan_park(GOAL, zone(GOAL).observe(), "z-a9")
    assert error.value.status == Status.USAGE
    assert "z-a1, z-a2, z-a3" in str(error.value.resolution)


def test_servers_of_somebody_else_are_parked_as_well():
    lab = zone(wanted(3), slot=None)
    lab.do(plan_park(lab.wanted, lab.observe(), "one-2").actions[0])
    assert plan_unpark(lab.wanted, lab.observe(), "one-2").actions[0].id == "unpark:1:one-2"


@pytest.mark.parametrize("goal", [GOAL, wanted(3), wanted(5), next_release(3)])
def test_no_rollout_is_begun_meanwhile(goal):
    lab = parked_zone(goal)
    with pytest.raises(RefusedError) as refusal:
        plan_roll(goal, lab.observe())
    assert "onebaton unpark z-a2" in " ".join(refusal.value.details)


@pytest.mark.parametrize("steps", range(1, 8))
@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_nor_is_one_gone_on_with(strategy, steps):
    """Stopped and masked is what a roll leaves that retires it: the note makes the difference."""
    lab = zone(wanted(3, strategy))
    for _ in range(steps):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
        lab.write(25)
    name = next(s.name for s in lab.servers if s.id != lab.leader)
    lab.do(plan_park(lab.wanted, lab.observe(), name).actions[0])
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, lab.observe())
    assert f"onebaton unpark {name}" in " ".join(refusal.value.details)
    while plan := plan_unpark(lab.wanted, lab.observe(), name).actions:
        lab.do(plan[0])
    while plan := plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(plan[0])
        lab.write(25)
    assert lab.elections == 1


def test_nor_is_one_given_up():
    lab = zone(wanted(3))
    for _ in range(4):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.do(plan_park(lab.wanted, lab.observe(), "z-a2").actions[0])
    with pytest.raises(RefusedError) as refusal:
        plan_abort(lab.wanted, lab.observe())
    assert "onebaton unpark z-a2" in " ".join(refusal.value.details)


def test_nor_does_a_bootstrap_start_it():
    lab = parked_zone()
    world = lab.observe()
    with pytest.raises(RefusedError) as refusal:
        plan_bootstrap(GOAL, world.nodes, world.node_facts, world)
    assert "onebaton unpark z-a2" in " ".join(refusal.value.details)


def test_one_that_was_started_by_hand_is_still_noted():
    lab = parked_zone()
    lab.named("z-a2").masked = False
    lab.named("z-a2").oned = True
    lab.named("z-a2").index = lab.index
    with pytest.raises(RefusedError, match="not changed"):
        plan_roll(wanted(3), lab.observe())
    assert carry_out(lab, plan_unpark) == ["unpark:1:z-a2"]
    plan_roll(wanted(3), lab.observe())


def test_without_a_leader_nobody_comes_back():
    lab = parked_zone()
    lab.leader = None
    assert "the zone has no leader" in reasons(plan_unpark, lab)


@relaxed
@given(
    st.integers(3, 7),
    st.integers(0, 6),
    st.integers(0, 6),
    st.sampled_from([0, 1000, 125_000]),
    st.dictionaries(st.integers(0, 12), st.integers(0, 4), max_size=6),
)
def test_killed_anywhere_it_goes_on(size, leader, place, meanwhile, crashes):
    goal = wanted(size, of=image("6.10.0"))
    lab = zone(goal, leader=leader % size)
    before = list(lab.servers)
    name = before[place % size].name
    if place % size == leader % size:
        assert "leads the zone" in reasons(plan_park, lab, name)
        return
    number = 0
    for plan in (plan_park, plan_unpark):
        while planned := plan(goal, lab.observe(), name).transitions:
            assert all(step.during.holds for step in planned)
            steps = lab.steps(planned[0].action)
            for step in steps[: crashes.get(number, len(steps))]:
                step()
                lab.survive()
            lab.write(10)
            number += 1
            assert number < 40
        lab.write(meanwhile)
    assert lab.servers == before
    assert lab.elections == 0
    assert lab.healthy == size
    assert plan_roll(goal, lab.observe()) == Plan()
