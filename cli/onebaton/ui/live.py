"""A terminal with somebody in front of it: what is waited for moves, the rest scrolls by."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text


class LiveReporter:
    """Notes go above the one live line; rich's console takes care of threads.

    :param console: already shown by a ``Live`` that calls :meth:`line`.
    """

    def __init__(self, console: Console, *, verbose: bool) -> None:
        self._console = console
        self._verbose = verbose
        self._lock = threading.Lock()
        self._waiting_for = ""
        self._since = time.monotonic()
        self._spinner = Spinner("dots")

    def note(self, text: str) -> None:
        """One line that stays."""
        with self._lock:
            self._since = time.monotonic()
        self._console.print(Text(text))

    def warn(self, text: str) -> None:
        """One line that must be seen."""
        self._console.print(Text(f"warning: {text}", style="yellow"))

    def progress(self, text: str) -> None:
        """The live line's text; nothing takes it away."""
        with self._lock:
            is_new = text != self._waiting_for
            self._waiting_for = text
        if self._verbose and is_new and text:
            self._console.print(Text(text, style="dim"))

    def line(self) -> RenderableType:
        """The live line: what is waited for, and seconds since the last note."""
        with self._lock:
            text, passed_s = self._waiting_for, time.monotonic() - self._since
        if not text:
            return Text()
        frame = self._spinner.render(self._console.get_time())
        first_line, *_ = text.splitlines()
        waited = Text(f" {passed_s:.0f} s  {first_line}")
        # One line whatever its length: a second one would be left behind when it shrinks.
        return Text.assemble(Text(str(frame), "cyan"), waited, no_wrap=True, overflow="ellipsis")


@contextmanager
def live_reporter(stream: TextIO, *, verbose: bool = False) -> Iterator[LiveReporter]:
    """A reporter with a live line at the bottom of the terminal, gone when the block is left."""
    console = Console(file=stream, markup=False, emoji=False, highlight=False)
    reporter = LiveReporter(console, verbose=verbose)
    with Live(get_renderable=reporter.line, console=console, transient=True, refresh_per_second=8):
        yield reporter
