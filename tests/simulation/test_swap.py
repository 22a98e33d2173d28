"""Machines exchanged in their places, in memory: killed anywhere, nothing acknowledged is lost."""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.danger import DangerError, DiedError
from tests.fakes.simulated import SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import NEW, OLD, AtOnce, Tool, assert_rolled, running_zone
from tests.fakes.worlds import wanted

from onebaton.errors import OnebatonError
from onebaton.model import Server
from onebaton.plan.actions import Action
from onebaton.steps.swap import SwapStep

GOAL = wanted(3, "swap")
BACK = replace(wanted(3, "swap", of=OLD), given_up=NEW.digest)


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def dying(cluster: SimulatedCluster, at: int, run: Callable[[Tool], object]) -> bool:
    """A run that dies at one of its changes; whether it came so far."""
    left = itertools.count()

    def die(_what: str) -> None:
        if next(left) == at:
            raise DiedError

    cluster.at_point = die
    died = True
    with suppress(DiedError):
        run(Tool(cluster, GOAL))
        died = False
    cluster.at_point = nobody_looks
    return died


def assert_swapped(cluster: SimulatedCluster, before: dict[int, Server]) -> None:
    assert_rolled(cluster, GOAL)
    assert cluster.servers == before
    assert Tool(cluster, GOAL).roll() == []


@pytest.mark.parametrize(("size", "leader"), [(3, 0), (3, 2), (5, 1)])
def test_a_swap_while_clients_write(size: int, leader: int) -> None:
    goal = wanted(size, "swap")
    cluster = running_zone(goal, leader=leader)
    before = cluster.servers
    instances = {n.instance for n in cluster.platform.nodes()}
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert cluster.servers == before
    assert not instances & {n.instance for n in cluster.platform.nodes()}
    assert len(cluster.elections) == 1
    assert cluster.longest_gap_s < 2.0


def test_it_may_die_at_each_change_and_goes_on() -> None:
    start = running_zone(GOAL)
    before = start.servers
    for number in itertools.count(step=3):
        cluster = start.copy()
        if not dying(cluster, number, Tool.roll):
            break
        cluster.clock.sleep((0.0, 3.0, 25.0)[number // 3 % 3])
        Tool(cluster, GOAL).roll()
        assert_swapped(cluster, before)
        assert len(cluster.elections) == 1
    assert number > 40


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(st.sampled_from([3, 5]), st.integers(0, 4), st.lists(st.integers(0, 60), max_size=5))
def test_it_may_die_again_and_again(size: int, leader: int, deaths: list[int]) -> None:
    goal = wanted(size, "swap")
    cluster = running_zone(goal, leader=leader % size)
    before = cluster.servers
    for at in deaths:
        if not dying(cluster, at, lambda tool: Tool(tool.cluster, goal).roll()):
            break
        cluster.clock.sleep(at % 7)
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert cluster.servers == before


@pytest.mark.parametrize("done", [1, 4, 7, 8])
def test_a_half_done_swap_is_swapped_back_and_may_die_at_each_change(done: int) -> None:
    """After so many steps: a machine made anew, one swapped, all but the leader, handed over."""
    start = running_zone(GOAL)
    before, steps = start.servers, itertools.count()

    def stop(_action: Action) -> None:
        if next(steps) == done:
            raise DiedError

    with suppress(DiedError):
        Tool(start, GOAL, before=stop).roll()
    for number in itertools.count(step=11):
        cluster = start.copy()
        died = dying(cluster, number, lambda tool: Tool(tool.cluster, BACK).swap_back())
        if died:
            cluster.clock.sleep((0.0, 25.0)[number % 2])
            Tool(cluster, BACK).swap_back()
        assert_rolled(cluster, BACK)
        assert cluster.servers == before
        if not died:
            break


def test_a_new_machine_that_never_boots_is_waited_for_and_swapped_back() -> None:
    cluster = running_zone(GOAL)
    cluster.faults.never_boots.add("z-a2")
    for _ in range(2):
        with pytest.raises(OnebatonError, match="z-a2 to be ready"):
            Tool(cluster, GOAL).roll()
    cluster.faults.never_boots.clear()
    Tool(cluster, BACK).swap_back()
    assert_rolled(cluster, BACK)


def test_a_machine_that_vanishes_meanwhile_is_made_of_the_new_image_when_its_turn_comes() -> None:
    goal = wanted(5, "swap")
    cluster = running_zone(goal)
    cluster.late_allowed, before, made = 2, cluster.servers, []

    def vanish(what: str) -> None:
        if what == "after stop z-a3":
            cluster.kill("z-a5")
            cluster.machines["z-a5"].reachable = cluster.machines["z-a5"].holds_vip = False
            cluster.platform.lose("z-a5")
        if what == "before create z-a5":
            made.append([n.spec.name for n in cluster.platform.nodes()])

    cluster.at_point = vanish
    with suppress(OnebatonError):
        Tool(cluster, goal).roll()
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert cluster.servers == before
    assert len(made) == 1


def test_no_machine_is_destroyed_whose_writes_the_others_lack() -> None:
    """One follower stands still: what is acknowledged is on the leader and on the other one."""
    cluster = running_zone(GOAL)

    def behind(action: Action) -> None:
        if action.id == "swap:1:z-a2":
            cluster.raft.no_database.add("z-a3")
            cluster.clock.sleep(3.0)

    with pytest.raises(OnebatonError, match="in vain for 2 of the other servers to hold record"):
        Tool(cluster, GOAL, before=behind).roll()
    assert {n.spec.image_digest for n in cluster.platform.nodes()} == {OLD.digest}


def test_one_that_does_not_look_for_them_is_found_out(monkeypatch) -> None:
    monkeypatch.setattr(SwapStep, "_wait_held_by_others", lambda _step: None)
    cluster = running_zone(GOAL)

    def behind(action: Action) -> None:
        if action.id == "swap:1:z-a2":
            cluster.raft.no_database.add("z-a3")
            cluster.clock.sleep(3.0)

    with pytest.raises(DangerError, match="only copy"):
        Tool(cluster, GOAL, before=behind).roll()
