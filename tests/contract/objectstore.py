"""An S3-compatible service on loopback: moto's, with bad weather in front of it."""

import contextlib
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
import requests
from botocore.config import Config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from tests.integration.aws_calls import OURS, recording
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

App = Callable[[dict, Callable], Iterable[bytes]]
#: What happens to one request instead of its plain way to the service.
Fault = Callable[[App, dict, Callable], Iterable[bytes]]

BUCKET = "state-of-zones"
ACCESS_KEY = "AKIAONLYFORTESTS0000"
SECRET_KEY = "s3cret-only-for-tests"


def give_keys(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """The service's keys in the environment, and no other settings of AWS."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        patch.delenv(name)
    patch.setenv("AWS_CONFIG_FILE", str(folder / "no-config"))
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(folder / "no-keys"))
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    patch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)


class ObjectStore:
    """The service.

    :ivar faults: what befalls the next requests that change or read an object, in order.
    :ivar seen: method and path of all requests, in order.
    :ivar actions: what others than the tests ask for, as IAM calls it, in order.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.faults: Iterator[Fault] = iter(())
        self.seen: list[str] = []
        self.actions: list[str] = []
        self.over = threading.Event()

    def reset(self) -> None:
        """Fair weather, and nothing there."""
        self.faults = iter(())
        requests.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()
        self.seen.clear()
        self.actions.clear()

    def clear(self) -> None:
        """Fair weather, and the one bucket, empty."""
        self.reset()
        self.client.create_bucket(Bucket=BUCKET)
        self.seen.clear()

    @cached_property
    def client(self) -> "S3Client":
        """A client of the tests' own."""
        return boto3.session.Session(OURS, SECRET_KEY).client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )


class InOnePiece(WSGIRequestHandler):
    """Sends headers and body together.

    Sent one after the other, Terraform's provider at times hung up between them, on a machine with
    much to do, and asked for the same thing again, which was there already (seen in the packets).
    """

    wbufsize = 64 << 10

    def handle_expect_100(self) -> bool:
        go_on = super().handle_expect_100()
        self.wfile.flush()
        return go_on

    def finish(self) -> None:
        with contextlib.suppress(ConnectionError):  # whoever asked may be gone
            super().finish()


@contextlib.contextmanager
def serving(record: Path | None = None, *, host: str = "127.0.0.1") -> Iterator[ObjectStore]:
    """Serve an empty bucket until the block is left.

    :param record: gets the actions that were asked for, a line each.
    :param host: address of this machine to listen at.
    """
    moto = DomainDispatcherApplication(create_backend_app)
    one_at_a_time = threading.Lock()

    def app(environ: dict, start: Callable) -> Iterable[bytes]:
        # Moto looks at a condition and writes in two steps; a real store does it in one.
        with one_at_a_time:
            return moto(environ, start)

    def weather(environ: dict, start: Callable) -> Iterable[bytes]:
        store.seen.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        fault = next(store.faults, None)
        return app(environ, start) if fault is None else fault(app, environ, start)

    actions: list[str] = []
    app_told = recording(weather, actions, record)
    server = make_server(host, 0, app_told, threaded=True, request_handler=InOnePiece)
    store = ObjectStore(f"http://{host}:{server.server_port}")
    store.actions = actions
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield store
    finally:
        store.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def answers(status: str, code: str) -> Fault:
    """An error of S3's, and nothing done."""

    def fault(_app: App, environ: dict, start: Callable) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(status, [("Content-Type", "application/xml")])
        # A service may repeat what it was sent.
        said = environ.get("HTTP_AUTHORIZATION", "")
        return [f"<Error><Code>{code}</Code><Message>{said}</Message></Error>".encode()]

    return fault


SLOW_DOWN = answers("503 Slow Down", "SlowDown")
FAILED = answers("500 Internal Server Error", "InternalError")
CONFLICT = answers("409 Conflict", "ConditionalRequestConflict")


def loses_its_answer(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
    """Does what was asked for, and then says that it failed."""
    list(app(environ, lambda *_: None))
    return FAILED(app, environ | {"CONTENT_LENGTH": "0"}, start)


def hangs(store: ObjectStore) -> Fault:
    """Takes the request and never answers."""

    def fault(_app: App, _environ: dict, start: Callable) -> list[bytes]:
        store.over.wait(20)
        start("503 Late", [])
        return []

    return fault


def drips(store: ObjectStore) -> Fault:
    """Promises a long answer and sends a byte of it now and then."""

    def fault(_app: App, _environ: dict, start: Callable) -> Iterator[bytes]:
        start("200 OK", [("Content-Length", "100000"), ("ETag", '"x"')])
        while not store.over.wait(0.05):
            yield b"x"

    return fault


def heeds_nothing(*headers: str) -> Fault:
    """A store that takes conditions and does not look at them."""

    def fault(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
        return app({k: v for k, v in environ.items() if k not in headers}, start)

    return fault


def plainly(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
    """No fault."""
    return app(environ, start)


def for_ever(fault: Fault) -> Iterator[Fault]:
    """The same with every request."""
    return itertools.repeat(fault)
