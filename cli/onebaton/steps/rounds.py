"""Bringing a copy level with a zone that goes on writing, in rounds."""

from collections.abc import Callable

from onebaton.errors import StepFailedError
from onebaton.model import Host

MAX_ROUNDS = 10
#: Rounds that become no smaller than this part of the one before are as small as they get: each
#: holds what was written during the one before it, and none will ever be tiny.
NO_SMALLER = 0.7
#: A round larger than this many times the one before: the zone runs away.
RUNS_AWAY = 1.5


def until_level(
    bring: Callable[[], int], *, tiny: int, source: Host, host: Host, slow: str
) -> None:
    """Repeat a round until it is tiny, or rounds become no smaller.

    :param bring: one round; answers how many log records it brought.
    :param tiny: so many records are next to nothing.
    :param slow: what is too slow for this zone, for the message.
    :raises StepFailedError: if the zone writes faster than it can be followed.
    """
    before: int | None = None
    for _ in range(MAX_ROUNDS):
        records = bring()
        if records <= tiny:
            return
        if before is not None and NO_SMALLER * before <= records <= RUNS_AWAY * before:
            return
        before = records
    raise StepFailedError(
        f"{host.name} does not become level with {source.name}: the zone writes faster than {slow}",
        resolution="Run the same command again when there is less to write.",
    )
