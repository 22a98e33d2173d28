"""Seeded schedules: faults of all kinds fall on rollouts, and a broken rollout is found out.

``python -m tests.simulation --seeds 0:20000`` (``make test-schedules``) plays many more;
``python -m tests.simulation --seed N`` plays one again and tells what happens.
"""

import concurrent.futures
import random
from collections.abc import Iterator

import pytest
from tests.fakes.danger import DangerError
from tests.fakes.simulated_tool import AtOnce, Tool, assert_rolled, running_zone
from tests.fakes.weather import StormyCluster
from tests.fakes.worlds import wanted
from tests.simulation.playing import play
from tests.simulation.schedules import drawn

from onebaton.errors import OnebatonError, StepFailedError
from onebaton.plan import roll
from onebaton.plan.actions import Action, Retire, Swap
from onebaton.plan.scene import Scene
from onebaton.steps.join import JoinStep
from onebaton.steps.retire import RetireStep
from onebaton.steps.step import NEEDED

#: Schedules played here, in batches.
PLAYED, BATCH = 120, 40
#: Among so many schedules a broken rollout has to be found out.
FOUND_OUT_WITHIN = 300


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


@pytest.mark.parametrize("first", range(0, PLAYED, BATCH))
def test_whatever_falls_on_it_no_rollout_endangers_its_zone(first: int) -> None:
    for seed in range(first, first + BATCH):
        try:
            play(drawn(seed))
        except Exception as error:
            error.add_note(f"to see it: python -m tests.simulation --seed {seed}\n{drawn(seed)}")
            raise


def test_a_schedule_can_be_played_again() -> None:
    told: list[list[str]] = [[], []]
    for lines in told:
        play(drawn(7), lines.append)
    assert told[0] == told[1]
    assert len(told[0]) > 50
    assert drawn(7) == drawn(7) != drawn(8)


@pytest.mark.parametrize("way", ["to it", "from it"])
def test_a_new_server_that_the_leader_does_not_reach_is_not_started(way: str) -> None:
    """It would stand for election, and the healthy leader would step down."""
    goal = wanted(3)
    cluster = running_zone(goal, made_by=lambda images: StormyCluster(images, random.Random(1)))
    assert isinstance(cluster, StormyCluster)
    leader, new = cluster.leader, "z-b2"
    assert leader is not None
    apart = (leader.machine, new) if way == "to it" else (new, leader.machine)
    cluster.network.cut.add(apart)
    with pytest.raises(StepFailedError, match=f"{leader.machine} and {new} do not reach"):
        Tool(cluster, goal).roll()
    assert new not in [server.name for server in cluster.servers.values()]
    assert not cluster.machines[new].active
    assert cluster.elections == []
    cluster.network.mend()
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1


def found_out(words: str) -> bool:
    """Whether one of the first schedules objects in these words."""
    for seed in range(FOUND_OUT_WITHIN):
        try:
            play(drawn(seed))
        except DangerError as danger:
            if words in str(danger):
                return True
    return False


def test_a_leader_that_is_retired_before_the_hand_over_is_found_out(monkeypatch) -> None:
    def retire_whoever(scene: Scene) -> roll.Choice | None:
        return (Retire(scene.old[0].server), "it is old") if scene.old else None

    rules = {roll.retire_follower: retire_whoever}
    broken = tuple(rules.get(rule, rule) for rule in roll.RUNBOOK)
    monkeypatch.setattr(roll, "RUNBOOK", broken)
    monkeypatch.setattr(RetireStep, "check", lambda _step: NEEDED)
    assert found_out("is stopped, and leads")


def test_two_joins_at_once_are_found_out(monkeypatch) -> None:
    join_one = JoinStep.apply

    def join_all(step: JoinStep) -> None:
        listed = {server.endpoint for server in step.site.observe().zone.servers}
        for node in step.site.platform.nodes():
            there = step.site.endpoint(node.spec.address)
            if step.leader is not None and there not in listed and there != step.endpoint:
                step.site.api.add_server(step.leader.endpoint, node.spec.name, there)
        join_one(step)

    monkeypatch.setattr(JoinStep, "apply", join_all)
    assert found_out("more than one server is down by the tool's doing")


def test_a_server_that_is_deleted_before_it_is_stopped_is_found_out(monkeypatch) -> None:
    def delete_first(step: RetireStep) -> None:
        step.site.api.delete_server(step.leader.endpoint, step.server.id)
        step.site.frontends.stop(step.host, mask=True, timeout_s=60.0)

    monkeypatch.setattr(RetireStep, "apply", delete_first)
    assert found_out("is deleted and not stopped and masked")


def test_two_that_are_swapped_at_once_are_found_out(monkeypatch) -> None:
    def swap_whoever(scene: Scene) -> roll.Choice | None:
        left = [m for m in scene.old if not m.is_leader]
        spec = scene.place_of(left[0]) if left else None
        return (Swap(left[0].server, spec), "it is old") if spec is not None else None

    monkeypatch.setattr(roll, "SWAP_RUNBOOK", (swap_whoever, *roll.SWAP_RUNBOOK))
    monkeypatch.setattr(roll, "require_bearable", lambda *_: None)
    assert found_out("more than one server is down by the tool's doing")


def test_a_server_that_is_not_in_its_own_list_is_not_started() -> None:
    """Its source is cut off and has not got the record; together they would elect a leader."""
    goal = wanted(3)
    dice = random.Random(1)
    cluster = running_zone(goal, made_by=lambda images: StormyCluster(images, dice))
    assert isinstance(cluster, StormyCluster)

    def cut_off(action: Action) -> None:
        if action.id == "join:z-b1":
            cluster.network.cut |= {
                pair for name in cluster.machines for pair in (("z-a2", name), (name, "z-a2"))
            }

    with pytest.raises(OnebatonError):
        Tool(cluster, goal, before=cut_off).roll()
    assert "z-b1" in {server.name for server in cluster.servers.values()}
    assert "z-b1" not in cluster.raft.oneds
    cluster.mend()
    cluster.clock.sleep(30.0)
    Tool(cluster, goal).roll()
    assert_rolled(cluster, goal)
