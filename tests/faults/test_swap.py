"""Machines are exchanged in their places: killed in the middle of it, and given up half-way."""

import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.e2e.running import wait_until
from tests.faults.test_killed import kill_in_the_middle
from tests.faults.trial import Trial, take_back_withdrawn

pytestmark = [pytest.mark.faults]


@pytest.fixture
def swapping(zone: Trial) -> Iterator[Trial]:
    """The zone, with a roll to be made by swap: to the generation's places that it is in."""
    config = zone.lab.folder / "cluster.yaml"
    before = config.read_text()
    strategy = f"strategy: {zone.lab.strategy}\n"
    assert strategy in before
    config.write_text(before.replace(strategy, "strategy: swap\n"))
    try:
        yield replace(zone, generation=zone.target)
    finally:
        config.write_text(before)


def ids(zone: Trial) -> dict[str, int]:
    """Ids of the zone's servers by address."""
    return {address: zone.server_id(address) for address in zone.lab.addresses(zone.target)}


def test_a_swap_killed_in_the_middle_of_its_steps(swapping: Trial):
    """While a server stops, its machine goes and comes, is filled and starts, and a leader goes."""
    servers, before = swapping.lab.servers(), ids(swapping)
    with swapping.writes() as writes:
        killed_in = kill_in_the_middle(
            swapping,
            into := {
                "swap": (0.3, 1.5, 3.0, 5.0),
                "seed": (0.5,),
                "join": (0.5, 2.0),
                "hand-over": (0.5,),
            },
        )
    print(*killed_in, sep="\n")  # noqa: T201 - for a human to judge
    swapping.require_end(writes)
    assert {step.partition(":")[0] for step in killed_in} == set(into)
    assert (swapping.lab.servers(), ids(swapping)) == (servers, before)


def test_a_half_done_swap_that_is_given_up(swapping: Trial):
    """One server was swapped, and another one is being: both go back to the image they had."""
    servers, before = swapping.lab.servers(), ids(swapping)
    containers = swapping.lab.containers()
    with swapping.writes() as writes:
        with swapping.rollout_reaching("done", "join:") as command:
            (first,) = (
                one.step.removeprefix("join:")
                for one in command.transitions()
                if one.event == "done" and one.step.startswith("join:")
            )
            wait_until(
                "another machine to be exchanged",
                lambda: any(
                    one.event == "done" and one.step.startswith("swap:") and first not in one.step
                    for one in command.transitions()
                ),
                timeout_s=120,
            )
            command.signal(signal.SIGKILL)
            command.finish()
        swapping.served()
        # The image that it began with, which the zone was kept from being rolled to.
        take_back_withdrawn(swapping.lab)
        swapping.abort_ends()
    swapping.want_another_image()
    replace(swapping, generation=swapping.target).require_unchanged(writes, containers)
    assert (swapping.lab.servers(), ids(swapping)) == (servers, before)
