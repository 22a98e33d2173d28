"""The report's page in a real browser: no network, dark and light, and by the keyboard alone."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.chromium import Chromium, chromium

from onebaton.reports import GapRow, ReportView, SampleRow, StageRow, StepRow
from onebaton.wiring.reports import rendered

pytestmark = pytest.mark.integration

T = 1_795_363_200.0
STEPS = (
    ("provision demo-b1, demo-b2, demo-b3", 0, 5.0),
    ("seed demo-b1, demo-b2, demo-b3 from demo-a2", 6, 1.9),
    ("join demo-b1, steered to lead", 8, 22.9),
    ("hand over from server 0 (demo-a1) to demo-b1", 40, 2.4),
)
VIEW = ReportView(
    title='zone demo rolled to 6.10.5 <img src="http://127.0.0.1:9/x" onerror="alert(1)">',
    steps=tuple(StepRow(w, w, T + begin, took, "done") for w, begin, took in STEPS),
    gaps=(GapRow("VIP", "write", 1.3, T + 40, T + 41.3, 400, 3, ((T + 40, T + 41.3),)),),
    run="20261122T160000-rollout",
    began_at=T,
    ended_at=T + 45,
    samples=(
        SampleRow(T, "demo-a1", 3, 3, 3, 2),
        SampleRow(T + 9, "demo-a1", 3, 4, 3, 3),
        SampleRow(T + 41, "demo-b1", 4, 4, 4, 3),
    ),
    stages=(StageRow(T, "provisioned", "entered", "the stage provisioned begins"),),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(rendered(VIEW)["html"])
    return file


@pytest.fixture(scope="module")
def browser(page: Path) -> Iterator[Chromium]:
    with chromium(page.parent) as one:
        one.open(page)
        yield one


def colour(browser: Chromium, what: str, of: str) -> tuple[int, ...]:
    text = browser.run(f"getComputedStyle(document.querySelector({what!r})).{of}")
    return tuple(map(int, re.findall(r"\d+", text)[:3]))


def contrast(one: tuple[int, ...], other: tuple[int, ...]) -> float:
    """Of two colours, as WCAG 2.2 has it."""

    def luminance(rgb: tuple[int, ...]) -> float:
        parts = [c / 255 for c in rgb]
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_it_asks_for_nothing_but_itself(browser, page):
    assert browser.requests() == [page.as_uri()]
    problems = [e for e in browser.events if e.get("method") == "Log.entryAdded"]
    assert problems == []
    assert browser.run("document.images.length + document.scripts.length") == 0
    assert browser.run("document.querySelector('h1').textContent") == VIEW.title


def test_it_is_read_in_the_light_and_in_the_dark(browser):
    pages = {}
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        pages[scheme] = colour(browser, "body", "backgroundColor")
        for what, of, behind, least in (
            ("body", "color", "body", 7.0),
            (".dim", "color", "body", 4.5),
            (".ending", "color", "body", 4.5),
            ("svg text.head", "fill", "svg", 7.0),
            ("svg text.small", "fill", "svg", 4.5),
            (".done-bar", "fill", "svg", 3.0),
            (".longest-bar", "fill", "svg", 3.0),
            (".h0", "fill", "svg", 3.0),
            (".h1", "fill", "svg", 3.0),
            (".healthy", "stroke", "svg", 3.0),
            (".needed", "stroke", "svg", 3.0),
        ):
            ratio = contrast(colour(browser, what, of), colour(browser, behind, "backgroundColor"))
            assert ratio >= least, (scheme, what, ratio)
    assert sum(pages["light"]) > 3 * 200
    assert sum(pages["dark"]) < 3 * 60


def test_the_keyboard_reaches_everything_in_its_order(browser):
    browser.run("document.activeElement.blur()")
    reached = []
    for _ in range(40):
        browser.press("Tab", 9)
        name = browser.run(
            "((e) => e === document.body ? '' : e.getAttribute('aria-label') || "
            "e.textContent.trim() || e.tagName)(document.activeElement)"
        )
        if not name or (reached and name == reached[0]):
            break
        if name.startswith(("Steps", "Longest", "Leader and", "Stages")):
            outline = browser.run("getComputedStyle(document.activeElement).outlineStyle")
            assert outline == "solid"
        reached.append(name)
    pictures = [name for name in reached if "summary" not in name]
    words = [
        *(what for what, _, _ in STEPS),
        "demo-a1 leads",
        "from 16:00:00 3 of 3",
        "VIP, writes",
    ]
    positions = [next(n for n, name in enumerate(pictures) if w in name) for w in words]
    assert positions == sorted(positions)
    summaries = ["Steps (4)", "Longest times without an answer", "Leader and quorum", "Stages"]
    assert [name for name in reached if name in summaries] == summaries
    # The last one is shut; it opens by a key.
    assert not browser.run("document.activeElement.parentElement.open") or reached[-1] != "Stages"
    browser.run("[...document.querySelectorAll('summary')].at(-1).focus()")
    before = browser.run("document.activeElement.parentElement.open")
    browser.press(" ", 32)
    assert browser.run("document.activeElement.parentElement.open") != before


def test_it_fits_a_narrow_screen_without_scrolling_the_page(browser):
    narrow = {"width": 420, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.ask("Emulation.setDeviceMetricsOverride", **narrow)
    assert browser.run("document.documentElement.scrollWidth") <= 420
    browser.ask("Emulation.clearDeviceMetricsOverride")
