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


#: How long the tool stays dead, in seconds: not at all, and long after an election.
PAUSES_S = (0.0, 30.0)


@pytest.mark.parametrize("way", WAYS)
def test_a_cut_over_may_die_before_and_after_each_change(way: CutWay) -> None:
    """The next run finishes it, whatever there is by then."""
    goal = goal_of(way)
    trunk = zone(goal)
    for number, (what, cluster) in enumerate(moments(trunk, Tool(trunk, goal).roll)):
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


# Rollback and finalize


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
    assert cluster.clock.now() - began < 20.0
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
    for what, cluster in moments(trunk, Tool(trunk, goal).roll):
        record = cluster.priors.record
        if record is None or record.phase is not PriorPhase.CUTTING or cluster.elections:
            continue
        Tool(cluster, goal).rollback()
        assert_served_by_the_old(cluster)
        assert what


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
