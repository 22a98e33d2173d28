"""The container image that others are built on: bootstrapped once, or taken as it is."""

import hashlib
import re
import tempfile
from pathlib import Path

from onebaton.adapters import process
from onebaton.adapters.podman import Podman
from onebaton.errors import ConfigError, StepFailedError, UnavailableError
from onebaton.ports import Reporter

SCHEME = "mmdebstrap:"
REPOSITORY = "localhost/onebaton-base"
#: 24 s with a near mirror and two cores (measured note).
BOOTSTRAP_TIMEOUT_S = 1200.0
IMPORT_TIMEOUT_S = 300.0
PULL_TIMEOUT_S = 900.0
QUERY_TIMEOUT_S = 30.0

_SUITE = re.compile(r"[a-z][a-z0-9-]*")
#: What debootstrapping leaves of the machine it ran on, and keys that all nodes would share.
_HOOKS = (
    'rm -f "$1"/etc/resolv.conf "$1"/etc/hostname "$1"/etc/ssh/ssh_host_*',
    ': >"$1"/etc/machine-id',
)


class BaseImages:
    """Finds or makes the image named by ``image.base``.

    :param packages: Debian packages every node has, in a base of our own from the start.
    :param folder: for files being made; needs about 1 GB for a moment.
    """

    def __init__(
        self, podman: Podman, packages: tuple[str, ...], folder: Path, reporter: Reporter
    ) -> None:
        self._podman = podman
        self._packages = packages
        self._folder = folder
        self._reporter = reporter

    def check(self, base: str) -> None:
        """The programs for it are there.

        :raises UnavailableError: if one is missing.
        :raises ConfigError: if the name makes no sense.
        """
        if base.startswith(SCHEME):
            self._suite(base)
            if not self._present(self.reference(base)):
                process.require_program("mmdebstrap", package="the Debian package mmdebstrap")

    def reference(self, base: str) -> str:
        """The name a base has here.

        :param base: ``mmdebstrap:SUITE``, or a container image's name.
        """
        if not base.startswith(SCHEME):
            return base
        # Another list of packages, or another way of making it, is another base.
        content = "\n".join([*sorted(self._packages), *_HOOKS])
        digest = hashlib.sha256(content.encode()).hexdigest()
        return f"{REPOSITORY}:{self._suite(base)}-{digest[:12]}"

    def ensure(self, base: str) -> None:
        """Have the base here: made, or pulled.

        :raises StepFailedError: if it cannot be made or pulled.
        """
        reference = self.reference(base)
        if self._present(reference):
            return
        if base.startswith(SCHEME):
            self._bootstrap(self._suite(base), reference)
        else:
            self._pull(base)

    def _suite(self, base: str) -> str:
        suite = base.removeprefix(SCHEME)
        if not _SUITE.fullmatch(suite):
            raise ConfigError(
                f"image.base {base!r} names no Debian suite",
                resolution="Write e.g. `base: mmdebstrap:bookworm`.",
            )
        return suite

    def _present(self, reference: str) -> bool:
        completed = self._podman.run(
            ["image", "exists", reference], timeout_s=QUERY_TIMEOUT_S, check=False
        )
        if completed.status not in (0, 1):
            raise UnavailableError(
                "podman cannot say which images there are",
                details=completed.stderr.strip().splitlines()[-process.SHOWN_LINES :],
                resolution="Make `podman images` work, then run the same command again.",
            )
        return completed.status == 0

    def _bootstrap(self, suite: str, reference: str) -> None:
        program = process.require_program("mmdebstrap", package="the Debian package mmdebstrap")
        self._reporter.note(f"base image: Debian {suite}, made once")
        self._reporter.progress("mmdebstrap fetches and unpacks Debian (half a minute or more)")
        self._folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="base-", dir=self._folder) as folder:
            archive = Path(folder) / "base.tar"
            process.run(
                [
                    program,
                    "--variant=minbase",
                    f"--include={','.join(sorted(self._packages))}",
                    *(f"--customize-hook={hook}" for hook in _HOOKS),
                    suite,
                    str(archive),
                ],
                timeout_s=BOOTSTRAP_TIMEOUT_S,
                what=f"bootstrapping Debian {suite}",
            )
            self._reporter.progress("podman imports the base image")
            self._podman.run(
                ["import", "--quiet", str(archive), reference],
                timeout_s=IMPORT_TIMEOUT_S,
                what="importing the base image",
            )

    def _pull(self, base: str) -> None:
        self._reporter.progress(f"podman pulls the base image {base}")
        completed = self._podman.run(
            ["pull", "--quiet", base], timeout_s=PULL_TIMEOUT_S, check=False
        )
        if completed.status != 0:
            raise StepFailedError(
                f"the base image {base} cannot be pulled",
                details=completed.stderr.strip().splitlines()[-process.SHOWN_LINES :],
                resolution="Correct `image.base` in cluster.yaml, or use `mmdebstrap:bookworm`, "
                "which needs a Debian mirror only.",
            )
