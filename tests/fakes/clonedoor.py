"""A clone's copy in memory, behind :class:`onebaton.cloning.CloneDoor`.

The copy is a real copy of production's tables, and what is not changed in it is found.
"""
# ruff: noqa: ARG002 - deadlines cost nothing here

import hashlib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

from tests.fakes.frontends import FakeDatabase, FakeMachine

from onebaton.cloning import Identity, Place, Production, ScrubRule
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Host

KEY = "key"


@dataclass
class FakeCloneDoor:
    """Implements the port for machines in memory.

    :param machines: the clone's, by name.
    :param copied: production's database.
    :param network: places that answer a clone's nodes.
    :param forgets: tables that are not changed, as by a fault of ours.
    """

    machines: Mapping[str, FakeMachine]
    copied: FakeDatabase
    network: set[Place] = field(default_factory=set)
    forgets: frozenset[str] = frozenset()
    calls: list[str] = field(default_factory=list)

    def seed(self, source: Host, target: Host, *, timeout_s: float) -> None:
        self.calls.append(f"seed {target.name} from {source.name}")
        self._stopped(target).database = deepcopy(self.copied)

    def load(self, dump: Path, target: Host, *, timeout_s: float) -> None:
        self.calls.append(f"load {dump} into {target.name}")
        self._stopped(target).database = deepcopy(self.copied)

    def read_production(self, target: Host, source: Host | None) -> Production:
        self.calls.append("read")
        tables = self._database(target).tables
        return Production(
            endpoints=tuple(sorted(tables["zone_pool"])),
            hosts=tuple(sorted(tables["host_pool"])),
            key=KEY,
            digests=frozenset(map(_digest, tables["user_pool"].values())),
        )

    def change(
        self, target: Host, identity: Identity, rules: Sequence[ScrubRule]
    ) -> Mapping[str, int]:
        self.calls.append("change")
        machine = self._stopped(target)
        database = self._database(target)
        before = deepcopy(database.tables)
        tables = database.tables
        tables["zone_pool"] = {identity.server.endpoint: "enabled"}
        password = identity.password.reveal()
        tables["user_pool"] = {
            name: password if name == identity.user else f"new of {name}"
            for name in tables["user_pool"]
        }
        tables["host_pool"] = dict.fromkeys(tables["host_pool"], "dummy")
        tables |= {name: before[name] for name in self.forgets}
        machine.secrets = f"{identity.user}:{password}"
        return {name: len(rows) for name, rows in tables.items()}

    def prove(
        self, target: Host, identity: Identity, production: Production, *, started: bool
    ) -> tuple[str, ...]:
        self.calls.append("prove")
        tables = self._database(target).tables
        named = [e for e in tables["zone_pool"] if e in production.endpoints]
        opening = [u for u, p in tables["user_pool"].items() if _digest(p) in production.digests]
        driven = [host for host, driver in tables["host_pool"].items() if driver != "dummy"]
        return (
            *(f"zone_pool names production's {endpoint}" for endpoint in named),
            *(f"user {user} still has a secret of production" for user in opening),
            *(f"host {host} is not switched off" for host in driven),
        )

    def answering(self, node: Host, places: Sequence[Place]) -> tuple[Place, ...]:
        self.calls.append(f"knock from {node.name}")
        return tuple(place for place in places if place in self.network)

    def _stopped(self, host: Host) -> FakeMachine:
        machine = self.machines[host.name]
        if machine.active:
            raise RefusedError(f"oned runs on {host.name}: its database is not touched")
        return machine

    def _database(self, host: Host) -> FakeDatabase:
        database = self.machines[host.name].database
        if database is None:
            raise StepFailedError(f"{host.name} has no database")
        return database


def _digest(secret: str) -> str:
    return hashlib.sha256(f"{KEY} {secret}".encode()).hexdigest()
