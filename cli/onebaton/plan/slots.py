"""Which machines are the same, and in which of its slots a generation lives."""

from onebaton.model import Member, NodeSpec, NodeState, PriorPhase, World
from onebaton.plan.seen import machine_gone, put_away
from onebaton.plan.wanted import Wanted


def identity(spec: NodeSpec) -> tuple[str, str, str]:
    """What makes the same machine from the same image, whatever the image is called by now."""
    return spec.name, spec.address, spec.image_digest


def swaps(wanted: Wanted, world: World) -> bool:
    """New machines take the names and addresses of the old ones.

    Not while a cut-over is under way, which was begun beside the old generation.
    """
    prior = world.prior
    cutting = prior is not None and prior.phase is PriorPhase.CUTTING
    return wanted.strategy == "swap" and not cutting


def half_swapped(wanted: Wanted, member: Member) -> bool:
    """An interrupted swap may have left a server that is down so.

    It is stopped and masked; or its machine is gone; or the new one is there, and boots, is not
    seeded or has not joined; or its image is the one that is given up, whatever it does. A swap
    switches no machine off: whoever did that may switch it on again, with all that it holds.
    """
    if member.node is not None and member.node.state is NodeState.STOPPED:
        return False
    if put_away(member) or machine_gone(member):
        return True
    if member.node is None:
        return False
    digest = member.node.spec.image_digest
    if digest == wanted.image.digest:
        return member.facts is not None or member.raft is None
    return digest == wanted.given_up


def slot_for(wanted: Wanted, world: World) -> str:
    """The slot that already holds new nodes, or else the free one; of a swap, where servers are."""
    listed = {m.server.address for m in world.members}
    there = {identity(node.spec) for node in world.nodes}

    stays = swaps(wanted, world)

    def rank(slot: str) -> tuple[int, int, int, bool, bool, str]:
        addresses = set(wanted.slots[slot])
        specs = wanted.specs(slot)
        new = [spec for spec in specs if identity(spec) in there]
        members = [spec for spec in new if spec.address in listed]
        taken = bool(addresses & listed)
        used = any(n.spec.address in addresses for n in world.nodes)
        held = len(addresses & listed) if stays else 0
        return (-held, -len(members), -len(new), taken, used, slot)

    return min(wanted.slots, key=rank)
