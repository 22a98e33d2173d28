"""Provision: nodes of the new image, up and ready, without any part in the zone."""

from dataclasses import dataclass

from onebaton.model import NodeSpec, NodeState
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check


@dataclass(frozen=True, slots=True)
class ProvisionStep:
    """Ask the platform for nodes, beside those it already holds."""

    id: str
    site: Site
    nodes: tuple[NodeSpec, ...]

    def check(self) -> Check:
        """Done when the platform sees all of them running."""
        running = {n.spec for n in self.site.platform.nodes() if n.state is NodeState.RUNNING}
        return DONE if running.issuperset(self.nodes) else NEEDED

    def apply(self) -> None:
        """Apply what is there and what is wanted, as one plan of the platform.

        A platform replaces what vanished and leaves alone what is merely switched off; that
        one goes first. The plan has seen to it that it holds nothing to lose. What vanished and
        is not asked for is forgotten: it would be made of what it was, and belong to nothing.
        """
        platform = self.site.platform
        wanted = {spec.name: spec for spec in self.nodes}
        there = {
            node.spec.name: node
            for node in platform.nodes()
            if node.state is not NodeState.VANISHED or node.spec.name in wanted
        }
        on = {n: o.spec for n, o in there.items() if o.state is not NodeState.STOPPED}
        kept = on | {n: o.spec for n, o in there.items() if n not in wanted}
        if len(kept) < len(there):
            platform.apply([kept[name] for name in sorted(kept)])
        kept |= wanted
        platform.apply([kept[name] for name in sorted(kept)])

    def verify(self) -> None:
        """Every node has booted, lets us in, and runs its database."""
        names = {spec.name for spec in self.nodes}
        for node in self.site.platform.nodes():
            if node.spec.name in names:
                self.site.frontends.wait_ready(node.host, timeout_s=self.site.timeouts.boot_s)
