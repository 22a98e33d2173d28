"""What the world will look like after an action that went well.

The planner looks ahead by these; it never believes them: the runner observes anew after every
action and plans anew from what it sees. Ids of servers that have yet to join stand in for the
ones the leader will give, and never leave this package.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from onebaton.model import (
    FrontEndFacts,
    Health,
    LogPosition,
    Member,
    Node,
    NodeSpec,
    NodeState,
    OnedSettings,
    RaftState,
    RaftStatus,
    Server,
    World,
)
from onebaton.plan import projection_cut as cut
from onebaton.plan.actions import (
    Action,
    CutOver,
    Destroy,
    Fence,
    Found,
    GiveUp,
    HandOver,
    Hold,
    Join,
    Park,
    Prepare,
    Provision,
    Refresh,
    Reinstate,
    Restore,
    Retire,
    Seed,
    Swap,
    Unpark,
)
from onebaton.plan.scene import Scene

#: Stands in for the secrets that a zone's first server will make.
SOME_TIME, SOME_MACHINE = 0.0, "to be made"
SECRETS_TO_COME = "to be made by the first server"


def after(scene: Scene, action: Action) -> World:  # noqa: PLR0911, PLR0912 - one case an action
    """The world as it will be seen once ``action`` is done and verified."""
    match action:
        case Provision():
            return _provision(scene, scene.world, action.nodes)
        case Found():
            return _found(scene, action)
        case Seed():
            return _seed(scene, action)
        case Join():
            return _join(scene, action)
        case Refresh():
            return _refresh(scene, action)
        case Retire():
            return _retire(scene, action)
        case Fence():
            return _fence(scene, action)
        case HandOver():
            return _hand_over(scene, action)
        case Park():
            return _park(scene, action)
        case Unpark():
            return _unpark(scene, action)
        case Swap():
            return _swap(scene, action)
        case Restore():
            return _restore(scene, action)
        case Destroy():
            return _destroy(scene, action)
        case Prepare():
            return cut.prepared(scene, action)
        case Hold():
            return cut.held(scene, action)
        case CutOver():
            return cut.cut_over(scene, action)
        case Reinstate():
            return cut.reinstated(scene, action)
        case GiveUp():
            return cut.given_up(scene)
        case _:
            assert_never(action)


def _provision(scene: Scene, world: World, specs: Sequence[NodeSpec]) -> World:
    names = {spec.name for spec in specs}
    nodes = {node.spec.name: node for node in world.nodes}
    nodes |= {spec.name: Node(spec, NodeState.RUNNING, SOME_MACHINE) for spec in specs}
    addresses = {spec.address for spec in specs}
    listed = {m.server.address for m in world.members}
    fresh = {spec.name: _fresh(scene) for spec in specs if spec.address not in listed}
    members = tuple(
        replace(m, node=_node(nodes, m), facts=_fresh(scene))
        if m.server.address in addresses
        else m
        for m in world.members
    )
    others = {name: facts for name, facts in world.node_facts.items() if name not in names}
    ordered = tuple(nodes[name] for name in sorted(nodes))
    return replace(world, nodes=ordered, members=members, node_facts=others | fresh)


def _found(scene: Scene, action: Found) -> World:
    world = scene.world
    spec = _spec(scene, action.node)
    log = LogPosition(last_index=0, last_applied=0, term=1)
    facts = replace(
        _running(scene, _fresh(scene), server_id=0, steered=False),
        known_servers=frozenset({0}),
        database=log,
        schema=scene.wanted.image.schema,
        secret_digest=SECRETS_TO_COME,
        holds_vip=True,
    )
    first = Member(
        Server(0, spec.name, action.server_endpoint),
        Health.HEALTHY,
        raft=RaftStatus(0, RaftState.LEADER, 1, 0, 0, 0, 1, -1),
        version=scene.wanted.image.version,
        lag=0,
        node=scene.node_of(spec),
        facts=facts,
    )
    limits = scene.wanted.limits
    settings = world.settings or OnedSettings(
        "STANDALONE", world.zone.id, 0, limits.election_timeout_ms, 500, 1000, 250_000
    )
    others = {name: f for name, f in world.node_facts.items() if name != spec.name}
    return _listing(replace(world, node_facts=others, settings=settings), (first,))


def _seed(scene: Scene, action: Seed) -> World:
    source = scene.source.facts if scene.source is not None else None

    def seeded(facts: FrontEndFacts) -> FrontEndFacts:
        if source is None:
            return facts
        return replace(
            facts,
            # A copy migrated ahead that is of no use any more goes, and what is held with it.
            oned_active=facts.oned_active and facts.ahead is None,
            ahead=None,
            database=source.database,
            schema=source.schema,
            secret_digest=source.secret_digest,
        )

    world = scene.world
    for name in action.targets:
        world = _with_facts(world, name, seeded)
    return world


def _join(scene: Scene, action: Join) -> World:
    world = scene.world
    spec = _spec(scene, action.node)
    member = scene.member_of(spec)
    seeded = scene.facts_of(spec) or _fresh(scene)
    if member is None:
        server = Server(_next_id(world), spec.name, scene.wanted.endpoint(spec.address))
    else:
        server = member.server
    joined = Member(
        server,
        Health.HEALTHY,
        raft=_following(scene, server.id),
        version=scene.wanted.image.version,
        lag=0,
        node=scene.node_of(spec),
        facts=replace(
            _running(scene, seeded, server_id=server.id, steered=action.steered),
            known_servers=_ids(world) | {server.id},
        ),
    )
    others = tuple(m for m in world.members if m.server.id != server.id)
    unlisted = {name: f for name, f in world.node_facts.items() if name != spec.name}
    grown = _listing(replace(world, node_facts=unlisted), (*others, joined))
    return grown if scene.leader is not None else _elected(grown)


def _next_id(world: World) -> int:
    """The leader will choose; for looking ahead any id does that nobody can have known before.

    An id that a removed server had may be given again; nobody is said to know it then (``Join``).
    """
    known = (m.facts.known_servers for m in world.members if m.facts is not None)
    return max(_ids(world).union(*known), default=-1) + 1


def _elected(world: World) -> World:
    """A zone that lacked a vote has it: the one that stood for election all the time wins."""
    winner = min(m.server.id for m in world.members)

    def settled(member: Member) -> Member:
        leads = member.server.id == winner
        state = RaftState.LEADER if leads else RaftState.FOLLOWER
        raft = member.raft and replace(member.raft, state=state)
        facts = member.facts and replace(member.facts, holds_vip=leads)
        return replace(member, health=Health.HEALTHY, raft=raft, lag=0, facts=facts)

    return replace(world, members=tuple(settled(m) for m in world.members))


def _refresh(scene: Scene, action: Refresh) -> World:
    limits = scene.wanted.limits
    timeout_ms = (
        limits.steered_election_timeout_ms if action.steered else limits.election_timeout_ms
    )
    return _with_facts(
        scene.world,
        action.node,
        lambda facts: replace(
            facts, known_servers=_ids(scene.world), election_timeout_ms=timeout_ms
        ),
    )


def _restore(scene: Scene, action: Restore) -> World:
    normal = scene.wanted.limits.election_timeout_ms
    leader = scene.leader
    leads = leader is not None and leader.host.name == action.node

    def restored(facts: FrontEndFacts) -> FrontEndFacts:
        known = _ids(scene.world) if leads else facts.known_servers
        return replace(facts, known_servers=known, election_timeout_ms=normal, ahead=None)

    return _with_facts(scene.world, action.node, restored)


def _retire(scene: Scene, action: Retire) -> World:
    world = scene.world
    gone = next(m for m in world.members if m.server.id == action.server.id)
    node = scene.node_at(gone.server.address)
    facts = world.node_facts
    if node is not None and gone.facts is not None:
        stopped = replace(
            gone.facts, oned_active=False, oned_masked=True, oned_enabled=False, holds_vip=False
        )
        facts = facts | {node.spec.name: stopped}
    left = tuple(m for m in world.members if m is not gone)
    return _listing(replace(world, node_facts=facts), left)


def _park(scene: Scene, action: Park) -> World:
    def stopped(member: Member) -> Member:
        facts = member.facts and replace(
            member.facts,
            oned_active=False,
            oned_masked=True,
            oned_enabled=False,
            holds_vip=False,
            parked_at=SOME_TIME,
        )
        return replace(member, health=Health.UNHEALTHY, raft=None, lag=None, facts=facts)

    return _with_member(scene.world, action.server, stopped)


def _swap(scene: Scene, action: Swap) -> World:
    def down(member: Member) -> Member:
        return replace(member, health=Health.UNHEALTHY, raft=None, lag=None)

    return _provision(scene, _with_member(scene.world, action.server, down), (action.node,))


def _unpark(scene: Scene, action: Unpark) -> World:
    def back(member: Member) -> Member:
        facts = member.facts and replace(
            _running(scene, member.facts, server_id=member.server.id, steered=False),
            known_servers=_ids(scene.world),
            parked_at=None,
        )
        raft = _following(scene, member.server.id)
        return replace(member, health=Health.HEALTHY, raft=raft, lag=0, problem=None, facts=facts)

    return _with_member(scene.world, action.server, back)


def _with_member(world: World, server: Server, change: Callable[[Member], Member]) -> World:
    members = tuple(change(m) if m.server.id == server.id else m for m in world.members)
    return replace(world, members=members)


def _fence(scene: Scene, action: Fence) -> World:
    world = scene.world
    left = tuple(m for m in world.members if m.server.id != action.server.id)
    nodes = tuple(n for n in world.nodes if n.spec.name != action.node)
    return _listing(replace(world, nodes=nodes), left)


def _hand_over(scene: Scene, action: HandOver) -> World:
    def moved(member: Member) -> Member:
        if member.server.id == action.from_server.id:
            facts = member.facts and replace(
                member.facts, oned_active=False, oned_masked=True, holds_vip=False
            )
            return replace(member, health=Health.UNHEALTHY, raft=None, lag=None, facts=facts)
        leads = scene.successor is not None and member.server == scene.successor.server
        raft = member.raft and replace(
            member.raft,
            state=RaftState.LEADER if leads else RaftState.FOLLOWER,
            term=member.raft.term + 1,
        )
        facts = member.facts and replace(member.facts, holds_vip=leads)
        return replace(member, health=Health.HEALTHY, raft=raft, lag=0, facts=facts)

    world = scene.world
    return replace(world, members=tuple(moved(m) for m in world.members))


def _destroy(scene: Scene, action: Destroy) -> World:
    world = scene.world
    names = set(action.names)
    return replace(
        world,
        nodes=tuple(n for n in world.nodes if n.spec.name not in names),
        node_facts={name: f for name, f in world.node_facts.items() if name not in names},
    )


def _listing(world: World, members: tuple[Member, ...]) -> World:
    servers = tuple(sorted(m.server for m in members))
    ordered = tuple(sorted(members, key=lambda m: m.server.id))
    return replace(world, members=ordered, zone=replace(world.zone, servers=servers))


def _ids(world: World) -> frozenset[int]:
    return frozenset(m.server.id for m in world.members)


def _node(nodes: dict[str, Node], member: Member) -> Node | None:
    return next((n for n in nodes.values() if n.spec.address == member.server.address), None)


def _spec(scene: Scene, name: str) -> NodeSpec:
    return next(spec for spec in scene.targets if spec.name == name)


def _with_facts(world: World, name: str, change: Callable[[FrontEndFacts], FrontEndFacts]) -> World:
    """The world with the facts of one machine changed, member or not."""
    if name in world.node_facts:
        return replace(world, node_facts=world.node_facts | {name: change(world.node_facts[name])})
    members = tuple(
        replace(m, facts=change(m.facts)) if m.facts is not None and m.host.name == name else m
        for m in world.members
    )
    return replace(world, members=members)


def _fresh(scene: Scene) -> FrontEndFacts:
    """A node right after its boot."""
    return FrontEndFacts(
        oned_active=False,
        oned_masked=False,
        oned_enabled=False,
        holds_vip=False,
        server_id=None,
        package_version=scene.wanted.image.version,
        database=None,
        schema=None,
        secret_digest=None,
        known_servers=frozenset(),
        disk_free_bytes=0,
    )


def _running(scene: Scene, facts: FrontEndFacts, *, server_id: int, steered: bool) -> FrontEndFacts:
    limits = scene.wanted.limits
    return replace(
        facts,
        oned_active=True,
        oned_masked=False,
        oned_enabled=True,
        server_id=server_id,
        election_timeout_ms=(
            limits.steered_election_timeout_ms if steered else limits.election_timeout_ms
        ),
    )


def _following(scene: Scene, server_id: int) -> RaftStatus:
    """A follower level with the leader."""
    leader = scene.leader
    if leader is None or leader.raft is None:
        return RaftStatus(server_id, RaftState.FOLLOWER, 1, -1, 0, 0, 1, -1)
    return replace(leader.raft, server_id=server_id, state=RaftState.FOLLOWER)
