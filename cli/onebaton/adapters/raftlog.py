"""Raft's log in a database: where it stands, and how its records get into another one.

``logdb`` holds the SQL of every change of the zone as base64(zlib(SQL)), with index, term,
time of application (0: not yet), index in a federation, and whether it was applied (source:
``LogDB.cc`` of 6.10–7.4). ``oned`` applies a record by running its SQL and marking it in two
separate transactions, and takes a duplicate key for "has been applied already"; so does this
module, because a dump can catch a record between the two.
"""
# ruff: noqa: S608 - statements are put together from numbers and checked base64 alone

import base64
import binascii
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from onebaton.adapters.mariadb import Database, SqlError, literal
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import EMPTY_LOG_INDEX, LogPosition

#: ``oned`` keeps "no index" as the largest 64-bit number; a row under it is no record.
NO_INDEX = 18446744073709551615
#: The first record is written by each server for itself at its first start: not SQL but a
#: time stamp, in term 0, and never applied or replicated.
FIRST_INDEX = 0
#: Records a batch: one transaction, two round trips.
BATCH_RECORDS = 2000
#: MariaDB's number for a duplicate key.
DUPLICATE_KEY = 1062

#: A server goes on after the last record that is applied, and never looks below it again.
_TOP_SQL = f"""(SELECT MAX(log_index) FROM logdb
              WHERE applied = 1 AND log_index <> {NO_INDEX})"""
#: One row: last stored index, last index below which all is applied, term of the last one, and
#: the record that was passed over or 0. Signed, because the index before 0 is -1.
POSITION_SQL = f"""
SELECT COALESCE(last, {EMPTY_LOG_INDEX}),
       COALESCE(CAST(pending AS SIGNED) - 1, last, {EMPTY_LOG_INDEX}),
       COALESCE((SELECT term FROM logdb WHERE log_index = bounds.last), 0),
       IF(pending < {_TOP_SQL}, pending, 0)
FROM (SELECT (SELECT CAST(MAX(log_index) AS SIGNED) FROM logdb
              WHERE log_index <> {NO_INDEX}) AS last,
             (SELECT MIN(log_index) FROM logdb
              WHERE (applied = 0 OR applied IS NULL) AND log_index <> {NO_INDEX}) AS pending
     ) AS bounds"""

_POSITION_INTO_SQL = POSITION_SQL.replace(
    "\nFROM (", " INTO @last, @applied, @term, @passed_over\nFROM (", 1
)

