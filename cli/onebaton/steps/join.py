"""Join: a seeded node becomes a member, caught up and proven equal."""

from collections.abc import Sequence
from dataclasses import dataclass

from onebaton.errors import RefusedError, StepFailedError, UnavailableError
from onebaton.model import Host, Member, PriorPhase, Server
from onebaton.steps.rounds import until_level
from onebaton.steps.seeing import (
    TablesDifferError,
    expected_leader,
    require_parity,
    require_parity_brought,
    require_reached,
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
#: How long a server waits for a leader that must not stand for election: an hour.
PATIENT_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class JoinStep:
    """Ship the log, add the server, start it within its warm-up.

    :param leader: the server expected to lead all through; ``None`` only while a zone that is
        being founded waits for this very member to have a quorum.
    :param leading: the machine of that server.
    :param source: the machine whose database the log is shipped from, a follower's.
    :param listed: the server that the zone lists for it already, after a run that was killed.
    :param election_timeout_ms: low for the node that leadership is steered to.
    :param knowing: other nodes of the zone, with the ids of the servers that they know.
    """

    id: str
    site: Site
    host: Host
    leader: Server | None
    leading: Host | None
    source: Host
    listed: Server | None
    election_timeout_ms: int
    knowing: tuple[tuple[Host, frozenset[int]], ...] = ()

    @property
    def endpoint(self) -> str:
        """Its endpoint in the zone."""
        return self.site.endpoint(self.host.address)

    def check(self) -> Check:
        """Blocked unless the expected leader leads."""
        if self.leader is None:
            return NEEDED if self.listed is not None else blocked("the zone has no leader")
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
        if self.listed is None and self._second_after_cut():
            self._start_then_add()
            return
        if site.frontends.facts(self.host).oned_active:
            return
        self._bring_level()
        self._forget_the_gone()
        server_id = self._listed_id()
        self._configure(
            server_id, [server.id for server in self._servers()], self.election_timeout_ms
        )
        if self.listed is not None and self.leader is not None:
            # Where it was when it stopped is of no use: the leader would send again, one by one,
            # all that its seed brought. Told to forget it, the leader goes on from now.
            site.api.reset_server(self.leader.endpoint, self.listed.id)
        self._bring_its_own_record()
        site.frontends.start(self.host, timeout_s=site.timeouts.start_s)

    def _bring_its_own_record(self) -> None:
        """Ship the log once more, as soon as the source has applied the ``addserver`` record.

        A server that does not know itself counts its own vote all the same: with one member
        that is cut off, as the source may be, it would elect a second leader among fewer
        servers than the zone has.

        :raises DeadlineError: if the source does not come to list it; it was not started.
        """
        site = self.site

        def look() -> bool | str:
            listed = site.api.zone(site.endpoint(self.source.address)).servers
            known = any(server.endpoint == self.endpoint for server in listed)
            return known or f"{self.source.name} does not list it yet"

        site.wait_for(
            f"{self.source.name} to know of {self.host.name}",
            look,
            timeout_s=site.timeouts.catch_up_s,
            interval_s=0.1,
        )
        site.frontends.ship_log(self.source, self.host)

    def _forget_the_gone(self) -> None:
        """The id that is given next may be one that a deleted server had.

        Whoever knew that one would pass for knowing this one, at another endpoint. What is listed
        already was given its id after this.
        """
        if self.listed is not None:
            return
        ids = {server.id for server in self._servers()}
        for host, known in self.knowing:
            if known - ids:
                self.site.frontends.forget_servers(host, known - ids)

    def _bring_level(self) -> None:
        require_reached(self.site, self.leading or self.source, self.host)
        require_same_secrets(self.site, self.source, self.host)
        ship_until_level(self.site, self.source, self.host)
        require_parity_before_start(self.site, self.source, self.host)

    def _configure(self, server_id: int, known: Sequence[int], election_timeout_ms: int) -> None:
        self.site.frontends.configure(
            self.host,
            server_id=server_id,
            election_timeout_ms=election_timeout_ms,
            server_ids=known,
        )

    def _second_after_cut(self) -> bool:
        """The zone came out of a cut-over as one server, and clients write to it."""
        record = self.site.priors.load()
        served = record is not None and record.phase is PriorPhase.SERVED
        return served and len(self._servers()) == 1

    def _start_then_add(self) -> None:
        """The second voter of a zone runs before it is listed.

        Of two voters both are needed: listed first, it would keep every write waiting until it
        has started, for seconds. Until it is listed nobody speaks to it. With a long patience it
        does not stand for election either, should nobody come and list it.
        """
        site = self.site
        server_id = 1 + max(server.id for server in self._servers())
        known = [*(server.id for server in self._servers()), server_id]
        if not site.frontends.facts(self.host).oned_active:
            self._bring_level()
            self._configure(server_id, known, PATIENT_MS)
            site.frontends.start(self.host, timeout_s=site.timeouts.start_s)
        self._configure(server_id, known, self.election_timeout_ms)
        site.frontends.ship_log(self.source, self.host, beneath=True)
        given = self._listed_id()
        if given != server_id:
            raise StepFailedError(
                f"the zone calls {self.host.name} server {given}, and it was started as "
                f"{server_id}",
                resolution=f"Stop opennebula.service on {self.host.name}, then run the same "
                "command again: it starts it as what it is.",
            )

    def verify(self) -> None:
        """Caught up, taking writes, equal, and exactly one VIP holder.

        The write comes before the comparison: a started server knows of nothing to apply
        until something is committed (measured note: COMMIT is 0 until then).

        A member that differs is stopped and stays listed. It might be elected otherwise; and
        stopped it is seen as what it is by the next run, which begins with its join.

        :raises TablesDifferError: if a table differs.
        """
        site = self.site
        leader = site.wait_for("a leader", self._leader, timeout_s=site.timeouts.election_s)
        member = server_of(site.observe(), self.host.name)
        wait_caught_up(site, leader.server, member)
        wait_write_through(site, self.host.name, self.endpoint)
        try:
            require_parity(site, self.source, self.host)
        except TablesDifferError:
            # A comparison that merely failed, at the source too, says nothing against it.
            site.frontends.stop(self.host, mask=True, timeout_s=site.timeouts.stop_s)
            raise
        wait_one_vip_holder(site, leader.host)

    def _leader(self) -> Member | str:
        leader = self.site.observe().leader
        if leader is None:
            return "nobody leads"
        if self.leader is not None and leader.server.id != self.leader.id:
            raise RefusedError(
                f"{self.leader.name} was expected to lead and {leader.server.name} does",
                resolution="Run the same command again: it plans anew from what it sees.",
            )
        return leader

    def _servers(self) -> tuple[Server, ...]:
        endpoint = self.leader.endpoint if self.leader is not None else self.site.vip_endpoint
        try:
            return self.site.api.zone(endpoint).servers
        except UnavailableError:
            return self.site.observe().zone.servers

    def _listed_id(self) -> int:
        if self.listed is not None:
            return self.listed.id
        if self.leader is None:
            raise RefusedError("the zone has no leader to add a server to")
        return self.site.api.add_server(self.leader.endpoint, self.host.name, self.endpoint)


def ship_until_level(site: Site, source: Host, host: Host) -> None:
    """Ship the log to a stopped node in rounds, until one is small or they become no smaller.

    :raises StepFailedError: if the zone writes faster than its log can be shipped.
    """

    def ship() -> int:
        shipped = site.frontends.ship_log(source, host)
        site.reporter.progress(f"{shipped} log records shipped to {host.name}")
        return shipped

    slow = "its log can be shipped"
    until_level(ship, tiny=SMALL_ROUND_RECORDS, source=source, host=host, slow=slow)


def require_parity_before_start(site: Site, source: Host, host: Host) -> None:
    """Prove a seeded node, whose ``oned`` does not run, equal to its source.

    :raises StepFailedError: if a table differs.
    """
    require_parity_brought(
        site,
        source,
        host.name,
        bring=lambda index: site.frontends.ship_log(source, host, up_to=index),
        read=lambda: site.frontends.table_checksums(host),
        resolution=(
            "It does not run and harms nobody. Drop its database, then run the same command "
            "again: it seeds the node anew."
        ),
    )
