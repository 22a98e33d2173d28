"""Join: a seeded node becomes a member, caught up and proven equal."""

from dataclasses import dataclass

from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Host, Server
from onebaton.steps.seeing import (
    expected_leader,
    require_parity,
    require_same_secrets,
    server_of,
    wait_caught_up,
    wait_one_vip_holder,
    wait_write_through,
)
from onebaton.steps.site import Site
from onebaton.steps.step import NEEDED, Check, blocked

#: Shipping is repeated until a round carries no more than this: Raft brings the rest.
SMALL_ROUND_RECORDS = 20
MAX_ROUNDS = 10


@dataclass(frozen=True, slots=True)
class JoinStep:
    """Ship the log, add the server, start it within its warm-up.

    :param leader: the server expected to lead all through.
    :param source: the follower whose database the log is shipped from.
    :param election_timeout_ms: low for the node that leadership is steered to.
    """

    id: str
    site: Site
    host: Host
    leader: Server
    leader_host: Host
    source: Host
    election_timeout_ms: int

    @property
    def endpoint(self) -> str:
        """Its endpoint in the zone."""
        return self.site.endpoint(self.host.address)

    def check(self) -> Check:
        """Blocked unless the expected leader leads a zone that can bear one dead member."""
        try:
            expected_leader(self.site, self.leader)
        except RefusedError as error:
            return blocked(error.message)
        return NEEDED

    def apply(self) -> None:
        """Bring the log level, add the server, bring its own record too, start.

        Raft's own catch-up is one record a round trip; in bulk it is level at once
        (measured note). A run that was killed in here left the node either outside of the
        zone, or inside and stopped or started: each is gone through again.
        """
        site = self.site
        facts = site.frontends.facts(self.host)
        if not facts.oned_active:
            require_same_secrets(site, self.source, self.host)
            self._ship_until_level()
            require_parity_before_start(site, self.source, self.host)
            server_id = site.api.add_server(self.leader.endpoint, self.host.name, self.endpoint)
            members = [server.id for server in site.api.zone(self.leader.endpoint).servers]
            site.frontends.configure(
                self.host,
                server_id=server_id,
                election_timeout_ms=self.election_timeout_ms,
                server_ids=members,
            )
            # Its own addserver record travels with this round, so that it knows itself.
            site.frontends.ship_log(self.source, self.host)
            site.frontends.start(self.host, timeout_s=site.timeouts.start_s)

    def verify(self) -> None:
        """Caught up, equal, one VIP holder, and a write goes through it."""
        site = self.site
        member = server_of(site.observe(), self.host.name)
        wait_caught_up(site, self.leader, member)
        require_parity(site, self.source, self.host)
        wait_one_vip_holder(site, self.leader_host)
        wait_write_through(site, self.host.name, self.endpoint)

    def _ship_until_level(self) -> None:
        for _ in range(MAX_ROUNDS):
            shipped = self.site.frontends.ship_log(self.source, self.host)
            self.site.reporter.progress(f"{shipped} log records shipped to {self.host.name}")
            if shipped <= SMALL_ROUND_RECORDS:
                return
        raise StepFailedError(
            f"{self.host.name} does not become level with {self.source.name}: the zone writes "
            "faster than its log can be shipped",
            resolution="Run the same command again when there is less to write.",
        )


def require_parity_before_start(site: Site, source: Host, target: Host) -> None:
    """Prove the stopped target equal to its source, at an index of our choosing.

    The source's tables are read at one moment; the log is then shipped to exactly that
    moment's index, so that the comparison needs no luck while writes go on.

    :raises StepFailedError: if a table differs.
    """
    position, ours = site.frontends.table_checksums(source)
    site.frontends.ship_log(source, target, up_to=position.last_applied)
    reached, theirs = site.frontends.table_checksums(target)
    if reached.last_applied != position.last_applied:
        raise StepFailedError(
            f"{target.name} stands at log index {reached.last_applied} and should be at "
            f"{position.last_applied}",
            resolution="Run the same command again.",
        )
    differing = sorted(t for t in ours.keys() | theirs.keys() if ours.get(t) != theirs.get(t))
    if differing:
        raise StepFailedError(
            f"{target.name} was seeded wrongly: it differs from {source.name} at log index "
            f"{position.last_applied}",
            details=[f"tables: {', '.join(differing)}"],
            resolution=(
                "It is not in the zone yet. Remove its database "
                "(mariadb -e 'DROP DATABASE …'), then run the same command again."
            ),
        )
