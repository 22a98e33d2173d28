"""Whole rollouts in memory: the real planner, steps, observer and runner on a simulated cluster."""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.fakes.danger import DiedError
from tests.fakes.simulated import USER, SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import NEW, OLD, AtOnce, Tool, assert_rolled, running_zone
from tests.fakes.worlds import wanted

from onebaton.errors import OnebatonError
from onebaton.plan.actions import Action, Plan
from onebaton.plan.roll import plan_roll
from onebaton.plan.wanted import Strategy, Wanted


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
@pytest.mark.parametrize("size", [3, 5])
@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_a_roll_keeps_every_acknowledged_write(strategy: Strategy, size: int, own: bool) -> None:
    goal = wanted(size, strategy)
    cluster = running_zone(goal, own=own, leader=1)
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1
    assert len(cluster.acknowledged) > 100
    # The shorter election timeout of its successor, and the leader's end before it.
    assert cluster.longest_gap_s < 2.0


def assert_founded(cluster: SimulatedCluster, goal: Wanted) -> None:
    """The zone is there, and could be rolled right away."""
    assert [s.name for s in cluster.servers.values()] == [f"z-a{i + 1}" for i in range(goal.size)]
    cluster.guarded = True
    cluster.check()
    leader = cluster.leader
    assert leader is not None
    assert [n for n, m in cluster.machines.items() if m.holds_vip] == [leader.machine]
    assert plan_roll(goal, Tool(cluster, goal).observe()) == Plan()
    for oned in cluster.raft.oneds.values():
        assert oned is leader or set(oned.servers) == set(range(goal.size))


@pytest.mark.parametrize("size", [3, 5])
def test_a_zone_is_founded_and_then_rolled(size: int) -> None:
    cluster = SimulatedCluster([OLD, NEW])
    cluster.guarded = False
    first = wanted(size, of=OLD)
    Tool(cluster, first).bootstrap()
    assert_founded(cluster, first)
    cluster.elections.clear()
    goal = wanted(size)
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1


def test_a_quiet_zone_is_rolled_as_well() -> None:
    """No client writes, so that nothing but heartbeats tells followers what was committed."""
    goal = wanted(3)
    cluster = running_zone(goal)
    cluster.traffic = False
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)


# The tool dies

#: How long it stays dead, in seconds: not at all, within an election, and long after one.
PAUSES_S = (0.0, 3.0, 25.0)


def moments(
    cluster: SimulatedCluster, run: Callable[[], object]
) -> Iterator[tuple[SimulatedCluster, float]]:
    """The cluster before and after each change that a run makes, as it is when the tool dies.

    Nothing of the tool goes on, not even what it would do on its way out. With each moment
    comes a time to stay dead; without a leader all of them do.
    """
    found: list[tuple[str, SimulatedCluster]] = []
    after = None

    def keep(what: str) -> None:
        nonlocal after
        now = cluster.clock.now()
        if after != now:  # else this is the moment after the last change once more
            cluster.at_point = nobody_looks
            found.append((what, cluster.copy()))
            cluster.at_point = keep
        after = now if what.startswith("after") else None

    cluster.at_point = keep
    run()
    assert len(found) > 40
    for number, (what, then) in enumerate(found):
        every = then.guarded and (then.leader is None or "cut_off" in what)
        for pause_s in PAUSES_S if every else PAUSES_S[number % len(PAUSES_S) :][:1]:
            yield then.copy(), pause_s


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_a_roll_may_die_before_and_after_each_change(strategy: Strategy) -> None:
    goal = wanted(3, strategy)
    trunk = running_zone(goal)
    for cluster, pause_s in moments(trunk, Tool(trunk, goal).roll):
        cluster.clock.sleep(pause_s)
        Tool(cluster, goal).roll()
        assert_rolled(cluster, goal)
        assert len(cluster.elections) == 1


