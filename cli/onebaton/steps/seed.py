"""Seed: database and secrets for new nodes, from a follower, without locks."""

from dataclasses import dataclass

from onebaton.model import Host
from onebaton.steps.seeing import require_same_secrets
from onebaton.steps.site import Site
from onebaton.steps.step import NEEDED, Check, blocked


@dataclass(frozen=True, slots=True)
class SeedStep:
    """Dump the source once and restore it on all targets at the same time."""

    id: str
    site: Site
    source: Host
    targets: tuple[Host, ...]

    def check(self) -> Check:
        """Blocked when ``oned`` runs on a target: its database is not ours to replace."""
        for target in self.targets:
            if self.site.frontends.facts(target).oned_active:
                return blocked(f"oned runs on {target.name}; a seed would replace its database")
        return NEEDED

    def apply(self) -> None:
        """Secrets first, then the database."""
        self.site.frontends.copy_secrets(self.source, self.targets)
        self.site.frontends.seed(self.source, self.targets, timeout_s=self.site.timeouts.seed_s)

    def verify(self) -> None:
        """Judged by content: the secrets' digest (one-deploy#160 left other secrets)."""
        for target in self.targets:
            require_same_secrets(self.site, self.source, target)
