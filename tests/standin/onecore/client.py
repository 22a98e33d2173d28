"""Calling another server, with a deadline on the whole call."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from onecore import xmlrpc

UNREACHABLE_ERRORS = (OSError, xmlrpc.Fault)


class CallFailed(Exception):
    """No answer: refused, cut, past the deadline, or a fault."""


class Connection:
    """One kept-alive connection to one endpoint, for one thread.

    The real server opens a new connection for each call; keeping it open saves
    both sides work and cannot be told from outside.
    """

    def __init__(self, endpoint: str) -> None:
        parts = urlsplit(endpoint)
        self.host = parts.hostname or "localhost"
        self.port = parts.port or 80
        self.path = parts.path or "/RPC2"
        self._socket: socket.socket | None = None
        self._buffer = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the connection; the next call opens a new one."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer = b""

    def call(
        self,
        method: str,
        params: Sequence[xmlrpc.Param],
        timeout_s: float,
        *,
        repeatable: bool,
    ) -> list[Any]:
        """Ask and wait for the answer.

        :param repeatable: whether asking twice does no harm; only then a call over
            an old connection is tried again over a new one.
        :raises CallFailed: if there is no answer in time.
        """
        body = xmlrpc.write_call(method, params)
        deadline = time.monotonic() + timeout_s
        used_before = self._socket is not None
        if used_before and not repeatable:
            self.close()
            used_before = False
        try:
            try:
                return self._exchange(body, deadline)
            except (ConnectionError, EOFError):
                if not used_before:
                    raise
                # The server closes idle connections; that says nothing about its health.
                self.close()
                return self._exchange(body, deadline)
        except xmlrpc.Fault as fault:
            raise CallFailed(fault.text) from fault
        except TimeoutError as error:
            self.close()
            raise CallFailed("RPC call timed out and aborted") from error
        except (OSError, EOFError, ValueError) as error:
            self.close()
            raise CallFailed(
                "libcurl failed to execute the HTTP POST transaction.  "
                f"Failed to connect to {self.host} port {self.port}: {error}"
            ) from error

    def _exchange(self, body: bytes, deadline: float) -> list[Any]:
        if self._socket is None:
            self._socket = socket.create_connection((self.host, self.port), timeout=_left(deadline))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            f"Content-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(head + body)
        status, headers = self._read_head(deadline)
        length = int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            self._fill(deadline)
        answer, self._buffer = self._buffer[:length], self._buffer[length:]
        if headers.get("connection", "").lower() == "close":
            self.close()
        if status != 200:
            raise ValueError(f"HTTP response code is {status}, not 200")
        return xmlrpc.read_answer(answer)

    def _read_head(self, deadline: float) -> tuple[int, dict[str, str]]:
        while b"\r\n\r\n" not in self._buffer:
            self._fill(deadline)
        raw, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        lines = raw.decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return int(lines[0].split()[1]), headers

    def _fill(self, deadline: float) -> None:
        if self._socket is None:
            raise EOFError("connection closed")
        self._socket.settimeout(_left(deadline))
        piece = self._socket.recv(65536)
        if not piece:
            raise EOFError("connection closed by the server")
        self._buffer += piece


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def call_once(
    endpoint: str, method: str, params: Sequence[xmlrpc.Param], timeout_s: float
) -> list[Any]:
    """One call over a connection of its own.

    :raises CallFailed: if there is no answer in time.
    """
    with Connection(endpoint) as connection:
        return connection.call(method, params, timeout_s, repeatable=False)
