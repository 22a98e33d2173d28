"""Plans as artefacts, made in the small model of a zone."""

from dataclasses import replace

from tests.fakes.worlds import Lab, next_release, wanted, zone

from onebaton.plan.artefact import Artefact, Asked
from onebaton.plan.composing import Circumstances, compose
from onebaton.plan.diagnosis import Diagnosis, Verdict
from onebaton.plan.roll import plan_roll
from onebaton.plan.wanted import Strategy
from onebaton.records import Preview, RecordedChange, StateIdentity

SETTINGS = {"rollout.strategy": "1", "zone.name": "2"}
STATE = StateIdentity("lineage", 7)


def finding(number: int, verdict: Verdict = Verdict.WARNING) -> Diagnosis:
    """One of many that a doctor has."""
    return Diagnosis(
        f"check-{number:04}",
        verdict,
        f"something is wrong with <machine> *{number}*",
        f"evidence {number} " * 10,
        "a trap",
        f"Do `this` about {number}.",
        blocks=verdict is Verdict.BLOCKER,
    )


def circumstances(**changes: object) -> Circumstances:
    """What a plan of 6.10.5 was decided on beside the zone."""
    given = Circumstances(
        onebaton="0.1.0",
        asked=Asked(None, None, ()),
        settings=SETTINGS,
        channel=None,
        platform="podman",
        state=STATE,
        preview=Preview(("create node z-b1",), (RecordedChange("node.z-b1", ("create",), "c"),)),
        findings=(),
        created_at=1000.0,
        valid_s=3600.0,
    )
    return replace(given, **changes)


def planned(size: int = 3, strategy: Strategy = "surge", **changes: object) -> tuple[Lab, Artefact]:
    """A zone of 6.10.0, and the plan to bring it onto 6.10.5."""
    lab = zone(wanted(size, strategy))
    world = lab.observe()
    return lab, compose(lab.wanted, world, plan_roll(lab.wanted, world), circumstances(**changes))


def planned_cut(**losses: str) -> tuple[Lab, Artefact]:
    """A zone of 6.10.0, and the plan to cut it over to 7.0.2."""
    goal = next_release(losses=losses, digest="sha256:report", began_at=1_700_000_000.0)
    goal = replace(goal, cut=replace(goal.cut, accepted=frozenset(losses)))
    lab = zone(goal)
    world = lab.observe()
    return lab, compose(goal, world, plan_roll(goal, world), circumstances())
