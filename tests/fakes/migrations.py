"""A rehearsal's node in a simulated cluster, behind :class:`onebaton.migration.Migrations`.

The copy is a real copy of the machine's tables, and the migrator really drops what it drops.
"""
# ruff: noqa: ARG002 - deadlines cost nothing here

import zlib
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field

from tests.fakes.frontends import FakeMachine
from tests.fakes.simulated import PASSWORD, USER, SimulatedCluster

from onebaton.errors import RefusedError, StepFailedError
from onebaton.migration import AheadProof, Contents, OnedbRun, OracleAnswer
from onebaton.model import Host, Schema, Secret

Tables = dict[str, dict[str, str]]

#: One row in so many is held back from a copy that is migrated ahead.
HELD_BACK = 3


@dataclass
class FakeMigrator:
    """The next release's packages.

    :param requires: schema its ``oned`` was built for.
    :param files: its migrators; none at all are missing ones.
    :param empties: tables that it drops all rows of.
    :param numbers: tables whose rows it numbers one after the other, across the table.
    :param fails: ``onedb upgrade`` ends with an error.
    :param misses: a table that it cannot do without a row of.
    :param starts: its ``oned`` starts on what was migrated.
    """

    requires: Schema
    files: tuple[str, ...] = ("local/6.10.0_to_7.0.0.rb", "shared/6.10.0_to_7.0.0.rb")
    empties: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    fails: bool = False
    misses: tuple[str, str] | None = None
    starts: bool = True

    def migrate(self, tables: Tables) -> str | None:
        """Change them in place; what is wrong, if anything."""
        if self.fails:
            return "a row cannot be migrated"
        if self.misses is not None and self.misses[1] not in tables[self.misses[0]]:
            return f"there is no {self.misses[1]} in {self.misses[0]}"
        for name, rows in tables.items():
            for number, key in enumerate(sorted(rows)):
                rows[key] = f"{number}: {rows[key]}" if name in self.numbers else f"7: {rows[key]}"
        for name in self.empties:
            tables[name] = {}
        tables["plan_pool"] = {"-1": "plan"}
        return None


@dataclass
class Ahead:
    """A copy that was migrated ahead.

    :param noted: the warm tables as they were when their changes began to be noted.
    :param held_back: keys of rows that the copy was migrated without, by table.
    """

    tables: Tables
    noted: Tables
    held_back: dict[str, set[str]]


@dataclass
class Left:
    """What is on a machine beside its own database; gone with the machine."""

    machine: FakeMachine
    copy: Tables | None = None
    ahead: Ahead | None = None
    is_fenced: bool = False