_BASE64 = re.compile(r"[A-Za-z0-9+/=]*")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of Raft's log as it is stored.

    :param timestamp: seconds since the epoch when it was applied.
    :param fed_index: its index in a federation; ``NO_INDEX`` if it is not federated.
    :param sqlcmd: base64(zlib(SQL)); empty if it carries nothing.
    """

    index: int
    term: int
    timestamp: int
    fed_index: int
    sqlcmd: str


def encode(sql: bytes) -> str:
    """SQL as ``logdb`` stores it."""
    return base64.b64encode(zlib.compress(sql)).decode("ascii") if sql else ""


def decode(sqlcmd: str) -> bytes:
    """The SQL of a stored record.

    :raises ValueError: if it is not base64(zlib(…)).
    """
    if not sqlcmd:
        return b""
    try:
        return zlib.decompress(base64.b64decode(sqlcmd, validate=True))
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"not base64(zlib(SQL)): {error}") from None


def position(database: Database, *, timeout_s: float = 30.0) -> LogPosition:
    """Where a database stands in the log, from one statement."""
    what = "reading the log position"
    rows = database.rows(POSITION_SQL, what=what, timeout_s=timeout_s)
    return position_of(rows[0])


def position_of(row: Sequence[str]) -> LogPosition:
    """A row of :data:`POSITION_SQL`.

    :raises ValueError: if it is none.
    """
    last, applied, term, passed_over = (int(value) for value in row)
    return LogPosition(last, applied, term, passed_over or None)


def ship(
    source: Database, target: Database, *, up_to: int | None = None, timeout_s: float = 600.0
) -> int:
    """Replay on the target what the source has applied after the target's last applied.

    Beginning after the last *applied* record, never after the last logged one: a dump of a
    follower may hold records it has not applied, and they would be lost (measured note).
    Leftovers on the target, logged and never committed, are replaced.

    :param up_to: index of the last record to ship; all that are applied without it.
    :param timeout_s: for each batch.
    :returns: number of records shipped.
    :raises RefusedError: if the source no longer holds the records in between, if the two
        logs are of different histories, or if the target's ``oned`` runs.
    :raises StepFailedError: if a record cannot be replayed.
    """
    anchor, anchor_term = _anchor(target)
    shipped = 0
    while True:
        applied, encoding, records = _read(source, anchor, up_to, timeout_s)
        if applied < max(anchor, FIRST_INDEX):
            return shipped
        records = _after_anchor(source, target, anchor, anchor_term, records)
        if not records:
            return shipped
        _replay(target, records, encoding, timeout_s)
        shipped += len(records)
        anchor, anchor_term = records[-1].index, records[-1].term
        if anchor >= applied:
            return shipped


def _read(
    source: Database, anchor: int, up_to: int | None, timeout_s: float
) -> tuple[int, str, list[Record]]:
    """What to ship next, in one snapshot of the source.

    :returns: index of the last record that may be shipped, the database's character set, and
        the applied records from the anchor on, one batch at most.
    """
    limit = "@applied" if up_to is None else f"LEAST(@applied, {up_to})"
    rows = source.rows(
        f"""SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
START TRANSACTION WITH CONSISTENT SNAPSHOT;
{_POSITION_INTO_SQL};
SET @applied = {limit};
SELECT @applied, @@character_set_database;
SELECT log_index, term, timestamp, fed_index, COALESCE(sqlcmd, '') FROM logdb
WHERE log_index >= {max(anchor, FIRST_INDEX)} AND log_index <= @applied
  AND log_index <> {NO_INDEX} ORDER BY log_index LIMIT {BATCH_RECORDS + 1};
COMMIT;""",
        what="reading the log",
        timeout_s=timeout_s,
    )
    applied, encoding = rows[0]
    return (
        int(applied),
        encoding,
        [
            Record(int(index), int(term), int(timestamp), int(fed_index), sqlcmd)
            for index, term, timestamp, fed_index, sqlcmd in rows[1:]
        ],
    )


def _after_anchor(
    source: Database, target: Database, anchor: int, anchor_term: int, records: Sequence[Record]
) -> list[Record]:
    """The records after the anchor, once they are seen to continue the target's log."""
    first = anchor if anchor > EMPTY_LOG_INDEX else FIRST_INDEX
    if not records or records[0].index != first:
        raise RefusedError(
            f"{target.place} fell out of the log window: {source.place} no longer holds record "
            f"{first}",
            details=[
                f"{source.place} begins at record {records[0].index}" if records
                else f"{source.place} holds no applied record from there on"
            ],
            resolution=f"Seed {target.place} again, then ship the log.",
        )  # fmt: skip
    rest = list(records)
    if anchor > EMPTY_LOG_INDEX:
        if records[0].term != anchor_term:
            raise RefusedError(
                f"the logs of {source.place} and {target.place} are of different histories",
                details=[
                    f"record {anchor} is of term {records[0].term} on {source.place} and of "
                    f"term {anchor_term} on {target.place}"
                ],
                resolution=f"Seed {target.place} again from a member of this zone.",
            )
        rest = rest[1:]
    before = records[0]
    for record in records[1:]:
        if record.index != before.index + 1 or record.term < before.term:
            raise RefusedError(
                f"the log of {source.place} has a gap after record {before.index}",
                details=[
                    f"record {before.index} is of term {before.term}, the next is "
                    f"{record.index} of term {record.term}"
                ],
                resolution=f"Seed {target.place} again from a healthy follower.",
            )
        before = record
    return rest


