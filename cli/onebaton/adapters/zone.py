"""``oned``'s XML-RPC through pyone.

pyone names the calls, adds the session and turns answers into its generated bindings, which
read every recorded answer of 6.10 and 7.0 (0.1 ms each, ``one.system.config`` 2 ms). The
exchange itself is ours: pyone sets its ``timeout=`` as the default of the whole process and
then posts without any. It is imported at the first call (0.1 s, most of it requests and the
bindings), so that a command which talks to no zone does not pay for it.

No exception that leaves here carries what was sent: each is raised anew, outside of the frames
that held the session.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from onebaton.adapters import objectstates
from onebaton.adapters.deadline_http import DeadlineHttp, NoAnswerError
from onebaton.adapters.oned_xmlrpc import FailedCallError, Failure, Long, decode, encode
from onebaton.errors import RefusedError, UnavailableError, ZoneRefusal
from onebaton.examination import Transient, Transients
from onebaton.model import OnedSettings, RaftState, RaftStatus, Secret, Server, Zone

T = TypeVar("T")

#: Type of the documents that probes write; 100 and 101 are OneFlow's.
DOCUMENT_TYPE = 998

AUTHENTICATION = 0x0100
NO_EXISTS = 0x0400

#: How long the new server may take to show in the leader's own list, in seconds.
READ_BACK_S = 2.0
#: Objects of a pool that are read by one call.
PAGE = 500
#: Longest text of a server that a message repeats.
SHOWN_TEXT = 300


class Http(Protocol):
    """How a request gets to a server and its answer back."""

    def post(self, endpoint: str, body: bytes, *, repeatable: bool) -> bytes:
        """The body of the answer.

        :param repeatable: it may be sent twice.
        :raises NoAnswerError: if there is no whole answer in time.
        """
        ...


class OneZone:
    """A zone's servers, each asked by its endpoint; may be used by several threads.

    Each call ends within ``timeout_s``. Reads share kept connections and are sent once more
    if such a connection turns out to be closed; writes are sent once, over their own.

    :param session: ``user:password`` (see :func:`session_of`).
    :param timeout_s: for a whole call.
    :param connect_timeout_s: for connecting, within ``timeout_s``.
    :param http: another way to the servers, with deadlines of its own.
    """

    def __init__(
        self,
        session: Secret,
        *,
        zone_id: int = 0,
        timeout_s: float = 5.0,
        connect_timeout_s: float = 2.0,
        http: Http | None = None,
    ) -> None:
        self._session = session
        self._zone_id = zone_id
        self._http = http or DeadlineHttp(connect_timeout_s=connect_timeout_s, timeout_s=timeout_s)

    def version(self, endpoint: str) -> str:
        """``one.system.version``, e.g. ``6.10.0``."""
        return self._read(endpoint, "system.version", (), _text)

    def raft_status(self, endpoint: str) -> RaftStatus:
        """``one.zone.raftstatus`` of the server asked, leader or not."""
        return self._read(endpoint, "zone.raftstatus", (), _raft_status)

    def zone(self, endpoint: str) -> Zone:
        """``one.zone.info`` as the server asked sees it."""
        return self._read(endpoint, "zone.info", (self._zone_id, False), _zone)

    def settings(self, endpoint: str) -> OnedSettings:
        """The deciding part of ``one.system.config``."""
        return self._read(endpoint, "system.config", (), _settings)

    def add_server(self, endpoint: str, name: str, server_endpoint: str) -> int:
        """Add a server through the leader, once.

        Repeated after a crash it finds the server of exactly this name and endpoint, and
        answers its id.

        :raises RefusedError: if the server asked does not lead, or if another server has the
            name or the endpoint (``oned`` itself would accept both without a word).
        """
        _require_quotable(name, server_endpoint)
        status = self.raft_status(endpoint)
        if status.state not in (RaftState.LEADER, RaftState.SOLO):
            # A follower would forward the call, but its own list may be behind: a duplicate
            # could be missed, the new id too.
            raise RefusedError(
                f"{endpoint} is a {status.state.name.lower()}: servers are added through the "
                "leader",
                resolution="Run the same command again: it looks for the leader anew.",
            )
        known = _find(self.zone(endpoint).servers, name, server_endpoint)
        if known is not None:
            return known
        template = f'SERVER=[NAME="{name}",ENDPOINT="{server_endpoint}"]'
        self._write(endpoint, "zone.addserver", (self._zone_id, template))
        return self._added(endpoint, name, server_endpoint)

    def delete_server(self, endpoint: str, server_id: int) -> None:
        """``one.zone.delserver`` through the leader."""
        self._write(endpoint, "zone.delserver", (self._zone_id, server_id))

    def reset_server(self, endpoint: str, server_id: int) -> None:
        """``one.zone.resetserver`` through the leader."""
        self._write(endpoint, "zone.resetserver", (self._zone_id, server_id))

    def heartbeat(self, endpoint: str, term: int) -> None:
        """One ``one.zone.replicate`` that carries nothing; it ends the warm-up.

        Arguments as in the measured note: leader id −1, commit 0, its term, then an empty
        record (index, term, previous index, previous term, federated index, SQL).
        """
        nothing = Long(0)
        self._write(
            endpoint, "zone.replicate", (-1, nothing, term, nothing, 0, nothing, 0, nothing, "")
        )

    def create_document(self, endpoint: str, name: str) -> int:
        """Allocate a document of the probes' type.

        :returns: its id.
        """
        _require_quotable(name)
        params = (f'NAME="{name}"', DOCUMENT_TYPE)
        return self._call(endpoint, "document.allocate", params, _id, repeatable=False)

    def update_document(self, endpoint: str, document_id: int, content: str) -> None:
        """Replace the document's content: one harmless log record."""
        _require_quotable(content)
        template = f'CONTENT="{content}"'
        self._write(endpoint, "document.update", (document_id, template, 0))

    def delete_document(self, endpoint: str, document_id: int) -> None:
        """Remove the document; no error if there is none."""
        try:
            self._write(endpoint, "document.delete", (document_id,))
        except ZoneRefusal as refusal:
            if refusal.code != NO_EXISTS:
                raise

    def documents(self, endpoint: str, prefix: str) -> dict[int, str]:
        """Ids and names of probes' documents whose name starts with ``prefix``."""
        # -2: of all users; -1, -1: the whole pool.
        params = (-2, -1, -1, DOCUMENT_TYPE)
        found = self._read(endpoint, "documentpool.info", params, _documents)
        return {number: name for number, name in found.items() if name.startswith(prefix)}

    def transients(self, endpoint: str, *, limit: int) -> Transients:
        """VMs and images in the middle of an operation, read a page at a time."""
        found: list[Transient] = []
        looked_at, complete = 0, True
        for method, states, name_of in objectstates.POOLS:
            for start in range(0, limit, PAGE):
                # -2: of all users; a negative end is a page's size (source:
                # RequestManagerPoolInfoFilter.cc).
                size = min(PAGE, limit - start)
                params = (-2, start, -size, *states)
                page = self._read(endpoint, method, params, name_of)
                looked_at += page.count
                found += page.transient
                if page.count < size:
                    break
            else:
                complete = False
        return Transients(tuple(found), looked_at, complete)

    def _added(self, endpoint: str, name: str, server_endpoint: str) -> int:
        """The new server's id: addserver answers the zone's (measured note)."""
        until = time.monotonic() + READ_BACK_S
        while True:
            added = _find(self.zone(endpoint).servers, name, server_endpoint)
            if added is not None:
                return added
            if time.monotonic() > until:
                raise UnavailableError(
                    f"{name} was added to the zone, but {endpoint} does not list it",
                    resolution="See 'onezone show', then run the same command again.",
                )
            time.sleep(0.1)

    def _read(
        self, endpoint: str, method: str, params: Sequence[object], convert: Callable[[Any], T]
    ) -> T:
        return self._call(endpoint, method, params, convert, repeatable=True)

    def _write(self, endpoint: str, method: str, params: Sequence[object]) -> None:
        self._call(endpoint, method, params, _nothing, repeatable=False)

    def _call(
        self,
        endpoint: str,
        method: str,
        params: Sequence[object],
        convert: Callable[[Any], T],
        *,
        repeatable: bool,
    ) -> T:
        outcome = self._outcome(endpoint, method, params, convert, repeatable=repeatable)
        if isinstance(outcome, Failure):
            raise self._error(endpoint, f"one.{method}", outcome)
        return outcome

    def _outcome(
        self,
        endpoint: str,
        method: str,
        params: Sequence[object],
        convert: Callable[[Any], T],
        *,
        repeatable: bool,
    ) -> T | Failure:
        from pyone.bindings.supbind import GDSParseError
        from pyone.server_xrpc import OneServerXRPC

        def exchange(full_method: str, full_params: Sequence[object]) -> list[Any]:
            request = encode(full_method, full_params)
            return decode(self._http.post(endpoint, request, repeatable=repeatable))

        try:
            client = OneServerXRPC(endpoint, self._session.reveal())
            # pyone's own seam: its tester replaces the exchange in the same place.
            client._do_request = exchange
            answer = getattr(client, method)(*params)
        except FailedCallError as failed:
            return Failure(self._clean(failed.failure.text), failed.failure.code)
        except NoAnswerError as error:
            return Failure(error.text)
        except (SyntaxError, GDSParseError) as error:  # lxml's is a SyntaxError
            return Failure(_unlike(method, error))
        except OSError:  # of ServerProxy, for a URL that it does not know
            return Failure("that is no http URL")
        try:
            return convert(answer)
        except (AttributeError, TypeError, ValueError) as error:
            return Failure(_unlike(method, error))

    def _error(
        self, endpoint: str, method: str, failure: Failure
    ) -> UnavailableError | ZoneRefusal:
        text = failure.text
        if failure.code is None:
            return UnavailableError(
                f"{endpoint} did not answer {method}: {text}",
                resolution=(
                    "See whether opennebula.service runs there and the address is right; then "
                    "run the same command again."
                ),
            )
        if failure.code == AUTHENTICATION:
            return ZoneRefusal(
                f"wrong user or password for the zone: {endpoint} rejects them",
                code=failure.code,
                details=[text],
                resolution=(
                    "Compare zone.credentials in the configuration with one_auth in "
                    "/var/lib/one/.one on a front-end."
                ),
            )
        return ZoneRefusal(
            f"{endpoint} refused {method}: {text}",
            code=failure.code,
            details=[f"error code {failure.code}"],
            resolution="See how the zone stands ('onebaton status'), then run the same command "
            "again.",
        )

    def _clean(self, text: str) -> str:
        """A server's text, on one line, without our session should it repeat it."""
        session = self._session.reveal()
        for secret in (session, session.partition(":")[2]):
            if secret:
                text = text.replace(secret, "***")
        return " ".join(text.split())[:SHOWN_TEXT]


