"""Sending records and heartbeats to the followers, a thread for each."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from onecore.client import CallFailed, Connection
from onecore.places import read_one_auth
from onecore.xmlrpc import Long
from oned.record import HEARTBEAT, Record

if TYPE_CHECKING:
    from oned.raft import Raft

_RETRY_FIRST_S = 0.1
_RETRY_MOST_S = 2.5
_NEARLY_LEVEL = 4
_LOOK_S = 60.0
TERM_MASK = (1 << 32) - 1


class Request:
    """A writer waiting for a majority."""

    def __init__(self, needed: int) -> None:
        self.needed = needed
        self.granted = False
        self._done = threading.Event()

    def finish(self, *, granted: bool) -> None:
        """Let the writer go on."""
        self.granted = granted
        self._done.set()

    def wait(self) -> bool:
        """Whether a majority has the record; false if this server leads no longer."""
        while not self._done.wait(_LOOK_S):
            pass
        return self.granted


class Waiting:
    """The writers that wait, by the index of their record."""

    def __init__(self) -> None:
        self._requests: dict[int, Request | None] = {}
        self._lock = threading.Lock()

    def announce(self, index: int) -> None:
        """A writer will wait for *index*; until it does, nobody sends the record.

        Without this a follower's answer could come before its writer waits.
        """
        with self._lock:
            self._requests[index] = None

    def expect(self, index: int, needed: int) -> Request:
        """Wait for *needed* followers to have *index*."""
        request = Request(needed)
        with self._lock:
            self._requests[index] = request
        return request

    def forget(self, index: int) -> None:
        """Nobody waits for *index*."""
        with self._lock:
            self._requests.pop(index, None)

    def acknowledge(self, index: int) -> bool:
        """One more follower has *index*; true if that made the majority."""
        with self._lock:
            request = self._requests.get(index)
            if request is None:
                return False
            request.needed -= 1
            if request.needed > 0:
                return False
            del self._requests[index]
        request.finish(granted=True)
        return True

    def is_replicable(self, index: int) -> bool:
        """Whether *index* may be sent."""
        with self._lock:
            return self._requests.get(index, True) is not None

    def clear(self) -> None:
        """Tell all writers that this server leads no longer."""
        with self._lock:
            requests = [one for one in self._requests.values() if one is not None]
            self._requests.clear()
        for request in requests:
            request.finish(granted=False)


class _Replica:
    """One follower's thread."""

    def __init__(self, raft: Raft, server_id: int, *, heartbeat: bool, row_delay_s: float) -> None:
        self._raft = raft
        self._server_id = server_id
        self._heartbeat = heartbeat
        self._row_delay_s = row_delay_s
        self._condition = threading.Condition()
        self._pending = False
        self._ended = False
        self._connection: Connection | None = None
        kind = "heartbeat" if heartbeat else "replica"
        self._thread = threading.Thread(target=self._run, name=f"{kind}-{server_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        with self._condition:
            self._pending = True
            self._condition.notify()

    def stop(self) -> None:
        with self._condition:
            self._ended = True
            self._pending = False
            self._condition.notify()

    def _run(self) -> None:
        retry_s = _RETRY_FIRST_S
        retry = False
        while True:
            with self._condition:
                while not self._pending:
                    if self._ended:
                        break
                    heard = self._condition.wait(retry_s if retry else _LOOK_S)
                    if not heard and retry:
                        self._pending = True
                if self._ended:
                    break
                self._pending = False
            try:
                good = self._send_heartbeat() if self._heartbeat else self._send_next()
            except Exception as error:  # noqa: BLE001 - the thread must outlive it
                self._raft.journal.error("RCM", f"Replication failed: {error!r}")
                good = False
            if good:
                retry_s, retry = _RETRY_FIRST_S, False
            else:
                # 0.1 s doubled until it passes 2.5 s: every 3.2 s in the end.
                retry_s, retry = retry_s * 2 if retry_s < _RETRY_MOST_S else retry_s, True
        if self._connection is not None:
            self._connection.close()
        self._raft.journal.info("RCM", "Replication thread stopped")

    def _send(self, record: Record) -> tuple[bool, int, str]:
        raft = self._raft
        with raft.lock:
            endpoint = raft.servers.get(self._server_id)
            commit, term, own_id = raft.commit, raft.term, raft.server_id
        if endpoint is None:
            raise CallFailed("Cannot find follower end point")
        if self._connection is None:
            self._connection = Connection(endpoint)
        answer = self._connection.call(
            "one.zone.replicate",
            [
                read_one_auth(),
                own_id,
                Long(commit),
                term,
                Long(record.index),
                record.term,
                Long(record.prev_index),
                record.prev_term,
                Long(record.fed_index),
                record.sql,
            ],
            raft.timeout_s,
            repeatable=True,
        )
        return unpack_answer(answer)

    def _send_heartbeat(self) -> bool:
        raft = self._raft
        term = raft.term
        try:
            agreed, other_term, _ = self._send(HEARTBEAT)
        except (CallFailed, OSError):
            return True
        if not agreed and other_term > term:
            self._step_down(other_term, term)
        return True

    def _step_down(self, other_term: int, term: int) -> None:
        self._raft.journal.info(
            "RCM",
            f"Follower {self._server_id} term ({other_term}) is higher than current ({term})",
        )
        self._raft.follower(other_term)

    def _send_next(self) -> bool:
        raft = self._raft
        term = raft.term
        started = time.monotonic()
        with raft.lock:
            index = raft.next.get(self._server_id)
        if index is None:
            raft.journal.error(
                "RCM", f"Failed to get next replica index for follower: {self._server_id}"
            )
            return False
        record = raft.log.record(index, index - 1)
        if record is None:
            raft.journal.error("RCM", f"Failed to load log record at index: {index}")
            return False
        try:
            agreed, other_term, _ = self._send(record)
        except (CallFailed, OSError) as failure:
            raft.journal.debug(
                "RCM",
                f"Failed to replicate log record at index: {index} on follower: "
                f"{self._server_id}, error: Error replicating log entry {index} on follower "
                f"{self._server_id}: {failure}",
            )
            return False
        if agreed:
            if raft.replicated(self._server_id):
                self.wake()
            # Only a follower far behind is held back: writes wait for a level one.
            if raft.log.last()[0] - index > _NEARLY_LEVEL:
                self._pause(started)
        elif other_term > term:
            self._step_down(other_term, term)
        elif raft.rejected(self._server_id):
            self.wake()
        return True

    def _pause(self, started: float) -> None:
        left = self._row_delay_s - (time.monotonic() - started)
        if left > 0:
            time.sleep(left)


class Replicas:
    """The threads of all followers, either for records or for heartbeats."""

    def __init__(self, raft: Raft, *, heartbeats: bool, row_delay_ms: float) -> None:
        self._raft = raft
        self._heartbeats = heartbeats
        self._row_delay_s = row_delay_ms / 1000
        self._threads: dict[int, _Replica] = {}

    def start(self, server_ids: Iterable[int]) -> None:
        """Start the threads that do not run yet."""
        for server_id in server_ids:
            if server_id == self._raft.server_id or server_id in self._threads:
                continue
            thread = _Replica(
                self._raft,
                server_id,
                heartbeat=self._heartbeats,
                row_delay_s=self._row_delay_s,
            )
            self._threads[server_id] = thread
            thread.start()

    def stop(self, server_ids: Iterable[int] | None = None) -> None:
        """End some threads, or all."""
        for server_id in list(self._threads if server_ids is None else server_ids):
            thread = self._threads.pop(server_id, None)
            if thread is not None:
                thread.stop()

    def wake(self, server_ids: Iterable[int]) -> None:
        """There is something to send to these."""
        for server_id in server_ids:
            thread = self._threads.get(server_id)
            if thread is not None:
                thread.wake()

    def wake_all(self) -> None:
        """There is something to send to everyone."""
        self.wake(list(self._threads))


def unpack_answer(answer: list[Any]) -> tuple[bool, int, str]:
    """Agreement, term and message of an answer between servers.

    A refusal's object id is read as the term, and as an unsigned one: the -1 of a
    server with another secret becomes 4294967295 and topples the leader.
    """
    if answer and answer[0] is True:
        return True, int(str(answer[1])) & TERM_MASK, ""
    if len(answer) < 4:
        raise CallFailed("Response is too short")
    return False, int(str(answer[3])) & TERM_MASK, str(answer[1])
