"""Which machines are the same, and in which of its slots a generation lives."""

from onebaton.model import NodeSpec, World
from onebaton.plan.wanted import Wanted


def identity(spec: NodeSpec) -> tuple[str, str, str]:
    """What makes the same machine from the same image, whatever the image is called by now."""
    return spec.name, spec.address, spec.image_digest


def slot_for(wanted: Wanted, world: World) -> str:
    """The slot that already holds new nodes, or else the free one."""
    listed = {m.server.address for m in world.members}
    there = {identity(node.spec) for node in world.nodes}

    def rank(slot: str) -> tuple[int, int, bool, bool, str]:
        addresses = set(wanted.slots[slot])
        specs = wanted.specs(slot)
        new = [spec for spec in specs if identity(spec) in there]
        members = [spec for spec in new if spec.address in listed]
        taken = bool(addresses & listed)
        used = any(n.spec.address in addresses for n in world.nodes)
        return (-len(members), -len(new), taken, used, slot)

    return min(wanted.slots, key=rank)
