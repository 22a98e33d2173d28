"""A record of the log, and how its SQL is stored."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

NOT_FEDERATED = (1 << 64) - 1
"""``fed_index`` of a record that only this zone has (measured note: onedb.md)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of ``logdb`` with what is needed of the one before it."""

    index: int
    term: int
    sql: str
    fed_index: int
    prev_index: int
    prev_term: int


HEARTBEAT = Record(0, 0, "", NOT_FEDERATED, 0, 0)
"""A record that carries nothing."""


def pack(sql: str) -> str:
    """SQL as it stands in ``logdb.sqlcmd``: base64(zlib(SQL))."""
    return base64.b64encode(zlib.compress(sql.encode())).decode("ascii")


def unpack(packed: str) -> str:
    """The SQL of ``logdb.sqlcmd``.

    :raises ValueError: if it is not what :func:`pack` writes.
    """
    try:
        return zlib.decompress(base64.b64decode(packed)).decode()
    except zlib.error as error:
        raise ValueError("Error zlib inflate") from error
