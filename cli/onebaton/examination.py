"""What a doctor reads beyond an observation: each machine examined, each server asked twice.

Plain values, no I/O. Nothing here is a secret: of ``oned.conf`` digests leave the machine, and
of those the password is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RaftHook:
    """RAFT_LEADER_HOOK or RAFT_FOLLOWER_HOOK of a machine's ``oned.conf``.

    :param role: ``leader`` or ``follower``.
    :param command: COMMAND as it stands there; ``None`` if there is no such hook.
    :param arguments: ARGUMENTS, in words.
    :param executable: oneadmin may run it; ``None`` if that could not be told.
    """

    role: str
    command: str | None
    arguments: tuple[str, ...] = ()
    executable: bool | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """One machine, as found in one read-only round trip over ssh.

    :param clock_offset_s: its clock minus ours, exact to the time of one answer over ssh.
    :param logdb_records: records in Raft's log; ``None`` if its database does not answer.
    :param logdb_bytes: data and indexes of that table, as the server estimates them.
    :param database_bytes: the same of all tables of the database.
    :param xmlrpc_timeout_ms: of its ``oned.conf``; ``None`` if it is not set there.
    :param broadcast_timeout_ms: the same.
    :param hooks: the leader's and the follower's.
    :param interfaces: names of its network interfaces.
    :param has_arping: the program that announces the virtual IP is installed.
    :param may_sudo: oneadmin is let in by ``sudo -n`` for something at all.
    :param may_change_addresses: oneadmin may ``sudo -n ip address add`` the virtual IP.
    :param monitor_address: NETWORK/MONITOR_ADDRESS of ``monitord.conf``.
    :param config_digests: name of each statement of ``oned.conf`` and a digest of all its values
        but PASSWD, SERVER_ID and ELECTION_TIMEOUT_MS, ordered by name; empty without a file.
    :param leftovers: what an interrupted step of ours left behind, in words.
    """

    clock_offset_s: float
    logdb_records: int | None
    logdb_bytes: int | None
    database_bytes: int | None
    xmlrpc_timeout_ms: int | None
    broadcast_timeout_ms: int | None
    hooks: tuple[RaftHook, ...]
    interfaces: frozenset[str]
    has_arping: bool
    may_sudo: bool
    may_change_addresses: bool
    monitor_address: str | None
    config_digests: tuple[tuple[str, str], ...]
    leftovers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What a server said of itself when it was asked again.

    :param servers: ids that it lists, ascending.
    """

    term: int
    servers: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Transient:
    """A virtual machine or an image in the middle of an operation.

    :param kind: ``VM`` or ``image``.
    :param state: OpenNebula's name for it, e.g. ``PROLOG``.
    """

    kind: str
    id: int
    name: str
    state: str


@dataclass(frozen=True, slots=True)
class Transients:
    """All operations in flight that were found.

    :param looked_at: active VMs and images that were read.
    :param complete: there were no more than that.
    """

    found: tuple[Transient, ...]
    looked_at: int
    complete: bool


@dataclass(frozen=True, slots=True)
class Checkup:
    """All that was read beyond the observation.

    :param window_s: seconds between the observation and the second readings.
    :param examinations: by name of the machine; a text says why there is none.
    :param readings: by server id; who did not answer again is missing.
    :param transients: ``None`` if the zone did not tell.
    """

    window_s: float
    examinations: Mapping[str, Examination | str]
    readings: Mapping[int, Reading]
    transients: Transients | None
