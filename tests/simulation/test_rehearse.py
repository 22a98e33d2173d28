"""Whole rehearsals in memory, on a living zone that must not notice."""

import concurrent.futures
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace

import pytest
from tests.fakes import simulated
from tests.fakes.danger import DiedError
from tests.fakes.migrations import FakeMigrations, FakeMigrator
from tests.fakes.reporter import ListReporter
from tests.fakes.simulated import PASSWORD, TRAFFIC, USER, VIP, SimulatedCluster
from tests.fakes.simulated_tool import OLD, AtOnce, Tool
from tests.fakes.worlds import SLOTS, image, wanted
from tests.fakes.zone import endpoint

from onebaton.config import Gates, OnedConfig, Timeouts
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import AheadStage, NodeState, Prior, PriorPhase, Schema, Secret, Vip
from onebaton.plan import rehearsal as judge
from onebaton.plan.wanted import CutWish, Wanted
from onebaton.rollout.rehearse import Rehearsal
from onebaton.steps.site import Site
from onebaton.views import RehearsalView

NEXT_SCHEMA = Schema("7.0.0", "7.0.0")
NEXT = image("7.0.2", schema=NEXT_SCHEMA)


@dataclass
class Stage:
    """A zone of three on the old image, and the tool."""

    cluster: SimulatedCluster
    migrations: FakeMigrations
    goal: Wanted

    def rehearse(self, *accepted: str, keep: bool = False) -> RehearsalView:
        cluster = self.cluster
        site = Site(
            api=cluster.api,
            frontends=cluster.frontends,
            platform=cluster.platform,
            clock=cluster.clock,
            reporter=ListReporter(),
            observe=Tool(cluster, self.goal).observe,
            vip=Vip(VIP, 24, "eth0"),
            port=2633,
            oned=OnedConfig(),
            timeouts=Timeouts(),
            gates=Gates(),
            standby=cluster.standby,
            priors=cluster.priors,
        )
        session = Secret(f"{USER}:{PASSWORD}")
        return Rehearsal(
            site, self.migrations, self.goal, session, "onebaton rehearse --version 7.0.2"
        ).run(accepted=accepted, keep=keep)

    def standing(self) -> tuple[object, ...]:
        """What a rehearsal must leave as it was."""
        raft = self.cluster.raft
        return (
            self.cluster.servers,
            {name: (oned.state, oned.term) for name, oned in raft.oneds.items()},
            self.cluster.elections,
            [n for n, m in self.cluster.machines.items() if m.holds_vip],
            [node.spec.name for node in self.cluster.platform.nodes()],
        )


def stage(migrator: FakeMigrator | None = None, *, of: str = "7.0.2", size: int = 3) -> Stage:
    goal = wanted(size, of=NEXT if of == "7.0.2" else image(of))
    specs = Wanted("z", size, "surge", OLD, SLOTS, goal.limits).specs("a")
    cluster = simulated.zone(
        [OLD, goal.image],
        size,
        addresses=[spec.address for spec in specs],
        names=[spec.name for spec in specs],
        specs=specs,
    )
    return Stage(cluster, FakeMigrations(cluster, migrator or FakeMigrator(NEXT_SCHEMA)), goal)


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


def test_production_does_not_notice_and_nothing_is_left():
    there = stage()
    before = there.standing()

    view = there.rehearse()

    assert there.standing() == before
    assert not there.migrations.left
    assert (view.verdict, view.from_schema, view.to_schema) == ("cut-over", "6.10.0", "7.0.0")
    assert view.image_digest == NEXT.digest
    assert view.node == "z-b1"
    assert view.source == "z-a2"  # a follower
    assert view.refusals == ()
    assert view.fsck_errors == 2
    assert view.peak_rss_bytes == 50_000_000
    assert {t.name for t in view.tables if t.change == "new"} == {"plan_pool"}
    assert dict(view.pools)[TRAFFIC] > 0
    assert view.ahead_proven is True
    assert view.doubts == ()
    assert dict(view.brought_over)[TRAFFIC] > 0
    assert (view.way, view.batch_s) == ("stand-by", 1.5)
    expected = sum(part.seconds for part in judge.plain_way(upgrade_s=4.0, start_s=5.0))
    assert view.forecast_s == pytest.approx(expected)
    # Clients went on writing meanwhile.
    assert len(there.cluster.acknowledged) > 50


