"""How images stand after their bake: which channels hold them, and which were revoked.

The catalogue's entries are never changed; what is said of an image later is kept beside them.
"""

from collections.abc import Mapping
from typing import TypeVar
from urllib.parse import quote

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from onebaton.errors import RefusedError, UnreadableError
from onebaton.model import Image
from onebaton.ports import Store

CHANNELS = "channels/"
REVOKED = "revoked/"
#: Version of the entries' format.
FORMAT = 1

_STRICT = ConfigDict(strict=True, extra="forbid")
T = TypeVar("T", "Channel", "Revocation")


@dataclass(frozen=True, slots=True, config=_STRICT)
class Channel:
    """The one image that a channel holds.

    :param name: e.g. ``staging``, ``production``.
    :param image: its name.
    :param promoted_at: seconds since the epoch, UTC.
    """

    format: int
    name: str
    image: str
    digest: str
    version: str
    promoted_at: float


@dataclass(frozen=True, slots=True, config=_STRICT)
class Revocation:
    """An image that must not be used any more.

    :param image: its name.
    :param revoked_at: seconds since the epoch, UTC.
    """

    format: int
    image: str
    digest: str
    reason: str
    revoked_at: float


_CHANNEL = TypeAdapter(Channel)
_REVOCATION = TypeAdapter(Revocation)


class Standing:
    """Channels and revocations in a store.

    Every method that reads raises :class:`~onebaton.errors.UnreadableError` on an entry that it
    cannot read: an image that was revoked would be taken again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def channels(self) -> tuple[Channel, ...]:
        """All channels, by name.

        :raises UnreadableError: if an entry cannot be read.
        """
        keys = self._store.keys(CHANNELS)
        return tuple(found for key in keys if (found := self._read(key, _CHANNEL)))

    def channel(self, name: str) -> Channel | None:
        """What a channel holds; ``None`` if nothing was promoted to it.

        :raises UnreadableError: if its entry cannot be read.
        """
        return self._read(_channel_key(name), _CHANNEL)

    def promote(self, image: Image, channel: str, now: float) -> None:
        """Put an image in a channel, in the place of the one that it holds.

        :raises RefusedError: if the image was revoked.
        :raises UnreadableError: if that cannot be told.
        """
        revoked = self.revoked().get(image.digest)
        if revoked is not None:
            raise RefusedError(
                f"{image.name} was revoked",
                details=[revoked.reason],
                resolution="Promote another image; `onebaton images` lists them.",
            )
        entry = Channel(FORMAT, channel, image.name, image.digest, image.version, now)
        self._store.write(_channel_key(channel), _CHANNEL.dump_json(entry, indent=1) + b"\n")

    def revoke(self, image: Image, reason: str, now: float) -> None:
        """Nobody shall use the image any more."""
        entry = Revocation(FORMAT, image.name, image.digest, reason, now)
        self._store.write(_revoked_key(image.name), _REVOCATION.dump_json(entry, indent=1) + b"\n")

    def reinstate(self, image: Image) -> None:
        """It was revoked by mistake; no error if it was not."""
        self._store.delete(_revoked_key(image.name))

    def revoked(self) -> Mapping[str, Revocation]:
        """What was revoked, by digest: another name makes the content no better.

        :raises UnreadableError: if an entry cannot be read.
        """
        found = (self._read(key, _REVOCATION) for key in self._store.keys(REVOKED))
        return {entry.digest: entry for entry in found if entry is not None}

    def _read(self, key: str, kind: TypeAdapter[T]) -> T | None:
        content = self._store.read(key)
        if content is None:
            return None
        try:
            entry = kind.validate_json(content)
        except ValidationError as error:
            problems = error.errors(include_url=False, include_input=False)
            raise _unreadable(
                key,
                *(
                    f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
                    for problem in problems
                ),
            ) from None
        if entry.format != FORMAT:
            raise _unreadable(key, f"format {entry.format}; this version reads {FORMAT}")
        return entry


def _channel_key(name: str) -> str:
    return f"{CHANNELS}{name}.json"


def _revoked_key(name: str) -> str:
    return f"{REVOKED}{quote(name, safe='')}.json"


def _unreadable(key: str, *details: str) -> UnreadableError:
    return UnreadableError(
        f"the entry {key} of the image catalogue cannot be read",
        details=details,
        resolution="Restore it where `state` is, from a copy; or remove it, then promote or "
        "revoke the image again.",
    )
