"""The metadata service of an EC2 instance, on loopback."""

import contextlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.contract.objectstore import ACCESS_KEY, SECRET_KEY
from tests.integration.ec2_cloud import REGION

#: Of the machine's interface: the loopback interface's own, which every machine has.
MAC = "00:00:00:00:00:00"


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
                "AccessKeyId": ACCESS_KEY,
                "SecretAccessKey": SECRET_KEY,
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