def session_of(user: str, password: Secret) -> Secret:
    """The session that each call carries."""
    return Secret(f"{user}:{password.reveal()}")


def _unlike(method: str, error: Exception) -> str:
    return f"its answer is not what one.{method} answers ({type(error).__name__})"


def _require_quotable(*texts: str) -> None:
    if any(re.search(r'["\\\]\[\n]', text) for text in texts):
        raise RefusedError(
            "a name, an endpoint or a content holds a quote, a bracket, a backslash or a line "
            "break, which OpenNebula's templates do not take",
            details=[repr(text) for text in texts],
            resolution="Give the zone and its nodes names of letters, digits, dots and dashes.",
        )


def _find(servers: Sequence[Server], name: str, endpoint: str) -> int | None:
    """Id of the server of this name and endpoint.

    :raises RefusedError: if only one of the two agrees.
    """
    exact = [s for s in servers if s.name == name and s.endpoint == endpoint]
    if exact:
        return exact[-1].id
    similar = [s for s in servers if s.name == name or s.endpoint == endpoint]
    if similar:
        raise RefusedError(
            f"the zone has a server of the name {name} or at {endpoint} already",
            details=[f"server {s.id}: {s.name} at {s.endpoint}" for s in similar],
            resolution="Choose another name or address, or remove that server from the zone.",
        )
    return None