def test_lost_rows_are_refused_with_their_counts():
    there = stage(FakeMigrator(NEXT_SCHEMA, empties=("user_pool",)))
    view = there.rehearse()
    (refusal,) = view.refusals
    assert "user_pool: 7 → 0" in refusal
    accepted = there.rehearse("user_pool")
    assert accepted.refusals == ()
    assert [t.name for t in accepted.tables if t.accepted] == ["user_pool"]


def test_what_is_not_migrated_row_by_row_is_found_out_and_the_plain_way_is_named():
    there = stage(FakeMigrator(NEXT_SCHEMA, numbers=("user_pool",)))
    before = there.standing()

    view = there.rehearse()

    assert view.ahead_proven is False
    assert len(view.doubts) == 1
    assert "user_pool" in view.doubts[0]
    assert view.way == "plain"
    assert "user_pool" in view.why_this_way
    assert (view.batch_s, view.forecast_ahead_s) == (None, None)
    # It does not stop a cut-over, and what the whole copy showed counts.
    assert view.refusals == ()
    assert view.forecast_s is not None
    assert there.standing() == before


def test_a_migrator_that_cannot_do_without_a_row_leaves_the_plain_way():
    there = stage(FakeMigrator(NEXT_SCHEMA, misses=("user_pool", "u0")))
    view = there.rehearse()
    assert view.ahead_proven is False
    assert "there is no u0 in user_pool" in view.doubts[0]
    assert view.forecast_ahead == ()
    assert view.way == "plain"
    assert dict(view.pools)[TRAFFIC] > 0


def test_a_way_that_is_asked_for_and_not_proved_is_none():
    there = stage(FakeMigrator(NEXT_SCHEMA, numbers=("user_pool",)))
    there.goal = replace(there.goal, cut=CutWish(way="stand-by"))
    view = there.rehearse()
    assert view.way is None
    assert "user_pool" in view.why_this_way


def test_the_copies_hold_what_was_written_meanwhile():
    there = stage()
    view = there.rehearse()
    shipped = next(p.what for p in view.parts if p.what.startswith("log shipped again"))
    (records,) = map(int, re.findall(r"\((\d+) records\)", shipped))
    # While a copy was migrated ahead, clients went on writing.
    assert records > 0
    assert view.log_index > 0


def test_a_kept_node_is_warm_masked_and_used_again():
    there = stage()
    there.rehearse(keep=True)
    machine = there.cluster.machines["z-b1"]
    assert (machine.active, machine.masked) == (False, True)
    assert machine.database is not None
    assert not there.migrations.left

    view = there.rehearse()

    assert not any(part.what.startswith("seed") for part in view.parts)
    assert "z-b1" not in there.cluster.machines


def test_a_node_kept_from_another_image_is_replaced_and_seeded_anew():
    there = stage()
    there.rehearse(keep=True)
    before = there.cluster.machines["z-b1"]
    later = image("7.0.3", schema=NEXT_SCHEMA)
    there.cluster.take_in(later)
    there.goal = wanted(3, of=later)

    view = there.rehearse(keep=True)

    assert any(part.what.startswith("seed") for part in view.parts)
    assert there.cluster.machines["z-b1"] is not before


def prepare(there: Stage, number: int, stage: AheadStage) -> None:
    """A new node whose copy was migrated ahead, as a rollout that was stopped leaves it."""
    cluster = there.cluster
    specs = [node.spec for node in cluster.platform.nodes()]
    cluster.platform.apply([*specs, there.goal.specs("b")[number]])
    cluster.clock.sleep(30.0)
    machine = cluster.machines[f"z-b{number + 1}"]
    source = cluster.machines["z-a2"].database
    assert source is not None
    machine.warm, machine.database = deepcopy(source), deepcopy(source)
    machine.stage = stage


def test_a_stand_by_where_the_rehearsal_takes_place_is_given_up_and_others_stay():
    there = stage()
    prepare(there, 0, AheadStage.MIGRATED)
    prepare(there, 1, AheadStage.MIGRATED)

    view = there.rehearse(keep=True)

    assert any(part.what.startswith("seed") for part in view.parts)
    assert there.cluster.machines["z-b1"].stage is None
    assert there.cluster.machines["z-b2"].stage is AheadStage.MIGRATED


@pytest.mark.parametrize(
    ("phase", "way_out"),
    [(PriorPhase.CUTTING, "onebaton rollout"), (PriorPhase.SERVED, "onebaton finalize")],
)
def test_a_cut_over_that_is_not_final_has_the_addresses(phase, way_out):
    there = stage()
    zone = there.cluster.api.zone(endpoint("10.0.0.11"))
    there.cluster.priors.save(
        Prior(zone, 0, "z-b1", OLD.schema, OLD.version, NEXT.digest, "plain", phase, 1.0)
    )
    before = there.standing()
    with pytest.raises(RefusedError) as caught:
        there.rehearse()
    assert way_out in caught.value.resolution
    assert "onebaton rollback" in caught.value.resolution
    assert there.standing() == before


