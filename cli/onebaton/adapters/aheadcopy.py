"""A copy of a database that is migrated before its time, and kept current in batches.

For a stand-by and for the proof of a rehearsal alike: they differ in the databases' names alone.
What passes the migrator is a small database of the same tables, whole where they are small and
with just the changed rows where they are large (facts, "Migrating ahead works"). It is made
ready before it is needed, and brought up to date when it is.
"""
# ruff: noqa: S608 - names are the server's own, of tables and columns, or the configuration's

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

from onebaton.adapters import aheadsql, copyscripts, zonelist
from onebaton.adapters.aheadsql import Names, Table
from onebaton.adapters.mariadb import NodeDatabase, Session
from onebaton.adapters.onedb import upgrade_beside
from onebaton.adapters.ssh import Ssh
from onebaton.errors import StepFailedError
from onebaton.migration import OnedbRun
from onebaton.model import Host

#: As a dump sets it: rows that are there are taken as they are.
_AS_THEY_ARE = (
    "SET NAMES utf8mb4;\nSET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO', foreign_key_checks = 0"
)
_ZONES = "zone_pool"


@dataclass(frozen=True, slots=True)
class Brought:
    """One batch.

    :param rows: by table; deleted ones count too.
    :param migrator_s: 0 if it was not run.
    """

    rows: Mapping[str, int]
    migrator_s: float


class MisfitError(StepFailedError):
    """What came out of a batch does not fit into the migrated copy."""


