"""What a rollout does at the boundary of two stages, outside of the zone: hooks, notifications."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from onebaton.config import Event


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of a run.

    :param at: seconds since the epoch, UTC.
    :param stage: that it is about; empty if it is about the whole run.
    :param text: the same in a sentence.
    :param details: further lines.
    """

    event: Event
    zone: str
    run: str
    at: float
    text: str
    stage: str = ""
    details: tuple[str, ...] = field(default=())


class Notifier(Protocol):
    """Who is told of a run; never in its way."""

    def tell(self, notice: Notice) -> None:
        """Tell it; returns at once, and does not fail."""
        ...


class HookRunner(Protocol):
    """Programs of the operator's."""

    def run(
        self, command: Sequence[str], *, told: Mapping[str, str], timeout_s: float, what: str
    ) -> int:
        """Run a program to its end, its output among the lines of progress.

        :param told: environment variables that it is given besides this process's own.
        :param what: it is, for messages.
        :returns: its exit status.
        :raises DeadlineError: if it does not end in time; it is ended then.
        :raises UnavailableError: if it cannot be started.
        """
        ...
