"""Retire: stopped and masked first, then out of the zone."""

from dataclasses import dataclass

from onebaton.model import Host, RaftState, Server
from onebaton.steps.seeing import against_stopping, expected_leader, require_put_away
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check


@dataclass(frozen=True, slots=True)
class RetireStep:
    """Take a follower out of the zone.

    ``oned`` grants votes to anybody who knows the secret, member or not: a removed server
    that still runs keeps toppling the leader (source note). So it is stopped and masked
    before it is removed.
    """

    id: str
    site: Site
    host: Host
    server: Server
    leader: Server

    def check(self) -> Check:
        """Blocked if it leads, or if the expected leader does not."""
        objection = against_stopping(self.site, self.leader, self.server)
        if objection is not None:
            return objection
        servers = self.site.api.zone(self.leader.endpoint).servers
        return NEEDED if self.server in servers else DONE

    def apply(self) -> None:
        """Stop and mask, see it stopped, delserver."""
        site = self.site
        site.frontends.stop(self.host, mask=True, timeout_s=site.timeouts.stop_s)
        require_put_away(self.host, site.frontends.facts(self.host))
        expected_leader(site, self.leader)
        site.api.delete_server(self.leader.endpoint, self.server.id)

    def verify(self) -> None:
        """The leader still leads, in the same term, and no longer lists it."""

        def look() -> bool | str:
            status = site.api.raft_status(self.leader.endpoint)
            if status.state is not RaftState.LEADER:
                return f"{self.leader.name} is {status.state.name.lower()}"
            if self.server.id in {s.id for s in site.api.zone(self.leader.endpoint).servers}:
                return "still listed"
            return True

        site = self.site
        site.wait_for(
            f"{self.server.name} to be out of the zone", look, timeout_s=site.timeouts.election_s
        )
