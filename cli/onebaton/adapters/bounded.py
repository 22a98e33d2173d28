"""One deadline over a whole call of a library that has none.

A library's own timeouts start anew with each try and with each byte that comes. Here the
caller goes on when its time is over; the call itself is left to end, or not, in a thread that
keeps no program from ending.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class _HandingOn(Generic[T]):
    """What ends the block ends the future: nothing is lost with the thread."""

    def __init__(self, future: Future[T]) -> None:
        self._future = future

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if error is not None:
            self._future.set_exception(error)
        return True


def within(timeout_s: float, call: Callable[[], T], *, name: str) -> T:
    """What the call returns, or raises.

    :param name: of its thread.
    :raises TimeoutError: if it has not ended in time.
    """
    future: Future[T] = Future()

    def run() -> None:
        with _HandingOn(future):
            future.set_result(call())

    threading.Thread(target=run, daemon=True, name=name).start()
    return future.result(timeout_s)
