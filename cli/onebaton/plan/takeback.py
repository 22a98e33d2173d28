"""After a cut-over: take it back, or give the old generation up.

**Taking back** is possible until the cut-over is final, from whatever stands: the new machines
are stopped for good, and only then the old ones start. It may be begun again at any point; the
record of the cut-over goes last.

**Giving up** asks for a new zone that needs nobody's help: complete, healthy, with its virtual
IP. The record says so first; then what the platform holds of the old generation is destroyed.
Machines of somebody else stay as they are.

Invariants: no two generations run at the same time by our doing; an old node is seen stopped
and masked before it is destroyed; no node of a member is destroyed.
"""

from collections.abc import Iterator

from onebaton.errors import RefusedError
from onebaton.model import (
    AheadStage,
    FrontEndFacts,
    Health,
    Node,
    NodeState,
    Prior,
    PriorPhase,
    Server,
    World,
    machine_of,
    node_at,
)
from onebaton.plan.actions import Destroy, GiveUp, Plan, Reinstate, Transition
from onebaton.plan.findings import Finding, refuse_if_any
from onebaton.plan.quorum import Quorum


def plan_rollback(world: World) -> Plan:
    """Bring the old generation back; what was written since the cut is lost.

    :raises RefusedError: without a cut-over, after it was made final, or if an old machine, or
        the new one that leads, is not as it must be for that.
    """
    prior = world.prior
    if prior is None:
        raise RefusedError(
            f"there is no cut-over of the zone {world.zone.name!r} to take back",
            details=["none is recorded, or it was taken back already"],
            resolution="See how the zone stands: `onebaton status`.",
        )
    if prior.phase is PriorPhase.FINAL:
        raise RefusedError(
            "the cut-over is final, and the old generation is given up: there is no way back",
            details=[f"the zone runs on {', '.join(s.name for s in world.zone.servers)}"],
            resolution="A dump of the old database, if there is one, can be restored by hand.",
        )
    found = [*_old_machines(world, prior), *_new_machines(world, prior)]
    refuse_if_any(world.zone.name, found, again="onebaton rollback")
    back = len(prior.zone.servers)
    return Plan(
        (
            Transition(
                Reinstate(new_machines(world, prior), prior.zone.servers),
                f"the cut-over to {prior.node} is taken back: its servers stop, then the old ones "
                "start on their own databases",
                before=_quorum(world),
                during=Quorum(back, back),
                after=Quorum(back, back),
            ),
        )
    )


def plan_finalize(world: World, size: int) -> Plan:
    """Give the old generation up and destroy its nodes; empty if there is nothing to give up.

    :param size: how many servers the zone is to have.
    :raises RefusedError: while a cut-over is under way, or if the new zone is not complete and
        healthy.
    """
    prior = world.prior
    if prior is None:
        return Plan()
    if prior.phase is PriorPhase.CUTTING:
        raise RefusedError(
            "a cut-over is under way: nothing can be made final yet",
            details=[f"to {prior.node}, begun and not served yet"],
            resolution="Go on with it (`onebaton rollout`), or take it back (`onebaton rollback`).",
        )
    old = _old_nodes(world, prior)
    found = [*_not_put_away(world, old)]
    if prior.phase is PriorPhase.SERVED:
        found += [*_incomplete(world, prior, size), *_only_there(world, old)]
    refuse_if_any(world.zone.name, found, again="onebaton finalize")
    now = _quorum(world)
    steps = []
    if prior.phase is PriorPhase.SERVED:
        why = "the new zone is complete and healthy; after this there is no way back"
        steps.append(Transition(GiveUp(prior.zone.servers), why, now, now, now))
    if old:
        names = tuple(node.spec.name for node in old)
        why = "of the generation that was given up, stopped and masked"
        steps.append(Transition(Destroy(names), why, now, now, now))
    return Plan(tuple(steps))


def facts_at(world: World, server: Server) -> FrontEndFacts | None:
    """What was seen over ssh of the machine at a server's address, member or not."""
    for member in world.members:
        if member.server.address == server.address:
            return member.facts
    return world.node_facts.get(machine_of(server, world.nodes).name)


def new_machines(world: World, prior: Prior) -> tuple[str, ...]:
    """Names of the machines that came with the cut-over and are still there, in their order."""
    old = {server.address for server in prior.zone.servers}
    listed = {m.server.address: m.host.name for m in world.members if m.server.address not in old}
    nodes = [
        node.spec.name
        for node in world.nodes
        if node.spec.address not in old
        and node.state is not NodeState.VANISHED
        and (node.spec.image_digest == prior.image_digest or node.spec.address in listed)
    ]
    gone = {n.spec.name for n in world.nodes if n.state is NodeState.VANISHED}
    return tuple(sorted({*nodes, *listed.values()} - gone))


# What must be so before a cut-over is taken back


def _old_machines(world: World, prior: Prior) -> Iterator[Finding]:
    serving = _serving(world, prior)
    for server in prior.zone.servers:
        facts, node = facts_at(world, server), node_at(server.address, world.nodes)
        if facts is None:
            gone = node is not None and node.state is not NodeState.RUNNING
            yield Finding(
                f"the old server {server.name} cannot be brought back as it was",
                f"its machine is {node.state.value}"
                if gone and node is not None
                else f"no answer over ssh at {server.address}",
                "Bring its machine back. If it is lost for good and the old generation is needed, "
                "start the other old servers by hand, the new ones stopped and masked.",
            )
            continue
        yield from _old_database(server, facts, prior)
        if serving and (facts.oned_active or not facts.oned_masked):
            standing = "runs" if facts.oned_active else "is not masked"
            yield Finding(
                f"the old server {server.name} {standing}, and {serving} serves",
                "both generations may have taken writes: neither holds all of them",
                f"Stop and mask opennebula.service on {server.name}; look at what was written "
                "there before the cut-over is taken back.",
            )


