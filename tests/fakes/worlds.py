"""A small model of machines, servers and Raft, for tests of the planner.

It knows nothing of the planner's rules. It carries actions out in the small steps a real run
has, can stop after any of them, and objects when something is done that a real zone would not
survive. What it shows of itself is a :class:`~onebaton.model.World`, as an observer sees it.
"""

import functools
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import assert_never

from tests.fakes import crossing
from tests.fakes.machine import ImpossibleError, Machine, insist
from tests.fakes.wanting import (
    ELSEWHERE,
    NORMAL_MS,
    SCHEMA,
    SLOTS,
    STEERED_MS,
    image,
    next_release,
    rehearsed,
    wanted,
)

from onebaton.model import (
    AheadStage,
    Health,
    Member,
    Node,
    NodeSpec,
    NodeState,
    OnedSettings,
    Prior,
    PriorPhase,
    RaftState,
    RaftStatus,
    Server,
    World,
    Zone,
)
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
from onebaton.plan.quorum import majority
from onebaton.plan.wanted import Wanted

__all__ = [
    "ELSEWHERE",
    "NORMAL_MS",
    "SCHEMA",
    "SLOTS",
    "STEERED_MS",
    "ImpossibleError",
    "Lab",
    "Machine",
    "bare",
    "image",
    "next_release",
    "rehearsed",
    "wanted",
    "zone",
]


