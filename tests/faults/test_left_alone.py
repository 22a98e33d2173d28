"""A zone that is not healthy is left alone: said clearly, changed nothing, served all the while.

Each fault is there before the command begins. Healed, the same roll is to be made as before.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.faults.faults import (
    black_hole,
    partition,
    read_only,
    vip_added,
    wait_for_term_to_rise,
)
from tests.faults.trial import REFUSED, UNAVAILABLE, Trial

pytestmark = [pytest.mark.faults, pytest.mark.quick]

Fault = Callable[[Trial], contextlib.AbstractContextManager[object]]


@dataclass(frozen=True)
class Case:
    """A fault, and what must be said of it."""

    fault: Fault
    texts: tuple[str, ...]


def vip_twice(zone: Trial):
    return vip_added(zone.lab, zone.follower())


def follower_black_holed(zone: Trial):
    return black_hole(zone.lab, zone.follower())


@contextlib.contextmanager
def leader_cut_off(zone: Trial):
    """Both directions: it goes on saying that it leads, and the others elect another."""
    leader = zone.leader()
    others = [a for a in zone.lab.addresses(zone.generation) if a != leader]
    with partition(zone.lab, leader, *others):
        wait_for_term_to_rise(zone.lab, others[0], by=1)
        yield


@contextlib.contextmanager
def follower_deaf(zone: Trial):
    """One direction: it hears nobody and stands for election again and again."""
    deaf = zone.follower()
    others = [a for a in zone.lab.addresses(zone.generation) if a != deaf]
    with partition(zone.lab, deaf, *others, speaks=True):
        wait_for_term_to_rise(zone.lab, deaf, by=2)
        yield


@contextlib.contextmanager
def follower_mute(zone: Trial):
    """The other direction: it hears the leader, whose calls get no answer."""
    mute = zone.follower()
    others = [a for a in zone.lab.addresses(zone.generation) if a != mute]
    with partition(zone.lab, mute, *others, hears=True):
        wait_for_term_to_rise(zone.lab, mute, by=1)
        yield


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(
            Case(vip_twice, ("more than one machine holds the virtual IP", "ip address del")),
            id="VIP on two nodes",
        ),
        pytest.param(Case(follower_black_holed, ("is unknown",)), id="follower black-holed"),
        pytest.param(Case(leader_cut_off, ()), id="leader cut off"),
        pytest.param(Case(follower_deaf, ()), id="follower deaf"),
        pytest.param(Case(follower_mute, ()), id="follower mute"),
    ],
)
def test_a_zone_with_a_fault_is_left_alone(zone: Trial, case: Case):
    containers = zone.lab.containers()
    with zone.writes() as writes:
        with case.fault(zone):
            zone.rollout_fails(REFUSED, *case.texts)
        zone.at_rest()
    zone.require_unchanged(writes, containers)


def test_a_state_folder_that_cannot_be_written(zone: Trial):
    containers = zone.lab.containers()
    with zone.writes() as writes, read_only(zone.lab.folder / "state"):
        zone.rollout_fails(UNAVAILABLE, "Read-only file system", "state folder")
    zone.require_unchanged(writes, containers)