def test_a_zone_of_one_server_can_be_rehearsed():
    there = stage(size=1)
    before = there.standing()
    view = there.rehearse()
    assert (view.verdict, view.ahead_proven) == ("cut-over", True)
    assert view.source == "z-a1"
    assert there.standing() == before


def test_the_same_schema_needs_no_cut_over():
    there = stage(FakeMigrator(Schema("6.10.0", "6.10.0")), of="6.10.5")
    view = there.rehearse()
    assert view.verdict == "roll"
    assert view.tables == ()
    assert "z-b1" not in there.cluster.machines


@pytest.mark.parametrize(
    ("migrator", "kind", "text"),
    [
        pytest.param(
            FakeMigrator(Schema("6.8.0", "6.8.0")), RefusedError, "newer", id="database newer"
        ),
        pytest.param(
            FakeMigrator(NEXT_SCHEMA, files=()), RefusedError, "no migrator", id="no migrator"
        ),
        pytest.param(
            FakeMigrator(NEXT_SCHEMA, fails=True), StepFailedError, "onedb upgrade", id="fails"
        ),
        pytest.param(
            FakeMigrator(NEXT_SCHEMA, starts=False), StepFailedError, "ended", id="does not start"
        ),
    ],
)
def test_what_the_next_release_cannot_do_is_said_and_nothing_is_left(migrator, kind, text):
    there = stage(migrator)
    before = there.standing()
    with pytest.raises(kind) as caught:
        there.rehearse()
    assert text in caught.value.message
    assert there.standing() == before


def test_a_disk_too_small_is_refused_before_anything_is_copied():
    there = stage()
    appeared = there.cluster.platform.apply

    def small(wanted):
        appeared(wanted)
        for name, machine in there.cluster.machines.items():
            if name.startswith("z-b"):
                machine.disk_free_bytes = judge.SPARE_BYTES

    there.cluster.platform.apply = small
    with pytest.raises(RefusedError) as caught:
        there.rehearse()
    assert "the disk of z-b1 is too small" in caught.value.details[0]
    assert ("seed", "z-b1") not in there.cluster.frontends.calls
    assert "z-b1" not in there.cluster.machines


def test_a_follower_that_is_down_shuts_the_gate():
    there = stage()
    there.cluster.kill("z-a3")
    with pytest.raises(RefusedError) as caught:
        there.rehearse()
    assert "z-a3" in caught.value.details[0]
    assert [n.spec.name for n in there.cluster.platform.nodes()] == ["z-a1", "z-a2", "z-a3"]


def test_a_member_that_vanishes_meanwhile_is_not_replaced():
    """Destroying the rehearsal's node asks the platform for all others: not with one missing."""
    there = stage()

    def vanish(what: str) -> None:
        if what == "after start_fenced z-b1":
            there.cluster.switch_off("z-a3")
            there.cluster.platform.lose("z-a3")

    there.cluster.at_point = vanish
    there.rehearse()

    states = {node.spec.name: node.state for node in there.cluster.platform.nodes()}
    assert states["z-a3"] is NodeState.VANISHED
    machine = there.cluster.machines["z-b1"]
    assert (machine.active, machine.masked) == (False, True)
    assert not there.migrations.left


def test_a_zone_that_is_there_already_has_nothing_to_rehearse():
    there = stage(of="6.10.0")
    with pytest.raises(RefusedError, match="in the zone already"):
        there.rehearse()


def _points() -> list[str]:
    there = stage()
    seen: list[str] = []
    there.cluster.at_point = seen.append
    there.rehearse()
    return seen


def _die_at(number: int) -> Callable[[str], None]:
    left = [number]

    def at(_what: str) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise DiedError

    return at


def test_killed_at_any_point_the_next_rehearsal_finds_and_clears_what_is_left():
    points = _points()
    assert any("start_fenced" in point for point in points)
    for number in range(len(points)):
        there = stage()
        before = there.standing()
        there.cluster.at_point = _die_at(number)
        with pytest.raises(DiedError):
            there.rehearse()
        # Whatever is left votes for nobody and holds nothing.
        assert there.standing()[:4] == before[:4]
        there.cluster.at_point = lambda _what: None
        view = there.rehearse()
        assert view.refusals == (), points[number]
        assert there.standing() == before, points[number]
        assert not there.migrations.left, points[number]