@dataclass
class Lab:
    """Machines by address, the zone's list of servers, and who leads.

    :ivar winner: node that wins every election that is held, whatever was steered.
    :ivar elections: how many were held since the zone was there.
    :ivar late_allowed: how many members may be down or late at a time.
    :ivar unsafe: objections are off while a zone is founded: nobody uses it yet.
    """

    wanted: Wanted
    machines: dict[str, Machine] = field(default_factory=dict)
    servers: list[Server] = field(default_factory=list)
    leader: int | None = None
    term: int = 3
    index: int = 1000
    next_id: int = 0
    winner: str | None = None
    elections: int = 0
    enabled: bool = True
    late_allowed: int = 1
    unsafe: bool = False
    settings: OnedSettings = field(
        default_factory=lambda: OnedSettings("STANDALONE", 0, 0, NORMAL_MS, 500, 1000, 250_000)
    )
    records_per_second: float = 10.0
    prior: Prior | None = None
    made: int = 0

    # What there is

    def copy(self) -> "Lab":
        """Another one just like it."""
        return deepcopy(self)

    def named(self, name: str) -> Machine:
        """A machine by its name."""
        return next(m for m in self.machines.values() if m.name == name)

    def machine_of(self, server: Server) -> Machine | None:
        """The machine that a server runs on; ``None`` if it vanished without a trace."""
        return self.machines.get(server.address)

    def runs(self, server: Server) -> bool:
        """Its ``oned`` runs, as a member."""
        machine = self.machine_of(server)
        return machine is not None and machine.state is NodeState.RUNNING and machine.oned

    def caught_up(self, server: Server) -> bool:
        """It runs and has what the leader has."""
        machine = self.machine_of(server)
        return self.runs(server) and machine is not None and machine.index == self.index

    @property
    def healthy(self) -> int:
        """How many servers run and are caught up."""
        return sum(self.caught_up(s) for s in self.servers)

    @property
    def has_quorum(self) -> bool:
        """A majority of the listed servers is caught up."""
        return self.healthy >= majority(len(self.servers))

    def observe(self) -> World:
        """What an observer sees."""
        prior = self.prior
        cutting = prior is not None and prior.phase is PriorPhase.CUTTING
        # While nobody serves, the record of the cut-over tells what the zone was.
        recorded = prior.zone if prior is not None and cutting and self.leader is None else None
        servers = sorted(self.servers if recorded is None else recorded.servers)
        members = tuple(self._member(s) for s in servers)
        listed = {s.address for s in servers}
        own = sorted(
            (m for m in self.machines.values() if m.spec is not None), key=lambda m: m.name
        )
        kept = {s.address for s in prior.zone.servers} if prior is not None else set()
        outside = [
            m
            for m in self.machines.values()
            if m.address not in listed and (m.spec is not None or m.address in kept)
        ]
        facts = {m.name: seen for m in outside if (seen := m.facts()) is not None}
        return World(
            zone=Zone(0, "OpenNebula", self.enabled, tuple(servers)),
            members=members,
            nodes=tuple(Node(m.spec, m.state, m.instance) for m in own if m.spec is not None),
            settings=self.settings if self.leader is not None else None,
            node_facts=facts,
            records_per_second=self.records_per_second,
            prior=prior,
        )

    def _member(self, server: Server) -> Member:
        machine = self.machine_of(server)
        facts = machine.facts() if machine is not None else None
        node = (
            Node(machine.spec, machine.state, machine.instance)
            if machine and machine.spec
            else None
        )
        if machine is None or not self.runs(server):
            return Member(
                server, Health.UNHEALTHY, None, None, None, node, facts, problem="does not answer"
            )
        index = machine.index or 0
        lag = self.index - index
        if server.id == self.leader:
            state, health = RaftState.LEADER, Health.HEALTHY
        elif self.leader is None:
            state, health = RaftState.CANDIDATE, Health.UNKNOWN
        else:
            state = RaftState.FOLLOWER
            near = lag <= self.wanted.limits.max_lag_records
            health = Health.HEALTHY if near else Health.LAGGING
        # Candidates count terms up, each for itself.
        term = self.term + (server.id % 2 if self.leader is None else 0)
        return Member(
            server,
            health,
            RaftStatus(server.id, state, term, -1, index, index, self.term, -1),
            machine.version,
            None if self.leader is None else lag,
            node,
            facts,
        )

    # What goes on by itself

    def write(self, records: int) -> None:
        """Time passes: clients write, whoever runs and was caught up has it too, hooks run."""
        if self.leader is None or not self.has_quorum:
            return
        if not any(m.vip for m in self.machines.values()):
            self._take_vip()
        level = [s for s in self.servers if self.caught_up(s)]
        self.index += records
        for server in level:
            machine = self.machine_of(server)
            if machine is not None:
                machine.index = self.index

    # What actions do, step by step

    def do(self, action: Action) -> None:
        """All of it."""
        for step in self.steps(action):
            step()
            self.survive()

    def steps(  # noqa: PLR0911, PLR0912 - one case an action
        self, action: Action
    ) -> Sequence[Callable[[], None]]:
        """The small steps of an action, in order; a crash may come after each of them."""
        match action:
            case Provision(nodes=nodes):
                return [lambda spec=spec: self._create(spec) for spec in nodes]
            case Found(node=node):
                return self._found(node)
            case Seed(source=source, targets=targets):
                return self._seed(source, targets)
            case Join():
                return self._join(action)
            case Refresh(node=node, steered=steered):
                return [
                    lambda: self._stop(self.named(node), mask=False),
                    lambda: self._configure(self.named(node), steered=steered),
                    lambda: self._start(self.named(node)),
                    lambda: self._catch_up(node),
                ]
            case Retire(server=server):
                return [lambda: self._stop_for_good(server), lambda: self._delete(server)]
            case Fence(server=server):
                return [
                    lambda: self._fence(server),
                    lambda: self._delete(server),
                ]
            case HandOver():
                return self._hand_over(action)
            case Park(server=server):
                return [
                    lambda: setattr(self.machines[server.address], "parked_at", 1.0),
                    lambda: self._stop_for_good(server),
                ]
            case Unpark():
                return self._unpark(action)
            case Swap():
                return self._swap(action)
            case Restore(node=node):
                return [lambda: self._restore(node)]
            case Destroy(names=names):
                return [lambda name=name: self._destroy(name) for name in names]
            case Prepare():
                return crossing.prepare(self, action)
            case Hold():
                return crossing.hold(self, action)
            case CutOver():
                return crossing.cut_over(self, action)
            case Reinstate():
                return crossing.reinstate(self, action)
            case GiveUp():
                return [lambda: crossing.give_up(self)]
            case _:
                assert_never(action)

    def survive(self) -> None:
        """Object if the zone is in danger: no majority runs, or too much is going on at once."""
        if self.unsafe or not self.servers:
            return
        crossing.survive(self)
        if self.prior is not None and self.prior.phase is PriorPhase.CUTTING:
            return
        # The second server of a zone that came out of a cut-over: of two, both are needed.
        second = self.prior is not None and len(self.servers) == 2
        insist(self.has_quorum or second, f"{self.healthy} of {len(self.servers)} are healthy")
        late = [s for s in self.servers if not self.caught_up(s)]
        insist(
            len(late) <= self.late_allowed, f"{len(late)} members are down or late at the same time"
        )
        listed = {s.address for s in self.servers}
        for machine in self.machines.values():
            insist(
                machine.address in listed
                or not machine.oned
                or machine.stage is AheadStage.HELD
                or crossing.is_alone(self),
                f"{machine.name} runs outside of the zone, and topples the leader",
            )

    def _create(self, spec: NodeSpec) -> None:
        there = self.machines.get(spec.address)
        running = there is not None and there.state is NodeState.RUNNING
        insist(
            not running or (there is not None and there.spec == spec),
            f"{spec.address} is in use",
        )
        twins = [m for m in self.machines.values() if m.name == spec.name and m is not there]
        insist(not twins, f"{spec.name} exists elsewhere")
        if not running:
            version = self.wanted.image.version
            self.made += 1
            self.machines[spec.address] = Machine(
                spec.name, spec.address, version, spec, instance=f"i{self.made}"
            )

    def _found(self, node: str) -> list[Callable[[], None]]:
        def create() -> None:
            machine = self.named(node)
            if machine.index is None:
                machine.index, machine.schema, machine.secret = self.index, SCHEMA, "first"

        def start_alone() -> None:
            machine = self.named(node)
            machine.oned, machine.solo, machine.election_timeout_ms = True, True, NORMAL_MS

        def list_itself() -> None:
            machine = self.named(node)
            if not self.servers:
                endpoint = self.wanted.endpoint(machine.address)
                self.servers.append(Server(0, node, endpoint))
                self.next_id = 1
            machine.oned = False

        def lead() -> None:
            machine = self.named(node)
            machine.server_id, machine.known = 0, frozenset({0})
            machine.oned, machine.solo, machine.vip = True, False, True
            self.leader = 0

        return [create, start_alone, list_itself, lead]

    def _seed(self, source: str, targets: tuple[str, ...]) -> list[Callable[[], None]]:
        def secrets() -> None:
            for name in targets:
                self.named(name).secret = self.named(source).secret

        def restore(name: str) -> None:
            target = self.named(name)
            if target.stage is not None:
                target.put_away()
                target.empty()
            insist(not target.oned, f"oned runs on {name}")
            origin = self.named(source)
            insist(origin.oned or self.unsafe, f"{source} is down")
            insist(origin.passed_over is None, f"the data of {source} are not the zone's")
            level = [s for s in self.servers if self.caught_up(s) and s.id != self.leader]
            machines = {s.id: self.machine_of(s) for s in level}
            others = [m for m in machines.values() if m is not None and m.passed_over is None]
            leads = any(s.id == self.leader and s.name == source for s in self.servers)
            insist(not leads or not others, "seeded from the leader while followers are there")
            target.index, target.schema = origin.index, origin.schema
            target.passed_over = None

        return [secrets, *(lambda name=name: restore(name) for name in targets)]

    def _join(self, action: Join) -> list[Callable[[], None]]:
        machine = self.named(action.node)

        def ship() -> None:
            if not machine.oned:
                origin = self.named(action.source)
                insist(machine.secret == origin.secret, f"{machine.name} has other secrets")
                insist(machine.index is not None, f"{machine.name} has no database")
                insist(machine.schema == origin.schema, f"{machine.name} has another schema")
                insist(machine.stage is None, f"{machine.name} was not settled")
                crossing.insist_whole(self, machine)
                machine.index = origin.index

        def add() -> None:
            if any(s.address == machine.address for s in self.servers):
                return
            insist(self.leader is not None, "no leader adds a server")
            insist(action.node not in {s.name for s in self.servers}, f"two {action.node}")
            ids = {s.id for s in self.servers}
            for other in self.machines.values():
                other.known &= ids
            self.servers.append(Server(self.next_id, action.node, action.server_endpoint))
            self.next_id += 1

        def configure() -> None:
            if not machine.oned:
                self._configure(machine, steered=action.steered)

        def start() -> None:
            if not machine.oned:
                self._start(machine)
            if self.leader is None:
                # Founding: the vote that was lacking.
                self.leader = min(s.id for s in self.servers)

        def start_first() -> None:
            if not machine.oned:
                self._start(machine)
                machine.server_id, machine.index = self.next_id, self.index

        catch_up = functools.partial(self._catch_up, action.node)
        if crossing.is_alone(self):
            # Of two voters both are needed: the second one runs before it is listed.
            return [
                ship,
                start_first,
                add,
                lambda: self._configure(machine, steered=False),
                catch_up,
            ]
        return [ship, add, configure, start, catch_up]

    def _hand_over(self, action: HandOver) -> list[Callable[[], None]]:
        old = self.machines[action.from_server.address]

        def cut_off() -> None:
            if self.leader == action.from_server.id:
                self.leader = None
            old.oned, old.masked, old.vip = False, True, False

        def elect() -> None:
            if self.leader is not None:
                return
            name = self.winner or action.to_server
            new = next(s for s in self.servers if s.name == name)
            insist(self.has_quorum, "nobody can be elected")
            steered = [
                s.name
                for s in self.servers
                if self.runs(s)
                and (m := self.machine_of(s)) is not None
                and m.election_timeout_ms == STEERED_MS
            ]
            insist(steered == [action.to_server], f"steered: {steered}")
            ignorant = [
                s.name
                for s in self.servers
                if self.runs(s)
                and s.name != action.to_server
                and (m := self.machine_of(s)) is not None
                and self.named(action.to_server).server_id not in m.known
            ]
            insist(not ignorant, f"{ignorant} could not forward writes to {action.to_server}")
            self.leader, self.term, self.elections = new.id, self.term + 1, self.elections + 1

        return [cut_off, elect, self._take_vip]

    def _take_vip(self) -> None:
        for server in self.servers:
            machine = self.machine_of(server)
            if machine is not None:
                machine.vip = server.id == self.leader

    def _stop(self, machine: Machine, *, mask: bool) -> None:
        leads = any(s.id == self.leader and s.address == machine.address for s in self.servers)
        insist(not leads, f"{machine.name} leads, and is stopped")
        machine.oned, machine.masked, machine.vip = False, mask, False

    def _stop_for_good(self, server: Server) -> None:
        self._stop(self.machines[server.address], mask=True)

    def _delete(self, server: Server) -> None:
        machine = self.machine_of(server)
        insist(server in self.servers, f"{server.name} is not listed")
        insist(self.leader is not None, "no leader deletes a server")
        stopped = machine is None or (not machine.oned and machine.masked)
        insist(stopped, f"{server.name} is deleted while it runs")
        self.servers.remove(server)
        # The highest id is given again.
        self.next_id = max((s.id for s in self.servers), default=-1) + 1
        if machine is not None and machine.spec is None:
            # Somebody else's: out of our sight.
            del self.machines[server.address]

    def _configure(self, machine: Machine, *, steered: bool) -> None:
        own = next(s for s in self.servers if s.address == machine.address)
        machine.server_id = own.id
        machine.known = frozenset(s.id for s in self.servers)
        limits = self.wanted.limits
        machine.election_timeout_ms = (
            limits.steered_election_timeout_ms if steered else limits.election_timeout_ms
        )

    def _start(self, machine: Machine) -> None:
        insist(machine.index is not None, f"{machine.name} has no database")
        machine.oned, machine.masked = True, False
        # Others have written while it was down.
        machine.index = self.index - 60

    def _catch_up(self, node: str) -> None:
        machine = self.named(node)
        insist(machine.oned, f"{node} does not run")
        machine.index = self.index

    def _restore(self, node: str) -> None:
        machine = self.named(node)
        machine.election_timeout_ms = self.wanted.limits.election_timeout_ms
        machine.stage = machine.warm = None
        if machine.server_id == self.leader:
            machine.known = frozenset(s.id for s in self.servers)

    def _unpark(self, action: Unpark) -> list[Callable[[], None]]:
        machine = self.machines[action.server.address]

        def ship() -> None:
            origin = self.named(action.source)
            insist(machine.index is not None, f"{machine.name} has no database")
            insist(machine.secret == origin.secret, f"{machine.name} has other secrets")
            behind = self.index - (machine.index or 0)
            insist(machine.oned or behind < self.settings.log_retention, "the log is gone")
            machine.index = machine.index if machine.oned else origin.index

        def start() -> None:
            if not machine.oned:
                self._start(machine)
                machine.known = frozenset(s.id for s in self.servers)

        return [
            ship,
            start,
            lambda: self._catch_up(machine.name),
            lambda: setattr(machine, "parked_at", None),
        ]

    def _swap(self, action: Swap) -> list[Callable[[], None]]:
        address = action.server.address

        def end() -> None:
            machine = self.machines[address]
            insist(not machine.oned and machine.masked, f"{machine.name} is destroyed, and runs")
            insist(machine.spec is not None, f"{machine.name} is a machine of somebody else")
            insist(machine.name == action.node.name, f"{machine.name} becomes {action.node.name}")
            insist(machine.address == action.node.address, f"{machine.name} moves")
            insist(self.has_quorum, f"{machine.name} may hold the only copy")
            del self.machines[address]

        return [
            lambda: self._stop_for_good(action.server),
            end,
            lambda: self._create(action.node),
        ]

    def _fence(self, server: Server) -> None:
        machine = self.machine_of(server)
        if machine is None:
            return
        insist(server.id != self.leader, f"{server.name} leads, and its machine is destroyed")
        insist(machine.facts() is None, f"{server.name} could have been asked to stop")
        insist(machine.spec is not None, f"{server.name} is a machine of somebody else")
        del self.machines[server.address]

    def _destroy(self, name: str) -> None:
        machine = self.named(name)
        insist(
            machine.address not in {s.address for s in self.servers},
            f"{name} is destroyed while it is a member",
        )
        held = machine.stage is AheadStage.HELD
        insist(held or not machine.oned, f"{name} is destroyed while oned runs on it")
        crossing.insist_not_kept(self, machine)
        insist(self.has_quorum, f"{name} may hold the only copy")
        del self.machines[machine.address]


