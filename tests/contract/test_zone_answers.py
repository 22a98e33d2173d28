"""A zone answers as the real one was recorded to: elements, types, codes, texts."""

from __future__ import annotations

import json
import re
import xmlrpc.client
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.contract

_RECORDED = Path(__file__).parent / "recorded"
_TIMEOUT_S = 15
_LEADER, _FOLLOWER = "3", "2"

# What the tool reads of one.system.config; the rest differs from site to site.
_READ_OF_CONFIG = ("FEDERATION", "RAFT", "DB", "LOG", "PORT", "LISTEN_ADDRESS", "MAX_CONN")
# Attributes of a server differ by release: 7.x adds ENDPOINT_GRPC.
_OPTIONAL = {"ENDPOINT_GRPC"}

_Param = int | str | bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """A call and the raw answer of a real server."""

    label: str
    method: str
    params: tuple[_Param, ...]
    authenticated: bool
    response: str


def _load(name: str) -> list[Recorded]:
    content = json.loads((_RECORDED / name).read_text(encoding="utf-8"))
    return [
        Recorded(
            call["label"],
            call["method"],
            tuple(_typed(kind, value) for kind, value in call["params"]),
            call["auth"] == "oneadmin",
            call["response"],
        )
        for call in content["calls"]
    ]


def _typed(kind: str, value: _Param) -> _Param:
    return bool(value) if kind == "boolean" else value


_AFTER_DUPLICATE = "zone.info after the duplicate name"
_ALL_OF_610 = _load("opennebula-6.10.0.json")
# Asked by the test that adds the server, because it deletes it again.
_DUPLICATE = next(one for one in _ALL_OF_610 if one.label == _AFTER_DUPLICATE)
_OF_610 = [one for one in _ALL_OF_610 if one is not _DUPLICATE]
_OF_702 = _load("opennebula-7.0.2.json")


def _post(endpoint: str, body: str) -> str:
    parts = urlsplit(endpoint)
    connection = HTTPConnection(parts.netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body.encode(), {"Content-Type": "text/xml"})
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _ask(endpoint: str, secret: str, method: str, *params: _Param) -> str:
    return _post(endpoint, xmlrpc.client.dumps((secret, *params), method))


def _array(raw: str) -> list[Any]:
    return cast("list[Any]", xmlrpc.client.loads(raw)[0][0])


def _value(endpoint: str, secret: str, method: str, *params: _Param) -> str:
    answer = _array(_ask(endpoint, secret, method, *params))
    assert answer[0] is True, answer
    return str(answer[1])


