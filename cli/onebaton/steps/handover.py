"""Hand over: the old leader is cut off, a chosen new node leads."""

from dataclasses import dataclass

from onebaton.errors import OnebatonError, RefusedError
from onebaton.model import Host, RaftState, Server
from onebaton.steps.seeing import (
    expected_leader,
    require_parity,
    wait_one_vip_holder,
    wait_write_through,
)
from onebaton.steps.site import Site
from onebaton.steps.step import DONE, NEEDED, Check, blocked

#: How long the old leader refuses new requests before it is killed. What was accepted until
#: then reaches every follower, so that none is ahead of the one that shall win: one record
#: takes ~12-18 ms (measured note: 55-90 records a second).
DRAIN_S = 0.2
#: How far behind the chosen node may be when the drain begins: what it takes in that time.
LEVEL_RECORDS = 8


@dataclass(frozen=True, slots=True)
class HandOverStep:
    """The one election of a roll.

    OpenNebula has no call that transfers leadership. SIGKILL of the leader lost nothing and
    is quicker than a stop, which refuses requests at once but takes 6 s (measured notes);
    what a stop would do besides, giving back the VIP and the lock, is done for it.

    :param others: machines of the servers that stay, besides the new leader's.
    """

    id: str
    site: Site
    old: Server
    old_host: Host
    new: Server
    new_host: Host
    others: tuple[Host, ...]

    def check(self) -> Check:
        """Blocked unless the old one leads and the new one is level with it.

        Done when the new one leads, or the old one is seen stopped and masked: then a run was
        killed in between, and only the election is still to be waited for.

        With the old leader goes the last of the old databases. A server that fails to apply a
        record marks it applied all the same (source note), and a run that found a difference
        may have been started again: so all that stay are compared once more.

        :raises StepFailedError: if the database of a server that stays differs.
        """
        own = self.site.api.raft_status(self.new.endpoint)
        if own.state is RaftState.LEADER:
            return DONE
        old = self.site.frontends.facts(self.old_host)
        if old.oned_masked and not old.oned_active and not old.holds_vip:
            return DONE
        try:
            expected_leader(self.site, self.old)
            self._require_parity()
            ahead = expected_leader(self.site, self.old)
        except RefusedError as error:
            return blocked(error.message)
        own = self.site.api.raft_status(self.new.endpoint)
        if own.term != ahead.term:
            return blocked(f"{self.new.name} is in term {own.term}, the leader in {ahead.term}")
        if ahead.log_index - own.log_index > self.site.gates.max_lag_records:
            return blocked(f"{self.new.name} is {ahead.log_index - own.log_index} records behind")
        return NEEDED

    def _require_parity(self) -> None:
        """The new leader's machine with the old one's, and the others with the new leader's."""
        require_parity(self.site, self.old_host, self.new_host)
        for other in self.others:
            require_parity(self.site, self.new_host, other)

    def apply(self) -> None:
        """Wait for a moment at which the chosen one lacks next to nothing, then cut off.

        A candidate whose log is behind a voter's is refused its vote, and the next try takes
        a whole election timeout.
        """
        self.site.wait_for(
            f"{self.new.name} to be level with {self.old.name}",
            self._level,
            timeout_s=self.site.timeouts.catch_up_s,
            interval_s=0.1,
        )
        self.site.frontends.cut_off_leader(self.old_host, drain_s=DRAIN_S)

    def _level(self) -> bool | str:
        ahead = expected_leader(self.site, self.old)
        lag = ahead.log_index - self.site.api.raft_status(self.new.endpoint).log_index
        return True if lag <= LEVEL_RECORDS else f"{lag} records behind"

    def verify(self) -> None:
        """The chosen node leads, holds the VIP alone, and takes a write."""
        site = self.site

        def look() -> bool | str:
            try:
                own = site.api.raft_status(self.new.endpoint)
            except OnebatonError as error:
                return error.message
            return True if own.state is RaftState.LEADER else own.state.name.lower()

        site.wait_for(
            f"{self.new.name} to lead", look, timeout_s=site.timeouts.election_s, interval_s=0.1
        )
        wait_write_through(site, "the virtual IP", site.vip_endpoint)
        wait_one_vip_holder(site, self.new_host)
