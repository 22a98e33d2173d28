"""One zone for all faults: each test finds it healthy, and leaves it to the next one.

What a test rolls the zone to is another image of the new release than the zone runs on, so that
no test has to found the zone anew.
"""

from collections.abc import Iterator

import pytest
from tests.e2e.conftest import NEW, OLD, lab_of
from tests.e2e.lab import Lab
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
    with lab_of(
        "faults",
        "flt",
        "10.201.13",
        version=NEW,
        bakes=(OLD, NEW),
        rollout=TIMEOUTS,
        keep=2,
    ) as made:
        take_back_withdrawn(made)
        try:
            yield made
        finally:
            take_back_withdrawn(made)


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