class AheadCopy:
    """The databases of one node.

    :param user: the database's user, as which ``onedb`` works.
    """

    def __init__(self, ssh: Ssh, host: Host, names: Names, *, user: str) -> None:
        self._ssh = ssh
        self._host = host
        self._names = names
        self._user = user

    @property
    def warm(self) -> NodeDatabase:
        """The warm database."""
        return NodeDatabase(self._ssh, self._host, self._names.warm)

    def session(self, *, timeout_s: float) -> AbstractContextManager[Session]:
        """A connection for the calls below."""
        return self.warm.session(timeout_s=timeout_s)

    # Once

    def note_changes(self, session: Session) -> list[Table]:
        """Begin to note which rows of the warm database change.

        :returns: its tables, but those that are never brought over.
        """
        tables = self.tables(session)
        session.rows(aheadsql.notes_sql(self._names, tables), what="noting what changes")
        return tables

    def duplicate(self, *, timeout_s: float) -> None:
        """Make the database that is to be migrated anew, as a copy of the warm one."""
        names = self._names
        script = copyscripts.duplicate_script(
            source=names.warm, copy=names.migrated, user=self._user
        )
        script += (
            f"sql -e 'GRANT ALL PRIVILEGES ON `{names.batch}`.* TO '"
            f'"{copyscripts.user_at(self._user)}"\n'
        )
        self._ssh.run(self._host, script, timeout_s=timeout_s, what="copying the database")

    def upgrade(self, *, timeout_s: float) -> OnedbRun:
        """Migrate the copy whole.

        :raises FailedMigrationError: if the migrator fails.
        """
        return self._upgrade(self._names.migrated, timeout_s)

    def try_out(self, session: Session, *, timeout_s: float) -> tuple[str, ...]:
        """Pass a batch in which nothing changed, and compare what must be equal.

        Large tables are empty in it. So a new table that comes out as it is in the migrated
        copy was made of small tables alone, and can be brought over whole with each batch.

        :returns: why batches cannot be brought over, in words; empty if they can.
        """
        names = self._names
        self.make_ready(session)
        session.rows(aheadsql.not_ready_sql(names), what="using the batch's database")
        self._upgrade(names.batch, timeout_s)
        found = self._look(session, names.warm, names.migrated, names.batch)
        warm, migrated, batch = (found[one] for one in (names.warm, names.migrated, names.batch))
        problems = [
            f"{name} has other columns in a batch than in the whole"
            for name in sorted({*migrated, *batch})
            if name not in aheadsql.VERSIONS and _shape(migrated, name) != _shape(batch, name)
        ]
        if not problems:
            new = _new_tables(warm, batch)
            problems = [
                f"{name} is made of tables that are too large for a batch"
                for name in self._differing(session, new)
            ]
        return tuple(problems)

    def complete(self, session: Session) -> None:
        """The migrated copy stands and is tried out; make the first batch's database ready."""
        self.make_ready(session)
        notes = self._names.notes
        session.rows(
            f"REPLACE INTO `{notes}`.{aheadsql.READY} VALUES ({aheadsql.COMPLETE})",
            what="noting that the copy is complete",
        )

    # Again and again

    def make_ready(self, session: Session) -> None:
        """Make the next batch's database, if it does not stand."""
        names = self._names
        ready, whole = self._standing(session)
        if aheadsql.BATCH_STANDS in ready:
            return
        tables = self._look(session, names.warm)[names.warm]
        what = "making a database for the next batch"
        session.rows(_AS_THEY_ARE, what=what)
        session.rows(aheadsql.ready_sql(names, tables, whole), what=what)

    def bring(
        self, session: Session, *, left_alone: Collection[str] = (), timeout_s: float
    ) -> Brought:
        """Bring over all rows that are noted.

        :param left_alone: tables that the migrator does not touch.
        :raises FailedMigrationError: if the migrator fails.
        :raises MisfitError: if what comes out of a batch does not fit into the copy.
        :raises StepFailedError: if the copy is not complete.
        """
        names = self._names
        found = self._look(session, names.warm, names.migrated)
        warm, migrated = found[names.warm], found[names.migrated]
        ready, whole = self._standing(session)
        if aheadsql.COMPLETE not in ready:
            raise StepFailedError(
                f"the migrated copy on {self._host.name} is not complete",
                resolution="Run the same command again: it begins this copy anew.",
            )
        tables = aheadsql.followed(warm)
        opened, used = self._notes(session, tables)
        changed = [table for table in tables if table.name in opened]
        if not changed:
            return Brought({}, 0.0)
        what = "bringing changed rows over"
        session.rows(_AS_THEY_ARE, what=what)
        has_new = not set(migrated) <= set(warm)
        is_needed = not _can_skip(changed, left_alone, whole, has_new=has_new)
        if is_needed and aheadsql.BATCH_STANDS not in ready:
            self.make_ready(session)
            ready.add(aheadsql.BATCH_STANDS)
        if aheadsql.BATCH_STANDS in ready:
            self._commit(session, [aheadsql.refresh_sql(names, changed)], what)
        seconds, source, come = 0.0, names.warm, warm
        if is_needed:
            session.rows(aheadsql.not_ready_sql(names), what=what)
            seconds = self._upgrade(names.batch, timeout_s).seconds
            source, come = names.batch, self._look(session, names.batch)[names.batch]
        before, put, after = self._fit(session, changed, come, migrated, source)
        if is_needed:
            more_before, more_put = self._new(session, _new_tables(warm, come), come, migrated)
            before, put = [*before, *more_before], [*put, *more_put]
        # Statements that make or drop tables commit by themselves; they may be repeated.
        if before:
            session.rows(";\n".join(before), what=what, private=True)
        notes = aheadsql.used_sql(names, tables, opened, used)
        self._commit(session, [*put, *after, *notes], what)
        return Brought({table.name: opened[table.name] for table in changed}, seconds)

    def used(self, session: Session) -> list[Table]:
        """Tables of which the last batch brought rows."""
        tables = self.tables(session)
        _, used = self._notes(session, tables)
        return [table for table in tables if table.name in used]

    def noted(self, session: Session) -> dict[str, int]:
        """Numbers of rows that wait to be brought over, by table."""
        return self._notes(session, self.tables(session))[0]

    def tables(self, session: Session) -> list[Table]:
        """Tables of the warm database whose rows are brought over."""
        return aheadsql.followed(self._look(session, self._names.warm)[self._names.warm])

    # Parts

    def _fit(
        self,
        session: Session,
        changed: Sequence[Table],
        come: Mapping[str, Table],
        migrated: Mapping[str, Table],
        source: str,
    ) -> tuple[list[str], list[str], list[str]]:
        """Statements for changed tables: of tables themselves, of rows, and of rows of our own."""
        target = self._names.migrated
        before, fitting = [], []
        for old in changed:
            name = old.name
            new = come.get(name)
            if new is None:
                # As the migrator would have done with the whole.
                before += [f"DROP TABLE `{target}`.`{name}`"] if name in migrated else []
                continue
            if name not in migrated:
                before.append(_like(source, target, name))
            elif new.shape != migrated[name].shape:
                raise self._no_fit(f"{name} has other columns in a batch than in the whole")
            if not set(old.key) <= set(new.shape):
                raise self._no_fit(f"the key of {name} is not what it was")
            fitting.append(replace(new, key=old.key))
        put = aheadsql.put_sql(self._names, fitting, source)
        zones = any(table.name == _ZONES for table in fitting) and _ZONES in migrated
        return before, put, self._own_zones(session, source) if zones else []

    def _own_zones(self, session: Session, source: str) -> list[str]:
        """Statements that give the zones' rows the list and the state of this node's own."""
        rows = session.rows(
            f"SELECT s.oid, HEX(s.body), HEX(t.body) FROM `{source}`.{_ZONES} AS s "
            f"JOIN `{self._names.migrated}`.{_ZONES} AS t ON s.oid = t.oid",
            what="reading the server lists",
        )
        statements = []
        for oid, come, own in rows:
            try:
                body = zonelist.with_own_part(bytes.fromhex(come), bytes.fromhex(own))
            except ValueError as error:
                raise self._no_fit(f"row {oid} of {_ZONES}: {error}") from None
            statements.append(
                f"UPDATE `{self._names.migrated}`.{_ZONES} SET body = 0x{body.hex()} "
                f"WHERE oid = {int(oid)}"
            )
        return statements

    def _new(
        self,
        session: Session,
        new: Sequence[str],
        come: Mapping[str, Table],
        migrated: Mapping[str, Table],
    ) -> tuple[list[str], list[str]]:
        """Statements for tables that the migrator made: they come over whole."""
        target, source = self._names.migrated, self._names.batch
        before = [_like(source, target, name) for name in new if name not in migrated]
        for name in new:
            if name in migrated and migrated[name].shape != come[name].shape:
                raise self._no_fit(f"{name} has other columns in a batch than in the whole")
        there = [name for name in new if name in migrated]
        whole = {*self._differing(session, there), *(set(new) - set(there))}
        put = []
        for name in sorted(whole):
            put += aheadsql.put_sql(self._names, [replace(come[name], key=())], source)
        return before, put

    def _differing(self, session: Session, tables: Sequence[str]) -> list[str]:
        """Which of these tables differ between the batch and the migrated copy."""
        if not tables:
            return []
        sums = [
            (name, self._checksums(session, database, tables))
            for name, database in (("m", self._names.migrated), ("b", self._names.batch))
        ]
        return [name for name in tables if sums[0][1][name] != sums[1][1][name]]

    @staticmethod
    def _checksums(session: Session, database: str, tables: Sequence[str]) -> dict[str, str]:
        listed = ", ".join(f"`{database}`.`{name}`" for name in tables)
        rows = session.rows(f"CHECKSUM TABLE {listed}", what="comparing new tables")
        return {name.rpartition(".")[2]: value for name, value in rows}

    def _look(self, session: Session, *databases: str) -> dict[str, dict[str, Table]]:
        rows = session.rows(aheadsql.look_sql(databases), what="reading the tables' columns")
        return aheadsql.looked(rows, databases)

    def _standing(self, session: Session) -> tuple[set[int], set[str]]:
        rows = session.rows(aheadsql.standing_sql(self._names), what="seeing how far the copy is")
        return aheadsql.standing(rows)

    def _notes(
        self, session: Session, tables: Sequence[Table]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Numbers of open and of used notes, by table, where there are any."""
        rows = session.rows(aheadsql.counts_sql(self._names, tables), what="counting what changed")
        opened = {name: int(count) for name, count, _ in rows if int(count)}
        return opened, {name: int(count) for name, _, count in rows if int(count)}

    def _commit(self, session: Session, statements: Sequence[str], what: str) -> None:
        text = ";\n".join(["START TRANSACTION", *statements, "COMMIT"])
        session.rows(text, what=what, private=True)

    def _upgrade(self, database: str, timeout_s: float) -> OnedbRun:
        return upgrade_beside(self._ssh, self._host, database, user=self._user, timeout_s=timeout_s)

    def _no_fit(self, problem: str) -> MisfitError:
        return MisfitError(
            f"what the migrator made of a batch does not fit into the copy on {self._host.name}",
            details=[problem],
            resolution="This pair of releases cannot be migrated ahead: cut over the plain way "
            "(--cut plain).",
        )


def _can_skip(
    changed: Sequence[Table],
    left_alone: Collection[str],
    whole: Collection[str],
    *,
    has_new: bool,
) -> bool:
    """Whether changed rows can come over without the migrator.

    It must leave their tables alone, and nothing else may be made of them. That rows of one
    table have no part in another's is what the rehearsal proves, but for new tables, which are
    made of small ones (see :meth:`AheadCopy.try_out`): these count for changed then.
    """
    if not all(table.name in left_alone for table in changed):
        return False
    return not (has_new and any(table.name in whole for table in changed))


def _new_tables(warm: Mapping[str, Table], batch: Mapping[str, Table]) -> list[str]:
    return [name for name in batch if name not in warm]


def _shape(tables: Mapping[str, Table], name: str) -> object:
    return tables[name].shape if name in tables else None


def _like(source: str, target: str, name: str) -> str:
    return f"CREATE TABLE IF NOT EXISTS `{target}`.`{name}` LIKE `{source}`.`{name}`"
