"""Programs between stages, and a webhook that answers, fails, hangs and is not there."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.fakes.reporter import ListReporter

from onebaton.adapters import process
from onebaton.adapters.hooks import Programs
from onebaton.adapters.webhook import Webhook
from onebaton.config.stages import EVENTS
from onebaton.errors import DeadlineError, UnavailableError
from onebaton.model import Secret
from onebaton.staging import Notice

pytestmark = pytest.mark.integration
TOKEN = "t0psecret-path"
NOTICE = Notice("stage", "z", "run-1", 1.5, "the stage joined is over", "joined", ("3 of 3",))


class Service:
    """A webhook on the loopback.

    :ivar answers: statuses, in order; the last one is repeated.
    """

    def __init__(self, *answers: int, hangs_s: float = 0.0) -> None:
        self.answers = list(answers)
        self.heard: list[dict] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.heard.append(json.loads(body))
                time.sleep(hangs_s)
                left = service.answers
                status = left.pop(0) if len(left) > 1 else left[0]
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"{service.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Said nowhere."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/{TOKEN}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def serve() -> Iterator[type[Service]]:
    made: list[Service] = []

    def make(*answers: int, hangs_s: float = 0.0) -> Service:
        made.append(Service(*answers, hangs_s=hangs_s))
        return made[-1]

    yield make
    for service in made:
        service.server.shutdown()
        service.server.server_close()


def told(url: str, *notices: Notice, events=EVENTS, timeout_s: float = 2.0) -> ListReporter:
    reporter = ListReporter()
    with Webhook(
        Secret(url),
        reporter,
        events=events,
        timeout_s=timeout_s,
        attempts=3,
        pause=lambda _seconds: None,
    ) as webhook:
        for notice in notices:
            webhook.tell(notice)
    said = " ".join([*reporter.notes, *reporter.warnings, *reporter.waits])
    assert TOKEN not in said
    assert "127.0.0.1" not in said
    return reporter


def test_what_is_told_arrives_in_order_and_what_is_not_asked_for_does_not(serve):
    service = serve(200)
    later = Notice("finished", "z", "run-1", 2.5, "done")
    failed = Notice("failed", "z", "run-1", 3.5, "burnt down")
    assert told(service.url, NOTICE, failed, later, events=("stage", "finished")).warnings == []
    assert [body["event"] for body in service.heard] == ["stage", "finished"]
    assert service.heard[0] == {
        "event": "stage",
        "zone": "z",
        "run": "run-1",
        "at": 1.5,
        "text": "the stage joined is over",
        "stage": "joined",
        "details": ["3 of 3"],
    }


@pytest.mark.parametrize(
    ("answers", "attempts", "warned"),
    [
        ((500, 429, 204), 3, None),
        ((503,), 3, "HTTP status 503"),
        ((404,), 1, "HTTP status 404"),
        # To follow it would be to tell somebody else.
        ((302,), 3, "HTTP status 302"),
    ],
)
def test_it_is_tried_again_where_that_may_help(serve, answers, attempts, warned):
    service = serve(*answers)
    warnings = told(service.url, NOTICE).warnings
    assert len(service.heard) == attempts
    assert ([warned in warnings[0]] if warned else []) == [True] * len(warnings)


def test_nobody_there_and_no_answer_are_warnings(serve):
    service = serve(200, hangs_s=1.0)
    (warning,) = told(service.url, NOTICE, timeout_s=0.2).warnings
    assert "no answer within 0.2 s" in warning
    service.server.shutdown()
    service.server.server_close()
    (warning,) = told(service.url, NOTICE).warnings
    assert "it cannot be reached (ConnectionError)" in warning
    (warning,) = told(f"nonsense {TOKEN}", NOTICE).warnings
    assert "it cannot be reached (InvalidURL)" in warning


def test_a_run_does_not_wait_for_it(serve):
    service = serve(200, hangs_s=0.5)
    begin = time.monotonic()
    with Webhook(
        Secret(service.url), ListReporter(), events=EVENTS, timeout_s=2, attempts=1
    ) as webhook:
        webhook.tell(NOTICE)
        assert time.monotonic() - begin < 0.3
    assert len(service.heard) == 1


# Programs


def test_a_program_is_told_what_it_is_for_and_not_our_secrets(tmp_path, monkeypatch):
    monkeypatch.setattr(process, "_WITHHELD", set())
    monkeypatch.setenv("ONE_PASSWORD", "hunter2")
    process.withhold("ONE_PASSWORD")
    reporter = ListReporter()
    script = 'echo "$ONEBATON_STAGE $1 [${ONE_PASSWORD-}]"; echo warm >&2; exit 7'
    status = Programs(reporter).run(
        ["sh", "-c", script, "sh", "a b; $(id)"],
        told={"ONEBATON_STAGE": "cut"},
        timeout_s=10,
        what="the hook before the stage cut",
    )
    assert status == 7
    assert reporter.notes == [
        "the hook before the stage cut: cut a b; $(id) []",
        "the hook before the stage cut: warm",
    ]


def test_a_program_that_hangs_or_is_not_there_is_said():
    programs = Programs(ListReporter())
    begin = time.monotonic()
    with pytest.raises(DeadlineError, match=r"the hook did not end within 0\.2 s"):
        programs.run(["sleep", "60"], told={}, timeout_s=0.2, what="the hook")
    assert time.monotonic() - begin < 5
    with pytest.raises(UnavailableError, match="'/no/such/hook' was not found"):
        programs.run(["/no/such/hook"], told={}, timeout_s=1, what="the hook")
