"""The workflows as written, against the schemas of GitHub and GitLab, and shellcheck."""

import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.integration.pipelines.cluster import CONFIG, init
from tests.integration.pipelines.gitlab import gitlab_yaml
from tests.integration.pipelines.machine import git

pytestmark = [pytest.mark.integration]

CHECK = Path(sys.executable).parent / "check-jsonschema"


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """Two clusters of one repository, for both systems."""
    folder = tmp_path_factory.mktemp("repository")
    git(folder, "init", "--quiet")
    (folder / "zones/prod").mkdir(parents=True)
    text = CONFIG.format(secrets="/etc/onebaton", version="6.10.5")
    for path in ("cluster.yaml", "zones/prod/cluster.yaml"):
        (folder / path).write_text(text)
        for system in ("github", "gitlab"):
            init(folder, path, "--pipeline", system)
    return folder


def passes(*command: str | Path) -> None:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_github_takes_them(repository):
    workflows = sorted((repository / ".github/workflows").iterdir())
    names = [f"onebaton-{c}-{n}.yml" for c in ("cluster", "zones-prod") for n in WORKFLOWS]
    assert [path.name for path in workflows] == names
    passes(CHECK, "--builtin-schema", "vendor.github-workflows", *workflows)


WORKFLOWS = ("night", "plan", "rollout")


def test_gitlab_takes_them(repository):
    files = [repository / ".gitlab-ci.yml", *sorted((repository / ".gitlab").glob("*.yml"))]
    assert len(files) == 3
    passes(CHECK, "--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", *files)


def test_shellcheck_finds_nothing(repository, tmp_path):
    scripts = sorted(repository.glob(".git[hl]*/onebaton/*.sh"))
    assert len(scripts) == 14
    blocks = []
    for workflow in (repository / ".github/workflows").iterdir():
        jobs = YAML(typ="safe", pure=True).load(workflow.read_text())["jobs"]
        for job in jobs.values():
            blocks += [step["run"] for step in job["steps"] if "run" in step]
    for pipeline in (repository / ".gitlab").glob("*.yml"):
        for job in gitlab_yaml().load(pipeline.read_text()).values():
            parts = [*job.get("before_script", []), *job.get("script", [])]
            blocks.append("\n".join(part for part in parts if isinstance(part, str)))
    for number, block in enumerate(blocks):
        path = tmp_path / f"{number}.sh"
        path.write_text(f"#!/bin/bash\n{block}")
        scripts.append(path)
    assert len(scripts) > 30
    for script in scripts:
        passes("bash", "-n", script)
    passes("shellcheck", "--external-sources", *scripts)


def test_what_is_there_is_not_lost(repository):
    plan = repository / ".github/workflows/onebaton-cluster-plan.yml"
    written = plan.read_text()
    assert "already, as they would be written" in init(repository, "--pipeline", "github")
    plan.write_text("mine")
    said = init(repository, "--pipeline", "github", status=2)
    assert ".github/workflows/onebaton-cluster-plan.yml" in said
    assert "--force" in said
    assert plan.read_text() == "mine"
    config = (repository / "cluster.yaml").read_text()
    init(repository, "--pipeline", "github", "--force")
    assert plan.read_text() == written
    assert (repository / "cluster.yaml").read_text() == config
