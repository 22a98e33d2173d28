"""What a rehearsal asks of a node: a copy of its database, and the next release at work on it.

The port and the plain values that travel over it. Nothing here ever speaks to a member of the
zone: every call names a node of our own, outside of the zone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onebaton.model import Host, Secret


@dataclass(frozen=True, slots=True)
class OracleAnswer:
    """What the next release's ``onedb version`` said of the warm copy.

    :param status: its exit status: 0 the schema fits, 1 no database, 2 too old, 3 too new.
    :param said: its lines.
    :param files: migrators of the installed packages, as paths below their common folder
        (``local/6.10.0_to_7.0.0.rb``), ordered.
    """

    status: int
    said: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Contents:
    """The tables of a copy at one moment.

    :param rows: number of rows by table.
    :param sums: ``CHECKSUM TABLE`` by table; ``None`` where MariaDB had none.
    :param shapes: names and types of the columns by table, in their order: a checksum does not
        change with a column that is added and NULL in every row (tried with MariaDB 10.11).
    """

    rows: Mapping[str, int]
    sums: Mapping[str, int | None]
    shapes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class OnedbRun:
    """One run of ``onedb`` to its end.

    :param seconds: measured on the node.
    :param peak_rss_bytes: of its largest process.
    :param lines: what it printed.
    """

    status: int
    seconds: float
    peak_rss_bytes: int
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AheadProof:
    """Whether a copy migrated ahead ends up as one that is migrated whole at the same log index.

    :param equal: no table differs, in columns or in contents.
    :param differing: tables that differ, each with what differs in words, ordered.
    :param stamps: what was left out of the comparison (a table, or ``table.column``), each with
        the reason.
    :param rows: rows that were brought over in batches, by table; deleted ones count too.
    :param seconds: of the last batch, as in a cut: the changed rows through the migrator and put
        in place.
    :param migrator_s: seconds of these that ``onedb upgrade`` took.
    """

    equal: bool
    differing: tuple[str, ...]
    stamps: tuple[str, ...]
    rows: Mapping[str, int]
    seconds: float
    migrator_s: float


class Migrations(Protocol):
    """The next release's ``onedb`` and ``oned`` on a copy beside a node's warm database.

    Every call may be repeated after a crash.
    """

    def clear(self, host: Host) -> bool:
        """Take away what a rehearsal left: fenced ``oned``, fence, copy, configuration.

        :returns: whether there was anything.
        """
        ...

    def database_bytes(self, host: Host) -> int:
        """Room that the node's OpenNebula database takes on its disk; 0 if there is none."""
        ...

    def oracle(self, host: Host) -> OracleAnswer:
        """Ask the installed ``onedb version`` about the warm database."""
        ...

    def copy(self, host: Host, *, timeout_s: float) -> None:
        """Make a copy of the warm database on the same node, anew."""
        ...

    def contents(self, host: Host) -> Contents:
        """The copy's tables."""
        ...

    def secret_files(self, host: Host) -> Mapping[str, str]:
        """SHA-256 of each file in ``/var/lib/one/.one``, by its path there."""
        ...

    def upgrade(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """``onedb upgrade`` of the copy, whatever its exit status."""
        ...

    def fsck(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """``onedb fsck`` of the copy, repairing nothing, whatever its exit status."""
        ...

    def start_fenced(self, host: Host, *, outside: str, timeout_s: float) -> float:
        """Start ``oned`` on the copy, alone and with no way out to the network.

        :param outside: an address that must not be reached any more, to try the fence.
        :returns: seconds from the start to its first answer.
        :raises StepFailedError: if the fence does not hold, or ``oned`` ends instead.
        """
        ...

    def read_pools(
        self, host: Host, session: Secret, tables: Mapping[str, int]
    ) -> Mapping[str, int]:
        """Read every pool that has a table, through the fenced ``oned``.

        :param session: ``user:password``.
        :param tables: rows of the copy's tables.
        :returns: number of objects that it answered, by the pool's table.
        :raises StepFailedError: if a pool cannot be read.
        """
        ...

    def past(self, host: Host, *, timeout_s: float) -> int:
        """Migrate whole what the warm database would have been without a sample of its rows.

        That makes a database of its own, anew, beside the copy. From now on the warm database
        notes which of its rows change, until :meth:`prove` is over or :meth:`clear` is called.

        :returns: rows held back.
        :raises StepFailedError: if the migrator fails.
        """
        ...

    def prove(self, host: Host, *, timeout_s: float) -> AheadProof:
        """Bring the rest of the warm database over in batches, and compare with the copy.

        After :meth:`past`, and after :meth:`copy` and :meth:`upgrade` with nothing shipped since
        the copy was made; before anything else writes to the copy (:meth:`start_fenced`). What
        goes through the batches: the rows held back, a sample of rows that did not change, and
        all rows that changed since. A migrator that looks at more than one row at a time does
        not end up equal, which is an answer and not an error.

        :raises StepFailedError: if the migrator fails, or there was no :meth:`past`.
        """
        ...
