"""Rows of an OpenNebula database that hold a body, read and written back some at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from onebaton.adapters.bodyxml import Element, elements
from onebaton.adapters.mariadb import Session
from onebaton.errors import StepFailedError

#: Rows that are read, changed and written back at a time.
PORTION = 200

T = TypeVar("T")
Body = Callable[[int, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Shape:
    """The copy's tables.

    :param columns: names by table.
    :param keys: names of the primary key's columns by table, in their order.
    """

    columns: Mapping[str, frozenset[str]]
    keys: Mapping[str, tuple[str, ...]]


def shape(session: Session, database: str) -> Shape:
    """The tables of the session's database."""
    columns: dict[str, set[str]] = {}
    keys: dict[str, list[str]] = {}
    for table, column in session.rows(
        "SELECT table_name, column_name FROM information_schema.columns "  # noqa: S608
        f"WHERE table_schema = '{database}'",
        what="reading the tables",
    ):
        columns.setdefault(table, set()).add(column)
    for table, column in session.rows(
        "SELECT table_name, column_name FROM information_schema.key_column_usage "  # noqa: S608
        f"WHERE table_schema = '{database}' AND constraint_name = 'PRIMARY' "
        "ORDER BY table_name, ordinal_position",
        what="reading the tables",
    ):
        keys.setdefault(table, []).append(column)
    return Shape(
        {table: frozenset(names) for table, names in columns.items()},
        {table: tuple(names) for table, names in keys.items() if "body" in columns[table]},
    )


def bodies(
    session: Session, shape: Shape, table: str, column: str, *, where: str = "TRUE"
) -> Iterator[tuple[int, bytes]]:
    """Ids and texts of a table; none if there is no such table."""
    if table not in shape.keys:
        return
    for rows in _portions(session, shape, table, column, where=where):
        for ids, body in rows:
            yield ids[0], body


def _portions(
    session: Session, shape: Shape, table: str, column: str, *, where: str
) -> Iterator[list[tuple[tuple[int, ...], bytes]]]:
    """Rows in the order of their key, some at a time."""
    names = ", ".join(f"`{name}`" for name in shape.keys[table])
    after = "TRUE"
    while True:
        rows = session.rows(
            f"SELECT {names}, HEX(`{column}`) FROM {table} WHERE ({where}) AND {after} "  # noqa: S608
            f"AND `{column}` IS NOT NULL ORDER BY {names} LIMIT {PORTION}",
            what=f"reading {table}",
            private=True,
        )
        found = [(tuple(map(int, ids)), bytes.fromhex(text)) for *ids, text in rows]
        if found:
            yield found
        if len(found) < PORTION:
            return
        after = f"({names}) > ({', '.join(map(str, found[-1][0]))})"


def rewrite(
    session: Session,
    shape: Shape,
    table: str,
    column: str,
    become: Body,
    *,
    where: str = "TRUE",
    renames: bool = False,
) -> int:
    """Replace each text by what becomes of it.

    :param renames: the object's name stands in a column too.
    :returns: rows that changed.
    """
    done = 0
    key = shape.keys[table]
    for rows in _portions(session, shape, table, column, where=where):
        statements = []
        for ids, body in rows:
            try:
                new = become(ids[0], body)
                name = _name(new) if renames and new != body else None
            except ValueError as error:
                raise unreadable(table, ids[0], error) from None
            if new == body:
                continue
            named = f", name = 0x{name.hex()}" if name else ""
            found = " AND ".join(f"`{c}` = {i}" for c, i in zip(key, ids, strict=True))
            statements.append(
                f"UPDATE {table} SET `{column}` = 0x{new.hex()}{named} WHERE {found}"  # noqa: S608
            )
        if statements:
            ask(session, ";\n".join(["START TRANSACTION", *statements, "COMMIT"]))
        done += len(statements)
    return done


def triggers(session: Session) -> list[str]:
    """Names of the database's triggers."""
    rows = session.rows(
        "SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()",
        what="looking for triggers",
    )
    return [name for (name,) in rows]


def count(session: Session, statement: str) -> int:
    """Change something; rows that it changed. The statement is never shown."""
    ((count,),) = session.rows(
        f"{statement};\nSELECT ROW_COUNT()", what="changing the copy", private=True
    )
    return int(count)


def ask(session: Session, statement: str) -> None:
    """Change something; the statement is never shown."""
    session.rows(statement, what="changing the copy", private=True)


def at(table: str, oid: int, body: bytes, path: str) -> list[Element]:
    """Elements with a path.

    :raises StepFailedError: if the body is no XML.
    """
    return [e for e in parsed(table, oid, body, elements) if e.path == path]


def parsed(table: str, oid: int, body: bytes, read: Callable[[bytes], Iterable[T]]) -> list[T]:
    """What a reader of bodies finds.

    :raises StepFailedError: if the body is no XML.
    """
    try:
        return list(read(body))
    except ValueError as error:
        raise unreadable(table, oid, error) from None


def unreadable(table: str, oid: int, error: ValueError) -> StepFailedError:
    """A body that is not what ``oned`` writes."""
    return StepFailedError(
        f"the object {oid} of {table} cannot be read: {error}",
        resolution="Nothing of it may be left unchanged: put it right in production (onedb fsck "
        "tells of it), then make the clone again.",
    )


def readable(raw: bytes) -> str:
    """A text for people."""
    return raw.decode("utf-8", "replace")


def _name(body: bytes) -> bytes | None:
    """The object's name, of a body whose elements come after those that they hold."""
    for element in elements(body):
        if element.name == "NAME" and element.path.count("/") == 2:
            return element.text
    return None
