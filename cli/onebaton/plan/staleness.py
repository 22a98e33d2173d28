"""What changed since a plan was made: each thing that it was decided on, by name.

Progress of the plan's own making is not a change. So the zone is compared with what it must look
like before and after each of the plan's steps (its waypoints), and what is left to be done with
the end of the plan. A step that was interrupted may be repeated, and with it what brings machines
of the plan's own up and level (an interrupted restart of a new server is healed by its join);
whatever takes a server out or changes the leader must be a step of the plan, in its place.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from onebaton.errors import RefusedError
from onebaton.plan.actions import Action, Plan
from onebaton.plan.artefact import Artefact, Waypoint
from onebaton.plan.configured import changed_settings
from onebaton.records import StateIdentity

#: Steps that bring machines which the plan itself makes up and level, and may be repeated.
BRINGING_UP = frozenset({"provision", "seed", "prepare", "hold", "join", "refresh", "restore"})
#: Steps that cannot change the platform's records.
OFF_PLATFORM = frozenset(
    {"seed", "join", "refresh", "retire", "hand-over", "restore", "prepare", "hold", "cut-over"}
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that changed.

    :param what: its name, e.g. ``leader``.
    """

    what: str
    planned: str
    now: str

    def __str__(self) -> str:
        return f"{self.what}: planned {self.planned}; now {self.now}"


@dataclass(frozen=True, slots=True)
class Around:
    """What a plan was decided on beside the zone, as it is now.

    :param revoked: why the plan's image must not be used any more; empty if it may.
    :param known: the plan's image is in the catalogue.
    :param channel_digest: of the image that the plan's channel holds; ``None`` if none.
    :param rehearsal: digest of the newest rehearsal of the plan's image; empty if there is none.
    """

    onebaton: str
    settings: dict[str, str]
    known: bool
    revoked: str
    channel_digest: str | None
    rehearsal: str
    state: StateIdentity | None


def kind_of(action: Action) -> str:
    """First word of its id."""
    return action.id.partition(":")[0]


def changed_zone(artefact: Artefact, seen: Waypoint, *, fresh: bool) -> tuple[Difference, ...]:
    """What is other in the zone than the plan foresees; none if it is as before or after a step.

    That nobody leads is no difference: either a step of the plan is the reason, or the plan's
    gates are shut.

    :param fresh: nothing of the plan was carried out yet.
    """
    foreseen = artefact.waypoints[:1] if fresh else artefact.waypoints
    found = [tuple(_between(zone, seen)) for zone in foreseen]
    return min(found, key=len)


def changed_around(
    artefact: Artefact, now: Around, *, state: StateIdentity | None
) -> tuple[Difference, ...]:
    """What is other beside the zone.

    :param state: of the platform's records as the plan, or its last step, left them.
    """
    return tuple(_around(artefact, now, state))


def changed_steps(artefact: Artefact, plan: Plan, *, fresh: bool) -> tuple[Difference, ...]:
    """What is left to be done is not the plan, or not its end.

    :param plan: of what is left to do, as it is seen now.
    :param fresh: nothing of the plan was carried out yet.
    """
    planned = [step.id for step in artefact.steps]
    needed = [action.id for action in plan.actions]
    if fresh:
        return () if needed == planned else (_steps(planned, needed),)
    binding = [step.id for step in artefact.steps if not _may_repeat(artefact, step.id)]
    left = [step for step in needed if not _may_repeat(artefact, step)]
    if left == binding[len(binding) - len(left) :]:
        return ()
    return (_steps(binding, left),)


def refuse_stale(found: Sequence[Difference], *, begun: bool, again: str) -> None:
    """Stop if anything changed.

    :param begun: steps of the plan were carried out.
    :param again: what makes a new plan.
    :raises RefusedError: with each difference by name.
    """
    if not found:
        return
    things = "one thing" if len(found) == 1 else f"{len(found)} things"
    standing = (
        "Every step before this one is complete, and nothing more was done. Look at the zone "
        f"(`onebaton status`); then plan the rest anew and have that reviewed ({again}), or go "
        "back (`onebaton abort`)."
        if begun
        else f"Nothing was changed. Make a new plan and have that one reviewed: {again}"
    )
    raise RefusedError(
        f"the plan is stale: {things} that it was decided on changed",
        details=[str(one) for one in found],
        resolution=standing,
    )


