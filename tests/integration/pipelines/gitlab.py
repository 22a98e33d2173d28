"""Plays pipelines of GitLab on this machine, as a runner with the shell executor does."""

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from tests.integration.pipelines.expressions import evaluate
from tests.integration.pipelines.machine import Machine, git
from tests.integration.pipelines.service import Service

JOB_TOKEN, USER_TOKEN = "token-of-one-job", "token-of-a-bot"
#: Of a script; a busy machine is slow.
TIMEOUT_S = 180
_VARIABLE = re.compile(r"\$(\w+)")


def gitlab_yaml() -> YAML:
    """YAML with GitLab's ``!reference``, a tuple of the word and its path."""
    yaml = YAML(typ="safe", pure=True)
    yaml.constructor.add_constructor(
        "!reference", lambda loader, node: ("reference", *loader.construct_sequence(node))
    )
    return yaml


@dataclass
class Ended:
    """How a job ended.

    :ivar files: artefacts by name.
    """

    status: int
    output: str
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class GitLab:
    """A project with its pipelines and the runner that plays them.

    :ivar variables: of the project.
    """

    origin: Path
    machine: Machine
    service: Service
    variables: dict[str, str] = field(default_factory=dict)
    jobs: int = 0

    def merge_request(self, sha: str, *, source: str = "42") -> dict[str, Ended]:
        """Somebody pushed to merge request 7."""
        ended = self.play(
            sha,
            CI_PIPELINE_SOURCE="merge_request_event",
            CI_MERGE_REQUEST_IID="7",
            CI_MERGE_REQUEST_SOURCE_PROJECT_ID=source,
        )
        for name, job in ended.items():
            if job.status == 0:
                for path, content in job.files.items():
                    self.service.files["refs/merge-requests/7/head", name, path] = content
        return ended

    def push(self, sha: str) -> dict[str, Ended]:
        """Something came to main."""
        return self.play(sha, CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main")

    def by_hand(self, name: str) -> Ended:
        """Somebody started a manual job of main's pipeline."""
        sha = git(self.origin, "rev-parse", "main")
        return self.play(sha, name, CI_PIPELINE_SOURCE="push", CI_COMMIT_BRANCH="main")[name]

    def night(self) -> dict[str, Ended]:
        """The schedule's time has come."""
        sha = git(self.origin, "rev-parse", "main")
        return self.play(sha, CI_PIPELINE_SOURCE="schedule", CI_COMMIT_BRANCH="main")

    def play(self, sha: str, by_hand: str = "", **given: str) -> dict[str, Ended]:
        """All jobs of a pipeline whose rules say so, each after those that it needs.

        :param by_hand: the one manual job to play, and no other.
        """
        jobs = self._jobs(sha)
        variables = {
            **self.variables,
            "CI_PROJECT_ID": "42",
            "CI_COMMIT_SHA": sha,
            "CI_DEFAULT_BRANCH": "main",
            "CI_API_V4_URL": self.service.url,
            "CI_JOB_TOKEN": JOB_TOKEN,
            "CI_JOB_URL": "https://gitlab.example.org/job/5",
            "GITLAB_USER_LOGIN": "op",
            **given,
        }
        ended: dict[str, Ended] = {}
        for name, job in jobs.items():
            rule = next((r for r in job["rules"] if self._holds(r["if"], variables)), None)
            if rule is None or (rule.get("when") == "manual") != bool(by_hand):
                continue
            if by_hand and name != by_hand:
                continue
            if any(one not in ended or ended[one].status for one in job.get("needs", [])):
                continue
            ended[name] = self._job(job, variables, sha)
        return ended

    @staticmethod
    def _holds(condition: str, variables: dict[str, str]) -> bool:
        return bool(evaluate(condition, lambda name: variables.get(name.removeprefix("$"))))

    def _jobs(self, sha: str) -> dict[str, dict]:
        """Jobs of the pipeline with all that they extend."""
        yaml = gitlab_yaml()
        entry = yaml.load(git(self.origin, "show", f"{sha}:.gitlab-ci.yml"))
        (place,) = [one["local"] for one in entry["include"]]
        found = yaml.load(git(self.origin, "show", f"{sha}:{place}"))
        whole = {name: self._extended(found, name) for name in found}
        for job in whole.values():
            for key in ("before_script", "script"):
                job[key] = [
                    line
                    for part in job.get(key, [])
                    for line in (whole[part[1]][part[2]] if isinstance(part, tuple) else [part])
                ]
        return {name: job for name, job in whole.items() if not name.startswith(".")}

    def _extended(self, found: dict, name: str) -> dict:
        job = found[name]
        base = self._extended(found, job["extends"]) if "extends" in job else {}
        variables = {**base.get("variables", {}), **job.get("variables", {})}
        return {**base, **job, "variables": variables}

    def _job(self, job: dict, variables: dict[str, str], sha: str) -> Ended:
        self.jobs += 1
        workspace = self.machine.folder / f"job-{self.jobs}"
        shutil.rmtree(workspace, ignore_errors=True)
        workspace.mkdir()
        git(workspace, "clone", "--quiet", str(self.origin), ".")
        git(workspace, "checkout", "--quiet", sha)
        env = {**variables, "CI_PROJECT_DIR": str(workspace), "CI_JOB_ID": str(self.jobs)}
        for name, value in job["variables"].items():
            env[name] = _VARIABLE.sub(lambda match: env.get(match[1], ""), value)
        for name in job.get("id_tokens", {}):
            env[name] = f"identity of {name}"
        done = subprocess.run(
            ["bash", "-eo", "pipefail"],
            input="\n".join([*job["before_script"], *job["script"]]),
            cwd=workspace,
            env=self.machine.environment(GITLAB_CI="true", **env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        for line in job.get("after_script", []):
            subprocess.run(
                ["bash", "-c", line], env=self.machine.environment(**env), check=True, timeout=10
            )
        assert not (workspace / ".onebaton-aws-token").exists()
        paths = [workspace / path for path in job.get("artifacts", {}).get("paths", [])]
        files = {path.name: path.read_bytes() for path in paths if path.is_file()}
        return Ended(done.returncode, done.stdout, files)
