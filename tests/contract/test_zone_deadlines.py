"""The adapter against servers that misbehave: deadlines are kept, secrets too."""

import logging
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contract import loopback
from tests.contract.loopback import SESSION, Replay, serving

from onebaton.adapters.zone import OneZone, session_of
from onebaton.errors import OnebatonError, UnavailableError
from onebaton.model import Secret

pytestmark = pytest.mark.contract

TIMEOUT_S = 0.6

CALLS = {
    "version": lambda api, at: api.version(at),
    "raft_status": lambda api, at: api.raft_status(at),
    "zone": lambda api, at: api.zone(at),
    "settings": lambda api, at: api.settings(at),
    "add_server": lambda api, at: api.add_server(at, "n9", "http://10.0.0.9:2633/RPC2"),
    "delete_server": lambda api, at: api.delete_server(at, 1),
    "reset_server": lambda api, at: api.reset_server(at, 1),
    "heartbeat": lambda api, at: api.heartbeat(at, 1),
    "create_document": lambda api, at: api.create_document(at, "a"),
    "update_document": lambda api, at: api.update_document(at, 1, "a"),
    "delete_document": lambda api, at: api.delete_document(at, 1),
    "documents": lambda api, at: api.documents(at, "a"),
}

BEHAVIOURS = {
    "silent": loopback.silent,
    "deaf": loopback.deaf,
    "drips its body": loopback.drips_body,
    "drips its head": loopback.drips_head,
    "hangs up": loopback.hangs_up,
    "hangs up midway": loopback.hangs_up_midway,
    "no XML": loopback.answers(b"<html><body>it works!</body>"),
    "nothing": loopback.answers(b""),
    "binary": loopback.answers(bytes(range(256)) * 40),
    "an empty response": loopback.answers(b"<methodResponse></methodResponse>"),
    "no array": loopback.answers(
        b"<methodResponse><params><param><value>x</value></param></params></methodResponse>"
    ),
    "an unfinished array": loopback.answers(b"<methodResponse></data></array></methodResponse>"),
    "HTTP 500": loopback.answers(b"<html/>", "500 Internal Server Error"),
    "the request as a fault": loopback.echoes_as_fault,
}


def api(**settings: float) -> OneZone:
    user, _, password = SESSION.partition(":")
    return OneZone(
        session_of(user, Secret(password)),
        timeout_s=TIMEOUT_S,
        **({"connect_timeout_s": 0.3} | settings),
    )


def assert_no_secret(error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    while error.__context__ is not None:
        error = error.__context__
        told += "".join(
            traceback.TracebackException.from_exception(error, capture_locals=True).format()
        )
    shown = [told, str(error), repr(error), repr(vars(error)), caplog.text]
    assert not any(SESSION.partition(":")[2] in text for text in shown)


@pytest.mark.parametrize("behaviour", ["silent", "drips its body"])
def test_every_call_keeps_its_deadline(behaviour):
    def timed(call: str) -> tuple[float, str]:
        begin = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            CALLS[call](one, endpoint)
        return time.monotonic() - begin, caught.value.message

    one = api()
    with (
        loopback.misbehaving(BEHAVIOURS[behaviour]) as endpoint,
        ThreadPoolExecutor(len(CALLS)) as pool,
    ):
        outcomes = dict(zip(CALLS, pool.map(timed, CALLS), strict=True))
    for call, (took, message) in outcomes.items():
        assert TIMEOUT_S - 0.1 < took < TIMEOUT_S + 0.5, call
        assert endpoint in message
        assert "no whole answer within 0.6 s" in message


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
@pytest.mark.parametrize("call", ["raft_status", "create_document"])
def test_every_misbehaviour_is_one_clear_error_without_the_secret(behaviour, call, caplog):
    caplog.set_level(logging.DEBUG)
    with loopback.misbehaving(BEHAVIOURS[behaviour]) as endpoint:
        begin = time.monotonic()
        with pytest.raises(UnavailableError) as caught:
            CALLS[call](api(), endpoint)
        took = time.monotonic() - begin
    assert took < TIMEOUT_S + 0.5
    assert endpoint in caught.value.message
    assert caught.value.resolution
    assert_no_secret(caught.value, caplog)


def test_an_answer_to_another_question():
    replayed = loopback.recorded_calls("6.10.0")
    pool = next(c for c in replayed if c["method"] == "one.hostpool.info")["response"].encode()
    with loopback.misbehaving(loopback.answers(pool)) as endpoint:
        for call in ("version", "raft_status", "zone", "settings", "documents", "create_document"):
            with pytest.raises(UnavailableError, match="is not what one"):
                CALLS[call](api(), endpoint)


def test_connecting_has_a_deadline_of_its_own():
    with loopback.full() as endpoint:
        begin = time.monotonic()
        with pytest.raises(UnavailableError, match=r"no connection within 0\.3 s"):
            api().version(endpoint)
        assert 0.2 < time.monotonic() - begin < 0.8


def test_refused_and_no_url(caplog):
    for endpoint, text in (
        (loopback.closed(), "the connection was refused"),
        ("https://127.0.0.1/RPC2", "that is no http URL"),
        ("ftp://127.0.0.1/", "that is no http URL"),
        ("n1", "that is no http URL"),
        ("http://127.0.0.1:port/RPC2", "that is no"),
    ):
        with pytest.raises(UnavailableError) as caught:
            api().zone(endpoint)
        assert text in caught.value.message
        assert_no_secret(caught.value, caplog)


def test_the_wrong_password_is_said_with_the_way_out(caplog):
    with serving(Replay("7.0.2", "10.89.0.16")) as endpoint:
        wrong = OneZone(Secret(f"oneadmin:x{SESSION.partition(':')[2]}"))
        with pytest.raises(OnebatonError) as caught:
            wrong.raft_status(endpoint)
    assert "wrong user or password" in caught.value.message
    assert "zone.credentials" in str(caught.value.resolution)
    assert_no_secret(caught.value, caplog)


def test_a_write_is_sent_once_even_if_nothing_comes_back():
    requests: list[bytes] = []

    def hangs_up(connection, _):
        requests.append(loopback.read_request(connection))

    with loopback.misbehaving(hangs_up) as endpoint:
        one = api()
        for _ in range(3):
            with pytest.raises(UnavailableError):
                one.create_document(endpoint, "a")
    assert len(requests) == 3


def test_many_threads_share_one():
    with serving(Replay("6.10.0", "10.89.0.11")) as endpoint:
        one = OneZone(Secret(SESSION))
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: one.zone(endpoint), range(200)))
    assert len(set(found)) == 1
    assert len(found[0].servers) == 3
