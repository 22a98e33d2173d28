"""The HTTP side of XML-RPC: as many connections at a time as the real one takes.

A connection that waits for a majority keeps its place; when all are taken, even
connecting times out. That is how the API of a leader cut off from its followers
hangs (measured), so the number is the real MAX_CONN.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from onecore import xmlrpc
from oned.journal import Journal

Answer = Callable[[str, list[xmlrpc.Param], str], list[xmlrpc.Param]]

_HEAD_MAX = 65536


class Server:
    """Listens, and answers each connection in a thread of its own.

    :param idle_s: after this long without a request a connection is closed.
    :param requests_max: after so many requests a connection is closed.
    """

    def __init__(
        self,
        answer: Answer,
        journal: Journal,
        *,
        address: tuple[str, int],
        connections_max: int,
        backlog: int,
        idle_s: float,
        requests_max: int,
    ) -> None:
        self._answer = answer
        self._journal = journal
        self._address = address
        self._places = threading.BoundedSemaphore(connections_max)
        self._backlog = backlog
        self._idle_s = idle_s
        self._requests_max = requests_max
        self._listener: socket.socket | None = None
        self._ending = threading.Event()
        self._idle: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Listen from now on.

        :raises OSError: if the port is taken.
        """
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(self._address)
        listener.listen(self._backlog)
        self._listener = listener
        threading.Thread(target=self._accept, name="http-accept", daemon=True).start()

    def stop(self) -> None:
        """Refuse new requests; those being answered go on."""
        self._journal.info("ReM", "Stopping XML-RPC server...")
        self._ending.set()
        if self._listener is not None:
            # It says so if nobody was connected.
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        with self._lock:
            for connection in self._idle:
                # The other side may have been faster.
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        assert self._listener is not None
        while not self._ending.is_set():
            if not self._places.acquire(timeout=0.5):
                continue
            try:
                connection, peer = self._listener.accept()
            except OSError:
                self._places.release()
                break
            threading.Thread(
                target=self._serve, args=(connection, str(peer[0])), daemon=True
            ).start()
        self._journal.info("ReM", "XML-RPC server stopped.")

    def _serve(self, connection: socket.socket, peer: str) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(self._idle_s)
            buffer = b""
            for number in range(1, self._requests_max + 1):
                with self._lock:
                    if self._ending.is_set():
                        return
                    self._idle.add(connection)
                try:
                    request = self._read(connection, buffer)
                finally:
                    with self._lock:
                        self._idle.discard(connection)
                if request is None:
                    return
                body, keep, buffer, status = request
                keep = keep and number < self._requests_max
                if status == 200:
                    content = self._respond(body, peer)
                else:
                    content = b"<HTML><BODY>Error</BODY></HTML>"
                connection.sendall(_head(status, len(content), keep=keep) + content)
                if not keep:
                    return
        except (OSError, ValueError):
            pass  # The caller has gone, or does not speak HTTP.
        finally:
            connection.close()
            self._places.release()

    def _respond(self, body: bytes, peer: str) -> bytes:
        try:
            method, params = xmlrpc.read_call(body)
            return xmlrpc.write_answer(self._answer(method, params, peer))
        except xmlrpc.Fault as fault:
            return xmlrpc.write_fault(fault)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the server
            self._journal.error("ReM", f"Request failed: {error!r}")
            return xmlrpc.write_fault(xmlrpc.Fault(-500, "Internal error"))

    @staticmethod
    def _read(connection: socket.socket, buffer: bytes) -> tuple[bytes, bool, bytes, int] | None:
        while b"\r\n\r\n" not in buffer:
            if len(buffer) > _HEAD_MAX:
                return None
            piece = connection.recv(65536)
            if not piece:
                return None
            buffer += piece
        raw, buffer = buffer.split(b"\r\n\r\n", 1)
        lines = raw.decode("latin-1").split("\r\n")
        verb, path, protocol = lines[0].split()
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        if headers.get("expect", "").lower() == "100-continue":
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        pieces = [buffer]
        have = len(buffer)
        while have < length:
            piece = connection.recv(min(1 << 20, length - have))
            if not piece:
                return None
            pieces.append(piece)
            have += len(piece)
        buffer = b"".join(pieces)
        wish = headers.get("connection", "").lower()
        keep = wish == "keep-alive" if protocol == "HTTP/1.0" else wish != "close"
        status = 200
        if path.split("?")[0] != "/RPC2":
            status = 404
        elif verb != "POST":
            status = 405
        return buffer[:length], keep, buffer[length:], status


_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed"}


def _head(status: int, length: int, *, keep: bool) -> bytes:
    return (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\n"
        'Content-type: text/xml; charset="utf-8"\r\n'
        f"Content-length: {length}\r\n"
        f"Connection: {'Keep-Alive' if keep else 'close'}\r\n"
        "Server: Xmlrpc-c_Abyss/1.40.0\r\n\r\n"
    ).encode()
