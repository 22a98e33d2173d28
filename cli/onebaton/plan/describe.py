"""A plan for people: what will be done, why, and what the zone could bear meanwhile."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import assert_never

from onebaton.model import PriorPhase, Server, World
from onebaton.plan.actions import (
    Action,
    CutOver,
    Destroy,
    Fence,
    Found,
    GiveUp,
    HandOver,
    Hold,
    Join,
    Park,
    Plan,
    Prepare,
    Provision,
    Refresh,
    Reinstate,
    Restore,
    Retire,
    Seed,
    Swap,
    Transition,
    Unpark,
)
from onebaton.plan.cutover_gates import WAYS, duration
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Rehearsed, Wanted
from onebaton.views import PlanRow, PlanView


def describe_roll(wanted: Wanted, world: World, plan: Plan, *, dated: bool = False) -> PlanView:
    """The view of a roll, or of a cut-over.

    :param dated: name dates where it would else name ages, for what is read later.
    """
    scene = Scene.of(wanted, world)
    kept = _kept(scene)
    if scene.cutting or scene.changes_schema:
        view = _view(
            wanted, world, plan, f"cut zone {wanted.zone} over", _cut_reason(scene, dated=dated)
        )
        way = next((a.way for a in plan.actions if isinstance(a, CutOver)), scene.way)
        warnings = () if scene.cutting else tuple(_cut_warnings(scene))
        return replace(view, strategy=f"cut-over, {WAYS[way]}", warnings=(*warnings, *kept))
    if len(plan):
        old, new = len(scene.old), len(scene.new)
        reason = (
            f"{old} of {old + new} servers are not on the wanted image"
            if old
            else f"{new} of {wanted.size} servers are on the wanted image, and not all is done"
        )
    else:
        reason = "every server is on the wanted image, and nothing else is left"
    view = _view(wanted, world, plan, f"roll zone {wanted.zone}", reason)
    return replace(
        view,
        reason=f"{reason}{_rolled_in_clone(scene, dated=dated)}",
        warnings=(*_swap_warnings(plan), *kept),
    )


def _rolled_in_clone(scene: Scene, *, dated: bool) -> str:
    """What the same roll took in a clone, if it was carried out there."""
    found = scene.wanted.cut.rehearsal
    if found is None or found.measured_s is None:
        return ""
    return (
        f"; carried out in the clone {found.clone} {_when(found, dated=dated)} ({found.kept_as}): "
        f"{found.measured_s:.1f} s without writes"
    )


def _when(found: Rehearsed, *, dated: bool) -> str:
    """When it was rehearsed, for what is read now or later."""
    moment = datetime.fromtimestamp(found.began_at, UTC)
    return f"{moment:%Y-%m-%d %H:%M} UTC" if dated else f"{duration(found.age_s)} ago"


def _swap_warnings(plan: Plan) -> Iterator[str]:
    """What stays the same but for this."""
    names = [action.node.name for action in plan.actions if isinstance(action, Swap)]
    if names:
        yield (
            f"the new machines of {', '.join(names)} have the old names and addresses, and other "
            "ssh host keys: who remembers those (known_hosts) has to forget them"
        )


def describe_bootstrap(wanted: Wanted, world: World | None, plan: Plan) -> PlanView:
    """The view of a bootstrap."""
    listed = len(world.members) if world is not None else 0
    reason = f"{listed} of {wanted.size} servers are in the zone"
    return _view(wanted, world, plan, f"found zone {wanted.zone}", reason)


def _cut_reason(scene: Scene, *, dated: bool) -> str:
    """Why it cannot be rolled, what would run, how long it takes, and how that is known."""
    prior, image = scene.world.prior, scene.wanted.image
    if prior is not None and scene.cutting:
        return (
            f"a cut-over from schema {prior.schema} to {image.schema} was begun on {prior.node}, "
            "and goes on or is taken back"
        )
    text = f"the database schema changes from {scene.schema} to {image.schema}"
    found = scene.wanted.cut.rehearsal
    if found is None:
        return text
    ran = f" by {', '.join(found.migrators)}" if found.migrators else ""
    forecast_s = found.forecast_s.get(scene.way)
    out = "unknown" if forecast_s is None else f"{forecast_s:.1f} s"
    if found.measured_s is not None:
        out = f"{out}, as measured in the clone {found.clone}"
    when = _when(found, dated=dated)
    return (
        f"{text}{ran}; rehearsed {when} ({found.kept_as}): forecast of the "
        f"time without writes {WAYS[scene.way]}: {out}"
    )


def _cut_warnings(scene: Scene) -> Iterator[str]:
    cut = scene.wanted.cut
    found = cut.rehearsal
    if found is None:
        return
    for table in sorted(found.losses.keys() & cut.accepted):
        yield f"rows of {table} are lost, as accepted: {found.losses[table]} in the rehearsal"
    for table in sorted(cut.accepted - found.losses.keys()):
        yield f"{table} was accepted to lose rows and lost none in the rehearsal"
    if cut.way == "auto" and not found.ahead_proven:
        doubts = "; ".join(found.doubts) or "it was not tried"
        yield f"the plain way is taken, as the rehearsal did not prove the stand-by: {doubts}"
    if scene.wanted.size > 1:
        yield (
            "after the cut the zone is one server until the second has joined: it bears no "
            "failure meanwhile"
        )


def _kept(scene: Scene) -> tuple[str, ...]:
    """That there is a way back, and how long."""
    prior = scene.world.prior
    if prior is None or prior.phase is not PriorPhase.SERVED:
        return ()
    names = ", ".join(server.name for server in prior.zone.servers)
    return (
        f"{names} of the last cut-over are kept, stopped and masked, until `onebaton finalize`; "
        "`onebaton rollback` brings them back",
    )


def _view(wanted: Wanted, world: World | None, plan: Plan, title: str, reason: str) -> PlanView:
    leader = world.leader if world is not None else None
    prior = world.prior if world is not None else None
    # While nobody serves, the record of the cut-over tells what the zone ran.
    recorded = prior.version if prior is not None and prior.phase is PriorPhase.CUTTING else None
    return PlanView(
        title=title,
        strategy=wanted.strategy,
        reason=reason,
        from_version=leader.version if leader is not None else recorded,
        to_version=wanted.image.version,
        steps=tuple(row(number, step) for number, step in enumerate(plan, start=1)),
    )


def row(number: int, transition: Transition) -> PlanRow:
    """One line of a plan, counted at the worst moment of its action."""
    during = transition.during
    return PlanRow(
        number=number,
        step_id=transition.action.id,
        what=what(transition.action),
        why=transition.why,
        quorum=_quorum(transition),
        healthy=during.healthy,
        voters=during.voters,
        needed=during.needed,
    )


def _quorum(transition: Transition) -> str:
    """The arithmetic in words; a zone that stops as a whole has none."""
    during = transition.during
    if isinstance(transition.action, CutOver | Reinstate):
        return f"the zone stops and starts anew: {during.needed} of {during.voters} needed then"
    return str(during) if during.voters else "no zone yet"


def what(action: Action) -> str:  # noqa: PLR0911, PLR0912 - one sentence an action
    """The action in words."""
    match action:
        case Provision(nodes=nodes):
            places = ", ".join(f"{spec.name} ({spec.address})" for spec in nodes)
            return f"provision {places} from {nodes[0].image}"
        case Found(node=node):
            return f"found the zone on {node}"
        case Seed(source=source, targets=targets):
            return f"seed {', '.join(targets)} from {source}"
        case Join(node=node, steered=steered):
            return f"join {node}" + (", steered to lead" if steered else "")
        case Refresh(node=node, steered=steered):
            return f"restart {node}" + (", steered to lead" if steered else "")
        case Retire(server=server):
            return f"retire server {server.id} ({server.name})"
        case Fence(server=server, node=node):
            return f"destroy {node}, which does not answer, and retire server {server.id}"
        case HandOver(from_server=old, to_server=new):
            return f"hand over from server {old.id} ({old.name}) to {new}"
        case Park(server=server):
            return f"park server {server.id} ({server.name}): stopped and masked, still listed"
        case Unpark(server=server):
            return f"bring server {server.id} ({server.name}) back into service"
        case Swap(server=server, node=node):
            return (
                f"swap server {server.id} ({server.name}): stop it, and make its machine anew "
                f"from {node.image}"
            )
        case Restore(node=node):
            return f"restore the election timeout of {node}"
        case Destroy(names=names):
            return f"destroy {', '.join(names)}"
        case Prepare(targets=targets):
            return f"migrate copies ahead on {', '.join(targets)}"
        case Hold(node=node):
            return f"start the next release on {node}, held: it cannot win an election"
        case CutOver(node=node, way="stand-by"):
            return f"cut over to {node}, which is held"
        case CutOver(node=node):
            return f"cut over to {node}, the plain way: migrate while nobody serves"
        case Reinstate(servers=servers):
            return f"bring the old generation back: {_named(servers)}"
        case GiveUp(servers=servers):
            return f"give the old generation up: {_named(servers)}"
        case _:
            assert_never(action)


def _named(servers: Iterable[Server]) -> str:
    return ", ".join(f"{server.name} (server {server.id})" for server in servers)
