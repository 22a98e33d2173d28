"""The roll planner: what a plan looks like, and that it is its own rest after every prefix."""

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import Lab, image, wanted, zone

from onebaton.errors import RefusedError
from onebaton.model import NodeState, Schema
from onebaton.plan.actions import HandOver, Join, Plan, Provision
from onebaton.plan.roll import plan_roll

#: More than any rollout of nine nodes with a few crashes takes.
ENOUGH = 200


def ids(plan: Plan) -> list[str]:
    return [action.id for action in plan.actions]


def carry_out(lab: Lab) -> list[str]:
    """Observe, plan, carry out the first action, and again; ids of the actions done."""
    done = []
    plan = plan_roll(lab.wanted, lab.observe())
    while plan.actions:
        lab.do(plan.actions[0])
        lab.write(25)
        done.append(plan.actions[0].id)
        rest = plan_roll(lab.wanted, lab.observe())
        assert rest.rest_of(plan), (ids(plan), ids(rest))
        plan = rest
    return done


def assert_rolled(lab: Lab) -> None:
    """The zone is the wanted generation, and nothing else is left."""
    digest = lab.wanted.image.digest
    assert len(lab.servers) == lab.wanted.size == len(lab.machines)
    for server in lab.servers:
        machine = lab.machines[server.address]
        assert machine.spec is not None
        assert machine.spec.image_digest == digest
        assert machine.election_timeout_ms == lab.wanted.limits.election_timeout_ms
        assert machine.vip == (server.id == lab.leader)
        others = {s.id for s in lab.servers} - {server.id}
        # A leader has read the list anew; all others were started knowing it.
        assert server.id == lab.leader or others <= machine.known
        assert lab.caught_up(server)


# What a plan looks like


def test_surge_of_three():
    lab = zone(wanted(3))
    expected = [
        "provision:z-b1,z-b2,z-b3",
        "seed:z-b1,z-b2,z-b3",
        "join:z-b1",
        "join:z-b2",
        "join:z-b3",
        "refresh:z-b2",  # z-b3 knows everybody, z-b1 will read the list as the leader
        "retire:1:z-a2",
        "retire:2:z-a3",
        "hand-over:0:z-a1:z-b1",
        "retire:0:z-a1",
        "restore:z-b1",
        "destroy:z-a1,z-a2,z-a3",
    ]
    assert ids(plan_roll(lab.wanted, lab.observe())) == expected
    assert carry_out(lab) == expected
    assert_rolled(lab)


def test_one_by_one_of_three():
    lab = zone(wanted(3, "one-by-one"))
    expected = [
        *("provision:z-b1", "seed:z-b1", "join:z-b1", "retire:1:z-a2", "destroy:z-a2"),
        *("provision:z-b2", "seed:z-b2", "join:z-b2", "retire:2:z-a3", "destroy:z-a3"),
        *("provision:z-b3", "seed:z-b3", "join:z-b3", "refresh:z-b2"),
        *("hand-over:0:z-a1:z-b1", "retire:0:z-a1", "destroy:z-a1", "restore:z-b1"),
    ]
    assert ids(plan_roll(lab.wanted, lab.observe())) == expected
    assert carry_out(lab) == expected
    assert_rolled(lab)


def test_the_quorum_at_each_step_of_a_surge():
    lab = zone(wanted(3))
    during = [str(step.during).split(", surv")[0] for step in plan_roll(lab.wanted, lab.observe())]
    assert during[2:10] == [
        "3 of 4 needed, 3 healthy seen",  # z-b1 is listed and assumed dead
        "3 of 5 needed, 4 healthy seen",
        "4 of 6 needed, 5 healthy seen",
        "4 of 6 needed, 5 healthy seen",  # z-b2 restarts
        "4 of 6 needed, 5 healthy seen",  # z-a2 is stopped and still listed
        "3 of 5 needed, 4 healthy seen",
        "3 of 4 needed, 3 healthy seen",  # z-a1 is cut off
        "3 of 4 needed, 3 healthy seen",
    ]


def test_only_the_first_to_join_is_steered():
    lab = zone(wanted(3))
    joins = [a for a in plan_roll(lab.wanted, lab.observe()).actions if isinstance(a, Join)]
    assert [join.steered for join in joins] == [True, False, False]


def test_seeds_come_from_a_follower():
    for leader in range(3):
        lab = zone(wanted(3), leader=leader)
        seed = plan_roll(lab.wanted, lab.observe()).actions[1]
        assert seed.source != f"z-a{leader + 1}"


def test_a_zone_of_somebody_else_is_retired_but_not_destroyed():
    lab = zone(wanted(3), slot=None, first_id=4)
    done = carry_out(lab)
    assert done[:2] == ["provision:z-a1,z-a2,z-a3", "seed:z-a1,z-a2,z-a3"]
    assert "hand-over:4:one-1:z-a1" in done
    assert not [step for step in done if step.startswith("destroy")]
    assert_rolled(lab)


