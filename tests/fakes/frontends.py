"""Front-end machines in memory, behind :class:`onebaton.ports.FrontEnds`.

A machine has a database with a log and the tables that its applied records made, secrets, a
unit and addresses. Every rule that the real adapter keeps is kept here: what it refuses is
refused, what it replaces is replaced, and shipping begins after the last applied record.
"""
# ruff: noqa: ARG002 - deadlines cost nothing here

import zlib
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, field

from onebaton.errors import RefusedError, StepFailedError, UnavailableError
from onebaton.model import (
    EMPTY_LOG_INDEX,
    Ahead,
    AheadStage,
    FrontEndFacts,
    Host,
    LogPosition,
    Schema,
    Secret,
)

#: A change of one row: table, key, value.
Change = tuple[str, str, str]
Checksums = dict[str, int | None]
SCHEMA = Schema("6.10.0", "6.10.0")


@dataclass
class FakeDatabase:
    """A log and what its applied records made.

    :param log: term and change by index, in order.
    :param applied: index up to which all records are applied.
    """

    schema: Schema
    log: dict[int, tuple[int, Change]] = field(default_factory=dict)
    applied: int = EMPTY_LOG_INDEX
    tables: dict[str, dict[str, str]] = field(default_factory=dict)

    def __deepcopy__(self, _memo: dict[int, object]) -> "FakeDatabase":
        """Records and rows never change, only what holds them."""
        tables = {name: dict(rows) for name, rows in self.tables.items()}
        return FakeDatabase(self.schema, dict(self.log), self.applied, tables)

    @property
    def position(self) -> LogPosition:
        last = self.last_index
        return LogPosition(last, self.applied, self.log[last][0] if self.log else 0)

    @property
    def last_index(self) -> int:
        return next(reversed(self.log), EMPTY_LOG_INDEX)

    def append(self, term: int, change: Change, *, apply: bool = True) -> int:
        """Log a record at the end, and apply it unless told not to."""
        index = self.last_index + 1
        self.log[index] = (term, change)
        if apply:
            self.apply_to(index)
        return index

    def apply_to(self, index: int) -> None:
        """Apply what is logged, up to an index."""
        while self.applied < index:
            self.applied += 1
            table, key, value = self.log[self.applied][1]
            self.tables.setdefault(table, {})[key] = value

    def purge(self, below: int) -> None:
        """Drop old applied records, as LOG_RETENTION does."""
        self.log = {i: r for i, r in self.log.items() if i >= below or i >= self.applied}

    def checksums(self) -> Checksums:
        return {
            name: zlib.crc32(repr(sorted(rows.items())).encode())
            for name, rows in self.tables.items()
        }


@dataclass
class FakeMachine:
    """One machine; tests change its fields.

    :param reachable: ssh answers.
    :param ready: the boot is over and MariaDB runs.
    :param secrets: content of ``/var/lib/one/.one``; ``None`` if there is none.
    :param server_id: of its ``oned.conf``.
    :param requires: schema its ``oned`` was built for.
    :param stuck: its ``oned`` does not end, whatever is done.
    :param stage: how far a copy is that is migrated ahead; ``None`` if there is none.
    :param warm: the warm database of such a copy.
    :param fenced: nothing but ssh gets in or out.
    """

    reachable: bool = True
    ready: bool = True
    package_version: str | None = "6.10.0-1"
    requires: Schema = SCHEMA
    database: FakeDatabase | None = None
    secrets: str | None = None
    server_id: int | None = None
    election_timeout_ms: int | None = None
    active: bool = False
    enabled: bool = False
    masked: bool = False
    holds_vip: bool = False
    known_servers: frozenset[int] = frozenset()
    next_servers: frozenset[int] | None = None
    disk_free_bytes: int = 10**10
    stuck: bool = False
    stage: AheadStage | None = None
    warm: FakeDatabase | None = None
    fenced: bool = False
    parked_at: float | None = None


def to_ship(
    ours: FakeDatabase, theirs: FakeDatabase, name: str, *, up_to: int | None = None
) -> range:
    """Indexes of the records to ship; refuses where the logs do not fit."""
    last = ours.applied if up_to is None else min(ours.applied, up_to)
    anchor = theirs.applied
    if last < max(anchor, 0):
        return range(0)
    if anchor not in ours.log and anchor != EMPTY_LOG_INDEX:
        raise RefusedError(f"{name} fell out of the log window")
    if anchor != EMPTY_LOG_INDEX and ours.log[anchor][0] != theirs.log[anchor][0]:
        raise RefusedError("the logs are of different histories")
    return range(anchor + 1, last + 1)


