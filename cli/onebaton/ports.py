"""What the orchestration needs from the outside: one protocol for each thing it talks to.

Adapters implement these; the tests' simulated world implements them too, and one contract
suite holds both to the same behaviour. Every call has a deadline of its own. An outside
system that does not answer raises :class:`~onebaton.errors.UnavailableError`, never a
vendor's exception.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from onebaton.drift import Configured
from onebaton.examination import Examination, Transients
from onebaton.model import (
    FrontEndFacts,
    Host,
    Image,
    LogPosition,
    Node,
    NodeSpec,
    OnedSettings,
    RaftStatus,
    Recipe,
    Secret,
    Zone,
)
from onebaton.records import Preview, StateIdentity


class Clock(Protocol):
    """Time, so that a simulated world can have its own."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait; ends early by raising when the operator interrupted the run a second time."""
        ...


class Reporter(Protocol):
    """Where progress goes: a terminal, plain log lines, a test's list."""

    def note(self, text: str) -> None:
        """One line that stays."""
        ...

    def progress(self, text: str) -> None:
        """What is being waited for right now; the next call replaces it."""
        ...

    def warn(self, text: str) -> None:
        """One line that must be seen."""
        ...


class ZoneApi(Protocol):
    """``oned``'s XML-RPC, one endpoint at a time.

    :raises UnavailableError: if the endpoint does not answer in time.
    :raises ZoneRefusal: (of the adapter) if it answers with an error code.
    """

    def version(self, endpoint: str) -> str:
        """``one.system.version``."""
        ...

    def raft_status(self, endpoint: str) -> RaftStatus:
        """``one.zone.raftstatus`` of the server asked, leader or not."""
        ...

    def zone(self, endpoint: str) -> Zone:
        """``one.zone.info`` as the server asked sees it."""
        ...

    def settings(self, endpoint: str) -> OnedSettings:
        """The deciding part of ``one.system.config``."""
        ...

    def add_server(self, endpoint: str, name: str, server_endpoint: str) -> int:
        """Add a server through the leader.

        ``one.zone.addserver`` answers the zone's id; the server's own id is read back from
        the zone (measured note).

        :returns: the new server's id.
        :raises RefusedError: if a server of this name or endpoint is in the zone already.
        """
        ...

    def delete_server(self, endpoint: str, server_id: int) -> None:
        """``one.zone.delserver`` through the leader."""
        ...

    def reset_server(self, endpoint: str, server_id: int) -> None:
        """``one.zone.resetserver`` through the leader."""
        ...

    def heartbeat(self, endpoint: str, term: int) -> None:
        """One ``one.zone.replicate`` that carries nothing; it ends the warm-up."""
        ...

    def create_document(self, endpoint: str, name: str) -> int:
        """Allocate a document that only probes write to.

        :returns: its id.
        """
        ...

    def update_document(self, endpoint: str, document_id: int, content: str) -> None:
        """Replace the document's content: one harmless log record."""
        ...

    def delete_document(self, endpoint: str, document_id: int) -> None:
        """Remove the document; no error if there is none."""
        ...

    def documents(self, endpoint: str, prefix: str) -> dict[int, str]:
        """Ids and names of probes' documents whose name starts with ``prefix``."""
        ...

    def transients(self, endpoint: str, *, limit: int) -> Transients:
        """VMs and images in the middle of an operation.

        :param limit: at most so many active VMs, and so many images, are read.
        """
        ...


class LogRecords(Protocol):
    """Records of Raft's log on their way from one database to another."""

    @property
    def count(self) -> int:
        """How many."""
        ...

    @property
    def last_index(self) -> int:
        """Index of the last one; ``EMPTY_LOG_INDEX`` if there is none."""
        ...


