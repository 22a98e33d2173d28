"""Asking the server from the command line tools."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from onecore.client import CallFailed, call_once
from onecore.places import read_one_auth
from onecore.xmlrpc import Param

_TIMEOUT_S = 30.0


class ApiError(Exception):
    """The server answered with an error, or not at all."""


def endpoint() -> str:
    """``ONE_XMLRPC``, else this host."""
    return os.environ.get("ONE_XMLRPC") or "http://localhost:2633/RPC2"


def call(method: str, *params: Param, at: str | None = None, timeout_s: float = _TIMEOUT_S) -> Any:
    """The value of an answer.

    :raises ApiError: if there is none.
    """
    try:
        answer = call_once(at or endpoint(), method, [read_one_auth(), *params], timeout_s)
    except (CallFailed, OSError) as error:
        raise ApiError(str(error)) from error
    if answer[0] is not True:
        raise ApiError(str(answer[1]))
    return answer[1]


def run(argv: Sequence[str], commands: dict[str, Callable[[Sequence[str]], None]]) -> int:
    """Run one of *commands*; the exit status is 255 if it fails, as the real tools'."""
    if not argv or argv[0] not in commands:
        sys.stderr.write(f"Commands: {', '.join(sorted(commands))}\n")
        return 255
    try:
        commands[argv[0]](argv[1:])
    except ApiError as error:
        sys.stderr.write(f"{error}\n")
        return 255
    except (IndexError, ValueError):
        sys.stderr.write(f"Wrong arguments for {argv[0]}\n")
        return 255
    return 0