def test_nothing_is_left_to_do_after_a_roll():
    lab = zone(wanted(3))
    carry_out(lab)
    assert plan_roll(lab.wanted, lab.observe()) == Plan()


def test_a_roll_back_and_forth_uses_the_slots_in_turn():
    lab = zone(wanted(3))
    carry_out(lab)
    lab.wanted = wanted(3, of=image("6.10.6"))
    assert carry_out(lab)[0] == "provision:z-a1,z-a2,z-a3"
    assert_rolled(lab)


def test_what_is_in_the_way_is_destroyed_first():
    """Nodes of an earlier image that was given up before any of them joined."""
    lab = zone(wanted(3))
    lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.wanted = wanted(3, of=image("6.10.6"))
    assert carry_out(lab)[:2] == ["destroy:z-b1,z-b2,z-b3", "provision:z-b1,z-b2,z-b3"]
    assert_rolled(lab)


def test_a_node_that_vanished_before_its_join_is_made_and_seeded_again():
    lab = zone(wanted(3))
    for _ in range(3):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.named("z-b2").state = NodeState.VANISHED
    assert ids(plan_roll(lab.wanted, lab.observe()))[:3] == [
        "provision:z-b2",
        "seed:z-b2",
        "join:z-b2",
    ]


def test_a_seed_that_is_too_old_is_made_again():
    lab = zone(wanted(3))
    for _ in range(3):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.write(125_000)
    assert ids(plan_roll(lab.wanted, lab.observe()))[0] == "seed:z-b2,z-b3"


def test_a_new_member_whose_machine_vanished_is_replaced_in_its_place():
    """Measured: a server replaced under its address, name and id needs no delserver."""
    lab = zone(wanted(3))
    for _ in range(5):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.named("z-b2").state = NodeState.VANISHED
    assert carry_out(lab)[:3] == ["provision:z-b2", "seed:z-b2", "join:z-b2"]
    assert_rolled(lab)


def test_a_leader_of_the_new_generation_makes_the_hand_over_unnecessary():
    """The old leader died of itself after the first join, and came back as a follower."""
    lab = zone(wanted(3))
    for _ in range(4):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.named("z-a1").vip, lab.named("z-b2").vip = False, True
    lab.leader = next(s.id for s in lab.servers if s.name == "z-b2")
    done = carry_out(lab)
    assert not [step for step in done if step.startswith("hand-over")]
    assert "refresh:z-b1" in done, "it follows, and was started before the others joined"
    assert_rolled(lab)


def test_the_wrong_winner_of_the_election_leads_on_and_the_rest_is_put_right():
    lab = zone(wanted(3))
    lab.winner = "z-b3"
    while plan := plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(plan[0])
    assert lab.elections == 1
    assert_rolled(lab)


def test_nobody_is_steered_once_a_new_server_leads():
    lab = zone(wanted(3))
    lab.winner = "z-b3"
    while plan := plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(plan[0])
    lab.named("z-b1").oned = False
    (join,) = plan_roll(lab.wanted, lab.observe()).actions
    assert (join.id, join.steered) == ("join:z-b1", False)


@pytest.mark.parametrize(("size", "goal"), [(1, 1), (1, 3), (3, 1)])
def test_a_single_server_is_refused(size, goal):
    lab = zone(wanted(goal), size)
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, lab.observe())
    assert "a zone of one server cannot be rolled" in refusal.value.details[0]
    assert "planned outage" in refusal.value.details[0]


def test_a_restart_that_would_cost_the_quorum_is_refused_with_its_arithmetic():
    lab = zone(wanted(2), version="6.10.5")
    lab.named("z-a2").known = frozenset({1})
    with pytest.raises(RefusedError, match="quorum would be lost at refresh:z-a2") as refusal:
        plan_roll(lab.wanted, lab.observe())
    assert refusal.value.details[1].endswith("2 of 2 needed, 1 healthy seen, no quorum")


# What holds for every plan

labs = st.builds(
    lambda size, goal, strategy, leader, slot, first_id: zone(
        wanted(goal, strategy), size, leader=leader % size, slot=slot, first_id=first_id
    ),
    size=st.integers(2, 9),
    goal=st.integers(2, 9),
    strategy=st.sampled_from(["surge", "one-by-one"]),
    leader=st.integers(0, 8),
    slot=st.sampled_from(["a", "b", None]),
    first_id=st.sampled_from([0, 3]),
)
relaxed = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


