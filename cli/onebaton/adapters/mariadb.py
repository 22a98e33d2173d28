"""A node's MariaDB through its own command line client, as root over its socket.

Statements go to the client on standard input, so that nothing of them shows in a process
list. What the server says of a failed statement may quote the statement: of statements that
carry secrets only the error's number and place are told.
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn, Protocol

from onebaton.adapters.process import Completed, Pipe, ProgramError
from onebaton.adapters.ssh import Ssh
from onebaton.errors import OnebatonError, RefusedError, StepFailedError, UnavailableError
from onebaton.model import Host

#: Our scripts end with this status when ``oned`` runs where it must not.
ONED_RUNS = 97

#: Shell: the client's name (old nodes know only ``mysql``), with what makes its answers exact.
#: ``--binary-mode`` keeps it from changing line ends and from reading commands out of data.
SQL_FUNCTION = """
sql() {
  local client=mariadb; command -v mariadb >/dev/null || client=mysql
  HOME=/root "$client" --batch --skip-column-names --binary-mode \\
    --max-allowed-packet=1G --default-character-set=utf8mb4 "$@"
}"""

#: Shell: true when an ``oned`` runs, whoever started it.
ONED_RUNS_FUNCTION = """
oned_runs() {
  case "$(systemctl show -p ActiveState --value opennebula.service 2>/dev/null)" in
    active|activating|deactivating|reloading) return 0;; esac
  local comm name
  for comm in /proc/[0-9]*/comm; do
    name=
    { read -r name < "$comm"; } 2>/dev/null || true
    [ "$name" != oned ] || return 0
  done
  return 1
}"""

#: What the client escapes in ``--batch`` output.
_ESCAPES = {"0": "\0", "t": "\t", "n": "\n", "\\": "\\"}
_ERROR = re.compile(r"ERROR (?P<number>\d+) \((?P<state>\w+)\)(?: at line (?P<line>\d+))?")
#: Client and server errors that mean: the server cannot be reached.
_NO_SERVER = frozenset({2002, 2003, 2006, 2013})
#: How the client begins to quote a statement that failed.
_STATEMENT = re.compile(r"^-{14}$", re.MULTILINE)
#: Server errors that say so by their number; others, as 1005, name a reason: the system's, or
#: InnoDB's own where it cannot make a table (seen with MariaDB 10.11 on a full file system).
_DISK_FULL = frozenset({1021, 1114})
_NO_SPACE = re.compile(r"No space left on device|errno: 135\b")

Rows = list[tuple[str, ...]]


class SqlError(StepFailedError):
    """The server refused a statement.

    :ivar number: MariaDB's error number, ``None`` if the client failed without one.
    :ivar line: line of the statements, counted from 1, ``None`` if it is not known.
    """

    def __init__(
        self, message: str, *, details: Sequence[str], number: int | None, line: int | None
    ) -> None:
        super().__init__(
            message,
            details=details,
            resolution="Look at MariaDB's own log there (journalctl -u mariadb), then run the same "
            "command again.",
        )
        self.number = number
        self.line = line


class Database(Protocol):
    """One database of one server."""

    @property
    def name(self) -> str:
        """The database's name."""
        ...

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        ...

    def rows(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        """Run statements and read what they select.

        :returns: rows of all results one after another; NULL is ``NULL``.
        :raises SqlError: at the first statement that fails.
        """
        ...

    def change(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        """The same for changes; what the statements carry is never shown.

        :raises RefusedError: if an ``oned`` uses the database.
        """
        ...

    def session(self, *, timeout_s: float) -> AbstractContextManager["Session"]:
        """One connection that is asked several times, e.g. inside one transaction."""
        ...


class Session:
    """A running client, asked in turns.

    :param pipe: the client, started with ``--unbuffered``.
    :param place: where it is, for messages.
    """

    _END = "-- end of answer --"

    def __init__(self, pipe: Pipe, place: str) -> None:
        self._pipe = pipe
        self._place = place
        #: Lines sent before; the client counts from its own start.
        self._lines = 0

    def rows(self, statements: str, *, what: str, private: bool = False) -> Rows:
        """Run statements and read what they select.

        :param statements: without a semicolon at their end.
        :param private: tell only the number of an error, not the server's words.
        :raises SqlError: if one fails; the session is over then.
        """
        text = f"{statements};\nSELECT '{self._END}';\n"
        with contextlib.suppress(BrokenPipeError):
            self._pipe.stdin.write(text.encode())
            self._pipe.stdin.flush()
        lines = []
        while (line := self._pipe.stdout.readline().decode("utf-8", "replace")) != f"{self._END}\n":
            if not line:
                self._fail(what, private=private)
            lines.append(line)
        self._lines += text.count("\n")
        done = Completed(self._pipe.argv, 0, "".join(lines), "")
        return read_rows(done, what=what, private=private)

    def _fail(self, what: str, *, private: bool) -> NoReturn:
        what = f"{what} on {self._place}"
        try:
            self._pipe.finish(timeout_s=5, what=what)
        except ProgramError as error:
            try:
                read_rows(error.completed, what=what, private=private)
            except SqlError as refused:
                if refused.line is not None:
                    refused.line -= self._lines
                raise
        raise SqlError(f"{what}: the client ended", details=[], number=None, line=None)


class SessionDatabase:
    """A database asked over one session that is open already (implements :class:`Database`).

    For where round trips count, and where an ``oned`` may run beside: nothing looks for one.

    :param aside: the same database, for what is asked when the session is over.
    """

    def __init__(self, session: Session, aside: Database) -> None:
        self._session: Session | None = session
        self._aside = aside
        self.name = aside.name

    @property
    def place(self) -> str:
        """See :attr:`Database.place`."""
        return self._aside.place

    def rows(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        """See :meth:`Database.rows`; the session's own deadline holds."""
        if self._session is None:
            return self._aside.rows(statements, what=what, timeout_s=timeout_s)
        return self._run(self._session, statements, what, private=False)

    def change(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        """See :meth:`Database.change`."""
        if self._session is None:
            return self._aside.change(statements, what=what, timeout_s=timeout_s)
        return self._run(self._session, statements, what, private=True)

    def session(self, *, timeout_s: float) -> AbstractContextManager[Session]:
        """Another one; see :meth:`Database.session`."""
        return self._aside.session(timeout_s=timeout_s)

    def _run(self, session: Session, statements: str, what: str, *, private: bool) -> Rows:
        try:
            return session.rows(statements.rstrip().rstrip(";"), what=what, private=private)
        except OnebatonError:
            self._session = None
            raise


class NodeDatabase:
    """A database on a node over ssh (implements :class:`Database`)."""

    def __init__(self, ssh: Ssh, host: Host, name: str) -> None:
        self._ssh = ssh
        self._host = host
        self.name = name

    @property
    def place(self) -> str:
        """The node's name."""
        return self._host.name

    def rows(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        """See :meth:`Database.rows`."""
        script = f"{SQL_FUNCTION}\nsql {self.name}"
        return self._run(script, statements, what, timeout_s, private=False)

    def change(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        """See :meth:`Database.change`."""
        script = (
            f"{SQL_FUNCTION}\n{ONED_RUNS_FUNCTION}\noned_runs && exit {ONED_RUNS}\nsql {self.name}"
        )
        return self._run(script, statements, what, timeout_s, private=True)

    @contextlib.contextmanager
    def session(self, *, timeout_s: float) -> Iterator[Session]:
        """See :meth:`Database.session`."""
        script = f"{SQL_FUNCTION}\nsql --unbuffered {self.name}"
        with self._ssh.pipe(self._host, script, stdin=True, timeout_s=timeout_s) as pipe:
            yield Session(pipe, self.place)

    def administer(self, statements: str, *, what: str, timeout_s: float) -> Rows:
        """Run statements on the server, outside any database; they are never shown."""
        return self._run(f"{SQL_FUNCTION}\nsql", statements, what, timeout_s, private=True)

    def _run(
        self, script: str, statements: str, what: str, timeout_s: float, *, private: bool
    ) -> Rows:
        done = self._ssh.run(
            self._host, script, stdin=statements, timeout_s=timeout_s, what=what, check=False
        )
        if done.status == ONED_RUNS:
            raise RefusedError(
                f"oned runs on {self.place}: its database is not touched",
                details=[f"wanted: {what}"],
                resolution=f"Stop opennebula.service on {self.place} first.",
            )
        return read_rows(done, what=f"{what} on {self.place}", private=private)


def read_rows(done: Completed, *, what: str, private: bool) -> Rows:
    """The rows that a client printed in ``--batch`` form.

    :param private: tell only the number of an error, not the server's words.
    :raises UnavailableError: if the server does not run.
    :raises SqlError: if a statement failed.
    """
    if done.status == 0:
        return [
            tuple(_unescape(field) for field in line.split("\t"))
            for line in done.stdout.split("\n")[:-1]
        ]
    found = _ERROR.search(done.stderr)
    number = int(found["number"]) if found else None
    if number in _NO_SERVER:
        raise UnavailableError(
            f"{what}: MariaDB does not answer",
            details=[found.group() if found else ""],
            resolution="Look at `systemctl status mariadb` there.",
        )
    if found is None:
        # The client itself failed (missing, killed): it has not quoted any statement.
        details = [] if private else done.stderr.strip().splitlines()[-3:]
        raise SqlError(
            f"{what} failed with status {done.status}", details=details, number=None, line=None
        )
    shown = found.group() if private else done.stderr.strip()
    line = int(found["line"]) if found["line"] else None
    raise SqlError(f"{what} failed", details=[shown], number=number, line=line)


def harmless(stderr: str) -> list[str]:
    """What a failed script said, up to the words of client and server: those may quote data.

    In batch mode the client shows the whole statement that failed, between two dashed lines,
    before the server's error (measured note).
    """
    found = _ERROR.search(stderr)
    if found is None:
        return _STATEMENT.split(stderr)[0].strip().splitlines()[-3:]
    before = _STATEMENT.split(stderr[: found.start()])[0].strip().splitlines()[-3:]
    full = int(found["number"]) in _DISK_FULL or _NO_SPACE.search(stderr) is not None
    return [*before, found.group(), *(["its disk is full"] if full else [])]


def literal(text: str) -> str:
    """A string literal for statements; backslash escapes are on, as MariaDB has it by default."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'").replace("\0", "\\0")
    return f"'{escaped}'"


def _unescape(field: str) -> str:
    if "\\" not in field:
        return field
    return re.sub(r"\\([0tn\\])", lambda found: _ESCAPES[found[1]], field)
