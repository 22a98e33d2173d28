"""MariaDB: a pool of connections that commit every statement by itself."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import MySQLdb
from MySQLdb.constants import CR, ER

from oned.settings import Database as Address

_GONE = (CR.SERVER_GONE_ERROR, CR.SERVER_LOST)
_WAIT_S = 300.0

Row = tuple[Any, ...]


class DatabaseError(Exception):
    """A statement failed."""


class DuplicateKey(DatabaseError):
    """The row was there before; a log record that says so counts as applied."""


class ConnectionLost(DatabaseError):
    """The database server cannot be reached."""


def escape(text: str) -> str:
    """*text* as it may stand between single quotes in SQL."""
    return str(MySQLdb.escape_string(text.encode()).decode())


class Database:
    """The server's database.

    :param address: section DB of ``oned.conf``.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._idle: queue.LifoQueue[Any] = queue.LifoQueue()
        self._opened = 0
        self._lock = threading.Lock()

    def create(self) -> None:
        """Create the database if it is not there (source: ``MySqlDB::db_encoding``).

        :raises ConnectionLost: if the server cannot be reached.
        """
        connection = self._connect(database="")
        try:
            cursor = connection.cursor()
            cursor.execute("SET sql_notes = 0")
            cursor.execute(f"CREATE DATABASE IF NOT EXISTS {self._address.name}")
        except MySQLdb.Error as error:
            raise DatabaseError(str(error)) from error
        finally:
            connection.close()

    def _connect(self, database: str | None = None) -> Any:
        extra: dict[str, Any] = {"port": self._address.port} if self._address.port else {}
        try:
            connection = MySQLdb.connect(
                host=self._address.server,
                user=self._address.user,
                passwd=self._address.password,
                db=self._address.name if database is None else database,
                charset="utf8mb4",
                use_unicode=True,
                connect_timeout=10,
                **extra,
            )
        except MySQLdb.Error as error:
            raise ConnectionLost(f"Could not open connect to database server: {error}") from error
        connection.autocommit(True)
        return connection

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                may_open = self._opened < self._address.connections
                self._opened += may_open
            if may_open:
                try:
                    connection = self._connect()
                except ConnectionLost:
                    with self._lock:
                        self._opened -= 1
                    raise
            else:
                connection = self._idle.get(timeout=_WAIT_S)
        try:
            yield connection
        except ConnectionLost:
            connection.close()
            with self._lock:
                self._opened -= 1
            raise
        except BaseException:
            self._idle.put(connection)
            raise
        else:
            self._idle.put(connection)

    def _run(self, statements: Sequence[str]) -> tuple[Row, ...]:
        for attempt in (1, 2):
            try:
                with self._connection() as connection:
                    return _execute(connection, statements)
            except ConnectionLost:
                if attempt == 2:
                    raise
        raise AssertionError("unreachable")

    def read(self, statement: str) -> tuple[Row, ...]:
        """Rows of a query.

        :raises DatabaseError: if it fails.
        """
        return self._run((statement,))

    def write(self, *statements: str) -> None:
        """Run statements, several of them in one transaction.

        :raises DatabaseError: if one fails; nothing of them is kept then.
        """
        if len(statements) == 1:
            self._run(statements)
        else:
            self._run(("START TRANSACTION", *statements, "COMMIT"))

    def close(self) -> None:
        """Close what is idle."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return


def _execute(connection: Any, statements: Sequence[str]) -> tuple[Row, ...]:
    rows: tuple[Row, ...] = ()
    in_transaction = len(statements) > 1
    try:
        for statement in statements:
            connection.query(statement)
            result = connection.store_result()
            rows = result.fetch_row(maxrows=0) if result is not None else ()
    except MySQLdb.Error as error:
        code = error.args[0] if error.args else 0
        if code in _GONE:
            raise ConnectionLost(f"MySQL connection error {code}") from error
        if in_transaction:
            connection.rollback()
        text = f"error {code} : {error.args[-1] if error.args else error}"
        if code == ER.DUP_ENTRY:
            raise DuplicateKey(text) from error
        raise DatabaseError(text) from error
    return rows
