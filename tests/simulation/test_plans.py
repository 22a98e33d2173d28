"""Plans carried out in memory: whole commands, exactly as they were reviewed, or refused."""

import concurrent.futures
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fakes.commands import Commands, commands
from tests.fakes.simulated_tool import AtOnce, assert_rolled, running_zone
from tests.fakes.worlds import wanted


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


@pytest.fixture
def zone(tmp_path: Path, monkeypatch, capsys) -> Commands:
    return commands(tmp_path, running_zone(wanted(3), leader=1), monkeypatch, capsys)


def test_a_plan_is_carried_out_once(zone: Commands):
    zone.planned()
    print(zone.err, zone.plan.read_text())
    assert zone.run("rollout", "--plan", str(zone.plan)) == 0, zone.err
    assert_rolled(zone.cluster, wanted(3))
    zone.refused("rollout", "--plan", str(zone.plan), naming="the plan is used")
