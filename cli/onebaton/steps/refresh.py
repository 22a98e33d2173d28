"""Refresh: restart a follower, so that it learns of the members added after its start."""

from dataclasses import dataclass

from onebaton.errors import RefusedError
from onebaton.model import Host, RaftState, Server
from onebaton.steps.seeing import expected_leader, server_of, wait_caught_up, wait_write_through
from onebaton.steps.site import Site
from onebaton.steps.step import NEEDED, Check, blocked


@dataclass(frozen=True, slots=True)
class RefreshStep:
    """Stop and start one follower.

    :param source: another machine of the zone, whose log it is brought level from.
    """

    id: str
    site: Site
    host: Host
    server: Server
    leader: Server
    source: Host
    election_timeout_ms: int

    def check(self) -> Check:
        """Blocked if it leads: its restart would be an election."""
        try:
            expected_leader(self.site, self.leader)
        except RefusedError as error:
            return blocked(error.message)
        own = self.site.api.raft_status(self.server.endpoint)
        if own.state is RaftState.LEADER:
            return blocked(f"{self.server.name} leads the zone")
        return NEEDED

    def apply(self) -> None:
        """Stop, write down what it will learn, bring its log level, start.

        What was written while it stopped comes in bulk; Raft would bring it one record a
        round trip, hardly faster than a busy zone writes (measured note).
        """
        site = self.site
        site.frontends.stop(self.host, mask=False, timeout_s=site.timeouts.stop_s)
        members = [server.id for server in site.api.zone(self.leader.endpoint).servers]
        site.frontends.configure(
            self.host,
            server_id=self.server.id,
            election_timeout_ms=self.election_timeout_ms,
            server_ids=members,
        )
        site.frontends.ship_log(self.source, self.host)
        # The leader would send again, one by one, all that came in bulk: it goes on where it
        # was when the server stopped. Told to forget that, it goes on from now; what was
        # written until it was told comes with a last small round.
        site.api.reset_server(self.leader.endpoint, self.server.id)
        site.frontends.ship_log(self.source, self.host)
        site.frontends.start(self.host, timeout_s=site.timeouts.start_s)

    def verify(self) -> None:
        """Caught up again, and a write goes through it."""
        member = server_of(self.site.observe(), self.host.name)
        wait_caught_up(self.site, self.leader, member)
        wait_write_through(self.site, self.host.name, member.endpoint)
