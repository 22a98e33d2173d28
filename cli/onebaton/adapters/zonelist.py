"""The row of ``zone_pool``: its server list and state, in the text that ``oned`` keeps.

Texts are bytes in the database's own character set, all of which have ASCII in common. Only the
two parts are exchanged; what else the row holds stays as it is, byte for byte. Names hold no
markup (source: ``PoolObjectSQL::name_is_valid``), so that the first ``<STATE>`` is the zone's;
the list is the last part of the body (source: ``Zone::to_xml``).
"""

import re
from collections.abc import Sequence

from onebaton.model import Server

#: Endpoints that refuse at once: nothing listens on these ports.
NOBODY = ("http://127.0.0.1:1/RPC2", "http://127.0.0.1:2/RPC2")
#: What is added to a server's id for the two that are not there.
NOBODY_IDS = (1000, 1001)

_STATE = re.compile(rb"<STATE>\d+</STATE>")
_POOL = re.compile(rb"<SERVER_POOL(?:/>|>.*</SERVER_POOL>)", re.DOTALL)


def with_servers(body: bytes, servers: Sequence[Server], *, enabled: bool) -> bytes:
    """A zone's row with this server list.

    :param enabled: write the zone's state as enabled; else it stays.
    :raises ValueError: if it is no zone's row.
    """
    members = "".join(
        f"<SERVER><ENDPOINT>{_cdata(server.endpoint)}</ENDPOINT><ID>{_cdata(str(server.id))}</ID>"
        f"<NAME>{_cdata(server.name)}</NAME></SERVER>"
        for server in servers
    )
    pool = f"<SERVER_POOL>{members}</SERVER_POOL>".encode()
    return _exchanged(body, b"<STATE>0</STATE>" if enabled else _state(body), pool)


def with_own_part(body: bytes, own: bytes) -> bytes:
    """A zone's row with the server list and the state of another text of it.

    :raises ValueError: if one of them is no zone's row.
    """
    return _exchanged(body, _state(own), own[slice(*_pool(own))])


def held(server: Server) -> tuple[Server, ...]:
    """A list in which a server can never win: two more that never answer."""
    others = (
        Server(server.id + more, f"nobody-{more}", endpoint)
        for more, endpoint in zip(NOBODY_IDS, NOBODY, strict=True)
    )
    return (server, *others)


def _exchanged(body: bytes, state: bytes, pool: bytes) -> bytes:
    begin, end = _pool(body)
    found = _STATE.search(body, 0, begin)
    if found is None:
        raise ValueError("a zone without a state")
    return body[: found.start()] + state + body[found.end() : begin] + pool + body[end:]


def _state(body: bytes) -> bytes:
    found = _STATE.search(body, 0, _pool(body)[0])
    if found is None:
        raise ValueError("a zone without a state")
    return found.group()


def _pool(body: bytes) -> tuple[int, int]:
    """Where the list stands: from its last opening tag on, whatever a template says before."""
    begin = max(body.rfind(b"<SERVER_POOL>"), body.rfind(b"<SERVER_POOL/>"))
    found = _POOL.match(body, begin) if begin >= 0 else None
    if found is None:
        raise ValueError("a zone without a server list")
    return found.span()


def _cdata(text: str) -> str:
    return f"<![CDATA[{text.replace(']]>', ']]]]><![CDATA[>')}]]>"
