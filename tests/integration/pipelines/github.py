"""Plays workflows of GitHub on this machine, as its runner does."""

import io
import shutil
import subprocess
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from tests.integration.pipelines.expressions import as_text, dotted, evaluate, insert
from tests.integration.pipelines.machine import Machine, git
from tests.integration.pipelines.service import REPOSITORY, Service

TOKEN = "token-of-one-job"
#: Of a script; a busy machine is slow.
TIMEOUT_S = 180


@dataclass
class Step:
    """How a step ended.

    :ivar outcome: success, failure or skipped.
    """

    name: str
    outcome: str
    output: str = ""


@dataclass
class Job:
    """How a job ended."""

    outcome: str
    steps: list[Step] = field(default_factory=list)
    summary: str = ""

    @property
    def output(self) -> str:
        return "".join(f"--- {s.name}: {s.outcome}\n{s.output}" for s in self.steps)

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)


@dataclass
class GitHub:
    """A repository with its workflows and the runner that plays them.

    :ivar origin: the repository, with branches.
    :ivar variables: of the repository.
    """

    origin: Path
    machine: Machine
    service: Service
    variables: dict[str, str] = field(default_factory=dict)
    runs: int = 0

    def pull_request(self, sha: str, *, fork: bool = False) -> dict[str, Job]:
        """Somebody pushed to pull request 7."""
        source = "somebody/zones" if fork else REPOSITORY
        event = {"pull_request": {"number": 7, "head": {"sha": sha, "repo": {"full_name": source}}}}
        jobs = self.play("plan", sha, "pull_request", event, ref="refs/pull/7/merge")
        done = all(job.outcome in ("success", "skipped") for job in jobs.values())
        self.service.runs.append(
            {
                "id": self.runs,
                "run_number": self.runs,
                "workflow": "onebaton-cluster-plan.yml",
                "head_sha": sha,
                "event": "pull_request",
                "from": source,
                "conclusion": "success" if done else "failure",
            }
        )
        return jobs

    def push(self, sha: str) -> Job:
        """Something came to main."""
        return self.play("rollout", sha, "push", {})["rollout"]

    def by_hand(self, command: str) -> Job:
        """Somebody ran the rollout's workflow."""
        sha = git(self.origin, "rev-parse", "main")
        event = {"inputs": {"command": command}}
        return self.play("rollout", sha, "workflow_dispatch", event)["rollout"]

    def night(self) -> Job:
        """It is night."""
        return self.play("night", git(self.origin, "rev-parse", "main"), "schedule", {})["night"]

    def play(
        self, name: str, sha: str, event_name: str, event: dict, *, ref: str = "refs/heads/main"
    ) -> dict[str, Job]:
        """All jobs of a workflow, each after those that it needs."""
        self.runs += 1
        text = git(self.origin, "show", f"{sha}:.github/workflows/onebaton-cluster-{name}.yml")
        workflow = YAML(typ="safe", pure=True).load(text)
        assert event_name in workflow["on"]
        jobs: dict[str, Job] = {}
        for job_name, job in workflow["jobs"].items():
            contexts = {
                "github": {
                    "sha": sha,
                    "ref": ref,
                    "event_name": event_name,
                    "event": event,
                    "repository": REPOSITORY,
                    "server_url": "https://github.example.org",
                    "run_id": self.runs,
                    "token": TOKEN if "pull-requests" in job["permissions"] else "reads-only",
                },
                "vars": self.variables,
                "inputs": event.get("inputs", {}),
                "runner": {"os": "Linux"},
            }
            needed = job.get("needs", [])
            needed = [needed] if isinstance(needed, str) else needed
            ready = all(jobs[one].outcome == "success" for one in needed)
            if not ready or not self._is_wanted(job.get("if"), contexts, Job("success")):
                jobs[job_name] = Job("skipped")
                continue
            jobs[job_name] = self._job(job, workflow.get("env", {}), contexts, sha)
        return jobs

    def _is_wanted(self, condition: str | None, contexts: dict, job: Job) -> bool:
        text = condition or "success()"
        if text.startswith("${{"):
            text = text.removeprefix("${{").removesuffix("}}")
        asks = any(word in text for word in ("success()", "cancelled()", "failure()", "always()"))

        def look(name: str) -> object:
            functions = {
                "success()": job.outcome == "success",
                "failure()": job.outcome == "failure",
                "cancelled()": False,
                "always()": True,
            }
            return functions[name] if name in functions else dotted(contexts, name)

        return bool(evaluate(text, look)) and (asks or job.outcome == "success")

    def _job(self, job: dict, env: dict[str, str], contexts: dict, sha: str) -> Job:
        done = Job("success")
        folder = self.machine.folder / f"run-{self.runs}"
        shutil.rmtree(folder, ignore_errors=True)
        workspace, files = folder / "work", folder / "files"
        workspace.mkdir(parents=True)
        files.mkdir()
        (folder / "temp").mkdir()
        paths: list[str] = []
        contexts |= {"env": env, "steps": {}}
        for step in job["steps"]:
            name = step.get("name") or step["uses"].partition("@")[0]
            if not self._is_wanted(step.get("if"), contexts, done):
                done.steps.append(Step(name, "skipped"))
                contexts["steps"] |= {step["id"]: {"outcome": "skipped"}} if "id" in step else {}
                continue

            def look(key: str, contexts: dict = contexts) -> object:
                return dotted(contexts, key)

            outputs: dict[str, str] = {}
            if "uses" in step:
                given = {k: insert(as_text(v), look) for k, v in step.get("with", {}).items()}
                ended = self._uses(name, step["uses"], given, workspace, sha)
            else:
                own = {k: insert(v, look) for k, v in {**env, **step.get("env", {})}.items()}
                ended = self._run(
                    name, step["run"], env=own, folder=folder, paths=paths, contexts=contexts
                )
                outputs = dict(
                    line.split("=", 1) for line in (files / "output").read_text().splitlines()
                )
                paths += (files / "path").read_text().split()
                done.summary += (files / "summary").read_text()
            if "id" in step:
                contexts["steps"][step["id"]] = {"outcome": ended.outcome, "outputs": outputs}
            done.steps.append(ended)
            if ended.outcome == "failure":
                done.outcome = "failure"
        return done

    def _uses(self, name: str, uses: str, given: dict, workspace: Path, sha: str) -> Step:
        match uses.partition("@")[0]:
            case "actions/checkout":
                assert given["persist-credentials"] == "false"
                git(workspace, "clone", "--quiet", str(self.origin), ".")
                git(workspace, "checkout", "--quiet", sha)
            case "actions/upload-artifact":
                return self._upload(name, given, workspace)
            case "aws-actions/configure-aws-credentials":
                return Step(name, "success", f"took {given['role-to-assume']}\n")
            case other:
                assert other == "actions/cache"
        return Step(name, "success")

    def _upload(self, name: str, given: dict, workspace: Path) -> Step:
        found = [workspace / path for path in given["path"].split() if (workspace / path).exists()]
        if not found:
            missing = given.get("if-no-files-found") == "error"
            return Step(name, "failure" if missing else "success", "no files\n")
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path in found:
                archive.write(path, path.name)
        number = len(self.service.artefacts) + 1
        self.service.files[number] = content.getvalue()
        self.service.artefacts.append(
            {
                "id": number,
                "run": self.runs,
                "name": given["name"],
                "expired": False,
                "created_at": f"2026-01-01T00:00:{number:02}Z",
            }
        )
        return Step(name, "success")

    def _run(
        self,
        name: str,
        script: str,
        *,
        env: dict[str, str],
        folder: Path,
        paths: list[str],
        contexts: dict,
    ) -> Step:
        assert "${{" not in script, f"{name}: what others write must not become part of a script"
        github = contexts["github"]
        for file in ("output", "path", "summary"):
            (folder / "files" / file).write_text("")
        given = self.machine.environment(
            GITHUB_ACTIONS="true",
            GITHUB_ACTOR="op",
            GITHUB_API_URL=self.service.url,
            GITHUB_REPOSITORY=REPOSITORY,
            GITHUB_SHA=github["sha"],
            GITHUB_REF_NAME=github["ref"].removeprefix("refs/heads/"),
            GITHUB_OUTPUT=str(folder / "files/output"),
            GITHUB_PATH=str(folder / "files/path"),
            GITHUB_STEP_SUMMARY=str(folder / "files/summary"),
            RUNNER_TEMP=str(folder / "temp"),
        )
        given |= env
        given["PATH"] = ":".join([*reversed(paths), given["PATH"]])
        (folder / "temp/script.sh").write_text(script)
        done = subprocess.run(
            ["bash", "-e", str(folder / "temp/script.sh")],
            cwd=folder / "work",
            env=given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        outcome = "success" if done.returncode == 0 else "failure"
        return Step(name, outcome, f"{done.stdout}(status {done.returncode})\n")
