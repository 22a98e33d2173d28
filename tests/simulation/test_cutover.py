"""Whole cut-overs in memory: the real planner, steps, observer and runner, clients that write on.

The simulated cluster objects by itself when two generations could serve at the same time, when
the virtual IP is on two machines, and when a server leads that lacks an acknowledged write.
"""

import concurrent.futures
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.fakes.simulated import PASSWORD, TRAFFIC, USER, SimulatedCluster
from tests.fakes.simulated_api import SimulatedApi
from tests.fakes.simulated_cut import (
    NEXT_SCHEMA,
    PAUSES_S,
    WAYS,
    assert_served_by_the_new,
    assert_served_by_the_old,
    at,
    go_on,
    goal_of,
    moments,
    through,
    zone,
)
from tests.fakes.simulated_tool import AtOnce, Tool

from onebaton.errors import OnebatonError
from onebaton.model import RaftState, RaftStatus, Schema
from onebaton.plan.actions import CutWay
from onebaton.plan.wanted import Wanted


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
@pytest.mark.parametrize("way", WAYS)
def test_a_cut_over_keeps_every_acknowledged_write(way: CutWay, own: bool) -> None:
    goal = goal_of(way)
    cluster = zone(goal, own=own)
    taken = Tool(cluster, goal).roll()
    first = "z-b1" if own else "z-a1"
    assert f"cut-over:{first}" in taken
    assert_served_by_the_new(cluster, goal)
    assert cluster.elections == [first]
    assert len(cluster.acknowledged) > 100
    # Of the plain way: two seconds of migration, five to start, one to be elected.
    assert cluster.longest_gap_s < (3.0 if way == "stand-by" else 11.0)


class AMomentAgo(SimulatedApi):
    """The first server that is seen leading in a newer term is said to be still a candidate.

    :ivar told: that was said.
    """

    told = False
    first_term: int | None = None

    def raft_status(self, endpoint: str) -> RaftStatus:
        now = super().raft_status(endpoint)
        self.first_term = self.first_term or now.term
        if now.state is RaftState.LEADER and now.term > self.first_term and not self.told:
            self.told = True
            return replace(now, state=RaftState.CANDIDATE)
        return now


def test_a_server_that_was_just_elected_is_not_toppled() -> None:
    goal = goal_of("stand-by")
    cluster = zone(goal)
    cluster.api = AMomentAgo(cluster, f"{USER}:{PASSWORD}")
    Tool(cluster, goal).roll()
    assert cluster.api.told
    assert_served_by_the_new(cluster, goal)
    assert cluster.elections == ["z-b1"]


# The tool dies


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_over_may_die_before_and_after_each_change(way: CutWay) -> None:
    """The next run finishes it, whatever there is by then.

    Of the moments before the cut, when the tool's end is no more than that of a roll, some.
    """
    goal = goal_of(way)
    trunk = zone(goal)
    for number, (what, cluster) in enumerate(moments(trunk, Tool(trunk, goal).roll)):
        if cluster.priors.record is None and number % 5:
            continue
        cluster.clock.sleep(PAUSES_S[number % 2])
        said = go_on(cluster, goal)
        assert said == [], (what, said)
        assert_served_by_the_new(cluster, goal)


# Something goes wrong on the way


def assert_taken_back(cluster: SimulatedCluster, goal: Wanted, text: str) -> None:
    """A run ends with an error that says so, and the old generation serves."""
    with pytest.raises(OnebatonError) as error:
        Tool(cluster, goal).roll()
    assert "taken back" in error.value.message
    assert text in " ".join([error.value.message, *error.value.details])
    assert error.value.resolution is not None
    traffic = len(cluster.acknowledged)
    cluster.clock.sleep(2.0)
    assert len(cluster.acknowledged) > traffic
    assert_served_by_the_old(cluster)


def test_a_last_batch_that_the_migrator_fails_is_taken_back() -> None:
    goal = goal_of()
    cluster = zone(goal)
    at(cluster, "after freeze z-a3", lambda: cluster.standby.faults.migrator.add("z-b1"))
    assert_taken_back(cluster, goal, "onedb upgrade")
    cluster.standby.faults.migrator.clear()
    through(cluster, goal)


