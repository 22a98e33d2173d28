"""A clock that several threads sleep on, and that only the test moves."""

import threading
import time


class SharedClock:
    """Implements the port ``Clock``; between two moments every thread has come to rest.

    :param threads: beginning of the names of the threads that live by this clock.
    """

    def __init__(self, threads: str, start: float = 1000.0) -> None:
        self._threads = threads
        self._now = start
        self._wakes: dict[int, float] = {}
        self._moved = threading.Condition()
        self._over = False

    def now(self) -> float:
        """Virtual seconds; the same as :meth:`monotonic`."""
        return self._now

    def monotonic(self) -> float:
        """Virtual seconds."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Sleep until the test has moved the clock so far."""
        if self._over:
            time.sleep(0.001)
            return
        me = threading.get_ident()
        with self._moved:
            wake = self._now + seconds
            self._wakes[me] = wake
            self._moved.notify_all()
            self._moved.wait_for(lambda: self._now >= wake or self._over)
            del self._wakes[me]

    def run_until(self, moment: float) -> None:
        """Move from wake to wake up to a moment."""
        while True:
            with self._moved:
                self._settle()
                upcoming = min(self._wakes.values(), default=moment)
                if upcoming > moment:
                    self._now = moment
                    return
                self._now = max(self._now, upcoming)
                self._moved.notify_all()
                if not self._wakes:
                    self._now = moment
                    return

    def release(self) -> None:
        """Time stands still from now on, and nobody sleeps any more."""
        with self._moved:
            self._settle()
            self._over = True
            self._moved.notify_all()

    def _settle(self) -> None:
        until = time.monotonic() + 10
        while not self._at_rest():
            if time.monotonic() > until:
                raise AssertionError("a thread neither sleeps nor ends")
            self._moved.wait(0.0005)

    def _at_rest(self) -> bool:
        return all(
            self._wakes.get(thread.ident or 0, self._now) > self._now
            for thread in threading.enumerate()
            if thread.name.startswith(self._threads)
        )
