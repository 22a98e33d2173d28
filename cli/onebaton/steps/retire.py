"""Retire: stopped and masked first, then out of the zone."""

from dataclasses import dataclass

from onebaton.errors import RefusedError
from onebaton.model import Host, RaftState, Server
from onebaton.steps.seeing import expected_leader
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check, blocked


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
        try:
            expected_leader(self.site, self.leader)
        except RefusedError as error:
            return blocked(error.message)
        if self.server.id == self.leader.id:
            return blocked(f"{self.server.name} leads the zone")
        servers = self.site.api.zone(self.leader.endpoint).servers
        return NEEDED if self.server in servers else DONE

    def apply(self) -> None:
        """Stop and mask, see it stopped, delserver."""
        site = self.site
        site.frontends.stop(self.host, mask=True, timeout_s=site.timeouts.stop_s)
        facts = site.frontends.facts(self.host)
        if facts.oned_active or not facts.oned_masked or facts.holds_vip:
            raise RefusedError(
                f"{self.host.name} is not seen stopped and masked without the virtual IP",
                resolution="Stop and mask opennebula.service on it, then run the command again.",
            )
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
