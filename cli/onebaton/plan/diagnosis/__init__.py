"""The doctor's judgement: every precondition of a rollout, with evidence and the way out.

Pure: what was seen in, diagnoses out. Where a gate of the planner asks the same question, the
gate answers it (:mod:`onebaton.plan.gates`); a check adds what a gate has no need to know, such
as that something could not be looked at.
"""

from onebaton.examination import Checkup
from onebaton.model import Vip, World
from onebaton.plan.diagnosis.check import Case, Check, Diagnosis, Verdict
from onebaton.plan.diagnosis.machines import MACHINE_CHECKS
from onebaton.plan.diagnosis.settings import SETTINGS_CHECKS
from onebaton.plan.diagnosis.zone import ZONE_CHECKS
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Wanted

__all__ = ["CHECKS", "Check", "Diagnosis", "Verdict", "diagnose"]

#: In the order in which an operator would ask.
CHECKS: tuple[Check, ...] = (*ZONE_CHECKS, *SETTINGS_CHECKS, *MACHINE_CHECKS)


def diagnose(
    wanted: Wanted, world: World, checkup: Checkup, vip: Vip, *, baked: bool
) -> tuple[Diagnosis, ...]:
    """Judge a zone.

    :param wanted: what a rollout would want of it; its limits are judged by.
    :param baked: the image of ``wanted`` exists.
    :returns: at least one diagnosis of each check, in the order of :data:`CHECKS`.
    """
    case = Case(Scene.of(wanted, world), checkup, vip, baked)
    return tuple(found for check in CHECKS for found in check.diagnose(case))
