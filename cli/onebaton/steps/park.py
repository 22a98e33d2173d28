"""Park and unpark: a follower out of service for a while, and back, without leaving the zone."""

from dataclasses import dataclass

from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Host, Server
from onebaton.steps.join import require_parity_before_start, ship_until_level
from onebaton.steps.seeing import (
    against_stopping,
    expected_leader,
    require_parity,
    require_reached,
    require_same_secrets,
    wait_caught_up,
    wait_leads_on,
    wait_one_vip_holder,
    wait_write_through,
)
from onebaton.steps.site import Site
from onebaton.steps.step import NEEDED, Check, blocked


@dataclass(frozen=True, slots=True)
class ParkStep:
    """Note it, stop it, mask it; the zone lists it as before.

    The note comes first: a stopped and masked server without one is what a roll leaves that was
    about to retire it.
    """

    id: str
    site: Site
    host: Host
    server: Server
    leader: Server

    def check(self) -> Check:
        """Blocked if it leads, or if the expected leader does not."""
        return against_stopping(self.site, self.leader, self.server) or NEEDED

    def apply(self) -> None:
        """Since when is noted once: a run that was killed in here had begun it."""
        site = self.site
        since = site.frontends.facts(self.host).parked_at
        site.frontends.note_parked(self.host, since if since is not None else site.clock.now())
        site.frontends.stop(self.host, mask=True, timeout_s=site.timeouts.stop_s)

    def verify(self) -> None:
        """Seen stopped and masked, and the leader still leads.

        :raises StepFailedError: if it is not.
        """
        facts = self.site.frontends.facts(self.host)
        if facts.oned_active or not facts.oned_masked or facts.parked_at is None:
            raise StepFailedError(
                f"{self.host.name} is not seen stopped, masked and noted as parked",
                resolution="Look at opennebula.service on it, then run the same command again.",
            )
        wait_leads_on(self.site, self.leader)


@dataclass(frozen=True, slots=True)
class UnparkStep:
    """Bring its database level, let the leader forget where it was, start it under its id.

    :param leading: the leader's machine.
    :param source: another machine of the zone, whose log it is brought level from.
    :param is_ours: its machine is a node of ours, whose ``oned.conf`` we write.
    """

    id: str
    site: Site
    host: Host
    server: Server
    leader: Server
    leading: Host
    source: Host
    is_ours: bool

    def check(self) -> Check:
        """Blocked unless the expected leader leads."""
        try:
            expected_leader(self.site, self.leader)
        except RefusedError as error:
            return blocked(error.message)
        return NEEDED

    def apply(self) -> None:
        """Ship, prove equal, reset, start; nothing if it runs already.

        As after a restart the leader would send again, one by one, what came in bulk: told to
        forget, it goes on from now.
        """
        site = self.site
        if site.frontends.facts(self.host).oned_active:
            return
        require_reached(site, self.leading, self.host)
        require_same_secrets(site, self.source, self.host)
        ship_until_level(site, self.source, self.host)
        require_parity_before_start(site, self.source, self.host)
        if self.is_ours:
            members = [server.id for server in site.api.zone(self.leader.endpoint).servers]
            site.frontends.configure(
                self.host,
                server_id=self.server.id,
                election_timeout_ms=site.oned.election_timeout_ms,
                server_ids=members,
            )
        site.frontends.ship_log(self.source, self.host)
        site.api.reset_server(self.leader.endpoint, self.server.id)
        site.frontends.ship_log(self.source, self.host)
        site.frontends.start(self.host, timeout_s=site.timeouts.start_s)

    def verify(self) -> None:
        """Caught up, taking writes, equal; only then it is not parked any more.

        One that differs is stopped again, and stays parked.

        :raises StepFailedError: if a table differs.
        """
        site = self.site
        wait_caught_up(site, self.leader, self.server)
        wait_write_through(site, self.host.name, self.server.endpoint)
        try:
            require_parity(site, self.source, self.host)
        except StepFailedError:
            site.frontends.stop(self.host, mask=True, timeout_s=site.timeouts.stop_s)
            raise
        site.frontends.note_parked(self.host, None)
        leader = site.wait_for(
            "a leader",
            lambda: site.observe().leader or "nobody leads",
            timeout_s=site.timeouts.election_s,
        )
        wait_one_vip_holder(site, leader.host)