def _old_database(server: Server, facts: FrontEndFacts, prior: Prior) -> Iterator[Finding]:
    way_out = "It is not what it was when it served: compare it with its dumps before it is used."
    if facts.database is None:
        yield Finding(f"the old server {server.name} has no database", "none was found", way_out)
    elif facts.schema != prior.schema:
        yield Finding(
            f"the database of the old server {server.name} has another schema",
            f"{facts.schema}, and it was {prior.schema}",
            way_out,
        )
    elif (
        server.id == prior.leader_id
        and prior.cut_index is not None
        and facts.database.last_applied < prior.cut_index
    ):
        yield Finding(
            f"the old leader {server.name} lacks records that it had",
            f"{facts.database.last_applied} applied, and the cut was at {prior.cut_index}",
            way_out,
        )


def _new_machines(world: World, prior: Prior) -> Iterator[Finding]:
    """A new machine that cannot be looked into may lead on while the old ones come back."""
    names = {prior.node, *(m.host.name for m in world.members if m.is_leader)}
    old = {server.address for server in prior.zone.servers}
    for node in world.nodes:
        if node.spec.name not in names or node.spec.address in old:
            continue
        facts = next(
            (m.facts for m in world.members if m.server.address == node.spec.address),
            world.node_facts.get(node.spec.name),
        )
        if facts is None and node.state is not NodeState.VANISHED:
            yield Finding(
                f"the new server {node.spec.name} cannot be stopped",
                f"its machine is {node.state.value} and does not answer over ssh at "
                f"{node.spec.address}; it may serve, now or when it is switched on",
                f"Bring {node.spec.name} back, or remove its machine if it is lost.",
            )


def _serving(world: World, prior: Prior) -> str | None:
    """A new machine where ``oned`` runs and is not held."""
    old = {server.address for server in prior.zone.servers}
    members = {m.host.name: m.facts for m in world.members if m.server.address not in old}
    nodes = {
        n.spec.name: world.node_facts.get(n.spec.name)
        for n in world.nodes
        if n.spec.address not in old and n.spec.image_digest == prior.image_digest
    }
    for name, facts in (nodes | members).items():
        if facts is None or not facts.oned_active:
            continue
        if facts.ahead is None or facts.ahead.stage is not AheadStage.HELD:
            return name
    return None


# What must be so before it is made final


def _incomplete(world: World, prior: Prior, size: int) -> Iterator[Finding]:
    down = [m for m in world.members if m.health is not Health.HEALTHY]
    if world.leader is None:
        yield Finding(
            "the new zone has no leader",
            f"{len(world.members)} servers listed",
            "Make it healthy first: `onebaton status`, `onebaton rollout`.",
        )
    for member in down:
        yield Finding(
            f"server {member.server.id} ({member.server.name}) is {member.health.value}",
            member.problem or "it was not seen healthy",
            "Repair it first: while the old generation is kept, there is a way back.",
        )
    if len(world.members) < size:
        yield Finding(
            "the new zone is not complete",
            f"{len(world.members)} of {size} servers",
            "Let the rollout finish: `onebaton rollout`.",
        )
    leader = world.leader
    if leader is not None and world.vip_holders != (leader.host.name,):
        yield Finding(
            "the virtual IP is not on the leader's machine alone",
            f"{', '.join(world.vip_holders) or 'nobody'} holds it, {leader.host.name} leads",
            "Look at the Raft hooks in oned.conf on these machines.",
        )
    old = {server.address for server in prior.zone.servers}
    again = [m.server.name for m in world.members if m.server.address in old]
    if again:
        yield Finding(
            "servers of the old generation are in the zone",
            ", ".join(again),
            "Retire them first: `onebaton rollout`.",
        )


def _not_put_away(world: World, old: tuple[Node, ...]) -> Iterator[Finding]:
    for node in old:
        facts = world.node_facts.get(node.spec.name)
        if node.state is not NodeState.RUNNING:
            continue
        if facts is None or facts.oned_active or not facts.oned_masked:
            seen = "runs" if facts is not None and facts.oned_active else "is not seen masked"
            yield Finding(
                f"the old node {node.spec.name} is not seen stopped and masked",
                f"no answer over ssh at {node.spec.address}" if facts is None else f"oned {seen}",
                f"Stop and mask opennebula.service on {node.spec.name}.",
            )


def _only_there(world: World, old: tuple[Node, ...]) -> Iterator[Finding]:
    for node in old:
        facts = world.node_facts.get(node.spec.name)
        if facts is not None and facts.local_datastores:
            yield Finding(
                f"{node.spec.name} holds images on its own disk",
                "files under /var/lib/one/datastores, which is not mounted from elsewhere",
                "Its machine would be destroyed with them: move them to storage that all "
                "front-ends share.",
            )


def _old_nodes(world: World, prior: Prior) -> tuple[Node, ...]:
    """The platform's nodes at the old servers' addresses, by name; no members.

    Once the old generation is given up its places are free: what does not hold its database is
    of a later one.
    """
    old = {server.address for server in prior.zone.servers}
    old -= {m.server.address for m in world.members}
    there = (n for n in sorted(world.nodes, key=lambda n: n.spec.name) if n.spec.address in old)
    if prior.phase is not PriorPhase.FINAL:
        return tuple(there)
    seen = ((node, world.node_facts.get(node.spec.name)) for node in there)
    return tuple(node for node, facts in seen if facts is None or facts.schema == prior.schema)


def _quorum(world: World) -> Quorum:
    healthy = sum(1 for m in world.members if m.health is Health.HEALTHY)
    return Quorum(len(world.members), healthy)
