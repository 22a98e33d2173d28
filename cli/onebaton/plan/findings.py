"""Findings: reasons not to go on, all of them at once.

A refusal that names one reason at a time is met again and again; an operator wants the list.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from onebaton.errors import RefusedError


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason not to go on.

    :param what: the reason, in a sentence without its stop.
    :param evidence: what was seen.
    :param way_out: what the operator can do, in full sentences.
    """

    what: str
    evidence: str
    way_out: str

    def __str__(self) -> str:
        return f"{self.what}: {self.evidence}. {self.way_out}"


def refuse_if_any(zone: str, findings: Sequence[Finding], *, again: str) -> None:
    """Stop if anything was found.

    :param again: what to run once all is in order.
    :raises RefusedError: with all findings, if there are any.
    """
    if not findings:
        return
    count = f"{len(findings)} reasons" if len(findings) > 1 else "one reason"
    raise RefusedError(
        f"the zone {zone!r} is not changed, for {count}",
        details=[str(finding) for finding in findings],
        resolution=f"Put in order what is listed, then run `{again}` again.",
    )
