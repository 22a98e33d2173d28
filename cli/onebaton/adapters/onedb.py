"""Runs of ``onedb`` on a node: what they printed, and what a failure means."""

import re

from onebaton.adapters import copyscripts
from onebaton.adapters.ssh import Ssh
from onebaton.errors import StepFailedError
from onebaton.migration import OnedbRun
from onebaton.model import Host

#: How many closing lines of a failed run a message shows.
SHOWN_LINES = 8


class FailedMigrationError(StepFailedError):
    """``onedb upgrade`` ended with an error."""


_REPORT = re.compile(r"status=(\d+)\nms=(\d+)\npeak_kib=(\d*)\n")


def onedb_run(printed: str) -> OnedbRun:
    """What :func:`copyscripts.onedb_script` printed."""
    found = _REPORT.match(printed)
    if found is None:
        raise StepFailedError(
            "a run of onedb left no report",
            resolution="Run the same command again; if it stays, look at the node.",
        )
    status, ms, peak = found.groups()
    return OnedbRun(
        status=int(status),
        seconds=int(ms) / 1000,
        peak_rss_bytes=int(peak or 0) * 1024,
        lines=tuple(line.rstrip() for line in printed[found.end() :].splitlines() if line.strip()),
    )


def upgrade_beside(ssh: Ssh, host: Host, database: str, *, user: str, timeout_s: float) -> OnedbRun:
    """``onedb upgrade`` of a database, where an ``oned`` may run on another one of the node.

    :raises FailedMigrationError: if the migrator fails.
    """
    script = copyscripts.onedb_beside_script("upgrade --no-backup -v", copy=database, user=user)
    what = f"onedb upgrade of {database}"
    run = onedb_run(ssh.run(host, script, timeout_s=timeout_s, what=what).stdout)
    require_migrated(run, what=f"{what} on {host.name}")
    return run


def require_migrated(run: OnedbRun, *, what: str) -> None:
    """See that a run ended well.

    :raises FailedMigrationError: if it did not.
    """
    if run.status != 0:
        raise FailedMigrationError(
            f"{what} ended with status {run.status}",
            details=run.lines[-SHOWN_LINES:],
            resolution="Production was not touched. Look for these words in the release's known "
            "issues; `onebaton rehearse` shows the same on a copy.",
        )
