"""Cut-overs that an operator takes back or makes final, in memory, killed at any point."""

import concurrent.futures
from collections.abc import Iterator

import pytest
from tests.fakes.danger import DiedError
from tests.fakes.simulated_cut import (
    PAUSES_S,
    accept_loss,
    assert_served_by_the_old,
    at,
    goal_of,
    moments,
    new_names,
    old_names,
    through,
    zone,
)
from tests.fakes.simulated_tool import AtOnce, Tool

from onebaton.errors import OnebatonError
from onebaton.model import PriorPhase


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def test_a_rollback_brings_the_old_generation_back_and_loses_what_was_written_since() -> None:
    goal = goal_of()
    cluster = zone(goal)
    Tool(cluster, goal).roll()
    cluster.clock.sleep(5.0)
    assert accept_loss(cluster) > 20
    cluster.elections.clear()
    began = cluster.clock.now()
    assert Tool(cluster, goal).rollback() == ["reinstate:0,1,2"]
    assert cluster.elections == ["z-a2"]
    # In here the machines start one after the other.
    assert cluster.clock.now() - began < 30.0
    cluster.traffic = True
    cluster.clock.sleep(5.0)
    assert_served_by_the_old(cluster)
    for name in new_names(cluster):
        machine = cluster.machines[name]
        assert (machine.active, machine.masked, machine.database) == (False, True, None)
    through(cluster, goal)


def test_a_rollback_may_die_before_and_after_each_change() -> None:
    goal = goal_of()
    trunk = zone(goal)
    Tool(trunk, goal).roll()
    trunk.clock.sleep(3.0)
    accept_loss(trunk)
    for number, (what, cluster) in enumerate(moments(trunk, Tool(trunk, goal).rollback)):
        cluster.clock.sleep(PAUSES_S[number % 2])
        Tool(cluster, goal).rollback()
        assert what
        cluster.traffic = True
        cluster.clock.sleep(2.0)
        assert_served_by_the_old(cluster)


def test_a_rollback_in_the_middle_of_a_cut_loses_nothing() -> None:
    goal = goal_of()
    trunk = zone(goal)
    taken_back = 0
    for what, cluster in moments(trunk, Tool(trunk, goal).roll):
        record = cluster.priors.record
        if record is None or record.phase is not PriorPhase.CUTTING or cluster.elections:
            continue
        assert Tool(cluster, goal).rollback() == ["reinstate:0,1,2"], what
        assert_served_by_the_old(cluster)
        taken_back += 1
    assert taken_back > 10


def test_a_rollback_that_was_begun_is_not_mixed_with_a_rollout() -> None:
    goal = goal_of()
    cluster = zone(goal)
    Tool(cluster, goal).roll()
    accept_loss(cluster)

    def die() -> None:
        raise DiedError

    at(cluster, "before start z-a1", die)
    with pytest.raises(DiedError):
        Tool(cluster, goal).rollback()
    with pytest.raises(OnebatonError) as error:
        Tool(cluster, goal).roll()
    assert "onebaton rollback" in " ".join([*error.value.details, str(error.value.resolution)])
    assert not cluster.raft.oneds
    Tool(cluster, goal).rollback()
    assert_served_by_the_old(cluster)


def test_finalize_destroys_the_old_generation_and_ends_the_way_back() -> None:
    goal = goal_of()
    cluster = zone(goal)
    Tool(cluster, goal).roll()
    taken = Tool(cluster, goal).finalize()
    assert taken == ["give-up:0,1,2", "destroy:z-a1,z-a2,z-a3"]
    assert not old_names(cluster)
    assert Tool(cluster, goal).finalize() == []
    with pytest.raises(OnebatonError, match="final"):
        Tool(cluster, goal).rollback()
    assert set(cluster.raft.oneds) == new_names(cluster)
