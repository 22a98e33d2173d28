"""The words of design and code: plain values, no I/O.

Everything here is immutable. Times are seconds since the epoch, in UTC, unless a name says
otherwise; log indexes and terms are Raft's.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from functools import lru_cache
from urllib.parse import urlsplit

#: What Raft's log holds before anything was written.
EMPTY_LOG_INDEX = -1


class Secret:
    """A value that never shows itself: not in ``repr``, ``str``, formats, logs or JSON.

    :param value: the secret text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself; call it only where it leaves for its destination."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(repr(self), spec)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        raise TypeError("a secret is not pickled")


class RaftState(IntEnum):
    """STATE of ``one.zone.raftstatus`` (recorded answers)."""

    SOLO = 0
    CANDIDATE = 1
    FOLLOWER = 2
    LEADER = 3


@dataclass(frozen=True, slots=True)
class RaftStatus:
    """What one server says of itself (``one.zone.raftstatus``)."""

    server_id: int
    state: RaftState
    term: int
    voted_for: int
    commit: int
    log_index: int
    log_term: int
    fedlog_index: int


@dataclass(frozen=True, slots=True, order=True)
class Server:
    """A member of the zone: the id the leader gave, its name, its endpoint."""

    id: int
    name: str
    endpoint: str

    @property
    def address(self) -> str:
        """Host part of the endpoint (an IP address or a name)."""
        return _host_of(self.endpoint)


@lru_cache
def _host_of(endpoint: str) -> str:
    """Host part of an endpoint; planning asks for the same few again and again."""
    return urlsplit(endpoint).hostname or endpoint


@dataclass(frozen=True, slots=True)
class Zone:
    """``one.zone.info``: servers ordered by id."""

    id: int
    name: str
    enabled: bool
    servers: tuple[Server, ...]


@dataclass(frozen=True, slots=True)
class OnedSettings:
    """The part of ``one.system.config`` that decides about a rollout."""

    federation_mode: str
    zone_id: int
    server_id: int
    election_timeout_ms: int
    broadcast_timeout_ms: int
    xmlrpc_timeout_ms: int
    log_retention: int


@dataclass(frozen=True, slots=True)
class Schema:
    """Database versions that ``oned`` compares as strings (``onedb version``)."""

    shared: str
    local: str

    def __str__(self) -> str:
        return self.shared if self.shared == self.local else f"{self.shared}/{self.local}"


#: Of an image that was built and whose ``oned`` was not asked yet.
UNKNOWN_SCHEMA = Schema("", "")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that goes into an image.

    :param base: what the image is built on, e.g. ``mmdebstrap:bookworm``.
    :param packages: OpenNebula packages asked for, with exact versions, ordered by name.
    :param ingredients: names of all files that take part (templates as rendered, scripts,
        files for the image, packages), each with its SHA-256, ordered by name.
    """

    version: str
    platform: str
    base: str
    packages: tuple[tuple[str, str], ...]
    ingredients: tuple[tuple[str, str], ...]

    @property
    def digest(self) -> str:
        """``sha256:…`` over all of it: equal recipes bake equal images."""
        parts = [("version", self.version), ("platform", self.platform), ("base", self.base)]
        parts += [(f"package {name}", version) for name, version in sorted(self.packages)]
        parts += [(f"file {name}", sha256) for name, sha256 in sorted(self.ingredients)]
        return f"sha256:{hashlib.sha256(repr(parts).encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Image:
    """One entry of the image catalogue.

    :param name: the platform's name for it (a container image's tag, an AMI's name); no two
        bakes have the same.
    :param digest: the content's identity on its platform (``sha256:…``; an AMI's id).
    :param schema: what its ``oned`` requires; ``UNKNOWN_SCHEMA`` until it was booted and asked.
    :param recipe_digest: digest over everything that went into the bake.
    :param built_at: ISO 8601, UTC.
    """

    name: str
    digest: str
    version: str
    schema: Schema
    platform: str
    base: str
    recipe_digest: str
    built_at: str
    packer_version: str


@dataclass(frozen=True, slots=True, order=True)
class Host:
    """Where a node is reached: its name (for people) and its address (for ssh).

    :param identity: what tells this machine from a later one at the same address; ssh host
        keys are remembered under it.
    """

    name: str
    address: str
    identity: str = ""


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A node that the platform is asked to hold."""

    name: str
    address: str
    image: str
    image_digest: str
    generation: str


