"""Puts a plan and what it was decided on together: the artefact."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from onebaton.model import NodeSpec, World
from onebaton.plan.actions import (
    CutOver,
    CutWay,
    Destroy,
    Fence,
    HandOver,
    Plan,
    Provision,
    Swap,
)
from onebaton.plan.artefact import (
    Artefact,
    Asked,
    Listed,
    PlannedChange,
    PlannedFinding,
    PlannedGap,
    PlannedImage,
    PlannedLoss,
    PlannedPlatform,
    PlannedRehearsal,
    PlannedState,
    PlannedStep,
    Votes,
    Waypoint,
    digest_of,
    schema_text,
    waypoint_of,
)
from onebaton.plan.describe import describe_roll, what
from onebaton.plan.diagnosis import Diagnosis, Verdict
from onebaton.plan.projection import after
from onebaton.plan.quorum import Quorum
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Wanted
from onebaton.records import Preview, RecordedChange, StateIdentity

#: From the election's end to the first write through the virtual IP: 0.1 to 0.3 s (measured note).
AFTER_ELECTION_S = 0.3


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a plan is decided on beside the zone and what is wanted of it.

    :param onebaton: version of this program.
    :param settings: as :func:`~onebaton.plan.configured.settings_of` has them.
    :param channel: that the image was taken from.
    :param platform: its kind.
    :param preview: of what the platform would do for :func:`first_nodes`.
    :param findings: everything that the doctor said.
    :param valid_s: how long the plan may be begun with.
    """

    onebaton: str
    asked: Asked
    settings: Mapping[str, str]
    channel: str | None
    platform: str
    state: StateIdentity | None
    preview: Preview
    findings: Sequence[Diagnosis]
    created_at: float
    valid_s: float


def compose(wanted: Wanted, world: World, plan: Plan, given: Circumstances) -> Artefact:
    """The artefact of a plan.

    :param plan: of what is left to do in this world.
    """
    scene = Scene.of(wanted, world)
    view = describe_roll(wanted, world, plan, dated=True)
    cuts = scene.cutting or scene.changes_schema
    found = wanted.cut.rehearsal if cuts else None
    way = next((a.way for a in plan.actions if isinstance(a, CutOver)), scene.way)
    image = wanted.image
    return Artefact(
        zone=wanted.zone,
        onebaton=given.onebaton,
        created_at=given.created_at,
        expires_at=given.created_at + given.valid_s,
        asked=given.asked,
        title=view.title,
        strategy=view.strategy,
        cut_way=way if cuts else None,
        reason=view.reason,
        from_version=view.from_version,
        from_schema=schema_text(scene.schema),
        image=PlannedImage(
            image.name,
            image.digest,
            image.version,
            str(image.schema),
            image.recipe_digest,
            image.built_at,
            given.channel,
        ),
        settings=dict(given.settings),
        start=waypoint_of(world),
        steps=tuple(_steps(scene, plan)),
        platform=_platform(given),
        rehearsal=PlannedRehearsal(
            found.kept_as, found.digest, found.began_at, found.ahead_proven, found.migrators
        )
        if found is not None
        else None,
        losses=tuple(
            PlannedLoss(table, rows)
            for table, rows in sorted(found.losses.items() if found is not None else ())
        ),
        gaps=tuple(_gaps(wanted, plan)),
        findings=tuple(_findings(given.findings)),
        warnings=view.warnings,
    )


def first_nodes(world: World, plan: Plan) -> tuple[NodeSpec, ...] | None:
    """The nodes that the platform is to hold after the first step that is about machines.

    :returns: ordered by name; ``None`` if no step is.
    """
    there = {node.spec.name: node.spec for node in world.nodes}
    for action in plan.actions:
        match action:
            case Provision(nodes=nodes):
                there |= {spec.name: spec for spec in nodes}
            case Destroy(names=names):
                there = {name: spec for name, spec in there.items() if name not in names}
            case Swap(node=spec):
                there[spec.name] = spec
            case Fence(node=node):
                there.pop(node, None)
            case _:
                continue
        return tuple(there[name] for name in sorted(there))
    return None


def platform_digest(changes: Sequence[RecordedChange]) -> str:
    """Over Terraform's saved plan, as it is kept."""
    return digest_of([asdict(change) for change in changes])


def _steps(scene: Scene, plan: Plan) -> Iterator[PlannedStep]:
    known = {m.server.endpoint: m.server.id for m in scene.world.members}
    for step in plan:
        world = after(scene, step.action)
        yield PlannedStep(
            id=step.action.id,
            kind=step.action.id.partition(":")[0],
            what=what(step.action),
            why=step.why,
            before=_votes(step.before),
            during=_votes(step.during),
            after=_votes(step.after),
            zone=_foreseen(waypoint_of(world), known),
        )
        scene = Scene.of(scene.wanted, world)


def _foreseen(zone: Waypoint, known: Mapping[str, int]) -> Waypoint:
    """Without the ids that only stand in for those that the leader will give."""
    members = (
        one if known.get(one.endpoint) == one.id else Listed(None, one.name, one.endpoint)
        for one in zone.members
    )
    return replace(zone, members=tuple(members))


def _votes(quorum: Quorum) -> Votes:
    return Votes(quorum.voters, quorum.healthy, quorum.needed)


def _platform(given: Circumstances) -> PlannedPlatform:
    state, preview = given.state, given.preview
    return PlannedPlatform(
        kind=given.platform,
        state=PlannedState(state.lineage, state.serial) if state is not None else None,
        pending=preview.pending,
        changes=tuple(PlannedChange(c.address, c.actions, c.content) for c in preview.changes),
        plan_digest=platform_digest(preview.changes),
    )


def _gaps(wanted: Wanted, plan: Plan) -> Iterator[PlannedGap]:
    steered_s = wanted.limits.steered_election_timeout_ms / 1000
    for action in plan.actions:
        if isinstance(action, HandOver):
            yield PlannedGap(
                action.id,
                round(steered_s + AFTER_ELECTION_S, 1),
                f"one election, steered: {steered_s:g} s until the new leader stands for it, and "
                f"up to {AFTER_ELECTION_S:g} s until the virtual IP has moved",
            )
        if isinstance(action, CutOver):
            yield _gap_of_cut(wanted, action, action.way)


def _gap_of_cut(wanted: Wanted, action: CutOver, way: CutWay) -> PlannedGap:
    found = wanted.cut.rehearsal
    seconds = found.forecast_s.get(way) if found is not None else None
    known = "measured in the rehearsal" if seconds is not None else "it was not rehearsed"
    return PlannedGap(action.id, None if seconds is None else round(seconds, 1), known)


def _findings(found: Sequence[Diagnosis]) -> Iterator[PlannedFinding]:
    for one in found:
        if one.verdict is not Verdict.OK:
            yield PlannedFinding(one.check, one.verdict.value, one.what, one.evidence, one.way_out)
