"""HTTP with one deadline over a whole exchange: connecting, sending, and every byte back.

A timeout of a socket starts anew with each byte, so a server that drips its answer keeps a
caller for ever; here every read gets only what is left of the deadline.

``oned`` serves at most 15 connections at a time (``MAX_CONN``, recorded configuration) and
keeps an idle one open for 15 s: no more than two idle connections an endpoint are kept, each
for less than that.
"""

import http.client
import io
import select
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

#: Idle connections kept for one endpoint.
KEPT_CONNECTIONS = 2
#: Seconds an idle connection is kept; ``oned`` closes it after 15 (KEEPALIVE_TIMEOUT).
KEPT_S = 5.0


class NoAnswerError(Exception):
    """There is no whole answer.

    :param text: what happened, in words; neither a URL nor anything that was sent.
    """

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(slots=True)
class _Deadline:
    at: float

    def remaining(self) -> float:
        left = self.at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _DeadlineReader(io.RawIOBase):
    """Reads a socket's stream; each read may take what is left of the deadline."""

    def __init__(self, sock: socket.socket, remaining: Callable[[], float]) -> None:
        self._sock = sock
        self._stream = sock.makefile("rb", buffering=0)
        self._remaining = remaining

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int | None:  # type: ignore[override]
        self._sock.settimeout(self._remaining())
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _DeadlineSocket:
    """The part of a socket that ``http.client`` uses."""

    def __init__(self, sock: socket.socket, remaining: Callable[[], float]) -> None:
        self._sock = sock
        self._remaining = remaining

    def sendall(self, data: bytes) -> None:
        # One timeout over the whole of sendall, not over each part (socket documentation).
        self._sock.settimeout(self._remaining())
        self._sock.sendall(data)

    def makefile(self, mode: str, *_: object) -> io.BufferedReader:
        if mode != "rb":
            raise ValueError(mode)
        return io.BufferedReader(_DeadlineReader(self._sock, self._remaining))

    def is_idle(self) -> bool:
        """Nothing has come, not even its end: it can be used once more."""
        return not select.select([self._sock], [], [], 0)[0]

    def close(self) -> None:
        self._sock.close()


class _Connection(http.client.HTTPConnection):
    """A connection whose every operation is bound by the current exchange's deadline."""

    def __init__(self, host: str, port: int, *, connect_timeout_s: float) -> None:
        super().__init__(host, port)
        self._connect_timeout_s = connect_timeout_s
        self._deadline = _Deadline(0.0)
        self.connected = False
        self.used_at = 0.0

    def exchange(self, path: str, body: bytes, deadline: _Deadline) -> tuple[int, bytes]:
        self._deadline = deadline
        if self.sock is None:
            self.connect()
        self.request("POST", path, body, {"Content-Type": "text/xml"})
        response = self.getresponse()
        return response.status, response.read()

    def connect(self) -> None:
        self.timeout = min(self._connect_timeout_s, self._remaining())
        super().connect()
        self.connected = True
        self.sock = _DeadlineSocket(self.sock, self._remaining)

    def _remaining(self) -> float:
        return self._deadline.remaining()

    def reusable(self) -> bool:
        return isinstance(self.sock, _DeadlineSocket) and self.sock.is_idle()


class DeadlineHttp:
    """Posts to endpoints; may be used by several threads at a time.

    :param connect_timeout_s: for connecting alone, to each address that a name stands for
        (endpoints are numeric addresses as a rule; resolving a name is not bound by it).
    :param timeout_s: for the whole exchange.
    """

    def __init__(self, *, connect_timeout_s: float, timeout_s: float) -> None:
        self.connect_timeout_s = connect_timeout_s
        self.timeout_s = timeout_s
        self._kept: defaultdict[str, list[_Connection]] = defaultdict(list)
        self._lock = threading.Lock()

    def post(self, endpoint: str, body: bytes, *, repeatable: bool) -> bytes:
        """Send the body, and return the answer's.

        A repeatable request (a read) may go over a kept connection, and goes once more over
        a new one if the other side had closed it. Anything else always gets a connection of
        its own, so that nothing is ever sent twice.

        :param endpoint: an ``http`` URL; ``oned`` has no other protocol.
        :raises NoAnswerError: if there is no whole answer within the deadline.
        """
        deadline = _Deadline(time.monotonic() + self.timeout_s)
        kept = self._take(endpoint) if repeatable else None
        if kept is not None:
            try:
                return self._exchange(kept, endpoint, body, deadline)
            except (ConnectionError, http.client.HTTPException):
                kept.close()
            except OSError as error:
                kept.close()
                raise NoAnswerError(self._reason(error)) from None
        fresh = self._connection(endpoint)
        try:
            return self._exchange(fresh, endpoint, body, deadline)
        except (OSError, http.client.HTTPException) as error:
            fresh.close()
            raise NoAnswerError(self._reason(error, connected=fresh.connected)) from None

    def _exchange(
        self, connection: _Connection, endpoint: str, body: bytes, deadline: _Deadline
    ) -> bytes:
        status, answer = connection.exchange(urlsplit(endpoint).path or "/", body, deadline)
        if status != http.client.OK:
            connection.close()
            raise NoAnswerError(f"it answered with HTTP status {status}")
        self._keep(endpoint, connection)
        return answer

    def _connection(self, endpoint: str) -> _Connection:
        try:
            parts = urlsplit(endpoint)
            port = parts.port or 80
        except ValueError:
            raise NoAnswerError("that is no URL") from None
        if parts.scheme != "http" or not parts.hostname:
            raise NoAnswerError("that is no http URL")
        return _Connection(parts.hostname, port, connect_timeout_s=self.connect_timeout_s)

    def _take(self, endpoint: str) -> _Connection | None:
        with self._lock:
            candidates = self._kept.pop(endpoint, [])
        now = time.monotonic()
        usable = [c for c in candidates if now - c.used_at < KEPT_S and c.reusable()]
        chosen = usable.pop() if usable else None
        with self._lock:
            self._kept[endpoint].extend(usable)
        for connection in candidates:
            if connection is not chosen and connection not in usable:
                connection.close()
        return chosen

    def _keep(self, endpoint: str, connection: _Connection) -> None:
        connection.used_at = time.monotonic()
        if connection.sock is not None:
            with self._lock:
                if len(self._kept[endpoint]) < KEPT_CONNECTIONS:
                    self._kept[endpoint].append(connection)
                    return
        connection.close()

    def _reason(self, error: Exception, *, connected: bool = True) -> str:
        match error:
            case TimeoutError():
                text = (
                    f"no whole answer within {self.timeout_s:g} s"
                    if connected
                    else f"no connection within {min(self.connect_timeout_s, self.timeout_s):g} s"
                )
            case ConnectionRefusedError():
                text = "the connection was refused"
            case ConnectionError() | http.client.IncompleteRead():
                text = "it closed the connection without a whole answer"
            case socket.gaierror():
                text = "its name cannot be resolved"
            case OSError():
                text = error.strerror or type(error).__name__
            case _:
                text = f"its answer is no HTTP ({type(error).__name__})"
        return text
