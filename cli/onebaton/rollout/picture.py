"""A run as a picture: where each thing of a report is drawn on one line of time.

Only numbers: the template turns them into SVG. Lengths are in units of the picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Literal

from onebaton.reports import GapRow, ReportView, SampleRow

WIDTH = 1200.0
#: Where time begins; names stand before it.
LEFT = 330.0
RIGHT = WIDTH - 20.0
ROW = 24.0
BAR = 14.0
#: Height of the chart of voters.
CHART = 90.0
#: About so many marks on the line of time.
MARKS = 8
#: A text of so many characters takes this much room each.
CHARACTER = 7.2
#: So many leaders are told apart by their colours.
HUES = 6
#: Distances of marks, in seconds.
_NICE_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400)
#: So narrow a thing is still drawn.
_THIN = 2.5

Tone = Literal["done", "skipped", "failed", "gap", "longest", "leader", "none"]


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of time.

    :param text: what it says itself, if there is room; else empty.
    :param told: the same in a sentence.
    :param hue: tells leaders apart, counted from 0.
    """

    x: float
    width: float
    tone: Tone
    told: str
    text: str = ""
    text_x: float = 0.0
    anchor: Literal["start", "middle", "end"] = "start"
    hue: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A line with its name and its bars."""

    y: float
    name: str
    told: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: of the clock, or the begin of a stage."""

    x: float
    text: str
    y: float = 0.0
    text_x: float = 0.0
    anchor: Literal["start", "end"] = "start"


