"""Raft among the machines in memory, as far as a rollout can tell.

What the facts call measured or read in the source is kept: one heartbeat every 0.5 s, the
warm-up of 15 s, a first timeout that is not randomised, votes that look at terms and logs and
never at membership, servers read from the database at the start and by a candidate and by
nobody else, a follower that applies a record only when it hears that it was committed, and a
leader that is toppled by a server with other secrets.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from tests.fakes.frontends import Change, FakeDatabase
from tests.fakes.zone import ACTION, INTERNAL, refusal

from onebaton.model import EMPTY_LOG_INDEX, RaftState, Server

TICK_S = 0.1
WARM_UP_S = 15.0
HEARTBEAT_S = 0.5
#: Raft's own catch-up, one record a round trip: 80 a second.
RECORDS_A_TICK = 8
#: A rejected leader's −1, read as an unsigned term.
TERM_OF_OTHER_SECRETS = 4294967295
ZONE_POOL = "zone_pool"


def servers_in(database: FakeDatabase) -> dict[int, Server]:
    """The zone's servers, as a database has them."""
    rows = database.tables.get(ZONE_POOL, {})
    return {
        int(key): Server(int(key), *row.split(" ", 1)) for key, row in rows.items() if row != ""
    }


@dataclass
class Oned:
    """One running ``oned``: what it holds in memory.

    :param machine: name of the machine it runs on.
    :param servers: the zone's servers as it read them last.
    :param patience_s: its election timeout.
    :param heard_at: when it heard a leader last; its start puts it into the future.
    """

    machine: str
    server_id: int
    secrets: str | None
    version: str
    database: FakeDatabase
    servers: dict[int, Server]
    patience_s: float
    heard_at: float
    state: RaftState = RaftState.FOLLOWER
    term: int = 0
    voted_for: int = -1
    leader_id: int = -1
    commit: int = EMPTY_LOG_INDEX
    retry_at: float = 0.0

    @property
    def last(self) -> tuple[int, int]:
        """Term and index of its last record."""
        index = self.database.last_index
        return self.database.log[index][0] if self.database.log else 0, index

    def follow(self, term: int) -> None:
        """Be a follower, of a newer term if it is newer."""
        self.state = RaftState.FOLLOWER
        self.leader_id = -1
        self.commit = self.database.applied
        if term > self.term:
            self.term, self.voted_for = term, -1


@dataclass(frozen=True, slots=True)
class Append:
    """``one.zone.replicate``, as it is on its way: records, or none in a heartbeat.

    :param after: index of the record that the receiver has to hold before these, and its term.
    """

    term: int
    leader_id: int
    secrets: str | None
    after: tuple[int, int]
    records: Sequence[tuple[int, tuple[int, Change]]]
    commit: int


class Surroundings(Protocol):
    """What Raft needs of the machines."""

    def oned_at(self, endpoint: str) -> Oned | None:
        """The ``oned`` that answers another one at an endpoint."""
        ...

    def leads(self, oned: Oned) -> None:
        """It has won an election: its hook runs."""
        ...

    def leads_no_more(self, oned: Oned) -> None:
        """It led and follows now: its hook runs."""
        ...

    def carries(self, one: str, other: str, late: Callable[[], object]) -> bool:
        """A message from machine to machine arrives now.

        :param late: what it does when it arrives later, if it is not lost altogether.
        """
        ...


