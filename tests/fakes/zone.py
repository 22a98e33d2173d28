"""A zone in memory that behaves as the recorded one, behind :class:`onebaton.ports.ZoneApi`."""

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from onebaton.errors import RefusedError, UnavailableError, ZoneRefusal
from onebaton.examination import Transient, Transients
from onebaton.model import OnedSettings, RaftState, RaftStatus, Server, Zone
from onebaton.ports import Clock

AUTHENTICATION, NO_EXISTS, ACTION, INTERNAL = 256, 1024, 2048, 8192


class Reach(Enum):
    """What a caller meets at a server's address."""

    ANSWERS = "answers"
    #: Nothing listens: the connection is refused at once.
    REFUSES = "refuses"
    #: It accepts and never answers: the caller's deadline passes.
    HANGS = "hangs"


@dataclass
class FakeServer:
    """One ``oned``; tests change its fields while it runs.

    :param says_id: the SERVER_ID of its ``oned.conf``, where that is wrong.
    :param sees: server ids that it lists, where that is not what the zone has.
    :param other_secret: it rejects the zone's password.
    """

    id: int
    name: str
    endpoint: str
    state: RaftState = RaftState.FOLLOWER
    term: int = 1
    log_index: int = 100
    version: str = "6.10.0"
    reach: Reach = Reach.ANSWERS
    says_id: int | None = None
    sees: frozenset[int] | None = None
    other_secret: bool = False

    @property
    def server(self) -> Server:
        return Server(self.id, self.name, self.endpoint)


