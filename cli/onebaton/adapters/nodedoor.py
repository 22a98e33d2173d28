"""``oned`` asked on its own node, over ssh: the way in while a fence keeps the network out.

The request travels on standard input, because it carries the session.
"""

import http.client
import io

from onebaton.adapters import copyscripts
from onebaton.adapters.deadline_http import NoAnswerError
from onebaton.adapters.ssh import Ssh
from onebaton.errors import DeadlineError
from onebaton.model import Host


class NodeDoor:
    """Requests to the API of one node (implements ``zone.Http``).

    :param timeout_s: for a whole exchange.
    :ivar endpoint: the API on its node, as messages name it.
    :ivar reached: the node itself was reached, whatever ``oned`` said.
    """

    def __init__(self, ssh: Ssh, host: Host, *, port: int, timeout_s: float) -> None:
        self._ssh = ssh
        self._host = host
        self._port = port
        self._timeout_s = timeout_s
        self.endpoint = f"http://{host.name}:{port}/RPC2"
        self.reached = False

    def post(self, endpoint: str, body: bytes, *, repeatable: bool) -> bytes:  # noqa: ARG002 - one node, asked once
        """See ``zone.Http``.

        :raises UnavailableError: if the node itself is not reached.
        """
        head = (
            f"POST /RPC2 HTTP/1.0\r\nHost: localhost:{self._port}\r\nContent-Type: text/xml\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            done = self._ssh.run(
                self._host,
                copyscripts.ask_script(self._port),
                stdin=head.encode() + body,
                timeout_s=self._timeout_s,
                what="asking oned",
                check=False,
            )
        except DeadlineError:
            self.reached = True
            raise NoAnswerError(f"no whole answer within {self._timeout_s:g} s") from None
        self.reached = True
        if not done.stdout:
            raise NoAnswerError("the connection was refused")
        return body_of(done.stdout.encode())


def body_of(answer: bytes) -> bytes:
    """The body of an HTTP answer.

    :raises NoAnswerError: if it is not whole, or none of success.
    """
    response = http.client.HTTPResponse(_Stream(answer))  # type: ignore[arg-type] # all it uses
    try:
        response.begin()
        body = response.read()
    except (http.client.HTTPException, ValueError) as error:
        raise NoAnswerError(f"its answer is no HTTP ({type(error).__name__})") from None
    if response.status != http.client.OK:
        raise NoAnswerError(f"it answered with HTTP status {response.status}")
    return body


class _Stream:
    """The part of a socket that ``http.client`` reads from."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def makefile(self, mode: str) -> io.BytesIO:  # noqa: ARG002 - always "rb"
        return io.BytesIO(self._content)
