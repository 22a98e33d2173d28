"""Statements of a copy migrated ahead: which rows changed, and how they come over.

Triggers on the warm database note the key of each row that changes, in a table of notes with
the columns of that key alone. A note is *open* until a batch has brought its row over; then it
is *used*, and stays until the next batch, for the comparison with the source. A table without a
primary key is noted as a whole.

Joins begin at the notes (``STRAIGHT_JOIN``): there are few, and the server's statistics of a
table that was empty a moment ago would have it read the large table instead.
"""
# ruff: noqa: S608 - names are the server's own, of tables and columns, or the configuration's

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from onebaton.adapters.mariadb import Rows
from onebaton.adapters.tablesums import OWN_ATTRIBUTE

#: Longest name of a database.
MAX_NAME = 64
#: A table of at most so many rows goes through the migrator whole.
SMALL_ROWS = 1000
#: What a migrator writes for itself: never brought over, and whole in each batch.
VERSIONS = ("db_versioning", "local_db_versioning")
#: Raft's log grows for ever, and no migrator needs more of it than the records themselves.
NEVER_WHOLE = frozenset({"logdb"})

#: Tables of the database of notes that are about other things: tables without a key that
#: changed, which tables go whole, and how far the databases are.
WHOLE_NOTES, TABLES, READY = "onebaton_whole", "onebaton_tables", "onebaton_ready"
#: Rows of ``onebaton_ready``: a batch's database stands; the migrated copy is complete.
BATCH_STANDS, COMPLETE = 1, 2
#: Rows of a sample are at least so far apart.
APART = 4
#: Column of a note: 0 open, 1 used by the last batch.
USED = "onebaton_used"


@dataclass(frozen=True, slots=True)
class Names:
    """Databases on one node.

    :param warm: the zone's own schema, kept current by shipping the log.
    :param migrated: its copy in the next schema.
    :param notes: which rows of the warm one changed.
    :param batch: what passes the migrator.
    """

    warm: str
    migrated: str
    notes: str
    batch: str


def standby_names(database: str) -> Names:
    """Those of a stand-by: the migrated one has the configured name, as it is served in the end."""
    return Names(
        warm=_derived(database, "_warm"),
        migrated=database,
        notes=_derived(database, "_changes"),
        batch=_derived(database, "_batch"),
    )


def proof_names(database: str) -> Names:
    """Those of a rehearsal: the seeded database itself is the warm one."""
    return Names(
        warm=database,
        migrated=_derived(database, "_ahead"),
        notes=_derived(database, "_aheadchanges"),
        batch=_derived(database, "_aheadbatch"),
    )


def _derived(database: str, ending: str) -> str:
    """A name with this ending, never the database's own."""
    for last in (ending, f"{ending}_"):
        name = f"{database[: MAX_NAME - len(last)]}{last}"
        if name != database:
            break
    return name


@dataclass(frozen=True, slots=True)
class Column:
    """A column as the server describes it.

    :param is_made: its value is made from others, and cannot be inserted.
    """

    name: str
    type: str
    nullable: bool
    is_made: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table: columns in their order, and the names of its primary key's; none is ``()``."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Columns that can be inserted."""
        return tuple(column.name for column in self.columns if not column.is_made)

    @property
    def shape(self) -> dict[str, Column]:
        """Columns by name: tables of equal shapes take each other's rows."""
        return {column.name: column for column in self.columns}


def look_sql(databases: Sequence[str]) -> str:
    """Ask for the tables of databases; one statement each, because a constant is looked up."""
    statements = []
    for name in databases:
        statements += [
            f"SELECT 't', table_schema, table_name, '', '', '', '' FROM information_schema.tables "
            f"WHERE table_schema = '{name}' AND table_type = 'BASE TABLE' ORDER BY table_name",
            "SELECT 'c', table_schema, table_name, column_name, column_type, is_nullable, extra "
            f"FROM information_schema.columns WHERE table_schema = '{name}' "
            "ORDER BY table_name, ordinal_position",
            "SELECT 'k', table_schema, table_name, column_name, COALESCE(sub_part, ''), '', '' "
            f"FROM information_schema.statistics WHERE table_schema = '{name}' "
            "AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index",
        ]
    return ";\n".join(statements)


def looked(rows: Rows, databases: Sequence[str]) -> dict[str, dict[str, Table]]:
    """The answer: tables by name, by database. A key of parts of columns counts as none."""
    found: dict[str, dict[str, Table]] = {name: {} for name in databases}
    columns: dict[tuple[str, str], list[Column]] = {}
    keys: dict[tuple[str, str], list[str]] = {}
    partial = set()
    for kind, schema, table, name, what, nullable, extra in rows:
        place = (schema, table)
        if kind == "t":
            found[schema][table] = Table(table, (), ())
        elif kind == "c":
            made = "GENERATED" in extra.upper()
            columns.setdefault(place, []).append(Column(name, what, nullable == "YES", made))
        else:
            keys.setdefault(place, []).append(name)
            if what:
                partial.add(place)
    for schema, tables in found.items():
        for table in tables:
            place = (schema, table)
            key = () if place in partial else tuple(keys.get(place, ()))
            tables[table] = Table(table, tuple(columns.get(place, ())), key)
    return found


