"""A simulated cluster on which faults fall: a bad network, machines that stop, a tool that dies.

It watches over what must never be, whatever falls on it: a lost acknowledged write, two leaders
that acknowledge, a server that runs outside of the zone, and a zone that the *tool* brought into
danger. What a fault took away is not the tool's doing, as long as it could not have seen it.
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from tests.fakes.acknowledged import Acknowledged, Acknowledgements
from tests.fakes.danger import insist
from tests.fakes.frontends import FakeDatabase
from tests.fakes.network import Network
from tests.fakes.simulated import BOOT_S, VIP_ENDPOINT, SimulatedCluster
from tests.fakes.simulated_raft import Oned

from onebaton.errors import RefusedError, UnavailableError
from onebaton.model import Host, Image, Node, NodeSpec, NodeState, RaftState, Server
from onebaton.plan.quorum import majority

TOOL = "the tool"
#: What a call, and a connection over ssh, costs that nobody answers.
CALL_S, SSH_S = 1.0, 2.0
#: A leader that hears no majority hangs altogether after so long (measured note).
HANGS_AFTER_S = 10.0
#: Between a look and what follows it at once, in seconds.
MOMENT_S = 0.5
#: How long a boot takes until an enabled ``oned`` is started by it.
START_S = 5.0
#: What needs MariaDB on the machine.
DATABASE_CALLS = frozenset(
    ("seed", "create_database", "log_position", "ship_log", "table_checksums", "wait", "wait_ready")
)
#: Ticks from a client's write to the next: two a second.
WRITE_EVERY = 5
#: A client gives an answer up after so long.
PATIENCE_S = 2.0
#: A server outside of the zone, and a write that could be outvoted, are no matter of a moment.
STRAY_S, EXPOSED_S = 10.0, 2.0


class StormyCluster(SimulatedCluster):
    """Machines on which faults fall.

    :ivar struck: machines that a fault took away, and when.
    :ivar gone: machines that do not come back.
    :ivar observed_at: when the tool's latest look at the world began.
    :ivar answer_lost: the tool does not hear how its next change ended.
    :ivar no_hook: machines where the hook for the virtual IP fails.
    :ivar when_due: called in each tick with the time, to let faults fall and end.
    """

    def __init__(self, images: Sequence[Image], dice: random.Random) -> None:
        self.network = Network(dice)
        self.struck: dict[str, float] = {}
        self.gone: set[str] = set()
        self.observed_at = 0.0
        self.answer_lost = False
        self.no_hook: set[str] = set()
        self.when_due: Callable[[float], None] = lambda _now: None
        self._starts_at: dict[str, float] = {}
        self._recovering: set[str] = set()
        self._remade: set[str] = set()
        self._listed: tuple[Server, ...] = ()
        self._votes: dict[str, tuple[int, int]] = {}
        self._without: dict[str, FakeDatabase | None] = {}
        self._stray_since: dict[str, float] = {}
        self._leads_since: dict[str, float] = {}
        self._pending_since = 0.0
        self._acknowledgements = Acknowledgements(EXPOSED_S)
        super().__init__(images)
        self.write_every = WRITE_EVERY
        self.frontends.before = self._before_ssh

    # The network

    def carries(self, one: str, other: str, late: Callable[[], object]) -> bool:
        return self.network.carries(one, other, self.raft.now, late)

    def reaches(self, one: str, other: str) -> bool:
        return self.network.passes(one, other) and self.network.passes(other, one)

    def asked_by_the_tool(self, at: str) -> Oned | None:
        oned = self.oned_at(at)
        if self.network.still and oned is None:
            return None
        name = oned.machine if oned is not None else self._holder() or ""
        if not (self.network.passes(TOOL, name) and self.network.passes(name, TOOL)):
            self.clock.sleep(CALL_S)
            return None
        if oned is not None and self._hangs(oned):
            self.clock.sleep(CALL_S)
            return None
        return oned

    def _hangs(self, oned: Oned) -> bool:
        if oned.state is not RaftState.LEADER:
            return False
        heard = self.raft.heard_by_majority.get(oned.machine, self.raft.now)
        return self.raft.now - heard > HANGS_AFTER_S

    def _before_ssh(self, method: str, name: str) -> None:
        if not (self.network.passes(TOOL, name) and self.network.passes(name, TOOL)):
            self.clock.sleep(SSH_S)
            raise UnavailableError(f"{name} does not answer over ssh")
        if name in self._without and method in DATABASE_CALLS:
            raise UnavailableError(
                f"MariaDB does not answer on {name}",
                resolution="Look at `systemctl status mariadb` there.",
            )

    def _holder(self) -> str | None:
        """Whose answer to the question for the virtual IP came last."""
        holders = [name for name, machine in self.machines.items() if machine.holds_vip]
        return max(holders, key=lambda name: self._leads_since.get(name, 0.0), default=None)

    def oned_at(self, at: str) -> Oned | None:
        if at == VIP_ENDPOINT:
            return self.raft.oneds.get(self._holder() or "")
        return self.raft.oneds.get(self.endpoints.get(at, ""))

    # What goes on by itself

    def _tick(self, now: float) -> None:
        for message in self.network.due(now):
            message()
        self.when_due(now)
        for name in [n for n, at in self._starts_at.items() if at <= now]:
            if self.machines[name].ready:
                del self._starts_at[name]
                self._start_at_boot(name)
        if self._recovering:
            self._see_recovered()
        super()._tick(now)

    def _client_writes(self) -> None:
        holder = self._holder()
        if holder is None or holder in self.network.silent:
            return
        oned = self.raft.oneds.get(holder)
        if oned is None or self._hangs(oned):
            return
        self._pending_since = self.raft.now
        with suppress(RefusedError):  # a leader without MariaDB refuses
            super()._client_writes()

    def _acknowledge(self, leader: Oned, index: int, key: str) -> None:
        before = len(self.acknowledged)
        super()._acknowledge(leader, index, key)
        if len(self.acknowledged) > before:
            self._acknowledgements.see(leader, index, key, self.raft.now)
        elif self.raft.now - self._pending_since > PATIENCE_S:
            self._pending = None

    # Machines

    def started(self, host: Host) -> None:
        super().started(host)
        oned = self.raft.oneds[host.name]
        term, voted_for = self._votes.get(host.name, (0, -1))
        if term == oned.term:
            oned.voted_for = voted_for
        self._remade.discard(host.name)
        self.recovered(host.name)

    def ended(self, host: Host, cut_off: bool) -> None:
        oned = self.raft.oneds.get(host.name)
        if oned is None:
            return
        self._votes[host.name] = oned.term, oned.voted_for
        super().ended(host, cut_off=cut_off)

    def leads(self, oned: Oned) -> None:
        super().leads(oned)
        self._leads_since[oned.machine] = self.raft.now
        if oned.machine in self.no_hook:
            self.machines[oned.machine].holds_vip = False

    def strike(self, name: str) -> None:
        """A machine is not what it was, and not by the tool."""
        self._recovering.discard(name)
        self.struck.setdefault(name, self.clock.now())

    def switch_off(self, name: str) -> None:
        """No power: neither ``oned`` nor ssh nor the virtual IP, and the platform sees it."""
        self._fall(name)
        self.machines[name].reachable = False
        if any(node.spec.name == name for node in self.platform.nodes()):
            self.platform.stop(name)

    def switch_on(self, name: str) -> None:
        """It boots."""
        self.machines[name].reachable = True
        if any(node.spec.name == name for node in self.platform.nodes()):
            self.platform.switch_on(name)
        self._boot(name)

    def reboot(self, name: str) -> None:
        """Off and on at once."""
        self._fall(name)
        self._boot(name)

    def lose(self, name: str) -> None:
        """The machine and its disk are gone for good."""
        self._fall(name)
        self.gone.add(name)
        self.machines[name].reachable = False
        self.machines[name].database = None
        if any(node.spec.name == name for node in self.platform.nodes()):
            self.platform.lose(name)

    def stop_database(self, name: str) -> None:
        """MariaDB stops, and whatever runs there goes on without it."""
        if name not in self._without:
            self.strike(name)
            self.raft.no_database.add(name)
            self._without[name] = self.machines[name].database
            self.machines[name].database = None

    def start_database(self, name: str) -> None:
        """MariaDB runs again, with all that it had."""
        if name in self._without:
            self.raft.no_database.discard(name)
            self.machines[name].database = self._without.pop(name)

    def kill(self, name: str) -> None:
        if name in self.raft.oneds:
            self.strike(name)
            super().kill(name)

    def _fall(self, name: str) -> None:
        self.strike(name)
        self.start_database(name)
        machine = self.machines[name]
        self.ended(Host(name, ""), cut_off=True)
        machine.active = machine.holds_vip = machine.ready = False
        self.ready_at.pop(name, None)
        self._starts_at.pop(name, None)

    def _boot(self, name: str) -> None:
        self.ready_at[name] = self.clock.now() + BOOT_S
        self._starts_at[name] = self.clock.now() + BOOT_S + START_S

    def _start_at_boot(self, name: str) -> None:
        machine = self.machines.get(name)
        if machine is None or not machine.ready or machine.active:
            return
        if machine.enabled and not machine.masked and machine.database is not None:
            machine.active = True
            self.started(Host(name, ""))

    def recovered(self, name: str) -> None:
        """What struck it is over; it counts again as soon as it runs as it did."""
        self._recovering.add(name)

    def _see_recovered(self) -> None:
        for name in list(self._recovering):
            machine = self.machines.get(name)
            if machine is None or not machine.ready:
                continue
            comes_back = machine.enabled and not machine.masked
            well = name not in self._without and name not in self.network.silent
            if well and (name in self.raft.oneds or not comes_back):
                self._recovering.discard(name)
                self.struck.pop(name, None)

    def _changed(self, what: str, node: Node) -> None:
        """A new machine has nothing of the one before it.

        In the place of one that was gone it is not the tool that put its server down.
        """
        name = node.spec.name
        if name in self.gone:
            self._remade.add(name)
        for known in (self.struck, self._without, self._votes, self._starts_at, self.ready_at):
            known.pop(name, None)
        for names in (self.gone, self.raft.no_database, self.network.silent, self.no_hook):
            names.discard(name)
        super()._changed(what, node)

    def _before_change(self, what: str, spec: NodeSpec) -> None:
        """Of a machine that is gone only the platform's record is destroyed."""
        if what == "destroy" and spec.name in self.gone:
            self.point(f"before {what} {spec.name}")
            return
        if what == "destroy" and self.guarded:
            insist(not self._last_copy(spec.name), f"{spec.name} has the only copy of a write")
        super()._before_change(what, spec)

    def _held_without(self, name: str) -> bool:
        """What fell in the very moment nobody could have seen: it counts as it was."""
        moment = self.clock.now() - MOMENT_S
        servers = self.servers.values()
        others = [m for m in map(self._machine_of, servers) if m and m != name]
        fell = [m for m in others if self.struck.get(m, moment) > moment]
        databases = [self.database_of(m) for m in others if m not in fell]
        whole = [d for d in databases if d is not None and self._has_all(d)]
        return len(whole) + len(fell) >= majority(len(servers))

    # What must never be

    def check(self) -> None:
        if not self.guarded:
            return
        servers = self.servers
        listed = {self.endpoints.get(s.endpoint) for s in servers.values()}
        now = self.clock.now()
        for name in list(self._stray_since):
            if name in listed or name not in self.raft.oneds:
                del self._stray_since[name]
        for name in self.raft.oneds:
            if name not in listed:
                since = self._stray_since.setdefault(name, now)
                insist(now - since < STRAY_S, f"oned runs on {name}, outside of the zone")
        put_down = [s.name for s in servers.values() if self._put_down(s)]
        insist(len(put_down) <= 1, f"more than one server is down by the tool's doing: {put_down}")

    def _machine_of(self, server: Server) -> str:
        return self.endpoints.get(server.endpoint, "")

    def _put_down(self, server: Server) -> bool:
        name = self._machine_of(server)
        fallen = name in self.struck or name in self.gone or server.name in self._remade
        return name not in self.raft.oneds and not fallen

    def _holds(self) -> bool:
        """A majority runs, as far as the tool could see when it looked last."""
        # Where nobody runs nobody lists them.
        self._listed = tuple(self.servers.values()) or self._listed
        servers = self._listed
        up = 0
        for server in servers:
            name = self._machine_of(server)
            struck_at = self.struck.get(name)
            unseen = struck_at is not None and struck_at >= self.observed_at
            up += unseen or (name in self.raft.oneds and struck_at is None)
        return up >= majority(len(servers))

    def _outvoted(self) -> bool:
        """A majority could be found that has not got an acknowledged write."""
        write = self._acknowledgements.settled(self.raft.now)
        if write is None:
            return False
        servers = self.servers.values()
        lacking = sum(1 for s in servers if self._lacks(self._machine_of(s), write))
        return lacking >= majority(len(servers))

    def _last_copy(self, name: str) -> bool:
        """No server of the zone has what this machine has of the acknowledged writes."""
        write = self._acknowledgements.last
        if write is None or self._lacks(name, write):
            return False
        machines = [self._machine_of(server) for server in self.servers.values()]
        return all(other in self.gone or self._lacks(other, write) for other in machines)

    def _lacks(self, name: str, write: Acknowledged) -> bool:
        if name in self.gone or name not in self.machines:
            return False
        database = self.database_of(name)
        return database is None or not write.stored_in(database)

    def database_of(self, name: str) -> FakeDatabase | None:
        return self._without.get(name) or super().database_of(name)

    @contextmanager
    def change(self, what: str, *, before_s: float = 0.0, after_s: float = 0.0) -> Iterator[None]:
        held, outvoted, servers = self._holds(), self._outvoted(), len(self.servers)
        self._insist_no_leader_is_stopped(what)
        with super().change(what, before_s=before_s, after_s=after_s):
            yield
        if self.guarded:
            insist(self._holds() or not held, f"{what} took the majority of {servers}")
            insist(not self._outvoted() or outvoted, f"after {what} a write could be outvoted")
        if self.answer_lost:
            self.answer_lost = False
            raise UnavailableError(f"{what}: the connection broke before the answer came")

    def _insist_no_leader_is_stopped(self, what: str) -> None:
        leader = self.leader
        if leader is None or what != f"stop {leader.machine}" or not self.guarded:
            return
        since = self._leads_since.get(leader.machine, 0.0)
        alone = len(leader.servers) == 1
        insist(alone or since > self.observed_at, f"{leader.machine} is stopped, and leads")

    # In the end

    def mend(self) -> None:
        """All that can be put right is: the network, power, MariaDB, hooks, units."""
        self.network.mend()
        self.no_hook.clear()
        self.answer_lost = False
        self.faults.never_boots.clear()
        self.faults.bad_seed.clear()
        self.faults.other_secrets.clear()
        for name in list(self._without):
            self.start_database(name)
        stopped = {n.spec.name for n in self.platform.nodes() if n.state is NodeState.STOPPED}
        for name, machine in self.machines.items():
            if name in self.gone:
                continue
            if not machine.reachable or name in stopped:
                self.switch_on(name)
            elif name in self.struck and machine.ready:
                self._start_at_boot(name)
        for name in self.struck.keys() - self.gone:
            self.recovered(name)

    def set_vip_right(self) -> None:
        """An operator takes the virtual IP off all machines but the leader's."""
        leader = self.leader
        for name, machine in self.machines.items():
            machine.holds_vip = leader is not None and name == leader.machine

    def unmask_all(self) -> None:
        """An operator starts what a swap had stopped: without it there is no majority."""
        for server in self.servers.values():
            name = self._machine_of(server)
            machine = self.machines.get(name)
            if machine is not None and machine.masked and machine.database is not None:
                machine.masked = False
                if machine.ready and machine.reachable and not machine.active:
                    self.bring_back(name)

    def forget(self, server: Server) -> None:
        """An operator takes a server for good out of the zone whose machine does not run it."""
        leader = self.leader
        if leader is not None and self._machine_of(server) not in self.raft.oneds:
            index = self.raft.change_servers(leader, server, added=False)
            self.commit(leader, index)
