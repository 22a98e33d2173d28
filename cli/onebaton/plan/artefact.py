"""A plan as an artefact: what will be done, and everything that it was decided on.

It is written by ``onebaton plan --out``, read by reviewers, and carried out by ``onebaton rollout
--plan``, which compares each thing that it was decided on with what is seen then
(:mod:`onebaton.plan.staleness`). Its digest is over all of it; signatures are over the same
bytes. It holds no secret: of the configuration it keeps digests, of Terraform's plan the
addresses and actions with a digest of what sensitive values were left out of.

Times are seconds since the epoch, in UTC.
"""

import hashlib
import json
from typing import Literal

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from onebaton.model import Schema, World
from onebaton.plan.seen import schema_of

#: Version of the artefact's own format.
FORMAT = 1

_STRICT = ConfigDict(strict=True, extra="forbid")


@dataclass(frozen=True, slots=True, config=_STRICT)
class Votes:
    """The zone in numbers, as :class:`~onebaton.plan.quorum.Quorum` counts."""

    voters: int
    healthy: int
    needed: int


@dataclass(frozen=True, slots=True, config=_STRICT)
class Listed:
    """A server in the zone's list.

    :param id: ``None`` of one that is still to join: the leader will give it.
    """

    id: int | None
    name: str
    endpoint: str


@dataclass(frozen=True, slots=True, config=_STRICT)
class Waypoint:
    """The zone at one moment of a rollout, as it must be seen.

    :param leader: name of the server that leads; ``None`` if nobody does.
    :param members: ordered by endpoint.
    :param schema: of the zone's databases; ``None`` if it was not told.
    """

    leader: str | None
    members: tuple[Listed, ...]
    schema: str | None


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedStep:
    """One step, with the quorum around it.

    :param kind: first word of the id, e.g. ``join``.
    :param during: at the worst moment on its way.
    :param zone: the zone when it is done.
    """

    id: str
    kind: str
    what: str
    why: str
    before: Votes
    during: Votes
    after: Votes
    zone: Waypoint


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedImage:
    """The image that the zone goes to.

    :param channel: that it was taken from; ``None`` if it was taken as the newest.
    """

    name: str
    digest: str
    version: str
    schema: str
    recipe_digest: str
    built_at: str
    channel: str | None


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedState:
    """Which state of Terraform's the plan was made on."""

    lineage: str
    serial: int


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedChange:
    """One resource in Terraform's saved plan.

    :param content: SHA-256 over what stands there before and after, without sensitive values.
    """

    address: str
    actions: tuple[str, ...]
    content: str


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedPlatform:
    """What the platform would do in the first step that is about machines.

    Later such steps start from a state that is not there yet.

    :param state: ``None`` before the first node.
    :param pending: a line each.
    :param changes: of Terraform's saved plan, ordered by address.
    :param plan_digest: over ``changes``; the saved plan's own file is a zip whose bytes differ
        from one plan of the same thing to the next.
    """

    kind: str
    state: PlannedState | None
    pending: tuple[str, ...]
    changes: tuple[PlannedChange, ...]
    plan_digest: str


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedRehearsal:
    """The rehearsal that a cut-over is planned on.

    :param digest: over its report.
    """

    kept_as: str
    digest: str
    began_at: float
    ahead_proven: bool
    migrators: tuple[str, ...]


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedLoss:
    """A table that loses rows, by name accepted.

    :param rows: before and after, e.g. ``2099 → 0``.
    """

    table: str
    rows: str


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedGap:
    """A time without writes that is to be expected.

    :param seconds: ``None`` if nobody can tell.
    :param source: how it is known.
    """

    step: str
    seconds: float | None
    source: str


@dataclass(frozen=True, slots=True, config=_STRICT)
class PlannedFinding:
    """What the doctor found that is not ok."""

    check: str
    verdict: Literal["warning", "blocker", "unknown"]
    what: str
    evidence: str
    way_out: str


@dataclass(frozen=True, slots=True, config=_STRICT)
class Asked:
    """What was said on the command line that decides; the rollout takes it from here."""

    version: str | None
    cut: Literal["auto", "stand-by", "plain"] | None
    accepted: tuple[str, ...]


@dataclass(frozen=True, slots=True, config=_STRICT)
class Artefact:
    """A plan, and what it was decided on.

    :param onebaton: version of the program that made it.
    :param settings: digests of the configuration's values by dotted key.
    :param start: the zone when it was made.
    :param findings: of the doctor, in the order of its questions.
    """

    zone: str
    onebaton: str
    created_at: float
    expires_at: float
    asked: Asked
    title: str
    strategy: str
    cut_way: Literal["stand-by", "plain"] | None
    reason: str
    from_version: str | None
    from_schema: str | None
    image: PlannedImage
    settings: dict[str, str]
    start: Waypoint
    steps: tuple[PlannedStep, ...]
    platform: PlannedPlatform
    rehearsal: PlannedRehearsal | None
    losses: tuple[PlannedLoss, ...]
    gaps: tuple[PlannedGap, ...]
    findings: tuple[PlannedFinding, ...]
    warnings: tuple[str, ...]

    @property
    def waypoints(self) -> tuple[Waypoint, ...]:
        """The zone before the first step, and after each."""
        return (self.start, *(step.zone for step in self.steps))

    @property
    def settings_digest(self) -> str:
        """Over the whole configuration."""
        return digest_of(self.settings)


ARTEFACT = TypeAdapter(Artefact)


def canonical(data: object) -> bytes:
    """Plain data as JSON in the one form that digests and signatures are over."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(data: object) -> str:
    """``sha256:…`` over plain data, however it was laid out."""
    return f"sha256:{hashlib.sha256(canonical(data)).hexdigest()}"


def plain(artefact: Artefact) -> dict[str, object]:
    """The artefact as JSON holds it."""
    data: dict[str, object] = ARTEFACT.dump_python(artefact, mode="json")
    return data


def essence(artefact: Artefact) -> str:
    """Digest over what is done and what it was decided on; the same for the same world.

    Left out is what differs between two looks at one world: the times, and what the doctor
    measured.
    """
    ticking = {"created_at", "expires_at", "findings"}
    return digest_of({key: value for key, value in plain(artefact).items() if key not in ticking})


def waypoint_of(world: World) -> Waypoint:
    """The zone as it is seen."""
    leader, schema = world.leader, schema_of(world)
    return Waypoint(
        leader=leader.server.name if leader is not None else None,
        members=tuple(
            Listed(m.server.id, m.server.name, m.server.endpoint)
            for m in sorted(world.members, key=lambda m: m.server.endpoint)
        ),
        schema=schema_text(schema),
    )


def schema_text(schema: Schema | None) -> str | None:
    """A schema in words, ``None`` if it is not known."""
    return str(schema) if schema is not None and schema.shared else None
