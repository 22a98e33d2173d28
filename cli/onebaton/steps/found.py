"""Found: a zone's first server, by the documented way: solo, server 0, restart, leader."""

from dataclasses import dataclass

from onebaton.errors import OnebatonError
from onebaton.model import Host, RaftState, Secret
from onebaton.steps.seeing import wait_one_vip_holder, wait_write_through
from onebaton.steps.site import Site
from onebaton.steps.step import NEEDED, Check

#: FEDERATION/SERVER_ID of a server that runs alone, outside of any Raft group.
SOLO_ID = -1


@dataclass(frozen=True, slots=True)
class FoundStep:
    """Make a node the only server, and so the leader, of a new zone.

    :param credentials: user and password of the new zone's oneadmin.
    """

    id: str
    site: Site
    host: Host
    endpoint: str
    credentials: tuple[str, Secret]

    def check(self) -> Check:
        """Needed for as long as the plan says so: each part looks for itself."""
        return NEEDED

    def apply(self) -> None:
        """Database, secret, solo start, addserver, restart as that server."""
        site = self.site
        if site.frontends.facts(self.host).database is None:
            site.frontends.create_database(self.host)
            site.frontends.set_password(self.host, *self.credentials)
        server_id = self._listed_id()
        if server_id is None:
            self._start_as(SOLO_ID, ())
            server_id = site.wait_for(
                f"{self.host.name} to answer alone",
                self._add_itself,
                timeout_s=site.timeouts.start_s,
            )
        if site.frontends.facts(self.host).server_id != server_id:
            # A solo server's API has to be started anew to become a member (measured note).
            site.frontends.stop(self.host, mask=False, timeout_s=site.timeouts.stop_s)
        self._start_as(server_id, (server_id,))

    def verify(self) -> None:
        """It leads, holds the VIP alone, and takes a write."""
        site = self.site

        def look() -> bool | str:
            try:
                own = site.api.raft_status(self.endpoint)
            except OnebatonError as error:
                return error.message
            if own.state is RaftState.LEADER:
                return True
            # Nobody else can lead; a heartbeat that carries nothing ends the 15 s warm-up.
            site.api.heartbeat(self.endpoint, own.term + 1)
            return own.state.name.lower()

        site.wait_for(
            f"{self.host.name} to lead its zone",
            look,
            timeout_s=site.timeouts.election_s,
            interval_s=site.oned.election_timeout_ms / 1000 + 1.0,
        )
        wait_one_vip_holder(site, self.host)
        wait_write_through(site, "the virtual IP", site.vip_endpoint)

    def _listed_id(self) -> int | None:
        """Its id in its own zone, ``None`` while it is not listed or does not answer."""
        facts = self.site.frontends.facts(self.host)
        if facts.server_id is not None and facts.server_id >= 0 and facts.database is not None:
            return facts.server_id
        return None

    def _add_itself(self) -> int:
        return self.site.api.add_server(self.endpoint, self.host.name, self.endpoint)

    def _start_as(self, server_id: int, server_ids: tuple[int, ...]) -> None:
        site = self.site
        if not site.frontends.facts(self.host).oned_active:
            site.frontends.configure(
                self.host,
                server_id=server_id,
                election_timeout_ms=site.oned.election_timeout_ms,
                server_ids=server_ids,
            )
            site.frontends.start(self.host, timeout_s=site.timeouts.start_s)