def _nothing(_: object) -> None:
    return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _raft_status(raft: Any) -> RaftStatus:  # noqa: ANN401 - pyone has no types
    # −1 (no server, no record, no term) may come as the unsigned number of the same bits,
    # such as the term 4294967295 of a server with other secrets: it is passed on as it is.
    return RaftStatus(
        server_id=_id(raft.SERVER_ID),
        state=RaftState(raft.STATE),
        term=_id(raft.TERM),
        voted_for=_id(raft.VOTEDFOR),
        commit=_id(raft.COMMIT),
        log_index=_id(raft.LOG_INDEX),
        log_term=_id(raft.LOG_TERM),
        fedlog_index=_id(raft.FEDLOG_INDEX),
    )


def _zone(zone: Any) -> Zone:  # noqa: ANN401 - pyone has no types
    # A server of 7.x carries an ENDPOINT_GRPC too; the bindings pass over what they don't know.
    pool = zone.SERVER_POOL
    servers = [
        Server(_id(server.ID), _text(server.NAME), _text(server.ENDPOINT))
        for server in (pool.SERVER if pool is not None else ())
    ]
    return Zone(
        id=_id(zone.ID),
        name=_text(zone.NAME),
        # 0 enabled, 1 disabled (measured); a zone of releases before 5.13 says nothing.
        enabled=zone.STATE in (None, 0),
        servers=tuple(sorted(servers)),
    )


def _settings(config: Any) -> OnedSettings:  # noqa: ANN401 - pyone has no types
    federation, raft = config.FEDERATION, config.RAFT
    return OnedSettings(
        federation_mode=_text(federation.MODE),
        zone_id=_id(federation.ZONE_ID),
        server_id=_id(federation.SERVER_ID),
        election_timeout_ms=_id(raft.ELECTION_TIMEOUT_MS),
        broadcast_timeout_ms=_id(raft.BROADCAST_TIMEOUT_MS),
        xmlrpc_timeout_ms=_id(raft.XMLRPC_TIMEOUT_MS),
        log_retention=_id(raft.LOG_RETENTION),
    )


def _documents(pool: Any) -> dict[int, str]:  # noqa: ANN401 - pyone has no types
    return {_id(document.ID): _text(document.NAME) for document in pool.DOCUMENT}
