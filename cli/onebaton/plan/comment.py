"""What a reviewer reads of a plan: a comment that can be decided on within a minute.

The same world gives the same comment: no age, no clock, nothing that a doctor measured. What is
too long is cut, and it is said how much is left out; the artefact has all of it.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from onebaton.errors import OnebatonError
from onebaton.plan.artefact import (
    Artefact,
    Listed,
    PlannedChange,
    PlannedFinding,
    PlannedLoss,
    PlannedStep,
    essence,
)

T = TypeVar("T")

#: GitHub takes 65,536 characters in a comment; GitLab a million.
MAX_LENGTH = 60_000
#: How many entries of each list are shown, the most that fit.
LIMITS = (400, 200, 100, 50, 25, 10, 5)
#: Longest text of one entry.
MAX_TEXT = 600

STRATEGIES = {
    "surge": "all new nodes are made and seeded at once; the zone never has fewer healthy voters",
    "one-by-one": "one surplus node at most; takes longer, and less room",
    "swap": "each machine is made anew under its name, address and server id; one voter less "
    "while it is",
}
_TICKS = re.compile(r"`+")


@dataclass(frozen=True, slots=True)
class Row:
    """A step with its quorum at the worst moment.

    :param spare: how many more servers may fail then; negative: writes stop.
    """

    number: int
    what: str
    voters: int
    healthy: int
    needed: int
    spare: int


@dataclass(frozen=True, slots=True)
class Comment:
    """What the template shows.

    :param essence: digest over what is done and decided on; short, for people to compare.
    :param outage: the forecast, in a few words.
    :param doctor: how many findings there are, in a few words.
    :param ways_back: in case that it goes wrong, in Markdown.
    :param more: how many entries of each kind are left out.
    :param fence: what a block of commands begins and ends with.
    """

    zone: str
    title: str
    from_version: str
    to_version: str
    essence: str
    reason: str
    strategy: str
    about_strategy: str
    outage: str
    image: str
    schema: str
    leader: str
    members: tuple[Listed, ...]
    rows: tuple[Row, ...]
    steps: tuple[PlannedStep, ...]
    outages: tuple[str, ...]
    losses: tuple[PlannedLoss, ...]
    findings: tuple[PlannedFinding, ...]
    doctor: str
    warnings: tuple[str, ...]
    pending: tuple[str, ...]
    changes: tuple[PlannedChange, ...]
    rehearsal: str
    commands: tuple[str, ...]
    ways_back: tuple[str, ...]
    fence: str
    more: dict[str, int]


@dataclass(frozen=True, slots=True)
class Refusal:
    """That there is no plan, and why."""

    zone: str
    message: str
    details: tuple[str, ...]
    resolution: str
    more: int


def fitting(render: Callable[[int], str]) -> str:
    """The longest text that is short enough for a comment.

    :param render: the text with at most so many entries of each list.
    """
    for limit in LIMITS:
        text = render(limit)
        if len(text) <= MAX_LENGTH:
            break
    return text


def marker(zone: str) -> str:
    """What a comment is found by, to be updated in place."""
    return f"<!-- onebaton-plan zone={zone} -->"


def comment(
    artefact: Artefact, *, commands: Sequence[str], ways_back: Sequence[str], limit: int
) -> Comment:
    """What is shown of a plan.

    :param commands: that carry it out.
    :param ways_back: in case that it goes wrong, in Markdown.
    :param limit: entries of a list that are shown at most.
    """
    more: dict[str, int] = {}

    def some(name: str, items: Sequence[T]) -> tuple[T, ...]:
        more[name] = max(0, len(items) - limit)
        return tuple(items[:limit])

    steps = artefact.steps
    image, rehearsal = artefact.image, artefact.rehearsal
    found = sorted(artefact.findings, key=lambda f: (_GRAVITY[f.verdict], f.check, f.what))
    roll = artefact.cut_way is None
    return Comment(
        zone=artefact.zone,
        title=artefact.title,
        from_version=artefact.from_version or "unknown",
        to_version=image.version,
        essence=essence(artefact).removeprefix("sha256:")[:12],
        reason=_cut(artefact.reason),
        strategy=artefact.strategy,
        about_strategy=STRATEGIES.get(artefact.strategy, "") if roll else "",
        outage=_outage(artefact),
        image=f"{image.name} ({image.digest})"
        + (f", from the channel {image.channel}" if image.channel is not None else ""),
        schema=f"{artefact.from_schema or 'unknown'} → {image.schema}"
        if artefact.from_schema != image.schema
        else f"{image.schema}, unchanged",
        leader=artefact.start.leader or "nobody",
        members=some("members", artefact.start.members),
        rows=some("rows", [_row(number, step) for number, step in enumerate(steps, start=1)]),
        steps=some("steps", steps),
        outages=tuple(
            f"{gap.step}: {_seconds(gap.seconds)}: {gap.source}" for gap in artefact.gaps
        ),
        losses=some("losses", artefact.losses),
        findings=some("findings", found),
        doctor=_doctor(found),
        warnings=some("warnings", tuple(map(_cut, artefact.warnings))),
        pending=some("pending", artefact.platform.pending),
        changes=some("changes", artefact.platform.changes),
        rehearsal=f"{rehearsal.kept_as} ({rehearsal.digest})" if rehearsal is not None else "",
        commands=tuple(commands),
        ways_back=tuple(ways_back),
        fence=fence(commands),
        more=more,
    )


def refusal(zone: str, error: OnebatonError, *, limit: int) -> Refusal:
    """That there is no plan."""
    details = tuple(map(_cut, error.details))
    return Refusal(
        zone,
        _cut(error.message),
        details[:limit],
        _cut(error.resolution or ""),
        max(0, len(details) - limit),
    )


def fence(lines: Sequence[str]) -> str:
    """More backticks than stand anywhere in these lines."""
    longest = max((len(run) for line in lines for run in _TICKS.findall(line)), default=0)
    return "`" * max(3, longest + 1)


#: What is worse comes first.
_GRAVITY = {"blocker": 0, "unknown": 1, "warning": 2}


def _row(number: int, step: PlannedStep) -> Row:
    during = step.during
    return Row(
        number,
        _cut(step.what),
        during.voters,
        during.healthy,
        during.needed,
        during.healthy - during.needed,
    )


def _doctor(found: Sequence[PlannedFinding]) -> str:
    """How many findings of each kind."""
    counts = Counter[str](one.verdict for one in found)
    words = {"blocker": "in the way", "unknown": "that cannot be told", "warning": "to know of"}
    said = (f"{counts[kind]} {word}" for kind, word in words.items() if counts[kind])
    return ", ".join(said) or "all is well"


def _outage(artefact: Artefact) -> str:
    if not artefact.gaps:
        return "none is to be expected"
    seconds = [gap.seconds for gap in artefact.gaps]
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return "unknown"
    times = "once" if len(known) == 1 else f"{len(known)} times"
    return f"{times}, about {max(known):.1f} s without writes"


def _seconds(seconds: float | None) -> str:
    return "unknown" if seconds is None else f"about {seconds:.1f} s"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text) - MAX_TEXT} more)"
