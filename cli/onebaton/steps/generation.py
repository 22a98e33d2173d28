"""The generation that a cut-over leaves, and the server that comes after it, from a world."""

from collections.abc import Sequence
from dataclasses import replace

from onebaton.errors import RefusedError
from onebaton.model import Host, Prior, PriorPhase, Server, World, Zone, machine_of
from onebaton.plan.actions import CutOver
from onebaton.steps.site import Site
from onebaton.steps.takeback import OldServer


def old_generation(servers: Sequence[Server], world: World) -> tuple[OldServer, ...]:
    """These servers with their machines; they need not be members any more."""
    hosts = {member.server: member.host for member in world.members}
    return tuple(
        OldServer(server, hosts.get(server) or machine_of(server, world.nodes))
        for server in servers
    )


def server_to_be(site: Site, host: Host, old: Zone) -> Server:
    """What a new node is after the cut: no old server had its id, so that none is taken for it."""
    highest = max(server.id for server in old.servers)
    return Server(highest + 1, host.name, site.endpoint(host.address))


def prior_of(world: World, action: CutOver) -> Prior:
    """What is to be noted of the old generation.

    Where a cut was begun, that is what was noted, unless the old servers went on meanwhile:
    then another one of them may lead.

    :raises RefusedError: if nobody leads, or the leader's machine did not tell its schema.
    """
    record, leader = world.prior, world.leader
    if record is not None and record.phase is PriorPhase.CUTTING:
        if leader is None or leader.server not in record.zone.servers:
            return record
        return replace(record, zone=world.zone, leader_id=leader.server.id)
    if leader is None or leader.facts is None or leader.facts.schema is None:
        raise RefusedError(
            "the zone has no leader, or its machine does not tell the database's schema",
            resolution="Look at it with 'onebaton status'.",
        )
    node = next((n for n in world.nodes if n.spec.name == action.node), None)
    if node is None:
        raise RefusedError(f"there is no node called {action.node}")
    return Prior(
        zone=world.zone,
        leader_id=leader.server.id,
        node=action.node,
        schema=leader.facts.schema,
        version=leader.version,
        image_digest=node.spec.image_digest,
        way=action.way,
        phase=PriorPhase.CUTTING,
        began_at=0.0,
    )
