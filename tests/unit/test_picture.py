"""A report as a picture, as Markdown and as HTML: all that is in it, and nothing that it can do."""

import re
from html.parser import HTMLParser

import pytest

from onebaton.adapters.templates import markdown, of_day, seconds
from onebaton.reports import GapRow, ReportView, SampleRow, StageRow, StepRow
from onebaton.rollout.picture import LEFT, RIGHT, Row, picture
from onebaton.wiring.reports import rendered

T = 1_795_363_200.0  # 2026-11-22 16:00:00 UTC
EVIL = "<script>alert(1)</script> | `x` [y](javascript:z)"
VIEW = ReportView(
    title=f"zone demo rolled to {EVIL}",
    steps=(
        StepRow("provision:z-b1", "provision z-b1", T, 5.0, "done"),
        StepRow("join:z-b1", EVIL, T + 6, 20.0, "skipped"),
        StepRow("hand-over", "hand over", T + 30, 100.0, "failed"),
    ),
    gaps=(
        GapRow("VIP", "write", 1.5, T + 30, T + 31.5, 900, 3, ((T + 3, T + 4), (T + 30, T + 31.5))),
        GapRow("z-b1", "read", 0.1, None, None, 10, 0),
    ),
    notes=(EVIL,),
    run="20261122T160000-rollout",
    ending="failed",
    began_at=T,
    ended_at=T + 130,
    problem=(EVIL, "a detail"),
    go_on="onebaton rollout --config 'a`b.yaml'",
    samples=(
        SampleRow(T, "z-a1", 3, 3, 3, 2),
        SampleRow(T + 10, "z-a1", 3, 4, 3, 3),
        SampleRow(T + 30, None, None, 4, 0, 3),
        SampleRow(T + 32, "z-b1", 4, 4, 4, 3),
    ),
    stages=(
        StageRow(T, "provisioned", "entered", "the stage provisioned begins"),
        StageRow(T + 1, "joined", "entered", EVIL),
    ),
)


class Reader(HTMLParser):
    """Everything that stands in a page.

    :ivar tags: with their attributes.
    :ivar ids: of elements.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page() -> Reader:
    reader = Reader()
    reader.feed(rendered(VIEW)["html"])
    return reader


def test_the_page_loads_nothing_and_runs_nothing(page):
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "link", "iframe", "object", "embed", "a", "form", "base"}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert not [name for _, attrs in page.tags for name in attrs if name in ("href", "src")]
    policy = next(attrs["content"] for tag, attrs in page.tags if "http-equiv" in attrs)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "url(" not in rendered(VIEW)["html"]
    assert "".join(page.text).count(EVIL) >= 4


def test_each_picture_has_its_words(page):
    parts = [attrs for tag, attrs in page.tags if tag == "g"]
    assert len(parts) == len(VIEW.steps) + 1 + 1 + len(VIEW.gaps)
    for attrs in parts:
        assert attrs["tabindex"] == "0"
        assert attrs["role"] == "img"
        assert attrs["aria-label"]
    labels = " ".join(attrs["aria-label"] or "" for attrs in parts)
    assert "nobody leads from 16:00:30 to 16:00:32" in labels
    assert "from 16:00:10 3 of 4 voters healthy, 3 needed" in labels
    assert "VIP, writes: longest 1.50 s, 3 of 900 requests failed" in labels


def test_everything_is_where_its_time_is():
    drawn = picture(VIEW)
    assert drawn is not None
    second = (RIGHT - LEFT) / 130

    def spans(row: Row) -> list[tuple[float, float]]:
        return [((b.x - LEFT) / second, b.width / second) for b in row.bars]

    assert spans(drawn.steps[0]) == [(0, pytest.approx(5, abs=0.01))]
    assert spans(drawn.steps[2]) == [pytest.approx((30, 100), abs=0.01)]
    assert [bar.tone for row in drawn.steps for bar in row.bars] == ["done", "skipped", "failed"]
    assert drawn.leader is not None
    assert [bar.tone for bar in drawn.leader.bars] == ["leader", "none", "leader"]
    assert [bar.hue for bar in drawn.leader.bars] == [0, 0, 1]
    first, last = drawn.gaps
    assert [bar.tone for bar in first.bars] == ["gap", "longest"]
    assert spans(first) == [pytest.approx((3, 1), abs=0.01), pytest.approx((30, 1.5), abs=0.01)]
    assert last.bars == ()
    assert drawn.voters is not None
    assert drawn.voters.most == 4
    assert len(drawn.voters.needed.split()) == 8
    for row in (*drawn.steps, drawn.leader, *drawn.gaps):
        for bar in row.bars:
            assert bar.x >= LEFT
            assert bar.x + bar.width <= RIGHT + 0.1
    assert 4 <= len(drawn.clock) <= 9
    heights = [row.y for row in (*drawn.steps, drawn.leader, *drawn.gaps)]
    assert heights == sorted(heights)
    assert heights[-1] < drawn.height


def test_names_of_stages_do_not_run_into_each_other():
    drawn = picture(VIEW)
    assert drawn is not None
    one, other = drawn.stages
    assert one.y < other.y


def test_a_run_without_times_has_no_picture():
    view = ReportView("t", ())
    assert picture(view) is None
    assert "<svg" not in rendered(view)["html"]


def test_markdown_holds_no_markup_but_ours():
    text = rendered(VIEW)["md"]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    for line in rows:
        cells = re.split(r"(?<!\\)\|", line)
        assert len(cells) in (5, 6, 8, 9), line
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("|-"):
            assert lines[number - 2] == "", "a table begins after an empty line"
    assert "<script>" not in re.sub(r"\\.", "", text)
    assert markdown("a\nb|c") == r"a b\|c"


def test_times_as_people_read_them():
    assert (of_day(T + 0.25), of_day(T + 0.25, ms=True)) == ("16:00:00", "16:00:00.250")
    assert [seconds(s) for s in (None, 1.25, 99.94, 125.0, 3725.0)] == [
        "-",
        "1.2 s",
        "99.9 s",
        "2 min 05 s",
        "1 h 02 min",
    ]
