"""Clients of a zone under change: writers and readers that remember what was acknowledged.

They know nothing of the tool: plain XML-RPC, one connection each, a deadline for each call.
Clients that write the other pools are in ``churn``.
"""

import http.client
import itertools
import threading
import time
import xmlrpc.client
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

#: Not 100 and 101, which OneFlow uses.
DOCUMENT_TYPE = 999
#: OneFlow's services: the only documents, with their templates (101), that survive the
#: migration to 7.0 (measured note).
SERVICE_TYPE = 100
#: As little as a service's body can hold; other documents do not mind it.
DOCUMENT = '<TEMPLATE><NAME>{}</NAME><BODY>{{"roles":[]}}</BODY></TEMPLATE>'

#: How often somebody writes who does not care who the leader is.
HAMMER_HZ = 3.0


class DeadlineTransport(xmlrpc.client.Transport):
    """Keeps the connection, and gives each call a deadline."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__()
        self._timeout_s = timeout_s

    def make_connection(self, host):
        if self._connection and host == self._connection[0]:
            return self._connection[1]
        connection = http.client.HTTPConnection(host, timeout=self._timeout_s)
        self._connection = host, connection
        return connection


@dataclass
class Line:
    """What one client saw: times of successes, failures by their text."""

    successes: list[float] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def longest_gap(self, since: float = 0.0) -> tuple[float, float, float]:
        """Longest time between two successes: seconds, begin, end.

        :param since: leaves out what was before, monotonic seconds.
        """
        times = [at for at in self.successes if at >= since]
        pairs = itertools.pairwise(times)
        return max(((b - a, a, b) for a, b in pairs), default=(0.0, 0.0, 0.0))


class Clients:
    """Threads that call at a fixed rate, until they are told to stop.

    :param members: answers the endpoints of today's members.
    """

    def __init__(self, session: str, vip: str, members: Callable[[], tuple[str, ...]]) -> None:
        self._session = session
        self._vip = vip
        self._members = members
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()
        self._turn = itertools.count()
        self.began = 0.0
        self.ended = 0.0

    def stop(self) -> None:
        """End, and wait for the last answers."""
        self._stop.set()
        for thread in self._threads:
            thread.join(15)
        self.ended = time.monotonic()

    def _spawn(self, work, *arguments) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _next_member(self) -> str:
        members = self._members()
        return members[next(self._turn) % len(members)] if members else self._vip

    def _pace(self, hz, endpoint, work, line, wanted=lambda: True) -> None:
        """Call at a fixed rate; what a slow answer cost is not made up for by a burst."""
        proxies: dict[str, xmlrpc.client.ServerProxy] = {}
        due = time.monotonic()
        while not self._stop.is_set() and wanted():
            target = endpoint()
            proxy = proxies.get(target) or xmlrpc.client.ServerProxy(
                target, transport=DeadlineTransport(2.0)
            )
            proxies[target] = proxy
            try:
                problem = work(proxy)
            except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
                problem = type(error).__name__
                proxies.pop(target)
            if problem is None:
                line.successes.append(time.monotonic())
            else:
                line.failures[problem] += 1
            due = max(due + 1 / hz, time.monotonic() - 1 / hz)
            self._stop.wait(max(0.0, due - time.monotonic()))


class Traffic(Clients):
    """Writes and reads through the VIP and through each member, until told to stop.

    :param hammered: endpoints that are written to all the time, members or not.
    :param document_type: of the documents that are written.
    """

    def __init__(
        self,
        session: str,
        vip: str,
        members: Callable[[], tuple[str, ...]],
        *,
        vip_writes_hz: float = 18.0,
        member_writes_hz: float = 8.0,
        reads_hz: float = 10.0,
        hammered: Sequence[str] = (),
        document_type: int = DOCUMENT_TYPE,
    ) -> None:
        super().__init__(session, vip, members)
        self._vip_writes_hz = vip_writes_hz
        self._member_writes_hz = member_writes_hz
        self._reads_hz = reads_hz
        self._hammered = hammered
        self.document_type = document_type
        self._number = 0
        #: Acknowledged documents: name by id.
        self.acknowledged: dict[int, str] = {}
        self.writes: dict[str, Line] = defaultdict(Line)
        self.reads: dict[str, Line] = defaultdict(Line)

    def start(self) -> None:
        """Begin."""
        self.began = time.monotonic()
        jobs = [
            (self._pace, self._vip_writes_hz, lambda: self._vip, self._write, self.writes["vip"]),
            (self._pace, self._reads_hz, lambda: self._vip, self._read, self.reads["vip"]),
            (
                self._pace,
                self._member_writes_hz,
                self._next_member,
                self._write,
                self.writes["members"],
            ),
        ]
        for work, *arguments in jobs:
            self._spawn(work, *arguments)
        self._spawn(self._read_members)
        for endpoint in self._hammered:
            self._spawn(
                self._pace, HAMMER_HZ, partial(str, endpoint), self._write, self.writes[endpoint]
            )

    def rate(self) -> float:
        """Acknowledged writes a second over the whole time."""
        return len(self.acknowledged) / max(self.ended - self.began, 1e-9)

    def _read_members(self) -> None:
        """One reader for each member that was ever seen, while it is one."""
        known: set[str] = set()
        while not self._stop.wait(0.5):
            for endpoint in set(self._members()) - known:
                known.add(endpoint)
                self._spawn(self._read_member, endpoint)

    def _read_member(self, endpoint: str) -> None:
        self._pace(
            self._reads_hz,
            lambda: endpoint,
            self._read,
            self.reads[endpoint],
            lambda: endpoint in self._members(),
        )

    def _write(self, proxy) -> str | None:
        with self._guard:
            self._number += 1
            name = f"write-{self._number}"
        answer = proxy.one.document.allocate(
            self._session, DOCUMENT.format(name), self.document_type
        )
        if not answer[0]:
            return answer[1]
        with self._guard:
            self.acknowledged[answer[1]] = name
        return None

    def _read(self, proxy) -> str | None:
        answer = proxy.one.zone.info(self._session, 0, False)
        return None if answer[0] else answer[1]
