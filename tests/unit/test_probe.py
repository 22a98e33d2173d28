"""The probe against hand-made outages, on a clock that only the test moves."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.fakes.shared_clock import SharedClock
from tests.fakes.zone import FakeZoneApi, endpoint, refusal, three_servers

from onebaton.errors import UnavailableError
from onebaton.model import Health, Member, RaftState, Server, World, Zone
from onebaton.plan.actions import CutOver
from onebaton.rollout.gaps import Gap, Kind
from onebaton.rollout.probe import MAX_UNANSWERED, PREFIX, VIP_TARGET, Probe, gap_rows
from onebaton.steps.seeing import CHECK_PREFIX
from onebaton.wiring.probing import Watched

VIP = endpoint("10.0.0.100")
N1, N2, N3 = (endpoint(f"10.0.0.{n}") for n in (11, 12, 13))
BEGIN = 1000.0


class Scene:
    """A probe at 10/s (members 2 writes/s) of a zone of three, and its clock."""

    def __init__(self, **members: str) -> None:
        self.clock = SharedClock("probe ", BEGIN)
        self.api: FakeZoneApi = three_servers()
        self.outages: list[tuple[str, float, float, Callable[[], None]]] = []
        self.api.before = self._before
        self.probe = Probe(
            self.api,
            self.clock,
            vip_endpoint=VIP,
            rate_hz=10,
            member_write_rate_hz=2,
            timeout_s=2.0,
        )
        self._members = members

    def start(self) -> None:
        self.probe.start()
        self.probe.follow(self._members)

    def outage(self, at: str, begin: float, end: float, what: Callable[[], None]) -> None:
        """From begin to end (seconds after the start) calls to ``at`` meet this."""
        self.outages.append((at, BEGIN + begin, BEGIN + end, what))

    def _before(self, _method: str, at: str) -> None:
        for where, begin, end, what in self.outages:
            if where == at and begin <= self.clock.monotonic() < end:
                what()

    def hang(self) -> None:
        self.clock.sleep(2.0)
        raise UnavailableError("no whole answer within 2 s")

    def run(self, seconds: float) -> None:
        self.clock.run_until(BEGIN + seconds)


@contextmanager
def running(**members: str) -> Iterator[Scene]:
    scene = Scene(**members)
    scene.start()
    try:
        yield scene
    finally:
        scene.clock.release()
        scene.probe.stop()


def world_of(**members: str) -> World:
    """A world of these servers."""
    servers = tuple(Server(i, name, at) for i, (name, at) in enumerate(members.items()))
    zone = Zone(0, "z", enabled=True, servers=servers)
    listed = tuple(Member(server, Health.HEALTHY) for server in servers)
    return World(zone, listed, nodes=(), settings=None)


def refuse() -> None:
    raise UnavailableError("the connection was refused")


def no_leader() -> None:
    raise refusal(8192, "Cannot process request, no leader found")


def found(scene: Scene, target: str, kind: Kind) -> Gap:
    (gap,) = [g for g in scene.probe.gaps() if (g.target, g.kind) == (target, kind)]
    return gap


def test_without_an_outage_the_gap_is_the_schedules():
    with running(n2=N2) as scene:
        scene.run(5)
        for target, kind, rate in (
            ("VIP", Kind.READ, 10),
            ("VIP", Kind.WRITE, 10),
            ("n2", Kind.READ, 10),
            ("n2", Kind.WRITE, 2),
        ):
            gap = found(scene, target, kind)
            assert gap.longest_s == pytest.approx(1 / rate)
            assert gap.requests == gap.ok
            assert 5 * rate - 1 <= gap.ok <= 5 * rate + 1


def test_an_outage_is_measured_to_one_period():
    with running() as scene:
        scene.outage(VIP, 2.0, 3.1, refuse)
        scene.run(6)
        for kind in Kind:
            gap = found(scene, VIP_TARGET, kind)
            assert 1.1 <= gap.longest_s <= 1.1 + 0.2
            assert BEGIN + 1.9 <= gap.began_at <= BEGIN + 2.0
            assert BEGIN + 3.1 <= gap.ended_at <= BEGIN + 3.2
        assert found(scene, VIP_TARGET, Kind.READ).failed == 11
        assert found(scene, VIP_TARGET, Kind.WRITE).unknown == 11
        assert found(scene, VIP_TARGET, Kind.WRITE).failed == 0


def test_reads_go_on_while_writes_are_refused():
    with running() as scene:
        scene.run(2)
        leader = scene.api.servers[N1]
        leader.state = RaftState.CANDIDATE
        scene.api.vip, scene.api.servers[VIP] = None, leader
        scene.run(4)
        leader.state = RaftState.LEADER
        scene.run(6)
        write = found(scene, VIP_TARGET, Kind.WRITE)
        assert 2.0 <= write.longest_s <= 2.2
        assert write.failed == 20
        assert write.failures == (("Cannot process request, oned cluster in election mode", 20),)
        assert found(scene, VIP_TARGET, Kind.READ).longest_s == pytest.approx(0.1)


def test_a_slow_answer_hides_no_gap():
    """One answer of 1.5 s, with good ones all along beside it: no gap of 1.5 s."""
    with running() as scene:
        scene.outage(VIP, 2.0, 2.05, lambda: scene.clock.sleep(1.5))
        scene.run(6)
        assert found(scene, VIP_TARGET, Kind.READ).longest_s <= 0.2 + 1e-6


def test_a_hang_does_not_outlast_its_end_while_requests_are_left():
    """Hung for 0.2 s: later requests are good long before the hung ones are given up."""
    with running() as scene:
        scene.outage(VIP, 2.0, 2.2, scene.hang)
        scene.run(8)
        gap = found(scene, VIP_TARGET, Kind.READ)
        assert 0.2 <= gap.longest_s <= 0.4
        assert gap.failed == 2


def test_unanswered_requests_are_bounded():
    unanswered = [0, 0]
    with running() as scene:
        lock = threading.Lock()

        def hang() -> None:
            with lock:
                unanswered[0] += 1
                unanswered[1] = max(unanswered)
            try:
                scene.hang()
            finally:
                with lock:
                    unanswered[0] -= 1

        scene.outage(VIP, 2.0, 20.0, hang)
        scene.run(12)
        assert MAX_UNANSWERED < unanswered[1] <= 2 * MAX_UNANSWERED  # reads and writes
        gap = found(scene, VIP_TARGET, Kind.READ)
        assert gap.longest_s >= 10.0
        assert gap.skipped > 0
        scene.outages.clear()


def test_what_was_missed_is_not_made_up_for():
    with running() as scene:
        scene.outage(VIP, 2.0, 2.6, scene.hang)  # all six workers, until 4.0 and later
        scene.run(8)
        gap = found(scene, VIP_TARGET, Kind.READ)
        assert gap.skipped >= 10
        assert 78 <= gap.requests + gap.skipped <= 82


def test_targets_come_and_go():
    with running() as scene:
        scene.run(1)
        scene.probe.add("n9", N2)
        scene.probe.add("n9", N3)  # there already: nothing changes
        scene.run(3)
        scene.probe.remove("n9")
        scene.outage(N2, 3.0, 99.0, refuse)
        calls = len(scene.api.calls)
        scene.run(6)
        assert {at for _, at in scene.api.calls[calls:]} == {VIP}
        gap = found(scene, "n9", Kind.READ)
        assert gap.longest_s <= 0.2
        assert gap.failed == 0
        assert 19 <= gap.ok <= 21
        assert all(at != N3 for _, at in scene.api.calls)


def test_it_follows_the_zone():
    with running(n1=N1, n2=N2) as scene:
        scene.run(1)
        scene.probe.follow({"n2": N2, "n3": N3})
        scene.run(2)
        calls = len(scene.api.calls)
        scene.run(4)
        assert {at for _, at in scene.api.calls[calls:]} == {VIP, N2, N3}
        assert found(scene, "n1", Kind.READ).ended_at <= BEGIN + 1
        assert 29 <= found(scene, "n3", Kind.READ).ok <= 31


def test_a_cut_over_leaves_the_virtual_ip_and_then_the_zone_that_came_of_it():
    """What ends for good is no gap of the zone; what clients go on with is watched throughout."""
    with running(n1=N1, n2=N2) as scene:
        watch = Watched(scene.probe)
        scene.run(2)
        watch.before(CutOver("n3", "stand-by"))
        for at in (VIP, N1, N2):
            scene.outage(at, 2.0, 4.5, refuse)
        scene.run(4)
        watch.seen(world_of(n3=N3))
        scene.run(8)
        assert found(scene, "n1", Kind.WRITE).longest_s == pytest.approx(0.5)
        assert found(scene, "n2", Kind.READ).longest_s == pytest.approx(0.1)
        assert found(scene, "n3", Kind.READ).ok > 30
        assert 2.5 <= found(scene, VIP_TARGET, Kind.WRITE).longest_s <= 2.7


def test_who_was_never_asked_has_no_gap_and_who_never_answered_has():
    with running() as scene:
        watch = Watched(scene.probe)
        scene.run(1)
        watch.seen(world_of(n1=N1))
        watch.before(CutOver("n3", "stand-by"))
        scene.outage(N2, 0.0, 9.0, refuse)
        watch.seen(world_of(n2=N2))
        scene.run(4)
        scene.clock.release()
        targets = {row.target for row in watch.gaps()}
        assert targets == {VIP_TARGET, "n2"}


def test_from_the_start_to_the_first_good_answer_counts():
    with running(n2=N2) as scene:
        scene.outage(N2, 0.0, 3.0, no_leader)
        scene.run(5)
        gap = found(scene, "n2", Kind.READ)
        assert gap.began_at == BEGIN
        assert 3.0 <= gap.longest_s <= 3.1


def test_a_document_removed_by_somebody_is_replaced():
    with running() as scene:
        scene.run(2)
        scene.api.pool.clear()
        scene.run(4)
        write = found(scene, VIP_TARGET, Kind.WRITE)
        assert write.failed == 1
        assert write.longest_s <= 0.2 + 1e-6
        assert len(scene.api.pool) == 1


def test_one_document_a_target_and_none_is_left():
    scene = Scene(n2=N2, n3=N3)
    scene.api.pool[900] = "somebody's"
    scene.start()
    scene.run(3)
    assert sorted(n.rsplit("-", 1)[1] for n in scene.api.pool.values() if n != "somebody's") == [
        "VIP",
        "n2",
        "n3",
    ]
    scene.clock.release()
    result = scene.probe.stop()
    assert scene.api.pool == {900: "somebody's"}
    assert (result.removed, result.problem) == (3, None)
    assert (result.began_at, result.ended_at) == (BEGIN, BEGIN + 3)
    assert scene.probe.stop() is result
    assert not [t for t in threading.enumerate() if t.name.startswith("probe")]


def test_leftovers_of_earlier_runs_go_and_those_of_later_ones_stay():
    scene = Scene()
    scene.api.pool |= {
        900: f"{PREFIX}999-abcdef-VIP",
        901: f"{PREFIX}1001-abcdef-VIP",
        902: f"{PREFIX}of somebody",
        903: f"{CHECK_PREFIX}abcdef",
    }
    scene.start()
    scene.run(1)
    scene.clock.release()
    assert scene.probe.stop().removed == 3
    assert set(scene.api.pool) == {901, 902}


def test_what_a_killed_run_left_can_be_removed_without_probing():
    scene = Scene()
    scene.api.pool |= {900: f"{PREFIX}999-abcdef-VIP", 901: "somebody's"}
    scene.clock.release()
    result = scene.probe.stop()
    assert (result.removed, result.problem, result.gaps) == (1, None, ())
    assert scene.api.pool == {901: "somebody's"}


def test_cleaning_goes_through_whoever_lets_it():
    scene = Scene(n2=N2, n3=N3)
    scene.start()
    scene.run(1)
    scene.outage(VIP, 1.0, 99.0, refuse)
    scene.outage(N2, 1.0, 99.0, no_leader)
    scene.clock.release()
    result = scene.probe.stop()
    assert (result.removed, result.problem) == (3, None)
    assert scene.api.pool == {}


def test_what_cannot_be_cleaned_up_is_said():
    scene = Scene()
    scene.start()
    scene.run(1)
    scene.outage(VIP, 1.0, 99.0, no_leader)
    scene.clock.release()
    result = scene.probe.stop()
    assert result.removed == 0
    assert result.problem is not None
    assert "no leader found" in result.problem


def test_stop_does_not_wait_for_what_never_ends(monkeypatch):
    monkeypatch.setattr("onebaton.rollout.probe.CLEANING_S", 0.2)
    monkeypatch.setattr("onebaton.rollout.probe.PATIENCE_S", 0.1)
    scene = Scene()
    over = threading.Event()
    api = three_servers()
    api.before = lambda _method, _at: over.wait(20) and None
    scene.probe = Probe(
        api, scene.clock, vip_endpoint=VIP, rate_hz=10, member_write_rate_hz=2, timeout_s=0.1
    )
    scene.clock.release()
    begin = time.monotonic()
    scene.probe.start()
    time.sleep(0.05)
    result = scene.probe.stop()
    over.set()
    assert time.monotonic() - begin < 2
    assert result.problem is not None


def test_rows_for_the_report():
    with running(n2=N2) as scene:
        scene.outage(VIP, 1.0, 2.0, refuse)
        scene.run(3)
        rows = gap_rows(scene.probe.gaps())
    assert [(r.target, r.kind) for r in rows] == [
        ("VIP", "read"),
        ("VIP", "write"),
        ("n2", "read"),
        ("n2", "write"),
    ]
    assert [r.failed for r in rows] == [10, 10, 0, 0]
    assert 1.0 <= rows[0].longest_s <= 1.2
