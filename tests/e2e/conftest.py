"""One zone for all end-to-end tests: images baked once and kept, machines always removed.

The tests share the zone in the order of their files: what only looks, what is refused, then the
roll, which leaves the zone on the next release.
"""

import contextlib
import fcntl
import json
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.e2e.lab import FOLLOWER, LEADER, ROOT, Lab
from tests.e2e.running import run, wait_until

OLD, NEW, NEXT_SCHEMA = "6.10.0", "6.10.5", "7.0.2"
#: Run at the end of a bake: shortens what the stand-in does slowly because the real one does.
#: Only the stand-in reads this file. Raft's own times stay as they are.
SHORTER = """\
#!/bin/sh
set -eu
printf 'START_DELAY_S=1\\nSTOP_DELAY_S=0.5\\nWARMUP_S=3\\nROW_DELAY_MS=5\\n' > /etc/one/standin.conf
"""


@contextlib.contextmanager
def lab_of(
    folder: str,
    name: str,
    net: str,
    *,
    version: str,
    bakes: Sequence[str],
    rollout: str = "",
    keep: int = 1,
) -> Iterator[Lab]:
    """A cluster without machines, with its images; nobody else has it, its machines go at the end.

    :param folder: where under ``.cache`` it is kept from run to run.
    :param version: the one that its configuration names.
    :param bakes: releases to bake, one after the other.
    :param rollout: further lines of its configuration's section of that name.
    :param keep: how many images of each release are left for the next run.
    """
    lab = Lab(ROOT / ".cache" / folder, name, net)
    lab.folder.mkdir(parents=True, exist_ok=True)
    script = lab.folder / "shorter.sh"
    script.write_text(SHORTER)
    with alone(lab.folder / "in-use"):
        lab.prepare(version=version, scripts=(script,), rollout=rollout)
        for left in ("journal", "rehearsals", "reports"):
            shutil.rmtree(lab.folder / "state" / left, ignore_errors=True)
        lab.onebaton("destroy", "--yes", timeout_s=120)
        forget_gone_images(lab)
        # A cancelled pipeline ends tests by SIGTERM: then, too, the machines go.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for release in bakes:
                bake(lab, release)
            yield lab
        finally:
            signal.signal(signal.SIGTERM, before)
            remove_machines(lab)
            forget_older_images(lab, keep=keep)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one run of the tests has what the file stands for."""
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another run of these tests is under way in this checkout")
        yield


def bake(lab: Lab, release: str) -> None:
    """Bake a release, unless another lab of this checkout has baked the same recipe before."""
    shared, own = ROOT / ".cache" / "baked", lab.folder / "state" / "images"
    for folder in (shared, own):
        folder.mkdir(parents=True, exist_ok=True)
    # Two labs at a time would bake the same twice.
    with (shared / "in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Where an image is gone, or its recipe is another one now, it is baked anew.
        for entry in of_release(shared, release):
            shutil.copyfile(entry, own / entry.name)
        lab.onebaton("bake", "--version", release)
        newest = of_release(own, release)[-1]
        for entry in of_release(shared, release):
            entry.unlink()
        shutil.copyfile(newest, shared / newest.name)


def of_release(folder: Path, release: str) -> list[Path]:
    """A catalogue's entries for images of a release, the oldest first."""
    entries = {entry: json.loads(entry.read_text()) for entry in folder.glob("*.json")}
    found = [entry for entry, image in entries.items() if image["version"] == release]
    return sorted(found, key=lambda entry: str(entries[entry]["built_at"]))


def another_image(lab: Lab) -> str:
    """Name of an image of the new release that no machine runs; baked where there is none."""
    used = {node["image"] for node in lab.status()["nodes"]}
    for again in (False, True):
        if again:
            lab.onebaton("bake", "--version", NEW, "--force")
        entries = of_release(lab.folder / "state" / "images", NEW)
        free = {json.loads(entry.read_text())["name"] for entry in entries} - used
        if free:
            return max(free)
    raise AssertionError("what was baked is not in the catalogue")


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A cluster without machines, with an image of each release."""
    releases = (OLD, NEXT_SCHEMA, NEW)
    with lab_of("e2e", "e2e", "10.201.11", version=NEW, bakes=releases) as made:
        yield made


@pytest.fixture(scope="session")
def founded(lab: Lab) -> Lab:
    """The cluster with a zone of three servers of the old release."""
    lab.onebaton("bootstrap", "--version", OLD)
    return lab


def remove_machines(lab: Lab) -> None:
    """Destroy them, also while what a killed run had started is still ending."""
    wait_until(
        "all machines to be destroyed",
        lambda: run(lab.command("destroy", "--yes")).status == 0 and not lab.containers(),
        timeout_s=120,
        interval_s=2,
    )


def forget_older_images(lab: Lab, *, keep: int = 1) -> None:
    """Keep the newest images of each release: a run must not leave more than it found."""
    images = lab.folder / "state" / "images"
    for release in {json.loads(entry.read_text())["version"] for entry in images.glob("*.json")}:
        for older in of_release(images, release)[:-keep]:
            run(["podman", "image", "rm", json.loads(older.read_text())["name"]])
            older.unlink()


def forget_gone_images(lab: Lab) -> None:
    """Take those off the catalogue that another lab, or `make clean`, has removed since."""
    for entry in (lab.folder / "state" / "images").glob("*.json"):
        name = json.loads(entry.read_text())["name"]
        if run(["podman", "image", "exists", name]).status != 0:
            entry.unlink()


@pytest.fixture
def zone(founded: Lab) -> Lab:
    """The living zone, whole and at rest."""
    wait_whole(founded)
    return founded


def wait_whole(lab: Lab, *, timeout_s: float = 90) -> None:
    """Wait until all servers are members of one mind, and clients reach the leader.

    :raises AssertionError: if that takes too long.
    """

    def whole() -> bool:
        running = lab.running()
        said = [lab.raft(address) for address in running]
        if None in said:
            return False
        agreed = len({(s["TERM"], s["LOG_INDEX"]) for s in said}) == 1
        parts = sorted(s["STATE"] for s in said)
        through = lab.raft(f"{lab.net}.100")
        # What is logged is applied a heartbeat later: the zone must look the same everywhere.
        shown = {lab.call(lab.endpoint(address), "one.zone.info", 0, False) for address in running}
        return (
            agreed
            and len(shown) == 1
            and parts == [FOLLOWER] * (lab.size - 1) + [LEADER]
            and through is not None
            and through["STATE"] == LEADER
        )

    wait_until("a zone that is whole and at rest", whole, timeout_s=timeout_s, interval_s=0.3)
