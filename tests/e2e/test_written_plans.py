"""The life of a pull request: planned, reviewed, stale, planned anew, merged, carried out.

After day two: the zone is on the next release, and goes to a newer image of it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.conftest import NEW, another_image, wait_whole
from tests.e2e.lab import ROOT, Lab
from tests.e2e.running import Arguments, Outcome, run

pytestmark = pytest.mark.e2e

RUNNER = ROOT / "tests" / "e2e" / "pull_request.sh"
#: Secrets that are made here are longer.
SHORTEST = 12
MARKER = "<!-- onebaton-plan zone={} -->"


class Forge:
    """A git repository with a cluster's configuration, and what comes of its pull requests."""

    def __init__(self, folder: Path, lab: Lab) -> None:
        self.repository, self.folder = folder / "repository", folder / "forge"
        self.repository.mkdir()
        self.folder.mkdir()
        keys = folder / "keys"
        keys.mkdir(mode=0o700)
        self._openssl("genpkey", "-algorithm", "ed25519", "-out", keys / "plan.key")
        self._openssl("pkey", "-in", keys / "plan.key", "-pubout", "-out", keys / "plan.pub")
        self.key = (keys / "plan.key").read_text()
        text = (lab.folder / "cluster.yaml").read_text()
        for name in ("oneadmin_password", "ssh_key"):
            text = text.replace(f": {name}\n", f": {lab.folder / name}\n")
        text = text.replace("state: state", f"state: {lab.folder / 'state'}")
        text += f"plans:\n  public_keys: [{keys / 'plan.pub'}]\n  require_signature: true\n"
        self.git("init", "--quiet", "--initial-branch", "main")
        self.commit(text, "Describe the cluster")

    def commit(self, text: str, message: str) -> None:
        """Another configuration."""
        (self.repository / "cluster.yaml").write_text(text)
        self.git("add", "cluster.yaml")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    def git(self, *words: str) -> str:
        """One command of git."""
        who = ["-c", "user.name=Operator", "-c", "user.email=operator@example.org"]
        done = subprocess.run(
            ["git", *who, *words], cwd=self.repository, check=True, capture_output=True, text=True,
            timeout=60,
        )  # fmt: skip
        return done.stdout.strip()

    def pipeline(self, event: str, branch: str) -> Outcome:
        """What the pipeline does."""
        env = {
            **os.environ,
            "FORGE": str(self.folder),
            "ONEBATON": str(Path(sys.executable).parent / "onebaton"),
            "SIGN_KEY": self.key,
            "GIT_AUTHOR_NAME": "Pipeline",
            "GIT_AUTHOR_EMAIL": "pipeline@example.org",
            "GIT_COMMITTER_NAME": "Pipeline",
            "GIT_COMMITTER_EMAIL": "pipeline@example.org",
        }
        return run(
            ["bash", "-c", f'cd "$0" && exec bash "{RUNNER}" "$@"', str(self.repository), event,
             branch],
            env=env, timeout_s=420,
        )  # fmt: skip

    def plan(self, branch: str) -> dict:
        """The plan of a branch's last commit."""
        commit = self.git("rev-parse", branch)
        return json.loads((self.folder / "artefacts" / commit / "plan.json").read_text())

    def comments(self, marker: str) -> list[str]:
        """Comments that a marker stands in."""
        found = [path.read_text() for path in sorted((self.folder / "comments").glob("*.md"))]
        return [text for text in found if marker in text]

    @staticmethod
    def _openssl(*words: object) -> None:
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=30)


def restart_the_leader(lab: Lab) -> tuple[str, str]:
    """Somebody restarts the server that leads; names of the leaders before and after."""
    before = name_of_leader(lab)
    lab.ssh(lab.leader(), "systemctl restart opennebula")
    wait_whole(lab)
    return before, name_of_leader(lab)


def name_of_leader(lab: Lab) -> str:
    address = lab.leader()
    return next(name for name, at in lab.servers().items() if f"//{address}:" in at)


