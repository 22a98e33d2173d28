"""Observation: who is healthy, who leads, and what is merely not known."""

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest
from tests.fakes.clock import VirtualClock
from tests.fakes.zone import FakeServer, FakeZoneApi, Reach, endpoint, three_servers

from onebaton.errors import RefusedError, UnavailableError
from onebaton.model import (
    FrontEndFacts,
    Health,
    Host,
    Node,
    NodeSpec,
    NodeState,
    Prior,
    PriorPhase,
    RaftState,
    Schema,
    Server,
    World,
    Zone,
)
from onebaton.rollout.observe import observe

VIP = endpoint("10.0.0.100")
FACTS = FrontEndFacts(
    oned_active=True,
    oned_masked=False,
    oned_enabled=True,
    holds_vip=False,
    server_id=0,
    package_version="6.10.0-1",
    database=None,
    schema=None,
    secret_digest="d",
    known_servers=frozenset({0, 1, 2}),
    disk_free_bytes=10**9,
)


class Machines:
    """``facts_of`` of the port FrontEnds; what it was asked for is kept."""

    def __init__(self, **facts: FrontEndFacts | str) -> None:
        self.facts = facts
        self.asked: list[Host] = []

    def facts_of(self, hosts: Sequence[Host]) -> dict[str, FrontEndFacts | str]:
        self.asked += hosts
        return {h.name: self.facts.get(h.name, "no answer over ssh") for h in hosts}


class Nodes:
    """``nodes`` of the port Platform."""

    def __init__(self, *nodes: Node) -> None:
        self._nodes = nodes

    def nodes(self) -> tuple[Node, ...]:
        return self._nodes


def node(name: str, address: str, state: NodeState = NodeState.RUNNING) -> Node:
    return Node(NodeSpec(name, address, "image", "sha256:1", "a"), state, f"i-{name}")


N1, N2, N3 = (node(f"a{i}", f"10.0.0.{10 + i}") for i in (1, 2, 3))


def look(api: FakeZoneApi, **settings: object) -> World:
    """An observation of a zone of three, on nodes a1, a2, a3 unless told otherwise."""
    arguments = {
        "frontends": Machines(a1=replace(FACTS, holds_vip=True), a2=FACTS, a3=FACTS),
        "platform": Nodes(N1, N2, N3),
        "endpoints": [VIP, *api.servers],
        "max_lag_records": 10,
        "clock": VirtualClock(),
        "rate_interval_s": 0.0,
    } | settings
    return observe(api, **arguments)


@pytest.fixture
def api() -> FakeZoneApi:
    return three_servers()


def server(api: FakeZoneApi, name: str) -> FakeServer:
    return next(s for s in api.servers.values() if s.name == name)


def member(world: World, name: str):
    return next(m for m in world.members if m.server.name == name)


def test_a_healthy_zone(api):
    world = look(api)
    assert [m.server.id for m in world.members] == [0, 1, 2]
    assert [m.health for m in world.members] == [Health.HEALTHY] * 3
    assert [m.problem for m in world.members] == [None] * 3
    assert [m.lag for m in world.members] == [0, 0, 0]
    assert world.leader is not None
    assert world.leader.server.name == "n1"
    assert [m.node for m in world.members] == [N1, N2, N3]
    assert world.vip_holders == ("a1",)
    assert world.node_facts == {}
    assert world.settings is not None
    assert world.settings.log_retention == 250000
    assert {m.version for m in world.members} == {"6.10.0"}


def test_calls_grow_with_the_servers_and_no_faster():
    def calls(size: int) -> int:
        servers = [FakeServer(i, f"n{i}", endpoint(f"10.0.1.{i}")) for i in range(size)]
        servers[0].state = RaftState.LEADER
        api = FakeZoneApi(*servers, vip=VIP)
        look(api)
        return len(api.calls)

    three, six, twelve = calls(3), calls(6), calls(12)
    assert twelve - six <= 2 * (six - three)


