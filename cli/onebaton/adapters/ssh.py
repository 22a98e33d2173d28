"""OpenSSH's client: one multiplexed connection a machine, scripts as arguments, secrets as input.

The first use of a host starts a master connection; all later ones ride on it and cost
milliseconds. Host keys are remembered by machine, not by address: a machine that replaced
another at the same address is a new one, while another key on the *same* machine is refused.
"""

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from onebaton.adapters import process
from onebaton.adapters.process import Completed, Pipe, ProgramError
from onebaton.config import SshConfig
from onebaton.errors import DeadlineError, OnebatonError, RefusedError, UnavailableError
from onebaton.model import Host

#: ``ssh`` itself ends with this status when there is no connection (ssh(1), EXIT STATUS).
NO_CONNECTION = 255
#: A master without clients ends by itself after this long, also when we were killed.
PERSIST_S = 120
#: Where the folders of control sockets are, and how their names begin.
SOCKETS = Path("/tmp")  # noqa: S108 - each is made by mkdtemp, for us alone
SOCKETS_PREFIX = "ob-"
#: What an earlier run left, killed before it could clear up, is removed after a day.
LEFTOVER_S = 86400
#: A dead peer is noticed after three of these.
ALIVE_INTERVAL_S = 5
#: A program on the node ends this long after our own deadline at the latest.
REMOTE_GRACE_S = 10

#: Runs before every script: administration tools are found, messages are in English, and a
#: ``~/.my.cnf`` of root is used also under sudo.
_PRELUDE = "export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin LC_ALL=C"


