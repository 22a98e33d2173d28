"""What the world will look like after the actions of a cut-over that went well.

As in :mod:`onebaton.plan.projection`: looked ahead by, never believed. Moments and the server
id that is to come stand in for those that will be seen, and never leave this package.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from onebaton.model import (
    UNKNOWN_SCHEMA,
    Ahead,
    AheadStage,
    FrontEndFacts,
    Health,
    LogPosition,
    Member,
    NodeSpec,
    Prior,
    PriorPhase,
    RaftState,
    RaftStatus,
    Server,
    World,
    machine_of,
)
from onebaton.plan.actions import CutOver, Hold, Prepare, Reinstate
from onebaton.plan.scene import Scene

#: Stands in for moments that are to come.
SOME_TIME = 0.0


def prepared(scene: Scene, action: Prepare) -> World:
    """Copies on all targets are migrated, and follow."""

    def migrated(facts: FrontEndFacts) -> FrontEndFacts:
        warm = facts.ahead.warm if facts.ahead is not None else facts.database
        return replace(
            facts,
            database=warm,
            schema=scene.wanted.image.schema,
            ahead=Ahead(AheadStage.MIGRATED, warm),
        )

    return _changed(scene.world, action.targets, migrated)


def held(scene: Scene, action: Hold) -> World:
    """The next release runs on the node, outside of the zone."""

    def running(facts: FrontEndFacts) -> FrontEndFacts:
        warm = facts.ahead.warm if facts.ahead is not None else None
        return replace(
            facts,
            oned_active=True,
            oned_masked=False,
            server_id=next_id(scene.world),
            election_timeout_ms=scene.wanted.limits.steered_election_timeout_ms,
            ahead=Ahead(AheadStage.HELD, warm),
        )

    return _changed(scene.world, (action.node,), running)


def cut_over(scene: Scene, action: CutOver) -> World:
    """The new zone is one server; the old ones are machines outside of it, put away."""
    world = scene.world
    prior = _noted(scene, action)
    spec = next(spec for spec in scene.targets if spec.name == action.node)
    last = LogPosition(prior.cut_index or 0, prior.cut_index or 0, 1)
    put_away = {
        member.host.name: _stopped(member.facts)
        for member in world.members
        if member.facts is not None and member.server in prior.zone.servers
    }
    world = replace(world, node_facts=world.node_facts | put_away)
    if action.way == "stand-by":
        world = _changed(world, action.others, lambda facts: _settled(facts, last))
    first = _first(scene, spec, world.node_facts.get(spec.name), last)
    return replace(
        world,
        zone=replace(prior.zone, enabled=True, servers=(first.server,)),
        members=(first,),
        node_facts={name: f for name, f in world.node_facts.items() if name != spec.name},
        prior=prior,
    )


def reinstated(scene: Scene, action: Reinstate) -> World:
    """The old generation serves as it did; the new machines are stopped for good."""
    world = scene.world
    prior = world.prior
    known = world.node_facts | {m.host.name: m.facts for m in world.members if m.facts is not None}
    leader_id = prior.leader_id if prior is not None else action.servers[0].id
    members = tuple(
        _back(scene, server, known, leads=server.id == leader_id) for server in action.servers
    )
    names = {member.host.name for member in members}
    outside = {name: facts for name, facts in known.items() if name not in names}
    emptied = {
        name: replace(_stopped(facts), database=None, schema=None, ahead=None)
        for name, facts in outside.items()
        if name in action.stop
    }
    return replace(
        world,
        zone=replace(prior.zone if prior is not None else world.zone, servers=action.servers),
        members=members,
        node_facts=outside | emptied,
        prior=None,
    )


def given_up(scene: Scene) -> World:
    """The cut-over is final."""
    prior = scene.world.prior
    return replace(scene.world, prior=prior and replace(prior, phase=PriorPhase.FINAL))


def next_id(world: World) -> int:
    """The id after all that are, or were, known; any that nobody knew does for looking ahead."""
    zone = world.prior.zone if world.prior is not None else world.zone
    known = (m.facts.known_servers for m in world.members if m.facts is not None)
    ids = {server.id for server in (*zone.servers, *world.zone.servers)}
    return max(ids.union(*known), default=-1) + 1


def _noted(scene: Scene, action: CutOver) -> Prior:
    """The record as it will be: of the cut that is under way, or of the one to come."""
    world = scene.world
    if world.prior is not None and world.prior.phase is PriorPhase.CUTTING:
        return replace(world.prior, phase=PriorPhase.SERVED, served_at=SOME_TIME)
    leader = scene.leader
    return Prior(
        zone=world.zone,
        leader_id=leader.server.id if leader is not None else -1,
        node=action.node,
        schema=scene.schema or UNKNOWN_SCHEMA,
        version=leader.version if leader is not None else None,
        image_digest=scene.wanted.image.digest,
        way=action.way,
        phase=PriorPhase.SERVED,
        began_at=SOME_TIME,
        cut_index=leader.raft.log_index if leader is not None and leader.raft is not None else 0,
        served_at=SOME_TIME,
    )


def _first(scene: Scene, spec: NodeSpec, facts: FrontEndFacts | None, last: LogPosition) -> Member:
    """The new zone's one server. A cut that was nearly through shows it as a member already."""
    there = scene.member_of(spec)
    facts = facts or (there.facts if there is not None else None)
    world = scene.world
    server = (
        there.server
        if there is not None
        else Server(next_id(world), spec.name, scene.wanted.endpoint(spec.address))
    )
    index = last.last_index
    return Member(
        server,
        Health.HEALTHY,
        raft=RaftStatus(server.id, RaftState.LEADER, 1, server.id, index, index, 1, -1),
        version=scene.wanted.image.version,
        lag=0,
        node=scene.node_of(spec),
        facts=facts
        and replace(
            _settled(facts, last),
            schema=scene.wanted.image.schema,
            oned_active=True,
            oned_masked=False,
            oned_enabled=True,
            holds_vip=True,
            server_id=server.id,
            known_servers=frozenset({server.id}),
            election_timeout_ms=scene.wanted.limits.steered_election_timeout_ms,
        ),
    )


def _back(scene: Scene, server: Server, known: dict[str, FrontEndFacts], *, leads: bool) -> Member:
    node = scene.node_at(server.address)
    facts = known.get(machine_of(server, scene.world.nodes).name)
    last = facts.database.last_index if facts is not None and facts.database is not None else 0
    state = RaftState.LEADER if leads else RaftState.FOLLOWER
    return Member(
        server,
        Health.HEALTHY,
        raft=RaftStatus(server.id, state, 1, -1, last, last, 1, -1),
        version=scene.world.prior.version if scene.world.prior is not None else None,
        lag=0,
        node=node,
        facts=facts
        and replace(facts, oned_active=True, oned_masked=False, oned_enabled=True, holds_vip=leads),
    )


def _settled(facts: FrontEndFacts, last: LogPosition) -> FrontEndFacts:
    """The copy stands at the old zone's last record, and nothing else is left of the way."""
    return replace(facts, database=last, ahead=None)


def _stopped(facts: FrontEndFacts) -> FrontEndFacts:
    return replace(facts, oned_active=False, oned_masked=True, oned_enabled=False, holds_vip=False)


def _changed(
    world: World, names: Iterable[str], change: Callable[[FrontEndFacts], FrontEndFacts]
) -> World:
    """The world with the facts of some machines outside of the zone changed."""
    changed = {name: change(world.node_facts[name]) for name in names if name in world.node_facts}
    return replace(world, node_facts=world.node_facts | changed)
