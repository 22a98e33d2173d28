"""Maintenance windows: days, times and a time zone, such as ``Sat 02:00-05:00 Europe/Berlin``."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Self
from zoneinfo import ZoneInfo

#: As ``datetime.weekday`` counts them.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_DAY = "|".join(DAYS)
_FORM = re.compile(
    rf"(?P<days>daily|(?:{_DAY})(?:-(?:{_DAY}))?(?:,(?:{_DAY})(?:-(?:{_DAY}))?)*)"
    r" (?P<begin>\d\d:\d\d)-(?P<end>\d\d:\d\d) (?P<zone>[A-Za-z0-9_+/-]+)"
)
_MEANT = 'must be days, times and a time zone, such as "Sat 02:00-05:00 Europe/Berlin"'


@dataclass(frozen=True, slots=True)
class Window:
    """A time of certain days in which something may be done.

    :param text: as it was given.
    :param days: on which it begins, 0 is Monday.
    :param end: on the next day if it is not after ``begin``; 24:00 is 00:00 of the next day.
    """

    text: str
    days: frozenset[int]
    begin: time
    end: time
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """The window that a text names.

        :raises ValueError: if it names none.
        """
        found = _FORM.fullmatch(text.strip())
        if found is None:
            raise ValueError(_MEANT)
        return cls(
            text.strip(),
            frozenset(_days(found["days"])),
            _time(found["begin"]),
            _time("00:00" if found["end"] == "24:00" else found["end"]),
            _zone(found["zone"]),
        )

    def is_open(self, at: float) -> bool:
        """Whether it is open.

        :param at: seconds since the epoch.
        """
        return any(begin <= at < end for begin, end in self._around(at))

    def opens_next(self, at: float) -> float:
        """When it opens next, seconds since the epoch.

        :param at: a moment at which it is shut.
        """
        return min(begin for begin, _ in self._around(at) if begin > at)

    def _around(self, at: float) -> Iterator[tuple[float, float]]:
        """Begins and ends from the day before to a week after it, so that one is to come.

        The wall clock decides: a window over the night in which clocks change is an hour longer
        or shorter.
        """
        today = datetime.fromtimestamp(at, self.zone).date()
        for offset in range(-1, 9):
            day = today + timedelta(days=offset)
            if day.weekday() not in self.days:
                continue
            over_night = timedelta(days=1 if self.end <= self.begin else 0)
            yield self._moment(day, self.begin), self._moment(day + over_night, self.end)

    def _moment(self, day: date, of_day: time) -> float:
        return datetime.combine(day, of_day, self.zone).astimezone(UTC).timestamp()


def _days(text: str) -> Iterator[int]:
    if text == "daily":
        yield from range(7)
        return
    for part in text.split(","):
        first, _, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        # "Fri-Mon" goes over the end of the week.
        yield from ((begin + step) % 7 for step in range((end - begin) % 7 + 1))


def _time(text: str) -> time:
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text} is no time of the day, such as 02:00") from None


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise ValueError(
            f"{name} is no time zone known here, such as Europe/Berlin or UTC"
        ) from None
