"""The cut-over's plan: what it looks like, that it is its own rest, that it harms nothing."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import SCHEMA, Lab, image, next_release, wanted, zone

from onebaton.errors import RefusedError
from onebaton.model import AheadStage, NodeState, PriorPhase
from onebaton.plan.actions import CutOver, HandOver, Plan, Retire
from onebaton.plan.roll import plan_roll
from onebaton.plan.takeback import plan_finalize, plan_rollback

#: More than any cut-over of nine nodes with a few crashes takes.
ENOUGH = 200


def ids(plan: Plan) -> list[str]:
    return [action.id for action in plan.actions]


def plan_of(lab: Lab) -> Plan:
    return plan_roll(lab.wanted, lab.observe())


def carry_out(lab: Lab, until: str | None = None) -> list[str]:
    """Observe, plan, carry out the first action, and again; ids of the actions done.

    :param until: begin of the id of the action to stop before.
    """
    done = []
    plan = plan_of(lab)
    while plan.actions and not (until and plan.actions[0].id.startswith(until)):
        lab.do(plan.actions[0])
        lab.write(25)
        done.append(plan.actions[0].id)
        rest = plan_of(lab)
        assert rest.rest_of(plan), (ids(plan), ids(rest))
        plan = rest
    assert until is None or plan.actions
    return done


def assert_cut_over(lab: Lab) -> None:
    """The zone is the wanted generation; the old one is there, stopped and masked."""
    assert lab.prior is not None
    assert lab.prior.phase is PriorPhase.SERVED
    assert len(lab.servers) == lab.wanted.size
    for server in lab.servers:
        machine = lab.machines[server.address]
        assert machine.spec is not None
        assert machine.spec.image_digest == lab.wanted.image.digest
        assert machine.schema == lab.wanted.image.schema
        assert machine.stage is None
        assert machine.election_timeout_ms == lab.wanted.limits.election_timeout_ms
        assert machine.vip == (server.id == lab.leader)
        others = {s.id for s in lab.servers} - {server.id}
        assert server.id == lab.leader or others <= machine.known
        assert lab.caught_up(server)
    for server in lab.prior.zone.servers:
        machine = lab.machines[server.address]
        assert (machine.oned, machine.masked, machine.vip) == (False, True, False)
        assert machine.schema == lab.prior.schema


# What a plan looks like


def test_a_cut_over_of_three_with_the_held_stand_by():
    lab = zone(next_release(3))
    expected = [
        "provision:z-b1,z-b2,z-b3",
        "seed:z-b1,z-b2,z-b3",
        "prepare:z-b1,z-b2,z-b3",
        "hold:z-b1",
        "cut-over:z-b1",
        "join:z-b2",
        "join:z-b3",
        "refresh:z-b2",
        "restore:z-b1",
    ]
    plan = plan_of(lab)
    assert ids(plan) == expected
    cut = plan.actions[4]
    assert isinstance(cut, CutOver)
    assert (cut.way, cut.others) == ("stand-by", ("z-b2", "z-b3"))
    assert carry_out(lab) == expected
    assert_cut_over(lab)


def test_a_cut_over_of_three_the_plain_way():
    """One copy is brought along; the others would be of the old schema, and are made afterwards."""
    lab = zone(next_release(3, way="plain"))
    expected = [
        "provision:z-b1,z-b2,z-b3",
        "seed:z-b1",
        "cut-over:z-b1",
        "seed:z-b2,z-b3",
        "join:z-b2",
        "join:z-b3",
        "refresh:z-b2",
        "restore:z-b1",
    ]
    assert ids(plan_of(lab)) == expected
    assert carry_out(lab) == expected
    assert_cut_over(lab)


@pytest.mark.parametrize("way", ["stand-by", "plain"])
def test_a_zone_of_one_server_is_cut_over(way):
    lab = zone(next_release(1, way=way))
    assert "cut-over:z-b1" in carry_out(lab)
    assert_cut_over(lab)


def test_the_size_may_change_on_the_way():
    lab = zone(next_release(3), 1)
    carry_out(lab)
    assert_cut_over(lab)
    lab = zone(next_release(1), 5)
    carry_out(lab)
    assert_cut_over(lab)


def test_what_the_rehearsal_did_not_prove_is_cut_over_the_plain_way():
    lab = zone(next_release(3, ahead_proven=False))
    plan = plan_of(lab)
    assert [a.way for a in plan.actions if isinstance(a, CutOver)] == ["plain"]
    assert not [step for step in ids(plan) if step.startswith(("prepare", "hold"))]


def test_a_zone_of_somebody_else_is_cut_over_and_kept():
    lab = zone(next_release(3), slot=None, first_id=4)
    done = carry_out(lab)
    assert done[0] == "provision:z-a1,z-a2,z-a3"
    assert_cut_over(lab)
    lab.do(plan_rollback(lab.observe()).actions[0])
    assert lab.leader == 4


def test_seeds_come_from_a_follower_and_are_shipped_from_it():
    lab = zone(next_release(3), leader=1)
    actions = plan_of(lab).actions
    assert {a.source for a in actions[1:4]} == {"z-a1"}


def test_the_zone_in_numbers():
    lab = zone(next_release(3))
    during = [(s.during.healthy, s.during.voters, s.during.needed) for s in plan_of(lab)]
    assert during == [
        *([(3, 3, 2)] * 4),
        (1, 1, 1),  # the zone stops and starts anew
        (1, 2, 2),  # of two voters both are needed
        (2, 3, 2),
        (2, 3, 2),
        (3, 3, 2),
    ]


def test_nothing_is_left_to_do_while_the_old_generation_is_kept():
    lab = zone(next_release(3))
    carry_out(lab)
    assert plan_of(lab) == Plan()
    assert {"z-a1", "z-a2", "z-a3"} <= {m.name for m in lab.machines.values()}


def test_one_by_one_makes_no_difference_before_the_cut():
    lab = zone(next_release(3, "one-by-one"))
    assert ids(plan_of(lab))[:2] == ["provision:z-b1,z-b2,z-b3", "seed:z-b1,z-b2,z-b3"]
    carry_out(lab)
    assert_cut_over(lab)


# Copies migrated ahead


def test_a_copy_that_was_not_finished_is_prepared_again():
    lab = zone(next_release(3))
    carry_out(lab, until="prepare")
    lab.steps(plan_of(lab).actions[0])[0]()
    assert lab.named("z-b1").stage is AheadStage.WARM
    assert ids(plan_of(lab))[0] == "prepare:z-b1,z-b2,z-b3"


def test_a_held_stand_by_outside_of_the_log_is_made_anew():
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    lab.write(125_000)
    assert ids(plan_of(lab))[:4] == [
        "seed:z-b1,z-b2,z-b3",
        "prepare:z-b1,z-b2,z-b3",
        "hold:z-b1",
        "cut-over:z-b1",
    ]
    carry_out(lab)
    assert_cut_over(lab)


def test_a_stand_by_that_does_not_run_any_more_is_held_again():
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    lab.named("z-b1").oned = False
    assert ids(plan_of(lab))[:2] == ["hold:z-b1", "cut-over:z-b1"]


def test_a_held_node_that_vanished_is_made_anew_and_another_is_not_held_beside_it():
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    lab.named("z-b1").state = NodeState.VANISHED
    assert ids(plan_of(lab))[:4] == ["provision:z-b1", "seed:z-b1", "prepare:z-b1", "hold:z-b1"]


def test_copies_migrated_ahead_are_of_no_use_for_the_plain_way():
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    lab.wanted = next_release(3, way="plain")
    assert ids(plan_of(lab))[:2] == ["seed:z-b1", "cut-over:z-b1"]
    carry_out(lab)
    assert_cut_over(lab)


def test_secrets_of_a_prepared_node_may_hold_files_that_a_migrator_wrote():
    lab = zone(next_release(3))
    carry_out(lab, until="hold")
    lab.named("z-b1").secret = "secrets and one more"
    assert ids(plan_of(lab))[0] == "hold:z-b1"


def test_a_released_node_outside_of_a_cut_over_is_a_stray():
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    assert lab.observe().node_facts["z-b1"].oned_active, "held, and no stray"
    lab.named("z-b1").stage = AheadStage.RELEASED
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    assert "oned runs on z-b1, which is not in the zone" in refusal.value.details[0]


def test_prepared_nodes_of_an_image_that_is_not_wanted_any_more_are_left_over():
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    lab.wanted = wanted(3, of=image("6.10.5"))
    assert ids(plan_of(lab))[:2] == ["destroy:z-b1,z-b2,z-b3", "provision:z-b1,z-b2,z-b3"]


def test_a_copy_that_lacks_records_of_the_old_zone_is_seeded_from_the_new_one():
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    (cut, *rest) = plan_of(lab).actions
    for step in lab.steps(cut)[:-3]:  # all but the others' copies and what is left over
        step()
    plan = plan_of(lab)
    assert plan.actions[0].id == "seed:z-b2,z-b3"
    assert plan.actions[0].source == "z-b1"
    assert plan.actions[1:] == tuple(rest)
    assert plan.rest_of(Plan(tuple(lab_plan_steps(cut, rest, plan)))), "the run goes on"


@pytest.mark.parametrize(
    "left",
    [
        {"index": 10, "stage": None},  # settled, and not complete
        {"stage": AheadStage.MIGRATED},  # complete, and not settled
        {"schema": SCHEMA, "stage": None},  # the old schema, which the new oned refuses
    ],
)
def test_only_a_whole_copy_joins_after_the_cut(left):
    lab = zone(next_release(3))
    carry_out(lab, until="join:z-b2")
    machine = lab.named("z-b3")
    machine.warm = lab.prior.cut_index
    for name, value in left.items():
        setattr(machine, name, value)
    assert ids(plan_of(lab))[0] == "seed:z-b3"
    while plan := plan_of(lab).actions:
        lab.do(plan[0])
    assert_cut_over(lab)


def test_a_node_that_was_let_lead_once_is_not_held_again():
    """A cut-over was taken back by itself; the node was stopped, and its copy may be ahead."""
    lab = zone(next_release(3))
    carry_out(lab, until="cut-over")
    lab.named("z-b1").stage = AheadStage.RELEASED
    lab.named("z-b1").put_away()
    assert ids(plan_of(lab))[:3] == ["seed:z-b1", "prepare:z-b1", "hold:z-b1"]


def lab_plan_steps(cut, rest, like):
    """Transitions of a plan of these actions; the numbers do not matter."""
    any_step = like.transitions[0]
    return (replace(any_step, action=action) for action in (cut, *rest))


# A cut that was begun


def begun(lab: Lab, steps: int) -> Lab:
    """The cut-over itself, broken off after so many of its steps."""
    carry_out(lab, until="cut-over")
    for step in lab.steps(plan_of(lab).actions[0])[:steps]:
        step()
        lab.survive()
    return lab


@pytest.mark.parametrize("way", ["stand-by", "plain"])
@pytest.mark.parametrize("steps", range(1, 10))
def test_a_cut_that_was_begun_is_the_one_thing_to_do(way, steps):
    lab = begun(zone(next_release(3, way=way)), steps)
    assert lab.prior.phase is PriorPhase.CUTTING
    plan = plan_of(lab)
    assert isinstance(plan.actions[0], CutOver)
    assert (plan.actions[0].node, plan.actions[0].way) == ("z-b1", way)
    carry_out(lab)
    assert_cut_over(lab)


def test_a_begun_cut_goes_on_the_way_it_was_begun():
    lab = begun(zone(next_release(3)), 3)
    lab.wanted = next_release(3, way="plain")
    assert plan_of(lab).actions[0].way == "stand-by"


def test_a_begun_cut_asks_for_no_rehearsal_and_no_health():
    lab = begun(zone(next_release(3)), 5)
    lab.wanted = replace(lab.wanted, cut=replace(lab.wanted.cut, rehearsal=None))
    lab.named("z-a3").ssh = False
    assert plan_of(lab).actions[0].id == "cut-over:z-b1"


def test_a_begun_cut_to_another_image_is_refused():
    lab = begun(zone(next_release(3)), 3)
    lab.wanted = wanted(3, of=image("6.10.5"))
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    assert "a cut-over to another image is under way" in refusal.value.details[0]
    assert "`onebaton rollback`" in refusal.value.details[0]


def test_a_begun_cut_whose_node_is_gone_is_refused():
    lab = begun(zone(next_release(3)), 3)
    del lab.machines[lab.named("z-b1").address]
    with pytest.raises(RefusedError, match="is not changed") as refusal:
        plan_of(lab)
    assert "the node that a cut-over was begun to is gone: z-b1" in refusal.value.details[0]


def test_a_cut_that_is_being_taken_back_is_not_gone_on_with():
    lab = zone(next_release(3))
    carry_out(lab)
    back = plan_rollback(lab.observe()).actions[0]
    for step in lab.steps(back)[:2]:
        step()
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    assert "the last cut-over is being taken back" in refusal.value.details[0]


def test_after_it_was_taken_back_a_cut_over_begins_with_new_copies():
    lab = begun(zone(next_release(3)), 6)
    lab.do(plan_rollback(lab.observe()).actions[0])
    lab.write(5)
    assert ids(plan_of(lab))[:3] == [
        "seed:z-b1,z-b2,z-b3",
        "prepare:z-b1,z-b2,z-b3",
        "hold:z-b1",
    ]
    carry_out(lab)
    assert_cut_over(lab)


# The second server of a zone that is one server


def test_a_second_server_that_was_started_and_not_listed_is_no_stray_and_joins():
    lab = zone(next_release(3))
    carry_out(lab, until="join:z-b2")
    for step in lab.steps(plan_of(lab).actions[0])[:2]:
        step()
    assert lab.named("z-b2").oned
    assert len(lab.servers) == 1
    assert ids(plan_of(lab))[0] == "join:z-b2"
    lab.named("z-b3").oned = True
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    assert "oned runs on z-b3, which is not in the zone" in refusal.value.details[0]


@pytest.mark.parametrize("leads", [True, False])
def test_a_second_server_that_was_listed_and_does_not_run_is_joined_first(leads):
    """Of two voters both are needed; the first may not even call itself the leader any more."""
    lab = zone(next_release(3))
    carry_out(lab, until="join:z-b2")
    for step in lab.steps(plan_of(lab).actions[0])[:4]:
        step()
    lab.named("z-b2").oned = False
    assert not lab.has_quorum
    if not leads:
        lab.leader = None
    assert ids(plan_of(lab))[0] == "join:z-b2"
    if leads:
        carry_out(lab)
        assert_cut_over(lab)


def test_a_zone_of_two_that_was_never_cut_over_is_refused_as_ever():
    lab = zone(wanted(2), version="6.10.5")
    lab.named("z-a2").oned = False
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    assert [d.split(":")[0] for d in refusal.value.details] == ["no quorum"]


# The kept generation


def test_a_roll_that_needs_the_kept_places_is_refused():
    lab = zone(next_release(3))
    carry_out(lab)
    lab.wanted = replace(lab.wanted, image=image("7.0.3", schema=lab.wanted.image.schema))
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    assert [d.split(":")[0] for d in refusal.value.details] == [
        "the generation that a cut-over left is kept where new nodes are to be"
    ]
    assert "`onebaton finalize`" in refusal.value.details[0]
    for action in plan_finalize(lab.observe(), 3).actions:
        lab.do(action)
    assert ids(plan_of(lab))[0] == "provision:z-a1,z-a2,z-a3"


def test_going_back_by_a_rollout_is_refused():
    lab = zone(next_release(3))
    carry_out(lab)
    lab.wanted = wanted(3, of=image("6.10.0"))
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    found = [d.split(":")[0] for d in refusal.value.details]
    assert "the wanted image is older than the zone" in found
    assert "the generation that the last cut-over left is still kept" in found


@pytest.mark.parametrize("slot", ["a", None])
def test_a_kept_server_that_runs_is_found(slot):
    lab = zone(next_release(3), slot=slot)
    carry_out(lab)
    name = lab.prior.zone.servers[1].name
    lab.named(name).oned = True
    with pytest.raises(RefusedError) as refusal:
        plan_of(lab)
    assert refusal.value.details[0].startswith(f"oned runs on {name}, which ")


# What holds for every plan

labs = st.builds(
    lambda size, goal, strategy, leader, slot, way: zone(
        next_release(goal, strategy, way=way), size, leader=leader % size, slot=slot
    ),
    size=st.integers(1, 9),
    goal=st.integers(1, 9),
    strategy=st.sampled_from(["surge", "one-by-one"]),
    leader=st.integers(0, 8),
    slot=st.sampled_from(["a", "b", None]),
    way=st.sampled_from(["auto", "stand-by", "plain"]),
)
relaxed = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
#: Which actions are interrupted, counted from the start, and after how much of each.
crashes = st.dictionaries(st.integers(0, 30), st.integers(0, 20), max_size=8)


@relaxed
@given(labs)
def test_after_every_prefix_a_new_plan_is_the_rest_and_nothing_old_is_touched(lab):
    plan = plan_of(lab)
    assert sum(isinstance(a, CutOver) for a in plan.actions) == 1
    assert not [a for a in plan.actions if isinstance(a, HandOver | Retire)]
    while plan.actions:
        step = plan.transitions[0]
        assert (step.before.voters, step.before.healthy) == (len(lab.servers), lab.healthy)
        lab.do(step.action)  # objects by itself to two generations, or to a lost record
        assert (step.after.voters, step.after.healthy) == (len(lab.servers), lab.healthy)
        lab.write(25)
        rest = plan_of(lab)
        assert rest.rest_of(plan), (ids(plan), ids(rest))
        plan = rest
    assert_cut_over(lab)


@relaxed
@given(labs, crashes)
def test_after_any_crashes_the_cut_over_ends_all_the_same(lab, crashes):
    for number in range(ENOUGH):
        plan = plan_of(lab)
        if not plan.actions:
            break
        steps = lab.steps(plan.actions[0])
        carried_out = crashes[number] % (len(steps) + 1) if number in crashes else len(steps)
        for step in steps[:carried_out]:
            step()
            lab.survive()
        lab.write(10)
    assert_cut_over(lab)


@relaxed
@given(labs, st.integers(0, 30), st.integers(0, 20), st.integers(0, 30))
def test_from_any_point_of_a_cut_over_the_old_generation_comes_back(lab, actions, steps, again):
    """A record is there from the first thing that the cut-over does to the old generation."""
    names = {server.name for server in lab.servers}
    for _ in range(actions):
        plan = plan_of(lab)
        if not plan.actions:
            break
        lab.do(plan.actions[0])
        lab.write(10)
    else:
        if plan_of(lab).actions:
            for step in lab.steps(plan_of(lab).actions[0])[:steps]:
                step()
                lab.survive()
    if lab.prior is None:
        return
    # Once broken off on the way back, and begun again.
    for step in lab.steps(plan_rollback(lab.observe()).actions[0])[:again]:
        step()
        lab.survive()
    if lab.prior is not None:
        lab.do(plan_rollback(lab.observe()).actions[0])
    assert lab.prior is None
    assert {server.name for server in lab.servers} == names
    assert lab.healthy == len(names)
    assert not [m.name for m in lab.machines.values() if m.oned and m.name not in names]
    lab.write(5)
    carry_out(lab)
    assert_cut_over(lab)


@relaxed
@given(labs)
def test_after_a_cut_over_is_final_the_old_generation_is_gone_and_a_roll_goes_on(lab):
    carry_out(lab)
    plan = plan_finalize(lab.observe(), lab.wanted.size)
    while plan.actions:
        lab.do(plan.actions[0])
        rest = plan_finalize(lab.observe(), lab.wanted.size)
        assert rest.rest_of(plan)
        plan = rest
    assert lab.prior.phase is PriorPhase.FINAL
    assert plan_of(lab) == Plan()
    own = [m for m in lab.machines.values() if m.spec is not None]
    assert len(own) == lab.wanted.size
