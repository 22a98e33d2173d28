"""One machine of a small model of a zone, for tests of the planner."""

from dataclasses import dataclass

from onebaton.model import (
    Ahead,
    AheadStage,
    FrontEndFacts,
    LogPosition,
    NodeSpec,
    NodeState,
    Schema,
)


class ImpossibleError(AssertionError):
    """Something was asked for that a real zone would not survive, or that cannot be done."""


def insist(condition: bool, text: str) -> None:
    """Object unless it is so."""
    if not condition:
        raise ImpossibleError(text)


@dataclass
class Machine:
    """One machine: what is installed, what runs, what its database and oned.conf hold.

    :ivar spec: ``None`` if the platform does not know it.
    :ivar index: last record of its log, all applied; ``None`` without a database.
    :ivar stage: how far it is with a copy migrated ahead, which ``index`` and ``schema`` are of.
    :ivar passed_over: a record that it will never apply, though later ones are.
    :ivar warm: last record of the copy beside it that has the zone's own schema.
    """

    name: str
    address: str
    version: str
    spec: NodeSpec | None = None
    state: NodeState = NodeState.RUNNING
    ssh: bool = True
    oned: bool = False
    masked: bool = False
    vip: bool = False
    solo: bool = False
    server_id: int | None = None
    index: int | None = None
    schema: Schema | None = None
    secret: str | None = None
    known: frozenset[int] = frozenset()
    election_timeout_ms: int | None = None
    stage: AheadStage | None = None
    warm: int | None = None
    parked_at: float | None = None
    passed_over: int | None = None
    instance: str = "i"

    def facts(self) -> FrontEndFacts | None:
        """As seen over ssh, ``None`` if nothing is seen."""
        if not self.ssh or self.state is not NodeState.RUNNING:
            return None
        return FrontEndFacts(
            oned_active=self.oned,
            oned_masked=self.masked,
            oned_enabled=self.oned,
            holds_vip=self.vip,
            server_id=self.server_id,
            package_version=self.version,
            database=_position(self.index, self.passed_over),
            schema=self.schema,
            secret_digest=self.secret,
            known_servers=self.known,
            disk_free_bytes=10**10,
            election_timeout_ms=self.election_timeout_ms,
            ahead=None if self.stage is None else Ahead(self.stage, _position(self.warm)),
            parked_at=self.parked_at,
        )

    def put_away(self) -> None:
        """Stop and mask ``oned``, take the virtual IP off."""
        self.oned, self.masked, self.vip = False, True, False

    def empty(self) -> None:
        """Its database goes, and what was migrated ahead."""
        self.index = self.schema = self.stage = self.warm = self.passed_over = None


def _position(index: int | None, passed_over: int | None = None) -> LogPosition | None:
    if index is None:
        return None
    applied = index if passed_over is None else passed_over - 1
    return LogPosition(index, applied, 1, passed_over)