@relaxed
@given(labs)
def test_after_every_prefix_a_new_plan_is_the_rest_and_the_zone_was_safe(lab):
    before, goal = len(lab.servers), lab.wanted.size
    plan = plan_roll(lab.wanted, lab.observe())
    assert sum(isinstance(a, HandOver) for a in plan.actions) == 1
    while plan.actions:
        step = plan.transitions[0]
        assert step.during.holds
        assert (step.before.voters, step.before.healthy) == (len(lab.servers), lab.healthy)
        lab.do(step.action)  # objects by itself if the zone is in danger meanwhile
        assert (step.after.voters, step.after.healthy) == (len(lab.servers), lab.healthy)
        assert lab.healthy >= min(before, goal)
        if lab.wanted.strategy == "one-by-one":
            assert len(lab.servers) <= max(before, goal) + 1
        lab.write(25)
        rest = plan_roll(lab.wanted, lab.observe())
        assert rest.rest_of(plan), (ids(plan), ids(rest))
        plan = rest
    assert lab.elections == 1
    assert_rolled(lab)


#: Which actions are interrupted, counted from the start, and after how much of each.
crashes = st.dictionaries(st.integers(0, 40), st.integers(0, 10), max_size=12)


@relaxed
@given(labs, crashes)
def test_after_any_crashes_the_roll_ends_all_the_same(lab, crashes):
    for number in range(ENOUGH):
        plan = plan_roll(lab.wanted, lab.observe())
        if not plan.actions:
            break
        assert sum(isinstance(a, HandOver) for a in plan.actions) <= 1
        steps = lab.steps(plan.actions[0])
        carried_out = crashes[number] % (len(steps) + 1) if number in crashes else len(steps)
        for step in steps[:carried_out]:
            step()
            lab.survive()
        lab.write(10)
    assert lab.elections == 1
    assert_rolled(lab)


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_each_action_may_be_interrupted_after_each_of_its_steps(strategy):
    """Once through, and at every point a branch: crashed there, planned anew, to the end."""
    trunk = zone(wanted(3, strategy))
    while planned := plan_roll(trunk.wanted, trunk.observe()).actions:
        for carried_out in range(len(trunk.steps(planned[0]))):
            lab = trunk.copy()
            for step in lab.steps(planned[0])[:carried_out]:
                step()
            lab.write(10)
            again = plan_roll(lab.wanted, lab.observe()).actions
            # What was left of the action comes first; then the plan is as it was.
            assert again[-len(planned) + 1 :] == planned[1:] or len(planned) == 1
            carry_out(lab)
            assert lab.elections == 1
            assert_rolled(lab)
        trunk.do(planned[0])


@relaxed
@given(labs, st.data())
def test_machines_that_vanish_before_they_join_do_no_harm(lab, data):
    vanished = 0
    for _ in range(ENOUGH):
        plan = plan_roll(lab.wanted, lab.observe())
        if not plan.actions:
            break
        lab.do(plan.actions[0])
        listed = {s.address for s in lab.servers}
        idle = [m for m in lab.machines.values() if m.address not in listed]
        if idle and vanished < 3 and data.draw(st.booleans()):
            data.draw(st.sampled_from(idle)).state = NodeState.VANISHED
            vanished += 1
    assert_rolled(lab)


HARM = {
    "down": lambda m: setattr(m, "oned", False),
    "masked": lambda m: (setattr(m, "oned", False), setattr(m, "masked", True)),
    "late": lambda m: setattr(m, "index", 0),
    "no ssh": lambda m: setattr(m, "ssh", False),
    "stopped machine": lambda m: setattr(m, "state", NodeState.STOPPED),
    "other schema": lambda m: setattr(m, "schema", Schema("7.0.0", "7.0.0")),
    "lost VIP": lambda m: setattr(m, "vip", False),
    "second VIP": lambda m: setattr(m, "vip", True),
}


@relaxed
@given(
    labs,
    st.integers(0, 30),
    st.dictionaries(st.integers(0, 13), st.sampled_from(sorted(HARM)), min_size=1, max_size=2),
)
def test_a_harmed_zone_is_refused_or_rolled_safely(lab, before, harm):
    """At any point of a rollout: whatever the planner then proposes must not endanger it."""
    for _ in range(before):
        plan = plan_roll(lab.wanted, lab.observe())
        if not plan.actions:
            break
        lab.do(plan.actions[0])
        lab.write(10)
    for place, kind in harm.items():
        server = lab.servers[place % len(lab.servers)]
        if kind != "late" or server.id != lab.leader:
            HARM[kind](lab.machines[server.address])
    if not lab.runs(next(s for s in lab.servers if s.id == lab.leader)):
        lab.leader = None
    with contextlib.suppress(RefusedError):
        while plan := plan_roll(lab.wanted, lab.observe()):
            assert all(step.during.holds for step in plan)
            lab.do(plan.transitions[0].action)
            lab.write(10)
        assert_rolled(lab)


def test_provisioning_never_names_a_node_that_a_member_runs_on():
    lab = zone(wanted(5, "one-by-one"), 3)
    while plan := plan_roll(lab.wanted, lab.observe()).actions:
        if isinstance(plan[0], Provision):
            listed = {s.address for s in lab.servers}
            assert listed.isdisjoint({spec.address for spec in plan[0].nodes})
        lab.do(plan[0])
