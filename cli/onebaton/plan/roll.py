"""Roll: replace a generation by one with the same database schema, from whatever stands now.

The plan is derived from the observed world alone, never from a journal. One function,
:func:`next_action`, looks at a world and names the one thing to be done now; :func:`transitions`
asks it again for the world as it will be after that thing, until nothing is left. So after any
prefix of a plan, and after a crash in the middle of an action, planning anew from what is seen
gives the rest of the plan.

**Invariants**, in every world that a plan passes through and at the worst moment of each action
(a member being added is assumed dead; one being removed is stopped and still listed):

1. A majority of the voters is *seen healthy*. Unknown is unhealthy.
2. At most one member is not caught up.
3. There are never fewer healthy voters than there were, or than are wanted, whichever is less,
   except for the one that restarts when the zone has no server to spare any more.
4. The leader is never retired. One single :class:`HandOver` makes it an ordinary, stopped
   member, and only when every wanted node is a member, caught up, and known to the others.
5. A server is seen stopped and masked before it is deleted, and deleted before its node is
   destroyed. No node of a member is destroyed.
6. Server ids are given by the leader; no action chooses one.
7. One by one, there is at most one member more than wanted or than there were.

An action for which the first cannot be kept is refused with its arithmetic; nothing before it
is carried out either.
"""

from collections.abc import Callable, Iterator
from typing import assert_never

from onebaton.errors import RefusedError
from onebaton.model import Member, NodeSpec, World
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
from onebaton.plan.gates import require_open
from onebaton.plan.projection import after
from onebaton.plan.quorum import Quorum
from onebaton.plan.scene import Scene, put_away
from onebaton.plan.wanted import Wanted

#: An action and its reason, in words.
Choice = tuple[Action, str]
#: What is to be done in a world about one matter; ``None`` if nothing.
Rule = Callable[[Scene], Choice | None]


def plan_roll(wanted: Wanted, world: World) -> Plan:
    """What is left to do until the zone consists of the wanted generation and nothing else.

    :raises RefusedError: if a gate is shut (all that are shut are listed), or if the quorum
        would not hold all the way.
    """
    require_open(Scene.of(wanted, world))
    return Plan(tuple(transitions(wanted, world)))


def transitions(wanted: Wanted, world: World) -> Iterator[Transition]:
    """Each action in turn, with the quorum around it.

    :raises RefusedError: at the first action in whose middle the quorum would not hold.
    """
    scene = Scene.of(wanted, world)
    while (choice := next_action(scene)) is not None:
        action, why = choice
        during = worst_moment(scene, action)
        if not during.holds:
            raise RefusedError(
                f"the quorum would be lost at {action.id}",
                details=[
                    f"before it: {scene.quorum}",
                    f"in the middle of it: {during}",
                ],
                resolution=(
                    "Nothing was changed. Add a healthy server to the zone first, or bring back "
                    "the one that is down."
                ),
            )
        following = Scene.of(wanted, after(scene, action))
        yield Transition(action, why, before=scene.quorum, during=during, after=following.quorum)
        scene = following


def next_action(scene: Scene) -> Choice | None:
    """The one thing to be done now; ``None`` if the world is as wanted."""
    return first_of(RUNBOOK, scene)


def first_of(rules: tuple[Rule, ...], scene: Scene) -> Choice | None:
    """The first rule that has something to do."""
    return next((choice for rule in rules if (choice := rule(scene)) is not None), None)


def worst_moment(  # noqa: PLR0911 - one case an action
    scene: Scene, action: Action
) -> Quorum:
    """The zone in numbers while the action is under way and everything else goes wrong."""
    quorum = scene.quorum
    match action:
        case Join(node=node):
            listed = any(s.name == node and scene.member_of(s) for s in scene.targets)
            return quorum if listed else quorum.adding()
        case Refresh():
            return quorum.stopping()
        case Retire(server=server):
            down = any(m.server.id == server.id for m in scene.down)
            return quorum if down else quorum.stopping()
        case HandOver():
            return quorum if scene.handing_over is not None else quorum.stopping()
        case CutOver():
            # Nobody serves for a moment, whoever is counted; then the new zone is one server.
            return Quorum(1, 1)
        case Reinstate(servers=servers):
            return Quorum(len(servers), len(servers))
        case Provision() | Found() | Seed() | Restore() | Destroy() | Prepare() | Hold() | GiveUp():
            return quorum
        case _:
            assert_never(action)


# The rules, in the order in which they apply. Each answers for one thing and only that.


def finish_hand_over(scene: Scene) -> Choice | None:
    """The old leader is cut off and nobody leads: see the election through."""
    old, new = scene.handing_over, scene.successor
    if old is None or new is None:
        return None
    return (
        HandOver(old.server, new.server.name),
        f"{old.server.name} is cut off and {new.server.name} is to be elected",
    )


def delete_stopped(scene: Scene) -> Choice | None:
    """An old server that was stopped and masked still counts against the quorum."""
    for member in scene.old:
        if put_away(member):
            return (
                Retire(member.server),
                f"{member.server.name} is stopped and masked, and still a voter",
            )
    return None


def heal_member(scene: Scene) -> Choice | None:
    """A new member that is down was interrupted in its join or restart: that comes first."""
    for member in scene.down:
        spec = scene.target_of(member)
        if spec is None:
            continue
        return (
            provision(scene, (spec,), f"{spec.name} is a member, and its machine is gone")
            or _seed(scene, (spec,))
            or _join(scene, spec, f"{spec.name} is a member and not caught up")
        )
    return None