def test_no_endpoint_answers(api):
    for each in api.servers.values():
        each.reach = Reach.REFUSES
    with pytest.raises(UnavailableError) as caught:
        look(api)
    assert "unreachable" in caught.value.message
    assert len(caught.value.details) == 4
    assert VIP in caught.value.details[0]
    assert caught.value.resolution


def test_the_next_endpoint_is_asked_when_the_vip_is_dead(api):
    world = look(api, endpoints=[endpoint("10.0.0.99"), endpoint("10.0.0.12")])
    assert len(world.members) == 3


def test_a_wrong_password_is_refused(api):
    api.password_is_right = False
    with pytest.raises(RefusedError) as caught:
        look(api)
    assert "authenticated" in caught.value.message


def test_one_server_with_other_secrets(api):
    server(api, "n2").other_secret = True
    world = look(api)
    assert member(world, "n2").health is Health.UNHEALTHY
    assert "secrets differ" in member(world, "n2").problem
    assert member(world, "n3").health is Health.HEALTHY


def test_hung_is_unknown_and_costs_one_question(api):
    server(api, "n3").reach = Reach.HANGS
    world = look(api)
    assert member(world, "n3").health is Health.UNKNOWN
    assert member(world, "n3").raft is None
    assert member(world, "n3").lag is None
    assert sum(at == endpoint("10.0.0.13") for _, at in api.calls) == 1


def test_down_is_seen_over_ssh(api):
    server(api, "n3").reach = Reach.REFUSES
    down = replace(FACTS, oned_active=False)
    world = look(api, frontends=Machines(a1=FACTS, a2=FACTS, a3=down))
    assert member(world, "n3").health is Health.UNHEALTHY
    assert "not running" in member(world, "n3").problem
    world = look(api, frontends=Machines(a3=replace(down, oned_masked=True)))
    assert "masked" in member(world, "n3").problem


def test_neither_ssh_nor_api_is_unknown(api):
    server(api, "n3").reach = Reach.REFUSES
    world = look(api, frontends=Machines())
    assert member(world, "n3").health is Health.UNKNOWN
    assert member(world, "n3").facts is None


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"state": RaftState.CANDIDATE}, "candidate"),
        ({"state": RaftState.SOLO}, "solo"),
        ({"term": 2}, "is in term 2, the leader in term 1"),
        ({"term": 4294967295}, "other secrets"),
        ({"says_id": 7}, "calls itself server 7"),
        ({"says_id": -1}, "SERVER_ID is wrong"),
        ({"sees": frozenset({1, 2})}, "lists the servers 1, 2, the leader lists 0, 1, 2"),
    ],
)
def test_an_unhealthy_follower(api, change, text):
    for name, value in change.items():
        setattr(server(api, "n2"), name, value)
    world = look(api)
    assert member(world, "n2").health is Health.UNHEALTHY
    assert text in member(world, "n2").problem
    assert member(world, "n1").health is Health.HEALTHY
    assert member(world, "n3").health is Health.HEALTHY


@pytest.mark.parametrize(("behind", "health"), [(10, Health.HEALTHY), (11, Health.LAGGING)])
def test_the_lag_that_is_allowed(api, behind, health):
    server(api, "n2").log_index -= behind
    world = look(api)
    assert member(world, "n2").lag == behind
    assert member(world, "n2").health is health


def test_ahead_of_the_leader_is_no_negative_lag(api):
    server(api, "n2").log_index += 5
    assert member(look(api), "n2").lag == 0


def test_lag_is_judged_while_writes_go_on(api):
    """The followers are asked first, then 100 records are written, then the leader is asked."""
    asked = threading.Barrier(3)
    leader = endpoint("10.0.0.11")

    def write(method: str, at: str) -> None:
        if method == "version" and at != leader:
            asked.wait(5)  # a follower has said its log index by now
        if method == "raft_status" and at == leader:
            asked.wait(5)
            for each in api.servers.values():
                each.log_index += 100

    api.before = write
    world = look(api)
    assert [m.lag for m in world.members] == [0, 0, 0]
    assert [m.health for m in world.members] == [Health.HEALTHY] * 3


