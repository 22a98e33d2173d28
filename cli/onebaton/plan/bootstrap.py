"""Bootstrap: a new zone on the wanted nodes, by the documented way.

The first server starts alone, lists itself and becomes a member of its own zone; each further
one is seeded, listed, started and caught up before the next; in the end every follower that
was started before another one joined is restarted, because it would never learn of that one
(measured note: after a plain failover such a zone refused writes for good).

As in :mod:`onebaton.plan.roll`, the plan is derived from the observed world alone, and is the
rest of itself after any prefix. While the second server joins, two voters are listed and one
runs: the quorum is away for that moment, which only a zone without clients can afford. That is
why a zone is only ever founded on nodes of our own, and never extended to size from one server
by a roll.
"""

from collections.abc import Iterator, Mapping, Sequence

from onebaton.model import FrontEndFacts, Node, NodeState, World, Zone
from onebaton.plan.actions import Found, Join, Plan
from onebaton.plan.findings import Finding, refuse_if_any
from onebaton.plan.gates import enabled, is_parked, standalone
from onebaton.plan.lookahead import look_ahead
from onebaton.plan.places import seeds_replaceable, stray, strays
from onebaton.plan.roll import heal_member, prepare_and_join, refresh
from onebaton.plan.rules import Choice, Rule, first_of, provision, source_name
from onebaton.plan.scene import Scene
from onebaton.plan.seen import parked
from onebaton.plan.wanted import Wanted


def plan_bootstrap(
    wanted: Wanted,
    nodes: Sequence[Node],
    node_facts: Mapping[str, FrontEndFacts],
    world: World | None,
) -> Plan:
    """What is left to do until the wanted zone is there.

    :param nodes: what the platform holds.
    :param node_facts: of the nodes that are not members, by name.
    :param world: what was observed of a zone; ``None`` if none of the wanted addresses answers.
    :raises RefusedError: if another zone lives at those addresses, if nodes of another image
        are in the way, or if the zone is in a state that a bootstrap does not leave behind.
    """
    seen = _with_nodes(wanted, nodes, node_facts, world)
    scene = Scene.of(wanted, seen)
    refuse_if_any(wanted.zone, [*_gates(scene)], again="onebaton bootstrap")
    return Plan(tuple(look_ahead(scene, lambda now: first_of(RUNBOOK, now))))


def _with_nodes(
    wanted: Wanted,
    nodes: Sequence[Node],
    node_facts: Mapping[str, FrontEndFacts],
    world: World | None,
) -> World:
    """The zone as it was observed, or a zone without any server."""
    if world is None:
        nobody = Zone(id=0, name=wanted.zone, enabled=True, servers=())
        return World(nobody, (), tuple(nodes), None, dict(node_facts))
    return World(
        world.zone,
        world.members,
        tuple(nodes),
        world.settings,
        dict(node_facts),
        world.records_per_second,
    )


def found_zone(scene: Scene) -> Choice | None:
    """No server is listed, or the first one alone, and it does not lead yet."""
    first = scene.targets[0]
    others = [m for m in scene.world.members if m.server.address != first.address]
    if scene.leader is not None or others:
        return None
    return provision(scene, (first,), "it is to be the first server") or (
        Found(first.name, scene.wanted.endpoint(first.address)),
        "the first server starts alone, and then leads a zone of one",
    )


def finish_election(scene: Scene) -> Choice | None:
    """Members are listed and none leads: the last one to join is not up, or has just started."""
    if scene.leader is not None or not scene.world.members:
        return None
    silent = [m for m in scene.new if m.raft is None]
    last = max(silent or scene.new, key=lambda m: m.server.id)
    spec = scene.target_of(last)
    if spec is None:
        return None
    return provision(scene, (spec,), f"{spec.name} is a member, and its machine is gone") or (
        Join(
            spec.name,
            scene.wanted.endpoint(spec.address),
            steered=False,
            source=source_name(scene, spec),
        ),
        "its vote is needed to elect a leader",
    )