def _between(planned: Waypoint, seen: Waypoint) -> Iterator[Difference]:
    if seen.leader is not None and seen.leader != planned.leader:
        yield Difference("leader", planned.leader or "none", seen.leader)
    expected = {one.endpoint: one for one in planned.members}
    there = {one.endpoint: one for one in seen.members}
    for endpoint in sorted({*expected, *there}):
        before, now = expected.get(endpoint), there.get(endpoint)
        if before is None and now is not None:
            moved = next((b for b in planned.members if b.id == now.id), None)
            if moved is not None and moved.endpoint not in there:
                yield Difference(
                    f"endpoint of server {now.id} ({now.name})", moved.endpoint, endpoint
                )
            else:
                yield Difference(
                    "member", f"none at {endpoint}", f"server {now.id} ({now.name}) was added"
                )
        elif now is None and before is not None:
            if not any(n.id == before.id and n.endpoint not in expected for n in seen.members):
                number = "a server" if before.id is None else f"server {before.id}"
                yield Difference("member", f"{number} ({before.name}) at {endpoint}", "gone")
        elif before is not None and now is not None:
            if before.id not in (None, now.id):
                yield Difference(f"id of the server at {endpoint}", f"{before.id}", f"{now.id}")
            if before.name != now.name:
                yield Difference(f"name of the server at {endpoint}", before.name, now.name)
    if seen.schema != planned.schema and None not in (seen.schema, planned.schema):
        yield Difference("schema of the zone", f"{planned.schema}", f"{seen.schema}")


def _around(artefact: Artefact, now: Around, state: StateIdentity | None) -> Iterator[Difference]:
    image = artefact.image
    if now.onebaton != artefact.onebaton:
        yield Difference("onebaton", artefact.onebaton, now.onebaton)
    changed = changed_settings(artefact.settings, now.settings)
    if changed:
        yield Difference("configuration", "as it was", f"other values of {', '.join(changed)}")
    if not now.known:
        yield Difference("image", image.name, "not in the catalogue any more")
    if now.revoked:
        yield Difference("image", image.name, f"revoked: {now.revoked}")
    if image.channel is not None and now.channel_digest != image.digest:
        holds = now.channel_digest or "no image"
        yield Difference(f"channel {image.channel}", image.digest, holds)
    rehearsal = artefact.rehearsal
    if rehearsal is not None and now.rehearsal != rehearsal.digest:
        yield Difference(
            "rehearsal",
            rehearsal.kept_as,
            "there is a newer one, or it changed" if now.rehearsal else "it is gone",
        )
    if now.state != state:
        yield Difference("Terraform state", _state(state), _state(now.state))


def _state(state: StateIdentity | None) -> str:
    return str(state) if state is not None else "none"


def _steps(planned: Sequence[str], needed: Sequence[str]) -> Difference:
    return Difference(
        "steps", ", ".join(planned) or "nothing", f"needed are {', '.join(needed) or 'none'}"
    )


def _may_repeat(artefact: Artefact, step: str) -> bool:
    """It only brings up machines of the plan's own, or removes what the plan removes."""
    kind, names = _parts(step)
    if kind == "destroy":
        return names <= _named(artefact, {"destroy"})
    return kind in BRINGING_UP and names <= _named(artefact, {*BRINGING_UP, "cut-over"})


def _named(artefact: Artefact, kinds: set[str]) -> set[str]:
    parts = [_parts(step.id) for step in artefact.steps]
    return {name for kind, names in parts if kind in kinds for name in names}


def _parts(step: str) -> tuple[str, set[str]]:
    kind, _, names = step.partition(":")
    return kind, set(names.split(","))
