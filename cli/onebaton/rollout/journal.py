"""What a run meant to do and did, written down before and after each step.

The journal never decides: every run starts from what the world shows. It tells people (and
the next run) what was under way when a run ended. One entry is one object in the store, so
that it works the same in a folder and in an object store; it never holds a secret.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

from onebaton.errors import UnreadableError
from onebaton.ports import Clock, Store

Event = Literal["begun", "started", "done", "failed", "interrupted", "stopped", "finished"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    :param run: the run's id.
    :param number: counts from 1 within a run.
    :param at: seconds since the epoch, UTC.
    :param step: id of the step, empty for events of the whole run.
    :param text: what it was about, in words.
    """

    run: str
    number: int
    at: float
    event: Event
    step: str = ""
    text: str = ""


class Journal:
    """The journal of one run.

    :param run: id of the run; sorts by time, e.g. ``20261122T141500-rollout``.
    """

    def __init__(self, store: Store, clock: Clock, run: str) -> None:
        self._store = store
        self._clock = clock
        self.run = run
        self._number = 0

    def write(self, event: Event, *, step: str = "", text: str = "") -> Entry:
        """Append an entry; it is durable when this returns."""
        self._number += 1
        entry = Entry(self.run, self._number, self._clock.now(), event, step, text)
        key = f"journal/{self.run}/{self._number:05d}.json"
        self._store.write(key, json.dumps(asdict(entry)).encode())
        return entry


def read(store: Store, run: str) -> Iterator[Entry]:
    """The entries of a run, in order.

    :raises UnreadableError: if one of them is not an entry.
    """
    for key in store.keys(f"journal/{run}/"):
        content = store.read(key)
        if content is None:
            continue
        try:
            yield Entry(**json.loads(content))
        except (ValueError, TypeError) as error:
            raise UnreadableError(
                f"the journal entry {key} cannot be read",
                details=[str(error)],
                resolution="Move it away; the next run starts from what the zone shows.",
            ) from error


def last_run(store: Store) -> str | None:
    """Id of the latest run, ``None`` if there was none."""
    found = runs(store)
    return found[-1] if found else None


def runs(store: Store) -> tuple[str, ...]:
    """Ids of all runs, in order."""
    return tuple(dict.fromkeys(key.split("/")[1] for key in store.keys("journal/")))
