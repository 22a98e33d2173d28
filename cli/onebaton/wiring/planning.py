"""What a rollout would do now, and whether it may: the plan, and what a doctor says to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onebaton.examination import Checkup
    from onebaton.model import World
    from onebaton.plan.actions import Plan
    from onebaton.records import Preview, StateIdentity
    from onebaton.wiring.cluster import Cluster

#: Shortest time over which the term is watched: four heartbeats.
WATCHED_S = 2.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A plan, and what was looked at besides.

    :param checkup: of the doctor; ``None`` where there was nothing to examine for.
    :param state: of the platform's records.
    :param preview: of what the platform would do first.
    """

    plan: Plan
    checkup: Checkup | None
    state: StateIdentity | None
    preview: Preview


def planned(cluster: Cluster, world: World) -> Plan:
    """The rest of the rollout; nothing is changed before all of this was looked at.

    :raises RefusedError: if a rollout to another image or a replacement is half-done, if the plan
        is refused, or if the doctor finds what stands in the way.
    """
    plan = _decided(cluster, world)
    if plan.actions:
        _see_the_doctor(cluster, world)
    return plan


def surveyed(cluster: Cluster, world: World) -> Surveyed:
    """The same for reviewers: while the zone is watched, the platform is asked as well.

    :raises RefusedError: as :func:`planned`.
    """
    import concurrent.futures

    from onebaton.plan.composing import first_nodes
    from onebaton.records import Preview

    def ask() -> tuple[StateIdentity | None, Preview]:
        preview = platform.preview(nodes) if nodes is not None else Preview(())
        return platform.recorded(), preview

    plan, platform = _decided(cluster, world), cluster.platform
    nodes = first_nodes(world, plan)
    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as pool:
        asking = pool.submit(ask)
        checkup = _see_the_doctor(cluster, world) if plan.actions else None
        return Surveyed(plan, checkup, *asking.result())


def _decided(cluster: Cluster, world: World) -> Plan:
    from onebaton.plan.findings import refuse_if_any
    from onebaton.plan.replacing import being_replaced
    from onebaton.plan.roll import plan_roll
    from onebaton.plan.underway import other_goal

    wanted = cluster.wanted
    found = [
        *other_goal(wanted, world, cluster.goals.load()),
        *being_replaced(cluster.condemned.load()),
    ]
    refuse_if_any(wanted.zone, found, again="onebaton plan")
    return plan_roll(wanted, world)


def _see_the_doctor(cluster: Cluster, world: World) -> Checkup | None:
    """What it calls a blocker refuses; what an interrupted step is busy with is that step's."""
    from onebaton.plan.diagnosis.blocking import in_the_way, spared
    from onebaton.plan.findings import refuse_if_any
    from onebaton.rollout.checkup import check_up

    wanted = cluster.wanted
    seen = spared(wanted, world)
    if seen is None:
        return None
    cluster.reporter.progress(f"examining the zone for {WATCHED_S:g} s")
    checkup = check_up(cluster.api, cluster.examiner, seen, clock=cluster.clock, window_s=WATCHED_S)
    found = in_the_way(wanted, seen, checkup, cluster.config.zone.vip.to_model())
    refuse_if_any(wanted.zone, found, again="onebaton plan")
    return checkup