def clear_the_way(scene: Scene) -> Choice | None:
    """Leftovers that hold a wanted node's name or address; one by one, all of them."""
    one_by_one = scene.wanted.strategy == "one-by-one"
    gone = scene.leftovers if one_by_one else scene.blocking
    why = "it is out of the zone" if one_by_one else "its place is needed for a new node"
    return _destroy(tuple(n.spec.name for n in gone), why)


def thin_out(scene: Scene) -> Choice | None:
    """One by one, an old server goes for each new one that came."""
    return retire_follower(scene) if scene.crowded else None


def prepare_and_join(scene: Scene) -> Choice | None:
    """Provision and seed (surge: all at once, one by one: the next), then join the next."""
    waiting = scene.waiting
    if not waiting:
        return None
    batch = waiting if scene.wanted.strategy == "surge" else waiting[:1]
    return (
        provision(scene, batch, f"runs {scene.wanted.image.version}, and no part of the zone yet")
        or _seed(scene, batch)
        or _join(scene, waiting[0], "one at a time, caught up before the next")
    )


def refresh(scene: Scene) -> Choice | None:
    """Followers that do not know a new member could not forward a write to it once it leads.

    The one to hand over to reads the servers anew when it is elected, and all others have to
    know it; it is restarted only to be steered.
    """
    limits = scene.wanted.limits
    for member in scene.new:
        if member.is_leader or member.facts is None:
            continue
        name = member.host.name
        timeout_ms = member.facts.election_timeout_ms
        steered = timeout_ms == limits.steered_election_timeout_ms
        if scene.old_leads and member is scene.successor:
            if not steered:
                return (
                    Refresh(name, steered=True),
                    "it is to win the election, and needs the shorter timeout for it",
                )
            continue
        unknown = {m.server.id for m in scene.new if m is not member} - member.facts.known_servers
        if unknown:
            names = ", ".join(m.server.name for m in scene.new if m.server.id in unknown)
            return (
                Refresh(name, steered=False),
                f"it was started before {names} joined, and could not forward writes there",
            )
        if scene.old_leads and steered:
            return Refresh(name, steered=False), "it must not compete in the one election"
    return None


def retire_follower(scene: Scene) -> Choice | None:
    """Old servers that do not lead."""
    for member in scene.old:
        if not member.is_leader:
            return (
                Retire(member.server),
                "stopped and masked first: a removed server that runs topples the leader",
            )
    return None


def hand_over(scene: Scene) -> Choice | None:
    """The old leader is the last of its generation; everybody knows its successor."""
    leader, new = scene.leader, scene.successor
    if leader is None or new is None or not scene.old_leads:
        return None
    return (
        HandOver(leader.server, new.server.name),
        f"the one election of the roll, steered to {new.server.name}, which the others know",
    )


def restore(scene: Scene) -> Choice | None:
    """No server keeps the shorter election timeout for its next start."""
    limits = scene.wanted.limits
    for member in scene.new:
        seen_ms = member.facts.election_timeout_ms if member.facts is not None else None
        if seen_ms is not None and seen_ms != limits.election_timeout_ms:
            return (
                Restore(member.host.name),
                f"its oned.conf has an election timeout of {seen_ms} ms, and the zone's is "
                f"{limits.election_timeout_ms} ms",
            )
    return None


def destroy(scene: Scene) -> Choice | None:
    """What is neither wanted nor in the zone."""
    return _destroy(tuple(n.spec.name for n in scene.leftovers), "out of the zone, and stopped")


RUNBOOK: tuple[Rule, ...] = (
    finish_hand_over,
    delete_stopped,
    heal_member,
    clear_the_way,
    thin_out,
    prepare_and_join,
    refresh,
    retire_follower,
    hand_over,
    restore,
    destroy,
)


def provision(scene: Scene, specs: tuple[NodeSpec, ...], why: str) -> Choice | None:
    missing = tuple(spec for spec in specs if not scene.is_up(spec))
    return (Provision(missing), why) if missing else None


def _seed(scene: Scene, specs: tuple[NodeSpec, ...]) -> Choice | None:
    targets = tuple(spec.name for spec in specs if not scene.is_seeded(spec))
    source = scene.source
    if not targets or source is None:
        return None
    role = "the leader: there is no other" if source.is_leader else "a follower, without locks"
    return Seed(source.host.name, targets), f"from {source.host.name}, {role}"


def _join(scene: Scene, spec: NodeSpec, why: str) -> Choice:
    ahead = [m for m in scene.new if m.server.address != spec.address]
    member = scene.member_of(spec)
    first = all(member is not None and member.server.id < m.server.id for m in ahead)
    steered = first and scene.old_leads
    source = source_name(scene, spec)
    if steered:
        why += "; the first is known to all later ones, so it is the one to lead"
    return Join(spec.name, scene.wanted.endpoint(spec.address), steered, source), why


def source_name(scene: Scene, spec: NodeSpec) -> str:
    """Where the log is shipped from; a founded zone without a leader has its first server."""
    source: Member | None = scene.source
    if source is None:
        others = [m for m in scene.world.members if m.server.address != spec.address]
        source = min(others, key=lambda m: m.server.id, default=None)
    return source.host.name if source is not None else spec.name


def _destroy(names: tuple[str, ...], why: str) -> Choice | None:
    return (Destroy(names), why) if names else None
