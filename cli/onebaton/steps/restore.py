"""Restore: the steered node's normal election timeout, for its next start."""

from dataclasses import dataclass

from onebaton.model import Host, Server
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check


@dataclass(frozen=True, slots=True)
class RestoreStep:
    """Write ``oned.conf`` anew, without a restart: that would be an election."""

    id: str
    site: Site
    host: Host
    server: Server

    def check(self) -> Check:
        """Done when the file has the normal timeout, and nothing is left of a cut-over."""
        facts = self.site.frontends.facts(self.host)
        wanted = self.site.oned.election_timeout_ms
        done = facts.election_timeout_ms == wanted and facts.ahead is None
        return DONE if done else NEEDED

    def apply(self) -> None:
        """Write the file; before it, take away what a cut-over that was killed left there."""
        if self.site.frontends.facts(self.host).ahead is not None:
            self.site.standby.settle(self.host)
        members = [server.id for server in self.site.api.zone(self.server.endpoint).servers]
        self.site.frontends.configure(
            self.host,
            server_id=self.server.id,
            election_timeout_ms=self.site.oned.election_timeout_ms,
            server_ids=members,
        )

    def verify(self) -> None:
        """The file says so."""
        self.site.wait_for(
            f"the election timeout in {self.host.name}'s oned.conf",
            lambda: True if self.check() is DONE else "not yet written",
            timeout_s=self.site.timeouts.start_s,
        )
