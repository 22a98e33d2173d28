"""Hold: the next release runs before the cut, and can harm nobody."""

from dataclasses import dataclass

from onebaton.model import AheadStage, Host, Server
from onebaton.steps.ahead import follow_closely, wait_stands
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check, blocked


@dataclass(frozen=True, slots=True)
class HoldStep:
    """Start the next release's ``oned`` on its migrated copy, held.

    :param source: the machine whose log is shipped, a follower's.
    :param server: what it will be in the zone.
    :param outside: addresses of production that it must not reach: the servers' and the
        virtual IP.
    :param election_timeout_ms: short, as it will be the one to lead.
    """

    id: str
    site: Site
    host: Host
    source: Host
    server: Server
    outside: tuple[str, ...]
    election_timeout_ms: int

    def check(self) -> Check:
        """Done when it runs, held; blocked without a copy."""
        facts = self.site.frontends.facts(self.host)
        ahead = facts.ahead
        if ahead is None or ahead.stage not in (AheadStage.MIGRATED, AheadStage.HELD):
            stage = "none" if ahead is None else ahead.stage.value
            return blocked(f"the copy on {self.host.name} is not migrated ahead ({stage})")
        if ahead.stage is AheadStage.HELD and facts.oned_active:
            return DONE
        return NEEDED

    def apply(self) -> None:
        """Bring it near, write its configuration, start it fenced."""
        site = self.site
        follow_closely(site, self.source, self.host)
        site.frontends.configure(
            self.host,
            server_id=self.server.id,
            election_timeout_ms=self.election_timeout_ms,
            server_ids=(self.server.id,),
        )
        site.standby.hold(
            self.host,
            server=self.server,
            election_timeout_ms=self.election_timeout_ms,
            outside=self.outside,
            timeout_s=site.timeouts.start_s,
        )

    def verify(self) -> None:
        """Its warm-up is over: in the cut there is no time for that."""
        wait_stands(self.site, self.host)