def followed(tables: Mapping[str, Table]) -> list[Table]:
    """Tables of the warm database whose changes are brought over."""
    return [table for name, table in tables.items() if name not in VERSIONS]


# Notes


def notes_sql(names: Names, tables: Sequence[Table]) -> str:
    """Make the database of notes anew, and have the warm tables note what changes."""
    notes = names.notes
    statements = [
        f"DROP DATABASE IF EXISTS `{notes}`",
        f"CREATE DATABASE `{notes}` CHARACTER SET utf8mb4",
        f"CREATE TABLE `{notes}`.{WHOLE_NOTES} (name VARCHAR(64) PRIMARY KEY, "
        f"{USED} TINYINT NOT NULL DEFAULT 0) ENGINE=InnoDB",
        f"CREATE TABLE `{notes}`.{TABLES} (name VARCHAR(64) PRIMARY KEY, "
        "is_whole TINYINT NOT NULL) ENGINE=InnoDB",
        f"CREATE TABLE `{notes}`.{READY} (is_ready TINYINT PRIMARY KEY) ENGINE=InnoDB",
    ]
    for table in tables:
        if table.key:
            key = _list(table.key)
            # Types, character sets and collations are the key's own.
            statements.append(
                f"CREATE TABLE `{notes}`.`{table.name}` ({USED} TINYINT NOT NULL DEFAULT 0, "
                f"PRIMARY KEY ({key})) ENGINE=InnoDB "
                f"SELECT {key} FROM `{names.warm}`.`{table.name}` LIMIT 0"
            )
        statements += _triggers(names, table)
        limit = SMALL_ROWS if table.name not in NEVER_WHOLE else -1
        statements.append(
            f"INSERT INTO `{notes}`.{TABLES} SELECT '{table.name}', COUNT(*) <= {limit} "
            f"FROM (SELECT 1 FROM `{names.warm}`.`{table.name}` LIMIT {SMALL_ROWS + 1}) AS some"
        )
    return ";\n".join(statements)


def _triggers(names: Names, table: Table) -> list[str]:
    # A change of the key changes two rows.
    rows = {"insert": ("NEW",), "update": ("OLD", "NEW"), "delete": ("OLD",)}
    statements = []
    for event, sides in rows.items():
        if table.key:
            values = ", ".join(
                f"({', '.join(f'{side}.`{column}`' for column in table.key)}, 0)" for side in sides
            )
            target = f"`{table.name}` ({_list(table.key)}, {USED})"
        else:
            target, values = f"{WHOLE_NOTES} (name, {USED})", f"('{table.name}', 0)"
        statements.append(
            f"CREATE OR REPLACE TRIGGER `{names.warm}`.{trigger_name(table.name, event)} "
            f"AFTER {event.upper()} ON `{names.warm}`.`{table.name}` FOR EACH ROW "
            f"INSERT INTO `{names.notes}`.{target} VALUES {values} "
            f"ON DUPLICATE KEY UPDATE {USED} = 0"
        )
    return statements


#: How the names of our triggers begin.
TRIGGERS = "onebaton_"


def trigger_name(table: str, event: str) -> str:
    """Name of a trigger, short whatever the table's name is."""
    return f"{TRIGGERS}{hashlib.sha256(table.encode()).hexdigest()[:16]}_{event}"


def counts_sql(names: Names, tables: Sequence[Table]) -> str:
    """How many notes there are, by table: name, open ones, used ones."""
    parts = [
        f"SELECT '{table.name}', COALESCE(SUM({USED} = 0), 0), COALESCE(SUM({USED} = 1), 0) "
        f"FROM `{names.notes}`.`{table.name}`"
        for table in tables
        if table.key
    ]
    parts.append(f"SELECT name, {USED} = 0, {USED} = 1 FROM `{names.notes}`.{WHOLE_NOTES}")
    return " UNION ALL ".join(parts)


def sample_sql(names: Names, table: Table, *, limit: int, offset: int) -> str:
    """Note every so-manieth row by the order of its key, over the whole range.

    The first row is left alone: it may be one that OpenNebula itself relies upon (the user
    oneadmin, the default cluster). Another offset below :data:`APART` gives other rows, and of
    any table some rows are in no sample: what a migrator made of these must hold, too.

    :param limit: at most so many rows.
    """
    key = _list(table.key)
    return (
        f"INSERT INTO `{names.notes}`.`{table.name}` ({key}, {USED}) "
        f"SELECT {key}, 0 FROM (SELECT {key}, ROW_NUMBER() OVER (ORDER BY {key}) - 1 AS place, "
        f"COUNT(*) OVER () AS total FROM `{names.warm}`.`{table.name}`) AS numbered "
        f"WHERE place > 0 AND place MOD GREATEST({APART}, CEIL(total / {limit})) = {offset} "
        f"ON DUPLICATE KEY UPDATE {USED} = 0"
    )


