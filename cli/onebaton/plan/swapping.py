"""Swap: a new machine takes its predecessor's address, name and server id.

Nothing in the zone changes: no server is added or deleted, and nobody who knows the servers by
name or address has to learn anything, but the host keys of the new machines. The price is one
healthy voter less, and a restart's time for each server. One server at a time is stopped and
masked; its machine is made anew in its place, is seeded from another one, and goes on under the
server's id, as it would after a restart (measured note). The leader comes last: it hands over to a
server that was swapped, and is swapped as a follower.

**Invariants**, in every world that a plan passes through and at the worst moment of each action:

1. A majority of the voters is *seen healthy*, the one that is swapped not counted.
2. At most one member is not caught up: the next one is stopped only when all are level. Where
   another one's machine vanishes meanwhile, they come back one after the other.
3. The leader is never swapped; one single :class:`~onebaton.plan.actions.HandOver` makes it an
   ordinary, stopped member.
4. A machine is destroyed only when its server was seen stopped and masked, and a majority without
   it was then seen to hold all that the leader holds. On the way back from an image that is given
   up a new machine that does not answer is destroyed as it is: only then it cannot vote.
5. Names, addresses and ids of the zone's servers are the same in all of them.

It is planned from the world alone. Where a killed run left a place without a machine, it is the
one that was being swapped: a swap makes one that vanished by itself anew in the same way.
"""

from collections.abc import Iterator

from onebaton.plan.actions import Provision, Swap
from onebaton.plan.findings import Finding
from onebaton.plan.rules import Choice
from onebaton.plan.scene import Scene
from onebaton.plan.seen import machine_gone, put_away

#: Of fewer voters none can be missed.
SMALLEST = 3
ANOTHER_WAY = "Set rollout.strategy to surge or one-by-one for this rollout."


# The rules that a swap has besides those of a roll


def fill_place(scene: Scene) -> Choice | None:
    """A server whose machine is gone gets the new one."""
    for member in scene.old:
        spec = scene.place_of(member)
        if spec is not None and machine_gone(member):
            return Provision((spec,)), f"{spec.name} is a member, and its machine is gone"
    return None


def swap_stopped(scene: Scene) -> Choice | None:
    """An old server that is down was being swapped, and is gone on with."""
    for member in scene.old:
        spec = scene.place_of(member)
        if spec is not None and member in scene.exchanged:
            how = "stopped and masked" if put_away(member) else "down, and its image is given up"
            return Swap(member.server, spec), f"{member.server.name} is {how}, and a voter"
    return None


def swap_follower(scene: Scene) -> Choice | None:
    """The next old server that does not lead."""
    for member in scene.old:
        spec = scene.place_of(member)
        if spec is not None and not member.is_leader and not scene.down:
            return (
                Swap(member.server, spec),
                "one at a time, and all others level; it keeps its name, address and id",
            )
    return None


# What must be so


def same_schema_only(scene: Scene) -> Iterator[Finding]:
    """A cut-over keeps the old generation for the way back, and needs places beside it."""
    if scene.swaps and scene.changes_schema:
        image = scene.wanted.image
        yield Finding(
            "a change of the database schema cannot be swapped",
            f"the zone has schema {scene.schema}, {image.version} requires {image.schema}; the "
            "old machines have to stay until the cut-over is final, in their places",
            "Set rollout.strategy to surge: the cut-over brings the new generation up beside the "
            "old one.",
        )


def in_place(scene: Scene) -> Iterator[Finding]:
    """Every server has a machine of ours in a place of one generation, and none is to come."""
    yield from same_schema_only(scene)
    members, size = scene.world.members, scene.wanted.size
    if len(members) < SMALLEST and scene.old:
        yield Finding(
            f"a zone of {'one server' if len(members) == 1 else 'two servers'} cannot be swapped",
            f"{len(members)} listed; while a machine is made anew its server is down, and the "
            "others have no majority",
            "Grow the zone to three servers first, by another strategy. For a single server "
            "there is the planned outage: stop it, move its database to the new node, start it.",
        )
    elif len(members) != size or len(scene.targets) < size:
        yield Finding(
            "a swap changes nothing in the zone, and so not its size",
            f"{len(members)} servers listed, {size} wanted, {len(scene.targets)} addresses in "
            f"generation {scene.slot}",
            f"{ANOTHER_WAY} A rollout that was begun so is finished so.",
        )
    for member in members:
        server, node, spec = member.server, member.node, scene.place_of(member)
        if spec is None or spec.name != server.name or (node and node.spec.name != spec.name):
            yield Finding(
                f"server {server.id} ({server.name}) is not in a place of generation {scene.slot}",
                f"it answers at {server.endpoint}",
                f"A swap takes over names and addresses of network.generations. {ANOTHER_WAY}",
            )
        elif node is None and not machine_gone(member):
            yield Finding(
                f"the machine of {server.name} is somebody else's",
                f"the platform holds none at {server.address}",
                f"It cannot be made anew in its place. {ANOTHER_WAY}",
            )
