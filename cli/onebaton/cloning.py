"""Staging clones: copies of a zone that cannot touch it. The plain values, and the port.

A careless copy is dangerous: it holds production's secrets and its server list, and asks
production's servers for votes; it sees production's hypervisors and acts on their machines
(measured note). So a copy is changed in its database before its first start, and the network
keeps it apart besides. Both are proved, and nothing starts that was not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal, Protocol

from onebaton.model import Host, Secret, Server
from onebaton.views import PartRow

#: What a rule does with the text of an element.
ScrubAction = Literal["hash", "blank", "replace"]


class ClonePhase(Enum):
    """How far a clone is."""

    #: It is being made; what is on its nodes counts for nothing.
    MAKING = "making"
    #: Its copy was changed, and is to be proved before the first start.
    CHANGED = "changed"
    #: It was proved, and is being started.
    PROVED = "proved"
    #: It serves.
    READY = "ready"


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone, as it is noted in its own state.

    :param zone: name of the clone's zone.
    :param of: name of the zone that it is a copy of.
    :param subnet: e.g. ``10.0.1.0/24``.
    :param version: OpenNebula's, of the nodes that it was made with.
    :param source: where its data come from, in words; empty until they came.
    :param made_at: when the copy was taken, or the making began.
    :param ttl: how long it is meant to be there, e.g. ``3d``.
    :param dump: a dump that it is made from; ``None``: the living zone.
    """

    name: str
    zone: str
    of: str
    subnet: str
    size: int
    version: str
    made_at: float
    expires_at: float
    ttl: str
    phase: ClonePhase = ClonePhase.MAKING
    source: str = ""
    dump: str | None = None


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Something that could answer over TCP."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Production:
    """What a clone must have nothing of, and must not reach.

    :param endpoints: addresses or names in its server list, without ports, ordered.
    :param hosts: addresses or names of its hypervisors, ordered.
    :param key: random, so that the digests say nothing without this very file.
    :param digests: HMAC-SHA-256 of each secret of its users and servers, in hexadecimal.
    """

    endpoints: tuple[str, ...]
    hosts: tuple[str, ...]
    key: str
    digests: frozenset[str]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a copy is from now on.

    :param zone_id: of the zone, as in the copy.
    :param server: its first server.
    :param endpoint: where clients reach it, by the virtual IP.
    :param user: who talks to ``oned``; besides the first user of all.
    :param password: of both.
    """

    zone_id: int
    zone: str
    server: Server
    endpoint: str
    user: str
    password: Secret


@dataclass(frozen=True, slots=True)
class ScrubRule:
    """What is done with user data.

    :param table: e.g. ``vm_pool``.
    :param element: ``/VM/TEMPLATE/CONTEXT``, ``//PASSWORD``, ``/USER/*/EMAIL``.
    :param text: what ``replace`` puts there; ``{id}`` stands for the object's id.
    """

    table: str
    element: str
    action: ScrubAction
    text: str = ""


@dataclass(frozen=True, slots=True)
class CloneRow:
    """A clone.

    :param zone: name of its own zone.
    :param of: name of the zone that it is a copy of.
    :param version: OpenNebula's, that it was made with.
    :param source: where its data came from; empty until they did.
    :param phase: a value of :class:`ClonePhase`.
    :param expired: it is past its time.
    """

    name: str
    zone: str
    of: str
    subnet: str
    size: int
    version: str
    source: str
    made_at: float
    expires_at: float
    phase: str
    expired: bool


@dataclass(frozen=True, slots=True)
class ClonesView:
    """All clones of a zone, by name."""

    clones: tuple[CloneRow, ...]


@dataclass(frozen=True, slots=True)
class CloneView:
    """A clone that was made or proved.

    :param endpoint: of its API.
    :param user: who may log in, with the password in ``password_file``.
    :param fence: who keeps its network apart: ``platform`` or ``own``.
    :param parts: what was done, and how long it took.
    :param changed: rows of the copy that were changed, by table.
    """

    clone: CloneRow
    endpoint: str
    user: str
    password_file: str
    fence: str
    parts: tuple[PartRow, ...]
    changed: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()


class CloneDoor(Protocol):
    """What is done to the copy on a clone's node, and tried from there.

    Every call may be repeated after a crash. What changes something finds no ``oned`` running.
    """

    def seed(self, source: Host, target: Host, *, timeout_s: float) -> None:
        """Dump a server of production, without locks, into a fresh database on the target.

        The bytes pass through this machine: the nodes need no way to each other. Production's
        secrets outside of the database stay where they are.
        """
        ...

    def load(self, dump: Path, target: Host, *, timeout_s: float) -> None:
        """The same from a dump: plain SQL, or packed by gzip or zstd.

        :raises StepFailedError: if it is none, or not whole.
        """
        ...

    def read_production(self, target: Host, source: Host | None) -> Production:
        """What the copy says of production; before it is changed.

        :param source: a server of production, whose secrets beside the database count too;
            ``None`` where the copy comes from a dump.
        """
        ...

    def change(
        self, target: Host, identity: Identity, rules: Sequence[ScrubRule]
    ) -> Mapping[str, int]:
        """Make the copy one that cannot touch production, and give the node secrets of its own.

        :returns: rows changed, by table.
        :raises RefusedError: if a rule names a table or element that cannot be changed.
        :raises StepFailedError: if a row cannot be read.
        """
        ...

    def prove(
        self, target: Host, identity: Identity, production: Production, *, started: bool
    ) -> tuple[str, ...]:
        """Read the copy and the node's secrets back.

        :param started: the clone serves, and has a history of its own: only what names
            production or opens something of it is looked for.
        :returns: what is still production's, a sentence each; never a secret.
        """
        ...

    def answering(self, node: Host, places: Sequence[Place]) -> tuple[Place, ...]:
        """Try each place from a node.

        :returns: those that gave any answer, a refusal among them.
        """
        ...
