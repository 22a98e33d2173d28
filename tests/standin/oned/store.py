"""Writing to the zone: through the log in a zone of several, directly in solo mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oned.database import Database, DatabaseError
from oned.journal import Journal
from oned.logdb import LogDB

if TYPE_CHECKING:
    from oned.raft import Raft


class Store:
    """Where objects are read from and written to.

    :param solo: write at once and log nothing (SERVER_ID = -1).
    """

    def __init__(self, database: Database, log: LogDB, journal: Journal, *, solo: bool) -> None:
        self._database = database
        self._log = log
        self._journal = journal
        self._solo = solo
        self._raft: Raft | None = None

    def attach(self, raft: Raft) -> None:
        """Write through *raft* from now on."""
        self._raft = raft

    def read(self, statement: str) -> tuple[tuple[object, ...], ...]:
        """Rows of a query, from this server's own database.

        :raises DatabaseError: if it fails.
        """
        return self._database.read(statement)

    def write(self, statement: str) -> bool:
        """Write, acknowledged by a majority; false if that did not come about."""
        if self._solo:
            try:
                self._database.write(statement)
            except DatabaseError as error:
                self._journal.error("ONE", f"SQL command was: {statement}, {error}")
                return False
            return True
        raft = self._raft
        if raft is None or not raft.is_leader():
            self._journal.error("DBM", "Tried to modify DB being a follower")
            return False
        index = self._log.append(raft.term, statement, raft.waiting.announce)
        return index is not None and raft.replicate(index)

    def last_oid(self, table: str) -> int:
        """The last id given in *table*, -1 if none ever was."""
        rows = self._database.read(f"SELECT last_oid FROM pool_control WHERE tablename = '{table}'")
        return int(str(rows[0][0])) if rows else -1

    def set_last_oid(self, table: str, oid: int) -> bool:
        """Note the last id given; a record of its own in the log."""
        return self.write(
            f"REPLACE INTO pool_control (tablename, last_oid) VALUES ('{table}',{oid})"
        )
