"""Rollouts that stop, wait, are watched, approved and killed between their stages, in memory."""

import concurrent.futures
import itertools
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.fakes.danger import DiedError
from tests.fakes.simulated import SimulatedCluster, nobody_looks
from tests.fakes.simulated_cut import assert_served_by_the_new, goal_of
from tests.fakes.simulated_cut import zone as zone_to_cut
from tests.fakes.simulated_tool import AtOnce, Tool, assert_rolled, running_zone
from tests.fakes.staging import FakeHooks, Staging
from tests.fakes.store import MemoryStore
from tests.fakes.worlds import wanted

from onebaton.config import HooksConfig, Stage, StagesConfig
from onebaton.errors import OnebatonError, RefusedError, StepFailedError
from onebaton.plan.stages import CUT, ROLL
from onebaton.rollout.boundaries import Boundaries
from onebaton.rollout.stage_notes import Approval, progress_of

#: The simulated clock begins at 00:16 UTC on a Thursday.
SHUT = "Thu 01:00-05:00 UTC"


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def run(cluster: SimulatedCluster, goal, staging: Staging) -> tuple[list[str], Boundaries]:
    """One run; its steps, and what happened between its stages."""
    tool = Tool(cluster, goal, staging=staging)
    taken = tool.roll()
    assert tool.between is not None
    return taken, tool.between


def approve(staging: Staging, cluster: SimulatedCluster, by: str = "ada") -> None:
    note = progress_of(staging.store)
    progress = note.load()
    assert progress is not None
    waiting = progress.waiting
    assert waiting is not None
    approval = Approval(waiting.stage, by, cluster.clock.now(), waiting.run, waiting.steps)
    note.save(replace(progress, approval=approval))


# Until


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
@pytest.mark.parametrize("stage", ROLL[:-1])
def test_a_roll_stops_after_a_stage_and_goes_on(strategy, stage: Stage) -> None:
    goal = wanted(3, strategy)
    cluster = running_zone(goal)
    staging = Staging(until=stage)
    taken, between = run(cluster, goal, staging)
    assert between.ending == "stopped"
    assert "survives" in " ".join(between.said)
    handed_over = any(step.startswith("hand-over") for step in taken)
    assert handed_over == (stage == "handed-over")
    if stage == "joined":
        joined = {s.name for s in cluster.servers.values()}
        assert {"z-b1", "z-b2", "z-b3"} <= joined
        assert cluster.leader is not None
        assert cluster.leader.machine == "z-a1"
        assert ("z-a2" in joined) == (strategy == "surge")
    if stage == "handed-over":
        # Nobody counts against the quorum who does not run.
        assert sorted(s.name for s in cluster.servers.values()) == ["z-b1", "z-b2", "z-b3"]
        assert len(cluster.platform.nodes()) == (6 if strategy == "surge" else 4)
    # Once more: it is where it was asked to stop.
    assert run(cluster, goal, staging)[0] == []
    cluster.clock.sleep(600.0)
    staging.until = None
    assert run(cluster, goal, staging)[1].ending is None
    assert_rolled(cluster, goal)
    assert len(cluster.elections) == 1


@pytest.mark.parametrize("stage", CUT[:-1])
def test_a_cut_over_stops_after_a_stage_and_goes_on(stage: Stage) -> None:
    goal = goal_of()
    cluster = zone_to_cut(goal)
    staging = Staging(until=stage)
    taken, between = run(cluster, goal, staging)
    assert between.ending == "stopped"
    assert ("cut-over:z-b1" in taken) == (stage == "cut")
    if stage == "cut":
        assert "go on at once" in between.said[1]
    cluster.clock.sleep(900.0)
    staging.until = None
    run(cluster, goal, staging)
    assert_served_by_the_new(cluster, goal)
    # The copies went on following: what waited is not felt in the cut.
    assert cluster.longest_gap_s < 3.0