class FakeZoneApi:
    """A zone whose servers are reached by their endpoints.

    :param clock: what a hanging call spends its deadline on.
    :param before: called with the method and the endpoint before each call is answered; what
        it raises is the answer.
    :ivar calls: every call made: method, endpoint.
    :ivar busy: operations in flight on VMs and images.
    """

    def __init__(
        self,
        *servers: FakeServer,
        vip: str | None = None,
        clock: Clock | None = None,
        timeout_s: float = 2.0,
        before: Callable[[str, str], None] | None = None,
    ) -> None:
        self.servers = {server.endpoint: server for server in servers}
        self.vip = vip
        self.name = "OpenNebula"
        self.enabled = True
        self.password_is_right = True
        self.federation_mode = "STANDALONE"
        self.calls: list[tuple[str, str]] = []
        self.heartbeats: list[tuple[str, int]] = []
        self.pool: dict[int, str] = {}
        self.contents: dict[int, str] = {}
        self.busy: list[Transient] = []
        self.before = before
        self._clock = clock
        self._timeout_s = timeout_s
        self._ids = itertools.count()
        self._lock = threading.Lock()

    @property
    def leaders(self) -> list[FakeServer]:
        return [
            s
            for s in self.servers.values()
            if s.state is RaftState.LEADER and s.reach is Reach.ANSWERS
        ]

    def version(self, endpoint: str) -> str:
        return self._asked("version", endpoint).version

    def raft_status(self, endpoint: str) -> RaftStatus:
        server = self._asked("raft_status", endpoint)
        leader = self.leaders[0].id if self.leaders else -1
        return RaftStatus(
            server_id=server.id if server.says_id is None else server.says_id,
            state=server.state,
            term=server.term,
            voted_for=leader,
            commit=server.log_index,
            log_index=server.log_index,
            log_term=server.term,
            fedlog_index=-1,
        )

    def zone(self, endpoint: str) -> Zone:
        server = self._asked("zone", endpoint)
        members = sorted(s.server for s in self.servers.values())
        seen = [m for m in members if server.sees is None or m.id in server.sees]
        return Zone(0, self.name, self.enabled, tuple(seen))

    def settings(self, endpoint: str) -> OnedSettings:
        server = self._asked("settings", endpoint)
        return OnedSettings(self.federation_mode, 0, server.id, 5000, 500, 1000, 250000)

    def add_server(self, endpoint: str, name: str, server_endpoint: str) -> int:
        zone = self.zone(endpoint)
        if self._at(endpoint).state not in (RaftState.LEADER, RaftState.SOLO):
            raise RefusedError(f"{endpoint} is not the leader")
        for server in zone.servers:
            if (server.name, server.endpoint) == (name, server_endpoint):
                return server.id
            if server.name == name or server.endpoint == server_endpoint:
                raise RefusedError(f"the zone has a server of the name {name} already")
        self.raw_add_server(endpoint, name, server_endpoint)
        return next(s.id for s in self.zone(endpoint).servers if s.endpoint == server_endpoint)

    def raw_add_server(self, endpoint: str, name: str, server_endpoint: str) -> int:
        """The bare call: takes a name that is in use, and answers the zone's id (recorded)."""
        self._write("add_server", endpoint)
        new = 1 + max((s.id for s in self.servers.values()), default=-1)
        self.servers[server_endpoint] = FakeServer(new, name, server_endpoint, reach=Reach.REFUSES)
        return 0

    def delete_server(self, endpoint: str, server_id: int) -> None:
        self._write("delete_server", endpoint)
        del self.servers[self._known(server_id, "delserver").endpoint]

    def reset_server(self, endpoint: str, server_id: int) -> None:
        self._write("reset_server", endpoint)
        self._known(server_id, "resetserver")

    def heartbeat(self, endpoint: str, term: int) -> None:
        self._asked("heartbeat", endpoint)
        self.heartbeats.append((endpoint, term))

    def create_document(self, endpoint: str, name: str) -> int:
        self._write("create_document", endpoint)
        with self._lock:
            number = next(self._ids)
            self.pool[number] = name
        return number

    def update_document(self, endpoint: str, document_id: int, content: str) -> None:
        self._write("update_document", endpoint)
        if document_id not in self.pool:
            raise refusal(NO_EXISTS, f"Error getting document [{document_id}].")
        self.contents[document_id] = content

    def delete_document(self, endpoint: str, document_id: int) -> None:
        self._write("delete_document", endpoint)
        self.pool.pop(document_id, None)

    def documents(self, endpoint: str, prefix: str) -> dict[int, str]:
        self._asked("documents", endpoint)
        with self._lock:
            return {n: name for n, name in self.pool.items() if name.startswith(prefix)}

    def transients(self, endpoint: str, *, limit: int) -> Transients:
        self._asked("transients", endpoint)
        found = tuple(self.busy[:limit])
        return Transients(found, len(found), complete=len(self.busy) < limit)

    def _at(self, endpoint: str) -> FakeServer:
        if endpoint == self.vip:
            if not self.leaders:
                raise UnavailableError(f"{endpoint} did not answer: nobody holds the address")
            return self.leaders[-1]
        if endpoint not in self.servers:
            raise UnavailableError(f"{endpoint} did not answer: the connection was refused")
        return self.servers[endpoint]

    def _asked(self, method: str, endpoint: str) -> FakeServer:
        with self._lock:
            self.calls.append((method, endpoint))
        if self.before is not None:
            self.before(method, endpoint)
        server = self._at(endpoint)
        if server.reach is Reach.REFUSES:
            raise UnavailableError(f"{endpoint} did not answer: the connection was refused")
        if server.reach is Reach.HANGS:
            if self._clock is not None:
                self._clock.sleep(self._timeout_s)
            raise UnavailableError(f"{endpoint} did not answer: no whole answer within 2 s")
        if server.other_secret or not self.password_is_right:
            raise refusal(AUTHENTICATION, "User couldn't be authenticated, aborting call.")
        return server

    def _write(self, method: str, endpoint: str) -> None:
        server = self._asked(method, endpoint)
        if server.state is RaftState.CANDIDATE:
            raise refusal(INTERNAL, "Cannot process request, oned cluster in election mode")
        if server.state is RaftState.FOLLOWER and not self.leaders:
            raise refusal(INTERNAL, "Cannot process request, no leader found")
        if not self.enabled:
            raise refusal(INTERNAL, "Cannot process request, zone disabled")
        with self._lock:
            for member in self.servers.values():
                if member.reach is Reach.ANSWERS:
                    member.log_index += 1

    def _known(self, server_id: int, method: str) -> FakeServer:
        for server in self.servers.values():
            if server.id == server_id:
                return server
        raise refusal(ACTION, f"[one.zone.{method}] SERVER not found in zone")


def refusal(code: int, text: str) -> ZoneRefusal:
    """``oned`` says no."""
    return ZoneRefusal(text, code=code)


def endpoint(address: str) -> str:
    """The endpoint of a server at an address."""
    return f"http://{address}:2633/RPC2"


def three_servers(*, vip: str = "10.0.0.100", clock: Clock | None = None) -> FakeZoneApi:
    """A healthy zone: n1 leads, n2 and n3 follow; ids 0, 1, 2 at 10.0.0.11, .12, .13."""
    servers = [FakeServer(i, f"n{i + 1}", endpoint(f"10.0.0.{11 + i}")) for i in range(3)]
    servers[0].state = RaftState.LEADER
    return FakeZoneApi(*servers, vip=endpoint(vip), clock=clock)
