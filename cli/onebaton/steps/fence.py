"""Fence: a server whose machine does not answer goes with its machine."""

from dataclasses import dataclass

from onebaton.errors import RefusedError
from onebaton.model import RaftState, Server
from onebaton.steps.seeing import against_stopping, expected_leader
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check


@dataclass(frozen=True, slots=True)
class FenceStep:
    """Destroy the machine first, then take the server off the list.

    ``oned`` grants votes to anybody who knows the secret, member or not: a server that nobody
    can reach may run all the same. With its machine gone it does not, and only then is it
    deleted (source note).

    :param node: name of its machine, the platform's.
    """

    id: str
    site: Site
    node: str
    server: Server
    leader: Server

    def check(self) -> Check:
        """Blocked if it leads, or if the expected leader does not."""
        objection = against_stopping(self.site, self.leader, self.server)
        if objection is not None:
            return objection
        listed = self.server in self.site.api.zone(self.leader.endpoint).servers
        return NEEDED if listed or self._is_there() else DONE

    def apply(self) -> None:
        """Destroy, see it gone, delserver."""
        site = self.site
        kept = [n.spec for n in site.platform.nodes() if n.spec.name != self.node]
        if self._is_there():
            site.platform.apply(kept)
        if self._is_there():
            raise RefusedError(
                f"{self.node} is not seen gone: {self.server.name} stays in the zone",
                resolution="Look at what the platform holds of it, then run the command again.",
            )
        leader = self.leader
        expected_leader(site, leader)
        if self.server in site.api.zone(leader.endpoint).servers:
            site.api.delete_server(leader.endpoint, self.server.id)

    def verify(self) -> None:
        """The leader still leads, and no longer lists it."""

        def look() -> bool | str:
            status = self.site.api.raft_status(self.leader.endpoint)
            if status.state is not RaftState.LEADER:
                return f"{self.leader.name} is {status.state.name.lower()}"
            listed = {s.id for s in self.site.api.zone(self.leader.endpoint).servers}
            return "still listed" if self.server.id in listed else True

        site = self.site
        site.wait_for(
            f"{self.server.name} to be out of the zone", look, timeout_s=site.timeouts.election_s
        )

    def _is_there(self) -> bool:
        return any(node.spec.name == self.node for node in self.site.platform.nodes())