def ship(ours: FakeDatabase, theirs: FakeDatabase, name: str, *, up_to: int | None = None) -> int:
    """Store and apply records; how many."""
    indexes = to_ship(ours, theirs, name, up_to=up_to)
    for index in indexes:
        theirs.log[index] = ours.log[index]
        theirs.apply_to(index)
    if indexes:
        last, term = indexes[-1], theirs.log[indexes[-1]][0]
        theirs.log = {i: r for i, r in theirs.log.items() if i <= last or r[0] >= term}
    return len(indexes)


def _ahead(machine: FakeMachine) -> Ahead | None:
    if machine.stage is None:
        return None
    return Ahead(machine.stage, machine.warm.position if machine.warm is not None else None)


class FakeFrontEnds:
    """Machines by the names of their hosts.

    :param started: told when a machine's ``oned`` has started.
    :param ended: told when it has ended, with whether it was cut off.
    :param before: called with method and machine before each call; what it raises is the answer.
    :ivar calls: every call made: method, machine.
    """

    def __init__(
        self,
        machines: dict[str, FakeMachine],
        *,
        started: Callable[[Host], None] | None = None,
        ended: Callable[[Host, bool], None] | None = None,
        before: Callable[[str, str], None] | None = None,
    ) -> None:
        self.machines = machines
        self.calls: list[tuple[str, str]] = []
        self.before = before
        self._started = started
        self._ended = ended

    def facts(self, host: Host) -> FrontEndFacts:
        machine = self._asked("facts", host)
        database = machine.database
        # Tables appear with oned's first start: an empty database is none.
        known = database if database is not None and database.log else None
        return FrontEndFacts(
            oned_active=machine.active,
            oned_masked=machine.masked,
            oned_enabled=machine.enabled,
            holds_vip=machine.holds_vip,
            server_id=machine.server_id,
            package_version=machine.package_version,
            database=known.position if known else None,
            schema=known.schema if known else None,
            secret_digest=None if machine.secrets is None else f"digest of {machine.secrets}",
            known_servers=machine.known_servers,
            disk_free_bytes=machine.disk_free_bytes,
            election_timeout_ms=machine.election_timeout_ms,
            ahead=_ahead(machine),
            parked_at=machine.parked_at,
        )

    def facts_of(self, hosts: Sequence[Host]) -> dict[str, FrontEndFacts | str]:
        seen: dict[str, FrontEndFacts | str] = {}
        for host in hosts:
            try:
                seen[host.name] = self.facts(host)
            except UnavailableError as error:
                seen[host.name] = error.message
        return seen

    def wait_ready(self, host: Host, *, timeout_s: float) -> None:
        self._asked("wait_ready", host)

    def copy_secrets(self, source: Host, targets: Sequence[Host]) -> None:
        secrets = self._asked("copy_secrets", source).secrets
        if secrets is None:
            raise StepFailedError(f"{source.name} has no one_auth")
        for target in targets:
            self._asked("copy_secrets", target).secrets = secrets

    def seed(self, source: Host, targets: Sequence[Host], *, timeout_s: float) -> None:
        database = self._database(self._asked("seed", source), source)
        machines = [self._asked("seed", target) for target in targets]
        for target, machine in zip(targets, machines, strict=True):
            self._refuse_running(machine, target)
        for machine in machines:
            machine.database = deepcopy(database)

    def log_position(self, host: Host) -> LogPosition:
        return self._database(self._asked("log_position", host), host).position

    def ship_log(
        self, source: Host, target: Host, *, up_to: int | None = None, beneath: bool = False
    ) -> int:
        ours = self._database(self._asked("ship_log", source), source)
        machine = self._asked("ship_log", target)
        theirs = self._database(machine, target)
        if not to_ship(ours, theirs, target.name, up_to=up_to):
            return 0
        if not beneath:
            self._refuse_running(machine, target)
        return ship(ours, theirs, target.name, up_to=up_to)

    def table_checksums(self, host: Host) -> tuple[LogPosition, Checksums]:
        database = self._database(self._asked("table_checksums", host), host)
        return database.position, database.checksums()

    def checksums_at_equal_index(
        self, one: Host, other: Host
    ) -> tuple[tuple[LogPosition, Checksums], tuple[LogPosition, Checksums]]:
        ours, theirs = self.table_checksums(one), self.table_checksums(other)
        if ours[0].last_applied != theirs[0].last_applied:
            return (ours[0], {}), (theirs[0], {})
        return ours, theirs

    def configure(
        self,
        host: Host,
        *,
        server_id: int,
        election_timeout_ms: int,
        server_ids: Sequence[int] = (),
    ) -> None:
        machine = self._asked("configure", host)
        if machine.package_version is None:
            raise StepFailedError(f"{host.name} has no oned.conf")
        machine.server_id = server_id
        machine.election_timeout_ms = election_timeout_ms
        machine.next_servers = frozenset(server_ids)

    def create_database(self, host: Host) -> None:
        machine = self._asked("create_database", host)
        if machine.database is not None and machine.database.log:
            raise RefusedError(f"{host.name} has a database with tables already")
        machine.database = FakeDatabase(machine.requires)

    def set_password(self, host: Host, user: str, password: Secret) -> None:
        self._asked("set_password", host).secrets = f"{user}:{password.reveal()}"

    def unreached(self, source: Host, targets: Sequence[Host]) -> tuple[str, ...]:
        self._asked("unreached", source)
        return tuple(target.name for target in targets if not self.reaches(source, target))

    def reaches(self, source: Host, target: Host) -> bool:
        """The target's machine is there and answers, with a refusal at least."""
        return target.name in self.machines

    def start(self, host: Host, *, timeout_s: float) -> None:
        machine = self._asked("start", host)
        if machine.package_version is None:
            raise StepFailedError(f"opennebula.service is not installed on {host.name}")
        machine.masked = False
        machine.enabled = True
        if machine.active:
            return
        if machine.next_servers is not None:
            machine.known_servers, machine.next_servers = machine.next_servers, None
        if machine.database is None or machine.database.schema != machine.requires:
            raise StepFailedError(f"oned on {host.name} ended instead of starting")
        if not machine.database.log:
            machine.database.append(0, ("system", "bootstrap", host.name))
        machine.active = True
        if self._started is not None:
            self._started(host)

    def stop(self, host: Host, *, mask: bool, timeout_s: float) -> None:
        machine = self._asked("stop", host)
        self._end(machine, host, cut_off=False)
        machine.masked = machine.masked or mask
        machine.enabled = machine.enabled and not machine.masked

    def forget_servers(self, host: Host, gone: Collection[int]) -> None:
        self._asked("forget_servers", host).known_servers -= frozenset(gone)

    def note_parked(self, host: Host, at: float | None) -> None:
        self._asked("note_parked", host).parked_at = at

    def cut_off_leader(self, host: Host, *, drain_s: float) -> None:
        machine = self._asked("cut_off_leader", host)
        machine.masked, machine.enabled = True, False
        self._end(machine, host, cut_off=True)

    def freeze(self, leader: Host, others: Sequence[Host], *, drain_s: float) -> None:
        lost: list[str] = []
        for host in (leader, *others):
            try:
                machine = self._asked("freeze", host)
            except UnavailableError as error:
                lost.append(error.message)
                continue
            machine.masked, machine.enabled = True, False
            self._end(machine, host, cut_off=True)
        if lost:
            raise UnavailableError("; ".join(lost))

    def _end(self, machine: FakeMachine, host: Host, *, cut_off: bool) -> None:
        if machine.stuck:
            raise StepFailedError(f"oned on {host.name} did not come to its end")
        was_active, machine.active, machine.holds_vip = machine.active, False, False
        if was_active and self._ended is not None:
            self._ended(host, cut_off)

    def _asked(self, method: str, host: Host) -> FakeMachine:
        self.calls.append((method, host.name))
        if self.before is not None:
            self.before(method, host.name)
        machine = self.machines.get(host.name)
        if machine is None or not machine.reachable or not machine.ready:
            raise UnavailableError(f"{host.name} does not answer over ssh")
        return machine

    @staticmethod
    def _database(machine: FakeMachine, host: Host) -> FakeDatabase:
        if machine.database is None:
            raise StepFailedError(f"{host.name} has no database")
        return machine.database

    @staticmethod
    def _refuse_running(machine: FakeMachine, host: Host) -> None:
        if machine.active:
            raise RefusedError(f"oned runs on {host.name}")