# Approvals


def test_it_waits_for_an_approval_and_for_no_other_than_of_what_is_left() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(approve=("handed-over",)))
    taken, between = run(cluster, goal, staging)
    assert taken[-1].startswith("refresh")
    assert (between.ending, between.go_on) == ("waiting", "onebaton continue")
    assert [n.event for n in staging.notifier.notices][-1] == "waiting"
    # Nobody approved it.
    taken, between = run(cluster, goal, staging)
    assert (taken, between.ending) == ([], "waiting")
    # It was approved, and then another server leads: nothing is left to hand over, and what is
    # left was not approved.
    approve(staging, cluster)
    cluster.kill("z-a1")
    cluster.clock.sleep(10.0)
    cluster.bring_back("z-a1")
    cluster.clock.sleep(30.0)
    taken, between = run(cluster, goal, staging)
    assert (taken, between.ending) == ([], "waiting")
    approve(staging, cluster, by="grace")
    taken, between = run(cluster, goal, staging)
    assert any(row.text == "retired was approved by grace" for row in between.rows)
    assert_rolled(cluster, goal)


def test_an_approval_is_used_up() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(approve=("joined", "retired")))
    assert run(cluster, goal, staging)[1].ending == "waiting"
    approve(staging, cluster)
    taken, between = run(cluster, goal, staging)
    assert "hand-over:0:z-a1:z-b1" in taken
    assert between.ending == "waiting"
    assert cluster.leader is not None
    assert cluster.leader.machine == "z-b1"
    approve(staging, cluster)
    run(cluster, goal, staging)
    assert_rolled(cluster, goal)


def test_what_was_approved_and_begun_is_gone_on_with() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(approve=("handed-over",)))
    run(cluster, goal, staging)
    approve(staging, cluster)

    def die(what: str) -> None:
        if what.startswith("after delete_server"):
            raise DiedError

    cluster.at_point = die
    with suppress(DiedError):
        run(cluster, goal, staging)
    cluster.at_point = nobody_looks
    assert run(cluster, goal, staging)[1].ending is None
    assert_rolled(cluster, goal)


def test_nobody_waits_while_the_old_leader_is_stopped_and_still_a_voter() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(approve=("retired",)))

    def die(what: str) -> None:
        if what == "before delete_server 0":
            raise DiedError

    cluster.at_point = die
    with pytest.raises(DiedError):
        run(cluster, goal, staging)
    cluster.at_point = nobody_looks
    # Not even where what was noted is lost.
    staging.store.content.clear()
    staging.settings = StagesConfig(approve=("handed-over", "retired"), windows=(SHUT,))
    taken, between = run(cluster, goal, staging)
    assert taken == ["retire:0:z-a1"]
    assert between.ending == "waiting"
    assert "2 of 3 needed, 3 healthy seen" in between.said[1]


def test_the_joins_after_a_cut_wait_for_nobody() -> None:
    goal = goal_of()
    cluster = zone_to_cut(goal)
    staging = Staging(StagesConfig(approve=("cut", "joined")))
    taken, between = run(cluster, goal, staging)
    assert taken[-1] == "hold:z-b1"
    assert "stand-by is held" in between.said[1]
    approve(staging, cluster)
    assert run(cluster, goal, staging)[1].ending is None
    assert_served_by_the_new(cluster, goal)


# Soaks


def test_the_zone_is_watched_after_a_stage() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(soak_s={"joined": 600.0, "retired": 300.0}))
    begin = cluster.clock.now()
    _, between = run(cluster, goal, staging)
    assert cluster.clock.now() - begin > 900.0
    assert [row.stage for row in between.rows if row.what == "soaked"] == ["joined", "retired"]
    assert_rolled(cluster, goal)