def test_a_follower_that_stands_still_is_seen_while_writes_go_on(api):
    def write(_method: str, _endpoint: str) -> None:
        server(api, "n1").log_index += 100
        server(api, "n3").log_index += 100

    api.before = write
    world = look(api)
    assert member(world, "n2").health is Health.LAGGING
    assert member(world, "n3").health is Health.HEALTHY


def test_no_leader(api):
    server(api, "n1").state = RaftState.FOLLOWER
    world = look(api, endpoints=list(api.servers))
    assert world.leader is None
    assert world.settings is None
    assert {m.health for m in world.members} == {Health.UNHEALTHY}
    assert {m.problem for m in world.members} == {"the zone has no leader"}


def test_two_leaders_are_two_leaders(api):
    server(api, "n2").state = RaftState.LEADER
    server(api, "n2").term = 2
    world = look(api)
    assert world.leader is None
    assert [m.server.name for m in world.members if m.is_leader] == ["n1", "n2"]
    assert "2 leaders: n1, n2" in member(world, "n1").problem
    assert {m.health for m in world.members} == {Health.UNHEALTHY}


def test_two_holders_of_the_vip_are_two(api):
    both = replace(FACTS, holds_vip=True)
    assert look(api, frontends=Machines(a1=both, a3=both)).vip_holders == ("a1", "a3")


def test_the_leaders_list_counts_when_the_first_to_answer_is_behind(api):
    server(api, "n2").sees = frozenset({0, 1})
    world = look(api, endpoints=[endpoint("10.0.0.12")])
    assert [m.server.id for m in world.members] == [0, 1, 2]
    assert len(world.zone.servers) == 3
    assert member(world, "n2").health is Health.UNHEALTHY


def test_a_disabled_zone(api):
    api.enabled = False
    assert not look(api).zone.enabled


def test_nodes_that_are_no_members(api):
    spare, gone = node("b1", "10.0.0.21"), node("b2", "10.0.0.22", NodeState.VANISHED)
    machines = Machines(b1=replace(FACTS, holds_vip=True), a1=FACTS)
    world = look(api, frontends=machines, platform=Nodes(N1, spare, gone))
    assert set(world.node_facts) == {"b1"}
    assert world.vip_holders == ("b1",)
    assert member(world, "n2").node is None
    assert member(world, "n2").host == Host("n2", "10.0.0.12")
    asked = [(h.name, h.address) for h in machines.asked]
    assert asked == [
        ("a1", "10.0.0.11"),
        ("n2", "10.0.0.12"),
        ("n3", "10.0.0.13"),
        ("b1", "10.0.0.21"),
    ]


def test_a_machine_of_somebody_else_with_a_nodes_name(api):
    """The server n2 runs elsewhere, and a node that is no member is called n2 too."""
    namesake = node("n2", "10.0.0.21")
    world = look(
        api,
        frontends=Machines(n2=replace(FACTS, holds_vip=True)),
        platform=Nodes(namesake),
    )
    assert member(world, "n2").facts is None
    assert world.node_facts["n2"].holds_vip


def test_records_per_second(api):
    clock = VirtualClock(on_sleep=lambda _: setattr(server(api, "n1"), "log_index", 140))
    world = look(api, clock=clock, rate_interval_s=0.5)
    assert world.read_at == clock.monotonic() - 0.5
    assert world.records_per_second == pytest.approx(80.0)
    assert clock.monotonic() == 0.5


