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
from onebaton.migration import Contents, OnedbRun, OracleAnswer
from onebaton.model import Host, Schema, Secret

Tables = dict[str, dict[str, str]]


@dataclass
class FakeMigrator:
    """The next release's packages.

    :param requires: schema its ``oned`` was built for.
    :param files: its migrators; none at all are missing ones.
    :param empties: tables that it drops all rows of.
    :param fails: ``onedb upgrade`` ends with an error.
    :param starts: its ``oned`` starts on what was migrated.
    """

    requires: Schema
    files: tuple[str, ...] = ("local/6.10.0_to_7.0.0.rb", "shared/6.10.0_to_7.0.0.rb")
    empties: tuple[str, ...] = ()
    fails: bool = False
    starts: bool = True


@dataclass
class Left:
    """What is on a machine beside its own database; gone with the machine."""

    machine: FakeMachine
    copy: Tables
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
            self._left[host.name] = Left(machine, deepcopy(machine.database.tables))

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
            if self.migrator.fails:
                return OnedbRun(255, 0.1, 1, ("a row cannot be migrated",))
            for name in self.migrator.empties:
                tables[name] = {}
            tables["plan_pool"] = {"-1": "plan"}
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

    def _copy(self, host: Host) -> Tables:
        left = self._of(host.name)
        if left is None:
            raise StepFailedError(f"{host.name} has no copy")
        return left.copy


def _size(rows: dict[str, str]) -> int:
    return sum(len(key) + len(value) for key, value in rows.items())


def _ordered(schema: Schema) -> tuple[int, ...]:
    return tuple(map(int, schema.local.split(".")))