def without_noted_sql(names: Names, table: Table) -> str:
    """Take the rows with open notes out of the migrated copy."""
    return _delete(names, table, names.migrated)


# A batch


def ready_sql(names: Names, tables: Mapping[str, Table], whole: Collection[str]) -> str:
    """Make the batch's database anew: tables of the warm one, whole or empty."""
    statements = [
        not_ready_sql(names),
        f"DROP DATABASE IF EXISTS `{names.batch}`",
    ]
    statements += [
        f"SELECT CONCAT('CREATE DATABASE `{names.batch}` CHARACTER SET ', "
        "default_character_set_name, ' COLLATE ', default_collation_name) INTO @make "
        f"FROM information_schema.schemata WHERE schema_name = '{names.warm}'",
        "EXECUTE IMMEDIATE @make",
    ]
    for name, table in tables.items():
        statements.append(f"CREATE TABLE `{names.batch}`.`{name}` LIKE `{names.warm}`.`{name}`")
        if name in whole or name in VERSIONS:
            columns = _list(table.names)
            statements.append(
                f"INSERT INTO `{names.batch}`.`{name}` ({columns}) "
                f"SELECT {columns} FROM `{names.warm}`.`{name}`"
            )
    statements.append(f"REPLACE INTO `{names.notes}`.{READY} VALUES ({BATCH_STANDS})")
    return ";\n".join(statements)


def not_ready_sql(names: Names) -> str:
    """The batch's database is about to be used, or to be made."""
    return f"DELETE FROM `{names.notes}`.{READY} WHERE is_ready = {BATCH_STANDS}"


def standing_sql(names: Names) -> str:
    """Ask how far the databases are and which tables go whole; see :func:`standing`."""
    return (
        f"SELECT 'r', is_ready FROM `{names.notes}`.{READY};\n"
        f"SELECT 'w', name FROM `{names.notes}`.{TABLES} WHERE is_whole"
    )


def standing(rows: Rows) -> tuple[set[int], set[str]]:
    """The answer: what of :data:`READY` is there, and tables that go whole."""
    ready = {int(value) for kind, value in rows if kind == "r"}
    return ready, {value for kind, value in rows if kind == "w"}


def refresh_sql(names: Names, changed: Sequence[Table]) -> str:
    """Bring noted rows up to date in the batch's database, in their old form."""
    return ";\n".join(_exchange(names, changed, names.warm, names.batch))


def put_sql(names: Names, changed: Sequence[Table], source: str) -> list[str]:
    """Put noted rows in place in the migrated copy.

    All go before any comes: another unique index than the key may have changed hands.

    :param source: database that holds them in their new form.
    """
    return _exchange(names, changed, source, names.migrated)


def _exchange(names: Names, tables: Sequence[Table], source: str, target: str) -> list[str]:
    statements = [_delete(names, table, target) for table in tables]
    for table in tables:
        columns = ", ".join(f"s.`{column}`" for column in table.names)
        into = f"INSERT INTO `{target}`.`{table.name}` ({_list(table.names)}) SELECT"
        if not table.key:
            statements.append(f"{into} {columns} FROM `{source}`.`{table.name}` AS s")
            continue
        statements.append(
            f"{into} {columns} FROM `{names.notes}`.`{table.name}` AS c STRAIGHT_JOIN "
            f"`{source}`.`{table.name}` AS s ON {_on(table, 's')} WHERE c.{USED} = 0"
            f"{_but_own(table, 's')}"
        )
    return statements


def _delete(names: Names, table: Table, target: str) -> str:
    if not table.key:
        return f"DELETE FROM `{target}`.`{table.name}`"
    return (
        f"DELETE t FROM `{names.notes}`.`{table.name}` AS c STRAIGHT_JOIN "
        f"`{target}`.`{table.name}` AS t ON {_on(table, 't')} WHERE c.{USED} = 0"
        f"{_but_own(table, 't')}"
    )


def _on(table: Table, side: str) -> str:
    return " AND ".join(f"c.`{column}` = {side}.`{column}`" for column in table.key)


def _but_own(table: Table, side: str) -> str:
    """A server's own term and vote are never replaced."""
    if table.name != "system_attributes":
        return ""
    return f" AND {side}.`name` <> '{OWN_ATTRIBUTE}'"


def used_sql(
    names: Names, tables: Sequence[Table], opened: Collection[str], used: Collection[str]
) -> list[str]:
    """Open notes become used ones, and those that were are forgotten."""
    statements = []
    for table in tables:
        place = f"`{names.notes}`.`{table.name}`"
        also = ""
        if not table.key:
            place, also = f"`{names.notes}`.{WHOLE_NOTES}", f" AND name = '{table.name}'"
        if table.name in used:
            statements.append(f"DELETE FROM {place} WHERE {USED} = 1{also}")
        if table.name in opened:
            statements.append(f"UPDATE {place} SET {USED} = 1 WHERE {USED} = 0{also}")
    return statements


def _list(columns: Sequence[str]) -> str:
    return ", ".join(f"`{column}`" for column in columns)
