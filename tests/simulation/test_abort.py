"""Rolls that are given up, in memory: the real planner, steps and runner, killed at any point."""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.fakes import simulated_cut
from tests.fakes.danger import DiedError
from tests.fakes.simulated import TRAFFIC, SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import AtOnce, Tool, running_zone
from tests.fakes.worlds import wanted

from onebaton.errors import OnebatonError
from onebaton.plan.wanted import Wanted


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def dying(cluster: SimulatedCluster, run: Callable[[], object], at: int | str) -> bool:
    """Run it, and let it die at one of its changes, by number or name; whether it came so far."""
    left = itertools.count()

    def die(what: str) -> None:
        if at in (next(left), what):
            raise DiedError

    cluster.at_point = die
    died = True
    with suppress(DiedError):
        run()
        died = False
    cluster.at_point = nobody_looks
    return died


def assert_old(cluster: SimulatedCluster, goal: Wanted) -> None:
    """The old generation serves, nothing new is there, and no acknowledged write is lost."""
    cluster.clock.sleep(1.0)
    cluster.traffic = False
    cluster.clock.sleep(2.0)
    names = {f"z-a{i + 1}" for i in range(goal.size)}
    assert {s.name for s in cluster.servers.values()} == names
    assert set(cluster.raft.oneds) == names
    assert {node.spec.name for node in cluster.platform.nodes()} == names
    assert not cluster.elections
    assert not cluster.late()
    for name in names:
        database = cluster.machines[name].database
        assert database is not None
        assert set(cluster.acknowledged) <= database.tables[TRAFFIC].keys()


def test_a_roll_is_given_up_after_any_change_before_the_first_retirement() -> None:
    goal = wanted(3)
    trunk = running_zone(goal)
    found: list[SimulatedCluster] = []

    def keep(what: str) -> None:
        if what.endswith("stop z-a2"):
            raise DiedError
        if what.startswith("after"):
            trunk.at_point = nobody_looks
            found.append(trunk.copy())
            trunk.at_point = keep

    trunk.at_point = keep
    with pytest.raises(DiedError):
        Tool(trunk, goal).roll()
    assert len(found) > 20
    for cluster in found:
        assert Tool(cluster, goal).abort()[-1].startswith("destroy:z-b1")
        assert_old(cluster, goal)


def test_an_abort_may_die_at_each_change_and_goes_on() -> None:
    goal = wanted(3)
    start = running_zone(goal)
    dying(start, Tool(start, goal).roll, "before stop z-a2")
    assert len(start.servers) == 6
    for number in itertools.count():
        cluster = start.copy()
        if not dying(cluster, Tool(cluster, goal).abort, number):
            break
        cluster.clock.sleep(20.0 * (number % 2))
        Tool(cluster, goal).abort()
        assert_old(cluster, goal)
    assert number > 10


def test_after_an_abort_the_same_roll_may_be_begun_again() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    dying(cluster, Tool(cluster, goal).roll, "before stop z-a2")
    Tool(cluster, goal).abort()
    assert "hand-over:0:z-a1:z-b1" in Tool(cluster, goal).roll()
    assert len(cluster.elections) == 1


def test_a_new_node_that_cannot_be_reached_goes_with_its_machine() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    dying(cluster, Tool(cluster, goal).roll, "before stop z-a2")
    cluster.switch_off("z-b2")
    cluster.clock.sleep(2.0)
    assert Tool(cluster, goal).abort()[0].endswith(":z-b2")
    assert_old(cluster, goal)


def test_a_roll_whose_old_servers_are_retired_is_not_given_up() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    dying(cluster, Tool(cluster, goal).roll, "before stop z-a3")
    before = len(cluster.servers)
    with pytest.raises(OnebatonError) as error:
        Tool(cluster, goal).abort()
    assert "could not carry the zone" in " ".join(error.value.details)
    assert len(cluster.servers) == before


@pytest.mark.parametrize("moment", ["after migrate copy z-b1", "after hold z-b1"])
def test_a_cut_over_that_was_only_prepared_leaves_the_zone_alone(moment: str) -> None:
    goal = simulated_cut.goal_of()
    cluster = simulated_cut.zone(goal)
    assert dying(cluster, Tool(cluster, goal).roll, moment)
    assert Tool(cluster, goal).abort() == ["destroy:z-b1,z-b2,z-b3"]
    assert_old(cluster, goal)


def test_a_cut_over_that_was_carried_out_is_not_given_up() -> None:
    goal = simulated_cut.goal_of()
    cluster = simulated_cut.zone(goal)
    Tool(cluster, goal).roll()
    with pytest.raises(OnebatonError) as error:
        Tool(cluster, goal).abort()
    assert "onebaton rollback" in " ".join(error.value.details)


@pytest.mark.parametrize("own", [True, False])
def test_an_abort_with_a_machine_that_is_off_may_die_at_each_change(own: bool) -> None:
    """Between the end of the machine and of its membership, only its place tells what it was."""
    goal = wanted(3)
    start = running_zone(goal, own=own)
    began = {server.name for server in start.servers.values()}
    last = "z-b2" if own else "z-a2"
    dying(start, Tool(start, goal).roll, f"after start {last}")
    start.clock.sleep(5.0)
    start.switch_off(last)
    for number in itertools.count():
        cluster = start.copy()
        if not dying(cluster, Tool(cluster, goal).abort, number):
            break
        Tool(cluster, goal).abort()
        cluster.clock.sleep(2.0)
        assert {server.name for server in cluster.servers.values()} == began
        assert set(cluster.raft.oneds) == began
        assert not cluster.elections
    assert number > 8
