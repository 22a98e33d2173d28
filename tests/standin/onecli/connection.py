"""The database as ``onedb`` reaches it: by its own client, and by MariaDB's tools."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import MySQLdb

from onecore.places import Places
from onecore.template import Template, TemplateError

_TOOL_TIMEOUT_S = 3600.0

Row = tuple[Any, ...]


class CommandFailed(Exception):
    """The command ends with a message.

    :ivar status: exit status; the real one's -1 is 255 for the shell.
    """

    def __init__(self, text: str, status: int = 255) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is and who asks."""

    server: str
    port: int
    user: str
    password: str
    name: str

    @classmethod
    def from_conf(cls, places: Places) -> Address:
        """Section DB of ``oned.conf``.

        :raises CommandFailed: if it cannot be read or names no MySQL.
        """
        try:
            text = places.oned_conf.read_text(encoding="utf-8")
            section = Template.parse(text).vector("DB") or {}
        except (OSError, TemplateError) as error:
            raise CommandFailed(f"Unable to parse oned.conf: {error}") from error
        if section.get("BACKEND") != "mysql":
            raise CommandFailed("DB BACKEND must be sqlite or mysql.")
        try:
            port = int(section.get("PORT") or "0")
        except ValueError as error:
            raise CommandFailed(f"Unable to parse oned.conf: {error}") from error
        return cls(
            section.get("SERVER") or "localhost",
            port,
            section.get("USER") or "oneadmin",
            section.get("PASSWD") or "",
            section.get("DB_NAME") or "opennebula",
        )


class Connection:
    """One connection that commits every statement."""

    def __init__(self, address: Address) -> None:
        self.address = address
        extra: dict[str, Any] = {"port": address.port} if address.port else {}
        try:
            self._connection = MySQLdb.connect(
                host=address.server,
                user=address.user,
                passwd=address.password,
                db=address.name,
                charset="utf8mb4",
                connect_timeout=10,
                **extra,
            )
        except MySQLdb.Error as error:
            raise CommandFailed(f"Mysql2::Error::ConnectionError: {error.args[-1]}") from error
        self._connection.autocommit(True)

    def run(self, statement: str, values: tuple[Any, ...] | None = None) -> tuple[Row, ...]:
        """Run a statement and return its rows.

        :raises MySQLdb.Error: if it fails.
        """
        cursor = self._connection.cursor()
        cursor.execute(statement, values)
        return tuple(cursor.fetchall())

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all of it or nothing."""
        self.run("START TRANSACTION")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def tables(self) -> set[str]:
        """Names of the tables there are."""
        return {str(row[0]) for row in self.run("SHOW TABLES")}

    def close(self) -> None:
        """Close it."""
        self._connection.close()


@contextmanager
def _options(address: Address) -> Iterator[str]:
    # The password must not be seen in the list of processes.
    descriptor, name = tempfile.mkstemp(prefix="onedb-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            port = f"port={address.port}\n" if address.port else ""
            # The tools would rather believe /etc/mysql than the environment.
            named = os.environ.get("MYSQL_UNIX_PORT")
            socket = f"socket={named}\n" if named else ""
            password = address.password.replace("\\", "\\\\").replace('"', '\\"')
            file.write(
                f'[client]\nuser={address.user}\npassword="{password}"\n'
                f"host={address.server}\n{port}{socket}"
            )
        yield f"--defaults-extra-file={name}"
    finally:
        Path(name).unlink(missing_ok=True)


def dump(address: Address, path: Path) -> None:
    """Dump the database as the real one does, locks included.

    :raises CommandFailed: if the tool does.
    """
    with _options(address) as options, path.open("wb") as file:
        done = subprocess.run(
            [
                "mysqldump",
                options,
                "--add-drop-database",
                "--databases",
                "--add-drop-table",
                address.name,
            ],
            stdout=file,
            stdin=subprocess.DEVNULL,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    if done.returncode != 0:
        raise CommandFailed("Unknown error running 'mysqldump'")


def load(address: Address, path: Path) -> None:
    """Load a dump.

    :raises CommandFailed: if the tool fails.
    """
    with _options(address) as options, path.open("rb") as file:
        done = subprocess.run(
            ["mysql", options, address.name],
            stdin=file,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    if done.returncode != 0:
        raise CommandFailed(f"Error while restoring MySQL DB {address.name} at {address.server}.")