def provision_all(scene: Scene) -> Choice | None:
    """Every wanted node is there before anything is founded."""
    return provision(scene, scene.waiting, f"runs {scene.wanted.image.version}")


RUNBOOK: tuple[Rule, ...] = (
    provision_all,
    found_zone,
    finish_election,
    heal_member,
    prepare_and_join,
    refresh,
)


def _gates(scene: Scene) -> Iterator[Finding]:
    yield from fit_for_use(scene)
    yield from enabled(scene)
    yield from standalone(scene)
    yield from nobody_else(scene)
    yield from one_at_a_time(scene)
    yield from (is_parked(member) for member in scene.world.members if parked(member))
    yield from seeds_replaceable(scene)
    founding = scene.targets[:1] if not scene.world.members else ()
    for node in strays(scene):
        # Before it is listed, the first server runs alone; no other does.
        if node.spec.name not in {spec.name for spec in founding}:
            yield stray(node)
    yield from asleep(scene)


def fit_for_use(scene: Scene) -> Iterator[Finding]:
    """No zone is founded on a revoked image."""
    if scene.wanted.revoked:
        yield Finding(
            f"the image {scene.wanted.image.name} was revoked",
            scene.wanted.revoked,
            f"Bake {scene.wanted.image.version} again (`onebaton bake`), or choose another "
            "version.",
        )


def asleep(scene: Scene) -> Iterator[Finding]:
    """Followers get databases from a living leader only: these belong to a zone that is down.

    So may a machine that is switched off, as all are after their host was started anew.
    """
    if scene.world.members:
        return
    for node in scene.world.nodes:
        if node.state is NodeState.STOPPED:
            yield Finding(
                f"{node.spec.name} is switched off, and may hold the database of a zone",
                f"the machine at {node.spec.address}, and no server of the zone answers",
                "Switch it on, or remove the nodes if nothing of them is needed "
                "(`onebaton destroy`).",
            )
    for spec in scene.targets[1:]:
        facts = scene.facts_of(spec)
        if facts is not None and facts.database is not None:
            yield Finding(
                f"{spec.name} holds the database of a zone, and no server of it answers",
                f"log index {facts.database.last_index}",
                "Start opennebula.service on the nodes, or remove the nodes if that zone is to "
                "be given up (`onebaton destroy`).",
            )


def nobody_else(scene: Scene) -> Iterator[Finding]:
    """All that is there is of this bootstrap: members, nodes, addresses."""
    if len(scene.targets) < scene.wanted.size:
        yield Finding(
            f"generation {scene.slot} has too few addresses",
            f"{len(scene.targets)} of {scene.wanted.size}",
            "Complete network.generations in the configuration.",
        )
    for member in scene.old:
        server = member.server
        yield Finding(
            "a zone lives here already",
            f"server {server.id} ({server.name}) answers at {server.endpoint} and is not on a "
            "node of the wanted image and size",
            "Use `onebaton rollout` to bring that zone onto this image, or configure addresses "
            "that are free.",
        )
    for node in scene.leftovers:
        yield Finding(
            f"the node {node.spec.name} is not of this zone",
            f"{node.spec.image} at {node.spec.address}",
            "Remove the cluster's nodes first (`onebaton destroy`).",
        )


def one_at_a_time(scene: Scene) -> Iterator[Finding]:
    """A bootstrap leaves at most one member behind that is not up."""
    if scene.leader is None:
        down = [m for m in scene.world.members if m.raft is None]
    else:
        down = list(scene.down)
    unseen = [m for m in down if m.facts is None and not _vanished(scene, m.server.address)]
    if len(down) > 1 or unseen:
        names = ", ".join(f"{m.server.name} ({m.problem or m.health.value})" for m in down)
        yield Finding(
            "members of the zone are down that a bootstrap does not leave down",
            names,
            "Start opennebula.service on them, and see that they answer over ssh.",
        )


def _vanished(scene: Scene, address: str) -> bool:
    node = scene.node_at(address)
    return node is not None and node.state is NodeState.VANISHED
