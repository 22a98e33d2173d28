"""Zones that grow, shrink and get a newer image of their version, in memory, killed anywhere."""

import concurrent.futures
import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.fakes.danger import DiedError
from tests.fakes.simulated import SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import OLD, AtOnce, Tool, assert_rolled, running_zone
from tests.fakes.worlds import wanted

from onebaton.plan.wanted import Wanted

THREE, FIVE = wanted(3, of=OLD), wanted(5, of=OLD)


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def die_at(cluster: SimulatedCluster, goal: Wanted, at: int) -> bool:
    """A run that dies at one of its changes; whether it came so far."""
    left = itertools.count()

    def die(_what: str) -> None:
        if next(left) == at:
            raise DiedError

    cluster.at_point = die
    died = True
    with suppress(DiedError):
        Tool(cluster, goal).roll()
        died = False
    cluster.at_point = nobody_looks
    return died


@pytest.mark.parametrize("leader", [0, 2])
def test_three_become_five_become_three(leader: int) -> None:
    cluster = running_zone(THREE, leader=leader)
    assert Tool(cluster, FIVE).roll()[:3] == ["provision:z-a4,z-a5", "seed:z-a4,z-a5", "join:z-a4"]
    assert_rolled(cluster, FIVE)
    cluster.traffic = True
    done = Tool(cluster, THREE).roll()
    assert done == ["retire:3:z-a4", "retire:4:z-a5", "destroy:z-a4,z-a5"]
    assert_rolled(cluster, THREE)
    assert not cluster.elections


def test_a_leader_that_is_one_too_many_hands_over_first() -> None:
    cluster = running_zone(FIVE, leader=4)
    Tool(cluster, THREE).roll()
    assert_rolled(cluster, THREE)
    assert cluster.elections == ["z-a1"]


@pytest.mark.parametrize(("before", "goal"), [(THREE, FIVE), (FIVE, THREE)])
def test_a_change_of_size_may_die_at_each_change(before: Wanted, goal: Wanted) -> None:
    start = running_zone(before, leader=1)
    for number in itertools.count():
        cluster = start.copy()
        if not die_at(cluster, goal, number):
            break
        cluster.clock.sleep(25.0 * (number % 2))
        Tool(cluster, goal).roll()
        assert_rolled(cluster, goal)
        assert not cluster.elections
    assert number > 5


def test_a_newer_image_of_the_same_version_is_rolled() -> None:
    newer = replace(OLD, name="onebaton/z:6.10.0-2", digest="sha256:6.10.0-2")
    cluster = running_zone(THREE)
    cluster.take_in(newer)
    goal = wanted(3, of=newer)
    assert "hand-over:0:z-a1:z-b1" in Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1
