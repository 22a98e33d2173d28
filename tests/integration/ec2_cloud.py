"""EC2 on loopback: moto's, with what it lacks of the real one, and its calls written down."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import boto3
import requests
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from tests.integration.aws_calls import action_of, recording
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

REGION = "eu-central-1"
#: The tests' own requests, which nobody needs a right for.
OURS = "AKIAONLYFORTESTSOURS"
THEIRS = "AKIAONLYFORTESTS0000"
SECRET = "s3cret-only-for-tests"
#: An address's interface: the loopback interface's own address stands for any.
MAC = "00:00:00:00:00:00"

REFUSED = b"<Response><Errors><Error><Code>Refused</Code></Error></Errors></Response>"


class Quiet(WSGIRequestHandler):
    """Says nothing of each request."""

    def log(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Cloud:
    """The service.

    :ivar seen: actions asked for by others than the tests themselves, in order.
    :ivar refused: such actions that fail.
    """

    url: str
    seen: list[str] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)

    @cached_property
    def ec2(self) -> "EC2Client":
        """A client of the tests' own."""
        session = boto3.session.Session(OURS, SECRET)
        return session.client("ec2", endpoint_url=self.url, region_name=REGION)

    def reset(self) -> None:
        """An empty account."""
        requests.post(f"{self.url}/moto-api/reset", timeout=10).raise_for_status()
        self.seen.clear()
        self.refused.clear()

    @property
    def environment(self) -> dict[str, str]:
        """What programs take keys from."""
        return {
            "AWS_ACCESS_KEY_ID": THEIRS,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/nonexistent",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        }


@contextlib.contextmanager
def cloud(record: Path) -> Iterator[Cloud]:
    """Serve until the block is left.

    :param record: gets a line for each action that was asked for.
    """
    moto = DomainDispatcherApplication(create_backend_app)

    def noted(environ: dict, start: Callable) -> Iterable[bytes]:
        action = action_of(environ)
        if action is not None and not _ours(environ):
            made.seen.append(action)
            if action in made.refused:
                start("400 Bad Request", [("Content-Type", "text/xml")])
                return [REFUSED]
        if action == "ec2:AssignPrivateIpAddresses":
            _take_away(environ)
        return moto(environ, start)

    app = recording(noted, record, but=_ours)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    made = Cloud(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        made.reset()
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _ours(environ: dict) -> bool:
    return OURS in environ.get("HTTP_AUTHORIZATION", "")


def _take_away(environ: dict) -> None:
    """What moto leaves out: a secondary address that comes to an interface leaves another one."""
    form = parse_qs(environ["wsgi.input"].getvalue().decode())
    if form.get("AllowReassignment") != ["true"]:
        return
    address = form["PrivateIpAddress.1"][0]
    for eni in ec2_backends[DEFAULT_ACCOUNT_ID][REGION].enis.values():
        if eni.id != form["NetworkInterfaceId"][0]:
            eni.private_ip_addresses[:] = [
                entry
                for entry in eni.private_ip_addresses
                if entry.get("Primary") or entry["PrivateIpAddress"] != address
            ]


@contextlib.contextmanager
def metadata_service(eni: str, *, answers: bool = True) -> Iterator[str]:
    """The metadata service of a machine with that interface, version 2 only.

    :param answers: or takes requests and never answers.
    """
    over = threading.Event()
    facts = {
        f"network/interfaces/macs/{MAC}/interface-id": eni,
        "placement/region": REGION,
        "iam/security-credentials/": "node",
        "iam/security-credentials/node": json.dumps(
            {
                "Code": "Success",
                "AccessKeyId": THEIRS,
                "SecretAccessKey": SECRET,
                "Token": "t",
                "Expiration": "2099-01-01T00:00:00Z",
            }
        ),
    }

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            if not answers:
                over.wait(30)
            good = self.path == "/latest/api/token"
            good = good and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
            self._answer(200 if good else 400, "the-token")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != "the-token":
                self._answer(401, "")
                return
            fact = facts.get(self.path.removeprefix("/latest/meta-data/"))
            self._answer(404 if fact is None else 200, fact or "")

        def _answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        server.server_close()
