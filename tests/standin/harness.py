"""Runs stand-in servers on one host: one private MariaDB, a folder and a port each.

Everything listens on loopback only and ends with the test that started it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast
from xml.etree import ElementTree
from xml.sax.saxutils import escape

HERE = Path(__file__).resolve().parent
SECRET = "oneadmin:secret of the tests"
SOLO, CANDIDATE, FOLLOWER, LEADER = range(4)

_PYTHON = "/usr/bin/python3"
"""Debian's, because the stand-in needs Debian's python3-mysqldb."""
_START_TIMEOUT_S = 30.0
_SCHEMAS = {"6.10.0": "6.10.0", "6.10.5": "6.10.0", "7.0.2": "7.0.0"}


class HarnessError(Exception):
    """Something the tests need is missing or does not come up."""


def _program(*names: str, package: str) -> str:
    for name in names:
        found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/bin")
        if found:
            return found
    raise HarnessError(f"{names[0]} is missing: apt-get install {package}")


def wait_for(condition: Any, timeout_s: float, what: str) -> Any:
    """The first true value of *condition*, asked every 20 ms.

    :raises HarnessError: past *timeout_s*.
    """
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise HarnessError(f"waited {timeout_s:g} s in vain for {what}")


def free_port() -> int:
    """A TCP port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class MariaDB:
    """A private MariaDB server, reachable by socket only."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        """Its socket."""
        return self.folder / "s"

    def sql(self, statement: str, database: str = "") -> list[list[str]]:
        """Rows of a statement, as text.

        :raises HarnessError: if it fails.
        """
        done = subprocess.run(
            [
                _program("mariadb", package="mariadb-client"),
                "--no-defaults",
                f"--socket={self.socket}",
                "--batch",
                "--skip-column-names",
                "--raw",
                database,
            ],
            input=statement,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise HarnessError(done.stderr)
        return [line.split("\t") for line in done.stdout.splitlines()]

    def copy(self, source: str, target: str) -> None:
        """Make *target* a copy of *source*, taken at one moment."""
        self.sql(f"DROP DATABASE IF EXISTS {target}; CREATE DATABASE {target}")
        dump = subprocess.run(
            [
                _program("mariadb-dump", package="mariadb-client"),
                "--no-defaults",
                f"--socket={self.socket}",
                "--single-transaction",
                source,
            ],
            capture_output=True,
            timeout=60,
            check=True,
        )
        subprocess.run(
            [
                _program("mariadb", package="mariadb-client"),
                "--no-defaults",
                f"--socket={self.socket}",
                target,
            ],
            input=dump.stdout,
            timeout=60,
            check=True,
        )


@contextmanager
def mariadb() -> Iterator[MariaDB]:
    """Start a private MariaDB and end it again.

    :raises HarnessError: if MariaDB or its client is not installed.
    """
    server = _program("mariadbd", package="mariadb-server-core")
    install = _program("mariadb-install-db", package="mariadb-server-core")
    # Short, because the name of a socket may have 107 characters only.
    folder = Path(tempfile.mkdtemp(prefix="ob-"))
    owner = ["--user=root"] if os.geteuid() == 0 else []
    try:
        subprocess.run(
            [
                install,
                "--no-defaults",
                f"--datadir={folder / 'd'}",
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
                *owner,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    server,
                    "--no-defaults",
                    f"--datadir={folder / 'd'}",
                    f"--socket={folder / 's'}",
                    f"--pid-file={folder / 'p'}",
                    "--skip-networking",
                    "--transaction-isolation=READ-COMMITTED",
                    "--innodb-buffer-pool-size=32M",
                    "--innodb-log-file-size=16M",
                    "--innodb-flush-log-at-trx-commit=2",
                    "--max-connections=400",
                    *owner,
                ],
                stdout=log,
                stderr=log,
            )
        database = MariaDB(folder, process)
        try:
            wait_for(lambda: _answers(database), _START_TIMEOUT_S, "MariaDB to start")
            database.sql(
                "CREATE USER oneadmin@localhost IDENTIFIED BY 'oneadmin';"
                "GRANT ALL ON *.* TO oneadmin@localhost"
            )
            yield database
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(timeout=10)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answers(database: MariaDB) -> bool:
    if database.process.poll() is not None:
        raise HarnessError(f"mariadbd ended: {(database.folder / 'log').read_text()[-2000:]}")
    try:
        database.sql("SELECT 1")
    except HarnessError:
        return False
    return True


class _Transport(xmlrpc.client.Transport):
    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> Any:
        connection = super().make_connection(host)
        connection.timeout = self._timeout_s
        return connection


def call(
    endpoint: str, method: str, *params: Any, timeout_s: float = 15.0, secret: str = SECRET
) -> Any:
    """The array a method answers, over a connection of its own."""
    with xmlrpc.client.ServerProxy(endpoint, transport=_Transport(timeout_s)) as proxy:
        return getattr(proxy, method)(secret, *params)


@dataclass(slots=True)
class Server:
    """One stand-in server.

    :ivar server_id: as in ``oned.conf``; -1 is solo.
    :ivar raft: settings of section RAFT that differ from the real defaults.
    :ivar delays: delays that differ from the real ones, see ``oned/settings.py``.
    """

    database: MariaDB
    folder: Path
    port: int
    name: str
    release: str = "6.10.0"
    server_id: int = -1
    raft: dict[str, int] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    extra: str = ""
    secret: str = SECRET
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}/RPC2"

    @property
    def lock_file(self) -> Path:
        """There while it runs."""
        return self.folder / "var/lock/.lock"

    @property
    def log(self) -> str:
        """What it wrote to ``oned.log``."""
        path = self.folder / "var/oned.log"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    def environment(self) -> dict[str, str]:
        """Environment of the server and of the command line tools beside it."""
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.folder),
            "ONE_LOCATION": str(self.folder),
            "ONE_AUTH": str(self.folder / "one_auth"),
            "ONE_XMLRPC": self.endpoint,
            "ONE_RELEASE_FILE": str(self.folder / "release.json"),
            "MYSQL_UNIX_PORT": str(self.database.socket),
            "PYTHONPATH": str(HERE),
            "PYTHONDONTWRITEBYTECODE": "1",
        }

    def configure(self) -> None:
        """Write its folder."""
        for part in ("etc", "var/lock", "var/remotes/hooks"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        named = {"version": self.release, "schema": _SCHEMAS[self.release]}
        (self.folder / "release.json").write_text(json.dumps(named), encoding="utf-8")
        auth = self.folder / "one_auth"
        auth.write_text(self.secret + "\n", encoding="utf-8")
        auth.chmod(0o600)
        raft = ", ".join(f"{key} = {value}" for key, value in self.raft.items())
        (self.folder / "etc/oned.conf").write_text(
            f'DB = [ BACKEND = "mysql", SERVER = "localhost", PORT = 0, USER = "oneadmin",\n'
            f'       PASSWD = "oneadmin", DB_NAME = "{self.name}" ]\n'
            f'PORT = {self.port}\nLISTEN_ADDRESS = "127.0.0.1"\n'
            f'FEDERATION = [ MODE = "STANDALONE", ZONE_ID = 0, SERVER_ID = {self.server_id} ]\n'
            + (f"RAFT = [ {raft} ]\n" if raft else "")
            + self.extra,
            encoding="utf-8",
        )
        (self.folder / "etc/standin.conf").write_text(
            "".join(f"{key}={value:g}\n" for key, value in self.delays.items()), encoding="utf-8"
        )

    def start(self, *, wait: bool = True) -> None:
        """Start it; with *wait* until it answers.

        :raises HarnessError: if it ends instead.
        """
        self.configure()
        with (self.folder / "output").open("ab") as output:
            self.process = subprocess.Popen(
                [_PYTHON, "-m", "oned", "-f"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        if wait:
            wait_for(self.answers, _START_TIMEOUT_S, f"{self.name} to answer")

    def answers(self) -> bool:
        """Whether it answers.

        :raises HarnessError: if its process has ended.
        """
        if self.process is not None and self.process.poll() is not None:
            output = (self.folder / "output").read_text(encoding="utf-8")
            raise HarnessError(
                f"{self.name} ended with {self.process.returncode}: {output[-2000:]}"
            )
        try:
            return bool(self.call("one.system.version")[0])
        except (OSError, xmlrpc.client.Error):
            return False

    def call(self, method: str, *params: Any, timeout_s: float = 15.0) -> Any:
        """The array a method answers."""
        return call(self.endpoint, method, *params, timeout_s=timeout_s, secret=self.secret)

    def raft_status(self) -> dict[str, int]:
        """``one.zone.raftstatus``, as numbers."""
        root = ElementTree.fromstring(self.call("one.zone.raftstatus")[1])
        return {leaf.tag: int(leaf.text or "0") for leaf in root}

    def write(self, name: str, timeout_s: float = 15.0) -> Any:
        """Allocate a document of type 999."""
        return self.call(
            "one.document.allocate", f"<T><NAME>{name}</NAME></T>", 999, timeout_s=timeout_s
        )

    def heartbeat(self, term: int) -> list[Any]:
        """Send it a heartbeat that carries nothing, as of a leader of *term*."""
        return self.replicate(term, 0)

    def replicate(
        self, term: int, commit: int, *, after: tuple[int, int] = (-1, 0), sql: str = ""
    ) -> list[Any]:
        """Send it a record, or a heartbeat, as of a leader of *term*.

        By hand, because ``xmlrpc.client`` sends no ``<i8>``.

        :param commit: what this leader has committed.
        :param after: index and term of the record before the one that is sent.
        """
        index, before = (after[0] + 1, after[0]) if sql else (0, 0)
        kinds = ["<i4>-1</i4>", f"<i8>{commit}</i8>", f"<i4>{term}</i4>", f"<i8>{index}</i8>"]
        kinds += [f"<i4>{term if sql else 0}</i4>", f"<i8>{before}</i8>"]
        kinds += [f"<i4>{after[1]}</i4>", f"<i8>{-1 if sql else 0}</i8>"]
        kinds += [f"<string>{escape(sql)}</string>"]
        values = [f"<string>{self.secret}</string>", *kinds]
        params = "".join(f"<param><value>{one}</value></param>" for one in values)
        body = (
            "<?xml version='1.0'?><methodCall><methodName>one.zone.replicate</methodName>"
            f"<params>{params}</params></methodCall>"
        )
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
            answer = connection.getresponse().read()
        finally:
            connection.close()
        return cast("list[Any]", xmlrpc.client.loads(answer)[0][0])

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self.process is not None:
            self.process.send_signal(number)

    def stop(self, timeout_s: float = 15.0) -> None:
        """SIGTERM, and wait.

        :raises subprocess.TimeoutExpired: if it does not end.
        """
        if self.process is not None:
            self.signal(signal.SIGTERM)
            self.process.wait(timeout=timeout_s)
            self.process = None

    def kill(self) -> None:
        """SIGKILL, and wait."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=10)
            self.process = None

    def tool(self, module: str, *arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        """Run ``onedb``, ``onezone`` … on its node."""
        return subprocess.run(
            [
                _PYTHON,
                "-c",
                f"import sys; from onecli.{module} import main; sys.exit(main(sys.argv[1:]))",
                *arguments,
            ],
            env={**self.environment(), **extra},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@dataclass(slots=True)
class Zone:
    """A zone of stand-in servers, ordered by id."""

    database: MariaDB
    servers: list[Server]

    def leader(self) -> Server | None:
        """The server that leads, of those that answer."""
        for server in self.servers:
            if server.process is None:
                continue
            try:
                if server.raft_status()["STATE"] == LEADER:
                    return server
            except (OSError, xmlrpc.client.Error):
                continue
        return None

    def wait_for_leader(self, timeout_s: float = 40.0) -> Server:
        """The server that leads, once there is one; it may still be reconciling."""
        found = wait_for(self.leader, timeout_s, "a leader")
        assert isinstance(found, Server)
        return found

    def followers(self) -> list[Server]:
        """The servers that follow, ordered by id."""
        leader = self.wait_for_leader()
        return [one for one in self.servers if one is not leader and one.process is not None]


QUICK = {"START_DELAY_S": 0.3, "STOP_DELAY_S": 0.2, "WARMUP_S": 0.5}
"""Delays for tests that measure no times."""


@contextmanager
def zone(
    database: MariaDB,
    *,
    size: int = 3,
    release: str = "6.10.0",
    raft: dict[str, int] | None = None,
    election_timeouts_ms: tuple[int, ...] = (1000, 1800, 2600),
    delays: dict[str, float] | None = None,
    start: bool = True,
) -> Iterator[Zone]:
    """A zone of *size* servers, bootstrapped the way a real one is.

    The first server starts on its own, adds all of them to the zone, and its
    database is copied to the others.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="ob-zone-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        tag = folder.name.replace("-", "_")
        servers = [
            Server(database, folder / f"n{index}", free_port(), f"{tag}_n{index}", release)
            for index in range(size)
        ]
        for server in servers:
            stack.callback(server.kill)
            stack.callback(database.sql, f"DROP DATABASE IF EXISTS {server.name}")
        first = servers[0]
        first.delays = dict(QUICK)
        first.start()
        for index, server in enumerate(servers):
            template = f'SERVER = [ NAME = "n{index}", ENDPOINT = "{server.endpoint}" ]'
            answer = first.call("one.zone.addserver", 0, template)
            if answer[0] is not True:
                raise HarnessError(str(answer))
        first.stop()
        for server in servers[1:]:
            database.copy(first.name, server.name)
        for index, server in enumerate(servers):
            server.server_id = index
            timeout_ms = election_timeouts_ms[index % len(election_timeouts_ms)]
            server.raft = {
                "ELECTION_TIMEOUT_MS": timeout_ms,
                **(raft or {}),
            }
            server.delays = dict(QUICK if delays is None else delays)
        result = Zone(database, servers)
        if start:
            for server in servers:
                server.start(wait=False)
            for server in servers:
                wait_for(server.answers, _START_TIMEOUT_S, f"{server.name} to answer")
            result.wait_for_leader()
        yield result
