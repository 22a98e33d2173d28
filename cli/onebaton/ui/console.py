"""Where progress goes: a live line on a terminal, plain log lines everywhere else.

Both write to standard error, so that standard output holds results alone (a table, or JSON
that a program reads). Both may be called from any thread.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from onebaton.ports import Reporter

#: A log that repeats itself is not read: so often at most, and only what is new.
PROGRESS_INTERVAL_S = 5.0


class PlainReporter:
    """Log lines ``HH:MM:SS  text`` in local time, each flushed at once.

    :param verbose: every change of what is waited for gets a line.
    :param monotonic: seconds that never go back.
    :param time_of_day: the lines' time.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        time_of_day: Callable[[], str] = lambda: time.strftime("%H:%M:%S"),
    ) -> None:
        self._stream = stream
        self._interval_s = 0.0 if verbose else PROGRESS_INTERVAL_S
        self._monotonic = monotonic
        self._time_of_day = time_of_day
        self._lock = threading.Lock()
        self._shown = ""
        self._shown_at = float("-inf")

    def note(self, text: str) -> None:
        """One line."""
        with self._lock:
            self._write(text)

    def warn(self, text: str) -> None:
        """One line that says what it is."""
        self.note(f"warning: {text}")

    def progress(self, text: str) -> None:
        """A line if it is new, and the last one is not too fresh."""
        with self._lock:
            now = self._monotonic()
            if not text or text == self._shown or now - self._shown_at < self._interval_s:
                return
            self._shown, self._shown_at = text, now
            self._write(text)

    def _write(self, text: str) -> None:
        self._stream.write(f"{self._time_of_day()}  {text}\n")
        self._stream.flush()


def is_live(environ: Mapping[str, str], *streams: TextIO) -> bool:
    """Somebody is watching: all streams are terminals that can move a cursor, no pipeline."""
    return (
        all(stream.isatty() for stream in streams)
        and not environ.get("CI")
        and environ.get("TERM", "dumb") != "dumb"
    )


@contextmanager
def open_reporter(*, plain: bool | None = None, verbose: bool = False) -> Iterator[Reporter]:
    """The reporter that suits where we run, until the block is left.

    :param plain: log lines or not; by default, whatever :func:`is_live` finds.
    :param verbose: keep every change of progress as a line.
    """
    if plain is None:
        plain = not is_live(os.environ, sys.stdout, sys.stderr)
    if plain:
        yield PlainReporter(sys.stderr, verbose=verbose)
        return
    # rich is slow to import, and a pipeline never needs it.
    from onebaton.ui.live import live_reporter

    with live_reporter(sys.stderr, verbose=verbose) as reporter:
        yield reporter