@dataclass(frozen=True, slots=True)
class Voters:
    """The chart of voters, each line as points of a polyline.

    :param most: the largest number.
    :param levels: height and number of each horizontal line.
    """

    y: float
    voters: str
    healthy: str
    needed: str
    most: int
    levels: tuple[tuple[float, int], ...]
    told: str


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it.

    :param clock: marks along the line of time.
    :param leaders: names of those that led, in the order of their hues.
    :param voters: ``None`` if the zone was not seen.
    :param heads: the name of each part and where it stands.
    """

    width: float
    height: float
    left: float
    right: float
    bar: float
    chart: float
    clock: tuple[Mark, ...]
    stages: tuple[Mark, ...]
    heads: tuple[Mark, ...]
    steps: tuple[Row, ...]
    leader: Row | None
    leaders: tuple[str, ...]
    voters: Voters | None
    gaps: tuple[Row, ...]


def picture(view: ReportView) -> Picture | None:
    """The picture of a report; ``None`` if it tells of no time at all."""
    if view.began_at is None or view.ended_at is None:
        return None
    return _Drawing(view, view.began_at, max(view.ended_at, view.began_at + 1.0)).drawn()


@dataclass(slots=True)
class _Drawing:
    view: ReportView
    begin: float
    end: float
    y: float = 40.0
    heads: list[Mark] = field(default_factory=list)

    def drawn(self) -> Picture:
        stages = self._stages()
        steps = tuple(self._step_rows())
        leader = self._leader_row()
        voters = self._voters()
        gaps = tuple(self._gap_rows())
        return Picture(
            WIDTH,
            self.y + 16,
            LEFT,
            RIGHT,
            BAR,
            CHART,
            tuple(self._clock()),
            stages,
            tuple(self.heads),
            steps,
            leader,
            tuple(self._leaders()),
            voters,
            gaps,
        )

    def _x(self, at: float) -> float:
        share = (min(max(at, self.begin), self.end) - self.begin) / (self.end - self.begin)
        return round(LEFT + share * (RIGHT - LEFT), 2)

    def _span(self, first: float, last: float) -> tuple[float, float]:
        x = min(self._x(first), RIGHT - _THIN)
        return x, round(max(self._x(last) - x, _THIN), 2)

    def _head(self, text: str) -> None:
        self.y += 18
        self.heads.append(Mark(0, text, self.y))
        self.y += 12

    def _next(self, height: float = ROW) -> float:
        y = self.y
        self.y += height
        return y

    def _clock(self) -> Iterator[Mark]:
        lasts_s = self.end - self.begin
        every_s = next((s for s in _NICE_S if lasts_s / s <= MARKS), _NICE_S[-1])
        at = self.begin - self.begin % every_s + every_s
        while at < self.end:
            form = "%H:%M:%S" if every_s < 60 else "%H:%M"
            yield Mark(self._x(at), datetime.fromtimestamp(at, UTC).strftime(form))
            at += every_s

    def _stages(self) -> tuple[Mark, ...]:
        """Where stages begin; a text that would run into the one before it is put lower."""
        found: list[Mark] = []
        ends = [0.0, 0.0, 0.0]
        for row in self.view.stages:
            if row.what != "entered":
                continue
            x, room = self._x(row.at), (len(row.stage) + 1) * CHARACTER
            is_last = x + room > WIDTH
            begin = x - room if is_last else x
            line = next((n for n, end in enumerate(ends) if begin >= end), len(ends) - 1)
            ends[line] = begin + room
            y, text_x = 40.0 + 14 * line, x - 4 if is_last else x + 4
            found.append(Mark(x, row.stage, y, text_x, "end" if is_last else "start"))
        self.y += 14.0 * sum(end > 0 for end in ends)
        return tuple(found)

    def _step_rows(self) -> Iterator[Row]:
        if self.view.steps:
            self._head("Steps")
        for step in self.view.steps:
            seconds = step.duration_s or 0.0
            tone: Tone = (
                "failed"
                if step.outcome in ("failed", "interrupted")
                else ("skipped" if step.outcome == "skipped" else "done")
            )
            told = f"{step.what}: {step.outcome}, {seconds:.1f} s from {clock(step.started_at)}"
            span = self._span(step.started_at, step.started_at + seconds)
            text = f"{seconds:.1f} s" if tone == "done" else f"{seconds:.1f} s, {step.outcome}"
            bar = _beside(Bar(*span, tone, told, text))
            yield Row(self._next(), step.what, told, (bar,))

    def _leaders(self) -> list[str]:
        return list(dict.fromkeys(s.leader for s in self.view.samples if s.leader is not None))

    def _leader_row(self) -> Row | None:
        samples = self.view.samples
        if not samples:
            return None
        self._head("Leader")
        bars: list[Bar] = []
        names = self._leaders()
        for first, last, name in _same(samples, self.end):
            x, width = self._span(first, last)
            who = name or "nobody"
            told = f"{who} leads from {clock(first)} to {clock(last)}"
            text = who if width > len(who) * CHARACTER else ""
            hue = names.index(name) % HUES if name is not None else 0
            tone: Tone = "leader" if name is not None else "none"
            bars.append(Bar(x, width, tone, told, text, x + width / 2, "middle", hue))
        return Row(self._next(), "who leads", "; ".join(bar.told for bar in bars), tuple(bars))

    def _voters(self) -> Voters | None:
        samples = self.view.samples
        if not samples:
            return None
        self._head("Quorum")
        most = max(sample.voters for sample in samples) or 1
        top = self._next(CHART + 16)

        def height(number: int) -> float:
            return round(top + CHART - number / most * CHART, 2)

        def line(numbers: Sequence[int]) -> str:
            points: list[str] = []
            ends = [*(sample.at for sample in samples[1:]), self.end]
            for sample, end, number in zip(samples, ends, numbers, strict=True):
                points += (f"{self._x(at)},{height(number)}" for at in (sample.at, end))
            return " ".join(points)

        return Voters(
            top,
            line([s.voters for s in samples]),
            line([s.healthy for s in samples]),
            line([s.needed for s in samples]),
            most,
            tuple((height(number), number) for number in range(most + 1)),
            "; ".join(
                f"from {clock(s.at)} {s.healthy} of {s.voters} voters healthy, {s.needed} needed"
                for s in samples
            ),
        )

    def _gap_rows(self) -> Iterator[Row]:
        if self.view.gaps:
            self._head("Times without an answer")
        for gap in self.view.gaps:
            bars = tuple(self._gap_bars(gap))
            name = f"{gap.target}, {gap.kind}s"
            told = (
                f"{name}: longest {gap.longest_s:.2f} s, {gap.failed} of {gap.requests} requests "
                "failed"
            )
            yield Row(self._next(), name, told, bars)

    def _gap_bars(self, gap: GapRow) -> Iterator[Bar]:
        longest = (gap.began_at, gap.ended_at)
        spans = [*gap.others]
        if gap.began_at is not None and gap.ended_at is not None and longest not in spans:
            spans.append((gap.began_at, gap.ended_at))
        for first, last in spans:
            is_longest = (first, last) == longest
            told = f"{last - first:.2f} s without an answer, from {clock(first)} to {clock(last)}"
            x, width = self._span(first, last)
            text = f"{last - first:.2f} s" if is_longest else ""
            yield _beside(Bar(x, width, "longest" if is_longest else "gap", told, text))


def _beside(bar: Bar) -> Bar:
    """Its text behind it, or before it where there is no room."""
    end = bar.x + bar.width + 4
    if end + len(bar.text) * CHARACTER <= WIDTH:
        return replace(bar, text_x=end)
    return replace(bar, text_x=bar.x - 4, anchor="end")


def clock(at: float) -> str:
    """A moment's time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S")


def _same(samples: Sequence[SampleRow], end: float) -> Iterator[tuple[float, float, str | None]]:
    """From when to when each leader led, one after another."""
    changes = [samples[0]]
    changes += [later for earlier, later in pairwise(samples) if later.leader != earlier.leader]
    ends = [*(sample.at for sample in changes[1:]), end]
    for sample, last in zip(changes, ends, strict=True):
        yield sample.at, last, sample.leader
