"""A repository with a cluster's configuration, and what a runner's onebaton plays."""

import subprocess
import sys
from pathlib import Path

from tests.integration.pipelines.machine import Machine, git

PLAN = "<!-- onebaton-plan zone=lab -->"
REPORT = "<!-- onebaton-report zone=lab -->"
CONFIG = """\
zone:
  name: lab
  vip: {{address: 10.77.10.100/24}}
  credentials: {{password: {{file: {secrets}/oneadmin}}}}
image:
  version: {version}
  repository: {{url: {secrets}}}
platform: {{kind: podman}}
network:
  subnet: 10.77.10.0/24
  generations:
    a: [10.77.10.11, 10.77.10.12, 10.77.10.13]
    b: [10.77.10.21, 10.77.10.22, 10.77.10.23]
ssh: {{key: {secrets}/id_ed25519}}
state: {secrets}/state
"""


def init(folder: Path, *words: str, status: int = 0) -> str:
    """Run ``onebaton init``; all that it says."""
    done = subprocess.run(
        [Path(sys.executable).parent / "onebaton", "init", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def commit(folder: Path, text: str) -> str:
    """All that is there; the commit."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", text)
    return git(folder, "rev-parse", "HEAD")


def found(folder: Path, machine: Machine, system: str) -> str:
    """A repository with a configuration and its workflows; what ``init`` said.

    The runner has onebaton: pip is tried once and not with every job.
    """
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    text = CONFIG.format(secrets=machine.folder, version="6.10.0")
    (folder / "cluster.yaml").write_text(text)
    said = init(folder, "--pipeline", system)
    require(folder, "installed")
    commit(folder, "A zone")
    return said


def require(folder: Path, what: str) -> None:
    """Let pip install something else."""
    changed = 0
    for path in [*folder.glob(".github/workflows/*"), *folder.glob(".gitlab/*.yml")]:
        lines = path.read_text().splitlines()
        for place, line in enumerate(lines):
            before, key, _ = line.partition("ONEBATON_REQUIREMENT: ")
            if key and not before.strip():
                lines[place] = f"{before}{key}{what}"
                changed += 1
        path.write_text("\n".join([*lines, ""]))
    assert changed


def branch(origin: Path, machine: Machine, version: str = "6.10.5") -> str:
    """A change of the version on the branch ``next``; its head."""
    git(origin, "checkout", "--quiet", "-B", "next", "main")
    text = CONFIG.format(secrets=machine.folder, version=version)
    (origin / "cluster.yaml").write_text(text)
    head = commit(origin, f"Roll to {version}")
    git(origin, "checkout", "--quiet", "main")
    return head


def merge(origin: Path) -> str:
    """The branch is merged; the commit on main."""
    git(origin, "merge", "--quiet", "--no-ff", "--message", "Merge", "next")
    return git(origin, "rev-parse", "main")


def plans(machine: Machine, text: str = "first", *, real: bool = False) -> None:
    """There is something to do.

    :param real: the configuration is checked for real.
    """
    machine.play(
        {
            "bake": {"out": "baked"},
            "plan": {
                "status": 3,
                "out": "12 steps",
                "writes": {"--out": f'{{"plan": "{text}"}}', "--markdown": f"{PLAN}\n{text} plan"},
            },
        },
        real=real,
    )


def rolls(machine: Machine, status: int = 0, *, leaves_report: bool = True) -> None:
    """The rollout ends like this."""
    old = {"writes": {"--out": "the report of another run"}}
    new = {"writes": {"--out": f"the report of this run {'x' * 60000}"}}
    machine.play(
        {
            "rollout": {
                "status": status,
                "out": "rolled, or not",
                "changes": {"report": new} if leaves_report else {},
            },
            "report": old,
        }
    )
