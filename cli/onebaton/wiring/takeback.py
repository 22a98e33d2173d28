"""After a cut-over: bring the old generation back, or give it up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.wiring.running import carry_out, locked, opened, report, run_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from onebaton.model import World
    from onebaton.plan.actions import Plan
    from onebaton.reports import ReportView
    from onebaton.views import FinalView, RollbackView
    from onebaton.wiring.options import Options


def rollback_preview(options: Options) -> RollbackView:
    """What a rollback would bring back, and what would be lost.

    :raises RefusedError: if there is nothing to take back, or it cannot be.
    """
    from onebaton.plan.takeback import plan_rollback
    from onebaton.rollout.taking_back import rollback_view, written

    with opened(options) as cluster:
        cluster.platform.check()
        world = cluster.look()
        plan = plan_rollback(world)
        return rollback_view(world, plan, written(world, cluster.standby))


def rollback(options: Options) -> ReportView:
    """Stop the new generation and bring the old one back.

    :raises RefusedError: if there is nothing to take back, or it cannot be.
    """
    from onebaton.plan.takeback import plan_rollback
    from onebaton.rollout.taking_back import rollback_view, written
    from onebaton.wiring.probing import probing

    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, "rollback") as lock:
            run = run_id(cluster, "rollback")
            world = cluster.look()
            told = rollback_view(world, plan_rollback(world), written(world, cluster.standby))
            # Every server of both generations stops or starts: what clients go on with is the
            # virtual IP, and it alone is probed.
            with probing(cluster) as watch:
                decide = _while_recorded(plan_rollback)
                taken = carry_out(cluster, lock, run, cluster.look, decide, gaps=watch.gaps)
                gaps = watch.gaps()
            cluster.goals.forget()
            cluster.stage_progress.forget()
            title = (
                f"zone {cluster.config.zone.name} is back on {told.version or 'its old servers'}"
            )
            return report(cluster, run, title, taken, gaps, notes=told.lost)


def _while_recorded(plan: Callable[[World], Plan]) -> Callable[[World], Plan]:
    """Nothing is left to be done when the record is gone: the last step forgets it."""
    from onebaton.plan.actions import Plan

    return lambda world: plan(world) if world.prior is not None else Plan()


def finalize_preview(options: Options) -> FinalView:
    """What would be given up.

    :raises RefusedError: if the new generation does not serve as it should.
    """
    from onebaton.plan.takeback import plan_finalize
    from onebaton.rollout.taking_back import final_view

    with opened(options) as cluster:
        cluster.platform.check()
        world = cluster.look()
        return final_view(world, plan_finalize(world, cluster.config.zone.size))


def finalize(options: Options) -> ReportView:
    """Give the old generation up, and destroy its nodes.

    :raises RefusedError: if the new generation does not serve as it should.
    """
    from onebaton.plan.takeback import plan_finalize
    from onebaton.rollout.taking_back import final_view

    def decide(world: World) -> Plan:
        return plan_finalize(world, cluster.config.zone.size)

    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, "finalize") as lock:
            run = run_id(cluster, "finalize")
            world = cluster.look()
            told = final_view(world, decide(world))
            zone = cluster.config.zone.name
            if told.nothing:
                title = f"zone {zone} keeps no old generation"
                return report(cluster, run, title, (), nothing=(told.nothing,))
            title = f"zone {zone}: the last cut-over is final"
            taken = carry_out(cluster, lock, run, cluster.look, decide)
            return report(cluster, run, title, taken, notes=told.stay)
