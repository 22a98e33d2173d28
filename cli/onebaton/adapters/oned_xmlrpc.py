"""The form of a call to ``oned`` and of its answer, as XML-RPC.

The standard library does both, but for 64-bit integers, which it reads and does not write.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.parsers.expat import ExpatError
from xmlrpc.client import Fault, Marshaller, ResponseError, loads


@dataclass(frozen=True, slots=True)
class Long:
    """An integer that is sent as ``<i8>``: log indexes of ``one.zone.replicate``."""

    value: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no result; ``code`` is set when ``oned`` itself refused it."""

    text: str
    code: int | None = None


class FailedCallError(Exception):
    """Carries a failure out of a client library's frames, and no further."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


class _Marshaller(Marshaller):
    dispatch = {  # noqa: RUF012 - how the library adds types
        **Marshaller.dispatch,
        Long: lambda _, long, write: write(  # type: ignore[dict-item] # typeshed knows no further types
            f"<value><i8>{long.value}</i8></value>\n"
        ),
    }


def encode(method: str, params: Sequence[Any]) -> bytes:
    """The request that calls ``method``."""
    body = _Marshaller("utf-8").dumps(tuple(params))
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f"<methodCall>\n<methodName>{method}</methodName>\n{body}</methodCall>\n"
    ).encode()


def decode(answer: bytes) -> list[Any]:
    """``[True, value, 0]`` of a good answer; a refusal is ``[False, text, code, …]`` (recorded).

    :raises FailedCallError: if it is a refusal, a fault, or no answer of ``oned`` at all.
    """
    try:
        values: Any = loads(answer)[0]
        good, value, code = values[0][:3]
    except Fault as fault:
        failure = Failure(f"XML-RPC fault {fault.faultCode}: {fault.faultString}")
    except (ExpatError, ResponseError, ValueError, TypeError, LookupError) as error:
        failure = Failure(f"its answer is no XML-RPC ({type(error).__name__})")
    else:
        if good is True and value != "":
            return [True, value, code]
        if good is False and isinstance(code, int):
            failure = Failure(str(value), code)
        else:
            failure = Failure("its answer is not one of oned's")
    raise FailedCallError(failure)
