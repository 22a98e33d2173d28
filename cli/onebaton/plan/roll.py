"""Roll: replace a generation by one with the same database schema, from whatever stands now.

The plan is derived from the observed world alone, never from a journal. One function,
:func:`next_action`, looks at a world and names the one thing to be done now; it is asked again
for the world as it will be after that thing (:mod:`onebaton.plan.lookahead`).

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

A swap has rules and invariants of its own (:mod:`onebaton.plan.swapping`): it exchanges machines
in their places, with one healthy voter less meanwhile.

An action for which the first cannot be kept is refused with its arithmetic; nothing before it
is carried out either. Two moments are let pass, as neither can be avoided: the cut-over itself,
and the join of the second server of a zone that came out of one.
"""

from onebaton.errors import RefusedError
from onebaton.model import NodeSpec, World
from onebaton.plan import cutover
from onebaton.plan.actions import (
    CutOver,
    HandOver,
    Join,
    Plan,
    Refresh,
    Restore,
    Retire,
    Transition,
)
from onebaton.plan.cutover_gates import CUT_GATES
from onebaton.plan.findings import refuse_if_any
from onebaton.plan.gates import ROLL_GATES, require_open
from onebaton.plan.lookahead import look_ahead
from onebaton.plan.rules import (
    Choice,
    Rule,
    destroy_named,
    first_of,
    provision,
    seed,
    source_name,
)
from onebaton.plan.scene import Scene
from onebaton.plan.seen import put_away
from onebaton.plan.swapping import fill_place, same_schema_only, swap_follower, swap_stopped
from onebaton.plan.wanted import Wanted


def plan_roll(wanted: Wanted, world: World) -> Plan:
    """What is left to do until the zone consists of the wanted generation and nothing else.

    Where the wanted image has another schema than the zone, that is a cut-over
    (:mod:`onebaton.plan.cutover`); the generation that it leaves is kept.

    :raises RefusedError: if a gate is shut (all that are shut are listed), or if the quorum
        would not hold all the way.
    """
    scene = Scene.of(wanted, world)
    refuse_if_any(wanted.zone, [*same_schema_only(scene)], again="onebaton plan")
    if scene.cutting:
        cutover.require_continuable(scene)
    elif scene.changes_schema:
        require_open(scene, but=ROLL_GATES, also=CUT_GATES)
    else:
        require_open(scene)
    return Plan(tuple(look_ahead(scene, next_action, require_bearable)))


def next_action(scene: Scene) -> Choice | None:
    """The one thing to be done now; ``None`` if the world is as wanted."""
    if scene.cutting or scene.changes_schema:
        return first_of(cutover.RUNBOOK, scene)
    return first_of(SWAP_RUNBOOK if scene.swaps else RUNBOOK, scene)


def require_bearable(scene: Scene, step: Transition) -> None:
    """See that the quorum holds in the middle of a step, unless nobody can help its absence.

    :raises RefusedError: if it does not.
    """
    unavoidable = isinstance(step.action, CutOver) or (
        isinstance(step.action, Join) and scene.growing
    )
    if step.during.holds or unavoidable:
        return
    raise RefusedError(
        f"the quorum would be lost at {step.action.id}",
        details=[
            f"before it: {step.before}",
            f"in the middle of it: {step.during}",
        ],
        resolution=(
            "Nothing was changed. Add a healthy server to the zone first, or bring back "
            "the one that is down."
        ),
    )


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


def give_second_vote(scene: Scene) -> Choice | None:
    """A zone of one server that was cut over lists a second one, and waits for its vote."""
    member = scene.awaited
    spec = scene.target_of(member) if member is not None else None
    if spec is None:
        return None
    return provision(scene, (spec,), f"{spec.name} is a member, and its machine is gone") or _join(
        scene, spec, "it is listed, and of two voters both are needed"
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
            or seed(scene, (spec,))
            or _join(scene, spec, f"{spec.name} is a member and not caught up")
        )
    return None


def clear_the_way(scene: Scene) -> Choice | None:
    """Leftovers that hold a wanted node's name or address; one by one, all of them."""
    one_by_one = scene.wanted.strategy == "one-by-one"
    gone = scene.leftovers if one_by_one else scene.blocking
    why = "it is out of the zone" if one_by_one else "its place is needed for a new node"
    return destroy_named(tuple(n.spec.name for n in gone), why)


def thin_out(scene: Scene) -> Choice | None:
    """One by one, an old server goes for each new one that came."""
    return retire_follower(scene) if scene.crowded else None


def prepare_and_join(scene: Scene) -> Choice | None:
    """Provision and seed (surge: all at once, one by one: the next), then join the next."""
    waiting = scene.waiting
    if not waiting:
        return None
    batch = waiting[:1] if scene.wanted.strategy == "one-by-one" else waiting
    return (
        provision(scene, batch, f"runs {scene.wanted.image.version}, and no part of the zone yet")
        or seed(scene, batch)
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
    """No server keeps the shorter election timeout for its next start, nor a copy's remains."""
    limits = scene.wanted.limits
    for member in scene.new:
        if member.facts is not None and member.facts.ahead is not None:
            return Restore(member.host.name), "what only the way to the cut-over needed is there"
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
    return destroy_named(
        tuple(n.spec.name for n in scene.leftovers), "out of the zone, and stopped"
    )


RUNBOOK: tuple[Rule, ...] = (
    finish_hand_over,
    give_second_vote,
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


#: The rules of a roll whose new machines take the places of the old ones.
SWAP_RUNBOOK: tuple[Rule, ...] = (
    finish_hand_over,
    heal_member,
    fill_place,
    swap_stopped,
    clear_the_way,
    swap_follower,
    refresh,
    hand_over,
    restore,
    destroy,
)


def _join(scene: Scene, spec: NodeSpec, why: str) -> Choice:
    ahead = [m for m in scene.new if m.server.address != spec.address]
    member = scene.member_of(spec)
    first = all(member is not None and member.server.id < m.server.id for m in ahead)
    steered = first and scene.old_leads
    source = source_name(scene, spec)
    if steered:
        why += "; the first is known to all later ones, so it is the one to lead"
    return Join(spec.name, scene.wanted.endpoint(spec.address), steered, source), why
