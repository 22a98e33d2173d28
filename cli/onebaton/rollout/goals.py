"""The image that a rollout goes to, kept in the state folder while it is under way."""

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from onebaton.errors import UnreadableError
from onebaton.plan.underway import Goal
from onebaton.ports import Store

KEY = "rollout.json"
#: Version of the file's format.
FORMAT = 1


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
class _File:
    format: int
    goal: Goal


_FILE = TypeAdapter(_File)


class Goals:
    """The note of a rollout that is under way, on a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> Goal | None:
        """What the last rollout goes to; ``None`` if it came to its end.

        :raises UnreadableError: if it cannot be read.
        """
        content = self._store.read(KEY)
        if content is None:
            return None
        try:
            file = _FILE.validate_json(content)
        except ValidationError as error:
            problems = [
                f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)
            ]
            raise _unreadable(*problems) from None
        if file.format != FORMAT:
            raise _unreadable(f"format {file.format}; this version reads {FORMAT}")
        return file.goal

    def save(self, goal: Goal) -> None:
        """Note it; durable when this returns."""
        self._store.write(KEY, _FILE.dump_json(_File(FORMAT, goal), indent=1) + b"\n")

    def forget(self) -> None:
        """It came to its end, or was taken back."""
        self._store.delete(KEY)


def _unreadable(*details: str) -> UnreadableError:
    return UnreadableError(
        f"the note of the rollout that is under way ({KEY} in the state folder) cannot be read",
        details=details,
        resolution="Look at `onebaton status` for the images of the nodes. If all servers run "
        "one, the file can be removed; else restore it from a copy.",
    )