@dataclass
class Raft:
    """All ``oned`` that run, by machine.

    :ivar deaf: machines whose ``oned`` hears its leader and never stores a record.
    :ivar no_database: machines whose MariaDB does not answer: nothing is stored, no vote is
        given, and a leader goes on leading (one#4336).
    :ivar busy: leaders that have something to send besides heartbeats.
    :ivar heard_by_majority: when each leader was answered by a majority last.
    """

    surroundings: Surroundings
    oneds: dict[str, Oned] = field(default_factory=dict)
    now: float = 0.0
    heartbeat_at: float = 0.0
    deaf: set[str] = field(default_factory=set)
    no_database: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    heard_by_majority: dict[str, float] = field(default_factory=dict)

    @property
    def leaders(self) -> list[Oned]:
        return [o for o in self.oneds.values() if o.state is RaftState.LEADER]

    def tick(self, now: float) -> None:
        """Let time go on to a moment."""
        self.now = now
        beat = now >= self.heartbeat_at
        if beat:
            self.heartbeat_at = now + HEARTBEAT_S
        for leader in self.leaders:
            if beat or leader.machine in self.busy:
                self.replicate(leader)
        self._elect()

    def leader_for(self, oned: Oned) -> Oned:
        """Whom a write goes to that arrives here.

        :raises ZoneRefusal: if it knows none.
        """
        if oned.state in (RaftState.LEADER, RaftState.SOLO):
            return oned
        if oned.state is RaftState.CANDIDATE:
            raise refusal(INTERNAL, "Cannot process request, oned cluster in election mode")
        known = oned.servers.get(oned.leader_id)
        if known is None:
            # Also the leader that was added after this server's start: never restarted, it
            # does not know it.
            raise refusal(INTERNAL, "Cannot process request, no leader found")
        leader = self.surroundings.oned_at(known.endpoint)
        reached = leader is not None and self._carries(oned, leader) and self._carries(leader, oned)
        if leader is None or not reached or leader.state is not RaftState.LEADER:
            raise refusal(INTERNAL, f"Cannot contact the leader at {known.endpoint}")
        return leader

    def append(self, leader: Oned, change: Change) -> int:
        """Log a record at the leader, send it around; committed if a majority has it.

        :raises ZoneRefusal: if its MariaDB does not answer.
        """
        if leader.machine in self.no_database:
            raise refusal(INTERNAL, "Cannot write to the database")
        if leader.state is RaftState.SOLO:
            leader.commit = leader.database.append(leader.term, change)
            return leader.commit
        index = leader.database.append(leader.term, change, apply=False)
        self.replicate(leader)
        return index

    def change_servers(self, leader: Oned, server: Server, *, added: bool) -> int:
        """``addserver`` logs before the new one counts, ``delserver`` after it counts no more."""
        row = f"{server.name} {server.endpoint}" if added else ""
        if not added:
            if server.id not in leader.servers:
                raise refusal(ACTION, "SERVER not found in zone")
            if leader.machine not in self.no_database:
                del leader.servers[server.id]
        index = self.append(leader, (ZONE_POOL, str(server.id), row))
        if added:
            leader.servers[server.id] = server
        return index

    def replicate(self, leader: Oned) -> None:
        """One round: records or a heartbeat to each server, then what a majority has is applied."""
        broken = leader.machine in self.no_database
        newest = leader.database.last_index
        have = [EMPTY_LOG_INDEX if broken else newest]
        answers = 1
        for peer in self._peers(leader):
            if peer.secrets != leader.secrets:
                self._step_down(leader, TERM_OF_OTHER_SECRETS)
                return
            append = self._append_for(leader, peer)
            if not self.surroundings.carries(
                leader.machine, peer.machine, Late(self, peer, append)
            ):
                continue
            stored = self.receive(peer, append)
            if not self._carries(peer, leader):
                continue
            if stored is None:
                self._step_down(leader, peer.term)
                return
            have.append(stored)
            answers += 1
        if answers > len(leader.servers) // 2:
            self.heard_by_majority[leader.machine] = self.now
        if broken:
            return
        have += [EMPTY_LOG_INDEX] * (len(leader.servers) - len(have))
        agreed = sorted(have, reverse=True)[len(leader.servers) // 2]
        leader.commit = max(leader.commit, agreed)
        leader.database.apply_to(leader.commit)
        level = leader.commit == newest and all(stored == newest for stored in have[:answers])
        (self.busy.discard if level else self.busy.add)(leader.machine)

    def heartbeat(self, oned: Oned, term: int) -> None:
        """A heartbeat from outside that carries nothing.

        :raises ZoneRefusal: if its term is over.
        """
        if term < oned.term:
            raise refusal(ACTION, f"Leader term ({term}) is outdated ({oned.term})")
        if term > oned.term or oned.state is RaftState.CANDIDATE:
            self._step_down(oned, term)
        oned.heard_at = self.now

    def _peers(self, oned: Oned) -> list[Oned]:
        found = (
            self.surroundings.oned_at(server.endpoint)
            for server in oned.servers.values()
            if server.id != oned.server_id
        )
        return [peer for peer in found if peer is not None and peer.state is not RaftState.SOLO]

    def _carries(self, one: Oned, other: Oned) -> bool:
        return self.surroundings.carries(one.machine, other.machine, nothing)

    def _append_for(self, leader: Oned, peer: Oned) -> Append:
        """What the leader sends next, by what it found out of the other's log."""
        ours, theirs = leader.database.log, peer.database.log
        newest = leader.database.last_index
        match = min(peer.database.last_index, newest)
        while match in theirs and match in ours and theirs[match][0] != ours[match][0]:
            match -= 1
        records: Sequence[tuple[int, tuple[int, Change]]] = ()
        if match != EMPTY_LOG_INDEX and (match not in ours or match not in theirs):
            after = newest + 1, 0  # fallen out of the window: nothing it has can be built on
        else:
            after = match, ours[match][0] if match in ours else 0
            if match < newest:
                last = min(match + RECORDS_A_TICK, newest)
                records = [(index, ours[index]) for index in range(match + 1, last + 1)]
        return Append(leader.term, leader.server_id, leader.secrets, after, records, leader.commit)

    def receive(self, peer: Oned, append: Append) -> int | None:
        """What a server does with what a leader sent, whenever it comes.

        :returns: index up to which its log is the leader's; ``None`` if that one's term is over.
        """
        if append.term < peer.term or append.secrets != peer.secrets:
            return None
        if peer.term < append.term or peer.state is not RaftState.FOLLOWER:
            self._step_down(peer, append.term)
        peer.leader_id = append.leader_id
        peer.heard_at = self.now  # also in the warm-up: a heartbeat ends it
        log = peer.database.log
        index, term = append.after
        if index != EMPTY_LOG_INDEX and (index not in log or log[index][0] != term):
            return EMPTY_LOG_INDEX  # fell out of the window: stands still for ever
        if peer.machine in self.no_database:
            return EMPTY_LOG_INDEX
        if peer.machine not in self.deaf:
            for number, record in append.records:
                self._store(peer, number, record)
                index = number
        peer.commit = max(peer.commit, min(index, append.commit))
        peer.database.apply_to(peer.commit)
        return index

    def _store(self, peer: Oned, index: int, record: tuple[int, Change]) -> None:
        log = peer.database.log
        if index in log and log[index][0] == record[0]:
            return
        if index <= peer.database.last_index:
            assert peer.database.applied < index, f"{peer.machine} drops applied records"
            for later in range(index, peer.database.last_index + 1):
                del log[later]
        log[index] = record

    def _elect(self) -> None:
        standing = [o for o in self.oneds.values() if self._stands(o)]
        for oned in standing:
            # A candidate reads the servers anew.
            oned.servers = servers_in(oned.database)
            oned.state, oned.leader_id = RaftState.CANDIDATE, -1
            oned.term, oned.voted_for = oned.term + 1, oned.server_id
            # Whether it wins or not, it stands again only after up to a whole timeout.
            chance = (oned.server_id * 7919 + oned.term * 104729) % 97 / 97
            oned.retry_at = self.now + TICK_S + chance * oned.patience_s
        for oned in standing:
            if oned.state is RaftState.CANDIDATE:
                self._ask_votes(oned, oned.term)

    def _stands(self, oned: Oned) -> bool:
        if oned.machine in self.no_database:
            return False
        if oned.state is RaftState.CANDIDATE:
            return self.now >= oned.retry_at
        patient = self.now - oned.heard_at < oned.patience_s or self.now < oned.retry_at
        return oned.state is RaftState.FOLLOWER and not patient

    def _ask_votes(self, candidate: Oned, term: int) -> None:
        votes = 1 + sum(self._has_vote(peer, candidate, term) for peer in self._peers(candidate))
        if candidate.state is not RaftState.CANDIDATE or candidate.term != term:
            return
        if votes > len(candidate.servers) // 2:
            candidate.state, candidate.leader_id = RaftState.LEADER, candidate.server_id
            candidate.commit = candidate.database.applied
            self.heard_by_majority[candidate.machine] = self.now
            self.replicate(candidate)
            if candidate.state is RaftState.LEADER:
                self.surroundings.leads(candidate)

    def _has_vote(self, peer: Oned, candidate: Oned, term: int) -> bool:
        last = candidate.last

        def late() -> None:
            if self.oneds.get(peer.machine) is peer:
                self._votes(peer, candidate, term, last)

        if not self.surroundings.carries(candidate.machine, peer.machine, late):
            return False
        granted = self._votes(peer, candidate, term, last)
        if not self._carries(peer, candidate):
            return False
        if peer.term > term and candidate.term == term:
            self._step_down(candidate, peer.term)
        return granted

    def _votes(self, voter: Oned, candidate: Oned, term: int, last: tuple[int, int]) -> bool:
        if voter.machine in self.no_database:
            return False
        if voter.secrets != candidate.secrets or term < voter.term:
            return False
        if term > voter.term:
            self._step_down(voter, term)
        if voter.last > last or voter.voted_for not in (-1, candidate.server_id):
            return False
        voter.voted_for = candidate.server_id
        return True

    def _step_down(self, oned: Oned, term: int) -> None:
        led = oned.state is RaftState.LEADER
        oned.follow(term)
        if led:
            oned.heard_at = self.now
            self.surroundings.leads_no_more(oned)


@dataclass(frozen=True, slots=True)
class Late:
    """A message that comes too late for whoever waited for its answer."""

    raft: Raft
    peer: Oned
    append: Append

    def __call__(self) -> None:
        """It arrives, if there is still somebody."""
        if self.raft.oneds.get(self.peer.machine) is self.peer:
            self.raft.receive(self.peer, self.append)


def nothing() -> None:
    """An answer that comes late is of no use."""
