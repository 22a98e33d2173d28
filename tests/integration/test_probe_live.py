"""Probe and observation on three running servers, while their leader is killed."""

import time
from collections.abc import Sequence

import pytest
from tests.standin.harness import SECRET, mariadb, zone

from onebaton.adapters.zone import OneZone
from onebaton.model import Health, Host, Secret, World
from onebaton.rollout.gaps import Kind
from onebaton.rollout.observe import observe
from onebaton.rollout.probe import PREFIX, VIP_TARGET, Probe

pytestmark = [pytest.mark.integration, pytest.mark.alone]


class RealClock:
    """The machine's."""

    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


class NoMachines:
    """Neither ssh nor a platform: only what the API tells."""

    def facts_of(self, hosts: Sequence[Host]) -> dict[str, str]:
        return {host.name: "no ssh here" for host in hosts}

    def nodes(self) -> tuple[()]:
        return ()


def test_the_leader_is_killed():
    with mariadb() as database, zone(database, size=3, release="6.10.0") as servers:
        leader, (first, second) = servers.wait_for_leader(), servers.followers()
        api = OneZone(Secret(SECRET), timeout_s=2.0, connect_timeout_s=2.0)

        def look() -> World:
            return observe(
                api,
                NoMachines(),
                NoMachines(),
                endpoints=[server.endpoint for server in servers.servers],
                max_lag_records=10,
                clock=RealClock(),
                rate_interval_s=1.0,
            )

        # Nobody holds a virtual address here; a follower's endpoint stands for it.
        probe = Probe(
            api,
            RealClock(),
            vip_endpoint=first.endpoint,
            rate_hz=20,
            member_write_rate_hz=2,
            timeout_s=2.0,
        )
        with probe:
            probe.follow({"old leader": leader.endpoint, "survivor": second.endpoint})
            time.sleep(2)
            before = look()
            probe.remove("old leader")
            leader.kill()
            killed_at = time.time()
            servers.wait_for_leader()
            elected_at = time.time()
            time.sleep(2)
            after = look()
            result = probe.stop()

        assert before.leader is not None
        assert [m.health for m in before.members] == [Health.HEALTHY] * 3
        # 20 writes a second and 2 a member, fewer on a busy machine.
        assert 2 < before.records_per_second < 60
        assert after.leader is not None
        health = {m.server.endpoint: m.health for m in after.members}
        assert health == {
            leader.endpoint: Health.UNKNOWN,
            first.endpoint: Health.HEALTHY,
            second.endpoint: Health.HEALTHY,
        }

        gaps = {(gap.target, gap.kind): gap for gap in result.gaps}
        writes = gaps[VIP_TARGET, Kind.WRITE]
        assert killed_at - 0.2 <= writes.began_at <= killed_at + 0.1
        # Until the new leader has settled what it found in its log.
        assert elected_at - 0.2 <= writes.ended_at <= elected_at + 1.5
        assert writes.failed > 5
        for target in (VIP_TARGET, "survivor"):
            assert gaps[target, Kind.READ].longest_s <= 0.5
            assert gaps[target, Kind.READ].failed == 0
        assert gaps["old leader", Kind.WRITE].longest_s <= 1.0  # its time ended before it did
        assert (result.removed, result.problem) == (3, None)
        assert api.documents(first.endpoint, PREFIX) == {}