def test_an_answer_past_the_deadline_is_unknown(api):
    over = threading.Event()

    def hang(_method: str, at: str) -> None:
        if at == endpoint("10.0.0.13"):
            over.wait(5)

    api.before = hang
    try:
        world = look(api, deadline_s=0.2)
    finally:
        over.set()
    assert member(world, "n3").health is Health.UNKNOWN
    assert "within 0.2 s" in member(world, "n3").problem
    assert member(world, "n2").health is Health.HEALTHY


def test_a_list_that_comes_with_the_next_heartbeat_is_the_leaders(api):
    """A follower applies an ``addserver`` only when it hears that it was committed."""
    server(api, "n2").sees = frozenset({0, 1})

    def heartbeat(now: float) -> None:
        if now >= 100.5:
            server(api, "n2").sees = None

    clock = VirtualClock(100.0, heartbeat)
    assert member(look(api, clock=clock), "n2").health is Health.HEALTHY
    assert clock.now() <= 101.0


# In the middle of a cut-over

OLD = Zone(
    0,
    "OpenNebula",
    True,
    tuple(Server(i, f"n{i + 1}", endpoint(f"10.0.0.{11 + i}")) for i in range(3)),
)
PRIOR = Prior(
    zone=OLD,
    leader_id=0,
    node="b1",
    schema=Schema("6.10.0", "6.10.0"),
    version="6.10.0",
    image_digest="sha256:2",
    way="stand-by",
    phase=PriorPhase.CUTTING,
    began_at=0.0,
)


@pytest.mark.parametrize("phase", list(PriorPhase))
def test_the_record_of_a_cut_over_is_part_of_the_world(api, phase):
    prior = replace(PRIOR, phase=phase)
    world = look(api, prior=prior)
    assert world.prior == prior
    assert world.leader is not None
    assert world.zone.servers == OLD.servers


def test_while_cutting_over_nobody_but_the_vip_speaks_for_the_zone():
    """The new server answers at its own address; the old ones are stopped."""
    new = FakeServer(3, "b1", endpoint("10.0.0.21"), state=RaftState.CANDIDATE)
    api = FakeZoneApi(new, vip=VIP)
    spare = node("b1", "10.0.0.21")
    machines = Machines(b1=FACTS, a1=replace(FACTS, oned_active=False, oned_masked=True))
    world = look(api, prior=PRIOR, frontends=machines, platform=Nodes(N1, N2, N3, spare))
    assert world.zone == OLD
    assert [m.server for m in world.members] == list(OLD.servers)
    assert world.leader is None
    first = member(world, "n1")
    assert first.facts is not None
    assert first.facts.oned_masked
    assert "masked" in first.problem
    assert world.node_facts["b1"].oned_active
    assert not any(at == new.endpoint for _, at in api.calls)


def test_the_new_zone_is_the_zone_once_it_answers_at_the_vip():
    new = FakeServer(3, "b1", endpoint("10.0.0.21"), state=RaftState.LEADER)
    world = look(FakeZoneApi(new, vip=VIP), prior=PRIOR, platform=Nodes(node("b1", "10.0.0.21")))
    assert [m.server.name for m in world.members] == ["b1"]
    assert world.leader is not None


@pytest.mark.parametrize("phase", [PriorPhase.SERVED, PriorPhase.FINAL])
def test_a_zone_that_is_down_after_a_cut_over_is_unreachable_and_not_the_old_one(phase):
    with pytest.raises(UnavailableError):
        look(FakeZoneApi(vip=VIP), prior=replace(PRIOR, phase=phase), endpoints=[VIP])


def test_a_stand_by_that_is_held_does_not_speak_for_the_zone():
    """Its list is filled up with servers at its own loopback."""
    nowhere = FakeServer(1003, "nobody", endpoint("127.0.0.1"))
    held = FakeServer(3, "b1", endpoint("10.0.0.21"), state=RaftState.CANDIDATE)
    api = FakeZoneApi(held, nowhere, vip=VIP)
    with pytest.raises(UnavailableError) as caught:
        look(api, endpoints=[VIP, held.endpoint])
    assert any("held" in text for text in caught.value.details)
