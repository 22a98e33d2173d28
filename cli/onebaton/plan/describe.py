"""A plan for people: what will be done, why, and what the zone could bear meanwhile."""

from collections.abc import Iterable
from typing import assert_never

from onebaton.model import Server, World
from onebaton.plan.actions import (
    Action,
    CutOver,
    Destroy,
    Found,
    GiveUp,
    HandOver,
    Hold,
    Join,
    Plan,
    Prepare,
    Provision,
    Refresh,
    Reinstate,
    Restore,
    Retire,
    Seed,
    Transition,
)
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Wanted
from onebaton.views import PlanRow, PlanView


def describe_roll(wanted: Wanted, world: World, plan: Plan) -> PlanView:
    """The view of a roll."""
    scene = Scene.of(wanted, world)
    if len(plan):
        old, new = len(scene.old), len(scene.new)
        reason = (
            f"{old} of {old + new} servers are not on the wanted image"
            if old
            else f"{new} of {wanted.size} servers are on the wanted image, and not all is done"
        )
    else:
        reason = "every server is on the wanted image, and nothing else is left"
    return _view(wanted, world, plan, f"roll zone {wanted.zone}", reason)


def describe_bootstrap(wanted: Wanted, world: World | None, plan: Plan) -> PlanView:
    """The view of a bootstrap."""
    listed = len(world.members) if world is not None else 0
    reason = f"{listed} of {wanted.size} servers are in the zone"
    return _view(wanted, world, plan, f"found zone {wanted.zone}", reason)


def _view(wanted: Wanted, world: World | None, plan: Plan, title: str, reason: str) -> PlanView:
    leader = world.leader if world is not None else None
    return PlanView(
        title=title,
        strategy=wanted.strategy,
        reason=reason,
        from_version=leader.version if leader is not None else None,
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
        quorum=str(during) if during.voters else "no zone yet",
        healthy=during.healthy,
        voters=during.voters,
        needed=during.needed,
    )


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
        case HandOver(from_server=old, to_server=new):
            return f"hand over from server {old.id} ({old.name}) to {new}"
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
