"""One zone for all faults: each test finds it healthy, and leaves it to the next one.

Two images of the new release are baked. What a test rolls the zone to is the other one than
the zone runs on, so that no test has to found the zone anew.
"""

import fcntl
import json
import shutil
import signal
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import NEW, OLD, SHORTER, forget_older_images, remove_machines
from tests.e2e.lab import ROOT, Lab
from tests.faults.faults import heal
from tests.faults.trial import Trial, take_back_withdrawn

#: Deadlines of this lab, in seconds: a fault is waited for no longer than it takes to be sure.
TIMEOUTS = """\
  timeouts:
    boot_s: 45
    seed_s: 60
    start_s: 40
    catch_up_s: 40
    stop_s: 30
    election_s: 30
"""


@pytest.fixture(scope="session")
def machines() -> Iterator[Lab]:
    """A cluster without machines, with its images; its machines go at the end."""
    made = Lab(ROOT / ".cache" / "faults", "flt", "10.201.13")
    made.folder.mkdir(parents=True, exist_ok=True)
    script = made.folder / "shorter.sh"
    script.write_text(SHORTER)
    with (made.folder / "in-use").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail("another run of these tests is under way in this checkout")
        made.prepare(version=NEW, scripts=(script,))
        config = made.folder / "cluster.yaml"
        strategy = f"  strategy: {made.strategy}\n"
        config.write_text(config.read_text().replace(strategy, strategy + TIMEOUTS))
        shutil.rmtree(made.folder / "state" / "journal", ignore_errors=True)
        take_back_withdrawn(made)
        made.onebaton("destroy", "--yes", timeout_s=120)
        # A cancelled pipeline ends tests by SIGTERM: then, too, the machines go.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            made.onebaton("bake", "--version", OLD)
            made.onebaton("bake")
            if images_of(made, NEW) < 2:
                made.onebaton("bake", "--force")
            yield made
        finally:
            signal.signal(signal.SIGTERM, before)
            remove_machines(made)
            take_back_withdrawn(made)
            forget_older_images(made, keep=2)


def images_of(lab: Lab, version: str) -> int:
    """How many images of a release are in the catalogue."""
    entries = (lab.folder / "state" / "images").glob("*.json")
    return sum(json.loads(entry.read_text())["version"] == version for entry in entries)


@pytest.fixture(scope="session")
def trial(machines: Lab) -> Trial:
    """The cluster, and which generation it is on from test to test."""
    return Trial(machines)


@pytest.fixture
def zone(trial: Trial) -> Trial:
    """A zone of three, healthy, with a roll to be made.

    What a test that failed left is healed; where that does not help, the zone is founded anew.
    """
    heal(trial.lab)
    trial.make_ready()
    print("---- ready ----")  # noqa: T201 - what comes before is no part of the test
    return trial
