"""Replacing: a new machine from the same image in the place of a failed or suspect one.

The old machine's server leaves the zone first; then the new machine is made under its name and
address, seeded and joined by the rules of a roll, with an id of its own. A machine that answers
is stopped and masked before its server is deleted; one that does not is destroyed before: only
then is it known to stand for no election. A leader hands over first, to a server that all others
know, steered as in a roll.

The machine that is to go is told by its identity and not by its name, which the new one has as
well. So what is left to do can be seen in any world: killed anywhere, the same command goes on.

**Invariants** are those of :mod:`onebaton.plan.roll`, but for the third: while the machine is
being replaced the zone has one server less.
"""

from collections.abc import Iterator

from onebaton.errors import RefusedError
from onebaton.model import Member, World
from onebaton.plan.actions import Fence, Plan, Retire
from onebaton.plan.findings import Finding, refuse_if_any
from onebaton.plan.gates import large_enough, one_vip, require_open
from onebaton.plan.lookahead import look_ahead
from onebaton.plan.parking import member_called
from onebaton.plan.places import places_free
from onebaton.plan.roll import (
    finish_hand_over,
    hand_over,
    heal_member,
    prepare_and_join,
    refresh,
    require_bearable,
    restore,
)
from onebaton.plan.rules import Choice, Rule, destroy_named, first_of
from onebaton.plan.scene import Scene
from onebaton.plan.seen import put_away
from onebaton.plan.underway import Goal, half_done
from onebaton.plan.wanted import Condemned, Wanted


def condemn(world: World, name: str, goal: Goal | None) -> Condemned:
    """The machine of this name, as it is now.

    :param goal: of a rollout that did not come to its end.
    :raises UsageError: if no server of the zone has this name.
    :raises RefusedError: if its machine is not ours to replace, or a rollout is half-done.
    """
    node = member_called(world, name).node
    if node is None:
        raise RefusedError(
            f"{name} is a machine of somebody else: it cannot be replaced by a new one",
            details=["the platform holds no node at its address"],
            resolution="Roll the zone onto nodes of this cluster: `onebaton rollout`.",
        )
    if goal is not None and half_done(goal, world):
        raise RefusedError(
            f"a rollout to {goal.image} ({goal.version}) is half-done",
            details=[f"its nodes: {', '.join(n.spec.name for n in half_done(goal, world))}"],
            resolution="Finish it (`onebaton rollout`) or take it back (`onebaton abort`) first.",
        )
    spec = node.spec
    return Condemned(spec.name, spec.address, node.instance, spec.image_digest)


def being_replaced(noted: Condemned | None) -> Iterator[Finding]:
    """A rollout would take the machine that is to go for one that is to join."""
    if noted is not None:
        yield Finding(
            f"the machine {noted.name} is being replaced",
            "a replacement was begun that did not come to its end",
            f"Finish it: `onebaton replace {noted.name}`.",
        )


def size_of(world: World, condemned: Condemned) -> int:
    """How many servers the zone has when the machine is replaced: as many as before."""
    there = any(m.server.address == condemned.address for m in world.members)
    return len(world.members) + (not there)


def plan_replace(wanted: Wanted, world: World) -> Plan:
    """What is left to do until another machine serves in the place of the condemned one.

    :param wanted: the zone on the image that it runs, with the machine that is to go.
    :raises RefusedError: if a gate is shut, or if the quorum would not hold all the way.
    """
    scene = Scene.of(wanted, world)
    one = wanted.condemned
    again = f"onebaton replace {one.name if one is not None else 'NODE'}"
    refuse_if_any(wanted.zone, [*_no_cut(scene), *_of_one_image(scene)], again=again)
    require_open(
        scene,
        but=(places_free, large_enough, one_vip),
        also=(others_healthy, vip_on_leader),
        again=again,
    )
    return Plan(tuple(look_ahead(scene, next_action, require_bearable)))


def next_action(scene: Scene) -> Choice | None:
    """The one thing to be done now; ``None`` if the machine is replaced."""
    return first_of(RUNBOOK, scene)


# The rules, in the order in which they apply; those that are not here are the roll's.


def take_out(scene: Scene) -> Choice | None:
    """A condemned server that does not lead leaves the zone."""
    member = _condemned(scene)
    if member is None or member.is_leader:
        return None
    if member.facts is None:
        return (
            Fence(member.server, member.host.name),
            "its machine does not answer: only when it is gone can it not vote",
        )
    if put_away(member):
        return Retire(member.server), "it is stopped and masked, and still a voter"
    return Retire(member.server), "stopped and masked first, so that it topples nobody"


def lead_elsewhere(scene: Scene) -> Choice | None:
    """A condemned leader hands over; what that needs of the others comes first."""
    return (refresh(scene) or hand_over(scene)) if scene.old_leads else None


def clear_the_place(scene: Scene) -> Choice | None:
    """The machine is out of the zone: its place is needed."""
    names = tuple(n.spec.name for n in scene.leftovers if scene.wanted.condemns(n))
    return destroy_named(names, "its place is for the new machine")


RUNBOOK: tuple[Rule, ...] = (
    finish_hand_over,
    take_out,
    heal_member,
    lead_elsewhere,
    clear_the_place,
    prepare_and_join,
    refresh,
    restore,
)


def _condemned(scene: Scene) -> Member | None:
    return next(
        (m for m in scene.world.members if scene.wanted.condemns(m.node, m.server.address)), None
    )


# What must be so


def _no_cut(scene: Scene) -> Iterator[Finding]:
    if scene.cutting:
        yield Finding(
            "a cut-over is under way",
            "its servers are being stopped, or are",
            "Go on with it (`onebaton rollout`), or take it back (`onebaton rollback`).",
        )


def _of_one_image(scene: Scene) -> Iterator[Finding]:
    """A zone in the middle of a roll is rolled to its end first."""
    others = [m for m in scene.old if not scene.wanted.condemns(m.node, m.server.address)]
    if others and not scene.cutting:
        yield Finding(
            "not all servers run on nodes of one image, in their places",
            f"of {scene.wanted.image.name} and size {scene.wanted.size} are not: "
            f"{', '.join(m.server.name for m in others)}",
            "Finish the rollout first: `onebaton rollout`.",
        )


def others_healthy(scene: Scene) -> Iterator[Finding]:
    """While one is taken out, no other is down.

    Before a condemned leader is, one may be: it was restarted to hand over to, or to know that one.
    """
    member = _condemned(scene)
    if member is None or member.is_leader or scene.leader is None:
        return
    down = [m for m in scene.down if m is not member]
    if len(down) == 1 and len(scene.down) == 1:
        yield Finding(
            f"server {down[0].server.id} ({down[0].server.name}) is not healthy either",
            down[0].problem or down[0].health.value,
            f"Repair that one, or replace it first: `onebaton replace {down[0].host.name}`.",
        )


def vip_on_leader(scene: Scene) -> Iterator[Finding]:
    """The leader's machine holds the virtual IP, and nobody else does.

    A leader that was killed keeps it (measured note): the condemned machine may still hold it,
    and gives it up when it is stopped or destroyed.
    """
    two = {member.host.name for member in (_condemned(scene), scene.leader) if member is not None}
    if len(two) == 1 or set(scene.world.vip_holders) != two:
        yield from one_vip(scene)
