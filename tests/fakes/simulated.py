"""A whole cluster in memory: machines, their ``oned``, a platform, and one clock for all.

Behind the ports the real planner, steps, observer and runner work on it. Time passes when
somebody sleeps and while something is done; clients write all the time. It objects when a zone
is put into danger, and it can let the tool die at any change that it makes.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

from tests.fakes.clock import VirtualClock
from tests.fakes.danger import insist
from tests.fakes.faults import Faults
from tests.fakes.frontends import SCHEMA, FakeDatabase, FakeMachine
from tests.fakes.generations import insist_one_generation
from tests.fakes.platform import FakePlatform
from tests.fakes.simulated_api import SimulatedApi
from tests.fakes.simulated_frontends import TRAFFIC, SimulatedFrontEnds
from tests.fakes.simulated_raft import TICK_S, WARM_UP_S, ZONE_POOL, Oned, Raft, servers_in
from tests.fakes.standby import FakePriors, FakeStandBy
from tests.fakes.zone import INTERNAL, endpoint, refusal

from onebaton.errors import RefusedError, UnavailableError
from onebaton.model import Host, Image, Node, NodeSpec, RaftState, Server
from onebaton.plan.quorum import majority

USER, PASSWORD = "oneadmin", "opennebula"
VIP = "10.0.0.100"
VIP_ENDPOINT = endpoint(VIP)
NORMAL_MS = 5000
BOOT_S = 2.0
#: Who waits so long for a leader topples nobody for as long as a test goes.
PATIENT_S = 600.0
#: How far behind a server may be and still count as caught up; the gates' default.
NEAR = 50


class SimulatedCluster:
    """The machines, and everything that goes on among them.

    :ivar guarded: objections are on; off while a zone is founded, which nobody uses yet.
    :ivar swaps: machines of servers may be made anew in their places.
    :ivar late_allowed: how many servers may be not caught up at a time.
    :ivar traffic: clients write through the virtual IP.
    :ivar write_every: ticks from one of their writes to the next.
    :ivar acknowledged: keys of the clients' records that were acknowledged.
    :ivar longest_gap_s: longest time without an acknowledged write.
    :ivar elections: servers that won, in order.
    :ivar at_point: called before and after each change the tool makes, with what it is.
    """

    def __init__(self, images: Sequence[Image], *, log_retention: int = 250_000) -> None:
        self._epoch = 1000.0
        self.clock = VirtualClock(self._epoch, self._pass)
        self.machines: dict[str, FakeMachine] = {}
        self.endpoints: dict[str, str] = {}
        self.ready_at: dict[str, float] = {}
        self.terms: dict[str, int] = {}
        self.faults = Faults()
        self.raft = Raft(self)
        self.log_retention = log_retention
        self.guarded = True
        self.swaps = False
        self.late_allowed = 1
        self.traffic = True
        self.write_every = 2
        self.acknowledged: list[str] = []
        self.longest_gap_s = 0.0
        self.elections: list[str] = []
        self.at_point: Callable[[str], None] = nobody_looks
        self._pending: tuple[Oned, int, str] | None = None
        self._acknowledged_at = self._epoch
        self._written = itertools.count(1)
        self._ticks = 0
        self._images = {i.digest: i for i in images}
        self.standby = FakeStandBy(self)
        self.priors = FakePriors()
        self.frontends = SimulatedFrontEnds(self)
        self.platform = FakePlatform({i.name: i.digest for i in images}, on_change=self._changed)
        self.platform.before_change = self._before_change
        self.api = SimulatedApi(self, f"{USER}:{PASSWORD}")

    def take_in(self, image: Image) -> None:
        """The platform holds one more image."""
        self._images[image.digest] = image
        self.platform.images[image.name] = image.digest

    # What there is

    @property
    def leader(self) -> Oned | None:
        """The one of the newest term."""
        return max(self.raft.leaders, key=lambda o: o.term, default=None)

    @property
    def servers(self) -> dict[int, Server]:
        """The zone's servers, as the newest database has them."""
        databases = [o.database for o in self.raft.oneds.values() if not self.is_held(o)]
        newest = self.leader
        if newest is not None:
            return servers_in(newest.database)
        return servers_in(max(databases, key=lambda d: d.applied)) if databases else {}

    def is_held(self, oned: Oned) -> bool:
        """It runs outside of the zone, and nothing gets in or out."""
        return self.machines[oned.machine].fenced

    def asked_by_the_tool(self, at: str) -> Oned | None:
        """The one at an endpoint, as the tool reaches it."""
        return self.oned_at(at)

    def oned_at(self, at: str) -> Oned | None:
        """The one at an endpoint, ``None`` if nothing answers there."""
        if at == VIP_ENDPOINT:
            holders = [name for name, machine in self.machines.items() if machine.holds_vip]
            return self.raft.oneds.get(holders[-1]) if holders else None
        oned = self.raft.oneds.get(self.endpoints.get(at, ""))
        return None if oned is not None and self.is_held(oned) else oned

    def late(self) -> list[str]:
        """Names of the listed servers that do not run or are not level."""
        leader = self.leader
        return [s.name for s in self.servers.values() if not self._level(s, leader)]

    def _level(self, server: Server, leader: Oned | None) -> bool:
        oned = self.oned_at(server.endpoint)
        if oned is None or oned.server_id != server.id:
            return False
        return leader is None or (
            oned.term == leader.term and leader.last[1] - oned.last[1] <= NEAR
        )

    def check(self) -> None:
        """Object if the zone is in danger."""
        if not self.guarded:
            return
        if insist_one_generation(self):
            return
        servers = self.servers
        listed = {self.endpoints.get(s.endpoint) for s in servers.values()}
        running = [s for s in servers.values() if self._level(s, None)]
        insist(
            len(running) >= majority(len(servers)),
            f"{len(running)} of {len(servers)} servers run",
        )
        for name, oned in self.raft.oneds.items():
            harmless = self.is_held(oned) or oned.patience_s > PATIENT_S
            insist(name in listed or harmless, f"oned runs on {name}, outside of the zone")
        late = self.late()
        insist(len(late) <= self.late_allowed, f"not caught up: {late}")

    # What goes on by itself

    def _pass(self, now: float) -> None:
        while self._ticks * TICK_S < now - self._epoch - 1e-6:
            self._ticks += 1
            self._tick(self._epoch + self._ticks * TICK_S)

    def _tick(self, now: float) -> None:
        for name in [n for n, at in self.ready_at.items() if at <= now]:
            if name not in self.faults.never_boots:
                self.machines[name].ready = True
                del self.ready_at[name]
        self.raft.tick(now)
        if self._pending is not None:
            self._acknowledge(*self._pending)
        if self.traffic and self._ticks % self.write_every == 0 and self._pending is None:
            self._client_writes()
        if self._ticks % 10 == 0:
            for oned in self.raft.oneds.values():
                if len(oned.database.log) > self.log_retention:
                    oned.database.purge(oned.database.applied - self.log_retention)
            self.check()

    def _client_writes(self) -> None:
        oned = self.oned_at(VIP_ENDPOINT)
        if oned is None:
            return
        key = f"w{next(self._written)}"
        try:
            leader = self.raft.leader_for(oned)
        except RefusedError:
            return
        index = self.raft.append(leader, (TRAFFIC, key, "acknowledged"))
        self._pending = leader, index, key
        self._acknowledge(leader, index, key)

    def _acknowledge(self, leader: Oned, index: int, key: str) -> None:
        if leader.commit >= index and leader.state is RaftState.LEADER:
            self.acknowledged.append(key)
            now = self._epoch + self._ticks * TICK_S
            self.longest_gap_s = max(self.longest_gap_s, now - self._acknowledged_at)
            self._acknowledged_at = now
        elif leader.state is RaftState.LEADER and self.raft.oneds.get(leader.machine) is leader:
            return  # it waits for a majority
        self._pending = None

    def commit(self, leader: Oned, index: int) -> None:
        """Wait until a record is committed, as its writer does.

        :raises UnavailableError: if that takes longer than the caller waits.
        :raises ZoneRefusal: if the leader leads no more: nobody knows what became of it.
        """
        term = leader.term
        for _ in range(20):
            if leader.state not in (RaftState.LEADER, RaftState.SOLO) or leader.term != term:
                raise refusal(INTERNAL, "Cannot replicate the record: not the leader any more")
            if leader.commit >= index:
                return
            self.clock.sleep(TICK_S)
        raise UnavailableError("no whole answer within 2 s")

    def leads(self, oned: Oned) -> None:
        self.elections.append(oned.machine)
        self.machines[oned.machine].holds_vip = True
        lost = set(self.acknowledged) - {key for _, (_, key, _) in oned.database.log.values()}
        rows = oned.database.tables.get(TRAFFIC, {})
        insist(all(key in rows for key in lost), f"{oned.machine} leads and lacks a write")

    def leads_no_more(self, oned: Oned) -> None:
        self.machines[oned.machine].holds_vip = False

    def carries(self, _one: str, _other: str, _late: Callable[[], object]) -> bool:
        """The network is a good one."""
        return True

    def reaches(self, _one: str, _other: str) -> bool:
        """A connection gets through, with all its packets sent again."""
        return True

    def next_server_id(self, leader: Oned) -> int:
        """That of a server that was deleted may be given again."""
        return 1 + max(servers_in(leader.database), default=-1)

    def insist_deletable(self, server_id: int) -> None:
        """Object unless the server is stopped and masked."""
        server = self.servers.get(server_id)
        if server is None:
            return
        machine = self.machines.get(self.endpoints.get(server.endpoint, ""))
        stopped = machine is None or (not machine.active and machine.masked)
        insist(stopped, f"{server.name} is deleted and not stopped and masked")

    # Machines

    def started(self, host: Host) -> None:
        """Its ``oned`` runs now."""
        machine = self.machines[host.name]
        database, server_id = machine.database, machine.server_id
        assert database is not None
        assert server_id is not None
        assert machine.election_timeout_ms is not None
        patience_s = machine.election_timeout_ms / 1000
        oned = Oned(
            machine=host.name,
            server_id=server_id,
            secrets=machine.secrets,
            version=(machine.package_version or "").removesuffix("-1"),
            database=database,
            servers=servers_in(database),
            patience_s=patience_s,
            heard_at=self.clock.now() + WARM_UP_S,
            state=RaftState.SOLO if server_id == -1 else RaftState.FOLLOWER,
            term=max(database.position.term, self.terms.get(host.name, 0)),
        )
        self.raft.oneds[host.name] = oned

    def ended(self, host: Host, cut_off: bool) -> None:
        """Its ``oned`` runs no more."""
        oned = self.raft.oneds.pop(host.name)
        self.terms[host.name] = oned.term
        database = self.machines[host.name].database
        if database is not None and not cut_off:
            database.apply_to(oned.commit)

    def kill(self, name: str) -> None:
        """SIGKILL by somebody else: no hook runs, the virtual IP stays."""
        holds_vip = self.machines[name].holds_vip
        self.machines[name].active = False
        self.ended(Host(name, ""), cut_off=True)
        self.machines[name].holds_vip = holds_vip

    def bring_back(self, name: str) -> None:
        """Start it again: its follower hook takes the virtual IP off."""
        machine = self.machines[name]
        machine.active, machine.holds_vip = True, False
        self.started(Host(name, ""))

    def _before_change(self, what: str, spec: NodeSpec) -> None:
        self.point(f"before {what} {spec.name}")
        if what == "destroy" and self.guarded:
            listed = {s.address for s in self.servers.values()}
            # What cannot be reached can only be ended with its machine.
            machine = self.machines[spec.name]
            silent = not machine.reachable or not machine.ready
            member = spec.address in listed
            put_away = self.swaps and machine.masked and not machine.active
            insist(silent or put_away or not member, f"{spec.name} is destroyed, a member")
            insist(not member or self._held_without(spec.name), f"{spec.name} has an only copy")
            oned = self.raft.oneds.get(spec.name)
            insist(oned is None or silent or self.is_held(oned), f"{spec.name} runs, destroyed")

    def _held_without(self, name: str) -> bool:
        """A majority of the servers, this one not counted, has every acknowledged write."""
        machines = [self.endpoints.get(server.endpoint, "") for server in self.servers.values()]
        databases = [self.database_of(m) for m in machines if m and m != name]
        whole = [d for d in databases if d is not None and self._has_all(d)]
        return len(whole) >= majority(len(machines))

    def database_of(self, name: str) -> FakeDatabase | None:
        """What is on a machine's disk."""
        return self.machines[name].database

    def _has_all(self, database: FakeDatabase) -> bool:
        logged = {key for _, (_, key, _) in database.log.values()}
        return logged | database.tables.get(TRAFFIC, {}).keys() >= set(self.acknowledged)

    def _changed(self, what: str, node: Node) -> None:
        name = node.spec.name
        if what == "destroy":
            del self.machines[name]
            self.endpoints.pop(endpoint(node.spec.address), None)
            self.raft.oneds.pop(name, None)
            self.terms.pop(name, None)
            self.ready_at.pop(name, None)
        else:
            image = self._images[node.spec.image_digest]
            self.machines[name] = FakeMachine(
                ready=False, package_version=f"{image.version}-1", requires=image.schema
            )
            self.endpoints[endpoint(node.spec.address)] = name
            self.ready_at[name] = self.clock.now() + BOOT_S
        self.check()
        self.point(f"after {what} {name}")

    def switch_off(self, name: str) -> None:
        """A machine is switched off behind everybody's back."""
        self.platform.stop(name)
        self.raft.oneds.pop(name, None)
        self.machines[name].reachable = False

    def throw_out(self, name: str) -> None:
        """An operator takes a server out of the zone, and its database away."""
        machine = self.machines[name]
        self.ended(Host(name, ""), cut_off=False)
        machine.active, machine.masked = False, True
        server = next(s for s in self.servers.values() if s.name == name)
        self.api.delete_server(VIP_ENDPOINT, server.id)
        machine.database = None

    # The tool's changes

    def point(self, what: str) -> None:
        """The tool is about to change something, or has just done so."""
        self.at_point(what)

    @contextmanager
    def change(self, what: str, *, before_s: float = 0.0, after_s: float = 0.0) -> Iterator[None]:
        """One change the tool makes, and the time it takes."""
        self.point(f"before {what}")
        if before_s:
            self.clock.sleep(before_s)
        yield
        if after_s:
            self.clock.sleep(after_s)
        self.check()
        self.point(f"after {what}")

    def copy(self) -> "SimulatedCluster":
        """Another one just like it, with nothing in its record of calls."""
        self.frontends.calls.clear()
        return deepcopy(self)