def test_a_migration_that_fails_in_the_plain_way_is_taken_back() -> None:
    goal = goal_of("plain")
    cluster = zone(goal)
    cluster.standby.faults.migrator.add("z-b1")
    assert_taken_back(cluster, goal, "onedb upgrade")
    cluster.standby.faults.migrator.clear()
    through(cluster, goal)


def test_a_new_server_that_does_not_start_in_the_plain_way_is_taken_back() -> None:
    goal = goal_of("plain")
    cluster = zone(goal)
    wrong = Schema("8.0.0", "8.0.0")

    def break_it() -> None:
        cluster.machines["z-b1"].requires = wrong

    at(cluster, "after upgrade z-b1", break_it)
    with pytest.raises(OnebatonError, match="taken back"):
        Tool(cluster, goal).roll()
    cluster.machines["z-b1"].requires = NEXT_SCHEMA
    assert_served_by_the_old(cluster)
    through(cluster, goal)


def test_a_stand_by_that_does_not_start_leaves_production_alone() -> None:
    goal = goal_of()
    cluster = zone(goal)
    cluster.standby.faults.starts.add("z-b1")
    with pytest.raises(OnebatonError, match="ended instead of starting"):
        Tool(cluster, goal).roll()
    assert cluster.longest_gap_s < 1.0
    assert_served_by_the_old(cluster)
    cluster.standby.faults.starts.clear()
    through(cluster, goal)


def test_rows_that_differ_in_the_last_batch_are_taken_back() -> None:
    goal = goal_of()
    cluster = zone(goal)
    at(cluster, "after freeze z-a3", lambda: cluster.standby.faults.rows.add("z-b1"))
    assert_taken_back(cluster, goal, TRAFFIC)
    cluster.standby.faults.rows.clear()
    through(cluster, goal)


@pytest.mark.parametrize("way", WAYS)
def test_an_overrun_budget_is_taken_back(way: CutWay) -> None:
    goal = goal_of(way, max_outage_s=12.0)
    cluster = zone(goal)
    at(cluster, "after freeze z-a3", lambda: cluster.clock.sleep(13.0))
    assert_taken_back(cluster, goal, "12 s that are allowed")
    through(cluster, goal)


@pytest.mark.parametrize("name", ["z-a1", "z-a2", "z-a3"])
def test_an_old_machine_that_cannot_be_frozen(name: str) -> None:
    """The others serve on without it; it goes on as a follower when it answers again."""
    goal = goal_of()
    cluster = zone(goal)

    def lose() -> None:
        cluster.machines[name].reachable = False

    at(cluster, "before freeze z-a2", lose)
    with pytest.raises(OnebatonError, match="taken back"):
        Tool(cluster, goal).roll()
    cluster.machines[name].reachable = True
    cluster.traffic = True
    said = go_on(cluster, goal)
    assert len(said) <= 1, said
    assert_served_by_the_new(cluster, goal)


def test_the_new_node_dies_before_it_is_released() -> None:
    goal = goal_of()
    cluster = zone(goal)
    at(cluster, "after freeze z-a3", lambda: cluster.switch_off("z-b1"))
    assert_taken_back(cluster, goal, "z-b1")


def test_the_new_node_dies_when_it_may_lead() -> None:
    """Nobody can tell what it has taken: nothing is begun until it is back."""
    goal = goal_of()
    cluster = zone(goal)
    at(cluster, "after list z-b1", lambda: cluster.switch_off("z-b1"))
    with pytest.raises(OnebatonError, match="was not taken back") as error:
        Tool(cluster, goal).roll()
    assert "z-b1" in error.value.message
    assert not cluster.raft.oneds
    cluster.platform.switch_on("z-b1")
    cluster.machines["z-b1"].reachable = True
    cluster.machines["z-b1"].active = False
    said = go_on(cluster, goal)
    assert all("taken back" in text for text in said), said
    assert_served_by_the_new(cluster, goal)
