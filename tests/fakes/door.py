"""The way into a machine, behind :class:`onebaton.adapters.aws_trial.Door`."""

import subprocess

from onebaton.adapters.process import Completed, ProgramError
from onebaton.model import Host


class LocalDoor:
    """Scripts that should run on a machine that boots nowhere run here, in a shell of their own.

    ``systemctl`` and ``systemd-run`` say what a booted machine's would.
    """

    def run(
        self, host: Host, script: str, *, timeout_s: float, what: str, check: bool = True
    ) -> Completed:
        booted = "systemctl() { echo running; }; systemd-run() { :; }"
        done = subprocess.run(
            ["bash", "-c", f"{booted}\n{script}"],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
        completed = Completed((host.name, what), done.returncode, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise ProgramError(completed, what=what)
        return completed
