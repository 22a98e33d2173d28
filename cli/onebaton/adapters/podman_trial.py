"""An image booted once, alone, to be looked at."""

import contextlib
import secrets
from collections.abc import Iterator

from onebaton.adapters.podman import Podman
from onebaton.errors import DeadlineError
from onebaton.ports import Clock, Reporter

START_TIMEOUT_S = 60.0
BOOT_TIMEOUT_S = 120.0
QUESTION_TIMEOUT_S = 30.0
#: podman itself ends and removes a trial that nobody came back for.
LIFETIME_S = 1800


class PodmanTrialNode:
    """A container that runs only to be looked at."""

    def __init__(self, podman: Podman, name: str) -> None:
        self._podman = podman
        self._name = name

    def run(self, script: str, *, timeout_s: float) -> tuple[int, str]:
        """Run a shell script on it.

        :returns: exit status, and standard output with standard error.
        """
        completed = self._podman.run(
            ["exec", "--interactive", self._name, "/bin/sh", "-c", "exec /bin/sh -s 2>&1"],
            stdin=script,
            timeout_s=timeout_s,
            check=False,
            what=f"a script on {self._name}",
        )
        return completed.status, completed.stdout + completed.stderr


@contextlib.contextmanager
def boot(
    podman: Podman,
    image: str,
    *,
    cluster: str,
    memory_mib: int,
    reporter: Reporter,
    clock: Clock,
) -> Iterator[PodmanTrialNode]:
    """Boot an image without a network; gone when the block is left.

    :param memory_mib: its limit; 0 for none.
    :raises DeadlineError: if its systemd does not come up in time.
    """
    name = f"onebaton-trial-{secrets.token_hex(4)}"
    try:
        podman.run(
            [
                *("run", "--detach", "--rm", "--pull", "never", "--name", name),
                *("--hostname", name, "--network", "none", "--systemd", "always"),
                *("--cap-add", "NET_ADMIN,NET_RAW", "--timeout", str(LIFETIME_S)),
                *((f"--memory={memory_mib}m",) if memory_mib else ()),
                *("--label", f"onebaton.trial={cluster}", image, "/sbin/init"),
            ],
            timeout_s=START_TIMEOUT_S,
            what=f"booting {image} for a trial",
        )
        trial = PodmanTrialNode(podman, name)
        _wait_booted(trial, image, reporter, clock)
        yield trial
    finally:
        podman.run(
            ["rm", "--force", "--ignore", "--volumes", "--time", "0", name],
            timeout_s=START_TIMEOUT_S,
            check=False,
        )


def _wait_booted(trial: PodmanTrialNode, image: str, reporter: Reporter, clock: Clock) -> None:
    deadline = clock.monotonic() + BOOT_TIMEOUT_S
    said = "nothing yet"
    while clock.monotonic() < deadline:
        reporter.progress(f"waiting for {image} to boot; systemd says: {said}")
        said = trial.run("systemctl is-system-running", timeout_s=QUESTION_TIMEOUT_S)[1].strip()
        if said in ("running", "degraded"):
            return
        clock.sleep(0.3)
    raise DeadlineError(
        f"the image {image} did not boot within {BOOT_TIMEOUT_S:g} s",
        details=[f"systemctl is-system-running: {said}"],
        resolution="Bake it again, or look into it with `podman run --systemd=always`.",
    )