class FrontEnds(Protocol):
    """Front-end machines over ssh: database, unit, configuration, addresses.

    Works on any node with OpenNebula's own layout, baked by us or not. Every change may be
    repeated after a crash.
    """

    def facts(self, host: Host) -> FrontEndFacts:
        """All that a plan needs to know of a node, in one read-only round trip."""
        ...

    def facts_of(self, hosts: Sequence[Host]) -> dict[str, FrontEndFacts | str]:
        """Facts of several nodes at once, by name; the problem's text where it failed."""
        ...

    def wait_ready(self, host: Host, *, timeout_s: float) -> None:
        """Wait until ssh answers, the boot is over and MariaDB runs."""
        ...

    def copy_secrets(self, source: Host, targets: Sequence[Host]) -> None:
        """Give the targets the source's ``/var/lib/one/.one`` and ``/var/lib/one/.ssh``."""
        ...

    def seed(self, source: Host, targets: Sequence[Host], *, timeout_s: float) -> None:
        """Dump the source's database once, without locks, into every target at the same time."""
        ...

    def log_position(self, host: Host) -> LogPosition:
        """Where a node's database stands in Raft's log."""
        ...

    def ship_log(
        self, source: Host, target: Host, *, up_to: int | None = None, beneath: bool = False
    ) -> int:
        """Replay on the target what the source has applied after the target's last applied.

        :param up_to: index of the last record to ship; all that are applied without it.
        :param beneath: the target's ``oned`` may run, as a follower that no leader knows yet: it
            reads its log anew when it hears a leader of a newer term (source:
            ``RaftManager::follower``). Without it that is refused.

        :returns: number of records shipped.
        :raises RefusedError: if the source no longer holds the records in between.
        """
        ...

    def table_checksums(self, host: Host) -> tuple[LogPosition, dict[str, int | None]]:
        """``CHECKSUM TABLE`` of all tables that must be equal at the same log index.

        Position and checksums belong to one consistent snapshot.
        """
        ...

    def checksums_at_equal_index(
        self, one: Host, other: Host
    ) -> tuple[
        tuple[LogPosition, dict[str, int | None]], tuple[LogPosition, dict[str, int | None]]
    ]:
        """Checksums of two nodes that go on writing, tried at the same log index.

        Both wait for an index a little ahead and take their snapshot there. When the positions
        answered differ, the attempt missed; the caller tries again.
        """
        ...

    def configure(
        self,
        host: Host,
        *,
        server_id: int,
        election_timeout_ms: int,
        server_ids: Sequence[int] = (),
    ) -> None:
        """Write ``oned.conf`` (server id, VIP hooks, timeouts, database access).

        :param server_ids: the zone's servers as the next start will learn them.
        """
        ...

    def create_database(self, host: Host) -> None:
        """An empty database and its user, for a zone's first server."""
        ...

    def set_password(self, host: Host, user: str, password: Secret) -> None:
        """Write ``one_auth`` before the first start of a zone's first server.

        Gives oneadmin an ssh key as well, if there is none: the zone's way to its hypervisors.
        """
        ...

    def unreached(self, source: Host, targets: Sequence[Host]) -> tuple[str, ...]:
        """Try from one machine whether others answer it on the port of ``oned``.

        A refusal is an answer: nothing need listen there yet. The machine makes its own address
        known to its neighbours first: they may still send to another one that had it before.

        :returns: names of those that say nothing.
        """
        ...

    def start(self, host: Host, *, timeout_s: float) -> None:
        """Unmask, enable and start ``opennebula.service``."""
        ...

    def stop(self, host: Host, *, mask: bool, timeout_s: float) -> None:
        """Stop ``oned`` kindly; the last resort is SIGKILL. Takes VIP and lock off as well.

        :param mask: keep it from ever being started again.
        """
        ...

    def forget_servers(self, host: Host, gone: Collection[int]) -> None:
        """Take ids off the note of the servers that a node's ``oned`` knows.

        An id may be given again once its server was deleted, and then means another one.
        """
        ...

    def note_parked(self, host: Host, at: float | None) -> None:
        """Note on the node since when its server is parked; ``None``: it is not any more.

        ``oned`` and the unit stay as they are.
        """
        ...

    def cut_off_leader(self, host: Host, *, drain_s: float) -> None:
        """Make a leader stop leading, at once and for good.

        One command on the node: refuse new API connections, wait ``drain_s`` so that what is
        in flight reaches the followers, mask the unit, SIGKILL ``oned``, take VIP and lock
        file off.
        """
        ...

    def freeze(self, leader: Host, others: Sequence[Host], *, drain_s: float) -> None:
        """Stop a whole zone at once, so that nothing is acknowledged afterwards.

        The leader as :meth:`cut_off_leader` does; the others, at the same time, masked at once
        and killed only after the drain, so that what is in flight can still be committed. VIP
        and lock files are off everywhere. May find any of them stopped already.

        :raises StepFailedError: if ``oned`` or the virtual IP is still there on one of them.
        :raises UnavailableError: if one of them cannot be reached; the rest is stopped then.
        """
        ...


