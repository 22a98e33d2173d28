"""A place that parts of a seed pass through, and how a node's ``curl`` is told of one.

A link is a key for as long as it holds: it goes to the node on standard input, and into no
argument, log or message.
"""

from dataclasses import dataclass
from typing import Protocol

from onebaton.model import Secret


@dataclass(frozen=True, slots=True)
class Errand:
    """One request that whoever holds its link may make.

    :param headers: what must be sent with it, ``name: value``.
    """

    link: Secret
    headers: tuple[str, ...]

    def for_curl(self) -> bytes:
        """As ``curl --config -`` reads it, ended by an empty line."""
        lines = [
            f"url = {_quoted(self.link.reveal())}",
            *(f"header = {_quoted(header)}" for header in self.headers),
        ]
        return "".join(f"{line}\n" for line in [*lines, ""]).encode()


class Passage(Protocol):
    """Objects that one machine sends and others fetch, without keys of their own."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""
        ...

    def sending(self, name: str, *, valid_s: int) -> Errand:
        """How an object is sent.

        :param valid_s: for how long this may be done, in seconds.
        :raises UnavailableError: if there are no keys to sign with.
        """
        ...

    def fetching(self, name: str, *, valid_s: int) -> Errand:
        """How an object is fetched; see :meth:`sending`."""
        ...

    def clear(self) -> int:
        """Remove all objects, whoever sent them.

        :returns: how many there were.
        :raises UnavailableError: if the store does not do it.
        """
        ...


def _quoted(text: str) -> str:
    """A value in a file of curl's (curl(1), ``--config``)."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
