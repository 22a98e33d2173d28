"""The record of a cut-over, kept with the state.

What a cut-over leaves behind cannot be seen any more once it has begun: who led, which servers
the zone had, where its log ended. So it is written down before each such thing.
"""

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from onebaton.errors import UnreadableError
from onebaton.model import Prior
from onebaton.ports import Store

KEY = "cutover.json"
#: Version of the file's format.
FORMAT = 1


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True))
class _Head:
    """What every format begins with."""

    format: int


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
class _File:
    format: int
    prior: Prior


_HEAD = TypeAdapter(_Head)
_FILE = TypeAdapter(_File)


class Priors:
    """Implements the port :class:`~onebaton.standby.PriorRecord` on a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> Prior | None:
        """The last cut-over's record; ``None`` if there was none, or it was taken back.

        :raises UnreadableError: if it cannot be read: without it, nobody can tell which
            generation may serve.
        """
        content = self._store.read(KEY)
        if content is None:
            return None
        try:
            written = _HEAD.validate_json(content).format
            if written != FORMAT:
                raise _unreadable(f"format {written}; this version reads {FORMAT}")
            return _FILE.validate_json(content).prior
        except ValidationError as error:
            raise _unreadable(
                *(
                    f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
                    for problem in error.errors(include_url=False, include_input=False)
                )
            ) from None

    def save(self, prior: Prior) -> None:
        """Replace it; durable when this returns."""
        self._store.write(KEY, _FILE.dump_json(_File(FORMAT, prior), indent=1) + b"\n")

    def forget(self) -> None:
        """There was no cut-over, or it was taken back."""
        self._store.delete(KEY)


def _unreadable(*details: str) -> UnreadableError:
    return UnreadableError(
        f"the record of the last cut-over ({KEY} under `state`) cannot be read",
        details=details,
        resolution="Restore it from a copy. Do not remove it: it tells which generation "
        "may serve, and what `onebaton rollback` brings back.",
    )