def _xml(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def _with_part(endpoints: list[str], secret: str, part: str) -> str:
    for endpoint in endpoints:
        status = _xml(_value(endpoint, secret, "one.zone.raftstatus"))
        if status.findtext("STATE") == part:
            return endpoint
    pytest.fail(f"none of {endpoints} has state {part}")


def _types(raw: str) -> list[str]:
    """Elements of an answer in order, which says how each value is typed."""
    return re.findall(r"</?(\w+)", re.sub(r"<string>.*?</string>", "<string/>", raw, flags=re.S))


def _structure(element: ElementTree.Element) -> list[object]:
    """Names of the elements in order, repeated ones once."""
    seen: list[object] = []
    for child in element:
        if child.tag in _OPTIONAL:
            continue
        structure = (child.tag, _structure(child))
        if structure not in seen:
            seen.append(structure)
    return seen


def _compare(recorded: Recorded, raw: str) -> None:
    head = recorded.response[: recorded.response.index("<method")]
    assert raw.startswith(head)
    assert _types(raw) == _types(recorded.response)
    if "<fault>" in recorded.response:
        assert raw == recorded.response
        return
    expected = _array(recorded.response)
    got = _array(raw)
    assert got[0] == expected[0], got
    assert got[2] == expected[2]
    if not expected[0]:
        assert raw == recorded.response
    elif isinstance(expected[1], str) and expected[1].startswith("<"):
        _compare_xml(expected[1], got[1])


def _compare_xml(expected: str, got: str) -> None:
    wanted, found = _xml(expected), _xml(got)
    assert found.tag == wanted.tag
    if wanted.tag == "OPENNEBULA_CONFIGURATION":
        for name in _READ_OF_CONFIG:
            section, other = wanted.find(name), found.find(name)
            assert section is not None
            assert other is not None, name
            assert [leaf.tag for leaf in other] == [leaf.tag for leaf in section], name
        assert [one.tag for one in found] == sorted(one.tag for one in found)
        return
    assert _structure(found) == _structure(wanted)


@pytest.mark.parametrize("recorded", _OF_610, ids=[one.label for one in _OF_610])
def test_610_answers_as_recorded(
    recorded: Recorded, endpoints_of_610: tuple[list[str], str]
) -> None:
    endpoints, secret = endpoints_of_610
    part = _FOLLOWER if "on the follower" in recorded.label else _LEADER
    endpoint = _with_part(endpoints, secret, part)
    used = secret if recorded.authenticated else "oneadmin:wrong"
    params = recorded.params
    if recorded.method == "one.documentpool.info":
        _value(endpoint, secret, "one.document.allocate", "<T><NAME>listed</NAME></T>", 999)
    raw = _ask(endpoint, used, recorded.method, *params)
    try:
        _compare(recorded, raw)
    finally:
        if recorded.label == "addserver with a name in use":
            _check_duplicate_and_delete(endpoint, secret)


def _check_duplicate_and_delete(endpoint: str, secret: str) -> None:
    """The name is there twice, under a new id; then the server goes again."""
    raw = _ask(endpoint, secret, _DUPLICATE.method, *_DUPLICATE.params)
    zone = _xml(str(_array(raw)[1]))
    servers = zone.findall("SERVER_POOL/SERVER")
    added = max(servers, key=lambda one: int(one.findtext("ID", "-1")))
    try:
        _compare(_DUPLICATE, raw)
        assert added.findtext("ENDPOINT") == "http://10.89.0.77:2633/RPC2"
        assert added.findtext("NAME") == "n1"
    finally:
        _value(endpoint, secret, "one.zone.delserver", 0, int(added.findtext("ID", "-1")))


@pytest.mark.parametrize("recorded", _OF_702, ids=[one.label for one in _OF_702])
def test_702_answers_as_recorded(
    recorded: Recorded, endpoints_of_702: tuple[list[str], str]
) -> None:
    endpoints, secret = endpoints_of_702
    endpoint = _with_part(endpoints, secret, _LEADER)
    disabled = "disabled zone" in recorded.label or recorded.label == "zone.enable true"
    if disabled:
        _value(endpoint, secret, "one.zone.enable", 0, False)
    try:
        _compare(recorded, _ask(endpoint, secret, recorded.method, *recorded.params))
    finally:
        if disabled or recorded.label.startswith("zone.enable"):
            _value(endpoint, secret, "one.zone.enable", 0, True)


def test_answers_are_the_recorded_bytes_but_for_their_values(
    endpoints_of_610: tuple[list[str], str],
) -> None:
    endpoints, secret = endpoints_of_610
    recorded = next(one for one in _OF_610 if one.label == "raftstatus on the leader")
    raw = _ask(_with_part(endpoints, secret, _LEADER), secret, recorded.method)

    def without_values(text: str) -> str:
        return re.sub(r"&gt;-?\d+&lt;", "&gt;0&lt;", text)

    assert without_values(raw) == without_values(recorded.response)


def test_a_long_for_an_int_is_a_fault(endpoints_of_610: tuple[list[str], str]) -> None:
    endpoints, secret = endpoints_of_610
    body = (
        "<?xml version='1.0'?><methodCall><methodName>one.zone.info</methodName><params>"
        f"<param><value><string>{secret}</string></value></param>"
        "<param><value><i8>0</i8></value></param></params></methodCall>"
    )
    with pytest.raises(xmlrpc.client.Fault) as caught:
        xmlrpc.client.loads(_post(endpoints[0], body))
    assert caught.value.faultCode == -501