def secrets_of(lab: Lab, forge: Forge) -> set[str]:
    """What must stand in no plan and no comment."""
    key = (lab.folder / "ssh_key").read_text().splitlines()
    script = (
        "grep -hoP 'passwd *= *\"\\K[^\"]+' -i /etc/one/oned.conf; "
        "cat /var/lib/one/.one/*_auth | cut -d: -f2"
    )
    # A short word is none that was drawn, and may stand anywhere.
    on_node = [word for word in lab.ssh(lab.leader(), script).split() if len(word) > SHORTEST]
    return {lab.session.partition(":")[2], key[1], key[2], *on_node, *forge.key.splitlines()[1:2]}


def test_what_was_reviewed_is_what_runs(zone: Lab, tmp_path: Path):
    forge = Forge(tmp_path, zone)
    name = another_image(zone)
    images = json.loads(zone.onebaton("images", "list", "--json", capture=True))
    (image,) = [one for one in images if one["name"] == name]
    zone.onebaton("images", "promote", name, "production")

    # A pull request: its plan, and one comment.
    forge.git("switch", "--quiet", "--create", "next-image")
    text = (forge.repository / "cluster.yaml").read_text()
    forge.commit(
        text.replace(f"version: {NEW}", f"version: {NEW}\n  channel: production"),
        "Take the image in production",
    )
    with Arguments() as arguments:
        outcome = forge.pipeline("opened", "next-image")
    outcome.show("plan")
    assert outcome.status == 0, outcome.err
    plan = forge.plan("next-image")
    marker = MARKER.format(zone.name)
    (comment,) = forge.comments(marker)
    assert plan["plan"]["start"]["leader"] == name_of_leader(zone)
    assert plan["plan"]["image"]["digest"] == image["digest"]
    assert [step["kind"] for step in plan["plan"]["steps"]].count("hand-over") == 1
    changes = plan["plan"]["platform"]["changes"]
    assert len(changes) >= zone.size
    assert {word for change in changes for word in change["actions"]} == {"create"}
    assert plan["plan"]["platform"]["state"]["serial"] > 0
    assert "| Rows at risk | none |" in comment
    secrets = secrets_of(zone, forge)
    assert len(secrets) >= 5
    assert arguments.seen
    for secret in secrets:
        assert secret not in json.dumps(plan)
        assert secret not in comment
        assert not arguments.holding(secret)

    # Meanwhile somebody restarts a server: what was reviewed is not the zone any more.
    before, now = restart_the_leader(zone)
    assert now != before
    machines = zone.containers()
    outcome = forge.pipeline("merged", "next-image")
    assert outcome.status == 4
    (told,) = forge.comments("<!-- onebaton-rollout -->")
    assert f"leader: planned {before}; now {now}" in told
    assert "Nothing was changed" in told
    assert zone.containers() == machines
    # Nor can the plan that needs a signature be gone around.
    outcome = run(zone.command("rollout", config=forge.repository / "cluster.yaml"))
    assert outcome.status == 4
    assert "only signed plans" in outcome.err

    # Planned anew on the same branch: the comment is written anew, in its place.
    forge.git("switch", "--quiet", "next-image")
    forge.commit((forge.repository / "cluster.yaml").read_text(), "Plan anew")
    assert forge.pipeline("opened", "next-image").status == 0
    (again,) = forge.comments(marker)
    assert again != comment
    assert f"- leader: {now}" in again

    # Merged, and carried out as it was reviewed.
    outcome = forge.pipeline("merged", "next-image")
    (told,) = forge.comments("<!-- onebaton-rollout -->")
    assert outcome.status == 0, told
    wait_whole(zone)
    digests = {node["image"] for node in zone.status()["nodes"]}
    assert digests == {image["name"]}
    report = sorted((zone.folder / "state" / "reports").glob("*-rollout.json"))[-1]
    taken = [step["step_id"] for step in json.loads(report.read_text())["steps"]]
    assert taken == [step["id"] for step in forge.plan("next-image")["plan"]["steps"]]
    assert report.stem in told

    # Once.
    outcome = forge.pipeline("merged", "next-image")
    assert outcome.status == 4
    (told,) = forge.comments("<!-- onebaton-rollout -->")
    assert "the plan is used: it was carried out already" in told
