"""Gates about machines: the places of new nodes, and what runs or lies where it should not."""

from collections.abc import Iterator

from onebaton.model import AheadStage, Node, NodeState, machine_of
from onebaton.plan.findings import Finding
from onebaton.plan.scene import Scene
from onebaton.plan.seen import stage_of
from onebaton.plan.swapping import in_place

GIVE_UP_OR_TAKE_BACK = (
    "Make the cut-over final (`onebaton finalize`), or take it back (`onebaton rollback`)."
)


def places_free(scene: Scene) -> Iterator[Finding]:
    """Names and addresses of the new nodes belong to nobody else in the zone.

    Those of a swap belong to the machines whose places they take.
    """
    yield from places_kept(scene)
    if scene.swaps:
        yield from in_place(scene)
        return
    wanted = scene.wanted
    if len(scene.targets) < wanted.size:
        yield Finding(
            f"generation {scene.slot} has too few addresses",
            f"{len(scene.targets)} of {wanted.size}",
            "Complete network.generations in the configuration.",
        )
    for spec in scene.targets:
        for member in scene.world.members:
            server = member.server
            if server.address == spec.address and scene.node_of(spec) is None:
                yield Finding(
                    f"the address of the new node {spec.name} is in use",
                    f"server {server.id} ({server.name}) answers at {server.endpoint}",
                    "Both generations' addresses hold servers: finish or take back the rollout "
                    "that brought them there, or configure other addresses.",
                )
            elif server.name == spec.name and server.address != spec.address:
                yield Finding(
                    f"the name of the new node {spec.name} is in use",
                    f"server {server.id} at {server.endpoint}",
                    "OpenNebula takes a second server of a name without a word: rename that one.",
                )


def strays(scene: Scene) -> tuple[Node, ...]:
    """Nodes outside of the zone where ``oned`` runs, and may be elected.

    The second server of a zone that was cut over is started before it is listed, and waits.
    """
    listed = {m.server.address for m in scene.world.members}
    if scene.second is not None:
        listed.add(scene.second.address)
    return tuple(
        node
        for node in scene.world.nodes
        if node.spec.address not in listed
        and (facts := scene.world.node_facts.get(node.spec.name)) is not None
        and facts.oned_active
        and stage_of(facts) is not AheadStage.HELD
    )


def no_strays(scene: Scene) -> Iterator[Finding]:
    """A server that runs outside of the zone topples its leader.

    One of the generation that a cut-over left would take writes of its own besides.
    """
    for node in strays(scene):
        yield stray(node)
    prior = scene.world.prior
    ours = {node.spec.address for node in scene.world.nodes}
    for server in prior.zone.servers if prior is not None else ():
        facts = scene.world.node_facts.get(machine_of(server, scene.world.nodes).name)
        kept = server.address in scene.kept_addresses - ours
        if kept and facts is not None and facts.oned_active:
            yield Finding(
                f"oned runs on {server.name}, which the last cut-over stopped for good",
                f"opennebula.service is active at {server.address}",
                "It may take writes that nobody else sees. Stop and mask the unit there.",
            )


def stray(node: Node) -> Finding:
    """What is wrong with a node where ``oned`` runs outside of the zone."""
    return Finding(
        f"oned runs on {node.spec.name}, which is not in the zone",
        f"opennebula.service is active at {node.spec.address}",
        "It votes all the same. Stop and mask the unit there.",
    )


def nothing_only_there(scene: Scene) -> Iterator[Finding]:
    """Images of virtual machines on an old node's own disk would be destroyed with it."""
    for member in scene.old:
        if member.node is not None and member.facts is not None and member.facts.local_datastores:
            yield Finding(
                f"{member.host.name} holds images on its own disk",
                "files under /var/lib/one/datastores, which is not mounted from elsewhere",
                "Its machine would be destroyed with them: move the datastores to storage that "
                "all front-ends share.",
            )


def seeds_replaceable(scene: Scene) -> Iterator[Finding]:
    """A running ``oned`` whose database has to be replaced is stopped by its operator."""
    for member in scene.down:
        spec = scene.target_of(member)
        if spec is None or member.facts is None or not member.facts.oned_active:
            continue
        node = scene.node_of(spec)
        running = node is not None and node.state is NodeState.RUNNING
        if not running or scene.leader is None or scene.is_seeded(spec):
            continue
        if member.facts.database is None:
            yield Finding(
                f"the database of {member.server.name} does not answer",
                "oned runs there, and its log position cannot be read",
                "Start mariadb.service on it, then run the same command again.",
            )
        else:
            yield Finding(
                f"{member.server.name} runs on a database that cannot catch up",
                "the leader no longer holds the records that it lacks, or its secrets differ",
                "Stop opennebula.service on it: it is then seeded anew.",
            )


def places_kept(scene: Scene) -> Iterator[Finding]:
    """The generation that a cut-over left holds its places until nobody needs it any more.

    A further cut-over is refused for any that is kept (:func:`nothing_kept`).
    """
    if scene.changes_schema:
        return
    names = {node.spec.name for node in scene.kept}
    taken = [
        spec.name
        for spec in scene.targets
        if spec.name in names or spec.address in scene.kept_addresses
    ]
    if taken:
        yield Finding(
            "the generation that a cut-over left is kept where new nodes are to be",
            f"needed: {', '.join(taken)}",
            GIVE_UP_OR_TAKE_BACK,
        )


def nothing_kept(scene: Scene) -> Iterator[Finding]:
    """A second cut-over would leave no way back from the first."""
    ours = {address for slot in scene.wanted.slots.values() for address in slot}
    foreign = scene.kept_addresses - ours
    if scene.kept or foreign:
        names = [node.spec.name for node in scene.kept]
        yield Finding(
            "the generation that the last cut-over left is still kept",
            ", ".join([*names, *sorted(foreign)]),
            GIVE_UP_OR_TAKE_BACK,
        )
