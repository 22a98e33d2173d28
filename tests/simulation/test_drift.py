"""Drift of a simulated zone: none at rest, each disturbance named, none once it is healed."""

import concurrent.futures
import itertools
from collections.abc import Iterator
from contextlib import suppress

import pytest
from tests.fakes.configurations import VIP, FakeConfigurations, as_written
from tests.fakes.danger import DiedError
from tests.fakes.simulated import SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import OLD, AtOnce, Tool, running_zone
from tests.fakes.worlds import wanted

from onebaton.drift import DriftView
from onebaton.plan.underway import goal_of
from onebaton.plan.wanted import Condemned, Wanted
from onebaton.rollout.drifting import drift_view, look_closer

REST, GOAL = wanted(3, of=OLD), wanted(3)


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def look(cluster: SimulatedCluster, goal: Wanted, *, is_rolling: bool = False) -> DriftView:
    """What the command would tell."""
    before = list(cluster.frontends.calls)
    world = Tool(cluster, goal).observe()
    files = {m.host.name: as_written(m.server.id) for m in world.members}
    sight = look_closer(
        goal,
        world,
        cluster.platform,
        FakeConfigurations(files),
        cluster.api,
        vip=VIP,
        unbaked="",
        channel=None,
        revoked={},
    )
    changed = [call for call in cluster.frontends.calls[len(before) :] if "facts" not in call]
    assert changed == []
    return drift_view(
        sight, cluster.clock.now(), goal=goal_of(goal, 1.0) if is_rolling else None, condemned=None
    )


def told(cluster: SimulatedCluster, goal: Wanted = REST) -> set[tuple[str, str]]:
    return {(row.area, row.place) for row in look(cluster, goal).rows}


def test_a_zone_at_rest_has_none() -> None:
    assert told(running_zone(REST)) == set()


def test_a_machine_that_is_switched_off_and_on_again() -> None:
    cluster = running_zone(REST)
    cluster.switch_off("z-a2")
    assert told(cluster) == {("nodes", "z-a2")}
    cluster.platform.switch_on("z-a2")
    machine = cluster.machines["z-a2"]
    machine.reachable = True
    cluster.bring_back("z-a2")
    cluster.clock.sleep(5.0)
    assert told(cluster) == set()


def test_a_machine_that_vanished_and_was_replaced() -> None:
    cluster = running_zone(REST)
    node = next(n for n in cluster.platform.nodes() if n.spec.name == "z-a2")
    cluster.switch_off("z-a2")
    cluster.platform.lose("z-a2")
    # Terraform would make it anew, and says so.
    assert told(cluster) == {("nodes", "z-a2"), ("terraform", "nodes as they are")}
    Tool(cluster, REST).replace(Condemned("z-a2", node.spec.address, "", OLD.digest))
    cluster.clock.sleep(5.0)
    assert told(cluster) == set()


def test_a_leader_that_was_killed_keeps_the_address() -> None:
    cluster = running_zone(REST)
    cluster.kill("z-a1")
    cluster.clock.sleep(15.0)
    assert told(cluster) == {("members", "server 0 (z-a1)"), ("vip", "10.0.0.100/24")}
    cluster.bring_back("z-a1")
    cluster.clock.sleep(5.0)
    assert told(cluster) == set()


def test_a_parked_server_until_it_is_back() -> None:
    cluster = running_zone(REST)
    Tool(cluster, REST).park("z-a3")
    (row,) = look(cluster, REST).rows
    assert (row.place, row.found[:12]) == ("server 2 (z-a3)", "parked since")
    assert "onebaton unpark z-a3" in row.way_back
    Tool(cluster, REST).unpark("z-a3")
    cluster.clock.sleep(5.0)
    assert told(cluster) == set()


@pytest.mark.parametrize("at", [5, 20, 40])
def test_a_half_done_rollout_is_expected_and_ends_without(at: int) -> None:
    cluster = running_zone(GOAL)
    assert {area for area, _ in told(cluster, GOAL)} == {"images"}
    points = itertools.count()

    def die(_what: str) -> None:
        if next(points) == at:
            raise DiedError

    cluster.at_point = die
    with suppress(DiedError):
        Tool(cluster, GOAL).roll()
    cluster.at_point = nobody_looks
    cluster.clock.sleep(10.0)
    view = look(cluster, GOAL, is_rolling=True)
    assert view.rows
    (note,) = view.notes
    assert "half-done" in note
    Tool(cluster, GOAL).roll()
    cluster.clock.sleep(5.0)
    view = look(cluster, GOAL, is_rolling=True)
    assert (view.rows, view.notes) == ((), ())
