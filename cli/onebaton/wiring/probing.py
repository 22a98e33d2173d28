"""A probe that follows the zone through a rollout."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from onebaton.model import World
    from onebaton.plan.actions import Action
    from onebaton.reports import GapRow
    from onebaton.rollout.probe import Probe
    from onebaton.wiring.cluster import Cluster

#: Without any answer in this time there is something to tell, in seconds.
LOOKED_AT_S = 1.0


class Unwatched:
    """No probe: the same calls, and no gaps."""

    def seen(self, world: World) -> None:
        """Nobody looks."""

    def before(self, action: Action) -> None:
        """Nobody looks away."""

    def gaps(self) -> Sequence[GapRow]:
        """None were seen."""
        return ()


class Watched(Unwatched):
    """A probe that follows the zone's members through a rollout."""

    def __init__(self, probe: Probe) -> None:
        self._probe = probe
        self._swapped: set[str] = set()

    def seen(self, world: World) -> None:
        """Probe these members, whether they answer or not, but one that is being swapped."""
        from onebaton.model import Health

        healthy = {m.server.name for m in world.members if m.health is Health.HEALTHY}
        self._swapped -= healthy
        servers = (m.server for m in world.members if m.server.name not in self._swapped)
        self._probe.follow({server.name: server.endpoint for server in servers})

    def before(self, action: Action) -> None:
        """What is about to be stopped for good is not a gap of the zone."""
        from onebaton.plan.actions import CutOver, Fence, HandOver, Park, Reinstate, Retire, Swap

        match action:
            case (
                Retire(server=server)
                | Fence(server=server)
                | Park(server=server)
                | HandOver(from_server=server)
            ):
                self._probe.remove(server.name)
            case Swap(server=server):
                self._swapped.add(server.name)
                self._probe.remove(server.name)
            case CutOver() | Reinstate():
                # All servers end; the virtual IP is what clients go on with.
                self._probe.follow({})

    def gaps(self) -> Sequence[GapRow]:
        """End the probe; the longest gaps it saw.

        A server that was looked at for no time at all, as one that is stopped by the first
        step, has nothing to tell.
        """
        rows = self._probe.stop().rows()
        return [row for row in rows if row.requests or row.longest_s >= LOOKED_AT_S]


@contextlib.contextmanager
def probing(cluster: Cluster) -> Iterator[Unwatched]:
    """Probe the zone while the block runs."""
    if not cluster.config.rollout.probe.enabled:
        yield Unwatched()
        return
    probe = _probe(cluster)
    probe.start()
    try:
        yield Watched(probe)
    finally:
        _end(cluster, probe)


def sweep(cluster: Cluster) -> None:
    """Remove what a run left that was killed after its last step: no probe comes after it."""
    _end(cluster, _probe(cluster))


def _probe(cluster: Cluster) -> Probe:
    from onebaton.rollout.probe import Probe

    settings = cluster.config.rollout.probe
    return Probe(
        # An address that nobody holds for a moment does not refuse; do not wait for it long.
        cluster.bounded_api(settings.timeout_s, connect_timeout_s=0.5),
        cluster.clock,
        vip_endpoint=cluster.vip_endpoint,
        rate_hz=settings.rate_hz,
        member_write_rate_hz=settings.member_write_rate_hz,
        timeout_s=settings.timeout_s,
    )


def _end(cluster: Cluster, probe: Probe) -> None:
    problem = probe.stop().problem
    if problem is not None:
        cluster.reporter.warn(problem)
