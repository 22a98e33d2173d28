"""The held stand-by of a cut-over: the next release runs before the cut, and can harm nobody.

The port, the plain values that travel over it, and where the record of a cut-over is kept.

On a new node stand two databases: the *warm* one (the zone's own schema, kept current by
shipping the log) and the *migrated* one, which has the configured name and which the next
``oned`` serves in the end. What changes in the warm one is noted row by row by the database
itself; batches of just these rows pass the vendor's migrator and replace theirs in the migrated
one (facts, "Migrating ahead works").
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from onebaton.migration import OnedbRun
from onebaton.model import Host, LogPosition, Prior, RaftStatus, Server


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch that was brought over.

    :param records: log records shipped into the warm database.
    :param rows: changed rows put in place, by table; deleted ones count too.
    :param reached: where both databases stand now.
    :param migrator_s: seconds that ``onedb upgrade`` of the batch took; 0 where every changed
        table is one that the migrator leaves alone.
    """

    records: int
    rows: Mapping[str, int]
    reached: LogPosition
    migrator_s: float


@dataclass(frozen=True, slots=True)
class Written:
    """What was written since a log index, told from the log itself.

    :param records: how many.
    :param first_at: when the first was applied; ``None`` if there is none.
    :param last_at: the same of the last.
    :param objects: changes by table, e.g. ``{"document_pool": 5}``.
    """

    records: int
    first_at: float | None
    last_at: float | None
    objects: Mapping[str, int]


class StandBy(Protocol):
    """Copies migrated ahead on new nodes, and ``oned`` held on one of them.

    Every call names nodes outside of the zone (sources are read only) and may be repeated after
    a crash at any point of itself.
    """

    def begin(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """Set the seeded database aside as the warm one, copy it, and migrate the copy whole.

        Begins anew if it was interrupted. ``oned`` must not run there.

        :raises StepFailedError: if the migrator fails.
        """
        ...

    def follow(
        self,
        source: Host,
        host: Host,
        *,
        up_to: int | None = None,
        left_alone: Collection[str] = (),
        timeout_s: float,
    ) -> Batch:
        """Ship the log into the warm database and bring what changed into the migrated one.

        The source's applied records are shipped, as in a roll. Works beside a held ``oned``; its
        own rows (Raft's state, its server list) stay as they are.

        :param up_to: index of the last record to ship; all that are applied without it.
        :param left_alone: tables that the migrator does not touch; where only those changed,
            it is not run.
        :raises RefusedError: if the source no longer holds the records in between.
        :raises StepFailedError: if the migrator fails, or a record cannot be replayed.
        """
        ...

    def differing_rows(self, source: Host, host: Host) -> tuple[str, ...]:
        """Tables in which rows named by the last :meth:`follow` differ between both machines.

        For the moment after the old servers stopped: everything else was compared before, so
        its time does not grow with the database.
        """
        ...

    def warm_checksums(self, host: Host) -> tuple[LogPosition, dict[str, int | None]]:
        """``CHECKSUM TABLE`` of the warm database, as ``FrontEnds.table_checksums`` has it."""
        ...

    def hold(
        self,
        host: Host,
        *,
        server: Server,
        election_timeout_ms: int,
        outside: Sequence[str],
        timeout_s: float,
    ) -> None:
        """Start ``oned`` on the migrated database, held.

        Its server list names itself and two endpoints that refuse; nothing but ssh gets in or
        out (seen by trying); the Raft hooks cannot run; the unit is not enabled; its lock file
        is put aside, so that ``onedb`` can work on other databases of the node.

        :param server: id, name and endpoint that it will have in the zone.
        :param outside: addresses of production that must not be reached from there.
        :raises StepFailedError: if the fence leaks, or ``oned`` ends instead.
        """
        ...

    def held_status(self, host: Host) -> RaftStatus | None:
        """``one.zone.raftstatus`` of the held ``oned``, asked on its node; ``None`` if it does
        not answer."""
        ...

    def heartbeat(self, host: Host, term: int) -> None:
        """One heartbeat that carries nothing, sent on the node itself."""
        ...

    def loosen(self, host: Host, *, server: Server) -> None:
        """Hooks and unit as they belong to a serving node; no fence.

        Its list keeps it harmless still, and its lock stays aside. For the time that the last
        batch takes, once the old servers are stopped.

        :raises StepFailedError: if no ``oned`` runs there, or another one than was held.
        """
        ...

    def release(self, host: Host, *, server: Server) -> None:
        """Lock and real list, this server alone; what :meth:`loosen` does comes first if need be.

        From then on its next candidacy may win.

        :raises StepFailedError: if no ``oned`` runs there, or another one than was held.
        """
        ...

    def list_alone(self, host: Host, *, server: Server) -> None:
        """Write the real list, this server alone, into the node's own (old or migrated) database.

        For the plain way, where ``oned`` does not run yet. The zone's state becomes enabled.
        """
        ...

    def upgrade(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """``onedb upgrade`` of the node's own database, the plain way.

        :raises StepFailedError: if it fails.
        """
        ...

    def written_since(self, host: Host, index: int) -> Written:
        """What a node's own database holds of the log after an index."""
        ...

    def settle(self, host: Host) -> None:
        """Take away what only the way to the cut-over needed: warm and batch databases, notes."""
        ...

    def discard(self, host: Host) -> bool:
        """Stop and mask ``oned`` there, take fence, copies and notes away, and its database.

        :returns: whether there was anything.
        """
        ...


class PriorRecord(Protocol):
    """Where the record of a cut-over is kept."""

    def load(self) -> Prior | None:
        """The last cut-over's; ``None`` if there was none, or it was taken back.

        :raises OnebatonError: if it cannot be read.
        """
        ...

    def save(self, prior: Prior) -> None:
        """Replace it; durable when this returns."""
        ...

    def forget(self) -> None:
        """There was no cut-over, or it was taken back."""
        ...
