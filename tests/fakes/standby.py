"""Copies migrated ahead and a held ``oned`` in a simulated cluster.

Implements :class:`onebaton.standby.StandBy` and :class:`onebaton.standby.PriorRecord`. The
migrator changes every row of some tables; what was not brought over, or was brought over
unmigrated, stays visible in the rows.
"""

from collections.abc import Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.fakes.frontends import Checksums, FakeDatabase, FakeMachine, ship
from tests.fakes.simulated_raft import ZONE_POOL, Oned

from onebaton.errors import RefusedError, StepFailedError, UnavailableError
from onebaton.migration import OnedbRun
from onebaton.model import AheadStage, Host, LogPosition, Prior, RaftStatus, Server
from onebaton.standby import Batch, Written

if TYPE_CHECKING:
    from tests.fakes.simulated import SimulatedCluster

#: Tables that the migrator changes each row of.
CHANGED = frozenset({"template_pool", "document_pool"})
#: What it leaves in each.
MARK = "7:"
NOWHERE = ("http://127.0.0.1:1/RPC2", "http://127.0.0.1:2/RPC2")


@dataclass
class StandByFaults:
    """What goes wrong, by machine.

    :ivar migrator: machines whose ``onedb upgrade`` fails.
    :ivar starts: machines whose ``oned`` ends instead of starting held.
    :ivar rows: machines on which a batch loses a row.
    :ivar batch_s: how long a batch takes.
    """

    migrator: set[str] = field(default_factory=set)
    starts: set[str] = field(default_factory=set)
    rows: set[str] = field(default_factory=set)
    batch_s: float = 0.8


