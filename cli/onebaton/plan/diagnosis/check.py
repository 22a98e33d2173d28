"""What a check is, and what comes of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from onebaton.examination import Checkup, Examination
from onebaton.model import Member, Vip
from onebaton.plan.findings import Finding
from onebaton.plan.gates import Gate
from onebaton.plan.scene import Scene

_UNITS = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))


class Verdict(Enum):
    """How bad it is. Unknown is not ok."""

    OK = "ok"
    WARNING = "warning"
    BLOCKER = "blocker"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One result of one check.

    :param check: the check's stable id.
    :param what: what is so, or what is wrong, in a sentence without its stop.
    :param evidence: what was seen.
    :param why: the trap that is watched for, in one clause.
    :param way_out: what the operator can do; empty if it is ok.
    :param blocks: no rollout before this is ok: a blocker, or a check that may find a blocker
        and could not look.
    """

    check: str
    verdict: Verdict
    what: str
    evidence: str
    why: str
    way_out: str
    blocks: bool


@dataclass(frozen=True, slots=True)
class Case:
    """All that was seen of a zone.

    :param baked: the wanted image exists; without it ``scene`` names one that was never asked
        for its schema.
    """

    scene: Scene
    checkup: Checkup
    vip: Vip
    baked: bool

    @property
    def members(self) -> tuple[Member, ...]:
        """Members by server id."""
        return self.scene.world.members

    @property
    def speaking(self) -> tuple[Member, ...]:
        """Members that have to answer for themselves.

        All but the one that an interrupted step of ours was busy with: it may be down, and the
        same step begins with it when the command is run again.
        """
        return tuple(
            m for m in self.members if m not in (self.scene.interrupted, *self.scene.exchanged)
        )

    @property
    def examined(self) -> Iterator[tuple[Member, Examination]]:
        """Members whose machines were examined, with what was found."""
        for member in self.members:
            found = self.checkup.examinations.get(member.host.name)
            if isinstance(found, Examination):
                yield member, found

    @property
    def unexamined(self) -> tuple[Finding, ...]:
        """That some machines were not examined, all in one finding."""
        reasons = {
            member.host.name: self.checkup.examinations.get(member.host.name, "was not asked")
            for member in self.members
        }
        unseen = {name: why for name, why in reasons.items() if isinstance(why, str)}
        return cannot_tell(", ".join(unseen), "; ".join(dict.fromkeys(unseen.values())))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check saw.

    :param seen: the evidence where nothing is wrong.
    :param unseen: of whom nothing could be told (:func:`cannot_tell`).
    """

    seen: str
    blockers: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    unseen: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A question with its reason.

    :param id: stable, for programs and for people to look up.
    :param is_so: what is true where all is well, in a sentence without its stop.
    :param why: the trap, in one clause.
    :param blocks: it may find a blocker, so that no answer is one as well.
    """

    id: str
    is_so: str
    why: str
    blocks: bool
    judge: Callable[[Case], Outcome]

    def diagnose(self, case: Case) -> Iterator[Diagnosis]:
        """Every finding, or that all is well."""
        outcome = self.judge(case)
        results = (
            (Verdict.BLOCKER, outcome.blockers),
            (Verdict.UNKNOWN, outcome.unseen),
            (Verdict.WARNING, outcome.warnings),
        )
        for verdict, findings in results:
            for found in findings:
                yield Diagnosis(
                    check=self.id,
                    verdict=verdict,
                    what=found.what
                    if verdict is not Verdict.UNKNOWN
                    else f"it cannot be told of {found.what} whether {self.is_so}",
                    evidence=found.evidence,
                    why=self.why,
                    way_out=found.way_out,
                    blocks=verdict is Verdict.BLOCKER
                    or (verdict is Verdict.UNKNOWN and self.blocks),
                )
        if not any(findings for _, findings in results):
            yield Diagnosis(
                self.id, Verdict.OK, self.is_so, outcome.seen, self.why, "", blocks=False
            )


def amount(size: int | None) -> str:
    """A number of bytes for people."""
    if size is None:
        return "unknown"
    unit = next((u for u in _UNITS if size >= u[1]), _UNITS[-1])
    return f"{size / unit[1]:.1f} {unit[0]}"


def cannot_tell(who: str, reason: str) -> tuple[Finding, ...]:
    """Of whom something is unknown, and why; nothing if there is nobody."""
    if not who:
        return ()
    return (
        Finding(
            who,
            reason or "no answer",
            "Make the machine answer over ssh and its oned over the API, then look again.",
        ),
    )


def by_gates(
    *gates: Gate,
    seen: Callable[[Case], str],
    unseen: Callable[[Case], tuple[Finding, ...]] = lambda _case: (),
) -> Callable[[Case], Outcome]:
    """Judge by what shuts the gates of a rollout: the same question, asked once.

    :param unseen: what the gates cannot tell; they let pass what they have no word about.
    """

    def judge(case: Case) -> Outcome:
        found = tuple(finding for gate in gates for finding in gate(case.scene))
        return Outcome(seen(case), blockers=found, unseen=unseen(case))

    return judge
