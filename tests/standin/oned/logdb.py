"""The replicated log: table ``logdb`` and the records applied from it.

Source of the behaviour: ``LogDB.cc``. Index, term and applied mark are kept in
memory between elections and read anew from the table at each change of part,
which is what lets records be shipped into a candidate's database.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from onecore.release import Release
from oned.database import Database, DatabaseError, DuplicateKey, escape
from oned.journal import Journal
from oned.record import NOT_FEDERATED, Record, pack, unpack

_RAFT_STATE = "RAFT_STATE"
_KEPT = 32


class LogDB:
    """The log of one server.

    :param retention: applied records kept when the log is purged.
    :param limit_purge: most records removed at a time.
    """

    def __init__(
        self,
        database: Database,
        journal: Journal,
        release: Release,
        retention: int,
        limit_purge: int,
    ) -> None:
        self._database = database
        self._journal = journal
        self._release = release
        self._retention = retention
        self._limit_purge = limit_purge
        self._lock = threading.RLock()
        self._last_index = 0
        self._last_term = 0
        self._last_applied = 0
        # Records just written; each is read soon after by every replica thread.
        self._recent: OrderedDict[int, Record] = OrderedDict()
        if self.record(0, 0) is None:
            now = int(time.time())
            self._insert(Record(0, 0, str(now), NOT_FEDERATED, 0, 0), now, replace=False)
        self.reread()

    def reread(self) -> tuple[int, int]:
        """Read the ends of the log from the table.

        :returns: last applied and last index.
        """
        with self._lock:
            self._recent.clear()
            row = self._database.read("SELECT MAX(log_index) FROM logdb")
            self._last_index = int(row[0][0] or 0)
            row = self._database.read("SELECT MAX(log_index) FROM logdb WHERE applied = '1'")
            self._last_applied = int(row[0][0] or 0)
            row = self._database.read(
                f"SELECT term FROM logdb WHERE log_index = {self._last_index}"
            )
            if row:
                self._last_term = int(row[0][0])
            return self._last_applied, self._last_index

    def last(self) -> tuple[int, int]:
        """Index and term of the last record."""
        with self._lock:
            return self._last_index, self._last_term

    def record(self, index: int, prev_index: int) -> Record | None:
        """A record, or None if it or its predecessor is not in the table.

        That the predecessor must be there is why the oldest record kept cannot be
        replicated any more.
        """
        recent = self._recent.get(index)
        if recent is not None:
            return recent
        if index == 0:
            prev_index = 0
        rows = self._database.read(
            "SELECT c.log_index, c.term, c.sqlcmd, c.fed_index, p.log_index, p.term "
            f"FROM logdb c, logdb p WHERE c.log_index = {index} AND p.log_index = {prev_index}"
        )
        if not rows:
            return None
        row = rows[0]
        try:
            sql = unpack(str(row[2]))
        except ValueError as error:
            self._journal.error("DBM", f"{error} for {row[0]}, {row[3]}")
            return None
        return Record(int(row[0]), int(row[1]), sql, int(row[3]), int(row[4]), int(row[5]))

    def terms(self, *indexes: int) -> dict[int, int]:
        """Terms of those records that exist and whose predecessor exists."""
        wanted = ",".join(str(index) for index in indexes)
        rows = self._database.read(
            f"SELECT c.log_index, c.term FROM logdb c WHERE c.log_index IN ({wanted})"
        )
        return {int(row[0]): int(row[1]) for row in rows}

    def append(self, term: int, sql: str, announce: Callable[[int], None]) -> int | None:
        """Log a record at the end, not yet applied.

        :param announce: told the index before anybody can see the record.
        :returns: its index, None if the table refused it.
        """
        with self._lock:
            index = self._last_index + 1
            record = Record(index, term, sql, NOT_FEDERATED, self._last_index, self._last_term)
            if not self._insert(record, 0, replace=False):
                self._journal.error("DBM", "Cannot insert log record in DB")
                return None
            announce(index)
            self._remember(record)
            self._last_index = index
            self._last_term = term
            return index

    def store(self, record: Record) -> bool:
        """Log a record that a leader sent, in the place of one that was there."""
        with self._lock:
            if not self._insert(record, 0, replace=True):
                return False
            self._remember(record)
            if record.index > self._last_index:
                self._last_index = record.index
                self._last_term = record.term
            return True

    def _remember(self, record: Record) -> None:
        self._recent[record.index] = record
        while len(self._recent) > _KEPT:
            self._recent.popitem(last=False)

    def _insert(self, record: Record, timestamp: int, *, replace: bool) -> bool:
        verb = "REPLACE" if replace else "INSERT"
        statement = (
            f"{verb} INTO logdb (log_index, term, sqlcmd, timestamp, fed_index, applied) VALUES "
            f"({record.index},{record.term},'{pack(record.sql)}',{timestamp},{record.fed_index},"
            f"'{int(timestamp != 0)}')"
        )
        try:
            self._database.write(statement)
        except DatabaseError as error:
            self._journal.error("ONE", f"SQL command was: {verb} INTO logdb, {error}")
            return False
        return True

    def cut(self, index: int) -> None:
        """Remove *index* and everything after it; another leader wrote it otherwise."""
        with self._lock:
            try:
                self._database.write(f"DELETE FROM logdb WHERE log_index >= {index}")
            except DatabaseError as error:
                self._journal.error("ONE", str(error))
                return
            self._recent.clear()
            self._last_index = index - 1
            self._last_term = self.terms(index - 1).get(index - 1, self._last_term)

    def apply(self, commit: int) -> bool:
        """Apply what is committed and not yet applied, in order.

        :returns: whether all of it is applied.
        """
        with self._lock:
            while self._last_applied < commit:
                record = self.record(self._last_applied + 1, self._last_applied)
                if record is None or not self._apply(record):
                    return False
            return True

    def _apply(self, record: Record) -> bool:
        mark = (
            f"UPDATE logdb SET timestamp = {int(time.time())}, applied = '1' "
            f"WHERE log_index = {record.index} AND timestamp = 0"
        )
        good = True
        try:
            # One transaction where the real one has two: half the disk syncs.
            self._database.write(record.sql, mark)
        except DuplicateKey as error:
            self._journal.error("ONE", f"SQL command was: {record.sql}, {error}")
            self._database.write(mark)
        except DatabaseError as error:
            self._journal.error("ONE", f"SQL command was: {record.sql}, {error}")
            if not self._release.marks_failed_records_applied:
                return False
            self._database.write(mark)
            good = False
        self._last_applied = record.index
        return good

    def purge(self) -> None:
        """Remove applied records beyond the retention."""
        with self._lock:
            ends = (
                "SELECT MIN(log_index), MAX(log_index), COUNT(*) FROM logdb "
                f"WHERE fed_index = {NOT_FEDERATED}"
            )
            before = self._database.read(ends)[0]
            first = self._database.read(
                "SELECT MIN(i.log_index) FROM (SELECT log_index FROM logdb "
                f"WHERE fed_index = {NOT_FEDERATED} AND applied = '1' "
                f"ORDER BY log_index DESC LIMIT {self._retention}) AS i"
            )[0][0]
            if first is None:
                return
            self._database.write(
                f"DELETE FROM logdb WHERE applied = '1' AND fed_index = {NOT_FEDERATED} "
                f"AND log_index < {first} LIMIT {self._limit_purge}"
            )
            self._recent.clear()
            after = self._database.read(ends)[0]
        self._journal.info(
            "DBM",
            f"Purging obsolete LogDB records: {before[2] - after[2]} records purged. "
            f"Log state: {before[0]},{before[1]} - {after[0]},{after[1]}",
        )
        self._journal.info(
            "DBM",
            "Purging obsolete federated LogDB records: 0 records purged. Federated log size: 0.",
        )

    def load_state(self) -> tuple[int, int] | None:
        """Term and vote this server remembers, None if it never had any."""
        rows = self._database.read(
            f"SELECT body FROM system_attributes WHERE name = '{_RAFT_STATE}'"
        )
        if not rows:
            return None
        body = str(rows[0][0])
        return int(_between(body, "TERM", "0")), int(_between(body, "VOTEDFOR", "-1"))

    def save_state(self, term: int, voted_for: int) -> None:
        """Remember term and vote; never logged, each server has its own."""
        body = (
            "<TEMPLATE><MESSAGE><![CDATA[bootstrap state]]></MESSAGE>"
            f"<TERM><![CDATA[{term}]]></TERM>"
            f"<VOTEDFOR><![CDATA[{voted_for}]]></VOTEDFOR></TEMPLATE>"
        )
        try:
            self._database.write(
                f"INSERT INTO system_attributes (name, body) VALUES ('{_RAFT_STATE}', "
                f"'{escape(body)}') ON DUPLICATE KEY UPDATE body = VALUES(body)"
            )
        except DatabaseError as error:
            self._journal.error("ONE", str(error))


def _between(body: str, tag: str, default: str) -> str:
    start = body.find(f"<{tag}>")
    if start < 0:
        return default
    inner = body[start + len(tag) + 2 : body.find(f"</{tag}>", start)]
    return inner.replace("<![CDATA[", "").replace("]]>", "") or default
