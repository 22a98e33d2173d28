"""A merge request's life with the pipeline for GitLab, its shell parts run for real."""

import json
import shutil
from pathlib import Path

import pytest
from tests.integration.pipelines.cluster import (
    PLAN,
    REPORT,
    branch,
    commit,
    found,
    merge,
    plans,
    rolls,
)
from tests.integration.pipelines.gitlab import JOB_TOKEN, USER_TOKEN, GitLab
from tests.integration.pipelines.machine import Machine
from tests.integration.pipelines.service import Service, serving

pytestmark = [pytest.mark.integration]

CHECK, PLANNING, ROLLOUT = (f"onebaton-cluster-{name}" for name in ("check", "plan", "rollout"))


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Machine, Path]:
    """A runner, and a project with the pipeline."""
    folder = tmp_path_factory.mktemp("gitlab")
    machine = Machine(folder / "runner")
    found(folder / "origin", machine, "gitlab")
    return machine, folder / "origin"


@pytest.fixture
def gitlab(written, tmp_path):
    """A copy of the project, on the runner."""
    machine, origin = written
    shutil.copytree(origin, tmp_path / "origin")
    service = Service({("PRIVATE-TOKEN", USER_TOKEN): "bot", ("JOB-TOKEN", JOB_TOKEN): "job"})
    with serving(service):
        yield GitLab(tmp_path / "origin", machine, service, {"ONEBATON_GITLAB_TOKEN": USER_TOKEN})


def merged(gitlab: GitLab, head: str) -> str:
    """Merge request 7 is merged; the commit on main."""
    sha = merge(gitlab.origin)
    gitlab.service.pulls.append(
        {
            "iid": 7,
            "sha": head,
            "state": "merged",
            "target_branch": "main",
            "merge_commit_sha": sha,
            "squash_commit_sha": None,
        }
    )
    return sha


def test_the_life_of_a_merge_request(gitlab):
    gitlab.service.write("somebody", f"{PLAN}\nlisten to me")
    head = branch(gitlab.origin, gitlab.machine)
    gitlab.variables["ONEBATON_AWS_PLAN_ROLE"] = "arn:aws:iam::1:role/plan"
    for text in ("first", "second"):
        plans(gitlab.machine, text, real=text == "first")
        ended = gitlab.merge_request(head)
        assert [job.status for job in ended.values()] == [0, 0], ended[PLANNING].output
        assert gitlab.service.by("bot") == [f"{PLAN}\n{text} plan"]
    assert set(ended[PLANNING].files) == {"plan.md", "plan.json", "plan.commit"}

    rolls(gitlab.machine)
    ended = gitlab.push(merged(gitlab, head))
    assert set(ended) == {ROLLOUT}
    assert ended[ROLLOUT].status == 0, ended[ROLLOUT].output
    assert json.loads(gitlab.machine.carried_out) == {"plan": "second"}
    report = gitlab.service.by("bot")[-1]
    assert report.startswith(REPORT)
    assert "https://gitlab.example.org/job/5" in report
    assert set(ended[ROLLOUT].files) == {"report.md", "report.html", "report.json"}
    for token in (USER_TOKEN, JOB_TOKEN):
        assert token not in gitlab.machine.curl_arguments


def test_what_nobody_reviewed_does_not_run(gitlab):
    head = branch(gitlab.origin, gitlab.machine)
    plans(gitlab.machine)
    gitlab.merge_request(head)
    rolls(gitlab.machine)
    (gitlab.origin / "README").write_text("x")
    ended = gitlab.push(commit(gitlab.origin, "Past it all"))[ROLLOUT]
    assert (ended.status, "no merge request was merged" in ended.output) == (4, True)
    sha = merged(gitlab, head)
    # What was merged is newer than what was planned.
    gitlab.service.pulls[0]["sha"] = "0" * 40
    ended = gitlab.push(sha)[ROLLOUT]
    assert (ended.status, "has no plan for its head" in ended.output) == (4, True)
    gitlab.service.pulls[0]["sha"] = head
    del gitlab.variables["ONEBATON_GITLAB_TOKEN"]
    ended = gitlab.push(sha)[ROLLOUT]
    assert (ended.status, "set ONEBATON_GITLAB_TOKEN" in ended.output) == (69, True)
    assert gitlab.machine.carried_out is None


def test_a_refusal_is_told_and_without_a_token_there_is_no_comment(gitlab):
    head = branch(gitlab.origin, gitlab.machine)
    refuses = {"bake": {}, "plan": {"status": 4, "out": "error: z-a2 is unhealthy"}}
    gitlab.machine.play(refuses)
    ended = gitlab.merge_request(head)[PLANNING]
    assert ended.status == 4
    assert "z-a2 is unhealthy" in gitlab.service.by("bot")[0]
    del gitlab.variables["ONEBATON_GITLAB_TOKEN"]
    gitlab.service.comments.clear()
    ended = gitlab.merge_request(head)[PLANNING]
    assert ended.status == 4
    assert "no comment: ONEBATON_GITLAB_TOKEN is not set" in ended.output
    assert b"z-a2 is unhealthy" in ended.files["plan.md"]
    assert gitlab.service.comments == []


def test_a_forks_merge_request_is_checked_and_gets_no_further(gitlab):
    plans(gitlab.machine)
    ended = gitlab.merge_request(branch(gitlab.origin, gitlab.machine), source="43")
    assert {name: job.status for name, job in ended.items()} == {CHECK: 0}
    assert {call[0] for call in gitlab.machine.calls} == {"version", "config"}


def test_by_hand_and_at_night(gitlab):
    gitlab.machine.play(
        {
            "continue": {"out": "went on"},
            "rollback": {"status": 1},
            "report": {},
            "doctor": {},
            "drift": {"status": 3, "out": "compared"},
        }
    )
    assert gitlab.by_hand("onebaton-cluster-continue").status == 0
    assert gitlab.by_hand("onebaton-cluster-rollback").status == 1
    assert ["continue", "--as", "op", "--plain"] in gitlab.machine.calls
    assert ["rollback", "--yes", "--plain"] in gitlab.machine.calls
    (night,) = gitlab.night().values()
    assert night.status == 3
    assert b"compared" in night.files["night.md"]
