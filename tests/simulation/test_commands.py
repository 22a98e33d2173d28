"""Whole commands, from their words to what they print and keep, on a cluster in memory."""

import concurrent.futures
import json
from collections.abc import Iterator

import pytest
from tests.fakes.danger import DiedError
from tests.fakes.simulated import nobody_looks
from tests.fakes.simulated_tool import AtOnce, assert_rolled, running_zone
from tests.fakes.simulated_wiring import make_folder, wired
from tests.fakes.store import MemoryStore
from tests.fakes.worlds import wanted

from onebaton.errors import StepFailedError
from onebaton.main import main


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def kept(store: MemoryStore) -> list[str]:
    return [key for key in store.keys("reports/") if key.endswith(".json")]


def test_a_rollout_stops_waits_is_approved_and_ends(tmp_path, store, capsys):
    changes = ("approve: []", "approve: [handed-over]"), ("soak_s: {}", "soak_s: {joined: 60}")
    file = make_folder(tmp_path / "z", *changes)
    goal = wanted(3)
    cluster = running_zone(goal)
    words = ["-c", str(file)]
    with wired(cluster, store):
        assert main(["rollout", *words, "--until", "cut"]) == 2
        assert "this rollout is a roll" in capsys.readouterr().err
        assert main(["rollout", *words, "--until", "provisioned", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert report["ending"] == "stopped"
        assert report["go_on"] == f"onebaton rollout --config {file}"
        assert main(["continue", *words]) == 4
        assert "no rollout waits" in capsys.readouterr().err
        cluster.clock.sleep(5.0)
        assert main(["rollout", *words]) == 3
        said = capsys.readouterr().out
        assert f"to go on: onebaton continue --config {file}" in said
        assert "survives 2 more failures" in said
        assert main(["status", *words]) == 0
        assert "waits for an approval before the stage handed-over" in capsys.readouterr().out
        cluster.clock.sleep(5.0)
        assert main(["continue", *words, "--as", "ada"]) == 0
        said = capsys.readouterr()
        assert "ada approves the stage handed-over" in said.err
        assert_rolled(cluster, goal)
        assert len(cluster.elections) == 1
        # Nothing is left of it, but for its reports.
        assert not [k for k in store.content if not k.startswith(("reports/", "journal/"))]
        assert len(kept(store)) == 3
        cluster.clock.sleep(5.0)
        assert main(["rollout", *words]) == 0
        assert len(kept(store)) == 3
        capsys.readouterr()
        assert main(["report", *words]) == 0
        listed = capsys.readouterr().out
        assert listed.count("-rollout") == 3
        for ending in ("stopped", "waiting", "finished"):
            assert ending in listed
        assert main(["report", "last", *words, "--out", str(tmp_path / "it.html")]) == 0
        html = (tmp_path / "it.html").read_text()
        assert "hand over from server 0" in html
        assert "handed-over was approved by ada" in html


def test_a_rollout_that_fails_keeps_a_report_and_goes_on(tmp_path, store, capsys):
    file = make_folder(tmp_path / "z")
    goal = wanted(3)
    cluster = running_zone(goal)

    def fail(what: str) -> None:
        if what == "before add_server z-b2":
            raise StepFailedError("z-b2 | <burnt> down", details=["at noon"], resolution="Mend it.")

    cluster.at_point = fail
    words = ["-c", str(file)]
    with wired(cluster, store):
        assert main(["rollout", *words]) == 1
        assert "error: z-b2 | <burnt> down" in capsys.readouterr().err
        cluster.at_point = nobody_looks
        (key,) = kept(store)
        report = json.loads(store.content[key])
        assert report["ending"] == "failed"
        assert report["problem"] == ["z-b2 | <burnt> down", "at noon"]
        assert [step["outcome"] for step in report["steps"]] == ["done", "done", "done", "failed"]
        assert [s["voters"] for s in report["samples"]] == [3, 4]
        assert {s["leader"] for s in report["samples"]} == {"z-a1"}
        html = store.content[key.replace(".json", ".html")].decode()
        assert "z-b2 | &lt;burnt&gt; down" in html
        assert "<burnt>" not in html
        assert r"z-b2 \| \<burnt\> down" in store.content[key.replace(".json", ".md")].decode()
        assert main(["rollout", *words]) == 0
        assert_rolled(cluster, goal)
        assert main(["report", "20000101T000000-rollout", *words]) == 2
        assert main(["report", "../lock", *words, "--format", "json"]) == 2
        assert "there is no report of a run '../lock'" in capsys.readouterr().err


def test_of_a_run_that_was_killed_its_journal_tells(tmp_path, store, capsys):
    file = make_folder(tmp_path / "z")
    cluster = running_zone(wanted(3))

    def die(what: str) -> None:
        if what == "after add_server z-b1":
            raise DiedError

    cluster.at_point = die
    words = ["-c", str(file)]
    with wired(cluster, store):
        with pytest.raises(DiedError):
            main(["rollout", *words])
        assert kept(store) == []
        assert main(["report", *words, "--json"]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert (row["ending"], row["formats"]) == ("unfinished", [])
        assert main(["report", row["run"], *words, "--format", "json"]) == 0
        report = json.loads(capsys.readouterr().out)
        assert [step["outcome"] for step in report["steps"]] == ["done", "done", "unfinished"]
        assert report["steps"][-1]["step_id"] == "join:z-b1"
        assert report["began_at"] == pytest.approx(row["began_at"], abs=5.0)
        assert main(["report", "last", *words, "--format", "md"]) == 0
        assert "goes on, or was killed" in capsys.readouterr().out


def test_no_report_is_kept_yet(tmp_path, store, capsys):
    file = make_folder(tmp_path / "z")
    with wired(running_zone(wanted(3)), store):
        assert main(["report", "-c", str(file)]) == 0
        assert capsys.readouterr().out == "no report is kept yet\n"
        assert main(["report", "last", "-c", str(file)]) == 2
        assert main(["report", "--out", "x.html", "-c", str(file)]) == 2
