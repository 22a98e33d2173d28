"""Swap: a server is stopped, and a new machine takes the place of its machine."""

from dataclasses import dataclass

from onebaton.errors import OnebatonError, UnavailableError
from onebaton.model import Host, NodeSpec, NodeState, RaftState, Server
from onebaton.plan.quorum import majority
from onebaton.steps.seeing import (
    against_stopping,
    expected_leader,
    require_put_away,
    wait_leads_on,
)
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check


@dataclass(frozen=True, slots=True)
class SwapStep:
    """Stop and mask it, see that the others hold all that was written, make its machine anew.

    The zone lists it as before; a seed and a join bring it back under its id.

    :param host: its machine, the old one.
    :param node: the new one, of the same name and address.
    :param answers: the old one was seen over ssh. One that was not goes as it is: only when it
        is gone it can neither run nor vote.
    """

    id: str
    site: Site
    host: Host
    server: Server
    leader: Server
    node: NodeSpec
    answers: bool = True

    def check(self) -> Check:
        """Blocked if it leads, or if the expected leader does not.

        Done when the new machine is there.
        """
        objection = against_stopping(self.site, self.leader, self.server)
        if objection is not None:
            return objection
        return DONE if self._is_made() else NEEDED

    def apply(self) -> None:
        """Stop, prove, exchange. The old machine and its database end here.

        :raises StepFailedError: if it is not seen stopped and masked.
        :raises DeadlineError: if no majority comes to hold what the leader holds.
        """
        site = self.site
        try:
            site.frontends.stop(self.host, mask=True, timeout_s=site.timeouts.stop_s)
            require_put_away(self.host, site.frontends.facts(self.host))
        except UnavailableError:
            if self.answers:
                raise
        self._wait_held_by_others()
        self._exchange()

    def verify(self) -> None:
        """The new machine has booted, lets us in, runs its database, and the leader leads on."""
        site = self.site
        for node in site.platform.nodes():
            if node.spec == self.node:
                site.frontends.wait_ready(node.host, timeout_s=site.timeouts.boot_s)
        wait_leads_on(site, self.leader)

    def _exchange(self) -> None:
        """Make the one machine anew; another one that vanished meanwhile has its turn later."""
        platform = self.site.platform
        there = [node for node in platform.nodes() if node.state is not NodeState.VANISHED]
        wanted = {node.spec.name: node.spec for node in there} | {self.node.name: self.node}
        platform.apply([wanted[name] for name in sorted(wanted)])

    def _is_made(self) -> bool:
        nodes = self.site.platform.nodes()
        return any(n.spec == self.node and n.state is NodeState.RUNNING for n in nodes)

    def _wait_held_by_others(self) -> None:
        """A majority of the voters, this one not counted, holds all that the leader holds now.

        What it acknowledged was stored by a majority to which this one may have belonged. What
        comes from now on is stored by the others. Then its database is the only copy of nothing.

        :raises DeadlineError: if that is not seen in time.
        :raises RefusedError: if another server leads, or none.
        """
        site = self.site
        servers = site.api.zone(self.leader.endpoint).servers
        others = [server for server in servers if server.id != self.server.id]
        index = expected_leader(site, self.leader).log_index
        needed = majority(len(servers))

        def look() -> bool | str:
            term = expected_leader(site, self.leader).term
            holding = [server.name for server in others if self._holds(server, term, index)]
            if len(holding) >= needed:
                return True
            return f"{', '.join(holding)} hold record {index}, and {needed} must"

        site.wait_for(
            f"{needed} of the other servers to hold record {index}",
            look,
            timeout_s=site.timeouts.catch_up_s,
            interval_s=0.2,
        )

    def _holds(self, server: Server, term: int, index: int) -> bool:
        """It follows, or is, the leader of this term, and has the record."""
        try:
            own = self.site.api.raft_status(server.endpoint)
        except OnebatonError:
            return False
        serves = own.state in (RaftState.FOLLOWER, RaftState.LEADER)
        return serves and own.term == term and own.log_index >= index
