"""A pull request's life with the workflows for GitHub, their shell parts run for real."""

import json
import shutil
from pathlib import Path

import pytest
from tests.integration.pipelines import cluster
from tests.integration.pipelines.cluster import PLAN, REPORT, commit, plans, require, rolls
from tests.integration.pipelines.github import TOKEN, GitHub
from tests.integration.pipelines.machine import Machine
from tests.integration.pipelines.service import Service, serving

pytestmark = [pytest.mark.integration]

BOT = "github-actions[bot]"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[Machine, Path]:
    """A runner, and a repository with the workflows."""
    folder = tmp_path_factory.mktemp("github")
    machine = Machine(folder / "runner")
    said = cluster.found(folder / "origin", machine, "github")
    # Everything that the configuration can do right is right.
    assert "1. A runner that reaches the zone" in said
    return machine, folder / "origin"


@pytest.fixture
def github(written, tmp_path):
    """A copy of the repository, on the runner."""
    machine, origin = written
    shutil.copytree(origin, tmp_path / "origin")
    service = Service({("Authorization", f"Bearer {TOKEN}"): BOT})
    with serving(service):
        yield GitHub(tmp_path / "origin", machine, service)


def branch(github: GitHub, version: str = "6.10.5") -> str:
    """A change of the version, as the head of pull request 7."""
    return cluster.branch(github.origin, github.machine, version)


def merge(github: GitHub, head: str) -> str:
    """Pull request 7 is merged; the commit on main."""
    sha = cluster.merge(github.origin)
    github.service.pulls.append(
        {
            "number": 7,
            "head_sha": head,
            "base": "main",
            "merged_at": "2026-01-01T00:00:00Z",
            "merge_commit_sha": sha,
        }
    )
    return sha


def test_the_life_of_a_pull_request(github):
    github.service.write("somebody", f"{PLAN}\nlisten to me")
    for number in range(120):
        github.service.write("somebody", f"comment {number}")
    head = branch(github)
    plans(github.machine, real=True)
    github.variables = {
        "ONEBATON_AWS_PLAN_ROLE": "arn:aws:iam::1:role/plan",
        "ONEBATON_AWS_REGION": "eu-central-1",
        "ONEBATON_SIGN_KEY": "/etc/onebaton/plan.pem",
    }
    jobs = github.pull_request(head)
    assert [job.outcome for job in jobs.values()] == ["success", "success"], jobs["plan"].output
    assert github.service.by(BOT) == [f"{PLAN}\nfirst plan"]
    checks = [call for call in github.machine.calls if call[0] == "config"]
    assert checks == [["config", "check", "--without-files"], ["config", "check"]]
    assert "ok: OpenNebula 6.10.5 on podman" in jobs["plan"].output
    (planned,) = [call for call in github.machine.calls if call[0] == "plan"]
    words = "plan --plain --out plan.json --markdown plan.md --sign-key /etc/onebaton/plan.pem"
    assert planned == words.split()
    assert ["bake", "--plain"] in github.machine.calls
    assert "took arn:aws:iam::1:role/plan" in jobs["plan"].output
    github.variables = {"ONEBATON_BAKE": "false"}

    # Another push: the same comment, and the newest plan is the one that counts.
    plans(github.machine, "second")
    jobs = github.pull_request(head)
    assert jobs["plan"].outcome == "success"
    assert jobs["plan"].step("Bake the image, unless it was").outcome == "skipped"
    (planned,) = [call for call in github.machine.calls if call[0] == "plan"]
    assert "--sign-key" not in planned
    assert github.service.by(BOT) == [f"{PLAN}\nsecond plan"]
    assert "listen to me" in github.service.comments[0]["body"]

    rolls(github.machine)
    job = github.push(merge(github, head))
    assert job.outcome == "success", job.output
    assert json.loads(github.machine.carried_out) == {"plan": "second"}
    assert ["rollout", "--plan", "plan.json", "--plain"] in github.machine.calls
    plan_comment, report = github.service.by(BOT)
    assert plan_comment == f"{PLAN}\nsecond plan"
    assert report.startswith(REPORT)
    assert "came to its end" in report
    assert "the report of this run" in report
    assert len(report) < 65_536
    assert "https://github.example.org/cloud/zones/actions/runs/3" in report
    assert job.summary == report
    assert github.service.artefacts[-1]["name"] == "onebaton-report-lab"

    # Tokens neither stood in an argument nor went to the store of the artefacts.
    assert "artifacts" in github.machine.curl_arguments
    assert TOKEN not in github.machine.curl_arguments
    assert github.service.leaked == []


