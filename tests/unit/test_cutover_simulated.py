"""Whole cut-overs in memory: the real planner, steps, observer and runner, clients that write on.

The simulated cluster objects by itself when two generations could serve at the same time, when
the virtual IP is on two machines, and when a server leads that lacks an acknowledged write.
"""

import concurrent.futures
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests.fakes.simulated import NORMAL_MS, TRAFFIC, SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import AtOnce, Tool, running_zone
from tests.fakes.standby import MARK
from tests.fakes.worlds import SCHEMA, image, wanted

from onebaton.errors import OnebatonError
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


def new_names(cluster: SimulatedCluster) -> set[str]:
    return {name for name, machine in cluster.machines.items() if machine.requires == NEXT_SCHEMA}


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
    names = new_names(cluster)
    assert len(names) == goal.size
    assert set(cluster.raft.oneds) == names
    assert {s.name for s in cluster.servers.values()} == names
    assert [n for n, m in cluster.machines.items() if m.holds_vip] == [leader.machine]
    assert not cluster.late()
    record = cluster.priors.record
    assert record is not None
    assert record.phase is PriorPhase.SERVED
    old_leader = next(s.name for s in record.zone.servers if s.id == record.leader_id)
    for name in old_names(cluster):
        machine = cluster.machines[name]
        assert (machine.active, machine.masked, machine.holds_vip) == (False, True, False)
        assert machine.database is not None
        assert machine.database.schema == SCHEMA
        if name == old_leader:
            assert machine.database.applied == record.cut_index
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
        for _, (table, key, _) in cluster.machines[old_leader].database.log.values()
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
    first = "z-b1" if own else "z-a1"
    assert f"cut-over:{first}" in taken
    assert_served_by_the_new(cluster, goal)
    assert cluster.elections == [first]
    assert len(cluster.acknowledged) > 100
    # Of the plain way: two seconds of migration, five to start, one to be elected.
    assert cluster.longest_gap_s < (3.0 if way == "stand-by" else 11.0)


# The tool dies


def moments(
    cluster: SimulatedCluster, run: Callable[[], object]
) -> Iterator[tuple[str, SimulatedCluster]]:
    """The cluster before and after each change that a run makes, as it is when the tool dies."""
    found: list[tuple[str, SimulatedCluster]] = []

    def keep(what: str) -> None:
        cluster.at_point = nobody_looks
        found.append((what, cluster.copy()))
        cluster.at_point = keep

    cluster.at_point = keep
    run()
    assert len(found) > 20
    yield from found


def go_on(cluster: SimulatedCluster, goal: Wanted) -> list[str]:
    """Run again until it is through; what each run before the last said."""
    said: list[str] = []
    for _ in range(4):
        try:
            Tool(cluster, goal).roll()
        except OnebatonError as error:
            said.append(error.message)
        else:
            return said
    raise AssertionError(said)


@pytest.mark.parametrize("pause_s", [0.0, 30.0])
@pytest.mark.parametrize("way", WAYS)
def test_a_cut_over_may_die_before_and_after_each_change(way: CutWay, pause_s: float) -> None:
    """A second run finishes it; where it must be taken back first, a third one does."""
    goal = goal_of(way)
    trunk = zone(goal)
    for what, cluster in moments(trunk, Tool(trunk, goal).roll):
        cluster.clock.sleep(pause_s)
        said = go_on(cluster, goal)
        assert said == [], (what, said)
        assert_served_by_the_new(cluster, goal)
