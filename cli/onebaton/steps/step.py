"""What a step is: check, apply, verify."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Standing(Enum):
    """What a check found."""

    DONE = "done"
    NEEDED = "needed"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Check:
    """The answer of a check, with the evidence in words."""

    standing: Standing
    reason: str = ""


NEEDED = Check(Standing.NEEDED)
DONE = Check(Standing.DONE)


def blocked(reason: str) -> Check:
    """The step must not be applied now."""
    return Check(Standing.BLOCKED, reason)


class Step(Protocol):
    """One change of the zone.

    ``check`` only reads. ``apply`` may be repeated after a crash at any point of itself.
    ``verify`` waits, until a deadline, for what the next step builds on.
    """

    @property
    def id(self) -> str:
        """Stable name of the step, e.g. ``join-cloud-b1``."""
        ...

    def check(self) -> Check:
        """Is it done, needed, or blocked?"""
        ...

    def apply(self) -> None:
        """Do it."""
        ...

    def verify(self) -> None:
        """See that it is done.

        :raises DeadlineError: if it is not seen in time.
        """
        ...
