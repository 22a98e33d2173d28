"""Parking: a follower out of service without removing it from the zone, and back.

A parked server keeps its id and stays a voter that is down: nobody is asked for anything while it
is away, and the others must have a majority of all that are listed. On the way back its database
is gone on with if the leader still holds every record that it lacks; otherwise it is seeded anew.

**Invariants**: a majority of the voters is seen healthy at the worst moment of each action; the
leader is never parked; a server that is parked takes no part in a rollout, which is refused.
"""

from collections.abc import Callable, Iterator

from onebaton.errors import UsageError
from onebaton.model import Member, World
from onebaton.plan.actions import Park, Plan, Seed, Unpark
from onebaton.plan.findings import Finding, refuse_if_any
from onebaton.plan.gates import enabled, one_leader, quorum_holds
from onebaton.plan.lookahead import look_ahead
from onebaton.plan.roll import require_bearable
from onebaton.plan.rules import Choice
from onebaton.plan.scene import Scene
from onebaton.plan.seen import diverged, parked, put_away
from onebaton.plan.wanted import Wanted


def member_called(world: World, name: str) -> Member:
    """The member on the machine of this name, or with this name in the zone.

    :raises UsageError: if there is none.
    """
    for member in world.members:
        if name in (member.host.name, member.server.name):
            return member
    names = ", ".join(member.host.name for member in world.members)
    raise UsageError(
        f"{name} is no server of the zone {world.zone.name!r}",
        resolution=f"Its servers are {names or 'none'}.",
    )


def plan_park(wanted: Wanted, world: World, name: str) -> Plan:
    """Take this server out of service; empty if it is.

    :param wanted: its limits are judged by.
    :raises UsageError: if there is no such server.
    :raises RefusedError: if it leads, cannot be reached, or is needed for the quorum.
    """
    scene = Scene.of(wanted, world)
    member = member_called(world, name)
    if parked(member) and put_away(member):
        return Plan()
    refuse_if_any(wanted.zone, [*_against_parking(scene, member)], again=f"onebaton park {name}")
    return Plan(tuple(look_ahead(scene, _parking(name), require_bearable)))


def plan_unpark(wanted: Wanted, world: World, name: str) -> Plan:
    """Bring this server back into service; empty if it is not parked.

    :raises UsageError: if there is no such server.
    :raises RefusedError: if it cannot be reached, or the zone cannot take it back now.
    """
    scene = Scene.of(wanted, world)
    member = member_called(world, name)
    found = [*_against_unparking(scene, member)]
    refuse_if_any(wanted.zone, found, again=f"onebaton unpark {name}")
    return Plan(tuple(look_ahead(scene, _unparking(name), require_bearable)))


def _parking(name: str) -> Callable[[Scene], Choice | None]:
    def choose(scene: Scene) -> Choice | None:
        member = member_called(scene.world, name)
        if parked(member) and put_away(member):
            return None
        return Park(member.server), "it keeps its id, and stays a voter that is down"

    return choose


def _unparking(name: str) -> Callable[[Scene], Choice | None]:
    def choose(scene: Scene) -> Choice | None:
        member = member_called(scene.world, name)
        source = _source(scene, member)
        if not parked(member) or source is None:
            return None
        running = member.facts is not None and member.facts.oned_active
        if not running and not _can_go_on(scene, member, source):
            return (
                Seed(source.host.name, (member.host.name,)),
                "the leader no longer holds all that it lacks, or data, secrets or schema differ",
            )
        return (
            Unpark(member.server, source.host.name),
            "it comes back under its id, level before it starts",
        )

    return choose


def _source(scene: Scene, member: Member) -> Member | None:
    """Another one, level and reachable; the leader last."""
    able = [
        m
        for m in scene.world.members
        if m.server != member.server
        and scene.caught_up(m)
        and m.facts is not None
        and not diverged(m)
    ]
    return min(able, key=lambda m: (m.is_leader, m.server.id), default=None)


def _can_go_on(scene: Scene, member: Member, source: Member) -> bool:
    """Its database lacks nothing that the leader does not hold any more."""
    own, theirs = member.facts, source.facts
    if own is None or theirs is None:
        return False
    same_secrets = own.secret_digest is not None and own.secret_digest == theirs.secret_digest
    return same_secrets and own.schema == theirs.schema and scene.in_window(own.database)


# What must be so


def _against_parking(scene: Scene, member: Member) -> Iterator[Finding]:
    yield from _no_cut(scene)
    yield from one_leader(scene)
    yield from _reachable(member)
    name = member.server.name
    if member.is_leader:
        yield Finding(
            f"{name} leads the zone",
            "its end is an election, and nothing is written until it is over",
            f"Stop opennebula.service on it, wait until another server leads (`onebaton status`), "
            f"then run `onebaton park {member.host.name}` again.",
        )
        return
    left = scene.quorum.stopping() if scene.counts(member) else scene.quorum
    if scene.leader is not None and not left.holds:
        yield Finding(
            f"without {name} there would be no quorum",
            str(left),
            "Bring the other servers back first, or add one.",
        )


def _against_unparking(scene: Scene, member: Member) -> Iterator[Finding]:
    yield from _no_cut(scene)
    if not parked(member):
        yield from (_reachable(member) if member.facts is None else ())
        return
    yield from one_leader(scene)
    yield from enabled(scene)
    yield from quorum_holds(scene)
    if scene.leader is not None and _source(scene, member) is None:
        yield Finding(
            f"there is no machine to bring {member.server.name} level from",
            "none of the other servers is healthy and answers over ssh",
            "Give one of them the ssh key of the configuration.",
        )


def _no_cut(scene: Scene) -> Iterator[Finding]:
    if scene.cutting:
        yield Finding(
            "a cut-over is under way",
            "its servers are being stopped, or are",
            "Go on with it (`onebaton rollout`), or take it back (`onebaton rollback`).",
        )


def _reachable(member: Member) -> Iterator[Finding]:
    if member.facts is None:
        yield Finding(
            f"the machine of {member.server.name} cannot be looked into",
            member.problem or f"no answer over ssh at {member.server.address}",
            f"Bring the machine back. If it is lost: `onebaton replace {member.host.name}`.",
        )