class Examiner(Protocol):
    """Looks into front-end machines for what a doctor asks. Changes nothing."""

    def examine(self, hosts: Sequence[Host]) -> dict[str, Examination | str]:
        """Each machine in one round trip, all at once.

        :returns: by name of the host; a text says why a machine could not be examined.
        """
        ...


class Configurations(Protocol):
    """Reads the configuration files of front-end machines. Changes nothing."""

    def read(self, hosts: Sequence[Host]) -> dict[str, Configured | str]:
        """Each machine's in one round trip, all at once.

        :returns: by name of the host; a text says why a machine's could not be read.
        """
        ...

    def settings(self, *, server_id: int) -> Mapping[str, str]:
        """Settings of ``oned.conf`` as they would be written for a server, without passwords."""
        ...


class Platform(Protocol):
    """Machines from images. Nodes are named; a node's image never changes in place."""

    @property
    def kind(self) -> str:
        """Its name in the configuration, e.g. ``podman``."""
        ...

    def check(self) -> None:
        """Programs, modules and rights are there.

        :raises UnavailableError: if something is missing.
        """
        ...

    def nodes(self) -> tuple[Node, ...]:
        """All nodes of this cluster, ordered by name, as they are and not as recorded."""
        ...

    def pending(self, wanted: Sequence[NodeSpec]) -> tuple[str, ...]:
        """What applying ``wanted`` would do, a line each; empty if nothing."""
        ...

    def preview(self, wanted: Sequence[NodeSpec]) -> Preview:
        """What applying ``wanted`` would do, down to the records of it. Changes nothing.

        :raises RefusedError: if it could not be applied.
        """
        ...

    def recorded(self) -> StateIdentity | None:
        """Which state the platform's records are in; ``None`` before the first node."""
        ...

    def apply(self, wanted: Sequence[NodeSpec]) -> None:
        """Make the cluster's nodes exactly ``wanted``: saved plan, then that plan.

        Creates what is missing, replaces what vanished or has another specification (the old
        machine goes first: the new one has its address), destroys what is not in ``wanted``.
        """
        ...

    def image_present(self, image: Image) -> bool:
        """The platform still holds the image with this digest."""
        ...

    def remove_image(self, image: Image) -> None:
        """Remove an image and all that belongs to it; no error if it is not there.

        :raises RefusedError: if something still uses it.
        """
        ...

    def boot_trial(self, image: Image) -> AbstractContextManager["TrialNode"]:
        """Boot an image once, alone, for tests; gone when the block is left."""
        ...


class TrialNode(Protocol):
    """A node booted to look at its image."""

    def run(self, script: str, *, timeout_s: float) -> tuple[int, str]:
        """Run a shell script on it.

        :returns: exit status, and standard output with standard error.
        """
        ...


class ImageBuilder(Protocol):
    """Bakes images for one platform."""

    def recipe(self) -> Recipe:
        """Everything that would go into the image. Changes nothing.

        :raises ConfigError: if a script, the package repository or a version in it is missing.
        :raises UnavailableError: if a program is missing or the repository does not answer.
        """
        ...

    def build(self, recipe: Recipe) -> Image:
        """Render, validate, build, read the manifest.

        :returns: the image, its schema not yet known.
        """
        ...

    def label(self, image: Image) -> None:
        """Note on the image what its trial told, where the platform has a place for it."""
        ...

    def discard(self, image: Image) -> None:
        """Remove an image that must not be used; no error if there is none."""
        ...


class Store(Protocol):
    """Keys and bytes, in a folder or an object store. Every write is atomic."""

    def read(self, key: str) -> bytes | None:
        """The content, ``None`` if there is none."""
        ...

    def write(self, key: str, content: bytes) -> None:
        """Replace the content; durable when this returns."""
        ...

    def create(self, key: str, content: bytes) -> bool:
        """Write only if there is nothing yet.

        :returns: ``False`` if something is there.
        """
        ...

    def replace(self, key: str, expected: bytes, content: bytes) -> bool:
        """Write only if ``expected`` is what is there: of several writers one succeeds.

        :returns: ``False`` if something else, or nothing, is there.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove it; no error if there is none."""
        ...

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, sorted."""
        ...
