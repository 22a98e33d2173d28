"""Real MariaDB servers in temporary folders, reached over their sockets."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from onebaton.adapters import process
from onebaton.adapters.mariadb import Rows, Session, read_rows
from onebaton.adapters.process import Completed

#: Tables as oned 6.10 creates them (names and types of its schema).
SCHEMA = """
CREATE TABLE logdb (log_index BIGINT UNSIGNED PRIMARY KEY, term INTEGER, sqlcmd MEDIUMTEXT,
  timestamp INTEGER, fed_index BIGINT UNSIGNED, applied BOOLEAN);
CREATE INDEX fed_index_idx ON logdb (fed_index);
CREATE INDEX applied_idx ON logdb (applied);
CREATE TABLE document_pool (oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT,
  type INTEGER, uid INTEGER, gid INTEGER, owner_u INTEGER, group_u INTEGER, other_u INTEGER);
CREATE TABLE user_pool (oid INTEGER PRIMARY KEY, name VARCHAR(128), body MEDIUMTEXT,
  uid INTEGER, gid INTEGER, owner_u INTEGER, group_u INTEGER, other_u INTEGER, UNIQUE(name));
CREATE TABLE pool_control (tablename VARCHAR(32) PRIMARY KEY, last_oid BIGINT UNSIGNED);
CREATE TABLE db_versioning (oid INTEGER PRIMARY KEY, version VARCHAR(256), timestamp INTEGER,
  comment VARCHAR(256));
CREATE TABLE local_db_versioning (oid INTEGER PRIMARY KEY, version VARCHAR(256),
  timestamp INTEGER, comment VARCHAR(256), is_slave BOOLEAN);
CREATE TABLE system_attributes (name VARCHAR(128) PRIMARY KEY, body MEDIUMTEXT);
CREATE TABLE host_monitoring (hid INTEGER, last_mon_time INTEGER, body MEDIUMTEXT,
  PRIMARY KEY(hid, last_mon_time));
INSERT INTO db_versioning VALUES (0, '6.10.0', 1, 'bootstrap');
INSERT INTO local_db_versioning VALUES (0, '6.10.0', 1, 'bootstrap', 0);
INSERT INTO system_attributes VALUES ('RAFT_STATE', '<RAFT><TERM>1</TERM></RAFT>');
"""


@dataclass(frozen=True, slots=True)
class LocalDatabase:
    """A database of such a server (implements the adapters' ``Database``)."""

    socket: Path
    name: str
    place: str

    def rows(self, statements: str | bytes, *, what: str, timeout_s: float) -> Rows:
        return self._run(statements, what, timeout_s, private=False)

    def change(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        return self._run(statements, what, timeout_s, private=True)

    @contextmanager
    def session(self, *, timeout_s: float) -> Iterator[Session]:  # noqa: ARG002 - it is local
        argv = [*self._argv(), "--unbuffered", self.name]
        with process.pipe(argv, stdin=True) as pipe:
            yield Session(pipe, self.place)

    def _argv(self) -> list[str]:
        return [
            *("mariadb", f"--socket={self.socket}", "--batch", "--skip-column-names"),
            *("--binary-mode", "--default-character-set=utf8mb4"),
        ]

    def _run(self, statements: str | bytes, what: str, timeout_s: float, *, private: bool) -> Rows:
        data = statements.encode() if isinstance(statements, str) else statements
        argv = [*self._argv(), self.name]
        done = subprocess.run(argv, input=data, capture_output=True, timeout=timeout_s, check=False)
        completed = Completed(
            tuple(argv),
            done.returncode,
            done.stdout.decode("utf-8", "replace"),
            done.stderr.decode("utf-8", "replace"),
        )
        return read_rows(completed, what=f"{what} on {self.place}", private=private)


@contextmanager
def mariadb_servers(folder: Path, count: int) -> Iterator[list[Path]]:
    """Sockets of so many fresh servers; they are ended when the block is left."""
    template = folder / "template"
    subprocess.run(
        [
            *("mariadb-install-db", "--no-defaults", f"--datadir={template}", "--skip-test-db"),
            *("--auth-root-authentication-method=normal", "--user=root"),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    servers = []
    sockets = []
    try:
        for number in range(count):
            data = folder / f"data{number}"
            shutil.copytree(template, data)
            sockets.append(folder / f"s{number}")
            servers.append(
                subprocess.Popen(
                    [
                        *("mariadbd", "--no-defaults", f"--datadir={data}", "--skip-networking"),
                        *(f"--socket={sockets[-1]}", "--innodb-buffer-pool-size=32M"),
                        *(f"--pid-file={folder}/p{number}", "--user=root"),
                    ],
                    stdout=subprocess.DEVNULL,
                    stderr=(folder / f"log{number}").open("wb"),
                )
            )
        deadline = time.monotonic() + 60
        while not all(socket.exists() for socket in sockets):
            assert time.monotonic() < deadline, "MariaDB did not start"
            time.sleep(0.1)
        yield sockets
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(30)
