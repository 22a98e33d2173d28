"""Where OpenNebula keeps its files, on a system or under ``ONE_LOCATION``."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """Folders and files of one installation."""

    etc: Path
    var: Path
    log: Path
    lock_file: Path
    lib: Path

    @property
    def oned_conf(self) -> Path:
        """The server's configuration."""
        return self.etc / "oned.conf"

    @property
    def delays_conf(self) -> Path:
        """Delays of the stand-in; the real one has no such file."""
        return self.etc / "standin.conf"

    @property
    def remotes(self) -> Path:
        """Scripts, among them the hooks of Raft."""
        return self.var / "remotes"

    @property
    def secrets(self) -> Path:
        """Where the oneadmin secret and the service secrets are."""
        return self.var / ".one"


def find() -> Places:
    """The places of this process (source: ``oned.cc``, ``Nebula.h``)."""
    location = os.environ.get("ONE_LOCATION")
    if location is None:
        return Places(
            etc=Path("/etc/one"),
            var=Path("/var/lib/one"),
            log=Path("/var/log/one"),
            lock_file=Path("/var/lock/one/one"),
            lib=Path("/usr/lib/one"),
        )
    root = Path(location)
    return Places(
        etc=root / "etc",
        var=root / "var",
        log=root / "var",
        lock_file=root / "var" / "lock" / ".lock",
        lib=root / "lib",
    )


def one_auth_file() -> Path:
    """The file with the secret: ``ONE_AUTH``, else the user's own."""
    named = os.environ.get("ONE_AUTH")
    if named:
        return Path(named)
    return Path(pwd.getpwuid(os.getuid()).pw_dir) / ".one" / "one_auth"


def read_one_auth() -> str:
    """The secret, ``user:password``.

    :raises OSError: if there is none.
    """
    path = one_auth_file()
    with path.open(encoding="utf-8") as file:
        secret = file.readline().rstrip("\n")
    if not secret:
        raise OSError(f"Error reading file {path}")
    return secret
