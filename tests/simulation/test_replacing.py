"""Machines that are replaced, in memory: killed at any point, and nothing acknowledged is lost."""

import concurrent.futures
import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.fakes.danger import DiedError
from tests.fakes.simulated import SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import OLD, AtOnce, Tool, assert_rolled, running_zone
from tests.fakes.worlds import wanted

from onebaton.errors import OnebatonError
from onebaton.plan.replacing import condemn
from onebaton.plan.wanted import Condemned

GOAL = wanted(3, of=OLD)


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def machine_called(cluster: SimulatedCluster, name: str) -> Condemned:
    return condemn(Tool(cluster, GOAL).observe(), name, None)


def dying(cluster: SimulatedCluster, one: Condemned, at: int) -> bool:
    """A run that dies at one of its changes; whether it came so far."""
    left = itertools.count()

    def die(_what: str) -> None:
        if next(left) == at:
            raise DiedError

    cluster.at_point = die
    died = True
    with suppress(DiedError):
        Tool(cluster, GOAL).replace(one)
        died = False
    cluster.at_point = nobody_looks
    return died


def assert_replaced(cluster: SimulatedCluster, one: Condemned) -> None:
    assert_rolled(cluster, GOAL)
    (node,) = (n for n in cluster.platform.nodes() if n.spec.name == one.name)
    assert node.instance != one.instance
    assert Tool(cluster, GOAL).roll() == []


def test_a_suspect_follower_while_clients_write() -> None:
    cluster = running_zone(GOAL)
    one = machine_called(cluster, "z-a2")
    steps = Tool(cluster, GOAL).replace(one)
    assert steps[:3] == ["retire:1:z-a2", "destroy:z-a2", "provision:z-a2"]
    assert not cluster.elections
    assert cluster.longest_gap_s < 1.0
    assert set(cluster.servers) == {0, 2, 3}, "the leader gave a new id"
    assert_replaced(cluster, one)


def test_the_leader_hands_over_first() -> None:
    cluster = running_zone(GOAL)
    one = machine_called(cluster, "z-a1")
    assert "hand-over:0:z-a1:z-a2" in Tool(cluster, GOAL).replace(one)
    assert cluster.elections == ["z-a2"]
    assert cluster.longest_gap_s < 2.0
    assert_replaced(cluster, one)


def test_a_machine_that_was_switched_off_goes_before_its_server() -> None:
    cluster = running_zone(GOAL)
    one = machine_called(cluster, "z-a3")
    cluster.switch_off("z-a3")
    cluster.clock.sleep(10.0)
    assert Tool(cluster, GOAL).replace(one)[:2] == ["fence:2:z-a3", "provision:z-a3"]
    assert not cluster.elections
    assert_replaced(cluster, one)


def test_a_machine_that_nobody_reaches_and_that_votes_on() -> None:
    """Its oned runs: deleted while it does, it would topple the leader. Its machine goes first."""
    cluster = running_zone(GOAL)
    one = machine_called(cluster, "z-a3")
    cluster.machines["z-a3"].reachable = False
    assert "z-a3" in cluster.raft.oneds
    assert Tool(cluster, GOAL).replace(one)[0] == "fence:2:z-a3"
    assert not cluster.elections
    assert_replaced(cluster, one)


@pytest.mark.parametrize(("name", "is_off"), [("z-a2", False), ("z-a1", False), ("z-a3", True)])
def test_it_may_die_at_each_change_and_goes_on(name: str, is_off: bool) -> None:
    start = running_zone(GOAL)
    one = machine_called(start, name)
    if is_off:
        start.switch_off(name)
    for number in itertools.count():
        cluster = start.copy()
        if not dying(cluster, one, number):
            break
        cluster.clock.sleep((0.0, 3.0, 25.0)[number % 3])
        Tool(cluster, GOAL).replace(one)
        assert_replaced(cluster, one)
        assert len(cluster.elections) == (name == "z-a1")
    assert number > 20


def test_with_another_server_down_nothing_is_begun() -> None:
    cluster = running_zone(GOAL)
    one = machine_called(cluster, "z-a2")
    cluster.kill("z-a3")
    cluster.clock.sleep(2.0)
    with pytest.raises(OnebatonError):
        Tool(cluster, GOAL).replace(one)
    assert set(cluster.raft.oneds) == {"z-a1", "z-a2"}
    assert len(cluster.servers) == 3


def test_an_id_that_is_given_again_is_known_at_its_new_place() -> None:
    """The highest id is free again once its server is deleted: z-a2 becomes what z-a4 was."""
    cluster = running_zone(GOAL)
    Tool(cluster, wanted(5, of=OLD)).roll()
    Tool(cluster, GOAL).roll()
    assert 3 in cluster.machines["z-a3"].known_servers
    one = machine_called(cluster, "z-a2")
    assert "refresh:z-a3" in Tool(cluster, GOAL).replace(one)
    server = cluster.servers[3]
    assert server.name == "z-a2"
    assert cluster.raft.oneds["z-a3"].servers[3] == server
    assert_replaced(cluster, one)
