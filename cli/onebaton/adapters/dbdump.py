"""Seeding by pipes: one dump of a follower's database, into several nodes at the same time.

The dump goes through this machine once, in memory, and never onto a disk in between.
"""

import contextlib
import time
from collections.abc import Sequence

from onebaton.adapters import seeding
from onebaton.adapters.fanout import Target, copy_to_all
from onebaton.adapters.process import ProgramError
from onebaton.adapters.seeding import mebibytes
from onebaton.adapters.ssh import Ssh
from onebaton.errors import DeadlineError
from onebaton.model import Host
from onebaton.ports import Reporter


class SeedByPipes:
    """The dump through ssh, from the source through this machine to all targets.

    Implements :class:`onebaton.adapters.seeding.Seeding`.
    """

    def __init__(self, ssh: Ssh, reporter: Reporter) -> None:
        self._ssh = ssh
        self._reporter = reporter

    def seed(
        self, database: str, source: Host, targets: Sequence[Host], *, timeout_s: float
    ) -> None:
        """See ``Seeding.seed``."""
        if not targets:
            return
        deadline = time.monotonic() + timeout_s
        looked = seeding.look(self._ssh, database, source, targets)
        what = f"seeding {', '.join(host.name for host in targets)} from {source.name}"

        def progress(total: int) -> None:
            if time.monotonic() > deadline:
                raise DeadlineError(
                    f"{what} did not end within {timeout_s:g} s",
                    details=[f"{mebibytes(total)} of the packed dump were sent"],
                    resolution="Give rollout.timeouts.seed_s more seconds, then run it again.",
                )
            self._reporter.progress(f"{what}: {mebibytes(total)} sent")

        load = seeding.load_script(
            database, looked, source.name, take=seeding.unpack_command(looked.packer)
        )
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
            dump = stack.enter_context(
                self._ssh.pipe(
                    source,
                    seeding.dump_command(database, looked.packer),
                    stdin=False,
                    timeout_s=timeout_s,
                )
            )
            copy_to_all(dump, receivers, progress=progress)
            problems = _finish(receivers, deadline)
            more = []
            try:
                # It has ended, unless nobody was left to read it.
                dump.finish(timeout_s=2, what=f"dumping the database of {source.name}")
            except ProgramError as error:
                more = [f"{source.name}: {seeding.reason(error)}"]
                problems = problems or {host.name: "" for host in targets}
            except DeadlineError:
                more = [f"{source.name}: nobody was left to take the dump"]
        seeding.require_all_seeded(source, targets, problems, more, resolution=seeding.WAY_OUT)


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