class FakeStandBy:
    """Each change takes its time and may be the tool's last."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        self._cluster = cluster
        self.faults = StandByFaults()
        self._named: dict[str, set[tuple[str, str]]] = {}

    def begin(self, host: Host, *, timeout_s: float) -> OnedbRun:  # noqa: ARG002
        with self._cluster.change(f"set aside {host.name}"):
            machine = self._asked(host)
            if machine.active:
                raise RefusedError(f"oned runs on {host.name}")
            if machine.stage is None:
                machine.warm, machine.database = machine.database, None
            machine.stage = AheadStage.WARM
        with self._cluster.change(f"migrate copy {host.name}", before_s=4.0):
            machine = self._asked(host)
            warm = self._warm(machine, host)
            machine.database = self._migrated(warm, host)
            machine.stage = AheadStage.MIGRATED
        return OnedbRun(0, 4.0, 50_000_000, ())

    def follow(
        self,
        source: Host,
        host: Host,
        *,
        up_to: int | None = None,
        left_alone: Collection[str] = (),
        timeout_s: float,  # noqa: ARG002
    ) -> Batch:
        with self._cluster.change(f"follow {host.name}", before_s=self.faults.batch_s):
            ours, machine = self._asked(source).database, self._asked(host)
            warm, ahead = self._warm(machine, host), machine.database
            if ours is None or ahead is None:
                raise StepFailedError(f"no copy to follow {source.name} with on {host.name}")
            before = warm.applied
            records = ship(ours, warm, host.name, up_to=up_to)
            named = {warm.log[index][1][:2] for index in range(before + 1, warm.applied + 1)}
        with self._cluster.change(f"bring over {host.name}"):
            self._fail_migrator(host)
            # What an interrupted batch shipped is still noted as changed.
            named |= self._named.get(host.name, set()) if ahead.applied < before else set()
            named |= {
                ahead_key
                for index in range(ahead.applied + 1, warm.applied + 1)
                if (ahead_key := warm.log[index][1][:2])
            }
            self._put_in_place(machine, warm, ahead, named)
            self._named[host.name] = named
            if host.name in self.faults.rows and named:
                table, key = min(named)
                warm.tables[table][key] = "another"
        rows: dict[str, int] = {}
        for table, _ in named:
            rows[table] = rows.get(table, 0) + 1
        migrator_s = 0.6 if rows.keys() - set(left_alone) else 0.0
        return Batch(records, rows, warm.position, migrator_s)

    @staticmethod
    def _put_in_place(
        machine: FakeMachine, warm: FakeDatabase, ahead: FakeDatabase, named: set[tuple[str, str]]
    ) -> None:
        own = {ZONE_POOL} if machine.stage in (AheadStage.HELD, AheadStage.RELEASED) else set()
        for table, key in named:
            if table not in own:
                ahead.tables.setdefault(table, {})[key] = migrated(table, warm.tables[table][key])
        for index in range(ahead.applied + 1, warm.applied + 1):
            ahead.log[index] = warm.log[index]
        ahead.applied = warm.applied

    def differing_rows(self, source: Host, host: Host) -> tuple[str, ...]:
        ours = self._asked(source).database
        theirs = self._warm(self._asked(host), host)
        assert ours is not None
        return tuple(
            sorted(
                {
                    table
                    for table, key in self._named.get(host.name, set())
                    if ours.tables[table].get(key) != theirs.tables[table].get(key)
                }
            )
        )

    def warm_checksums(self, host: Host) -> tuple[LogPosition, Checksums]:
        warm = self._warm(self._asked(host), host)
        return warm.position, warm.checksums()

    def hold(
        self,
        host: Host,
        *,
        server: Server,
        election_timeout_ms: int,
        outside: Sequence[str],
        timeout_s: float,  # noqa: ARG002
    ) -> None:
        with self._cluster.change(f"hold {host.name}", before_s=5.0):
            machine = self._asked(host)
            assert outside
            assert machine.server_id == server.id
            assert machine.election_timeout_ms == election_timeout_ms
            if machine.active and machine.stage is AheadStage.HELD:
                return
            if machine.active or machine.stage not in (AheadStage.MIGRATED, AheadStage.HELD):
                raise RefusedError(f"{host.name} holds no copy migrated ahead")
            database = self._own(machine, host)
            if host.name in self.faults.starts or database.schema != machine.requires:
                raise StepFailedError(f"oned on {host.name} ended instead of starting")
            servers = [server, *(
                Server(server.id + 1000 + i, f"nobody-{i}", at) for i, at in enumerate(NOWHERE)
            )]  # fmt: skip
            _list(database, *servers)
            machine.fenced, machine.active, machine.masked = True, True, False
            machine.stage = AheadStage.HELD
            self._cluster.started(host)

    def held_status(self, host: Host) -> RaftStatus | None:
        self._asked(host)
        oned = self._cluster.raft.oneds.get(host.name)
        return None if oned is None else _status(oned)

    def heartbeat(self, host: Host, term: int) -> None:
        with self._cluster.change(f"heartbeat on {host.name}", before_s=0.1):
            self._asked(host)
            oned = self._cluster.raft.oneds.get(host.name)
            if oned is None:
                raise UnavailableError(f"oned on {host.name} does not answer")
            self._cluster.raft.heartbeat(oned, term)

    def loosen(self, host: Host, *, server: Server) -> None:
        with self._cluster.change(f"loosen {host.name}"):
            machine = self._asked(host)
            if machine.stage not in (AheadStage.HELD, AheadStage.RELEASED):
                raise RefusedError(f"nothing is held on {host.name}")
            machine.fenced, machine.enabled, machine.masked = False, True, False
            machine.known_servers = frozenset({server.id})

    def release(self, host: Host, *, server: Server) -> None:
        if self._asked(host).fenced:
            self.loosen(host, server=server)
        with self._cluster.change(f"open {host.name}", before_s=0.1):
            machine = self._asked(host)
            if machine.stage not in (AheadStage.HELD, AheadStage.RELEASED):
                raise RefusedError(f"nothing is held on {host.name}")
            machine.stage = AheadStage.RELEASED
        with self._cluster.change(f"list {host.name}"):
            _list(self._own(self._asked(host), host), server)

    def list_alone(self, host: Host, *, server: Server) -> None:
        with self._cluster.change(f"list alone {host.name}"):
            machine = self._asked(host)
            if machine.active:
                raise RefusedError(f"oned runs on {host.name}")
            _list(self._own(machine, host), server)

    def upgrade(self, host: Host, *, timeout_s: float) -> OnedbRun:  # noqa: ARG002
        with self._cluster.change(f"upgrade {host.name}", before_s=2.0):
            machine = self._asked(host)
            database = self._own(machine, host)
            if database.schema != machine.requires:
                machine.database = self._migrated(database, host)
        return OnedbRun(0, 2.0, 50_000_000, ())

    def written_since(self, host: Host, index: int) -> Written:
        database = self._own(self._asked(host), host)
        objects: dict[str, int] = {}
        for at, (_, (table, _key, _value)) in database.log.items():
            if at > index:
                objects[table] = objects.get(table, 0) + 1
        total = sum(objects.values())
        moment = self._cluster.clock.now() if total else None
        return Written(total, moment, moment, objects)

    def settle(self, host: Host) -> None:
        with self._cluster.change(f"settle {host.name}"):
            machine = self._asked(host)
            machine.warm, machine.stage = None, None

    def discard(self, host: Host) -> bool:
        with self._cluster.change(f"discard {host.name}"):
            machine = self._asked(host)
            there = machine.active or machine.database is not None
            if machine.active:
                machine.active, machine.holds_vip = False, False
                self._cluster.ended(host, cut_off=True)
            machine.masked, machine.enabled, machine.fenced = True, False, False
            machine.warm, machine.stage, machine.database = None, None, None
        return there

    def _asked(self, host: Host) -> FakeMachine:
        machine = self._cluster.machines.get(host.name)
        if machine is None or not machine.reachable or not machine.ready:
            raise UnavailableError(f"{host.name} does not answer over ssh")
        return machine

    def _migrated(self, database: FakeDatabase, host: Host) -> FakeDatabase:
        self._fail_migrator(host)
        copy = deepcopy(database)
        copy.schema = self._asked(host).requires
        copy.tables = {
            table: {key: migrated(table, value) for key, value in rows.items()}
            for table, rows in database.tables.items()
        }
        return copy

    def _fail_migrator(self, host: Host) -> None:
        if host.name in self.faults.migrator:
            raise StepFailedError(f"onedb upgrade on {host.name} ended with status 255")

    @staticmethod
    def _warm(machine: FakeMachine, host: Host) -> FakeDatabase:
        if machine.warm is None:
            raise StepFailedError(f"{host.name} has no warm copy")
        return machine.warm

    @staticmethod
    def _own(machine: FakeMachine, host: Host) -> FakeDatabase:
        if machine.database is None:
            raise StepFailedError(f"{host.name} has no database")
        return machine.database


class FakePriors:
    """The record in memory; it outlives the tool."""

    def __init__(self) -> None:
        self.record: Prior | None = None

    def load(self) -> Prior | None:
        return self.record

    def save(self, prior: Prior) -> None:
        self.record = prior

    def forget(self) -> None:
        self.record = None


def migrated(table: str, value: str) -> str:
    """A row after the migrator."""
    return f"{MARK}{value}" if table in CHANGED and value else value


def _list(database: FakeDatabase, *servers: Server) -> None:
    database.tables[ZONE_POOL] = {str(s.id): f"{s.name} {s.endpoint}" for s in servers}


def _status(oned: Oned) -> RaftStatus:
    term, last = oned.last
    return RaftStatus(
        server_id=oned.server_id,
        state=oned.state,
        term=oned.term,
        voted_for=oned.voted_for,
        commit=oned.commit,
        log_index=last,
        log_term=term,
        fedlog_index=-1,
    )