@dataclass
class FakeMigrations:
    """Implements the port for the machines of a simulated cluster."""

    cluster: SimulatedCluster
    migrator: FakeMigrator
    _left: dict[str, Left] = field(default_factory=dict)

    def __post_init__(self) -> None:
        ended = self.cluster.ended

        def not_the_fenced(host: Host, cut_off: bool) -> None:
            left = self._of(host.name)
            if left is None or not left.is_fenced:
                ended(host, cut_off)

        # One that runs behind a fence has no part in the cluster's Raft.
        self.cluster.frontends._ended = not_the_fenced

    @property
    def left(self) -> list[str]:
        """Machines that hold more than their own database."""
        return [name for name in self._left if self._of(name) is not None]

    def _of(self, name: str) -> Left | None:
        left = self._left.get(name)
        is_there = left is not None and self.cluster.machines.get(name) is left.machine
        return left if is_there else None

    def clear(self, host: Host) -> bool:
        if self._of(host.name) is None:
            return False
        with self.cluster.change(f"clear {host.name}", before_s=0.5):
            machine = self.cluster.machines[host.name]
            machine.active, machine.masked, machine.enabled = False, True, False
            del self._left[host.name]
        return True

    def database_bytes(self, host: Host) -> int:
        database = self.cluster.machines[host.name].database
        return 0 if database is None else sum(map(_size, database.tables.values()))

    def oracle(self, host: Host) -> OracleAnswer:
        database = self.cluster.machines[host.name].database
        if database is None:
            return OracleAnswer(1, ("Database is not correctly bootstraped.",), ())
        needed, have = _ordered(self.migrator.requires), _ordered(database.schema)
        status = 0 if needed == have else 2 if have < needed else 3
        return OracleAnswer(status, ("Shared: …",), self.migrator.files)

    def copy(self, host: Host, *, timeout_s: float) -> None:
        with self.cluster.change(f"copy {host.name}", before_s=0.5):
            machine = self.cluster.machines[host.name]
            if machine.active or machine.database is None:
                raise RefusedError(f"oned runs on {host.name}")
            self._on(host.name).copy = deepcopy(machine.database.tables)

    def contents(self, host: Host) -> Contents:
        tables = self._copy(host)
        return Contents(
            {name: len(rows) for name, rows in tables.items()},
            {
                name: zlib.crc32(repr(sorted(rows.items())).encode())
                for name, rows in tables.items()
            },
            dict.fromkeys(tables, ("key", "value")),
        )

    def secret_files(self, host: Host) -> Mapping[str, str]:
        return {"one_auth": f"digest of {self.cluster.machines[host.name].secrets}"}

    def upgrade(self, host: Host, *, timeout_s: float) -> OnedbRun:
        with self.cluster.change(f"upgrade {host.name}", before_s=4.0):
            tables = self._copy(host)
            if not self.migrator.files:
                return OnedbRun(
                    255, 0.1, 1, ("wasn't successful due to missing migration descriptors.",)
                )
            problem = self.migrator.migrate(tables)
            if problem is not None:
                return OnedbRun(255, 0.1, 1, (problem,))
        return OnedbRun(0, 4.0, 50_000_000, ())

    def fsck(self, host: Host, *, timeout_s: float) -> OnedbRun:
        return OnedbRun(0, 1.0, 1, ("Total errors found: 2", "Total unrepaired errors: 2"))

    def start_fenced(self, host: Host, *, outside: str, timeout_s: float) -> float:
        with self.cluster.change(f"start_fenced {host.name}", before_s=5.0):
            self._copy(host)
            if not self.migrator.starts:
                raise StepFailedError(f"oned on {host.name} ended instead of starting")
            self._left[host.name].is_fenced = True
            machine = self.cluster.machines[host.name]
            machine.active, machine.masked = True, False
        return 5.0

    def read_pools(
        self, host: Host, session: Secret, tables: Mapping[str, int]
    ) -> Mapping[str, int]:
        if session != Secret(f"{USER}:{PASSWORD}"):
            raise StepFailedError("wrong user or password")
        return {name: len(self._copy(host)[name]) for name in tables if name.endswith("_pool")}

    def past(self, host: Host, *, timeout_s: float) -> int:
        with self.cluster.change(f"past {host.name}", before_s=4.0):
            database = self.cluster.machines[host.name].database
            if database is None:
                raise StepFailedError(f"{host.name} has no database")
            left = self._on(host.name)
            left.ahead = None
            tables = deepcopy(database.tables)
            held_back = {name: set(sorted(rows)[::HELD_BACK]) for name, rows in tables.items()}
            for name, keys in held_back.items():
                for key in keys:
                    del tables[name][key]
            self._migrate(tables)
            left.ahead = Ahead(tables, deepcopy(database.tables), held_back)
        return sum(map(len, held_back.values()))

    def prove(self, host: Host, *, timeout_s: float) -> AheadProof:
        with self.cluster.change(f"prove {host.name}", before_s=2.0):
            left, database = self._of(host.name), self.cluster.machines[host.name].database
            if left is None or left.ahead is None or database is None:
                raise StepFailedError(f"no copy was migrated ahead on {host.name}")
            ahead, warm = left.ahead, database.tables
            keys = {name: _changed(ahead, warm, name) for name in warm}
            batch = {
                name: {key: warm[name][key] for key in keys[name] if key in warm[name]}
                for name in warm
            }
            self._migrate(batch)
            for name, rows in batch.items():
                there = ahead.tables.setdefault(name, {})
                for key in keys.get(name, ()):
                    there.pop(key, None)
                there.update(rows)
            whole = self._copy(host)
            names = sorted({*whole, *ahead.tables})
            differing = tuple(n for n in names if whole.get(n) != ahead.tables.get(n))
        return AheadProof(
            equal=not differing,
            differing=tuple(f"{name}: contents" for name in differing),
            stamps=("db_versioning: times of the migration",),
            rows={name: len(changed) for name, changed in keys.items()},
            seconds=1.5,
            migrator_s=1.2,
        )

    def _migrate(self, tables: Tables) -> None:
        problem = self.migrator.migrate(tables)
        if problem is not None or not self.migrator.files:
            raise StepFailedError(
                "onedb upgrade ended with status 255", details=[problem or "no migrator"]
            )

    def _on(self, name: str) -> Left:
        left = self._of(name)
        if left is None:
            left = self._left[name] = Left(self.cluster.machines[name])
        return left

    def _copy(self, host: Host) -> Tables:
        left = self._of(host.name)
        if left is None or left.copy is None:
            raise StepFailedError(f"{host.name} has no copy")
        return left.copy


def _changed(ahead: Ahead, warm: Tables, name: str) -> set[str]:
    """Keys that must be brought over: held back, changed since, and every fifth besides."""
    before, now = ahead.noted.get(name, {}), warm[name]
    differ = {key for key in {*before, *now} if before.get(key) != now.get(key)}
    return differ | ahead.held_back.get(name, set()) | set(sorted(now)[::5])


def _size(rows: dict[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in rows.items())


def _ordered(schema: Schema) -> tuple[int, ...]:
    return tuple(map(int, schema.local.split(".")))
