"""Day two: a server is parked and comes back, machines are replaced, a roll is given up.

After the roll: the zone runs the new release, and comes out of this as it was.
"""

import signal
import subprocess

import pytest
from tests.e2e.conftest import NEW, OLD, another_image, wait_whole
from tests.e2e.lab import Lab
from tests.e2e.running import run, running

pytestmark = [pytest.mark.e2e]


def follower(lab: Lab) -> str:
    """Name of a server that does not lead."""
    leader = lab.leader()
    return next(
        name for name, at in sorted(lab.servers().items()) if leader is None or leader not in at
    )


def version_of(lab: Lab) -> str:
    """Release that the zone runs."""
    return lab.call(lab.vip, "one.system.version")


def test_a_server_is_parked_and_comes_back(zone: Lab):
    name = follower(zone)
    before = zone.servers()
    zone.onebaton("park", name)
    assert zone.servers() == before
    outcome = run(zone.command("plan", "--version", NEW))
    assert outcome.status == 4
    assert f"onebaton unpark {name}" in outcome.err
    assert "parked since" in run(zone.command("status")).out
    other = next(n for n in before if n not in (name, zone.name_of(zone.leader())))
    outcome = run(zone.command("park", other))
    assert outcome.status == 4
    assert "no quorum" in outcome.err
    traffic = zone.traffic()
    traffic.start()
    try:
        zone.onebaton("unpark", name)
    finally:
        traffic.stop()
    wait_whole(zone)
    assert zone.servers() == before
    zone.require_none_lost(zone.running(), traffic)


def test_machines_are_replaced_whether_they_answer_or_not(zone: Lab):
    """Killed on its way, the same command goes on; a leader hands over."""
    silent, leads = follower(zone), zone.name_of(zone.leader())
    names = set(zone.servers())
    subprocess.run(["podman", "kill", silent], check=True, capture_output=True, timeout=60)
    traffic = zone.traffic()
    traffic.start()
    try:
        with running(zone.command("replace", silent, "--yes")) as command:
            command.wait_for_line("provision:.*done")
            command.signal(signal.SIGKILL)
            command.finish()
        outcome = run(zone.command("rollout", "--version", version_of(zone)))
        assert outcome.status == 4
        assert f"onebaton replace {silent}" in outcome.err
        zone.onebaton("replace", silent, "--yes")
        zone.onebaton("replace", leads, "--yes")
    finally:
        traffic.stop()
    wait_whole(zone)
    assert set(zone.servers()) == names
    assert len(zone.containers()) == len(names)
    zone.require_none_lost(zone.running(), traffic)


def test_a_roll_is_given_up(zone: Lab):
    """By one who wants another image meanwhile, and is told to."""
    zone.onebaton("images", "promote", another_image(zone), "next")
    config = zone.variant("next", (f"version: {NEW}\n", f"version: {NEW}\n  channel: next\n"))
    before, containers = zone.servers(), zone.containers()
    with running(zone.command("rollout", config=config)) as command:
        command.wait_for_line("join:.*done")
        command.signal(signal.SIGKILL)
        command.finish()
    assert len(zone.servers()) > zone.size
    # One of the same version is not the one that it began with either.
    assert "onebaton abort" in run(zone.command("status")).out
    outcome = run(zone.command("plan", "--version", OLD))
    assert outcome.status == 4
    assert "half-done" in outcome.err
    zone.onebaton("abort", "--yes")
    wait_whole(zone)
    assert zone.servers() == before
    assert zone.containers() == containers
