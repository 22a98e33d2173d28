"""Simulated zones that are cut over: how they are made, killed at any point, and judged."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.fakes.simulated import NORMAL_MS, TRAFFIC, SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import Tool, running_zone
from tests.fakes.standby import MARK
from tests.fakes.worlds import SCHEMA, image, wanted

from onebaton.errors import OnebatonError
from onebaton.model import PriorPhase, Schema
from onebaton.plan.actions import CutWay
from onebaton.plan.wanted import CutWish, Rehearsed, Wanted

NEXT_SCHEMA = Schema("7.0.0", "7.0.0")
NEXT = image("7.0.2", schema=NEXT_SCHEMA)
WAYS: tuple[CutWay, ...] = ("stand-by", "plain")


#: How long the tool stays dead, in seconds: not at all, and long after an election.
PAUSES_S = (0.0, 30.0)


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


def assert_served_by_the_old(cluster: SimulatedCluster) -> None:
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
        assert set(cluster.acknowledged) <= machine.database.tables[TRAFFIC].keys()
        assert machine.database.checksums() == leader.database.checksums()


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


def at(cluster: SimulatedCluster, moment: str, happens: Callable[[], object]) -> None:
    """Something happens once, at a moment of the run."""

    def look(what: str) -> None:
        if what == moment:
            cluster.at_point = nobody_looks
            happens()

    cluster.at_point = look


def through(cluster: SimulatedCluster, goal: Wanted) -> None:
    """With nothing wrong any more, the next run succeeds."""
    cluster.traffic = True
    assert go_on(cluster, goal) == []
    assert_served_by_the_new(cluster, goal)


def accept_loss(cluster: SimulatedCluster) -> int:
    """Clients stop; what the old generation has not counts no more. How many writes that is."""
    cluster.traffic = False
    cluster.clock.sleep(1.0)
    old = cluster.machines["z-a2"].database
    assert old is not None
    kept = [key for key in cluster.acknowledged if key in old.tables[TRAFFIC]]
    lost = len(cluster.acknowledged) - len(kept)
    cluster.acknowledged = kept
    return lost
