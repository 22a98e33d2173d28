"""All tables of a database that nobody writes to: rows, checksums and columns."""

from onebaton.adapters.mariadb import Database
from onebaton.migration import Contents

SHORT_TIMEOUT_S = 30.0
#: For reading all of a table.
LONG_TIMEOUT_S = 1800.0


def contents_of(database: Database) -> Contents:
    """Rows, checksums and columns of all tables of a database that nobody writes to."""
    what = "counting the rows of the copy"
    found = database.rows(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE' ORDER BY table_name",
        what=what,
        timeout_s=SHORT_TIMEOUT_S,
    )
    names = [name for (name,) in found]
    if not names:
        return Contents({}, {}, {})
    # The names are the server's own, of the copy's tables.
    counting = " UNION ALL ".join(f"SELECT '{n}', COUNT(*) FROM `{n}`" for n in names)  # noqa: S608
    rows = database.rows(counting, what=what, timeout_s=LONG_TIMEOUT_S)
    listed = ", ".join(f"`{name}`" for name in names)
    sums = database.rows(f"CHECKSUM TABLE {listed}", what=what, timeout_s=LONG_TIMEOUT_S)
    columns = database.rows(
        "SELECT table_name, column_name, column_type, is_nullable FROM information_schema.columns "
        "WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position",
        what=what,
        timeout_s=SHORT_TIMEOUT_S,
    )
    shapes: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    for table, *column in columns:
        if table in shapes:  # and no view
            shapes[table] += (" ".join(column),)
    return Contents(
        shapes=shapes,
        rows={name: int(count) for name, count in rows},
        sums={n.rpartition(".")[2]: None if s == "NULL" else int(s) for n, s in sums},
    )