def _replay(target: Database, records: Sequence[Record], encoding: str, timeout_s: float) -> None:
    script = replay_script(records, encoding)
    what = f"replaying records {records[0].index} to {records[-1].index}"
    try:
        target.change(script, what=what, timeout_s=timeout_s)
    except SqlError as error:
        failed = _record_at(records, error.line)
        raise StepFailedError(
            f"{target.place} cannot replay record {failed}; the log up to "
            f"{position(target).last_applied} is in place",
            details=error.details,
            resolution=f"Seed {target.place} again; if it fails at the same record, compare "
            "the table definitions of both nodes.",
        ) from None


#: Lines of a replay script before the first record's; each record takes one line.
_HEAD_LINES = 4


def replay_script(records: Sequence[Record], encoding: str) -> str:
    """Statements that run records' SQL and store the records, in one transaction.

    The SQL goes over as it is stored and is unpacked by the server itself: no client and no
    character set conversion ever sees its text, so that every byte arrives as ``oned`` would
    send it. The connection's character set is the database's own, as ``oned``'s is
    (source: ``MySqlDB.cc``, ``db_encoding``).

    :param encoding: the database's default character set.
    :raises StepFailedError: if a record is damaged.
    """
    head = [f"SET NAMES {encoding};", "SET @sqlcmd = '';", "START TRANSACTION;", "DELIMITER $$"]
    lines = [*head, *(_statement(record) for record in records), "DELIMITER ;"]
    last = records[-1]
    # What lies beyond and is of an older term can never be committed any more.
    lines += [
        f"DELETE FROM logdb WHERE log_index > {last.index} AND log_index <> {NO_INDEX} "
        f"AND term < {last.term};",
        "COMMIT;",
        "",
    ]
    return "\n".join(lines)


def _statement(record: Record) -> str:
    store = (
        "REPLACE INTO logdb (log_index, term, sqlcmd, timestamp, fed_index, applied) VALUES "
        f"({record.index}, {record.term}, @sqlcmd, {record.timestamp}, {record.fed_index}, 1);"
    )
    if not _BASE64.fullmatch(record.sqlcmd):
        raise _damaged(record, "its text is not base64")
    run = ""
    if record.sqlcmd and record.index != FIRST_INDEX:
        try:
            size = len(decode(record.sqlcmd))
        except ValueError as error:
            raise _damaged(record, str(error)) from None
        # UNCOMPRESS wants the size in four bytes, low byte first, before the zlib stream.
        prefix = struct.pack("<I", size).hex()
        run = f"EXECUTE IMMEDIATE UNCOMPRESS(CONCAT(0x{prefix}, FROM_BASE64(@sqlcmd))); "
    return (
        f"BEGIN NOT ATOMIC DECLARE CONTINUE HANDLER FOR {DUPLICATE_KEY} BEGIN END; "
        f"SET @sqlcmd = {literal(record.sqlcmd)}; {run}{store} END $$"
    )


def _damaged(record: Record, reason: str) -> StepFailedError:
    return StepFailedError(
        f"record {record.index} of the log is damaged: {reason}",
        resolution="Seed from another follower, whose log is whole.",
    )


def _record_at(records: Sequence[Record], line: int | None) -> str:
    place = (line or 0) - _HEAD_LINES - 1
    return str(records[place].index) if 0 <= place < len(records) else "(unknown)"


def _anchor(database: Database) -> tuple[int, int]:
    """Index and term of a database's last applied record; term 0 if there is none."""
    rows = database.rows(
        f"{_POSITION_INTO_SQL};\nSELECT @applied, COALESCE("
        "(SELECT term FROM logdb WHERE log_index = @applied), 0);",
        what="reading the log position",
        timeout_s=30,
    )
    index, term = rows[0]
    return int(index), int(term)
