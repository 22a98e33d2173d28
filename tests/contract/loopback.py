"""Servers on the loopback: one that replays recorded answers, some that misbehave."""

import contextlib
import json
import socket
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RECORDED = Path(__file__).parent / "recorded"
#: The session that the replaying servers accept.
SESSION = "oneadmin:t0psecret-w0rd"


def recorded_calls(version: str) -> list[dict]:
    """The recorded calls of a release, in order."""
    text = (RECORDED / f"opennebula-{version}.json").read_text(encoding="utf-8")
    return json.loads(text)["calls"]


class Replay:
    """Answers as one recorded host did; each request it gets is kept in ``requests``.

    :param prefer: label of the answer to give where the same call was recorded twice.
    """

    def __init__(self, version: str, host: str, *, prefer: tuple[str, ...] = ()) -> None:
        calls = recorded_calls(version)
        self.requests: list[tuple[str, tuple]] = []
        self.connections = 0
        self._refusal = next(
            c["response"] for c in recorded_calls("6.10.0") if c["auth"] == "wrong password"
        )
        mine = [c for c in calls if c["host"] == host and c["auth"] == "oneadmin"]
        self._answers: dict[tuple[str, str], str] = {}
        for call in mine:
            params = json.dumps([value for _, value in call["params"]])
            if call["label"] in prefer or (call["method"], params) not in self._answers:
                self._answers[call["method"], params] = call["response"]

    def answer(self, body: bytes) -> bytes:
        params, method = xmlrpc.client.loads(body)
        self.requests.append((str(method), params[1:]))
        if params[0] != SESSION:
            return self._refusal.encode()
        key = json.dumps([int(p) if isinstance(p, bool) else p for p in params[1:]])
        return self._answers[str(method), key].encode()


@contextlib.contextmanager
def serving(replay: Replay) -> Iterator[str]:
    """Serve a replay; the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one piece, or each answer costs a delayed ACK

        def setup(self):
            replay.connections += 1
            super().setup()

        def do_POST(self):
            try:
                answer = replay.answer(self.rfile.read(int(self.headers["Content-Length"])))
            except KeyError:
                self.send_error(501, "not recorded")
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/RPC2"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def misbehaving(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A server that does with each connection what it is told; the endpoint."""
    over = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.02)

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            behave(connection, over)

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/RPC2"
    finally:
        over.set()
        thread.join()
        listener.close()


@contextlib.contextmanager
def full() -> Iterator[str]:
    """A listener whose queue is full: connecting to it takes for ever."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/RPC2"


def closed() -> str:
    """An endpoint where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/RPC2"


def read_request(connection: socket.socket) -> bytes:
    """Head and body of one request."""
    data = b""
    while b"</methodCall>" not in data:
        part = connection.recv(65536)
        if not part:
            break
        data += part
    return data


def silent(connection: socket.socket, over: threading.Event) -> None:
    """Takes the request and never answers."""
    read_request(connection)
    over.wait(10)


def deaf(connection: socket.socket, over: threading.Event) -> None:
    """Accepts, and does not even read."""
    over.wait(10)


def drips_body(connection: socket.socket, over: threading.Event) -> None:
    """Promises a long answer and sends a byte of it now and then."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not over.wait(0.05):
        connection.sendall(b"x")


def drips_head(connection: socket.socket, over: threading.Event) -> None:
    """Sends a byte of the first line now and then."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 ")
    while not over.wait(0.05):
        connection.sendall(b"O")


def answers(body: bytes, status: str = "200 OK") -> Callable[[socket.socket, object], None]:
    """Answers every request with the same bytes."""

    def behave(connection: socket.socket, _: object) -> None:
        while read_request(connection):
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)

    return behave


def echoes_as_fault(connection: socket.socket, _: object) -> None:
    """Repeats the whole request, session and all, in a fault."""
    request = read_request(connection).decode()
    body = xmlrpc.client.dumps(xmlrpc.client.Fault(-500, request)).encode()
    connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)


def hangs_up(connection: socket.socket, _: object) -> None:
    """Takes the request and closes."""
    read_request(connection)


def hangs_up_midway(connection: socket.socket, _: object) -> None:
    """Closes in the middle of its answer."""
    read_request(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n<?xml")
