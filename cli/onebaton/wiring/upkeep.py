"""What is done to one server: out of service and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.wiring.running import carry_out, locked, opened, report, run_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from onebaton.model import World
    from onebaton.plan.actions import Plan
    from onebaton.plan.wanted import Wanted
    from onebaton.reports import ReportView
    from onebaton.wiring.options import Options


def park(options: Options, node: str) -> ReportView:
    """Take a follower out of service; the zone lists it as before.

    :raises RefusedError: if it leads, or is needed for the quorum.
    """
    from onebaton.plan.parking import plan_park

    said = (f"{node} is parked", "it is parked already")
    return _alone(options, "park", node, plan_park, said)


def unpark(options: Options, node: str) -> ReportView:
    """Bring a parked server back into service.

    :raises RefusedError: if the zone cannot take it back now.
    """
    from onebaton.plan.parking import plan_unpark

    said = (f"{node} is back in service", "it is not parked")
    return _alone(options, "unpark", node, plan_unpark, said)


def _alone(
    options: Options,
    command: str,
    node: str,
    plan: Callable[[Wanted, World, str], Plan],
    said: tuple[str, str],
) -> ReportView:
    """A change of one server, whatever image it runs.

    :param said: of what was done, and where there was nothing to do.
    """
    from onebaton.wiring.probing import probing

    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, command) as lock:
            run = run_id(cluster, command)
            wanted, _ = cluster.wanted_or_unbaked
            title = f"zone {cluster.config.zone.name}: {said[0]}"
            # Refused, or found done, before the probe writes anything.
            if not plan(wanted, cluster.look(), node).actions:
                return report(cluster, run, title, (), nothing=said[1:])
            with probing(cluster) as watch:
                taken = carry_out(
                    cluster,
                    lock,
                    run,
                    cluster.look,
                    lambda world: plan(wanted, world, node),
                    seen=watch.seen,
                    before=watch.before,
                    gaps=watch.gaps,
                )
                gaps = watch.gaps()
            return report(cluster, run, title, taken, gaps)
