"""What makes a server healthy: only what was seen healthy is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from onebaton.model import Health, RaftState, RaftStatus, Server, Zone

#: What a server answers as its term when the secrets differ: −1, unsigned (read in the source).
TERM_OF_OTHER_SECRETS = 4294967295


@dataclass(frozen=True, slots=True)
class Said:
    """What one server answered; ``problem`` when it did not, or not all.

    :param read_at: when ``raft`` was read, on the clock that never goes back.
    """

    raft: RaftStatus | None = None
    read_at: float = 0.0
    zone: Zone | None = None
    version: str | None = None
    health: Health = Health.HEALTHY
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Leader:
    """The one leader: its server, its words, and when its log index was read."""

    server: Server
    raft: RaftStatus
    zone: Zone
    read_at: float


@dataclass(frozen=True, slots=True)
class Judge:
    """What makes a server healthy, given the leader (``None``: there is not exactly one)."""

    leader: Leader | None
    leaders: Sequence[Server]
    max_lag_records: int

    def lag(self, raft: RaftStatus | None) -> int | None:
        if raft is None or self.leader is None:
            return None
        return max(0, self.leader.raft.log_index - raft.log_index)

    def judged(self, server: Server, said: Said) -> Said:
        """The same, with its health and the problem."""
        if said.health is not Health.HEALTHY or said.raft is None:
            return said
        problem = self._wrong_raft(server, said.raft)
        if problem is None and self.leader is not None and server != self.leader.server:
            lag = self.lag(said.raft)
            if lag is not None and lag > self.max_lag_records:
                return replace(
                    said,
                    health=Health.LAGGING,
                    problem=f"{lag} records behind the leader (allowed: {self.max_lag_records})",
                )
            problem = self._wrong_zone(said.zone, self.leader.zone)
        if problem is None:
            return said
        return replace(said, health=Health.UNHEALTHY, problem=problem)

    def _wrong_raft(self, server: Server, raft: RaftStatus) -> str | None:
        problem = None
        if raft.server_id != server.id:
            problem = (
                f"calls itself server {raft.server_id}, the zone knows it as {server.id}: "
                "its SERVER_ID is wrong"
            )
        elif raft.state in (RaftState.SOLO, RaftState.CANDIDATE):
            problem = f"is {'solo' if raft.state is RaftState.SOLO else 'a candidate'}"
        elif raft.term == TERM_OF_OTHER_SECRETS:
            problem = "is in term −1: a server with other secrets answered its call"
        elif len(self.leaders) > 1:
            names = ", ".join(leader.name for leader in self.leaders)
            problem = f"the zone has {len(self.leaders)} leaders: {names}"
        elif self.leader is None:
            problem = "the zone has no leader"
        elif raft.term != self.leader.raft.term:
            problem = f"is in term {raft.term}, the leader in term {self.leader.raft.term}"
        return problem

    @staticmethod
    def _wrong_zone(theirs: Zone | None, leaders: Zone) -> str | None:
        wanted = [server.id for server in leaders.servers]
        seen = [server.id for server in theirs.servers] if theirs is not None else []
        if seen == wanted:
            return None
        return f"lists the servers {_listed(seen)}, the leader lists {_listed(wanted)}"


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(str(number) for number in ids) or "none"
