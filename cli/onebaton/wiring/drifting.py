"""What is not as the configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.errors import RefusedError
from onebaton.wiring.running import opened

if TYPE_CHECKING:
    from onebaton.drift import DriftView
    from onebaton.ports import Configurations
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options

#: Deadline of a question to an address that nobody should have.
STRANGER_S = 2.0


def drift(options: Options) -> DriftView:
    """Hold the zone and its machines against the configuration. Changes nothing."""
    from onebaton.rollout.drifting import drift_view, look_closer

    with opened(options) as cluster:
        cluster.platform.check()
        wanted, _ = cluster.wanted_or_unbaked
        unbaked = _unbaked(cluster)
        world = cluster.look()
        options.reporter.progress("reading the configuration files of the nodes")
        sight = look_closer(
            wanted,
            world,
            cluster.platform,
            _configurations(cluster),
            cluster.bounded_api(STRANGER_S, connect_timeout_s=STRANGER_S / 2),
            vip=cluster.config.zone.vip.to_model(),
            unbaked=unbaked,
            channel=cluster.config.image.channel,
            revoked=cluster.revoked,
        )
        return drift_view(
            sight,
            cluster.clock.now(),
            goal=cluster.goals.load(),
            condemned=cluster.condemned.load(),
        )


def _unbaked(cluster: Cluster) -> str:
    """Why there is no wanted image; empty if there is one."""
    try:
        cluster.image  # noqa: B018 - looked for when it is first asked for
    except RefusedError as error:
        return error.message
    return ""


def _configurations(cluster: Cluster) -> Configurations:
    from onebaton.adapters.nodeconfig import ZoneSettings
    from onebaton.adapters.nodefiles import SshConfigurations
    from onebaton.adapters.templates import Templates

    zone = cluster.config.zone
    return SshConfigurations(
        cluster.ssh,
        zone=ZoneSettings(zone.id, zone.vip.to_model(), zone.port),
        database=cluster.config.database,
        oned=cluster.config.oned,
        render=Templates().render,
    )
