"""The longest time without a good answer, told from the moments of good answers.

Pure: times come in with each answer, on a clock that never goes back.
"""

import math
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

#: Different texts of failures that are told apart; the rest is counted together.
KEPT_TEXTS = 20
OTHER_TEXTS = "other failures"
#: Shorter gaps are not told one by one, in seconds, nor those that the rate brings about.
WORTH_TELLING_S = 0.5
#: Gaps of one target and kind that are kept besides the longest one; of more, the longest are.
KEPT_GAPS = 50


class Kind(Enum):
    """What a request does to the zone."""

    READ = "read"
    WRITE = "write"


class Outcome(Enum):
    """How a request ended; a write without an answer may have happened or not."""

    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time between two good answers of a kind through one target.

    From the start of probing to the first good answer, and from the last one to its end,
    count as well.

    :param target: the name that it was added under.
    :param began_at: the good answer before it (or the start), seconds since the epoch.
    :param ended_at: the good answer after it (or the end).
    :param unknown: writes without an answer.
    :param skipped: requests that were due while too many others were still unanswered.
    :param failures: texts of what went wrong, with how often, most frequent first.
    :param others: begin and end of each gap worth telling, the longest among them, by time.
    """

    target: str
    kind: Kind
    longest_s: float
    began_at: float
    ended_at: float
    ok: int
    failed: int
    unknown: int
    skipped: int = 0
    failures: tuple[tuple[str, int], ...] = ()
    others: tuple[tuple[float, float], ...] = ()

    @property
    def requests(self) -> int:
        """All that were made: answered, or given up."""
        return self.ok + self.failed + self.unknown


@dataclass(slots=True)
class Ledger:
    """Takes answers as they come, and knows the longest gap so far.

    :param begin: when probing of this target began, on the clock that never goes back.
    :param worth_s: shorter gaps than this are not kept one by one.
    """

    begin: float
    worth_s: float = math.inf
    counts: Counter[Outcome] = field(default_factory=Counter)
    texts: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    end: float | None = None
    kept: list[tuple[float, float]] = field(default_factory=list)
    _last_good: float = field(init=False)
    _longest: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        self._last_good = self.begin
        self._longest = (self.begin, self.begin)

    def take(self, outcome: Outcome, at: float, text: str | None = None) -> None:
        """An answer, or its absence, at a moment not before the last one.

        After the end nothing counts any more.

        :param text: what went wrong.
        """
        if self.end is not None:
            return
        self.counts[outcome] += 1
        if outcome is Outcome.OK:
            self._longest = self._longer(at)
            self._keep(at)
            self._last_good = at
        if text is not None:
            known = text in self.texts or len(self.texts) < KEPT_TEXTS
            self.texts[text if known else OTHER_TEXTS] += 1

    def close(self, at: float) -> None:
        """End: the time since the last good answer counts as a gap."""
        if self.end is None:
            self._longest = self._longer(at)
            self._keep(at)
            self.end = at

    def longest(self, now: float) -> tuple[float, float]:
        """Begin and end of the longest gap; one that still lasts ends now."""
        return self._longest if self.end is not None else self._longer(now)

    def worth_telling(self, now: float) -> list[tuple[float, float]]:
        """Begin and end of each gap that is kept; one that still lasts ends now."""
        lasts = self.end is None and now - self._last_good >= self.worth_s
        return [*self.kept, (self._last_good, now)] if lasts else list(self.kept)

    def _keep(self, at: float) -> None:
        if at - self._last_good >= self.worth_s:
            self.kept.append((self._last_good, at))
            if len(self.kept) > KEPT_GAPS:
                self.kept.remove(min(self.kept, key=lambda gap: gap[1] - gap[0]))

    def _longer(self, at: float) -> tuple[float, float]:
        begin, end = self._longest
        return (self._last_good, at) if at - self._last_good > end - begin else self._longest


def gap_of(target: str, kind: Kind, ledgers: list[Ledger], now: float, epoch: float) -> Gap:
    """One target's gap; it may have been removed and added again.

    :param ledgers: of its times in the probe, at least one.
    :param now: on the clock that never goes back.
    :param epoch: what turns that clock into seconds since the epoch.
    """
    begin, end = max((ledger.longest(now) for ledger in ledgers), key=lambda g: g[1] - g[0])
    counts = sum((ledger.counts for ledger in ledgers), Counter[Outcome]())
    others = sorted(gap for ledger in ledgers for gap in ledger.worth_telling(now))
    texts = sum((ledger.texts for ledger in ledgers), Counter[str]())
    return Gap(
        target=target,
        kind=kind,
        longest_s=end - begin,
        began_at=epoch + begin,
        ended_at=epoch + end,
        ok=counts[Outcome.OK],
        failed=counts[Outcome.FAILED],
        unknown=counts[Outcome.UNKNOWN],
        skipped=sum(ledger.skipped for ledger in ledgers),
        failures=tuple(texts.most_common()),
        others=tuple((epoch + first, epoch + last) for first, last in others),
    )
