"""Raft as OpenNebula does it (source: ``RaftManager.cc``), its weak spots included.

What the tool relies on or must step around: the warm-up after the start, the
first timeout that is not random, votes that look at secrets and terms only, a
server list that only a candidate reads anew.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from onecore.client import CallFailed, call_once
from onecore.places import read_one_auth
from onecore.xmlrpc import Long, Param
from oned.hooks import RaftHook
from oned.journal import Journal
from oned.logdb import LogDB
from oned.replication import TERM_MASK, Replicas, Waiting, unpack_answer
from oned.settings import Raft as RaftSettings

SOLO, CANDIDATE, FOLLOWER, LEADER = range(4)
_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Actions:
    """What the rest of the server gives Raft.

    :ivar servers: reads id and endpoint of every server from ``zone_pool``.
    :ivar became_leader: called after this server has become leader.
    """

    servers: Callable[[], dict[int, str]]
    became_leader: Callable[[], None]


class Raft:
    """This server's part in the zone."""

    def __init__(
        self,
        server_id: int,
        settings: RaftSettings,
        log: LogDB,
        journal: Journal,
        actions: Actions,
        *,
        hooks: tuple[RaftHook | None, RaftHook | None],
        warmup_s: float,
        row_delay_ms: float,
    ) -> None:
        self.server_id = server_id
        self.settings = settings
        self.log = log
        self.journal = journal
        self._actions = actions
        self._leader_hook, self._follower_hook = hooks
        self.lock = threading.RLock()
        saved = log.load_state()
        if saved is None:
            self.term, self.voted_for = 0, -1
            log.save_state(0, -1)
        else:
            self.term, self.voted_for = saved
        self.commit = 0
        self.leader_id = -1
        self.reconciling = False
        self.servers = actions.servers()
        self.next: dict[int, int] = {}
        self.match: dict[int, int] = {}
        self.waiting = Waiting()
        self._ending = threading.Event()
        self._replicas = Replicas(self, heartbeats=False, row_delay_ms=row_delay_ms)
        self._heartbeats = Replicas(self, heartbeats=True, row_delay_ms=0.0)
        if server_id == -1:
            journal.info("ONE", "oned started in solo mode.")
            self.state = SOLO
        else:
            journal.info("RCM", "oned started in follower mode")
            self.state = FOLLOWER
        self._last_heartbeat = time.monotonic() + warmup_s
        if self.state == FOLLOWER and self._follower_hook is not None:
            self._follower_hook.start()
        self._timer = threading.Thread(target=self._tick, name="raft-timer", daemon=True)
        self._purger = threading.Thread(target=self._purge, name="raft-purge", daemon=True)

    def start(self) -> None:
        """Let time run."""
        self._timer.start()
        self._purger.start()

    def finish(self) -> None:
        """Step back before the server ends.

        A candidate stays in its election until it wins or hears of a leader, and
        this waits for it: the reason why ``systemctl stop`` of a server without a
        quorum ends in SIGKILL (measured).
        """
        self._ending.set()
        while self._timer.is_alive():
            self._timer.join(timeout=1.0)
        if self.is_leader():
            self.follower(0)

    def is_leader(self) -> bool:
        """Whether this server leads."""
        with self.lock:
            return self.state == LEADER

    def is_follower(self) -> bool:
        """Whether this server follows."""
        with self.lock:
            return self.state == FOLLOWER

    def is_candidate(self) -> bool:
        """Whether this server stands for election."""
        with self.lock:
            return self.state == CANDIDATE

    def leader_endpoint(self) -> str | None:
        """Where the leader is; None for one that is not in the list this server has."""
        with self.lock:
            return None if self.leader_id == -1 else self.servers.get(self.leader_id)

    def _tick(self) -> None:
        while not self._ending.wait(_TICK_S):
            if self.server_id < 0:
                continue
            now = time.monotonic()
            stand = False
            with self.lock:
                since = now - self._last_heartbeat
                if self.state == LEADER:
                    if since >= self.settings.broadcast_timeout_ms / 1000:
                        self._heartbeats.wake_all()
                        self._last_heartbeat = now
                elif self.state == FOLLOWER and since >= self.settings.election_timeout_ms / 1000:
                    self.journal.error(
                        "RRM", "Failed to get heartbeat from leader. Starting election proccess"
                    )
                    self.state = CANDIDATE
                    stand = True
            if stand:
                self._request_votes()

    def _purge(self) -> None:
        while not self._ending.wait(self.settings.log_purge_timeout_s):
            try:
                self.log.purge()
            except Exception as error:  # noqa: BLE001 - a purge that fails must not end it
                self.journal.error("DBM", f"Cannot purge the log: {error}")

    def _request_votes(self) -> None:
        servers = self._actions.servers()
        while True:
            with self.lock:
                if self.state != CANDIDATE:
                    return
                self.servers = servers
                self.term = (self.term + 1) & TERM_MASK
                self.voted_for = self.server_id
                self.leader_id = -1
                term = self.term
            self.log.save_state(term, self.voted_for)
            if self._ask_all(servers, term):
                return
            with self.lock:
                if self.state != CANDIDATE:
                    return
                self.voted_for = -1
            self.log.save_state(term, -1)
            pause_ms = int(random.random() * self.settings.election_timeout_ms)
            self.journal.info("RCM", f"No leader found, starting new election in {pause_ms}ms")
            time.sleep(pause_ms / 1000)

    def _ask_all(self, servers: dict[int, str], term: int) -> bool:
        """One round; true if the election is over for this server."""
        index, log_term = self.log.last()
        needed = len(servers) // 2
        granted = 0
        for server_id, endpoint in sorted(servers.items()):
            if server_id == self.server_id:
                continue
            try:
                secret = read_one_auth()
                granted_here, other_term, error = self.exchange(
                    endpoint,
                    "one.zone.voterequest",
                    [secret, term, self.server_id, Long(index), log_term],
                )
            except (CallFailed, OSError) as failure:
                self.journal.info(
                    "RCM", f"Error requesting vote from follower {server_id}:{failure}"
                )
                continue
            if granted_here:
                granted += 1
                self.journal.info(
                    "RCM", f"Got vote from follower {server_id}. Total votes: {granted}"
                )
            else:
                self.journal.info("RCM", f"Vote not granted from follower {server_id}: {error}")
                if other_term > term:
                    self.journal.info(
                        "RCM",
                        f"Follower {server_id} is in term {other_term} current term is {term}. "
                        "Turning into follower",
                    )
                    self.follower(other_term)
                    return True
            if granted >= needed:
                self.journal.info("RCM", "Got majority of votes")
                break
        if granted >= needed:
            self._lead()
            return True
        return False

    def exchange(self, endpoint: str, method: str, params: list[Param]) -> tuple[bool, int, str]:
        """Ask another server over a connection of its own.

        :returns: whether it agreed, its term, its message.
        :raises CallFailed: if it does not answer in time.
        """
        answer = call_once(endpoint, method, params, self.timeout_s)
        return unpack_answer(answer)

    @property
    def timeout_s(self) -> float:
        """Deadline of a call to another server; 0 in the settings means for ever."""
        milliseconds = self.settings.xmlrpc_timeout_ms
        return milliseconds / 1000 if milliseconds else 86400.0

    def _lead(self) -> None:
        applied, index = self.log.reread()
        with self.lock:
            if self.state != CANDIDATE:
                return
            self.journal.info(
                "RCM",
                f"Becoming leader of the zone. Last log record: {index} last "
                f"applied record: {applied}",
            )
            self.waiting.clear()
            if self._leader_hook is not None:
                self._leader_hook.start()
            self.state = LEADER
            self.commit = applied
            self.leader_id = self.server_id
            self.reconciling = applied < index
            first = index if self.reconciling else index + 1
            others = [one for one in self.servers if one != self.server_id]
            self.next = dict.fromkeys(others, first)
            self.match = dict.fromkeys(others, 0)
            self._replicas.start(others)
            self._heartbeats.start(others)
            self._heartbeats.wake_all()
            self._last_heartbeat = time.monotonic()
        self._actions.became_leader()
        if self.reconciling:
            threading.Thread(
                target=self._reconcile, args=(index,), name="raft-reconcile", daemon=True
            ).start()
        self.journal.info("RCM", "oned is now the leader of the zone")

    def _reconcile(self, index: int) -> None:
        self.journal.info("RCM", "Replicating log to followers")
        self.replicate(index)
        self.journal.info("RCM", "Leader log replicated")
        with self.lock:
            self.reconciling = False

    def follower(self, term: int) -> None:
        """Become a follower, of *term* if it is a newer one."""
        applied, _ = self.log.reread()
        save = False
        with self.lock:
            if self.state == LEADER and self._follower_hook is not None:
                self._follower_hook.start()
            self._replicas.stop()
            self._heartbeats.stop()
            self.state = FOLLOWER
            if term > self.term:
                self.term = term
                self.voted_for = -1
                save = True
            self.commit = applied
            self.leader_id = -1
            self.next = {}
            self.match = {}
            self.journal.info("RCM", "oned is set to follower mode")
            self.waiting.clear()
        if save:
            self.log.save_state(term, -1)

    def heard_from(self, leader_id: int) -> None:
        """A leader has spoken; this also ends the warm-up."""
        with self.lock:
            self.leader_id = leader_id
            self._last_heartbeat = time.monotonic()

    def advance_commit(self, leader_commit: int, index: int) -> int:
        """Take over the leader's commit index as far as the log reaches."""
        with self.lock:
            if leader_commit > self.commit:
                self.commit = min(index, leader_commit)
            return self.commit

    def vote_for(self, candidate_id: int) -> bool:
        """Give the vote of this term, unless another one has it."""
        with self.lock:
            if self.voted_for not in (-1, candidate_id):
                return False
            self.voted_for = candidate_id
            term = self.term
        self.log.save_state(term, candidate_id)
        return True

    def add_server(self, server_id: int, endpoint: str) -> None:
        """Replicate to a new server from now on; only the leader does."""
        index, _ = self.log.last()
        with self.lock:
            if self.state != LEADER:
                return
            self.servers[server_id] = endpoint
            self.next.setdefault(server_id, index + 1)
            self.match.setdefault(server_id, 0)
            self.journal.info(
                "RCM",
                f"Starting replication and heartbeat threads for follower: {server_id}",
            )
            self._replicas.start([server_id])
            self._heartbeats.start([server_id])

    def delete_server(self, server_id: int) -> None:
        """Replicate to a server no longer; only the leader does."""
        with self.lock:
            if self.state != LEADER:
                return
            self.servers.pop(server_id, None)
            self.next.pop(server_id, None)
            self.match.pop(server_id, None)
            self.journal.info(
                "RCM",
                f"Stopping replication and heartbeat threads for follower: {server_id}",
            )
            self._replicas.stop([server_id])
            self._heartbeats.stop([server_id])

    def reset_index(self, server_id: int) -> None:
        """Replicate to a server from the end of the log on."""
        index, _ = self.log.last()
        with self.lock:
            if server_id in self.next:
                self.next[server_id] = index + 1

    def replicate(self, index: int) -> bool:
        """Wait until a majority has record *index*, then apply it here.

        There is no deadline, as in the real one: a leader cut off from its
        followers waits until it hears of another leader.
        """
        with self.lock:
            if self.state != LEADER:
                self.waiting.forget(index)
                return False
            needed = len(self.servers) // 2
            behind = []
            for server_id, following in self.next.items():
                if index < following:
                    needed -= 1
                else:
                    behind.append(server_id)
            request = None
            if needed <= 0:
                self.commit = index
                self.waiting.forget(index)
            else:
                request = self.waiting.expect(index, needed)
            self._replicas.wake(behind)
        if request is not None and not request.wait():
            self.journal.error(
                "DBM", "Cannot replicate log record on followers: oned is now follower"
            )
            return False
        if not self.is_leader():
            self.journal.error("DBM", "Not applying log record, oned is now a follower")
            return False
        return self.log.apply(index)

    def replicated(self, server_id: int) -> bool:
        """A follower has taken its next record.

        :returns: whether there is another one for it.
        """
        last, _ = self.log.last()
        with self.lock:
            index = self.next.get(server_id)
            if index is None:
                return False
            self.match[server_id] = index
            self.next[server_id] = index + 1
            if self.waiting.acknowledge(index):
                self.commit = index
            return last > index and self.state == LEADER and self.waiting.is_replicable(index + 1)

    def rejected(self, server_id: int) -> bool:
        """A follower lacks the record before its next one: go back one.

        :returns: whether to try again.
        """
        with self.lock:
            if self.next.get(server_id, 0) > 0:
                self.next[server_id] -= 1
            return self.state == LEADER

    def to_xml(self) -> str:
        """The answer of ``one.zone.raftstatus``."""
        index, log_term = self.log.last()
        with self.lock:
            if self.state == SOLO:
                index, log_term = -1, -1
            return (
                f"<RAFT><SERVER_ID>{self.server_id}</SERVER_ID><STATE>{self.state}</STATE>"
                f"<TERM>{self.term}</TERM><VOTEDFOR>{self.voted_for}</VOTEDFOR>"
                f"<COMMIT>{self.commit}</COMMIT><LOG_INDEX>{index}</LOG_INDEX>"
                f"<LOG_TERM>{log_term}</LOG_TERM><FEDLOG_INDEX>-1</FEDLOG_INDEX></RAFT>"
            )
