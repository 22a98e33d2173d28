"""Programs of the operator's that are run between stages."""

from collections.abc import Mapping, Sequence

from onebaton.adapters import process
from onebaton.ports import Reporter


class Programs:
    """Implements the port ``HookRunner``.

    They inherit this process's environment, but for the variables that hold secrets of ours.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def run(
        self, command: Sequence[str], *, told: Mapping[str, str], timeout_s: float, what: str
    ) -> int:
        """Run a program to its end; what it prints is among the lines of the log.

        :returns: its exit status.
        :raises DeadlineError: if it does not end in time; it is ended then.
        :raises UnavailableError: if it cannot be started.
        """
        self._reporter.progress(f"{what}: {command[0]}")
        done = process.run(
            command,
            timeout_s=timeout_s,
            env=told,
            check=False,
            what=what,
            on_line=lambda line: self._reporter.note(f"{what}: {line}"),
        )
        for line in done.stderr.splitlines():
            self._reporter.note(f"{what}: {line}")
        return done.status
