"""A clock that passes only when somebody sleeps."""

from collections.abc import Callable


class VirtualClock:
    """Implements the port ``Clock`` without waiting.

    :param on_sleep: called after each sleep with the new time, to let a world go on.
    """

    def __init__(self, start: float = 0.0, on_sleep: Callable[[float], None] | None = None) -> None:
        self._now = start
        self._on_sleep = on_sleep

    def now(self) -> float:
        """Virtual seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """The same seconds."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self._now += seconds
        if self._on_sleep is not None:
            self._on_sleep(self._now)
