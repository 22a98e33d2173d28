"""Rows compared between two machines by their keys, and what a log says was written."""
# ruff: noqa: S608 - names are the server's own, of tables and columns, or the configuration's

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from onebaton.adapters import raftlog
from onebaton.adapters.aheadsql import USED, Names, Table
from onebaton.adapters.mariadb import Rows, Session
from onebaton.adapters.tablesums import LOCAL_TABLES, OWN_ATTRIBUTE
from onebaton.standby import Written

#: Keys in one statement.
_CHUNK = 1000
#: What differs between healthy servers in a record of the log.
_LOCAL_COLUMNS = {"logdb": frozenset({"timestamp", "applied"})}
_NUMBER = re.compile(r"(?:tiny|small|medium|big)?int\b", re.IGNORECASE)
_CHANGE = re.compile(
    rb"\s*(?:INSERT\s+(?:IGNORE\s+)?INTO|REPLACE\s+INTO|UPDATE|DELETE\s+FROM)\s+`?(\w+)",
    re.IGNORECASE,
)
#: Holds the numbers that were given, not objects.
_COUNTERS = "pool_control"


def differing(
    ours: Session, theirs: Session, names: Names, tables: Sequence[Table]
) -> tuple[str, ...]:
    """Tables in which rows with used notes differ between the warm database and a source.

    :param ours: on the node of the notes.
    :param theirs: on the source's own database.
    """
    return tuple(
        table.name
        for table in tables
        if (table.name not in LOCAL_TABLES or table.name in _LOCAL_COLUMNS)
        and _differs(ours, theirs, names, table)
    )


def _differs(ours: Session, theirs: Session, names: Names, table: Table) -> bool:
    what = f"comparing rows of {table.name}"
    for chosen in _choices(ours, names, table):
        here = ours.rows(digest_sql(table, chosen, database=names.warm), what=what)
        if theirs.rows(digest_sql(table, chosen), what=what) != here:
            return True
    return False


def _choices(session: Session, names: Names, table: Table) -> Iterator[str]:
    """Conditions that choose the rows with used notes, some at a time."""
    if not table.key:
        yield "TRUE"
        return
    values = ", ',', ".join(_literal(table, column) for column in table.key)
    rows = session.rows(
        f"SELECT CONCAT('(', {values}, ')') FROM `{names.notes}`.`{table.name}` WHERE {USED} = 1",
        what="reading the keys of changed rows",
    )
    key = ", ".join(f"`{column}`" for column in table.key)
    own = f" AND name <> '{OWN_ATTRIBUTE}'" if table.name == "system_attributes" else ""
    for begin in range(0, len(rows), _CHUNK):
        listed = ", ".join(value for (value,) in rows[begin : begin + _CHUNK])
        yield f"({key}) IN ({listed}){own}"


def _literal(table: Table, column: str) -> str:
    """An expression that gives a key's value as a literal."""
    if _NUMBER.match(table.shape[column].type):
        return f"`{column}`"
    return f"'0x', HEX(`{column}`)"


def digest_sql(table: Table, chosen: str, *, database: str = "", but: Sequence[str] = ()) -> str:
    """Ask for the number of rows and a digest of their contents, whatever their order.

    Each value by itself, as bytes: a joint text of large ones would be too long for the server.

    :param chosen: a condition.
    :param but: columns that are left out.
    """
    left_out = {*but, *_LOCAL_COLUMNS.get(table.name, ())}
    parts = ", ".join(
        f"COALESCE(MD5(CAST(`{column.name}` AS BINARY)), '-')"
        for column in table.columns
        if column.name not in left_out
    )
    halves = ", ".join(
        f"BIT_XOR(CONV({side}(MD5(CONCAT({parts})), 16), 16, 10))" for side in ("LEFT", "RIGHT")
    )
    place = f"`{database}`.`{table.name}`" if database else f"`{table.name}`"
    return f"SELECT COUNT(*), {halves} FROM {place} WHERE {chosen}"


def written_since(session: Session, index: int) -> Written:
    """What a database's log holds after an index."""
    records, times, objects = 0, [], Counter[str]()
    while rows := _records(session, index):
        for _, timestamp, sqlcmd in rows:
            try:
                found = _CHANGE.match(raftlog.decode(sqlcmd))
            except ValueError:
                # A damaged record counts, though nobody can tell what it changed.
                found = None
            table = found[1].decode() if found else _COUNTERS
            if table != _COUNTERS:
                objects[table] += 1
            if int(timestamp) > 0:
                times.append(float(timestamp))
        records += len(rows)
        index = int(rows[-1][0])
    return Written(
        records, min(times, default=None), max(times, default=None), dict(sorted(objects.items()))
    )


def _records(session: Session, index: int) -> Rows:
    return session.rows(
        "SELECT log_index, COALESCE(timestamp, 0), COALESCE(sqlcmd, '') FROM logdb "
        f"WHERE log_index > {index} AND log_index <> {raftlog.NO_INDEX} "
        f"ORDER BY log_index LIMIT {raftlog.BATCH_RECORDS}",
        what="reading the log",
    )
