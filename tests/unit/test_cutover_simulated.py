"""Whole cut-overs in memory: the real planner, steps, observer and runner, clients that write on.

The simulated cluster objects by itself when two generations could serve at the same time, when
the virtual IP is on two machines, and when a server leads that lacks an acknowledged write.
"""

import concurrent.futures
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.fakes.simulated import NORMAL_MS, TRAFFIC, SimulatedCluster
from tests.fakes.simulated_tool import AtOnce, Tool, running_zone
from tests.fakes.standby import MARK
from tests.fakes.worlds import SCHEMA, image, wanted

from onebaton.model import PriorPhase, Schema
from onebaton.plan.actions import CutWay
from onebaton.plan.wanted import CutWish, Rehearsed, Wanted

NEXT_SCHEMA = Schema("7.0.0", "7.0.0")
NEXT = image("7.0.2", schema=NEXT_SCHEMA)
WAYS: tuple[CutWay, ...] = ("stand-by", "plain")


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def goal_of(way: CutWay = "stand-by", *, max_outage_s: float | None = None) -> Wanted:
    """A zone of three on the next release, whose change of the schema was rehearsed."""
    rehearsed = Rehearsed(
        kept_as="rehearsals/1.json",
        verdict="cut-over",
        image_digest=NEXT.digest,
        from_schema=str(SCHEMA),
        to_schema=str(NEXT_SCHEMA),
        age_s=60.0,
        ahead_proven=True,
        forecast_s={"stand-by": 3.0, "plain": 12.0},
    )
    cut = CutWish(way=way, rehearsal=rehearsed, max_outage_s=max_outage_s)
    return replace(wanted(3, of=NEXT), cut=cut)


def zone(goal: Wanted, *, own: bool = True, leader: int = 1) -> SimulatedCluster:
    cluster = running_zone(goal, own=own, leader=leader)
    cluster.take_in(NEXT)
    return cluster


def old_names(cluster: SimulatedCluster) -> list[str]:
    return [name for name, machine in cluster.machines.items() if machine.requires == SCHEMA]


def rest(cluster: SimulatedCluster) -> None:
    """Clients stop, and what they wrote comes to everybody."""
    cluster.clock.sleep(1.0)
    cluster.traffic = False
    cluster.clock.sleep(2.0)


def assert_served_by_the_new(cluster: SimulatedCluster, goal: Wanted) -> None:
    """The new generation serves, level and equal; the old one stands by; nothing is lost."""
    rest(cluster)
    leader = cluster.leader
    assert leader is not None
    names = {f"z-b{i + 1}" for i in range(goal.size)}
    assert set(cluster.raft.oneds) == names
    assert {s.name for s in cluster.servers.values()} == names
    assert [n for n, m in cluster.machines.items() if m.holds_vip] == [leader.machine]
    assert not cluster.late()
    assert cluster.priors.record is not None
    assert cluster.priors.record.phase is PriorPhase.SERVED
    for name in old_names(cluster):
        machine = cluster.machines[name]
        assert (machine.active, machine.masked, machine.holds_vip) == (False, True, False)
        assert machine.database is not None
        assert machine.database.schema == SCHEMA
        assert machine.database.applied == cluster.priors.record.cut_index
    for name in names:
        machine = cluster.machines[name]
        database = machine.database
        assert database is not None
        assert database.schema == NEXT_SCHEMA
        assert set(cluster.acknowledged) <= database.tables[TRAFFIC].keys()
        assert database.checksums() == leader.database.checksums()
        assert machine.election_timeout_ms == NORMAL_MS
        assert (machine.stage, machine.warm, machine.fenced) == (None, None, False)
        assert leader.server_id in cluster.raft.oneds[name].servers
    written_before = {
        key
        for _, (table, key, _) in cluster.machines[old_names(cluster)[0]].database.log.values()
        if table == TRAFFIC
    }
    rows = leader.database.tables[TRAFFIC]
    assert all(rows[key].startswith(MARK) == (key in written_before) for key in rows)


def assert_served_by_the_old(cluster: SimulatedCluster, *, lost: int = 0) -> None:
    """The old generation serves as before; no new server runs, and nothing is recorded."""
    rest(cluster)
    leader = cluster.leader
    assert leader is not None
    names = set(old_names(cluster))
    assert {n for n, o in cluster.raft.oneds.items() if not cluster.is_held(o)} == names
    assert {s.name for s in cluster.servers.values()} == names
    assert [n for n, m in cluster.machines.items() if m.holds_vip] == [leader.machine]
    assert not cluster.late()
    assert cluster.priors.record is None
    for name in names:
        machine = cluster.machines[name]
        assert (machine.active, machine.enabled, machine.masked) == (True, True, False)
        assert machine.database is not None
        missing = set(cluster.acknowledged) - machine.database.tables[TRAFFIC].keys()
        assert len(missing) == lost
        assert machine.database.checksums() == leader.database.checksums()


@pytest.mark.parametrize("own", [True, False], ids=["own", "foreign"])
@pytest.mark.parametrize("way", WAYS)
def test_a_cut_over_keeps_every_acknowledged_write(way: CutWay, own: bool) -> None:
    goal = goal_of(way)
    cluster = zone(goal, own=own)
    taken = Tool(cluster, goal).roll()
    assert "cut-over:z-b1" in taken
    assert_served_by_the_new(cluster, goal)
    assert cluster.elections == ["z-b1"]
    assert len(cluster.acknowledged) > 100
    print(way, cluster.longest_gap_s, taken)
