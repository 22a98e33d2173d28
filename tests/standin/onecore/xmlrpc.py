"""XML-RPC as the real server writes it.

``xmlrpc.client`` reads it, but neither keeps ``<i4>`` and ``<i8>`` apart nor
writes ``<i8>``; the types matter, the real server answers a fault if one is
wrong (recorded answers).
"""

from __future__ import annotations

import re
import xmlrpc.client
from collections.abc import Sequence
from typing import Any, cast
from xml.parsers.expat import ExpatError

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\r\n'


class Long(int):
    """A 64-bit integer, ``<i8>``."""


class Fault(Exception):
    """An XML-RPC fault.

    :ivar code: the number, negative in xmlrpc-c.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


FAULT_TYPE = -501
FAULT_PARSE = -503
FAULT_NO_SUCH_METHOD = -506

Scalar = bool | int | Long | str
Param = Scalar | list[Any]


class _Reader(xmlrpc.client.Unmarshaller):
    dispatch = dict(xmlrpc.client.Unmarshaller.dispatch)  # noqa: RUF012 - as in the base class

    def end_long(self, data: str) -> None:
        self.append(Long(data))
        self._value = False

    dispatch["i8"] = end_long  # type: ignore[assignment]


_REPLICATE = re.compile(
    r"<methodName>one\.zone\.replicate</methodName>\s*<params>\s*"
    + r"\s*".join(
        rf"<param>\s*<value>\s*{body}\s*</value>\s*</param>"
        for body in (
            r"<string>([^<]*)</string>",
            *(
                rf"<{kind}>(-?\d+)</{kind}>"
                for kind in ["i4", "i8", "i4", "i8", "i4", "i8", "i4", "i8"]
            ),
            r"<string>([^<]*)</string>",
        )
    )
    + r"\s*</params>"
)


def read_call(body: bytes) -> tuple[str, list[Param]]:
    """Method and parameters of a request.

    :raises Fault: if it is no XML-RPC call.
    """
    text = body.decode("utf-8", "replace")
    # The hot path of a zone: every record comes this way to every follower.
    match = _REPLICATE.search(text, 0)
    if match is not None:
        groups = match.groups()
        numbers: list[Param] = [
            int(g) if i % 2 == 0 else Long(g) for i, g in enumerate(groups[1:9])
        ]
        return "one.zone.replicate", [_unescape(groups[0]), *numbers, _unescape(groups[9])]
    params, method = _read(text)
    if method is None:
        raise Fault(FAULT_PARSE, "Call XML not a proper XML-RPC call.  No method name")
    return method, params


def read_answer(body: bytes) -> list[Any]:
    """The array of an answer.

    :raises Fault: if the answer is one, or is not XML-RPC at all.
    """
    params, _ = _read(body.decode("utf-8", "replace"))
    if len(params) != 1 or not isinstance(params[0], list):
        raise Fault(FAULT_PARSE, "Response is not an array")
    return params[0]


def _read(text: str) -> tuple[list[Param], str | None]:
    reader = _Reader()
    parser = xmlrpc.client.ExpatParser(reader)
    try:
        parser.feed(text)
        parser.close()
        return cast("list[Param]", list(reader.close())), reader.getmethodname()
    except xmlrpc.client.Fault as fault:
        raise Fault(fault.faultCode, fault.faultString) from fault
    except (ExpatError, xmlrpc.client.ResponseError, ValueError, IndexError) as error:
        raise Fault(FAULT_PARSE, f"Call XML not a proper XML-RPC call.  {error}") from error


def _escape(text: str) -> str:
    if "&" in text or "<" in text or ">" in text or "\r" in text:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        text = text.replace("\r", "&#x0d;")
    return text


def _unescape(text: str) -> str:
    if "&" in text:
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&#x0d;", "\r")
        text = text.replace("&quot;", '"').replace("&apos;", "'").replace("&amp;", "&")
    return text


def _value(value: Param) -> str:
    if isinstance(value, bool):
        return f"<value><boolean>{int(value)}</boolean></value>"
    if isinstance(value, Long):
        return f"<value><i8>{_signed(value, 64)}</i8></value>"
    if isinstance(value, int):
        return f"<value><i4>{_signed(value, 32)}</i4></value>"
    if isinstance(value, str):
        return f"<value><string>{_escape(value)}</string></value>"
    if isinstance(value, list):
        inner = "".join(_value(item) + "\r\n" for item in value)
        return f"<value><array><data>\r\n{inner}</data></array></value>"
    raise TypeError(f"cannot send {type(value).__name__} over XML-RPC")


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def write_call(method: str, params: Sequence[Param]) -> bytes:
    """A request."""
    body = "".join(f"<param>{_value(param)}</param>\r\n" for param in params)
    return (
        f"{HEAD}<methodCall>\r\n<methodName>{_escape(method)}</methodName>\r\n"
        f"<params>\r\n{body}</params>\r\n</methodCall>\r\n"
    ).encode()


def write_answer(values: Sequence[Param]) -> bytes:
    """An answer, byte for byte as recorded."""
    return (
        f"{HEAD}<methodResponse>\r\n<params>\r\n<param>{_value(list(values))}</param>\r\n"
        "</params>\r\n</methodResponse>\r\n"
    ).encode()


def write_fault(fault: Fault) -> bytes:
    """A fault, byte for byte as recorded."""
    return (
        f"{HEAD}<methodResponse>\r\n<fault>\r\n<value><struct>\r\n"
        f"<member><name>faultCode</name>\r\n<value><i4>{fault.code}</i4></value></member>\r\n"
        f"<member><name>faultString</name>\r\n"
        f"<value><string>{_escape(fault.text)}</string></value></member>\r\n"
        "</struct></value>\r\n</fault>\r\n</methodResponse>\r\n"
    ).encode()
