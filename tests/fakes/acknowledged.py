"""Clients' writes that were acknowledged, and by whom."""

from collections import deque
from dataclasses import dataclass

from tests.fakes.danger import insist
from tests.fakes.frontends import FakeDatabase
from tests.fakes.simulated_raft import Oned


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A write: when it was acknowledged, in which term and by which machine, and its index."""

    at: float
    term: int
    by: str
    index: int

    def stored_in(self, database: FakeDatabase) -> bool:
        """It is logged there, or was."""
        record = database.log.get(self.index)
        return database.applied >= self.index or (record is not None and record[0] >= self.term)


class Acknowledgements:
    """All of them, in the order in which clients heard of them.

    :param settled_s: how old a write is that every server had the time to store.
    :ivar last: the newest one.
    """

    def __init__(self, settled_s: float) -> None:
        self.last: Acknowledged | None = None
        self._settled_s = settled_s
        self._recent: deque[Acknowledged] = deque()

    def see(self, leader: Oned, index: int, key: str, now: float) -> None:
        """One more.

        :raises DangerError: if it is not the leader's own, or another leader has acknowledged
            one in this term or in a newer one.
        """
        log = leader.database.log
        insist(log[index][1][1] == key, f"{leader.machine} acknowledges what it does not have")
        last = self.last
        if last is not None and last.by != leader.machine:
            insist(
                leader.term > last.term,
                f"{leader.machine} acknowledges a write in term {leader.term}, and {last.by} did "
                f"so in term {last.term}",
            )
        self.last = Acknowledged(now, leader.term, leader.machine, index)
        self._recent.append(self.last)
        while len(self._recent) > 1 and self._recent[1].at <= now - self._settled_s:
            self._recent.popleft()

    def settled(self, now: float) -> Acknowledged | None:
        """The newest that every server had the time to store."""
        if not self._recent or now - self._recent[0].at < self._settled_s:
            return None
        return self._recent[0]