def test_a_bootstrap_may_die_before_and_after_each_change() -> None:
    goal = wanted(3, of=OLD)
    trunk = SimulatedCluster([OLD, NEW])
    trunk.guarded = False
    for cluster, pause_s in moments(trunk, Tool(trunk, goal).bootstrap):
        cluster.clock.sleep(pause_s)
        Tool(cluster, goal).bootstrap()
        assert_founded(cluster, goal)


def run_and_die(cluster: SimulatedCluster, goal: Wanted, at: int | str) -> None:
    """A roll that dies at one of its changes, by number or name, if it comes so far."""
    left = itertools.count()

    def die(what: str) -> None:
        if at in (next(left), what):
            raise DiedError

    cluster.at_point = die
    with suppress(DiedError):
        Tool(cluster, goal).roll()
    cluster.at_point = nobody_looks


@settings(max_examples=20, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
@given(
    size=st.integers(3, 5),
    strategy=st.sampled_from(["surge", "one-by-one"]),
    own=st.booleans(),
    leader=st.integers(0, 2),
    deaths=st.lists(
        st.tuples(st.integers(0, 120), st.sampled_from(PAUSES_S)), min_size=2, max_size=5
    ),
)
def test_a_roll_may_die_again_and_again(size, strategy, own, leader, deaths):
    goal = wanted(size, strategy)
    cluster = running_zone(goal, own=own, leader=leader)
    for at, pause_s in deaths:
        run_and_die(cluster, goal, at)
        cluster.clock.sleep(pause_s)
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1


def test_a_seed_that_fell_out_of_the_log_window_meanwhile_is_made_anew() -> None:
    goal = wanted(3, expected_seed_s=1.0)
    cluster = running_zone(goal)
    cluster.log_retention = 200
    run_and_die(cluster, goal, "after load z-b3")
    assert cluster.machines["z-b3"].database is not None
    cluster.clock.sleep(120.0)
    assert "seed:z-b1,z-b2,z-b3" in Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)


# Something is wrong with the machines


def assert_stops(cluster: SimulatedCluster, goal: Wanted, text: str) -> None:
    """A run ends with an error that says so; whatever it did, the zone has objected to nothing."""
    with pytest.raises(OnebatonError) as error:
        Tool(cluster, goal).roll()
    said = " ".join([error.value.message, *error.value.details])
    assert text in said, said
    assert error.value.resolution is not None
    cluster.clock.sleep(8.0)


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_a_node_that_never_boots(strategy: Strategy) -> None:
    goal = wanted(3, strategy)
    cluster = running_zone(goal)
    cluster.faults.never_boots.add("z-b2")
    assert_stops(cluster, goal, "z-b2")
    cluster.faults.never_boots.clear()
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)


def test_a_node_that_was_switched_off_is_replaced() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    run_and_die(cluster, goal, "after add_server z-b1")
    cluster.switch_off("z-b3")
    assert "provision:z-b3" in Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_a_node_whose_secrets_are_others(strategy: Strategy) -> None:
    goal = wanted(3, strategy)
    cluster = running_zone(goal)
    cluster.faults.other_secrets.add("z-b2")
    assert_stops(cluster, goal, "secrets")
    cluster.faults.other_secrets.clear()
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)


def test_secrets_that_change_at_the_last_moment() -> None:
    """A server with other secrets topples the leader as soon as it is listed and runs."""
    goal = wanted(3)
    cluster = running_zone(goal)

    def change(action: Action) -> None:
        if action.id == "join:z-b2":
            cluster.machines["z-b2"].secrets = f"{USER}:another"

    with pytest.raises(OnebatonError, match="secrets"):
        Tool(cluster, goal, before=change).roll()
    assert not cluster.elections
    assert Tool(cluster, goal).roll()[0] == "seed:z-b2"
    assert_rolled(cluster, goal)


