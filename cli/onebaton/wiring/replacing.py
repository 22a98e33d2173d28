"""A new machine in the place of a failed or suspect one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.errors import RefusedError
from onebaton.wiring.running import carry_out, locked, opened, report, run_id

if TYPE_CHECKING:
    from onebaton.model import World
    from onebaton.plan.actions import Plan
    from onebaton.plan.wanted import Condemned, Wanted
    from onebaton.reports import ReportView
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options


def replace_preview(options: Options, node: str) -> tuple[str, ...]:
    """What would be done, a line each; none if nothing is left to be done.

    :raises RefusedError: if the zone could not bear it.
    """
    from onebaton.plan.describe import what

    with opened(options) as cluster:
        cluster.platform.check()
        world = cluster.look()
        plan = _planned(cluster, _condemned(cluster, world, node), world)
        return tuple(what(action) for action in plan.actions)


def replace(options: Options, node: str) -> ReportView:
    """Take the machine's server out of the zone, and let a new machine join in its place.

    :raises RefusedError: if the zone could not bear it.
    """
    from onebaton.wiring.probing import probing

    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, "replace") as lock:
            run = run_id(cluster, "replace")
            title = f"zone {cluster.config.zone.name}: the machine {node} is replaced"
            world = cluster.look()
            one = _condemned(cluster, world, node)
            # Refused, or found done, before the probe writes anything.
            if not _planned(cluster, one, world).actions:
                cluster.condemned.forget()
                again = f"to replace the new machine too, run `{options.again('replace')}` again"
                return report(cluster, run, title, (), nothing=(again,))
            cluster.condemned.save(one)
            with probing(cluster) as watch:
                taken = carry_out(
                    cluster,
                    lock,
                    run,
                    cluster.observe,
                    lambda world: _planned(cluster, one, world),
                    seen=watch.seen,
                    before=watch.before,
                    gaps=watch.gaps,
                )
                gaps = watch.gaps()
            cluster.condemned.forget()
            return report(cluster, run, title, taken, gaps)


def _condemned(cluster: Cluster, world: World, node: str) -> Condemned:
    """The machine that is noted, if a run was killed that replaced it; else the one there now.

    :raises RefusedError: while another one is being replaced.
    """
    from onebaton.plan.replacing import condemn

    noted = cluster.condemned.load()
    if noted is None:
        return condemn(world, node, cluster.goals.load())
    if noted.name == node:
        return noted
    if not _planned(cluster, noted, world).actions:
        return condemn(world, node, cluster.goals.load())
    raise RefusedError(
        f"the machine {noted.name} is being replaced, and that did not come to its end",
        resolution=f"Finish that first: `onebaton replace {noted.name}`.",
    )


def _planned(cluster: Cluster, one: Condemned, world: World) -> Plan:
    from onebaton.plan.replacing import plan_replace

    return plan_replace(_wanted(cluster, one, world), world)


def _wanted(cluster: Cluster, one: Condemned, world: World) -> Wanted:
    """The zone as it is, on the image that the machine was made from.

    :raises RefusedError: if that image is not there any more.
    """
    from dataclasses import replace as changed

    from onebaton.plan.replacing import size_of

    image = cluster.catalogue.by_digest(one.image_digest)
    if image is None or not cluster.platform.image_present(image):
        raise RefusedError(
            f"the image that {one.name} was made from is not there any more",
            details=[one.image_digest],
            resolution="Roll the zone onto an image that is: `onebaton rollout`.",
        )
    wanted, _ = cluster.wanted_or_unbaked
    return changed(
        wanted,
        image=image,
        size=size_of(world, one),
        strategy="surge",
        condemned=one,
        # The zone runs it already: a lost server is worse than one more on a revoked image.
        revoked="",
    )
