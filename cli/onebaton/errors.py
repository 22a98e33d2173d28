"""Errors that carry what happened, how things stand, and what to do next.

Every error that a user can meet is an :class:`OnebatonError`. ``main`` alone turns one
into a message and an exit status; nothing below it prints or exits.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar


class Status(IntEnum):
    """Exit statuses of the command, as documented in the README."""

    OK = 0
    STEP_FAILED = 1
    USAGE = 2
    CHANGES_PENDING = 3
    REFUSED = 4
    UNREADABLE = 65
    UNAVAILABLE = 69
    BUG = 70
    LOCKED = 75
    CONFIG = 78
    INTERRUPTED = 130


class OnebatonError(Exception):
    """What went wrong, with details and the way out.

    :param message: one sentence: what happened, to what.
    :param details: further lines, each true on its own (never a secret).
    :param resolution: what the operator can do next.
    """

    status: ClassVar[Status] = Status.STEP_FAILED

    def __init__(
        self, message: str, *, details: Sequence[str] = (), resolution: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = tuple(details)
        self.resolution = resolution


class StepFailedError(OnebatonError):
    """A step could not be carried out or verified."""

    status = Status.STEP_FAILED


class UsageError(OnebatonError):
    """The command line asks for something that does not exist."""

    status = Status.USAGE


class RefusedError(OnebatonError):
    """The tool will not go on: it would endanger the zone."""

    status = Status.REFUSED


class ZoneRefusal(RefusedError):  # noqa: N818 - what oned says is a refusal, the word of the ports
    """``oned`` answered a call with an error code.

    :param code: 256 authentication, 512 authorisation, 1024 no such object, 2048 action
        refused, 8192 internal, among them a disabled zone and a missing leader (recorded
        answers).
    """

    def __init__(
        self,
        message: str,
        *,
        code: int,
        details: Sequence[str] = (),
        resolution: str | None = None,
    ) -> None:
        super().__init__(message, details=details, resolution=resolution)
        self.code = code


class UnreadableError(OnebatonError):
    """A file of ours (journal, catalogue, plan) cannot be read."""

    status = Status.UNREADABLE


class UnavailableError(OnebatonError):
    """Something outside does not answer, or a program is missing."""

    status = Status.UNAVAILABLE


class LockedError(OnebatonError):
    """Another run holds the lock."""

    status = Status.LOCKED


class DeadlineError(OnebatonError):
    """A wait ran past its deadline."""

    status = Status.LOCKED


class ConfigError(OnebatonError):
    """The configuration is wrong; every mistake is listed in ``details``."""

    status = Status.CONFIG


class InterruptedRunError(OnebatonError):
    """The operator asked to stop; the run stopped between two steps."""

    status = Status.INTERRUPTED