class NodeState(Enum):
    """What the platform sees of a node."""

    RUNNING = "running"
    STOPPED = "stopped"
    #: The platform's records list it, but there is no such machine.
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the platform sees it."""

    spec: NodeSpec
    state: NodeState
    #: The machine's own identity: another one after each replacement.
    instance: str = ""

    @property
    def host(self) -> Host:
        """How to reach it over ssh."""
        return Host(self.spec.name, self.spec.address, self.instance)


def node_at(address: str, nodes: Iterable[Node]) -> Node | None:
    """The node at an address; one that runs before one that does not."""
    there = [node for node in nodes if node.spec.address == address]
    running = [node for node in there if node.state is NodeState.RUNNING]
    return next(iter([*running, *there]), None)


def machine_of(server: Server, nodes: Sequence[Node]) -> Host:
    """The machine of a server, under a name that no other machine has."""
    node = node_at(server.address, nodes)
    if node is not None:
        return node.host
    if any(other.spec.name == server.name for other in nodes):
        return Host(server.address, server.address)
    return Host(server.name, server.address)


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where a database stands in Raft's log.

    :param last_index: highest record stored; ``EMPTY_LOG_INDEX`` if there is none.
    :param last_applied: highest record below which everything is applied; shipping begins
        after it, never after ``last_index`` (measured note: a follower's dump may hold
        records it has not yet applied).
    :param term: term of the record at ``last_index``.
    :param passed_over: lowest record that is not applied below one that is; ``None`` if there is
        none. Its server never applies it. A leader that was deposed has it: the next leader's
        first heartbeats make it apply a record of its own that nobody ever confirmed, and the
        record that takes its place comes too late (source: ``ZoneAPI.cc``, ``replicate_log``).
    """

    last_index: int
    last_applied: int
    term: int
    passed_over: int | None = None


class AheadStage(Enum):
    """How far a node is with a copy of the zone that is migrated ahead of a cut-over."""

    #: The warm copy is set aside; its migrated one is not complete.
    WARM = "warm"
    #: The migrated copy follows the warm one.
    MIGRATED = "migrated"
    #: The next release's ``oned`` runs on the migrated copy, and can win no election.
    HELD = "held"
    #: It was given its real server list, and may lead.
    RELEASED = "released"


@dataclass(frozen=True, slots=True)
class Ahead:
    """What a node holds besides its own database on the way to a cut-over.

    :param warm: where the warm copy (the zone's own schema) stands in the log; ``None`` if it
        cannot be read.
    """

    stage: AheadStage
    warm: LogPosition | None


@dataclass(frozen=True, slots=True)
class FrontEndFacts:
    """What a node's own operating system and database say (over ssh, read-only).

    :param oned_active: ``opennebula.service`` is running.
    :param oned_masked: the unit is masked.
    :param oned_enabled: the unit is enabled.
    :param holds_vip: the zone's virtual IP is on one of its interfaces.
    :param server_id: FEDERATION/SERVER_ID of its ``oned.conf``; ``None`` without a file.
    :param package_version: version of the installed package ``opennebula``.
    :param database: log position, ``None`` when there is no OpenNebula database.
    :param schema: schema of the database, if there is one.
    :param secret_digest: SHA-256 over ``/var/lib/one/.one`` (names and contents).
    :param known_servers: server ids in the zone when its ``oned`` was last started by us;
        a server never restarted does not learn of later members (measured note).
    :param disk_free_bytes: free bytes where MariaDB keeps its data.
    :param local_datastores: files lie under ``/var/lib/one/datastores`` on the machine's own
        disk, and would be lost with it.
    :param election_timeout_ms: ELECTION_TIMEOUT_MS of its ``oned.conf``, which ``oned`` follows
        from its next start on; ``None`` if it is not set there.
    :param ahead: a copy migrated ahead; ``database`` and ``schema`` are the migrated one's then.
    :param parked_at: since when its server is out of service by an operator's wish, and stays
        listed in the zone; ``None`` if it is not.
    """

    oned_active: bool
    oned_masked: bool
    oned_enabled: bool
    holds_vip: bool
    server_id: int | None
    package_version: str | None
    database: LogPosition | None
    schema: Schema | None
    secret_digest: str | None
    known_servers: frozenset[int]
    disk_free_bytes: int
    election_timeout_ms: int | None = None
    local_datastores: bool = False
    ahead: Ahead | None = None
    parked_at: float | None = None


