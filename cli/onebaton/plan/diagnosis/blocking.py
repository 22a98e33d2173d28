"""What a doctor finds that stands in the way of a rollout, beyond what its plan judged itself."""

from dataclasses import replace

from onebaton.examination import Checkup
from onebaton.model import Vip, World
from onebaton.plan.diagnosis.check import Case, Verdict
from onebaton.plan.diagnosis.machines import MACHINE_CHECKS
from onebaton.plan.diagnosis.settings import SETTINGS_CHECKS
from onebaton.plan.diagnosis.zone import ZONE_CHECKS
from onebaton.plan.findings import Finding
from onebaton.plan.gates import GATES, unhealthy
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Wanted


def spared(wanted: Wanted, world: World) -> World | None:
    """The world without the member that an interrupted step was busy with.

    What is wrong with that one the same step puts right, and begins with it.

    :returns: ``None`` if a step of ours is in the middle of a change of leader: that is seen
        through first, at once.
    """
    scene = Scene.of(wanted, world)
    if scene.cutting or scene.leader is None:
        return None
    busy_with = (scene.interrupted, *scene.exchanged)
    return replace(world, members=tuple(m for m in world.members if m not in busy_with))


def in_the_way(wanted: Wanted, seen: World, checkup: Checkup, vip: Vip) -> tuple[Finding, ...]:
    """Blockers, in the order of the checks.

    What a gate says is left out: the plan asked the gates, and knows which of them count for
    what is to be done (a change of the schema mixes no servers, for instance).

    :param seen: as :func:`spared` has it; the machines of its members were examined.
    """
    case = Case(Scene.of(wanted, seen), checkup, vip, baked=True)
    judged = {finding.what for gate in GATES for finding in gate(case.scene)}
    judged |= {finding.what for _, finding in unhealthy(case.scene)}
    return tuple(
        Finding(found.what, found.evidence, found.way_out)
        for check in (*ZONE_CHECKS, *SETTINGS_CHECKS, *MACHINE_CHECKS)
        for found in check.diagnose(case)
        if found.verdict is Verdict.BLOCKER and found.what not in judged
    )
