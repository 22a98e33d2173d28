"""Somebody who looks at all machines all the time: who leads, who holds the virtual IP."""

import contextlib
import http.client
import itertools
import subprocess
import sys
import threading
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.e2e.lab import LEADER, Lab
from tests.e2e.traffic import DeadlineTransport

_LOOK_S = 0.1
#: Works for some milliseconds of processor time now and then, until its input ends; then says
#: how many times longer that took by the clock.
_PACER = """
import select, sys, time
wall = cpu = 0.0
while not select.select([sys.stdin], [], [], 0.2)[0]:
    begin, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.005:
        pass
    wall += time.monotonic() - begin
    cpu += time.process_time() - used
print(wall / cpu if cpu else 1.0)
"""
_NEW_MACHINES_S = 2.0


@dataclass(frozen=True)
class Span:
    """A time in which a server said that it leads, every time it was asked.

    :param begin: when its first such answer had come, monotonic seconds.
    :param end: when the last question with such an answer was asked.
    """

    address: str
    begin: float
    end: float


class Pace:
    """How slow this machine is meanwhile, because others work on it as well."""

    def __init__(self) -> None:
        #: Seconds by the clock for a second of work: 1 on a machine of one's own.
        self.slowness = 1.0

    def __enter__(self) -> "Pace":
        self._pacer = subprocess.Popen(
            [sys.executable, "-c", _PACER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        said, _ = self._pacer.communicate(timeout=10)
        self.slowness = max(1.0, float(said))


class Watch:
    """Looks until told to stop.

    :param lab: the cluster, of both generations' addresses.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch_addresses, daemon=True)]
        for address in (*lab.addresses("a"), *lab.addresses("b")):
            thread = threading.Thread(target=self._watch_server, args=(address,), daemon=True)
            self._threads.append(thread)
        #: How often all machines were looked at.
        self.looks = 0
        #: Machines that held the virtual IP at the same time, each time there were several.
        self.holders: list[tuple[str, ...]] = []
        self.spans: list[Span] = []
        #: Highest term that a server was seen with, by address.
        self.terms: dict[str, int] = {}

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)

    def leaders_at_a_time(self) -> list[tuple[Span, Span]]:
        """Pairs of servers that led at the same time; empty if all is well."""
        return [
            (one, other)
            for one, other in itertools.combinations(self.spans, 2)
            if one.address != other.address and one.begin < other.end and other.begin < one.end
        ]

    def leaders(self) -> list[str]:
        """Addresses of those that led, in the order in which they began."""
        spans = sorted(self.spans, key=lambda span: span.begin)
        return [address for address, _ in itertools.groupby(span.address for span in spans)]

    def _watch_addresses(self) -> None:
        """Over /proc: no process is started in a machine for it."""
        machines: dict[str, str] = {}
        asked = 0.0
        while not self._stop.wait(_LOOK_S):
            if time.monotonic() - asked > _NEW_MACHINES_S:
                machines, asked = self._machines(), time.monotonic()
            held = tuple(name for name, pid in machines.items() if self._holds(pid))
            self.looks += 1
            if len(held) > 1:
                self.holders.append(held)

    def _machines(self) -> dict[str, str]:
        done = subprocess.run(
            ["podman", "ps", "--filter", f"label=onebaton.cluster={self._lab.name}",
             "--format", "{{.Names}} {{.Pid}}"],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return dict(line.split() for line in done.stdout.splitlines())

    def _holds(self, pid: str) -> bool:
        lines: list[str] = []
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/net/fib_trie").read_text().splitlines()
        address = f"|-- {self._lab.net}.100"
        return any(
            one.endswith(address) and "/32 host LOCAL" in other
            for one, other in itertools.pairwise(lines)
        )

    def _watch_server(self, address: str) -> None:
        proxy = xmlrpc.client.ServerProxy(
            self._lab.endpoint(address), transport=DeadlineTransport(1.0)
        )
        begin: float | None = None
        end = 0.0
        while not self._stop.wait(_LOOK_S):
            asked = time.monotonic()
            said = self._raft(proxy)
            if said is not None:
                self.terms[address] = max(self.terms.get(address, 0), said["TERM"])
            if said is not None and said["STATE"] == LEADER:
                begin, end = begin or time.monotonic(), asked
            elif begin is not None:
                self.spans.append(Span(address, begin, end))
                begin = None
        if begin is not None:
            self.spans.append(Span(address, begin, end))

    def _raft(self, proxy) -> dict[str, int] | None:
        try:
            answer = proxy.one.zone.raftstatus(self._lab.session)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error):
            proxy("close")()
            return None
        return {child.tag: int(child.text) for child in ET.fromstring(answer[1])}
