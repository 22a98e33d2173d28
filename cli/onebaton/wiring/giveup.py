"""Giving a half-done rollout up: back to the generation that it began with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.errors import RefusedError
from onebaton.wiring.running import carry_out, locked, opened, report, run_id

if TYPE_CHECKING:
    from onebaton.model import World
    from onebaton.plan.actions import Plan
    from onebaton.plan.wanted import Wanted
    from onebaton.reports import ReportView
    from onebaton.views import AbortView
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options


def abort_preview(options: Options) -> AbortView:
    """What would be given up.

    :raises RefusedError: if there is no safe way back.
    """
    from onebaton.rollout.reporting import abort_view

    with opened(options) as cluster:
        cluster.platform.check()
        given_up = _given_up(cluster)
        return abort_view(given_up, _planned(cluster, given_up, cluster.look()))


def abort(options: Options) -> ReportView:
    """Take the new servers out one at a time, and destroy their nodes; a swap is swapped back.

    :raises RefusedError: if there is no safe way back.
    """
    from onebaton.wiring.probing import probing

    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, "abort") as lock:
            run = run_id(cluster, "abort")
            given_up = _given_up(cluster)
            zone, version = cluster.config.zone.name, given_up.image.version
            title = f"zone {zone}: the rollout to {version} is given up"
            # Refused, or found done, before the probe writes anything.
            if not _planned(cluster, given_up, cluster.look()).actions:
                cluster.goals.forget()
                cluster.stage_progress.forget()
                return report(cluster, run, title, (), nothing=("no node of it is there",))
            with probing(cluster) as watch:
                taken = carry_out(
                    cluster,
                    lock,
                    run,
                    cluster.look,
                    lambda world: _planned(cluster, given_up, world),
                    seen=watch.seen,
                    before=watch.before,
                    gaps=watch.gaps,
                )
                gaps = watch.gaps()
            cluster.goals.forget()
            cluster.stage_progress.forget()
            return report(cluster, run, title, taken, gaps)


def _planned(cluster: Cluster, given_up: Wanted, world: World) -> Plan:
    """What is left to do; ``given_up`` has the strategy of the rollout that was begun.

    :raises RefusedError: if there is no safe way back, or the image to go back to is not there.
    """
    from dataclasses import replace

    from onebaton.plan.abort import former_digest, plan_abort, plan_swap_back

    if given_up.strategy != "swap":
        return plan_abort(given_up, world)
    digest = former_digest(given_up, world)
    image = cluster.catalogue.by_digest(digest)
    if image is None or not cluster.platform.image_present(image):
        raise RefusedError(
            "the image that the swap began with is not there any more",
            details=[digest],
            resolution="Go on with the rollout instead: `onebaton rollout`.",
        )
    former = replace(given_up, image=image, given_up=given_up.image.digest)
    return plan_swap_back(former, world)


def _given_up(cluster: Cluster) -> Wanted:
    """What the rollout under way goes to; the configured image if none is noted.

    That image need not be in the catalogue any more: its digest tells its nodes.
    """
    from dataclasses import replace

    goal = cluster.goals.load()
    if goal is None:
        # Without a note nothing tells that machines were exchanged in their places.
        return replace(cluster.wanted, strategy="surge")
    wanted, _ = cluster.wanted_or_unbaked
    known = cluster.catalogue.by_digest(goal.digest)
    image = known or replace(
        wanted.image, name=goal.image, digest=goal.digest, version=goal.version
    )
    return replace(wanted, image=image, strategy=goal.strategy)
