"""Who is in the zone, on which nodes, and who holds its address."""

from collections.abc import Iterator

from onebaton.drift import Drift
from onebaton.model import Health, Member, Node, NodeState, PriorPhase
from onebaton.plan.drift.sight import Sight
from onebaton.plan.seen import parked


def members(sight: Sight) -> Iterator[Drift]:
    wanted, world = sight.wanted, sight.world
    zone = f"zone {wanted.zone}"
    if not world.zone.enabled:
        yield Drift(
            "members", zone, "enabled", "disabled", "Enable it: `onezone enable`, as oneadmin."
        )
    if world.leader is None:
        yield Drift(
            "members",
            zone,
            "one server that leads",
            ", ".join(m.server.name for m in world.members if m.is_leader) or "none",
            "Look at `onebaton doctor`: it says what keeps the servers from an election.",
        )
    if len(world.members) != wanted.size:
        yield Drift(
            "members",
            zone,
            f"{wanted.size} servers",
            f"{len(world.members)}: {', '.join(m.server.name for m in world.members)}",
            "`onebaton rollout` brings it to its size; or correct zone.size.",
        )
    for member in world.members:
        yield from _member(sight, member)


def _member(sight: Sight, member: Member) -> Iterator[Drift]:
    server, node = member.server, member.node
    place = f"server {server.id} ({server.name})"
    if node is None:
        yield Drift(
            "members",
            place,
            "a node of this cluster",
            f"a machine of somebody else at {server.address}",
            "`onebaton rollout` replaces it by a node; if it should not be in the zone at all, "
            f"stop and mask its oned, then `onezone server-del {sight.world.zone.id} {server.id}`.",
        )
    else:
        if node.spec.name != server.name:
            yield Drift(
                "members",
                place,
                f"the name of its node, {node.spec.name}",
                server.name,
                f"`onebaton replace {node.spec.name}` adds it anew, under the node's name.",
            )
        if node.state is not NodeState.RUNNING:
            return  # told of the node
    expected = sight.wanted.endpoint(server.address)
    if server.endpoint != expected:
        yield Drift(
            "members",
            place,
            expected,
            server.endpoint,
            "Correct zone.port, or let `onebaton rollout` add servers under the configured one.",
        )
    if member.health is not Health.HEALTHY:
        name = node.spec.name if node is not None else server.name
        yield Drift(
            "members",
            place,
            "healthy",
            member.problem or member.health.value,
            f"`onebaton unpark {name}` brings it back into service."
            if parked(member)
            else f"Look at `onebaton doctor`; `onebaton replace {name}` makes the machine anew.",
        )


def nodes(sight: Sight) -> Iterator[Drift]:
    wanted, scene = sight.wanted, sight.scene
    listed = {m.server.address: m for m in sight.world.members}
    places = list(enumerate(wanted.slots[sight.slot][: wanted.size], start=1))
    names = {address: f"{wanted.zone}-{sight.slot}{i}" for i, address in places}
    for address, name in names.items():
        node = scene.node_at(address)
        member = listed.get(address)
        if node is None:
            if member is None:
                yield Drift(
                    "nodes",
                    name,
                    f"a machine at {address}",
                    "there is none",
                    "`onebaton rollout` makes it.",
                )
            continue  # the machine of somebody else was told of its server
        if node.spec.name != name:
            yield Drift(
                "nodes",
                address,
                name,
                node.spec.name,
                "Correct zone.name, or roll: new nodes are named by the configuration.",
            )
        yield from _standing(sight, node, member)
    kept = {node.spec.name for node in scene.kept}
    for node in sight.world.nodes:
        if node.spec.address in names:
            continue
        yield from _kept(sight, node) if node.spec.name in kept else _surplus(sight, node)
    for address, found in sight.strangers.items():
        yield Drift(
            "nodes",
            address,
            "nobody: the configuration keeps it for a node",
            found,
            "Find out whose machine that is, and stop it; or correct network.generations.",
        )


def _standing(sight: Sight, node: Node, member: Member | None) -> Iterator[Drift]:
    """A node that should serve."""
    name = node.spec.name
    again = f"`onebaton replace {name}`" if member is not None else "`onebaton rollout`"
    facts = member.facts if member is not None else sight.world.node_facts.get(name)
    if node.state is NodeState.STOPPED:
        yield Drift(
            "nodes",
            name,
            "running",
            "stopped",
            f"Start the machine where it runs, or make it anew: {again}.",
        )
    elif node.state is NodeState.VANISHED:
        yield Drift(
            "nodes",
            name,
            "running",
            "recorded, and there is no such machine",
            f"Make it anew: {again}.",
        )
    elif facts is None:
        yield Drift(
            "nodes",
            name,
            "answers over ssh",
            "does not, so that it cannot be told how it stands",
            f"Look at the machine, or make it anew: {again}.",
        )
    elif member is None:
        yield Drift(
            "nodes",
            name,
            "a server of the zone",
            "oned runs outside of it" if facts.oned_active else "it is none",
            "`onebaton rollout` takes it in, or replaces it.",
        )
    elif facts.oned_active and (facts.oned_masked or not facts.oned_enabled):
        yield Drift(
            "nodes",
            name,
            "opennebula.service enabled",
            "masked" if facts.oned_masked else "disabled",
            "Run `systemctl unmask opennebula` and `systemctl enable opennebula` there.",
        )


def _surplus(sight: Sight, node: Node) -> Iterator[Drift]:
    facts = sight.world.node_facts.get(node.spec.name)
    inside = any(m.server.address == node.spec.address for m in sight.world.members)
    runs = facts is not None and facts.oned_active
    standing = "a server of the zone" if inside else "oned runs on it, outside of the zone"
    yield Drift(
        "nodes",
        node.spec.name,
        f"no such node: generation {sight.slot} serves",
        f"{node.state.value}, {standing if inside or runs else 'outside of the zone'}",
        "`onebaton rollout` ends with no node left over.",
    )


def _kept(sight: Sight, node: Node) -> Iterator[Drift]:
    """A node of the generation that a cut-over left; while it is being stopped all is expected."""
    prior, name = sight.world.prior, node.spec.name
    if prior is None or prior.phase is not PriorPhase.SERVED:
        return
    facts = sight.world.node_facts.get(name)
    if node.state is NodeState.VANISHED:
        found = "recorded, and there is no such machine"
    elif facts is not None and (facts.oned_active or not facts.oned_masked):
        found = "oned runs" if facts.oned_active else "its unit is not masked"
    else:
        return
    yield Drift(
        "nodes",
        name,
        "kept for `onebaton rollback`, stopped and masked",
        found,
        "Mask opennebula.service there if the machine is to be kept; `onebaton finalize` gives "
        "the old generation up.",
    )


def vip(sight: Sight) -> Iterator[Drift]:
    leader = sight.world.leader
    holders = sight.world.vip_holders
    if leader is None or holders == (leader.host.name,):
        return
    unseen = leader.facts is None and not holders
    yield Drift(
        "vip",
        sight.vip.cidr,
        f"on {leader.host.name}, which leads, alone",
        "cannot be told: its machine does not answer"
        if unseen
        else f"on {', '.join(holders) or 'no machine'}",
        f"Take it off the others with `ip address del {sight.vip.cidr} dev "
        f"{sight.vip.interface}`, and see why the hook on {leader.host.name} failed "
        "(/var/log/one/oned.log).",
    )
