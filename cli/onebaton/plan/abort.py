"""Abort: a rollout that is half-done goes back to the generation that it began with.

New is what runs the image that is given up, by its digest and whatever its name; everything
else is old. The new servers leave one at a time, those that are down first, then the last to
join first; when none is left, their nodes are destroyed, members or not. Nothing of the old
generation is touched.

**Invariants**, in every world that a plan passes through and at the worst moment of each action:

1. A majority of the voters is *seen healthy*.
2. The leader is an old server from the beginning to the end: no election is caused.
3. A server is seen stopped and masked before it is deleted, or its machine seen gone; no node of
   a member is destroyed otherwise.
4. In the end the old generation carries the zone by itself: it survives one failure, or as many
   as a zone of the wanted size does. Where it could not, nothing is begun.

It is planned from the world alone: killed anywhere, what is left is the rest of the plan. Until
the first old server is retired a rollout can go back and forth.

A swap leaves no old generation beside the new one: it goes back by another swap
(:func:`plan_swap_back`), with the invariants of :mod:`onebaton.plan.swapping`.
"""

from collections.abc import Iterator

from onebaton.errors import RefusedError
from onebaton.model import Member, Node, NodeState, PriorPhase, World
from onebaton.plan.actions import Destroy, Fence, Plan, Retire
from onebaton.plan.findings import Finding, refuse_if_any
from onebaton.plan.gates import (
    enabled,
    is_parked,
    machines_seen,
    not_older,
    not_revoked,
    one_leader,
    one_vip,
    quorum_holds,
    require_open,
)
from onebaton.plan.lookahead import look_ahead
from onebaton.plan.places import no_strays
from onebaton.plan.roll import next_action as swap_action
from onebaton.plan.roll import require_bearable
from onebaton.plan.rules import Choice
from onebaton.plan.scene import Scene
from onebaton.plan.seen import parked, put_away
from onebaton.plan.wanted import Wanted

GO_ON = "Go on with the rollout instead: `onebaton rollout`."
#: The smallest zone that survives a failure.
SURVIVES_ONE = 3


def plan_abort(given_up: Wanted, world: World) -> Plan:
    """What is left to do until nothing of a generation is left; empty if there is nothing of it.

    :param given_up: what the rollout was to reach; its image is the one to leave.
    :raises RefusedError: if the way back is not safe (any more), with what to run instead.
    """
    scene = Scene.of(given_up, world)
    if not _new_nodes(scene) and not any(is_new(member, scene) for member in world.members):
        return Plan()
    refuse_if_any(given_up.zone, [*_findings(scene)], again="onebaton abort")
    return Plan(tuple(look_ahead(scene, next_action, require_bearable)))


def plan_swap_back(former: Wanted, world: World) -> Plan:
    """What is left to do until a half-done swap is undone: a swap to the image that it began with.

    Nothing of that image was kept beside the new machines, so there is no other way back, and it
    is safe whenever a swap is: whoever leads, and however many were swapped.

    :param former: the zone on that image (:func:`former_digest`), which may be older, or revoked
        since, and with the digest that is given up.
    :raises RefusedError: if a gate is shut, or if the quorum would not hold all the way.
    """
    scene = Scene.of(former, world)
    refuse_if_any(former.zone, [*no_cut_over(scene)], again="onebaton abort")
    require_open(scene, but=(not_older, not_revoked), again="onebaton abort")
    return Plan(tuple(look_ahead(scene, swap_action, require_bearable)))


def former_digest(given_up: Wanted, world: World) -> str:
    """Digest of the image that a half-done swap began with: that of the machines it left.

    :param given_up: what the swap was to reach.
    :raises RefusedError: if there is no such machine any more, or they are of several images.
    """
    found = {m.node.spec.image_digest for m in world.members if m.node is not None}
    former = found - {given_up.image.digest}
    if len(former) != 1:
        image = given_up.image
        raise RefusedError(
            f"every server runs {image.version} from {image.name}"
            if not former
            else "the servers run several images besides the one that is given up",
            details=[*sorted(former)] or ["no machine is left of the image that it began with"],
            resolution=GO_ON,
        )
    return former.pop()


def next_action(scene: Scene) -> Choice | None:
    """The one thing to be done now; ``None`` if nothing of the generation is left."""
    leaving = [member for member in scene.world.members if is_new(member, scene)]
    # A server that is down still counts against the quorum: without it there is more to spare.
    for member in sorted(leaving, key=lambda m: (scene.counts(m), -m.server.id)):
        return _take_out(member)
    names = tuple(sorted(node.spec.name for node in _new_nodes(scene)))
    return (Destroy(names), "of the generation that is given up") if names else None


