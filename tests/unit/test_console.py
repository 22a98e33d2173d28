"""Progress: rare and new in a log, in one place on a terminal, whole lines from any thread."""

import io
import threading

import pytest

from onebaton.ui.console import PlainReporter, is_live, open_reporter
from onebaton.ui.live import live_reporter


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


@pytest.fixture
def log():
    """A plain reporter, its lines, and a hand that turns its clock."""

    class Log:
        now = 0.0
        stream = io.StringIO()

        def reporter(self, *, verbose=False):
            return PlainReporter(
                self.stream,
                verbose=verbose,
                monotonic=lambda: self.now,
                time_of_day=lambda: "12:00:00",
            )

        def lines(self):
            return self.stream.getvalue().splitlines()

    log = Log()
    log.stream = io.StringIO()
    return log


def test_lines_carry_the_time(log):
    reporter = log.reporter()
    reporter.note("joined n4")
    reporter.warn("n2 lags")
    assert log.lines() == ["12:00:00  joined n4", "12:00:00  warning: n2 lags"]


def test_progress_is_shown_when_new_and_not_too_often(log):
    reporter = log.reporter()
    for now, text in [
        (0, "30 records"),
        (1, "20 records"),  # too soon
        (4.9, "10 records"),  # too soon
        (5, "9 records"),
        (10, "9 records"),  # nothing new
        (11, ""),  # nothing at all
        (12, "8 records"),
    ]:
        log.now = now
        reporter.progress(text)
    assert [line[10:] for line in log.lines()] == ["30 records", "9 records", "8 records"]


def test_verbose_shows_every_change(log):
    reporter = log.reporter(verbose=True)
    for text in ("a", "b", "b", "c"):
        reporter.progress(text)
    assert [line[10:] for line in log.lines()] == ["a", "b", "c"]


def test_threads_write_whole_lines(log):
    reporter = log.reporter()
    threads = [
        threading.Thread(target=lambda n=n: [reporter.note(f"{n}" * 50) for _ in range(50)])
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [line[10:] for line in log.lines()]
    assert sorted(lines) == sorted(f"{n}" * 50 for n in range(4) for _ in range(50))


@pytest.mark.parametrize(
    ("streams", "environ", "live"),
    [
        ((Terminal(), Terminal()), {"TERM": "xterm"}, True),
        ((Terminal(), io.StringIO()), {"TERM": "xterm"}, False),
        ((Terminal(), Terminal()), {"TERM": "xterm", "CI": "true"}, False),
        ((Terminal(), Terminal()), {"TERM": "dumb"}, False),
        ((Terminal(), Terminal()), {}, False),
    ],
)
def test_live_only_where_somebody_watches(streams, environ, live):
    assert is_live(environ, *streams) is live


def test_without_a_terminal_the_log_is_plain(capsys):
    with open_reporter() as reporter:
        reporter.note("here")
    out, err = capsys.readouterr()
    assert out == ""
    assert err[8:] == "  here\n"


def test_a_terminal_keeps_notes_and_shows_the_wait(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    with live_reporter(stream) as reporter:
        reporter.progress("waiting for [bold]n4[/bold]: 30 records behind")
        reporter.note("FEDERATION = [ MODE ] [red]as it is[/red]")
        reporter.warn("n2 lags")
    text = stream.getvalue()
    assert "FEDERATION = [ MODE ] [red]as it is[/red]" in text
    assert "warning: n2 lags" in text
    assert " 0 s  waiting for [bold]n4[/bold]: 30 records behind" in text
    # The cursor is shown again, and the live line is wiped out.
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert text.endswith("\x1b[2K")


def test_a_long_wait_stays_on_one_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    with live_reporter(stream) as reporter:
        reporter.progress("waiting " * 20 + "\nand more")
    assert " waiting wait…\n" in stream.getvalue()
    assert "and more" not in stream.getvalue()
    assert stream.getvalue().count("\n") == 1
