"""Maintenance windows: over midnight, over the week's end, where clocks change."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from onebaton.config import Window
from onebaton.plan.stages import shut

BERLIN = ZoneInfo("Europe/Berlin")


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


@pytest.mark.parametrize(
    ("window", "moment", "is_open"),
    [
        ("Sat 02:00-05:00 Europe/Berlin", "2026-11-28T02:00", True),
        ("Sat 02:00-05:00 Europe/Berlin", "2026-11-28T04:59", True),
        ("Sat 02:00-05:00 Europe/Berlin", "2026-11-28T05:00", False),
        ("Sat 02:00-05:00 Europe/Berlin", "2026-11-29T02:30", False),
        ("Fri 22:00-02:00 Europe/Berlin", "2026-11-28T01:59", True),
        ("Fri 22:00-02:00 Europe/Berlin", "2026-11-27T01:59", False),
        ("Fri-Mon 08:00-09:00 Europe/Berlin", "2026-11-29T08:30", True),
        ("Fri-Mon 08:00-09:00 Europe/Berlin", "2026-11-25T08:30", False),
        ("Tue,Thu 08:00-24:00 Europe/Berlin", "2026-11-26T23:59", True),
        ("Tue,Thu 08:00-24:00 Europe/Berlin", "2026-11-27T00:00", False),
        ("daily 08:00-08:00 Europe/Berlin", "2026-11-25T03:00", True),
        # 02:00 in Berlin is 01:00 in UTC in winter, and midnight in summer.
        ("daily 00:00-01:00 UTC", "2026-06-25T02:30", True),
        ("daily 00:00-01:00 UTC", "2026-11-25T02:30", False),
        # The night in which three o'clock comes twice.
        ("Sat 23:00-04:00 Europe/Berlin", "2026-10-25T03:59", True),
        ("Sat 23:00-04:00 Europe/Berlin", "2026-10-25T04:00", False),
    ],
)
def test_a_window_is_open_by_the_clock_of_its_place(window, moment, is_open):
    assert Window.parse(window).is_open(at(moment)) == is_open


def test_the_next_one_is_told():
    windows = [Window.parse("Sat 02:00-05:00 Europe/Berlin"), Window.parse("Mon 01:00-02:00 UTC")]
    assert shut(windows, at("2026-11-28T03:00")) is None
    assert shut((), at("2026-11-28T03:00")) is None
    assert shut(windows, at("2026-11-28T05:00")) == (
        "the next one is Mon 01:00-02:00 UTC, from Mon 2026-11-30 01:00 UTC (in 1 day, 21:00:00)"
    )
    assert shut(windows[:1], at("2026-11-28T05:00")) == (
        "the next one is Sat 02:00-05:00 Europe/Berlin, from Sat 2026-12-05 02:00 Europe/Berlin "
        "(in 6 days, 21:00:00)"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Saturday 02:00-05:00 UTC", "must be days, times and a time zone"),
        ("Sat 02:00-05:00", "must be days, times and a time zone"),
        ("Sat 25:00-05:00 UTC", "25:00 is no time of the day"),
        ("Sat 02:00-05:00 Europe/Nowhere", "Europe/Nowhere is no time zone known here"),
        ("Sat 02:00-05:00 ../../etc/passwd", "must be days, times and a time zone"),
        ("Sat 02:00-05:00 /etc/passwd", "/etc/passwd is no time zone known here"),
    ],
)
def test_what_is_no_window_is_said(text, said):
    with pytest.raises(ValueError, match=said):
        Window.parse(text)
