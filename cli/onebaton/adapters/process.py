"""The one place where programs are started.

A program gets a deadline, a session of its own (so that ^C reaches us and not it), and its
secrets through standard input or the environment, never through its arguments. A failure
prints a line that can be pasted into a shell.
"""

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from onebaton.errors import DeadlineError, StepFailedError, UnavailableError

#: How many closing lines of a failed program's output a message shows.
SHOWN_LINES = 12
#: The way out where nobody who started the program knows a better one.
REMEDY = "Remove what it complains about, then run the same command again: it goes on."

#: Environment variables that hold secrets of ours: no program is given them.
_WITHHELD: set[str] = set()

LineHandler = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Completed:
    """A program that ended: its arguments, status and output."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


#: A statement as MariaDB's client quotes it when it fails: between two dashed lines, or cut
#: short (measured note). It may hold secrets.
_STATEMENT = re.compile(r"^-{14}$.*?(?:^-{14}\n*|\Z)", re.MULTILINE | re.DOTALL)


class ProgramError(StepFailedError):
    """A program ended with a status that means failure.

    :ivar completed: the program's end, for callers that know its statuses.
    """

    def __init__(self, completed: Completed, *, what: str | None = None) -> None:
        said = completed.stderr.strip() or completed.stdout.strip()
        shown = _STATEMENT.sub("", said).splitlines()
        super().__init__(
            f"{what or completed.argv[0]} failed with status {completed.status}",
            details=[*shown[-SHOWN_LINES:], f"run: {shlex.join(completed.argv)}"],
            resolution=REMEDY,
        )
        self.completed = completed


def require_program(name: str, *, package: str, path: str | None = None) -> str:
    """Where a program is.

    :param package: what to install to get it, in words.
    :raises UnavailableError: if it is not on ``PATH``.
    """
    found = shutil.which(name, path=path)
    if found is None:
        raise UnavailableError(
            f"the program {name!r} was not found on PATH",
            resolution=f"Install {package}, then run the same command again.",
        )
    return found


def withhold(variable: str) -> None:
    """Give an environment variable to no program that is started from now on."""
    _WITHHELD.add(variable)


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: str | bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    what: str | None = None,
    on_line: LineHandler | None = None,
) -> Completed:
    """Run a program to its end.

    :param env: added to this process's environment.
    :param on_line: called with each line of standard output as it comes, from another thread.
    :param what: what is being done, for messages.
    :raises ProgramError: if ``check`` and the status is not 0.
    :raises DeadlineError: if it is still running after ``timeout_s`` seconds (it is ended).
    :raises UnavailableError: if it cannot be started.
    """
    process = _start(argv, stdin=stdin is not None, env=env, cwd=cwd)
    lines: list[str] = []
    errors: list[str] = []
    readers = [
        _reader(process.stdout, lines, on_line),
        _reader(process.stderr, errors, None),
    ]
    feeder = _feeder(process.stdin, stdin)
    try:
        try:
            status = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise DeadlineError(
                f"{what or argv[0]} did not end within {timeout_s:g} s",
                details=[*_tail(errors or lines), f"run: {shlex.join(argv)}"],
                resolution=REMEDY,
            ) from None
    finally:
        _end(process)
        for thread in [*readers, *([feeder] if feeder else [])]:
            thread.join(5)
    completed = Completed(tuple(argv), status, "".join(lines), "".join(errors))
    if check and status != 0:
        raise ProgramError(completed, what=what)
    return completed


@dataclass(slots=True)
class Pipe:
    """A running program whose input or output is streamed by the caller."""

    argv: tuple[str, ...]
    process: "subprocess.Popen[bytes]"
    errors: list[str] = field(default_factory=list)
    reader: threading.Thread | None = None

    @property
    def stdin(self) -> IO[bytes]:
        """Its standard input."""
        if self.process.stdin is None:
            raise RuntimeError("started without a standard input")
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """Its standard output."""
        if self.process.stdout is None:
            raise RuntimeError("started without a standard output")
        return self.process.stdout

    def finish(self, *, timeout_s: float, what: str) -> None:
        """Close its input and wait for its end.

        :raises ProgramError: if the status is not 0.
        :raises DeadlineError: if it does not end in time.
        """
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise DeadlineError(
                f"{what} did not end within {timeout_s:g} s",
                details=_tail(self.errors),
                resolution=REMEDY,
            ) from None
        finally:
            _end(self.process)
            if self.reader is not None:
                self.reader.join(5)
        if status != 0:
            raise ProgramError(Completed(self.argv, status, "", "".join(self.errors)), what=what)


@contextlib.contextmanager
def pipe(
    argv: Sequence[str], *, stdin: bool, env: Mapping[str, str] | None = None
) -> Iterator[Pipe]:
    """Start a program for streaming; it is ended when the block is left.

    :param stdin: give it a standard input; its output can be read either way.
    """
    process = _start(argv, stdin=stdin, env=env, cwd=None)
    handle = Pipe(tuple(argv), process)
    handle.reader = _reader(process.stderr, handle.errors, None)
    try:
        yield handle
    finally:
        _end(process)


def _start(
    argv: Sequence[str], *, stdin: bool, env: Mapping[str, str] | None, cwd: Path | None
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(env),
            cwd=cwd,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise UnavailableError(
            f"the program {argv[0]!r} was not found",
            resolution="Install it, then run the same command again.",
        ) from None
    except OSError as error:
        raise UnavailableError(
            f"{argv[0]} cannot be started: {error.strerror}", resolution=REMEDY
        ) from error


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _WITHHELD}
    return {**inherited, **(added or {})}


def _reader(
    stream: IO[bytes] | None, into: list[str], on_line: LineHandler | None
) -> threading.Thread:
    def read() -> None:
        if stream is None:
            return
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace")
                into.append(line)
                if on_line is not None:
                    on_line(line.rstrip("\n"))

    thread = threading.Thread(target=read, daemon=True, name="read")
    thread.start()
    return thread


def _feeder(stream: IO[bytes] | None, text: str | bytes | None) -> threading.Thread | None:
    if stream is None or text is None:
        return None
    data = text.encode() if isinstance(text, str) else text

    def feed() -> None:
        # The program may end without reading all of its input; its status tells.
        with contextlib.suppress(BrokenPipeError), stream:
            stream.write(data)

    thread = threading.Thread(target=feed, daemon=True, name="feed")
    thread.start()
    return thread


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program and all it started, kindly first."""
    for sign, patience_s in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        if process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)


def _tail(lines: Sequence[str]) -> list[str]:
    return [line.rstrip("\n") for line in lines[-SHOWN_LINES:]]