def test_one_unhealthy_sighting_stops_it_and_it_is_watched_anew() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(soak_s={"joined": 600.0}))
    broken = itertools.count()
    look = cluster.clock.sleep

    def sleep(seconds: float) -> None:
        look(seconds)
        noted = progress_of(staging.store).load()
        if noted is not None and noted.soak is not None and next(broken) == 20:
            cluster.kill("z-b2")

    cluster.clock.sleep = sleep  # type: ignore[method-assign]
    with pytest.raises(StepFailedError) as error:
        run(cluster, goal, staging)
    assert "after the stage joined" in error.value.message
    assert "z-b2" in error.value.details[0]
    cluster.clock.sleep = look  # type: ignore[method-assign]
    assert cluster.elections == []
    cluster.bring_back("z-b2")
    cluster.clock.sleep(30.0)
    begin = cluster.clock.now()
    run(cluster, goal, staging)
    assert cluster.clock.now() - begin > 600.0
    assert_rolled(cluster, goal)


def test_a_soak_that_was_killed_goes_on_unless_an_election_took_place() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(soak_s={"joined": 600.0}), until="joined")
    run(cluster, goal, staging)
    staging.until = None
    sleep = cluster.clock.sleep

    def killed_after(times: int):
        left = itertools.count()

        def die(seconds: float) -> None:
            sleep(seconds)
            if next(left) == times:
                raise DiedError

        return die

    cluster.clock.sleep = killed_after(60)  # type: ignore[method-assign]
    with pytest.raises(DiedError):
        run(cluster, goal, staging)
    cluster.clock.sleep = sleep  # type: ignore[method-assign]
    noted = progress_of(staging.store).load()
    assert noted is not None
    assert noted.soak is not None
    watched_s = cluster.clock.now() - noted.soak.since
    assert watched_s > 100.0
    again = cluster.copy()
    store = MemoryStore()
    store.content = dict(staging.store.content)
    # The rest of it.
    begin = cluster.clock.now()
    tool = Tool(cluster, goal, staging=staging)
    tool.before = lambda action: moments.setdefault(action.id, cluster.clock.now())
    moments: dict[str, float] = {}
    tool.roll()
    assert next(iter(moments.values())) - begin == pytest.approx(600.0 - watched_s, abs=6.0)
    # All of it.
    again.kill("z-a1")
    again.clock.sleep(10.0)
    again.bring_back("z-a1")
    again.clock.sleep(30.0)
    begin = again.clock.now()
    run(again, goal, Staging(staging.settings, store=store))
    assert again.clock.now() - begin > 600.0
    assert_rolled(again, goal)


# Windows


def test_leadership_changes_in_a_window_only() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = Staging(StagesConfig(windows=(SHUT,)))
    with pytest.raises(RefusedError) as error:
        run(cluster, goal, staging)
    assert error.value.details[0].startswith(f"the next one is {SHUT}, from Thu 1970-01-01 01:00")
    assert cluster.elections == []
    assert len(cluster.servers) == 6
    cluster.clock.sleep(2700.0)
    run(cluster, goal, staging)
    assert_rolled(cluster, goal)


def test_a_cut_that_was_begun_goes_on_outside_of_the_window_as_well() -> None:
    goal = goal_of()
    cluster = zone_to_cut(goal)
    staging = Staging(StagesConfig(windows=(SHUT,), approve=("joined",)))
    with pytest.raises(RefusedError, match="the stage cut needs a maintenance window"):
        run(cluster, goal, staging)
    assert cluster.elections == []
    staging.settings = StagesConfig(windows=("Thu 00:00-01:00 UTC",))

    def die(what: str) -> None:
        if what.startswith("after freeze"):
            raise DiedError

    cluster.at_point = die
    with pytest.raises(DiedError):
        run(cluster, goal, staging)
    cluster.at_point = nobody_looks
    assert cluster.priors.record is not None
    staging.settings = StagesConfig(windows=(SHUT,))
    with suppress(OnebatonError):
        run(cluster, goal, staging)
    # It was finished, or taken back: somebody serves.
    cluster.clock.sleep(5.0)
    assert cluster.leader is not None


