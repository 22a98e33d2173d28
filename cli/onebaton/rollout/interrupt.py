"""^C: the first one stops the run between two steps, the second one at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from onebaton.ports import Reporter


class StopRequest:
    """Set once the operator, or a pipeline that is cancelled, asked the run to stop."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def made(self) -> bool:
        """It was asked for."""
        return self._event.is_set()

    def make(self) -> None:
        """Ask for it."""
        self._event.set()


@contextlib.contextmanager
def stop_on_signals(reporter: Reporter) -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a :class:`StopRequest` while the block runs.

    A second signal raises ``KeyboardInterrupt`` wherever the run is.
    """
    request = StopRequest()

    def handle(_number: int, _frame: FrameType | None) -> None:
        if request.made:
            raise KeyboardInterrupt
        request.make()
        # The signal may have come in the middle of a line that is being reported, while the
        # reporter's lock is held by this very thread: waiting for it here would be for ever.
        text = "stopping after this step (^C again stops at once)"
        threading.Thread(target=reporter.warn, args=(text,), daemon=True).start()

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {sign: signal.signal(sign, handle) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