def test_a_node_that_was_seeded_wrongly() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    cluster.faults.bad_seed.add("z-b2")
    assert_stops(cluster, goal, "template_pool")
    assert_stops(cluster, goal, "template_pool")
    cluster.faults.bad_seed.clear()
    cluster.machines["z-b2"].database = None
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)


@pytest.mark.parametrize("name", ["z-b1", "z-b2", "z-b3"])
@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_a_node_that_differs_after_its_start(strategy: Strategy, name: str) -> None:
    """However often the command is run again, it goes no further than its join."""
    goal = wanted(3, strategy)
    cluster = running_zone(goal)
    cluster.faults.bad_apply.add(name)
    assert_stops(cluster, goal, "template_pool")
    assert name not in cluster.raft.oneds
    assert_stops(cluster, goal, "template_pool")
    assert not cluster.elections
    cluster.faults.bad_apply.clear()
    cluster.machines[name].database = None
    assert Tool(cluster, goal).roll()[:2] == [f"seed:{name}", f"join:{name}"]
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1


@pytest.mark.parametrize("name", ["z-b1", "z-b2", "z-b3"])
def test_a_member_that_came_to_differ_is_in_no_new_zone(name: str) -> None:
    """A record whose SQL failed counts as applied all the same (source note)."""
    goal = wanted(3)
    cluster = running_zone(goal)

    def fail_to_apply(action: Action) -> None:
        if action.id == "retire:1:z-a2":
            cluster.frontends.damage(name)

    with pytest.raises(OnebatonError):
        Tool(cluster, goal, before=fail_to_apply).roll()
    assert_stops(cluster, goal, "template_pool")
    assert not cluster.elections
    cluster.throw_out(name)
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_the_leader_dies_before_a_step(strategy: Strategy) -> None:
    goal = wanted(3, strategy)
    steps = len(Tool(undisturbed := running_zone(goal), goal).roll())
    assert len(undisturbed.elections) == 1
    for number in range(steps):
        cluster = running_zone(goal)
        left, killed = number, ""

        def kill(action: Action) -> None:
            nonlocal left, killed
            left -= 1
            if left == -1 and cluster.leader is not None:  # noqa: B023 - used in this round
                killed = cluster.leader.machine  # noqa: B023
                cluster.kill(killed)  # noqa: B023
                # Between the hand-over and the end of the old leader's membership a zone of
                # three survives no further failure, as its plan says.
                cluster.guarded = "retire:0" not in action.id  # noqa: B023

        with pytest.raises(OnebatonError):
            Tool(cluster, goal, before=kill).roll()
        # Its follower hook did not run: two hold the virtual IP, which no run accepts.
        assert_stops(cluster, goal, killed)
        cluster.bring_back(killed)
        cluster.clock.sleep(30.0)
        cluster.guarded = True
        Tool(cluster, goal).roll()
        assert_rolled(cluster, goal)


@pytest.mark.parametrize(
    ("step", "victim"),
    [
        ("provision:z-b1,z-b2,z-b3", "z-a3"),
        ("join:z-b2", "z-a3"),
        ("join:z-b3", "z-b1"),
        ("retire:1:z-a2", "z-b2"),
        ("hand-over:0:z-a1:z-b1", "z-b1"),
        ("hand-over:0:z-a1:z-b1", "z-b3"),
    ],
)
def test_a_follower_that_stands_still(step: str, victim: str) -> None:
    """In state follower, in the right term, and its log grows no more (measured note)."""
    goal = wanted(3)
    cluster = running_zone(goal)
    cluster.late_allowed = 2  # the one that the step is busy with, and this one

    def stand_still(action: Action) -> None:
        if action.id == step:
            cluster.raft.deaf.add(victim)

    with pytest.raises(OnebatonError):
        Tool(cluster, goal, before=stand_still).roll()
    assert len(cluster.elections) <= (1 if victim == "z-b3" else 0)
    assert_stops(cluster, goal, victim)
    cluster.raft.deaf.clear()
    cluster.clock.sleep(60.0)
    cluster.late_allowed = 1
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1