def is_new(member: Member, scene: Scene) -> bool:
    """It runs on a node of the image that is given up, or did until that was destroyed.

    A run that is killed between the end of a machine and of its membership leaves a server of
    which only its name and address tell where it was: in a place where no old node lies.
    """
    digest, node = scene.wanted.image.digest, member.node
    if node is not None:
        return node.spec.image_digest == digest
    if member.facts is not None or scene.counts(member):
        return False
    others = {n.spec.generation for n in scene.world.nodes if n.spec.image_digest != digest}
    places = [scene.wanted.specs(slot) for slot in scene.wanted.slots if slot not in others]
    where = (member.server.name, member.server.address)
    return any(where == (spec.name, spec.address) for specs in places for spec in specs)


def _take_out(member: Member) -> Choice:
    if member.facts is None:
        why = "it cannot be asked to stop: its machine goes first, and can then not vote"
        return Fence(member.server, member.host.name), why
    why = "the rollout is given up; stopped and masked first, so that it topples nobody"
    return Retire(member.server), why


def _new_nodes(scene: Scene) -> list[Node]:
    digest = scene.wanted.image.digest
    return [
        node
        for node in scene.world.nodes
        if node.spec.image_digest == digest and node.spec.address not in scene.kept_addresses
    ]


# What must be so


def _findings(scene: Scene) -> Iterator[Finding]:
    cut = [*no_cut_over(scene)]
    if cut:
        # What else is wrong with a zone in that state is not for an abort to judge.
        yield from cut
        return
    back = [*old_leads(scene)]
    yield from back
    if back:
        return
    for gate in (one_leader, enabled, quorum_holds, machines_seen, one_vip, no_strays):
        yield from gate(scene)
    yield from old_carries(scene)


def no_cut_over(scene: Scene) -> Iterator[Finding]:
    """Once the old generation was stopped, its return is another matter."""
    prior = scene.world.prior
    if prior is None or prior.phase is PriorPhase.FINAL:
        return
    if prior.phase is PriorPhase.CUTTING:
        yield Finding(
            "a cut-over is under way",
            f"to {prior.node}: the old servers are being stopped, or are",
            "Take it back (`onebaton rollback`), or go on with it (`onebaton rollout`).",
        )
    elif prior.image_digest == scene.wanted.image.digest:
        yield Finding(
            "the zone was cut over, and the new generation serves",
            f"{prior.node} took over; the old servers are stopped and masked",
            "Take the cut-over back: `onebaton rollback`. It tells what was written since.",
        )


def old_leads(scene: Scene) -> Iterator[Finding]:
    """There is an old generation, and it leads."""
    old = [m for m in scene.world.members if not is_new(m, scene)]
    leader = scene.leader
    if not old and scene.world.members:
        yield Finding(
            f"every server runs {scene.wanted.image.version} from {scene.wanted.image.name}",
            "there is no older generation in the zone to go back to",
            f"What is left to do does no harm. {GO_ON}",
        )
    elif leader is not None and is_new(leader, scene):
        yield Finding(
            "a new server leads already",
            f"{leader.server.name} leads; going back would be another election, to servers that "
            "the rollout is retiring",
            GO_ON,
        )
    elif leader is None and any(put_away(m) for m in old):
        yield Finding(
            "the hand-over to the new generation is under way",
            f"{', '.join(m.server.name for m in old if put_away(m))} is cut off, and nobody leads",
            GO_ON,
        )


def old_carries(scene: Scene) -> Iterator[Finding]:
    """The old generation is enough for a zone by itself."""
    old = [m for m in scene.world.members if not is_new(m, scene)]
    down = [m for m in old if not scene.counts(m)]
    for member in down:
        if parked(member):
            yield is_parked(member)
            continue
        stopped = "it was stopped and masked to be retired" if put_away(member) else "not healthy"
        yield Finding(
            f"the old server {member.server.name} does not serve",
            member.problem or stopped,
            GO_ON if put_away(member) else f"Repair it. Or: {GO_ON[0].lower()}{GO_ON[1:]}",
        )
    needed = min(SURVIVES_ONE, scene.wanted.size)
    if len(old) < needed:
        gone = [
            node.spec.name
            for node in scene.world.nodes
            if node.spec.address not in {m.server.address for m in scene.world.members}
            and node.spec.image_digest != scene.wanted.image.digest
            and node.state is NodeState.RUNNING
        ]
        yield Finding(
            "the old generation could not carry the zone",
            f"{len(old)} of its servers are left, and {needed} are needed to survive a failure"
            + (f"; retired: {', '.join(gone)}" if gone else ""),
            GO_ON,
        )
