"""Servers that are parked and come back, in memory, killed at any point."""

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from tests.fakes.danger import DiedError
from tests.fakes.simulated import TRAFFIC, SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import OLD, AtOnce, Tool, assert_rolled, running_zone
from tests.fakes.worlds import wanted

from onebaton.errors import OnebatonError
from onebaton.model import Health

GOAL = wanted(3, of=OLD)


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def dying(cluster: SimulatedCluster, run: Callable[[], object], at: int) -> bool:
    """Run it, and let it die at one of its changes; whether it came so far."""
    left = itertools.count()

    def die(_what: str) -> None:
        if next(left) == at:
            raise DiedError

    cluster.at_point = die
    died = True
    with suppress(DiedError):
        run()
        died = False
    cluster.at_point = nobody_looks
    return died


def assert_whole(cluster: SimulatedCluster) -> None:
    """All three serve as before, and nothing that was acknowledged is lost."""
    assert_rolled(cluster, GOAL)
    assert set(cluster.servers) == {0, 1, 2}
    assert not cluster.elections
    assert all(m.parked_at is None for m in cluster.machines.values())


def test_there_and_back_while_clients_write() -> None:
    cluster = running_zone(GOAL)
    assert Tool(cluster, GOAL).park("z-a2") == ["park:1:z-a2"]
    parked_at = cluster.machines["z-a2"].parked_at
    assert parked_at is not None
    cluster.clock.sleep(60.0)
    member = Tool(cluster, GOAL).observe().members[1]
    assert member.health is Health.UNHEALTHY
    assert (member.problem or "").startswith("parked since 1970-01-01 00:16:")
    with pytest.raises(OnebatonError, match="one reason") as error:
        Tool(cluster, wanted(3)).roll()
    assert "onebaton unpark z-a2" in error.value.details[0]
    assert Tool(cluster, GOAL).park("z-a2") == []
    assert Tool(cluster, GOAL).unpark("z-a2") == ["unpark:1:z-a2"]
    assert cluster.longest_gap_s < 1.0
    assert_whole(cluster)


def test_out_for_longer_than_the_log_is_kept_it_is_seeded_anew() -> None:
    cluster = running_zone(GOAL)
    cluster.log_retention = 200
    Tool(cluster, GOAL).park("z-a3")
    cluster.clock.sleep(120.0)
    assert Tool(cluster, GOAL).unpark("z-a3") == ["seed:z-a3", "unpark:2:z-a3"]
    assert_whole(cluster)


@pytest.mark.parametrize("retention", [250_000, 200])
def test_parking_and_its_end_may_die_at_each_change(retention: int) -> None:
    start = running_zone(GOAL, leader=1)
    start.log_retention = retention
    for number in itertools.count():
        cluster = start.copy()
        if not dying(cluster, lambda: Tool(cluster, GOAL).park("z-a1"), number):  # noqa: B023
            break
        Tool(cluster, GOAL).park("z-a1")
        cluster.clock.sleep(3.0)
        Tool(cluster, GOAL).unpark("z-a1")
        assert_whole(cluster)
    assert number > 3
    Tool(start, GOAL).park("z-a1")
    start.clock.sleep(90.0)
    for number in itertools.count():
        cluster = start.copy()
        if not dying(cluster, lambda: Tool(cluster, GOAL).unpark("z-a1"), number):  # noqa: B023
            break
        cluster.clock.sleep(10.0 * (number % 2))
        Tool(cluster, GOAL).unpark("z-a1")
        assert_whole(cluster)
    assert number > 8


def test_the_leader_is_not_parked_and_nothing_changes() -> None:
    cluster = running_zone(GOAL, leader=1)
    with pytest.raises(OnebatonError) as error:
        Tool(cluster, GOAL).park("z-a2")
    assert "leads the zone" in error.value.details[0]
    assert_whole(cluster)


def test_one_that_differs_on_its_way_back_stays_parked() -> None:
    cluster = running_zone(GOAL)
    Tool(cluster, GOAL).park("z-a2")
    cluster.faults.bad_apply.add("z-a2")
    with pytest.raises(OnebatonError, match="differ"):
        Tool(cluster, GOAL).unpark("z-a2")
    machine = cluster.machines["z-a2"]
    assert (machine.active, machine.masked) == (False, True)
    assert machine.parked_at is not None
    cluster.faults.bad_apply.clear()
    machine.database = None
    assert Tool(cluster, GOAL).unpark("z-a2") == ["seed:z-a2", "unpark:1:z-a2"]
    assert_whole(cluster)


def test_a_machine_of_somebody_else_keeps_its_configuration() -> None:
    cluster = running_zone(GOAL, own=False)
    Tool(cluster, GOAL).park("one-2")
    cluster.frontends.calls.clear()
    assert Tool(cluster, GOAL).unpark("one-2") == ["unpark:1:one-2"]
    assert ("configure", "one-2") not in cluster.frontends.calls
    cluster.traffic = False
    cluster.clock.sleep(2.0)
    database = cluster.machines["one-2"].database
    assert database is not None
    assert set(cluster.acknowledged) <= database.tables[TRAFFIC].keys()
