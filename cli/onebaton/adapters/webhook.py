"""Tells a webhook what a run does, as JSON.

A run never waits for it: what is told goes out in a thread, in its order, and what could not be
told is a warning. The address is a secret: most such services let everybody post who knows it.
"""

import queue
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import asdict
from types import TracebackType
from typing import Self

import requests

from onebaton.adapters.bounded import within
from onebaton.config import Event
from onebaton.model import Secret
from onebaton.ports import Reporter
from onebaton.staging import Notice

#: Before the second attempt, in seconds; twice as long before each further one.
PAUSE_S = 0.5
#: At the end of a run what is still to be told has so long, in seconds.
FAREWELL_S = 10.0


class Webhook:
    """Implements the port ``Notifier``; a context manager, which waits for what is under way.

    :param events: what is told; the rest is not.
    :param timeout_s: of one attempt, whatever it is busy with.
    :param pause: between two attempts.
    """

    def __init__(
        self,
        url: Secret,
        reporter: Reporter,
        *,
        events: Collection[Event],
        timeout_s: float,
        attempts: int,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._reporter = reporter
        self._events = frozenset(events)
        self._timeout_s = timeout_s
        self._attempts = attempts
        self._pause = pause
        self._waiting: queue.Queue[Notice | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)

    def tell(self, notice: Notice) -> None:
        """Tell it; returns at once, and does not fail."""
        if notice.event in self._events:
            self._waiting.put(notice)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._waiting.put(None)
        self._thread.join(FAREWELL_S)
        if self._thread.is_alive():
            self._reporter.warn("the webhook was not told everything in time")

    def _work(self) -> None:
        while (notice := self._waiting.get()) is not None:
            problem = self._told(notice)
            if problem is not None:
                self._reporter.warn(f"the webhook was not told of {notice.event!r}: {problem}")

    def _told(self, notice: Notice) -> str | None:
        """Why it was not told; ``None`` if it was."""
        problem = None
        for attempt in range(self._attempts):
            if attempt:
                self._pause(PAUSE_S * 2 ** (attempt - 1))
            try:
                status = within(self._timeout_s, lambda: self._post(notice), name="webhook post")
            except TimeoutError:
                problem = f"no answer within {self._timeout_s:g} s"
            except requests.RequestException as error:
                # Its text may hold the address.
                problem = f"it cannot be reached ({type(error).__name__})"
            except ValueError:
                return "its address is none"
            else:
                if status < 300:
                    return None
                problem = f"it answers with HTTP status {status}"
                if 400 <= status < 500 and status != requests.codes.too_many_requests:
                    return problem  # the same again would be answered the same
        return problem

    def _post(self, notice: Notice) -> int:
        # A redirect may lead to somebody else.
        with requests.post(
            self._url.reveal(),
            json=asdict(notice),
            timeout=self._timeout_s,
            allow_redirects=False,
            stream=True,
        ) as answer:
            return answer.status_code


class Nobody:
    """Implements the port ``Notifier`` where there is nobody to be told."""

    def tell(self, notice: Notice) -> None:
        """Nobody hears it."""
