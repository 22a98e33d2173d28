"""Reads what a search for drift needs beyond an observation, and tells what was found."""

import concurrent.futures
from collections.abc import Iterator, Mapping

from onebaton.drift import DriftView
from onebaton.errors import OnebatonError, RefusedError, UnavailableError
from onebaton.model import NodeState, PriorPhase, Vip, World
from onebaton.plan.drift import Sight, drift_of
from onebaton.plan.underway import Goal, half_done
from onebaton.plan.wanted import Condemned, Wanted
from onebaton.ports import Configurations, Platform, ZoneApi


def look_closer(
    wanted: Wanted,
    world: World,
    platform: Platform,
    configurations: Configurations,
    api: ZoneApi,
    *,
    vip: Vip,
    unbaked: str,
    channel: str | None,
    revoked: Mapping[str, str],
) -> Sight:
    """Read the nodes' files, ask the platform what it would do to leave all as it is, and see
    who answers where nobody should.

    :param api: with a short deadline: nobody is expected to answer.
    :param unbaked: why there is no wanted image; empty if there is one.
    :param channel: that the wanted image is of, if it is of one.
    :param revoked: why images must not be used any more, by digest.
    """
    own = [member for member in world.members if member.node is not None]
    there = [
        m.host for m in own if m.node is not None and m.node.state is NodeState.RUNNING and m.facts
    ]
    return Sight(
        wanted=wanted,
        world=world,
        vip=vip,
        unbaked=unbaked,
        channel=channel,
        revoked=revoked,
        settings={m.server.id: configurations.settings(server_id=m.server.id) for m in own},
        configured=configurations.read(there),
        pending=_pending(platform, world),
        strangers=_strangers(api, wanted, world),
    )


def _pending(platform: Platform, world: World) -> tuple[str, ...]:
    """What it would do to leave the nodes as they are; why it could not, where it could not."""
    if not world.nodes:
        return ()
    try:
        return platform.pending([node.spec for node in world.nodes])
    except OnebatonError as error:
        return (": ".join([error.message, *error.details[:1]]),)


def _strangers(api: ZoneApi, wanted: Wanted, world: World) -> dict[str, str]:
    """What answers at addresses of ours where there is neither a node nor a server."""
    taken = {node.spec.address for node in world.nodes}
    taken |= {member.server.address for member in world.members}
    free = [a for addresses in wanted.slots.values() for a in addresses if a not in taken]
    if not free:
        return {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=min(len(free), 32)) as pool:
        answers = pool.map(lambda address: _answer(api, wanted.endpoint(address)), free)
        return {address: found for address, found in zip(free, answers, strict=True) if found}


def _answer(api: ZoneApi, endpoint: str) -> str:
    """What answers there; empty if nobody does."""
    try:
        return f"oned {api.version(endpoint)}"
    except UnavailableError:
        return ""
    except RefusedError:
        return "an oned with another user and password"


def drift_view(
    sight: Sight, observed_at: float, *, goal: Goal | None, condemned: Condemned | None
) -> DriftView:
    """What was found, and what of it is expected.

    :param goal: of the rollout that did not come to its end.
    :param condemned: the machine that is being replaced.
    """
    return DriftView(
        zone_name=sight.world.zone.name,
        to_version=sight.wanted.image.version,
        observed_at=observed_at,
        rows=drift_of(sight),
        notes=tuple(_expected(sight.world, goal, condemned)),
    )


def _expected(world: World, goal: Goal | None, condemned: Condemned | None) -> Iterator[str]:
    """Why there is drift that nobody has to look into, a sentence each."""
    prior = world.prior
    if prior is not None and prior.phase is PriorPhase.CUTTING:
        yield (
            f"a cut-over to {prior.node} is under way: drift is expected until `onebaton rollout` "
            "has finished it, or `onebaton rollback` has taken it back"
        )
    elif goal is not None and (nodes := half_done(goal, world)):
        names = ", ".join(node.spec.name for node in nodes)
        yield (
            f"a rollout to {goal.image} ({goal.version}) is half-done, with {names} of the new "
            "generation: drift is expected until `onebaton rollout` has finished it, or "
            "`onebaton abort` has given it up"
        )
    if condemned is not None:
        yield (
            f"{condemned.name} is being replaced: drift is expected until `onebaton replace "
            f"{condemned.name}` has come to its end"
        )
