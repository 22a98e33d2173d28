"""The metadata service of EC2 instances."""

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

from tests.contract.objectstore import ACCESS_KEY, SECRET_KEY
from tests.integration.ec2_cloud import REGION

#: Of a machine's interface: the loopback interface's own, which every machine has.
MAC = "00:00:00:00:00:00"


class MetadataServer:
    """The service, for any number of machines.

    :ivar tokens: version 2 only: who has no token is told nothing.
    :ivar machines: facts by path, by the machine's address.
    :ivar over: is set when the service ends.
    """

    def __init__(self, url: str, *, tokens: bool, answers: bool) -> None:
        self.url = url
        self.tokens = tokens
        self.answers = answers
        self.machines: dict[str, Mapping[str, str]] = {}
        self.over = threading.Event()

    @classmethod
    @contextlib.contextmanager
    def serving(
        cls, listen: str, *, seen_at: str, tokens: bool = True, answers: bool = True
    ) -> Iterator[Self]:
        """Serve until the block is left.

        :param listen: address of this machine.
        :param seen_at: the one that machines call it by.
        :param answers: or takes requests and never answers.
        """
        server = ThreadingHTTPServer((listen, 0), _Handler)
        made = cls(f"http://{seen_at}:{server.server_port}", tokens=tokens, answers=answers)
        server.metadata = made  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield made
        finally:
            made.over.set()
            server.shutdown()
            thread.join()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        service: MetadataServer = self.server.metadata  # type: ignore[attr-defined]
        if not service.answers:
            service.over.wait(30)
        good = self.path == "/latest/api/token"
        good = good and "X-aws-ec2-metadata-token-ttl-seconds" in self.headers
        self._answer(200 if good else 400, "the-token")

    def do_GET(self) -> None:
        service: MetadataServer = self.server.metadata  # type: ignore[attr-defined]
        if service.tokens and self.headers.get("X-aws-ec2-metadata-token") != "the-token":
            self._answer(401, "")
            return
        facts = service.machines.get(self.client_address[0], {})
        # Behind "latest", or the date of a version.
        path = self.path.split("/", 2)[2]
        answer = facts.get(path)
        if answer is None and path.endswith("/"):
            below = [name.removeprefix(path) for name in facts if name.startswith(path)]
            answer = "\n".join(below) or None
        self._answer(404 if answer is None else 200, answer or "")

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def metadata_service(eni: str, *, answers: bool = True) -> Iterator[str]:
    """The service of this machine as one with that interface.

    :param answers: or takes requests and never answers.
    """
    role = {
        "Code": "Success",
        "AccessKeyId": ACCESS_KEY,
        "SecretAccessKey": SECRET_KEY,
        "Token": "t",
        "Expiration": "2099-01-01T00:00:00Z",
    }
    with MetadataServer.serving("127.0.0.1", seen_at="127.0.0.1", answers=answers) as service:
        service.machines["127.0.0.1"] = {
            f"meta-data/network/interfaces/macs/{MAC}/interface-id": eni,
            "meta-data/placement/region": REGION,
            "meta-data/iam/security-credentials/": "node",
            "meta-data/iam/security-credentials/node": json.dumps(role),
        }
        yield service.url
