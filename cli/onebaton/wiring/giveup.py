"""Giving a half-done rollout up: back to the generation that it began with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.wiring.running import carry_out, locked, opened, report, run_id

if TYPE_CHECKING:
    from onebaton.plan.wanted import Wanted
    from onebaton.reports import ReportView
    from onebaton.views import AbortView
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options


def abort_preview(options: Options) -> AbortView:
    """What would be given up.

    :raises RefusedError: if there is no safe way back.
    """
    from onebaton.plan.abort import plan_abort
    from onebaton.rollout.reporting import abort_view

    with opened(options) as cluster:
        cluster.platform.check()
        given_up = _given_up(cluster)
        return abort_view(given_up, plan_abort(given_up, cluster.look()))


def abort(options: Options) -> ReportView:
    """Take the new servers out one at a time, and destroy their nodes.

    :raises RefusedError: if there is no safe way back.
    """
    from onebaton.plan.abort import plan_abort
    from onebaton.wiring.probing import probing

    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, "abort") as lock:
            run = run_id(cluster, "abort")
            given_up = _given_up(cluster)
            zone, version = cluster.config.zone.name, given_up.image.version
            title = f"zone {zone}: the rollout to {version} is given up"
            # Refused, or found done, before the probe writes anything.
            if not plan_abort(given_up, cluster.look()).actions:
                cluster.goals.forget()
                cluster.stage_progress.forget()
                return report(cluster, run, title, (), nothing=("no node of it is there",))
            with probing(cluster) as watch:
                taken = carry_out(
                    cluster,
                    lock,
                    run,
                    cluster.look,
                    lambda world: plan_abort(given_up, world),
                    seen=watch.seen,
                    before=watch.before,
                    gaps=watch.gaps,
                )
                gaps = watch.gaps()
            cluster.goals.forget()
            cluster.stage_progress.forget()
            return report(cluster, run, title, taken, gaps)


def _given_up(cluster: Cluster) -> Wanted:
    """What the rollout under way goes to; the configured image if none is noted.

    That image need not be in the catalogue any more: its digest tells its nodes.
    """
    from dataclasses import replace

    goal = cluster.goals.load()
    if goal is None:
        return cluster.wanted
    wanted, _ = cluster.wanted_or_unbaked
    known = cluster.catalogue.by_digest(goal.digest)
    image = known or replace(
        wanted.image, name=goal.image, digest=goal.digest, version=goal.version
    )
    return replace(wanted, image=image)