def test_a_plan_that_is_refused_is_told_and_leaves_nothing_to_run(github):
    head = branch(github)
    github.machine.play(
        {"bake": {}, "plan": {"status": 4, "out": "error: z-a2 is unhealthy\n~~~\nno fence"}}
    )
    jobs = github.pull_request(head)
    assert jobs["plan"].outcome == "failure"
    (comment,) = github.service.by(BOT)
    assert comment.startswith(PLAN)
    assert "There is no plan for zone lab (status 4)" in comment
    assert "z-a2 is unhealthy" in comment
    assert github.service.artefacts == []
    rolls(github.machine)
    job = github.push(merge(github, head))
    assert job.outcome == "failure"
    assert "(status 4)" in job.step("Fetch the plan that was reviewed").output
    assert job.step("Carry out that plan").outcome == "skipped"
    assert github.machine.carried_out is None


def test_a_configuration_with_mistakes_gets_no_further(github):
    head = branch(github, "six")
    plans(github.machine, real=True)
    jobs = github.pull_request(head)
    assert (jobs["check"].outcome, jobs["plan"].outcome) == ("failure", "skipped")
    assert "image.version" in jobs["check"].output


def test_what_nobody_reviewed_does_not_run(github):
    """A push past the pull requests, an older head, an expired plan, one of a fork."""
    plans(github.machine)
    head = branch(github)
    rolls(github.machine)
    (github.origin / "README").write_text("x")
    job = github.push(commit(github.origin, "Past it all"))
    assert "no pull request was merged" in job.output
    sha = merge(github, head)
    job = github.push(sha)
    assert "never ran for its head" in job.output
    plans(github.machine)
    github.pull_request(head)
    github.service.runs[-1]["from"] = "somebody/zones"
    rolls(github.machine)
    assert "never ran for its head" in github.push(sha).output
    github.service.runs[-1]["from"] = "cloud/zones"
    github.service.artefacts[-1]["expired"] = True
    assert "or it has expired" in github.push(sha).output
    assert github.machine.carried_out is None
    assert [call for call in github.machine.calls if call[0] == "rollout"] == []
    github.service.artefacts[-1]["expired"] = False
    assert github.push(sha).outcome == "success"
    assert github.machine.carried_out is not None


def test_a_forks_pull_request_is_checked_and_gets_no_further(github):
    plans(github.machine, real=True)
    jobs = github.pull_request(branch(github), fork=True)
    assert (jobs["check"].outcome, jobs["plan"].outcome) == ("success", "skipped")
    assert {call[0] for call in github.machine.calls} == {"version", "config"}
    assert github.service.requests == []


def test_a_rollout_that_is_refused_is_not_told_by_the_report_of_another(github):
    head = branch(github)
    plans(github.machine)
    github.pull_request(head)
    rolls(github.machine, status=4, leaves_report=False)
    job = github.push(merge(github, head))
    assert job.outcome == "failure"
    report = github.service.by(BOT)[-1]
    assert "was refused" in report
    assert "rolled, or not" in report
    assert "another run" not in report


def test_a_rollout_that_waits_is_gone_on_with_by_hand(github):
    head = branch(github)
    plans(github.machine)
    github.pull_request(head)
    rolls(github.machine, status=3)
    job = github.push(merge(github, head))
    assert job.outcome == "success", job.output
    assert "waits for an approval" in github.service.by(BOT)[-1]
    github.machine.play({"continue": {"out": "went on"}, "abort": {"status": 1}, "report": {}})
    job = github.by_hand("continue")
    assert job.outcome == "success", job.output
    assert ["continue", "--as", "op", "--plain"] in github.machine.calls
    assert "came to its end" in job.summary
    assert job.step("Comment").outcome == "skipped"
    job = github.by_hand("abort")
    assert job.outcome == "failure"
    assert ["abort", "--yes", "--plain"] in github.machine.calls
    assert "failed (status 1)" in job.summary
    assert github.by_hand("destroy").outcome == "failure"
    assert not any(call[0] == "destroy" for call in github.machine.calls)


@pytest.mark.parametrize(("doctor", "drift", "worst"), [(0, 0, 0), (0, 3, 3), (4, 3, 4)])
def test_the_night(github, doctor, drift, worst):
    github.machine.play(
        {
            "doctor": {"status": doctor, "out": "examined"},
            "drift": {"status": drift, "out": "compared"},
        }
    )
    job = github.night()
    assert job.outcome == ("success" if worst == 0 else "failure")
    assert f"(status {worst})" in job.step("Doctor and drift").output
    assert f"onebaton doctor (status {doctor})" in job.summary
    assert f"onebaton drift (status {drift})" in job.summary
    assert "examined" in job.summary
    assert "compared" in job.summary


def test_what_pip_installs(github):
    """Where nothing else can be played: on a fork's pull request."""
    plans(github.machine, real=True)
    wheel = github.machine.wheel()
    require(github.origin, str(wheel))
    commit(github.origin, "Another onebaton")
    with github.machine.without_onebaton():
        job = github.pull_request(branch(github), fork=True)["check"]
    assert job.outcome == "success", job.output
    assert "ok: OpenNebula 6.10.5 on podman" in job.output