def zone(
    images: Sequence[Image],
    size: int,
    *,
    addresses: Sequence[str],
    names: Sequence[str],
    specs: Sequence[NodeSpec] = (),
    leader: int = 0,
    records: int = 40,
    made_by: Callable[[Sequence[Image]], SimulatedCluster] = SimulatedCluster,
) -> SimulatedCluster:
    """A zone that has been running for long.

    :param specs: of its nodes, if they are the platform's; otherwise they are somebody else's.
    """
    cluster = made_by(images)
    cluster.guarded = cluster.traffic = False
    if specs:
        cluster.platform.apply(specs)
        cluster.clock.sleep(BOOT_S + TICK_S)
    for name, address in zip(names, addresses, strict=True):
        cluster.machines.setdefault(name, FakeMachine())
        cluster.endpoints[endpoint(address)] = name
    places = range(size)
    for place in places:
        machine = cluster.machines[names[place]]
        database = FakeDatabase(SCHEMA)
        for other in places:
            row = f"{names[other]} {endpoint(addresses[other])}"
            database.append(1, (ZONE_POOL, str(other), row))
        for number in range(records):
            database.append(1, ("user_pool", f"u{number % 7}", str(number)))
        machine.database, machine.secrets = database, f"{USER}:{PASSWORD}"
        machine.server_id, machine.election_timeout_ms = place, NORMAL_MS
        machine.known_servers = frozenset(places) if specs else frozenset()
        machine.active = machine.enabled = True
        cluster.started(Host(names[place], addresses[place]))
    first = cluster.raft.oneds[names[leader]]
    first.heard_at = 0.0
    cluster.clock.sleep(TICK_S)
    cluster.elections.clear()
    cluster.guarded = cluster.traffic = True
    cluster.clock.sleep(2.0)
    cluster.longest_gap_s = 0.0
    return cluster


def nobody_looks(_what: str) -> None:
    """Nobody looks."""
