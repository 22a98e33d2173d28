"""How a run went, as it is kept: its steps, its stages, what was seen of the zone, the gaps.

``dataclasses.asdict`` of each gives data that JSON can hold as it is. Times are seconds since
the epoch, in UTC; ``None`` is what was not seen.
"""

from dataclasses import dataclass
from typing import Literal

#: How a run ended. stopped: after the stage that was asked for; waiting: for an approval;
#: unfinished: it goes on, or was killed.
Ending = Literal["finished", "stopped", "waiting", "failed", "interrupted", "unfinished"]


@dataclass(frozen=True, slots=True)
class StepRow:
    """A step that was looked at in this run.

    :param duration_s: ``None`` while it has not ended.
    :param outcome: done (now), skipped (it was done already), failed, interrupted, or
        unfinished as the run is.
    """

    step_id: str
    what: str
    started_at: float
    duration_s: float | None
    outcome: Literal["done", "skipped", "failed", "interrupted", "unfinished"]


@dataclass(frozen=True, slots=True)
class GapRow:
    """The longest time in which no request of a kind was answered well through a target.

    :param target: ``VIP`` or the name of a member.
    :param began_at: last good answer before the gap.
    :param ended_at: first good answer after it.
    :param requests: all that were made, good or not.
    :param failed: how many of them failed.
    :param others: begin and end of each gap worth telling, the longest among them, by time.
    """

    target: str
    kind: Literal["read", "write"]
    longest_s: float
    began_at: float | None
    ended_at: float | None
    requests: int
    failed: int
    others: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class SampleRow:
    """The zone at one moment, as the run saw it; it is taken to stay so until the next one.

    :param leader: name of the one server that leads; ``None`` if none does.
    :param healthy: voters seen healthy.
    :param needed: votes that a quorum takes.
    """

    at: float
    leader: str | None
    term: int | None
    voters: int
    healthy: int
    needed: int


@dataclass(frozen=True, slots=True)
class StageRow:
    """A stage, or a wait between two of them.

    :param what: entered, over, soaked, approved, waiting.
    :param text: the same in words.
    """

    at: float
    stage: str
    what: Literal["entered", "over", "soaked", "approved", "waiting"]
    text: str


@dataclass(frozen=True, slots=True)
class ReportView:
    """How a run went.

    :param steps: in the order they ran.
    :param gaps: empty if nothing was probed.
    :param notes: closing sentences.
    :param run: its id; where nothing was done, nothing is kept under it.
    :param problem: why it did not come to its end: the message and its details.
    :param go_on: what to run next; empty if nothing.
    :param samples: by time; where nothing changed, none is added.
    """

    title: str
    steps: tuple[StepRow, ...]
    gaps: tuple[GapRow, ...] = ()
    notes: tuple[str, ...] = ()
    run: str = ""
    ending: Ending = "finished"
    began_at: float | None = None
    ended_at: float | None = None
    problem: tuple[str, ...] = ()
    go_on: str = ""
    samples: tuple[SampleRow, ...] = ()
    stages: tuple[StageRow, ...] = ()


@dataclass(frozen=True, slots=True)
class KeptRow:
    """A report that is kept.

    :param formats: in which it is; none if there is only the run's journal.
    """

    run: str
    title: str
    ending: Ending
    began_at: float | None
    ended_at: float | None
    formats: tuple[str, ...]
