"""Seed: database and secrets for new nodes, from a follower, without locks."""

from dataclasses import dataclass

from onebaton.model import Host
from onebaton.steps.seeing import require_good_source, require_same_secrets
from onebaton.steps.site import Site
from onebaton.steps.step import NEEDED, Check


@dataclass(frozen=True, slots=True)
class SeedStep:
    """Dump the source once and restore it on all targets at the same time."""

    id: str
    site: Site
    source: Host
    targets: tuple[Host, ...]

    def check(self) -> Check:
        """Needed for as long as the plan says so: it judged the seeds by their content."""
        return NEEDED

    def apply(self) -> None:
        """Stop what runs on a target that lost its place in the log, then fill it anew.

        A copy that was migrated ahead goes too: it belongs to a cut-over that did not come, or
        to one that is over.
        """
        require_good_source(self.site, self.source)
        for target in self.targets:
            facts = self.site.frontends.facts(target)
            if facts.ahead is not None:
                self.site.standby.discard(target)
            elif facts.oned_active:
                self.site.frontends.stop(target, mask=False, timeout_s=self.site.timeouts.stop_s)
        self.site.frontends.copy_secrets(self.source, self.targets)
        self.site.frontends.seed(self.source, self.targets, timeout_s=self.site.timeouts.seed_s)

    def verify(self) -> None:
        """Judged by content: the secrets' digest (one-deploy#160 left other secrets)."""
        for target in self.targets:
            require_same_secrets(self.site, self.source, target)
