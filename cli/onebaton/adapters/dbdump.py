"""Seeding by pipes: one dump of a follower's database, into several nodes at the same time.

The dump goes through this machine once, in memory, and never onto a disk in between.
"""

import contextlib
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from onebaton.adapters import process, seeding
from onebaton.adapters.fanout import Target, copy_to_all
from onebaton.adapters.process import Pipe, ProgramError
from onebaton.adapters.seeding import mebibytes
from onebaton.adapters.ssh import Ssh
from onebaton.errors import DeadlineError, StepFailedError
from onebaton.model import Host
from onebaton.ports import Reporter

#: First bytes of packed files.
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
#: Until the tables are there and tell.
_ANY = seeding.Looked("utf8mb4", "utf8mb4_general_ci", {})


class SeedByPipes:
    """The dump through ssh, from the source through this machine to all targets.

    Implements :class:`onebaton.adapters.seeding.Seeding`.

    :param source_ssh: the way to the source, where it is another one than to the targets.
    :param pace_mib_s: MiB a second that are read from the source at most.
    """

    def __init__(
        self,
        ssh: Ssh,
        reporter: Reporter,
        *,
        source_ssh: Ssh | None = None,
        pace_mib_s: float | None = None,
    ) -> None:
        self._ssh = ssh
        self._pace_mib_s = pace_mib_s
        self._source_ssh = source_ssh or ssh
        self._reporter = reporter

    def seed(
        self, database: str, source: Host, targets: Sequence[Host], *, timeout_s: float
    ) -> None:
        """See ``Seeding.seed``."""
        if not targets:
            return
        looked = seeding.look(self._ssh, database, source, targets, source_ssh=self._source_ssh)
        load = seeding.load_script(
            database, looked, source.name, take=seeding.unpack_command(looked.packer)
        )
        dump = self._source_ssh.pipe(
            source,
            seeding.dump_command(database, looked.packer, pace_mib_s=self._pace_mib_s),
            stdin=False,
            timeout_s=timeout_s,
        )
        self._fill(source.name, dump, targets, load, timeout_s=timeout_s)

    def load(self, database: str, dump: Path, target: Host, *, timeout_s: float) -> None:
        """Load a dump that somebody made into a fresh database on a target.

        :param dump: plain SQL, or packed by gzip or zstd, as its first bytes tell.
        :raises RefusedError: if ``oned`` runs on the target; nothing was touched then.
        :raises StepFailedError: if it is no dump of an OpenNebula database, or not whole.
        :raises DeadlineError: if it takes longer than ``timeout_s``.
        """
        seeding.look_at_target(self._ssh, target)
        load = seeding.load_script(
            database, _ANY, dump.name, take="cat", after=_adopt_collation(database)
        )
        unpacked = process.pipe(_unpacker(dump), stdin=False)
        self._fill(dump.name, unpacked, [target], load, timeout_s=timeout_s)

    def _fill(
        self,
        source: str,
        dumping: AbstractContextManager[Pipe],
        targets: Sequence[Host],
        load: str,
        *,
        timeout_s: float,
    ) -> None:
        """Copy what a program says, not started yet, into a script on every target."""
        deadline = time.monotonic() + timeout_s
        what = f"seeding {', '.join(host.name for host in targets)} from {source}"

        def progress(total: int) -> None:
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"{what} did not end within {timeout_s:g} s",
                    details=[f"{mebibytes(total)} of the packed dump were sent"],
                    resolution="Give rollout.timeouts.seed_s more seconds, then run it again.",
                )
            self._reporter.progress(f"{what}: {mebibytes(total)} sent")

        with contextlib.ExitStack() as stack:
            receivers = [
                Target(
                    host.name,
                    stack.enter_context(
                        self._ssh.pipe(host, load, stdin=True, timeout_s=timeout_s)
                    ),
                )
                for host in targets
            ]
            dump = stack.enter_context(dumping)
            copy_to_all(dump, receivers, progress=progress)
            problems = _finish(receivers, deadline)
            more = []
            try:
                # It has ended, unless nobody was left to read it.
                dump.finish(timeout_s=2, what=f"dumping the database of {source}")
            except ProgramError as error:
                more = [f"{source}: {seeding.reason(error)}"]
                problems = problems or {host.name: "" for host in targets}
            except DeadlineError:
                more = [f"{source}: nobody was left to take the dump"]
        seeding.require_all_seeded(source, targets, problems, more, resolution=seeding.WAY_OUT)


def _adopt_collation(database: str) -> str:
    """Shell: a dump does not say what the database was like; ``oned`` wants it like its tables."""
    return f"""like=$(sql -e "SELECT CONCAT(character_set_name, ' COLLATE ', collation_name)
  FROM information_schema.columns WHERE table_schema = '{database}' AND table_name = 'zone_pool'
  AND column_name = 'body'")
[ -n "$like" ] || exit {seeding.NOT_OURS}
sql -e "ALTER DATABASE {database} CHARACTER SET $like"
"""  # noqa: S608 - a checked name


def _unpacker(dump: Path) -> list[str]:
    """The program that gives the plain dump."""
    try:
        with dump.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise StepFailedError(
            f"the dump {dump} cannot be read: {error.strerror}", resolution="Name another file."
        ) from None
    if head == _ZSTD:
        process.require_program("zstd", package="the Debian package zstd")
        return ["zstd", "-q", "-d", "-c", "--", str(dump)]
    return ["gzip", "-d", "-c", "--", str(dump)] if head[:2] == _GZIP else ["cat", "--", str(dump)]


def _finish(receivers: Sequence[Target], deadline: float) -> dict[str, str]:
    """Wait until every target has loaded what it was sent.

    :returns: problems by name.
    """
    problems = {}
    for target in receivers:
        if target.problem is not None and target.problem.startswith("took nothing"):
            problems[target.name] = target.problem
            continue
        problem = seeding.ended(target.name, target.pipe, deadline)
        if problem is not None:
            problems[target.name] = problem
    return problems