@dataclass(frozen=True, slots=True)
class Vip:
    """The zone's virtual address, e.g. ``10.0.0.100/24`` on ``eth0``."""

    address: str
    prefix: int
    interface: str

    @property
    def cidr(self) -> str:
        """Address with prefix, as the Raft hooks take it."""
        return f"{self.address}/{self.prefix}"


class Health(Enum):
    """Unknown is unhealthy: only what was seen healthy counts."""

    HEALTHY = "healthy"
    LAGGING = "lagging"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Member:
    """A server of the zone with all that was seen of it in one observation.

    :param raft: its own word; ``None`` if it did not answer.
    :param version: OpenNebula version it answers with.
    :param lag: records behind the leader; ``None`` if unknown.
    :param node: the platform's node at its address; ``None`` for a machine of somebody else.
    :param facts: what its operating system says; ``None`` if ssh did not answer.
    :param problem: why it is not healthy, in words.
    """

    server: Server
    health: Health
    raft: RaftStatus | None = None
    version: str | None = None
    lag: int | None = None
    node: Node | None = None
    facts: FrontEndFacts | None = None
    problem: str | None = None

    @property
    def is_leader(self) -> bool:
        """It says so itself."""
        return self.raft is not None and self.raft.state is RaftState.LEADER

    @property
    def host(self) -> Host:
        """How to reach its machine over ssh."""
        if self.node is not None:
            return self.node.host
        return Host(self.server.name, self.server.address, "")


class PriorPhase(Enum):
    """Where a cut-over stands, as it was noted before each thing that cannot be seen later."""

    #: The old servers are being stopped, or are; nobody writes to the new ones yet.
    CUTTING = "cutting"
    #: The new generation serves; the old one stands by, stopped and masked.
    SERVED = "served"
    #: The old generation is given up.
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Prior:
    """The generation that a cut-over leaves, as it was when it served.

    :param zone: with its servers.
    :param leader_id: the server that led.
    :param node: name of the new node that is to lead, or leads.
    :param schema: of the old databases.
    :param version: OpenNebula's, of the old leader; ``None`` if it was not told.
    :param image_digest: of the new nodes.
    :param way: ``stand-by`` or ``plain``.
    :param began_at: when the old servers began to be stopped.
    :param cut_index: last record of the old zone's log; ``None`` until it is known.
    :param served_at: when the new generation took its first write.
    """

    zone: Zone
    leader_id: int
    node: str
    schema: Schema
    version: str | None
    image_digest: str
    way: str
    phase: PriorPhase
    began_at: float
    cut_index: int | None = None
    served_at: float | None = None


@dataclass(frozen=True, slots=True)
class World:
    """One observation: the zone, its members by id, the platform's nodes by name.

    :param settings: of the leader.
    :param node_facts: facts of nodes that are not (yet) members, by node name.
    :param records_per_second: growth of the leader's log while it was observed.
    :param prior: of the last cut-over. While it is ``CUTTING`` and nobody answers at the virtual
        IP, ``zone`` and ``members`` are the old generation as it was noted.
    :param read_at: when the last of the members had been asked, on the clock that never goes
        back; ``None`` if nobody noted it.
    """

    zone: Zone
    members: tuple[Member, ...]
    nodes: tuple[Node, ...]
    settings: OnedSettings | None
    node_facts: dict[str, FrontEndFacts] = field(default_factory=dict)
    records_per_second: float = 0.0
    prior: Prior | None = None
    read_at: float | None = field(default=None, compare=False)

    @property
    def leader(self) -> Member | None:
        """The one member that leads, ``None`` if there is none or more than one."""
        leaders = [m for m in self.members if m.is_leader]
        return leaders[0] if len(leaders) == 1 else None

    @property
    def vip_holders(self) -> tuple[str, ...]:
        """Names of all machines seen holding the virtual IP."""
        holders = [m.host.name for m in self.members if m.facts is not None and m.facts.holds_vip]
        holders += [name for name, facts in self.node_facts.items() if facts.holds_vip]
        return tuple(dict.fromkeys(holders))