def zone(
    goal: Wanted,
    size: int | None = None,
    *,
    leader: int = 0,
    slot: str | None = "a",
    version: str = "6.10.0",
    first_id: int = 0,
) -> Lab:
    """A healthy zone on another image.

    :param size: as wanted, without it.
    :param leader: which of its servers leads, from 0.
    :param slot: where its nodes live; ``None`` for machines of somebody else, elsewhere.
    :param first_id: lowest server id.
    """
    lab = Lab(goal)
    addresses = ELSEWHERE if slot is None else SLOTS[slot]
    old = image(version)
    ids = frozenset(range(first_id, first_id + (size or goal.size)))
    for place, server_id in enumerate(sorted(ids)):
        name = f"one-{place + 1}" if slot is None else f"z-{slot}{place + 1}"
        address = addresses[place]
        spec = None if slot is None else NodeSpec(name, address, old.name, old.digest, slot)
        lab.machines[address] = Machine(
            name,
            address,
            version,
            spec,
            oned=True,
            vip=place == leader,
            server_id=server_id,
            index=lab.index,
            schema=SCHEMA,
            secret="secrets",
            # Machines of somebody else keep no record of what they know.
            known=frozenset() if slot is None else ids,
            election_timeout_ms=NORMAL_MS,
        )
        lab.servers.append(Server(server_id, name, goal.endpoint(address)))
    lab.leader = first_id + leader
    lab.next_id = max(ids) + 1
    return lab


def bare(goal: Wanted) -> Lab:
    """Nothing at all: no node, no zone."""
    return Lab(goal, index=0, unsafe=True)
