"""Notes of what is under way, kept with the state until it comes to its end.

The world decides what is to be done; a note tells what it was meant for.
"""

import json
from typing import Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

from onebaton.errors import UnreadableError
from onebaton.plan.underway import Goal
from onebaton.plan.wanted import Condemned
from onebaton.ports import Store

T = TypeVar("T")
#: Version of the files' format.
FORMAT = 1


class Note(Generic[T]):
    """One note, in a file of its own.

    :param key: of the file.
    :param about: what it is about, for messages.
    :param resolution: what can be done if it cannot be read.
    """

    def __init__(
        self, store: Store, kind: TypeAdapter[T], *, key: str, about: str, resolution: str
    ) -> None:
        self._store = store
        self._kind = kind
        self._key = key
        self._about = about
        self._resolution = resolution

    def load(self) -> T | None:
        """What was noted; ``None`` if nothing was, or it came to its end.

        :raises UnreadableError: if it cannot be read.
        """
        content = self._store.read(self._key)
        if content is None:
            return None
        try:
            file = json.loads(content)
        except ValueError as error:
            raise self._unreadable(f"this is not JSON: {error}") from None
        if not isinstance(file, dict) or file.get("format") != FORMAT:
            raise self._unreadable(f"another format; this version reads {FORMAT}")
        try:
            return self._kind.validate_json(json.dumps(file.get("note")), strict=True)
        except ValidationError as error:
            raise self._unreadable(
                *(
                    f"{'.'.join(['note', *map(str, problem['loc'])])}: {problem['msg']}"
                    for problem in error.errors(include_url=False, include_input=False)
                )
            ) from None

    def save(self, what: T) -> None:
        """Note it; durable when this returns."""
        file = {"format": FORMAT, "note": self._kind.dump_python(what, mode="json")}
        self._store.write(self._key, json.dumps(file, indent=1).encode() + b"\n")

    def forget(self) -> None:
        """It came to its end, or was taken back."""
        self._store.delete(self._key)

    def _unreadable(self, *details: str) -> UnreadableError:
        return UnreadableError(
            f"the note of {self._about} ({self._key} under `state`) cannot be read",
            details=details,
            resolution=self._resolution,
        )


def goals(store: Store) -> Note[Goal]:
    """The image that a rollout goes to."""
    return Note(
        store,
        TypeAdapter(Goal),
        key="rollout.json",
        about="the rollout that is under way",
        resolution="Look at `onebaton status` for the images of the nodes. If all servers run "
        "one, the file can be removed; else restore it from a copy.",
    )


def condemnations(store: Store) -> Note[Condemned]:
    """The machine that is being replaced."""
    return Note(
        store,
        TypeAdapter(Condemned),
        key="replace.json",
        about="the machine that is being replaced",
        resolution="Look at `onebaton status`. If every server is healthy on a node of its own, "
        "the file can be removed; else restore it from a copy.",
    )
