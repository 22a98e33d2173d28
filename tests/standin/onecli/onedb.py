"""``onedb version|backup|restore|upgrade|fsck|history`` with the recorded texts."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import MySQLdb

from onecli import migration
from onecli.check import check
from onecli.connection import Address, CommandFailed, Connection, dump, load
from onecore import release, tables
from onecore.client import CallFailed, call_once
from onecore.places import find, read_one_auth

_RELEASE = release.installed()
_PLACES = find()
_ANSWER_TIMEOUT_S = 30.0
_NOT_BOOTSTRAPPED = "Database is not correctly bootstraped."


@dataclass(frozen=True, slots=True)
class Versions:
    """What the database says of itself."""

    shared: str
    shared_time: int
    shared_comment: str
    local: str
    local_time: int
    local_comment: str

    @classmethod
    def read(cls, connection: Connection) -> Versions:
        """Read both version tables.

        :raises CommandFailed: with status 1 if the database is not bootstrapped.
        """
        rows = []
        for table in ("db_versioning", "local_db_versioning"):
            try:
                found = connection.run(
                    f"SELECT version, timestamp, comment FROM {table} "
                    f"WHERE oid=(SELECT MAX(oid) FROM {table})"
                )
            except MySQLdb.Error as error:
                raise CommandFailed(_NOT_BOOTSTRAPPED, 1) from error
            if not found:
                raise CommandFailed(_NOT_BOOTSTRAPPED, 1)
            rows.append(found[0])
        shared, local = rows
        return cls(
            str(shared[0]), int(shared[1]), str(shared[2]),
            str(local[0]), int(local[1]), str(local[2]),
        )  # fmt: skip

    def status(self) -> int:
        """0 right, 2 older than this release needs, 3 newer."""
        needed = _ordered(_RELEASE.schema)
        have = (_ordered(self.shared), _ordered(self.local))
        if any(one < needed for one in have):
            return 2
        return 3 if any(one > needed for one in have) else 0

    def show(self) -> None:
        """Print them as ``upgrade -v`` does."""
        print("Version read:")
        print(f"Shared tables {self.shared} : {self.shared_comment}")
        print(f"Local tables  {self.local} : {self.local_comment}")


def _ordered(version: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in version.split("."))


def _when(moment: int) -> str:
    return time.strftime("%m/%d %H:%M:%S", time.localtime(moment))


def _refuse_if_running() -> None:
    if _PLACES.lock_file.exists():
        raise CommandFailed(f"First stop OpenNebula. Lock file found: {_PLACES.lock_file}")
    endpoint = os.environ.get("ONE_XMLRPC") or "http://localhost:2633/RPC2"
    try:
        answer = call_once(endpoint, "one.system.version", [read_one_auth()], _ANSWER_TIMEOUT_S)
    except OSError as error:
        raise CommandFailed(str(error)) from error
    except CallFailed:
        return
    if answer and answer[0] is True:
        raise CommandFailed(f"OpenNebula found listening on '{endpoint}'")


def _version(options: argparse.Namespace, connection: Connection) -> int:
    versions = Versions.read(connection)
    if options.verbose:
        print(f"Shared tables version:   {versions.shared}")
        print(f"Required version:        {_RELEASE.schema}")
        print(f"Timestamp: {_when(versions.shared_time)}")
        print(f"Comment:   {versions.shared_comment}\n")
        print(f"Local tables version:    {versions.local}")
        print(f"Required version:        {_RELEASE.schema}")
        print(f"Timestamp: {_when(versions.local_time)}")
        print(f"Comment:   {versions.local_comment}\n")
    else:
        print(f"Shared: {versions.shared}")
        print(f"Local:  {versions.local}")
        print(f"Required shared version: {_RELEASE.schema}")
        print(f"Required local version:  {_RELEASE.schema}")
    status = versions.status()
    if status == 2:
        print("\nUpdate required. Expected DB version is:")
        print(f"Local:  {_RELEASE.schema}\nShared: {_RELEASE.schema}")
    elif status == 3:
        print("\nWARNING: Source version is lower than DB version")
    return status


def _history(options: argparse.Namespace, connection: Connection) -> int:
    rows = connection.run("SELECT version, timestamp, comment FROM db_versioning")
    for version, moment, comment in rows:
        print(f"Version:   {version}\nTimestamp: {_when(int(moment))}\nComment:   {comment}\n")
    return 0


def _dump_to(address: Address, path: Path) -> None:
    dump(address, path)
    print(f"MySQL dump stored in {path}")
    print("Use 'onedb restore' or restore the DB using the mysql command:")
    print("mysql -u user -h server -P port db_name < backup_file")
    print()


def _dump_path(address: Address) -> Path:
    now = time.localtime()
    return _PLACES.var / (
        f"mysql_{address.server}_{address.name}_{now.tm_year}-{now.tm_mon}-{now.tm_mday}_"
        f"{now.tm_hour}:{now.tm_min}:{now.tm_sec}.sql"
    )


def _backup(options: argparse.Namespace, connection: Connection) -> int:
    path = Path(options.file) if options.file else _dump_path(connection.address)
    if path.exists() and not options.force:
        raise CommandFailed(f"File {path} exists, backup aborted. Use -f to overwrite.")
    _dump_to(connection.address, path)
    return 0


def _restore(options: argparse.Namespace, connection: Connection) -> int:
    path = Path(options.file or "")
    address = connection.address
    if not path.is_file():
        raise CommandFailed(f"File {path} doesn't exist, backup restoration aborted.")
    _refuse_if_running()
    if not options.force and "user_pool" in connection.tables():
        raise CommandFailed(
            f"MySQL database {address.name} at {address.server} exists, use -f to overwrite."
        )
    load(address, path)
    print(f"MySQL DB {address.name} at {address.server} restored.")
    return 0


def _upgrade(options: argparse.Namespace, connection: Connection) -> int:
    _refuse_if_running()
    versions = Versions.read(connection)
    if versions.status() == 0:
        print("Database schema is up to date.")
        return 0
    if options.verbose:
        versions.show()
        print()
    backup = None if options.no_backup else Path(options.backup or _dump_path(connection.address))
    if backup is not None:
        if backup.exists() and not options.force:
            raise CommandFailed(f"File {backup} exists, backup aborted. Use -f to overwrite.")
        _dump_to(connection.address, backup)
    started = time.monotonic()
    try:
        _run_migrators(options, connection, versions)
    except (MySQLdb.Error, ValueError) as error:
        print(f"\n{error}\n\n\nThe database will be restored")
        if backup is not None:
            load(connection.address, backup)
        else:
            print(
                "WARNING: No backup has been restored as --no-backup flag was set. "
                "Note that DB state migh be inconsistent."
            )
        return 255
    print()
    if options.verbose:
        print(f"Total time: {time.monotonic() - started:.2f}s")
    after = Versions.read(connection)
    if after.status() == 0:
        return 0
    sys.stderr.write(
        f"ERROR: Database upgrade to the latest versions (local {after.local}, shared "
        f"{after.shared})\nwasn't successful due to missing migration descriptors.\n"
    )
    if backup is not None:
        print("\nThe database will be restored")
        load(connection.address, backup)
    return 255


def _run_migrators(options: argparse.Namespace, connection: Connection, versions: Versions) -> None:
    for name, _, _ in tables.INDEXES:
        table = next(one for index, one, _ in tables.INDEXES if index == name)
        connection.run(f"DROP INDEX IF EXISTS {name} ON {table}")
    row_s = migration.row_time_s(_PLACES.delays_conf)
    for kind, table, have in (
        ("shared", "db_versioning", versions.shared),
        ("local", "local_db_versioning", versions.local),
    ):
        print(f"\n>>> Running migrators for {kind} tables")
        if have != migration.FROM or _RELEASE.schema != migration.TO:
            print(f"Database already uses version {have}")
            continue
        started = time.monotonic()
        if options.verbose:
            print(
                "  > Running migrator /usr/lib/one/ruby/onedb/"
                f"{kind}/{migration.FROM}_to_{migration.TO}.rb"
            )
        if kind == "local":
            migration.migrate(connection, row_s)
        if options.verbose:
            print(f"  > Done in {time.monotonic() - started:.2f}s\n")
        comment = (
            f"Database migrated from {have} to {migration.TO} (OpenNebula {migration.TO}) "
            "by onedb command."
        )
        _note_version(connection, table, comment)
        print(comment)
    for name, table, columns in tables.INDEXES:
        connection.run(f"CREATE INDEX IF NOT EXISTS {name} ON {table} ({columns})")


def _note_version(connection: Connection, table: str, comment: str) -> None:
    oid = int(connection.run(f"SELECT MAX(oid) FROM {table}")[0][0]) + 1
    now = int(time.time())
    if table == "db_versioning":
        connection.run(
            "INSERT INTO db_versioning (oid, version, timestamp, comment) VALUES (%s, %s, %s, %s)",
            (oid, migration.TO, now, comment),
        )
    else:
        connection.run(
            "INSERT INTO local_db_versioning (oid, version, timestamp, comment, is_slave) "
            "VALUES (%s, %s, %s, %s, 0)",
            (oid, migration.TO, now, comment),
        )


def _fsck(options: argparse.Namespace, connection: Connection) -> int:
    versions = Versions.read(connection)
    if options.verbose:
        versions.show()
        print()
    if not options.dry:
        _refuse_if_running()
    if versions.status() != 0:
        raise CommandFailed(
            "Version mismatch: fsck file is for version\n"
            f"Shared: {_RELEASE.schema}, Local: {_RELEASE.schema}\n\n"
            f"Current database is version\nShared: {versions.shared}, Local: {versions.local}"
        )
    if not options.dry:
        _dump_to(connection.address, Path(options.backup or _dump_path(connection.address)))
    found, repaired = check(connection, dry=options.dry)
    print(f"Total errors found: {found}")
    print(f"Total errors repaired: {repaired}")
    print(f"Total unrepaired errors: {found - repaired}")
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace, Connection], int]] = {
    "version": _version,
    "history": _history,
    "backup": _backup,
    "restore": _restore,
    "upgrade": _upgrade,
    "fsck": _fsck,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="onedb", add_help=True)
    parser.add_argument("command", choices=sorted(_COMMANDS))
    parser.add_argument("file", nargs="?")
    parser.add_argument("-S", "--server")
    parser.add_argument("-P", "--port", type=int)
    parser.add_argument("-u", "--username")
    parser.add_argument("-p", "--password")
    parser.add_argument("-d", "--dbname")
    parser.add_argument("-t", "--type")
    parser.add_argument("--encoding")
    parser.add_argument("-b", "--backup")
    parser.add_argument("-f", "--force", action="store_true")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("--no-backup", action="store_true")
    parser.add_argument("--dry", action="store_true")
    return parser


def _address(options: argparse.Namespace) -> Address:
    given = (options.server, options.port, options.username, options.password, options.dbname)
    if options.type is None and all(value is None for value in given):
        return Address.from_conf(_PLACES)
    for value, missing in ((options.username, "USER"), (options.dbname, "DBNAME")):
        if value is None:
            raise CommandFailed(f"MySQL option {missing} is needed")
    password = options.password or os.environ.get("ONE_DB_PASSWORD")
    if password is None:
        password = getpass.getpass("MySQL Password: ")
    return Address(
        options.server or "localhost", options.port or 0, options.username, password,
        options.dbname,
    )  # fmt: skip


def main(argv: list[str]) -> int:
    """Command line."""
    options = _parser().parse_intermixed_args(argv)
    try:
        connection = Connection(_address(options))
        try:
            return _COMMANDS[options.command](options, connection)
        finally:
            connection.close()
    except (CommandFailed, MySQLdb.Error) as error:
        sys.stderr.write(f"{error}\n")
        return error.status if isinstance(error, CommandFailed) else 255