# Hooks and checks


def hooked(**statuses: int) -> Staging:
    stages = {stage: (stage,) for stage in ROLL}
    before = {stage: (f"before-{stage}",) for stage in ROLL}
    hooks = FakeHooks({name.replace("_", "-"): status for name, status in statuses.items()})
    settings = StagesConfig(hooks=HooksConfig(before=before, after=stages))
    return Staging(settings, hooks=hooks)


def moments_of(staging: Staging) -> list[tuple[str, str]]:
    return [(told["ONEBATON_MOMENT"], told["ONEBATON_STAGE"]) for told in staging.hooks.told]


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_hooks_are_run_before_and_after_each_stage(strategy) -> None:
    goal = wanted(3, strategy)
    cluster = running_zone(goal)
    staging = hooked()
    run(cluster, goal, staging)
    assert moments_of(staging) == [(m, stage) for stage in ROLL for m in ("before", "after")]
    assert {told["ONEBATON_ZONE"] for told in staging.hooks.told} == {"z"}
    assert_rolled(cluster, goal)


def test_a_hook_that_fails_stops_it_and_is_run_again() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    staging = hooked(before_handed_over=7)
    with pytest.raises(RefusedError, match="before the stage handed-over ended with status 7"):
        run(cluster, goal, staging)
    assert cluster.elections == []
    staging.hooks.statuses = {"handed-over": 1}
    with pytest.raises(RefusedError, match="after the stage handed-over ended with status 1"):
        run(cluster, goal, staging)
    staging.hooks.statuses = {}
    run(cluster, goal, staging)
    assert moments_of(staging).count(("before", "handed-over")) == 2
    assert moments_of(staging).count(("after", "handed-over")) == 2
    assert moments_of(staging).count(("after", "joined")) == 1
    assert_rolled(cluster, goal)


def test_checks_are_made_before_the_first_step_of_a_run_and_before_each_stage() -> None:
    goal = wanted(3)
    cluster = running_zone(goal)
    made: list[tuple[Stage, int]] = []
    staging = Staging(
        before_stage=(lambda stage, _world, plan: made.append((stage, len(plan))),),
        until="provisioned",
    )
    run(cluster, goal, staging)
    staging.until = None

    def die(what: str) -> None:
        if what.startswith("after add_server z-b2"):
            raise DiedError

    cluster.at_point = die
    with pytest.raises(DiedError):
        run(cluster, goal, staging)
    cluster.at_point = nobody_looks
    run(cluster, goal, staging)
    assert [stage for stage, _ in made] == [
        "provisioned",
        "joined",
        "joined",
        "handed-over",
        "retired",
    ]


# The tool dies between two stages


class DyingStore(MemoryStore):
    """Dies before or after one of its writes."""

    def __init__(self, at: int, *, after: bool) -> None:
        super().__init__()
        self._left = itertools.count()
        self._at, self._after = at, after

    def write(self, key: str, content: bytes) -> None:
        dies = next(self._left) == self._at
        if dies and not self._after:
            raise DiedError
        super().write(key, content)
        if dies:
            raise DiedError


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_rollout_may_die_at_each_note_between_its_stages(after: bool) -> None:
    goal = wanted(3)
    trunk = running_zone(goal)
    for at in itertools.count():
        cluster = trunk.copy()
        staging = hooked()
        staging.settings = staging.settings.model_copy(update={"soak_s": {"joined": 60.0}})
        staging.store = DyingStore(at, after=after)
        try:
            run(cluster, goal, staging)
        except DiedError:
            run(cluster, goal, staging)
            assert_rolled(cluster, goal)
            assert len(cluster.elections) == 1
            assert set(moments_of(staging)) == {
                (m, stage) for stage in ROLL for m in ("before", "after")
            }
        else:
            assert at > 9
            break
