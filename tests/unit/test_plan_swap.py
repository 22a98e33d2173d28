"""A swap: what is planned, what is refused, and that it is its own rest after every prefix."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import ImpossibleError, Lab, image, next_release, wanted, zone

from onebaton.errors import RefusedError
from onebaton.model import NodeState, Schema, Server
from onebaton.plan import roll
from onebaton.plan.abort import plan_swap_back
from onebaton.plan.actions import HandOver, Plan, Swap
from onebaton.plan.roll import plan_roll
from onebaton.plan.rules import Choice
from onebaton.plan.scene import Scene

#: More than any swap of nine servers with a few crashes takes.
ENOUGH = 200
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def of(size: int = 3, *, leader: int = 0, slot: str | None = "a", first_id: int = 0) -> Lab:
    return zone(wanted(size, "swap"), leader=leader, slot=slot, first_id=first_id)


def ids(plan: Plan) -> list[str]:
    return [action.id for action in plan.actions]


def carry_out(lab: Lab) -> list[str]:
    """Observe, plan, carry out the first action, and again; ids of the actions done."""
    done = []
    plan = plan_roll(lab.wanted, lab.observe())
    while plan.actions:
        assert plan.transitions[0].during.holds
        lab.do(plan.actions[0])
        lab.write(25)
        done.append(plan.actions[0].id)
        rest = plan_roll(lab.wanted, lab.observe())
        assert rest.rest_of(plan), (ids(plan), ids(rest))
        plan = rest
    return done


def assert_swapped(lab: Lab, servers: list[Server]) -> None:
    """Every machine is a new one of the wanted image, and the zone lists what it listed."""
    assert sorted(lab.servers) == sorted(servers)
    assert len(lab.machines) == len(servers)
    for server in lab.servers:
        machine = lab.machines[server.address]
        assert machine.spec is not None
        assert machine.spec.image_digest == lab.wanted.image.digest
        assert (machine.name, machine.server_id) == (server.name, server.id)
        assert machine.election_timeout_ms == lab.wanted.limits.election_timeout_ms
        assert machine.vip == (server.id == lab.leader)
        assert {s.id for s in lab.servers} <= machine.known
        assert lab.caught_up(server)
    assert plan_roll(lab.wanted, lab.observe()) == Plan()


def reasons(lab: Lab) -> str:
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, lab.observe())
    return " ".join([refusal.value.message, *refusal.value.details, str(refusal.value.resolution)])


# What a plan looks like


def test_a_zone_of_three():
    lab = of()
    before = list(lab.servers)
    expected = [
        *("swap:1:z-a2", "seed:z-a2", "join:z-a2"),
        *("swap:2:z-a3", "seed:z-a3", "join:z-a3"),
        "hand-over:0:z-a1:z-a2",
        *("swap:0:z-a1", "seed:z-a1", "join:z-a1"),
        "restore:z-a2",
    ]
    assert ids(plan_roll(lab.wanted, lab.observe())) == expected
    assert carry_out(lab) == expected
    assert lab.elections == 1
    assert_swapped(lab, before)


def test_the_quorum_at_each_step():
    during = [
        str(step.during).split(", surv")[0] for step in plan_roll(of().wanted, of().observe())
    ]
    assert set(during[:-1]) == {"2 of 3 needed, 2 healthy seen"}
    assert during[-1] == "2 of 3 needed, 3 healthy seen"


def test_only_the_one_that_shall_lead_is_steered():
    plan = plan_roll(of(5).wanted, of(5).observe())
    steered = [a.node for a in plan.actions if a.id.startswith("join") and a.steered]
    assert steered == ["z-a2"]


def test_the_second_generations_places_and_ids_that_are_not_those_of_names():
    lab = of(slot="b", first_id=4, leader=2)
    before = list(lab.servers)
    assert carry_out(lab)[0] == "swap:4:z-b1"
    assert_swapped(lab, before)


def test_back_and_forth_in_the_same_places():
    lab = of()
    before = list(lab.servers)
    carry_out(lab)
    lab.wanted = wanted(3, "swap", of=image("6.10.6"))
    carry_out(lab)
    assert_swapped(lab, before)


def test_a_machine_that_vanished_is_made_anew_first():
    for trace in (True, False):
        lab = of()
        before = list(lab.servers)
        lab.named("z-a3").state = NodeState.VANISHED
        lab.named("z-a3").oned = False
        if not trace:
            del lab.machines[lab.named("z-a3").address]
        assert carry_out(lab)[:3] == ["provision:z-a3", "seed:z-a3", "join:z-a3"]
        assert_swapped(lab, before)


def test_a_machine_that_vanishes_while_another_one_is_exchanged():
    lab = of(5)
    before = list(lab.servers)
    for _ in range(2):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.named("z-a4").state, lab.named("z-a4").oned = NodeState.VANISHED, False
    lab.late_allowed = 2
    assert carry_out(lab)[:4] == ["join:z-a2", "provision:z-a4", "seed:z-a4", "join:z-a4"]
    assert_swapped(lab, before)


def test_a_leader_that_was_swapped_needs_no_hand_over():
    """The old leader died when the others were swapped, and came back as a follower."""
    lab = of()
    before = list(lab.servers)
    for _ in range(6):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.leader = 2
    lab.named("z-a1").vip, lab.named("z-a3").vip = False, True
    done = carry_out(lab)
    assert not [step for step in done if step.startswith("hand-over")]
    assert_swapped(lab, before)


# What is refused


@pytest.mark.parametrize("size", [1, 2])
def test_a_zone_in_which_nobody_can_be_missed(size):
    assert f"a zone of {'one server' if size == 1 else 'two servers'} cannot be swapped" in reasons(
        of(size)
    )


@pytest.mark.parametrize("goal", [3, 7])
def test_another_size(goal):
    lab = of(5)
    lab.wanted = wanted(goal, "swap")
    assert f"5 servers listed, {goal} wanted" in reasons(lab)
    assert "rollout.strategy to surge" in reasons(lab)


def test_machines_of_somebody_else():
    assert "is not in a place of generation" in reasons(of(slot=None))
    lab = of()
    lab.named("z-a2").spec = None
    assert "the machine of z-a2 is somebody else's" in reasons(lab)


def test_another_schema_and_the_way_out():
    lab = zone(replace(next_release(3), strategy="swap"))
    said = reasons(lab)
    assert "cannot be swapped" in said
    assert "Set rollout.strategy to surge" in said


def test_another_server_that_is_down_or_late_or_parked():
    lab = of()
    lab.named("z-a3").oned = False
    assert "z-a3" in reasons(lab)
    lab = of()
    lab.named("z-a2").index = 0
    assert "records behind" in reasons(lab)
    lab = of()
    lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.named("z-a3").oned = False
    assert "no quorum" in reasons(lab)
    lab = of()
    machine = lab.named("z-a2")
    machine.put_away()
    machine.parked_at = 1.0
    assert "onebaton unpark z-a2" in reasons(lab)


def test_a_machine_that_is_switched_off_may_come_back():
    lab = of()
    machine = lab.named("z-a2")
    machine.put_away()
    machine.state = NodeState.STOPPED
    assert "z-a2" in reasons(lab)


def test_a_new_machine_that_is_switched_off_is_not_made_anew():
    """It is a member, and may hold what the others do not."""
    lab = of(5)
    while plan_roll(lab.wanted, lab.observe()).actions[0].id != "swap:2:z-a3":
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    before = list(lab.servers)
    new = lab.named("z-a2")
    new.state, new.oned = NodeState.STOPPED, False
    assert "server 1 (z-a2) is unhealthy" in reasons(lab)
    new.state, new.oned = NodeState.RUNNING, True
    carry_out(lab)
    assert_swapped(lab, before)


@pytest.mark.parametrize("harm", ["does not boot", "does not start", "lags"])
def test_what_is_wrong_with_a_new_machine_does_not_keep_it_from_being_swapped_back(harm):
    lab = of()
    before = list(lab.servers)
    for _ in range(1 if harm == "does not boot" else 3):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    machine = lab.named("z-a2")
    machine.oned = harm == "lags"
    machine.index = 0 if harm == "lags" else machine.index
    machine.ssh = harm != "does not boot"
    forward = plan_roll(lab.wanted, lab.observe()) if harm != "lags" else Plan()
    assert (ids(forward) or ["-"])[0] == {
        "does not boot": "provision:z-a2",  # waits for it
        "does not start": "join:z-a2",
        "lags": "-",
    }[harm]
    lab.wanted = replace(wanted(3, "swap", of=image("6.10.0")), given_up=lab.wanted.image.digest)
    assert (
        ids(plan_swap_back(lab.wanted, lab.observe()))
        == [
            "swap:1:z-a2",
            "seed:z-a2",
            "join:z-a2",
            "restore:z-a2",
        ][:3]
    )
    machine.ssh = True
    while plan := plan_swap_back(lab.wanted, lab.observe()).actions:
        lab.do(plan[0])
        lab.write(10)
    assert lab.elections == 0
    assert_swapped(lab, before)


def test_a_log_that_outruns_the_seeds():
    """The old machines in the places hold databases, and the new ones none."""
    lab = of()
    lab.records_per_second = 10_000.0
    assert "the log may outrun the seeds" in reasons(lab)


def test_a_surge_that_is_half_done_is_not_swapped_nor_a_swap_surged():
    lab = zone(wanted(3))
    for _ in range(4):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.wanted = wanted(3, "swap")
    assert "is not in a place of generation" in reasons(lab)
    lab = of()
    for _ in range(3):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    lab.wanted = wanted(3)
    assert "the address of the new node z-a1 is in use" in reasons(lab)


def test_a_half_done_swap_is_swapped_back_though_its_first_image_is_older():
    lab = of()
    before = list(lab.servers)
    for _ in range(5):
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
        lab.write(10)
    old = replace(wanted(3, "swap", of=image("6.10.0")), given_up=lab.wanted.image.digest)
    lab.wanted = old
    with pytest.raises(RefusedError, match="not changed"):
        plan_roll(old, lab.observe())
    done = []
    while plan := plan_swap_back(old, lab.observe()).actions:
        lab.do(plan[0])
        lab.write(10)
        done.append(plan[0].id)
    assert done[0] == "swap:2:z-a3"
    assert lab.elections == 0
    assert {m.version for m in lab.machines.values()} == {"6.10.0"}
    assert sorted(lab.servers) == before


# What holds for every plan

labs = st.builds(
    lambda size, leader, slot, first_id: of(
        size, leader=leader % size, slot=slot, first_id=first_id
    ),
    size=st.integers(3, 9),
    leader=st.integers(0, 8),
    slot=st.sampled_from(["a", "b"]),
    first_id=st.sampled_from([0, 3]),
)


@relaxed
@given(labs)
def test_after_every_prefix_a_new_plan_is_the_rest_and_the_zone_was_safe(lab):
    before = list(lab.servers)
    plan = plan_roll(lab.wanted, lab.observe())
    assert sum(isinstance(a, HandOver) for a in plan.actions) == 1
    assert isinstance(plan.actions[-4], Swap)
    assert plan.actions[-4].server.id == lab.leader
    while plan.actions:
        step = plan.transitions[0]
        assert step.during.holds
        assert (step.before.voters, step.before.healthy) == (len(lab.servers), lab.healthy)
        lab.do(step.action)  # objects by itself if the zone is in danger meanwhile
        assert (step.after.voters, step.after.healthy) == (len(lab.servers), lab.healthy)
        assert lab.healthy >= len(before) - 1
        assert sorted(lab.servers) == before
        lab.write(25)
        rest = plan_roll(lab.wanted, lab.observe())
        assert rest.rest_of(plan), (ids(plan), ids(rest))
        plan = rest
    assert lab.elections == 1
    assert_swapped(lab, before)


#: Which actions are interrupted, counted from the start, and after how much of each.
crashes = st.dictionaries(st.integers(0, 40), st.integers(0, 10), max_size=12)


@relaxed
@given(labs, crashes)
def test_after_any_crashes_it_ends_all_the_same(lab, crashes):
    before = list(lab.servers)
    for number in range(ENOUGH):
        plan = plan_roll(lab.wanted, lab.observe())
        if not plan.actions:
            break
        assert all(step.during.holds for step in plan)
        assert sum(isinstance(a, HandOver) for a in plan.actions) <= 1
        steps = lab.steps(plan.actions[0])
        carried_out = crashes[number] % (len(steps) + 1) if number in crashes else len(steps)
        for step in steps[:carried_out]:
            step()
            lab.survive()
        lab.write(10)
    assert lab.elections == 1
    assert_swapped(lab, before)


def test_each_action_may_be_interrupted_after_each_of_its_steps():
    """Once through, and at every point a branch: crashed there, planned anew, to the end."""
    trunk = of()
    before = list(trunk.servers)
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
            assert_swapped(lab, before)
        trunk.do(planned[0])


HARM = {
    "down": lambda m: setattr(m, "oned", False),
    "masked": lambda m: (setattr(m, "oned", False), setattr(m, "masked", True)),
    "late": lambda m: setattr(m, "index", 0),
    "no ssh": lambda m: setattr(m, "ssh", False),
    "stopped machine": lambda m: setattr(m, "state", NodeState.STOPPED),
    "gone": lambda m: (setattr(m, "oned", False), setattr(m, "state", NodeState.VANISHED)),
    "other schema": lambda m: setattr(m, "schema", Schema("7.0.0", "7.0.0")),
    "second VIP": lambda m: setattr(m, "vip", True),
}


@relaxed
@given(
    labs,
    st.integers(0, 30),
    st.dictionaries(st.integers(0, 13), st.sampled_from(sorted(HARM)), min_size=1, max_size=2),
)
def test_a_harmed_zone_is_refused_or_swapped_safely(lab, before, harm):
    """At any point: whatever the planner then proposes must not endanger it."""
    servers = list(lab.servers)
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
    lab.late_allowed = max(1, len(lab.servers) - lab.healthy)
    with contextlib.suppress(RefusedError):
        while plan := plan_roll(lab.wanted, lab.observe()):
            assert all(step.during.holds for step in plan)
            lab.do(plan.transitions[0].action)
            lab.write(10)
        assert_swapped(lab, servers)


def test_two_that_are_out_at_once_would_be_found_out(monkeypatch):
    """The next one is stopped before the last one is back, and no gate stands in the way."""

    def swap_whoever(scene: Scene) -> Choice | None:
        left = [m for m in scene.old if not m.is_leader]
        spec = scene.place_of(left[0]) if left else None
        return (Swap(left[0].server, spec), "it is old") if spec is not None else None

    broken = (swap_whoever, *roll.SWAP_RUNBOOK)
    monkeypatch.setattr(roll, "SWAP_RUNBOOK", broken)
    lab = of()
    with pytest.raises(RefusedError, match="quorum would be lost at swap:2:z-a3"):
        plan_roll(lab.wanted, lab.observe())
    monkeypatch.setattr(roll, "require_bearable", lambda *_: None)
    first, second, *_ = plan_roll(lab.wanted, lab.observe()).actions
    lab.do(first)
    with pytest.raises(ImpossibleError, match="are healthy"):
        lab.do(second)