class Ssh:
    """Runs shell scripts on hosts, as root.

    :param known_hosts: where host keys are remembered (its folder is made).
    :raises UnavailableError: if there is no ssh here: without it every machine would seem not
        to answer.
    """

    def __init__(self, config: SshConfig, *, known_hosts: Path) -> None:
        process.require_program("ssh", package="the Debian package openssh-client")
        self._config = config
        self._known_hosts = known_hosts.absolute()
        # A socket's path may have 107 bytes: a folder of our own near the root.
        _sweep(SOCKETS)
        self._sockets = Path(tempfile.mkdtemp(prefix=SOCKETS_PREFIX, dir=SOCKETS))
        self._locks: dict[Path, threading.Lock] = {}
        self._guard = threading.Lock()
        self._masters: dict[Path, Host] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def run(
        self,
        host: Host,
        script: str,
        *,
        stdin: str | bytes | None = None,
        timeout_s: float,
        what: str,
        check: bool = True,
    ) -> Completed:
        """Run a bash script on a host to its end.

        The script stands in process lists, here and there: secrets go through ``stdin`` only.

        :param what: what is being done, for messages; the host's name is added.
        :returns: status and output; its ``argv`` can be pasted into a shell.
        :raises UnavailableError: if there is no connection.
        :raises RefusedError: if this very machine shows another host key than before.
        :raises ProgramError: if ``check`` and the script's status is not 0.
        :raises DeadlineError: if it runs for more than ``timeout_s`` seconds.
        """
        what = f"{what} on {host.name}"
        self._connect(host)
        command = self._command(script, timeout_s + REMOTE_GRACE_S)
        shown = tuple(self._shown(host, script))
        try:
            done = process.run(
                self._argv(host, command),
                stdin=b"" if stdin is None else stdin,
                timeout_s=timeout_s,
                check=False,
            )
        except DeadlineError:
            raise DeadlineError(
                f"{what} did not end within {timeout_s:g} s",
                details=[f"run: {shlex.join(shown)}"],
                resolution=f"See what keeps {host.name} busy, then run the same command again.",
            ) from None
        done = Completed(shown, done.status, done.stdout, done.stderr)
        if done.status == NO_CONNECTION:
            raise self._unreachable(host, done.stderr)
        if check and done.status != 0:
            raise ProgramError(done, what=what)
        return done

    @contextlib.contextmanager
    def pipe(self, host: Host, script: str, *, stdin: bool, timeout_s: float) -> Iterator[Pipe]:
        """Start a bash script on a host for streaming; it is ended when the block is left.

        :param stdin: give it a standard input.
        :param timeout_s: the node itself ends the script soon after this long.
        """
        self._connect(host)
        command = self._command(script, timeout_s + REMOTE_GRACE_S)
        with process.pipe(self._argv(host, command), stdin=stdin) as pipe:
            pipe.argv = tuple(self._shown(host, script))
            yield pipe

    def close(self) -> None:
        """End all master connections and remove their sockets."""
        with self._guard:
            masters, self._masters = self._masters, {}
        for socket, host in masters.items():
            if socket.exists():
                with contextlib.suppress(OnebatonError):
                    process.run(
                        ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", host.address],
                        timeout_s=5,
                        check=False,
                    )
        shutil.rmtree(self._sockets, ignore_errors=True)

    def _connect(self, host: Host) -> None:
        """Have a living master for the host."""
        socket = self._socket(host)
        with self._guard:
            lock = self._locks.setdefault(socket, threading.Lock())
        with lock:
            if socket.exists():
                return
            self._known_hosts.parent.mkdir(parents=True, exist_ok=True)
            log = socket.with_suffix(".log")
            # The master outlives this call. Were it to inherit our pipes, whoever reads them
            # would wait for its end; so its output goes to a file.
            master = ["-o", "ControlMaster=yes", "-o", f"ControlPersist={PERSIST_S}", "-f", "-N"]
            done = process.run(
                [
                    *("sh", "-c", 'exec "$@" </dev/null >/dev/null 2>"$0"', str(log)),
                    *("ssh", *self._options(host), *master, self._target(host)),
                ],
                timeout_s=self._config.connect_timeout_s * 2 + 5,
                check=False,
                what=f"connecting to {host.name}",
            )
            if done.status != 0:
                raise self._unreachable(host, log.read_text(errors="replace"))
            with self._guard:
                self._masters[socket] = host

    def _unreachable(self, host: Host, stderr: str) -> OnebatonError:
        reasons = [line.strip() for line in stderr.splitlines() if line.strip()]
        if "HOST IDENTIFICATION HAS CHANGED" in stderr or "Host key verification" in stderr:
            return RefusedError(
                f"{host.name} ({host.address}) shows another ssh host key than before",
                details=[
                    f"its known key stands in {self._known_hosts} under {_alias(host)}",
                    *(line for line in reasons if "SHA256:" in line),
                ],
                resolution="Find out who answers at this address. If the machine was really "
                "given a new key, remove that line of the file and run the same command again.",
            )
        if any("Permission denied" in line for line in reasons):
            return UnavailableError(
                f"{host.name} ({host.address}) does not let us in over ssh",
                details=reasons[-3:],
                resolution=f"Put the public part of {self._config.key} into authorized_keys of "
                f"{self._config.user} there, or correct ssh.user and ssh.key.",
            )
        return UnavailableError(
            f"{host.name} ({host.address}) does not answer over ssh",
            details=reasons[-3:],
            resolution="Check that the machine runs and the network reaches it, then run the "
            "same command again.",
        )

    def _command(self, script: str, limit_s: float) -> str:
        """The one word that the node's login shell is given."""
        # timeout(1): what we gave up on must not go on for ever on the node.
        words = ["timeout", "-k", "5", f"{limit_s:.0f}", "bash", "--norc", "-euo", "pipefail", "-c"]
        if self._config.user != "root":
            words = ["sudo", "-n", "--", *words]
        return shlex.join([*words, f"{_PRELUDE}\n{script}"])

    def _argv(self, host: Host, command: str) -> list[str]:
        return ["ssh", *self._options(host), "-o", "ControlMaster=no", self._target(host), command]

    def _shown(self, host: Host, script: str) -> list[str]:
        """What a person would run: the same without our private socket."""
        words = ["ssh", *self._identity(host), self._target(host)]
        return [*words, *(["sudo", "-n"] if self._config.user != "root" else []), script.strip()]

    def _identity(self, host: Host) -> list[str]:
        settings = {
            "UserKnownHostsFile": _path_word(self._known_hosts),
            "HostKeyAlias": _alias(host),
            "Port": self._config.port,
            "IdentityFile": _path_word(self._config.key.expanduser()),
        }
        return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]

    def _options(self, host: Host) -> list[str]:
        settings = {
            "ControlPath": self._socket(host),
            "BatchMode": "yes",
            "ConnectTimeout": max(1, round(self._config.connect_timeout_s)),
            "ServerAliveInterval": ALIVE_INTERVAL_S,
            "ServerAliveCountMax": 3,
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "accept-new",
            "GlobalKnownHostsFile": "/dev/null",
            "UpdateHostKeys": "no",
            "ForwardAgent": "no",
            "ClearAllForwardings": "yes",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        return ["-T", *self._identity(host), *words]

    def _target(self, host: Host) -> str:
        return f"{self._config.user}@{host.address}"

    def _socket(self, host: Host) -> Path:
        named = f"{host.name}|{host.identity}|{host.address}".encode()
        return self._sockets / hashlib.sha256(named).hexdigest()[:12]


def _sweep(folder: Path) -> None:
    """Remove what killed runs left: their masters have ended, and with them the sockets."""
    for left in folder.glob(f"{SOCKETS_PREFIX}*"):
        with contextlib.suppress(OSError):
            seen = left.lstat()
            idle = time.time() - seen.st_mtime > LEFTOVER_S
            ours = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.getuid()
            if idle and ours and not any(entry.is_socket() for entry in left.iterdir()):
                shutil.rmtree(left)


def _alias(host: Host) -> str:
    """The name a host's key is remembered under."""
    name = f"{host.name}-{host.identity}" if host.identity else host.name
    # Names of members come from the zone and may hold anything.
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def _path_word(path: Path) -> str:
    """A path as ssh's configuration reads it: blanks quoted, no %-tokens."""
    return '"' + str(path).replace("%", "%%") + '"'
