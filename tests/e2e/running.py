"""The command while it runs, and what anybody on the machine could see of it meanwhile."""

import contextlib
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str

    def show(self, title: str) -> None:
        """Print what an operator saw, for a human to judge (``pytest -rP``)."""
        print(f"--- {title}: status {self.status}\n{self.out}{self.err}", end="")  # noqa: T201


def run(argv: list[str], *, timeout_s: float = 120, env: dict[str, str] | None = None) -> Outcome:
    """Run a command without a terminal, to its end."""
    done = subprocess.run(
        argv,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env=env,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def wait_until(what: str, look: Callable[[], object], *, timeout_s: float, interval_s: float = 0.1):
    """Look until it is true; what was seen last.

    :raises AssertionError: if it is not in time.
    """
    until = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < until, f"{what} did not come within {timeout_s:g} s"
        time.sleep(interval_s)
    return seen


class Running:
    """A command in a pipeline: no terminal, its log lines read as they come."""

    def __init__(self, argv: list[str], *, env: dict[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=env,
            start_new_session=True,
        )
        self._out: list[str] = []
        self._err: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self.process.stdout, self._out), (self.process.stderr, self._err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream, lines: list[str]) -> None:
        for line in stream:
            lines.append(line)  # noqa: PERF402 - each line is looked at as it comes

    def saw(self, pattern: str) -> bool:
        """A log line has matched; a command that ended without one fails the test."""
        found = any(re.search(pattern, line) for line in list(self._err))
        ended = self.process.poll() is not None
        assert found or not ended, f"ended without {pattern!r}:\n{''.join(self._err)}"
        return found

    def wait_for_line(self, pattern: str, *, timeout_s: float = 120) -> None:
        """Wait until a log line matches."""
        wait_until(
            f"a line {pattern!r}", lambda: self.saw(pattern), timeout_s=timeout_s, interval_s=0.02
        )

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command alone."""
        self.process.send_signal(number)

    def finish(self, *, timeout_s: float = 300) -> Outcome:
        """Wait for its end."""
        status = self.process.wait(timeout_s)
        for reader in self._readers:
            reader.join(10)
        return Outcome(status, "".join(self._out), "".join(self._err))


@contextlib.contextmanager
def running(argv: list[str]) -> Iterator[Running]:
    """Start a command; it is gone when the block is left, whatever happens in it."""
    command = Running(argv)
    try:
        yield command
    finally:
        if command.process.poll() is None:
            command.process.kill()
            command.process.wait(30)


class Arguments:
    """Every command line that any process of this machine shows, containers' included."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._last: dict[str, bytes] = {}
        self._settled: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Arguments":
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def holding(self, secret: str) -> list[str]:
        """The programs that were seen with this text among their arguments."""
        found = {line.split(b"\0")[0] for line in self.seen if secret.encode() in line}
        return sorted(program.decode(errors="replace") for program in found)

    def _watch(self) -> None:
        while not self._stop.wait(0.03):
            self._look()

    def _look(self) -> None:
        """Read each process until it was seen twice alike: it is forked first, then replaced."""
        running = {entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        for pid in running - self._settled:
            with contextlib.suppress(OSError):
                line = Path(f"/proc/{pid}/cmdline").read_bytes()
                self.seen.add(line)
                if self._last.get(pid) == line:
                    self._settled.add(pid)
                self._last[pid] = line
        self._settled &= running
        self._last = {pid: line for pid, line in self._last.items() if pid in running}
