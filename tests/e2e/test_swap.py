"""A swap on a living zone, under writes: new machines in the places of the old ones.

After the roll: the zone runs the new release in one generation's places, and keeps them. It is
swapped to another image of that release, which is in a channel.
"""

import json
import signal
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import NEW, another_image, wait_whole
from tests.e2e.lab import Lab
from tests.e2e.running import run, running, wait_until
from tests.e2e.watching import Pace

pytestmark = [pytest.mark.e2e]

#: Longest time without an acknowledged write through the virtual IP, in seconds, on a machine
#: that does nothing else; others' work makes it longer, up to so many times.
MAX_VIP_WRITE_GAP_S, MOST_SLOWNESS = 2.5, 4.0
MOST_RUNS = 3
REFUSED, UNAVAILABLE, DEADLINE = 4, 69, 75


def identities(lab: Lab) -> dict[str, tuple[str, str]]:
    """Instance and image of each machine, by name."""
    shown = subprocess.run(
        ["podman", "container", "inspect", *lab.containers()],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    labels = {one["Name"]: one["Config"]["Labels"] for one in json.loads(shown.stdout)}
    return {
        name: (found["onebaton.instance"], found["onebaton.image"])
        for name, found in labels.items()
    }


def go_on(lab: Lab, config: Path) -> None:
    """Run it to its end.

    On a machine that has too much to do a server may miss heartbeats, or another one be elected
    than the steered one: a run that stops for it says so, and is repeated as its message asks.
    """
    for _ in range(MOST_RUNS):
        outcome = run(lab.command("rollout", config=config), timeout_s=400)
        outcome.show("swap, gone on with")
        if outcome.status == 0:
            return
        assert outcome.status in (REFUSED, UNAVAILABLE, DEADLINE), outcome.err
        wait_until("one leader", lab.leader, timeout_s=90, interval_s=1.0)
    raise AssertionError(outcome.err)


def test_a_swap_that_is_killed_changes_nothing_in_the_zone(zone: Lab):
    before, machines = zone.call(zone.vip, "one.zone.info", 0, False), identities(zone)
    servers, image = zone.servers(), another_image(zone)
    zone.onebaton("images", "promote", image, "swapped")
    config = zone.variant(
        "swap",
        ("strategy: surge", "strategy: swap"),
        (f"version: {NEW}\n", f"version: {NEW}\n  channel: swapped\n"),
    )
    traffic = zone.traffic(vip_writes_hz=20.0, member_writes_hz=10.0)
    traffic.start()
    try:
        with Pace() as pace:
            with running(zone.command("rollout", config=config)) as command:
                command.wait_for_line("swap:.*done")
                command.wait_for_line(r"\] seed ")
                command.signal(signal.SIGKILL)
                command.finish()
            assert zone.servers() == servers
            assert "by swap" in run(zone.command("status", config=config)).out
            surge = run(zone.command("plan"))
            assert surge.status == REFUSED
            assert "begun as swap" in surge.err
            go_on(zone, config)
    finally:
        traffic.stop()
    wait_whole(zone)
    generation = next(iter(machines)).removeprefix(f"{zone.name}-")[0]
    assert zone.problems(traffic, generation=generation, version=NEW) == []
    assert zone.call(zone.vip, "one.zone.info", 0, False) == before
    now = identities(zone)
    assert now.keys() == machines.keys()
    assert {found for _, found in now.values()} == {image}
    assert not {one for one, _ in now.values()} & {one for one, _ in machines.values()}
    gap_s, begin, _ = traffic.writes["vip"].longest_gap()
    print(  # noqa: T201 - for a human to judge
        f"{len(traffic.acknowledged)} acknowledged writes, {traffic.rate():.1f} a second; longest "
        f"gap of writes through the VIP {gap_s:.2f} s at +{begin - traffic.began:.0f} s; this "
        f"machine {pace.slowness:.1f} times slower than alone"
    )
    assert gap_s <= MAX_VIP_WRITE_GAP_S * min(pace.slowness, MOST_SLOWNESS)
