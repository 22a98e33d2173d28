"""The proof of a rehearsal: batches end up as a migration of the whole does.

A copy of the warm database without a sample of its rows is migrated first. The sample, further
rows that did not change, and all that changed meanwhile then pass through batches. A full
migration of the same moment must equal the result, table by table. A migrator for which one row
has a part in another's new form does not get through this: rows stay behind that it would have
written otherwise.
"""

import time
from collections import Counter
from collections.abc import Sequence

from onebaton.adapters import aheadrows, aheadscripts, aheadsql
from onebaton.adapters.aheadcopy import AheadCopy, Brought, MisfitError
from onebaton.adapters.aheadsql import Names, Table
from onebaton.adapters.mariadb import SQL_FUNCTION, NodeDatabase, Session
from onebaton.adapters.onedb import FailedMigrationError
from onebaton.adapters.ssh import Ssh
from onebaton.adapters.tablecontents import contents_of
from onebaton.migration import AheadProof, Contents
from onebaton.model import Host

#: Rows of a table that are held back, and as many that did not change.
SAMPLE = 200
#: Rows of a table in the last batch, whose time is measured: as few as in a cut.
LAST_SAMPLE = 5
#: Tables of which no row is held back, and why.
NO_SAMPLE = {
    # A migrator may ask where the numbers of a pool stand and begin anew without an answer.
    "pool_control": "one row for each pool, which stands for all of it",
    # Raft's state is each server's own; the others are settings of which there is one each.
    "system_attributes": "each row is a setting of its own",
    # Without its zone no release starts or migrates.
    "zone_pool": "the zone's only row",
    # Its last records say where the copy stands, its first is each server's own, and none is an
    # object. All that were written meanwhile go through the batches anyway.
    "logdb": "the records, which are no objects",
}
#: Columns that hold the moment of the migration itself: whoever migrates twice gets two.
STAMPS = dict.fromkeys(aheadsql.VERSIONS, ("timestamp",))


def past(ssh: Ssh, host: Host, names: Names, *, user: str, timeout_s: float) -> int:
    """See ``Migrations.past``; ``oned`` does not run there.

    :returns: rows held back.
    """
    deadline = time.monotonic() + timeout_s
    copy = AheadCopy(ssh, host, names, user=user)
    with copy.session(timeout_s=timeout_s) as session:
        tables = [table for table in copy.note_changes(session) if table.name not in NO_SAMPLE]
        copy.duplicate(timeout_s=_left(deadline))
        _sample(session, names, tables, limit=SAMPLE, offset=1)
        held_back = copy.noted(session)
        session.rows(
            ";\n".join(
                aheadsql.without_noted_sql(names, table)
                for table in tables
                if table.name in held_back
            )
            or "DO 0",
            what="holding rows back",
        )
        copy.upgrade(timeout_s=_left(deadline))
        copy.complete(session)
    return sum(held_back.values())


def prove(
    ssh: Ssh, host: Host, names: Names, *, user: str, whole: str, timeout_s: float
) -> AheadProof:
    """See ``Migrations.prove``.

    :param whole: the database that was migrated whole.
    """
    deadline = time.monotonic() + timeout_s
    copy = AheadCopy(ssh, host, names, user=user)
    rows = Counter[str]()
    seconds, last = 0.0, Brought({}, 0.0)
    with copy.session(timeout_s=timeout_s) as session:
        for limit in (SAMPLE, LAST_SAMPLE):
            _sample(session, names, copy.tables(session), limit=limit, offset=0)
            copy.make_ready(session)
            begin = time.monotonic()
            try:
                last = copy.bring(session, timeout_s=_left(deadline))
            except (MisfitError, FailedMigrationError) as error:
                # The whole went through, or nobody would ask: batches are not for this pair.
                doubts = (error.message, *error.details[-3:])
                return AheadProof(False, doubts, _stamps(), rows, 0.0, 0.0)
            seconds = time.monotonic() - begin
            rows.update(last.rows)
        found = _version_differences(session, names.migrated, whole)
    here, there = (NodeDatabase(ssh, host, name) for name in (names.migrated, whole))
    found += differences(contents_of(here), contents_of(there))
    script = f"{SQL_FUNCTION}\n{aheadscripts.clear_proof(names, user=user)}"
    ssh.run(host, script, timeout_s=_left(deadline), what="clearing away the proof")
    return AheadProof(
        equal=not found,
        differing=tuple(sorted(found)),
        stamps=_stamps(),
        rows=dict(sorted(rows.items())),
        seconds=seconds,
        migrator_s=last.migrator_s,
    )


def differences(ahead: Contents, whole: Contents) -> list[str]:
    """Tables that differ, each with what differs in words."""
    found = []
    for name in sorted({*ahead.rows, *whole.rows} - set(aheadsql.VERSIONS)):
        if name not in ahead.rows or name not in whole.rows:
            found.append(f"{name}: only {'ahead' if name in ahead.rows else 'in the whole'}")
        elif ahead.shapes[name] != whole.shapes[name]:
            found.append(f"{name}: other columns")
        elif ahead.rows[name] != whole.rows[name]:
            found.append(f"{name}: {ahead.rows[name]} rows instead of {whole.rows[name]}")
        elif ahead.sums[name] is None or ahead.sums[name] != whole.sums[name]:
            found.append(f"{name}: other contents")
    return found


def _version_differences(session: Session, ahead: str, whole: str) -> list[str]:
    """The version tables without their time stamps."""
    databases = (ahead, whole)
    what = "comparing versions"
    found = aheadsql.looked(session.rows(aheadsql.look_sql(databases), what=what), databases)
    differing = []
    for name in STAMPS:
        sides = [found[database].get(name) for database in databases]
        digests = [
            session.rows(
                aheadrows.digest_sql(table, "TRUE", database=database, but=STAMPS[name]), what=what
            )
            for table, database in zip(sides, databases, strict=True)
            if table is not None
        ]
        if len(digests) != len(databases) or digests[0] != digests[1]:
            differing.append(f"{name}: other versions")
    return differing


def _sample(
    session: Session, names: Names, tables: Sequence[Table], *, limit: int, offset: int
) -> None:
    statements = [
        aheadsql.sample_sql(names, table, limit=limit, offset=offset)
        for table in tables
        if table.key
    ]
    if statements:
        session.rows(";\n".join(statements), what="choosing a sample of rows")


def _stamps() -> tuple[str, ...]:
    return tuple(
        f"{name}.{column}: the moment of the migration itself (measured note)"
        for name, columns in STAMPS.items()
        for column in columns
    )


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 1.0)
