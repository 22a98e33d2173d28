"""Parity: checksums of what must be equal on every server at the same log index.

Each ``CHECKSUM TABLE`` is taken inside one consistent snapshot together with the log position
(InnoDB reads the snapshot there too; tried with MariaDB 10.11), so that both belong together
while writes go on. One doubt remains: ``oned`` runs a record's SQL and marks it applied in two
transactions, and a snapshot between the two shows the effect of a record it calls not applied.
That cannot be where no record is pending. So equal sums prove parity at any index, while
different ones count for sure only in a *settled* snapshot, one without a pending record.
"""

import time
from collections.abc import Sequence

from onebaton.adapters.mariadb import Database, Session
from onebaton.adapters.raftlog import POSITION_SQL, position_of
from onebaton.model import LogPosition

#: Tables that differ between healthy servers, and why. They are written on each node for
#: itself and never replicated (source: ``exec_local_wr``, ``SystemDB.cc``, ``HostRPCPool.cc``,
#: ``VMRPCPool.cc``).
LOCAL_TABLES = {
    "logdb": "its records are equal, the times of their application are not (measured note)",
    "db_versioning": "time stamps of each node's own bootstrap or upgrade (measured note); the "
    "versions themselves are compared as facts",
    "local_db_versioning": "the same, with a row for each `onedb fsck` run there",
    "host_monitoring": "written by the leader's monitord for itself",
    "vm_monitoring": "written by the leader's monitord for itself",
}
#: ``system_attributes`` is replicated, but for this row: a server's own term and vote
#: (source: ``RaftManager.cc``, ``update_raft_state``). It is summed up without the row.
OWN_ATTRIBUTE = "RAFT_STATE"
#: How long a good moment is looked for, in seconds. Under steady writes a follower is settled
#: for some milliseconds after each heartbeat (BROADCAST_TIMEOUT_MS, 500 by default).
PATIENCE_S = 5.0
#: Differences seen unsettled at so many indexes are a difference: each of them alone may be a
#: record between its SQL and its mark, one in twenty or so under steady writes.
DOUBTS = 4
#: Between two looks, in seconds.
PAUSE_S = 0.002
#: For reading all tables of a large database.
TIMEOUT_S = 300.0

Sums = dict[str, int | None]

_SNAPSHOT_SQL = f"""SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ;
COMMIT; START TRANSACTION WITH CONSISTENT SNAPSHOT;{POSITION_SQL}"""
_TABLES_SQL = """SELECT table_name FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name"""
_ATTRIBUTES_SQL = f"""SELECT COALESCE(BIT_XOR(CRC32(CONCAT(name, ':', body))), 0)
FROM system_attributes WHERE name <> '{OWN_ATTRIBUTE}'"""  # noqa: S608 - a constant


def of_one(database: Database) -> tuple[LogPosition, Sums]:
    """Checksums of one database with the position they belong to.

    :returns: settled, if a settled moment came within :data:`PATIENCE_S`.
    """
    with database.session(timeout_s=TIMEOUT_S) as session:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            position = _snapshot(session)
            if _settled(position) or time.monotonic() > deadline:
                return position, _sums(session)
            time.sleep(PAUSE_S)


def of_two(
    one: Database, other: Database
) -> tuple[tuple[LogPosition, Sums], tuple[LogPosition, Sums]]:
    """Checksums of two databases that go on writing, tried at the same index.

    Both take snapshots in turns until both stand at the same index. A difference counts when
    it is settled, when it is seen at several indexes, or when it stays at one for longer than
    any record takes to be marked.

    :returns: two positions that differ, with no sums, if no such moment came within
        :data:`PATIENCE_S`.
    """
    with one.session(timeout_s=TIMEOUT_S) as ours, other.session(timeout_s=TIMEOUT_S) as theirs:
        deadline = time.monotonic() + PATIENCE_S
        doubts: dict[int, float] = {}
        while True:
            here, there = _snapshot(ours), _snapshot(theirs)
            if here.last_applied != there.last_applied:
                if time.monotonic() > deadline:
                    return (here, {}), (there, {})
                time.sleep(PAUSE_S)
                continue
            results = (here, _sums(ours)), (there, _sums(theirs))
            if results[0][1] == results[1][1] or (_settled(here) and _settled(there)):
                return results
            now = time.monotonic()
            first = doubts.setdefault(here.last_applied, now)
            if len(doubts) >= DOUBTS or now - first > PATIENCE_S:
                return results
            # The tables took their time; the next moment gets its full chance.
            deadline = now + PATIENCE_S
            time.sleep(PAUSE_S)


def _snapshot(session: Session) -> LogPosition:
    row = session.rows(_SNAPSHOT_SQL, what="reading the log position")[-1]
    return position_of(row)


def _settled(position: LogPosition) -> bool:
    """Nothing is logged that is not known to be applied."""
    return position.last_index == position.last_applied


def _sums(session: Session) -> Sums:
    """Checksums in the session's snapshot, by table."""
    what = "comparing tables"
    names = [row[0] for row in session.rows(_TABLES_SQL, what=what)]
    wanted = [name for name in names if name not in LOCAL_TABLES and name != "system_attributes"]
    sums: Sums = {}
    if wanted:
        for row in session.rows(f"CHECKSUM TABLE {_list(wanted)}", what=what):
            sums[row[0].rpartition(".")[2]] = None if row[1] == "NULL" else int(row[1])
    if "system_attributes" in names:
        sums["system_attributes"] = int(session.rows(_ATTRIBUTES_SQL, what=what)[0][0])
    return sums


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
