"""Reads and writes that go on while a zone is changed, and the longest time without either.

The schedule is open: requests are made by the clock and not after the one before, so that a
slow answer cannot hide what others would have met. How many may be unanswered at a time is
bounded, because ``oned`` serves no more than 15 connections (``MAX_CONN``, recorded).
"""

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from onebaton.errors import OnebatonError, UnavailableError, ZoneRefusal
from onebaton.ports import Clock, ZoneApi
from onebaton.reports import GapRow
from onebaton.rollout.gaps import WORTH_TELLING_S, Gap, Kind, Ledger, Outcome, gap_of
from onebaton.steps.seeing import CHECK_PREFIX

#: The target that clients use; writes go through it at the full rate.
VIP_TARGET = "VIP"
#: Names of all documents that probes ever write begin so.
PREFIX = "onebaton-probe-"
#: Requests of one kind to one target that may be unanswered at a time. Through the VIP and by
#: its own endpoint the leader is met by four such kinds, and has to answer followers as well.
MAX_UNANSWERED = 3
#: Longest sleep of a worker, in seconds: so soon it sees that it shall stop.
SLICE_S = 0.1
#: Seconds beyond a time limit that a call may take to come back.
PATIENCE_S = 1.0
#: Seconds that cleaning up may take.
CLEANING_S = 10.0
#: Code of ``oned`` for an object that is not there (recorded answers).
NO_EXISTS = 1024


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe saw.

    :param began_at: seconds since the epoch; ``ended_at`` likewise.
    :param gaps: the VIP's first, then those of members by name; reads before writes.
    :param removed: documents that were cleaned up, older leftovers among them.
    :param problem: why documents were left behind, in words.
    """

    began_at: float
    ended_at: float
    gaps: tuple[Gap, ...]
    removed: int = 0
    problem: str | None = None

    def rows(self) -> tuple[GapRow, ...]:
        """The gaps as reports show them."""
        return gap_rows(self.gaps)


@dataclass(slots=True)
class _Lane:
    """Requests of one kind to one target: their schedule, their workers, their ledger.

    :param due: the next moment of the schedule that nobody has taken.
    :param waiting: workers that wait for the moment they took.
    """

    target: str
    kind: Kind
    endpoint: str
    period_s: float
    most_workers: int
    ledger: Ledger
    due: float
    workers: int = 0
    waiting: int = 0
    document: int | None = None
    allocating: bool = False
    written: int = 0

    def take_slot(self, now: float) -> float:
        """The next moment of the schedule; those that went by unused are left out."""
        missed = math.floor((now - self.due) / self.period_s)
        if missed > 0:
            self.ledger.skipped += missed
            self.due += missed * self.period_s
        slot = self.due
        self.due += self.period_s
        return slot


class Probe:
    """Probes targets from :meth:`start` to :meth:`stop`; also a context manager.

    :param api: each of its calls ends within ``timeout_s``. Its time limit for connecting
        should be short (0.5 s): while nobody has the address a connection is not refused but
        waited for, and would outlast the gap.
    :param vip_endpoint: at the zone's virtual address; probed as :data:`VIP_TARGET`.
    :param rate_hz: reads a second through each target, and writes through the VIP.
    :param member_write_rate_hz: writes a second through each other target.
    """

    def __init__(
        self,
        api: ZoneApi,
        clock: Clock,
        *,
        vip_endpoint: str,
        rate_hz: float,
        member_write_rate_hz: float,
        timeout_s: float = 2.0,
    ) -> None:
        self._api = api
        self._clock = clock
        self._vip_endpoint = vip_endpoint
        self._rate_hz = rate_hz
        self._member_write_rate_hz = member_write_rate_hz
        self._timeout_s = timeout_s
        # One lock for all: it is held for a few lines, some hundred times a second.
        self._lock = threading.Lock()
        self._lanes: list[_Lane] = []
        self._threads: list[threading.Thread] = []
        self._stopping = False
        self._result: ProbeResult | None = None
        self._begin = clock.monotonic()
        self._epoch = clock.now() - self._begin
        # The time in front tells leftovers of earlier runs from a run that began later.
        self._run_began = math.floor(clock.now())
        self._run_prefix = f"{PREFIX}{self._run_began}-{os.urandom(3).hex()}-"

    def start(self) -> None:
        """Begin with the VIP."""
        self._begin = self._clock.monotonic()
        self.add(VIP_TARGET, self._vip_endpoint)

    def follow(self, members: Mapping[str, str]) -> None:
        """Probe the VIP and exactly these from now on.

        :param members: endpoints by name. One that merely does not answer belongs to them:
            whoever is left out is not looked at any more, and its gap is not seen.
        """
        with self._lock:
            probed = {lane.target for lane in self._lanes if lane.ledger.end is None}
        for name in probed - members.keys() - {VIP_TARGET}:
            self.remove(name)
        for name, endpoint in members.items():
            self.add(name, endpoint)

    def add(self, name: str, endpoint: str) -> None:
        """Probe one more target from now on; no change if it is probed already."""
        now = self._clock.monotonic()
        with self._lock:
            probed = {lane.target for lane in self._lanes if lane.ledger.end is None}
            if self._stopping or name in probed:
                return
            write_hz = self._rate_hz if name == VIP_TARGET else self._member_write_rate_hz
            for kind, hz in ((Kind.READ, self._rate_hz), (Kind.WRITE, write_hz)):
                # Lanes are out of step (golden ratio), or all would ask in the same moment.
                phase = len(self._lanes) * 0.618 % 1
                lane = _Lane(
                    name,
                    kind,
                    endpoint,
                    period_s=1 / hz,
                    most_workers=min(MAX_UNANSWERED, math.ceil(hz * self._timeout_s) + 1),
                    ledger=Ledger(now, worth_s=max(WORTH_TELLING_S, 2.5 / hz)),
                    due=now + phase / hz,
                )
                self._lanes.append(lane)
                self._start_worker(lane)

    def remove(self, name: str) -> None:
        """Probe a target no longer: what happens there from now on does not count."""
        now = self._clock.monotonic()
        with self._lock:
            for lane in self._lanes:
                if lane.target == name:
                    lane.ledger.close(now)

    def gaps(self) -> tuple[Gap, ...]:
        """The longest gaps so far; one that still lasts ends now.

        The VIP's first, then those of members by name; reads before writes.
        """
        now = self._clock.monotonic()
        with self._lock:
            ledgers: dict[tuple[bool, str, str], list[Ledger]] = {}
            for lane in self._lanes:
                key = (lane.target != VIP_TARGET, lane.target, lane.kind.value)
                ledgers.setdefault(key, []).append(lane.ledger)
            return tuple(
                gap_of(target, Kind(kind), ledgers[other, target, kind], now, self._epoch)
                for other, target, kind in sorted(ledgers)
            )

    def stop(self) -> ProbeResult:
        """End all probing, clean up, and tell what was seen.

        Ends within a few time limits and does not fail: the result says what was left behind.
        """
        if self._result is not None:
            return self._result
        now = self._clock.monotonic()
        with self._lock:
            self._stopping = True
            for lane in self._lanes:
                lane.ledger.close(now)
            threads = list(self._threads)
        # A write that is under way may still bring a document into being.
        _join(threads, self._timeout_s + PATIENCE_S)
        cleaning = _Cleaning(self._api, self._endpoints(), self._is_leftover)
        cleaner = threading.Thread(target=cleaning.run, name="probe cleaning", daemon=True)
        cleaner.start()
        _join([cleaner], CLEANING_S + self._timeout_s)
        self._result = ProbeResult(
            began_at=self._epoch + self._begin,
            ended_at=self._epoch + now,
            gaps=self.gaps(),
            removed=cleaning.removed,
            problem=cleaning.problem,
        )
        return self._result

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start_worker(self, lane: _Lane) -> None:
        lane.workers += 1
        thread = threading.Thread(
            target=self._work, args=(lane,), name=f"probe {lane.target} {lane.kind.value}"
        )
        thread.daemon = True
        self._threads = [t for t in self._threads if t.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _work(self, lane: _Lane) -> None:
        """Take a moment of the schedule, wait for it, ask; again and again.

        There is always a worker that waits: who begins to ask and leaves nobody waiting
        starts another one, up to the bound.
        """
        while True:
            with self._lock:
                slot = lane.take_slot(self._clock.monotonic())
                lane.waiting += 1
            due = self._wait(lane, slot)
            with self._lock:
                lane.waiting -= 1
                if not due:
                    lane.workers -= 1
                    return
                if lane.waiting == 0 and lane.workers < lane.most_workers:
                    self._start_worker(lane)
            self._ask(lane)

    def _wait(self, lane: _Lane, slot: float) -> bool:
        """Wait for a moment; ``False`` if the lane ended before it."""
        while lane.ledger.end is None:
            left = slot - self._clock.monotonic()
            if left <= 0:
                return True
            self._clock.sleep(min(left, SLICE_S))
        return False

    def _ask(self, lane: _Lane) -> None:
        outcome, text = Outcome.OK, None
        try:
            if lane.kind is Kind.READ:
                self._api.zone(lane.endpoint)
            elif not self._write(lane):
                return
        except UnavailableError as error:
            outcome = Outcome.FAILED if lane.kind is Kind.READ else Outcome.UNKNOWN
            text = error.message
        except OnebatonError as error:
            outcome, text = Outcome.FAILED, error.message
        with self._lock:
            lane.ledger.take(outcome, self._clock.monotonic(), text)

    def _write(self, lane: _Lane) -> bool:
        """One write that is acknowledged when this returns ``True``.

        ``False``: the lane's document is being allocated by another worker.
        """
        with self._lock:
            document = lane.document
            if document is None:
                if lane.allocating:
                    lane.ledger.skipped += 1
                    return False
                lane.allocating = True
            lane.written += 1
            content = f"write {lane.written} of {lane.target}"
        if document is None:
            try:
                document = self._api.create_document(
                    lane.endpoint, f"{self._run_prefix}{lane.target}"
                )
            finally:
                with self._lock:
                    lane.document, lane.allocating = document, False
            return True
        try:
            self._api.update_document(lane.endpoint, document, content)
        except ZoneRefusal as refusal:
            if refusal.code == NO_EXISTS:  # somebody removed it: begin with a new one
                with self._lock:
                    lane.document = None
            raise
        return True

    def _endpoints(self) -> tuple[str, ...]:
        """Where to clean up: the VIP, then targets that are still there, then the rest."""
        with self._lock:
            order = sorted(
                self._lanes, key=lambda lane: (lane.target != VIP_TARGET, -(lane.ledger.end or 0))
            )
        return tuple(dict.fromkeys(lane.endpoint for lane in order)) or (self._vip_endpoint,)

    def _is_leftover(self, name: str) -> bool:
        """A document of this probe, or of a run that is no more: a probe's or a step's.

        One run holds the lock at a time, and its steps are over; a later one's are left to it.
        """
        began = name.removeprefix(PREFIX).partition("-")[0]
        earlier = began.isdecimal() and int(began) < self._run_began
        return earlier or name.startswith((self._run_prefix, CHECK_PREFIX))


class _Cleaning:
    """Removes probes' documents through the first endpoint that lets it."""

    def __init__(
        self, api: ZoneApi, endpoints: tuple[str, ...], is_leftover: Callable[[str], bool]
    ) -> None:
        self._api = api
        self._endpoints = endpoints
        self._is_leftover = is_leftover
        self.removed = 0
        self.problem: str | None = f"documents named {PREFIX}… were not removed in time"

    def run(self) -> None:
        """Remove them; ``problem`` is set if any may be left."""
        until = time.monotonic() + CLEANING_S
        problem = self.problem
        for endpoint in self._endpoints:
            if time.monotonic() > until:
                break
            try:
                self._remove_through(endpoint, until)
            except OnebatonError as error:
                problem = f"documents named {PREFIX}… are left: {error.message}"
            else:
                problem = None
                break
        self.problem = problem

    def _remove_through(self, endpoint: str, until: float) -> None:
        for number, name in self._api.documents(endpoint, "onebaton-").items():
            if self._is_leftover(name):
                if time.monotonic() > until:
                    raise UnavailableError("removing them takes too long")
                self._api.delete_document(endpoint, number)
                self.removed += 1


def gap_rows(gaps: Iterable[Gap]) -> tuple[GapRow, ...]:
    """The gaps as reports show them; a write without an answer counts as failed there."""
    return tuple(
        GapRow(
            target=gap.target,
            kind=gap.kind.value,
            longest_s=gap.longest_s,
            began_at=gap.began_at,
            ended_at=gap.ended_at,
            requests=gap.requests,
            failed=gap.failed + gap.unknown,
            others=gap.others,
        )
        for gap in gaps
    )


def _join(threads: Iterable[threading.Thread], patience_s: float) -> None:
    """Wait for threads, together no longer than this in real time; they are daemons."""
    until = time.monotonic() + patience_s
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
