"""What a search for drift reads beyond an observation, and what it finds.

Plain values, no I/O. Nothing here is a secret: of the configuration files settings without
passwords leave a machine, and digests of the rest.
"""

from dataclasses import dataclass
from typing import Literal

#: What a difference is about, in the order in which they are told.
Area = Literal["members", "nodes", "images", "terraform", "configuration", "versions", "vip"]


@dataclass(frozen=True, slots=True)
class Configured:
    """A machine's configuration files as they are now, as found in one read-only round trip.

    :param settings: of ``oned.conf``, those that a zone decides about, e.g.
        ``("RAFT/LOG_RETENTION", "250000")`` or ``("PORT", "2633")``; never a password.
    :param statements: name of every other statement of ``oned.conf`` and a digest of all its
        values, ordered by name.
    :param packaged: the same of the file as the image brought it; empty if none was kept.
    :param monitor_address: NETWORK/MONITOR_ADDRESS of ``monitord.conf``.
    :param files: what lies in ``/etc/one`` and ``/var/lib/one/remotes`` besides, by path, each
        with a digest over everything below it, ordered by path.
    """

    settings: tuple[tuple[str, str], ...]
    statements: tuple[tuple[str, str], ...]
    packaged: tuple[tuple[str, str], ...]
    monitor_address: str | None
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as it should be.

    :param place: the server, node or file that it is about.
    :param expected: what the configuration, or the rest of the zone, says.
    :param found: what was seen.
    :param way_back: what the operator can do, in full sentences.
    """

    area: Area
    place: str
    expected: str
    found: str
    way_back: str


@dataclass(frozen=True, slots=True)
class DriftView:
    """What is not as the configuration says.

    :param observed_at: seconds since the epoch, UTC.
    :param rows: by area and place; none where there is no drift.
    :param notes: why there is drift that is expected, a sentence each.
    """

    zone_name: str
    to_version: str
    observed_at: float
    rows: tuple[Drift, ...]
    notes: tuple[str, ...] = ()
