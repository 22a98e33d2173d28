"""One run at a time: a lock with owner, host, command and age.

The lock is an object created only if it is not there. When its owner was a process of this
very machine that is provably gone (no such process, or another start time under its id, or
the machine was started anew), the lock is taken over with a warning; any other lock is broken
only knowingly. The state may be shared by machines, and two of them may have the same name: a
pipeline's containers often do.
"""

import contextlib
import getpass
import hashlib
import hmac
import json
import os
import secrets
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from onebaton.errors import LockedError, UnavailableError, UnreadableError
from onebaton.ports import Clock, Reporter, Store

KEY = "lock.json"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who holds the lock.

    :param born: what tells the process from a later one with the same id: its start time in
        clock ticks since the boot, after the boot's id (``/proc``).
    :param at: when it was taken, seconds since the epoch, UTC.
    :param token: no two locks are alike, not even of one process.
    :param machine: tells the machine from another one of the same name; empty if it cannot.
    :param namespace: where its process id counts (``pid_namespaces(7)``).
    """

    user: str
    host: str
    pid: int
    born: str
    command: str
    at: float
    token: str
    machine: str = ""
    namespace: str = ""

    def describe(self, now: float) -> str:
        """In words, with its age."""
        return (
            f"{self.command!r} of {self.user} on {self.host} (process {self.pid}), "
            f"since {max(0, round(now - self.at))} s"
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that was taken.

    :param content: what stands in the store for as long as it is held.
    """

    store: Store
    content: bytes

    def require(self) -> None:
        """See that nobody broke it meanwhile.

        :raises LockedError: if somebody did.
        """
        if self.store.read(KEY) != self.content:
            raise LockedError(
                "another run broke the lock of this one; nothing more was done",
                resolution="Let the other run end; 'onebaton status' shows the zone.",
            )


@contextlib.contextmanager
def held(
    store: Store, clock: Clock, reporter: Reporter, command: str, *, break_lock: bool = False
) -> Iterator[Lock]:
    """Hold the lock while the block runs.

    :param break_lock: take it from whoever has it.
    :raises LockedError: if another run holds it.
    """
    me = Owner(
        user=getpass.getuser(),
        host=socket.gethostname(),
        pid=os.getpid(),
        born=_born(os.getpid()),
        command=command,
        at=clock.now(),
        token=secrets.token_hex(8),
        machine=_machine(),
        namespace=_namespace(),
    )
    content = json.dumps(asdict(me)).encode()
    while not store.create(KEY, content):
        found = store.read(KEY)
        if found is None:
            continue  # released between the two calls
        other = _owner(found)
        if not (break_lock or _provably_gone(other, me)):
            raise LockedError(
                "another run holds the lock of this cluster",
                details=[other.describe(clock.now())],
                resolution=(
                    "Wait for it to end. If you are sure that it is dead, "
                    "run the same command with --break-lock."
                ),
            )
        # Exactly that lock: of two runs that found the same dead owner, one gets it.
        if store.replace(KEY, found, content):
            reporter.warn(f"took over the lock of {other.describe(clock.now())}")
            break
    try:
        yield Lock(store, content)
    except BaseException:
        # What went wrong is told, and not that the lock stays: it is a dead process's then.
        with contextlib.suppress(UnavailableError):
            _release(store, content)
        raise
    _release(store, content)


def _release(store: Store, content: bytes) -> None:
    if store.read(KEY) == content:
        store.delete(KEY)


def _owner(content: bytes) -> Owner:
    try:
        return Owner(**json.loads(content))
    except (ValueError, TypeError) as error:
        raise UnreadableError(
            f"the lock {KEY} under `state` cannot be read",
            details=[str(error)],
            resolution="Make sure that no other run is under way, then remove it.",
        ) from error


def _provably_gone(owner: Owner, me: Owner) -> bool:
    if owner.host != me.host:
        return False
    if _boot(owner) != _boot(me):
        # Started anew since then, or another machine of the same name, where it may live.
        return bool(me.machine) and owner.machine == me.machine
    return owner.namespace == me.namespace and _born(owner.pid) != owner.born


def _boot(owner: Owner) -> str:
    return owner.born.partition(":")[0]


def _machine() -> str:
    """The machine's id, but not as it stands: ``machine-id(5)`` wants it kept to itself."""
    try:
        known = Path("/etc/machine-id").read_text().strip()
    except OSError:
        return ""
    # An image's own id is none before its first start: empty, or "uninitialized".
    if len(known) != 32:
        return ""
    return hmac.new(known.encode(), b"onebaton lock", hashlib.sha256).hexdigest()


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _born(pid: int) -> str:
    """Boot id and start time of a process; empty if there is no such process.

    One that has ended and whose parent has not looked (a zombie) is none: where process 1 of a
    pipeline's container never looks, it stays for ever.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    # proc(5): state is field 3, start time 22; field 2 may itself contain spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZXx" else f"{boot}:{fields[19]}"
