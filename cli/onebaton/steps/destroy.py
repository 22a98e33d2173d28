"""Destroy: nodes that have no part in the zone any more."""

from dataclasses import dataclass

from onebaton.errors import RefusedError
from onebaton.model import Host
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check, blocked


@dataclass(frozen=True, slots=True)
class DestroyStep:
    """Let the platform remove nodes, and forget them."""

    id: str
    site: Site
    hosts: tuple[Host, ...]

    @property
    def _names(self) -> frozenset[str]:
        return frozenset(host.name for host in self.hosts)

    def check(self) -> Check:
        """Blocked while one of them is a member: it may hold what others lack."""
        names = self._names
        members = {member.host.name for member in self.site.observe().members}
        if names & members:
            return blocked(f"still in the zone: {', '.join(sorted(names & members))}")
        present = {node.spec.name for node in self.site.platform.nodes()}
        return NEEDED if names & present else DONE

    def apply(self) -> None:
        """Apply the nodes that stay.

        None may, where the zone runs on machines of somebody else.
        """
        kept = [n.spec for n in self.site.platform.nodes() if n.spec.name not in self._names]
        if not kept and not self.site.observe().members:
            raise RefusedError("this would destroy every node of the cluster")
        self.site.platform.apply(kept)

    def verify(self) -> None:
        """They are gone."""

        def look() -> bool | str:
            left = sorted(n.spec.name for n in self.site.platform.nodes() if n.spec.name in names)
            return f"{', '.join(left)} still there" if left else True

        names = self._names
        self.site.wait_for("old nodes to be gone", look, timeout_s=self.site.timeouts.boot_s)
