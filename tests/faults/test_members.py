"""Servers that misbehave in the middle of a roll, new ones and those that are taken out."""

import contextlib
import re

import pytest
from tests.e2e.lab import FOLLOWER
from tests.e2e.running import wait_until
from tests.faults.faults import (
    change_row,
    cut_off,
    partition,
    put_away,
    remove_machine,
    revive,
    stops_held,
    wait_for_term_to_rise,
)
from tests.faults.trial import (
    DEADLINE,
    FAILED,
    OK,
    REFUSED,
    UNAVAILABLE,
    Command,
    Trial,
    told,
)

pytestmark = [pytest.mark.faults]

#: Half of ``stop_s`` of this lab: so long a server is asked kindly.
KIND_S = 15.0


def test_a_new_server_cut_off_in_its_join(zone: Trial):
    old = zone.lab.addresses(zone.generation)
    with zone.writes() as writes:
        with contextlib.ExitStack() as fault, zone.rollout() as command:
            wait_until(
                "the new server to be listed",
                lambda: len(zone.lab.servers()) > zone.lab.size,
                timeout_s=120,
                interval_s=0.1,
            )
            with command.frozen():
                fault.enter_context(partition(zone.lab, zone.new(1), *old))
            told(command.finish(), DEADLINE, f"{zone.node(1)} to catch up")
            assert zone.lab.leader() in old
        zone.at_rest()
        zone.rollout_ends()
    zone.require_end(writes)


def test_a_new_server_that_differs_once_it_runs(zone: Trial):
    """It is stopped, stays listed, and the next run begins with its join."""
    with zone.writes() as writes:
        with zone.rollout() as command:
            command.wait_for_line(r"\] join ")
            wait_until(
                "the new server to follow",
                lambda: (zone.lab.raft(zone.new(1)) or {}).get("STATE") == FOLLOWER,
                timeout_s=60,
                interval_s=0.05,
            )
            with command.frozen():
                change_row(zone.lab, zone.new(1))
            told(command.finish(), FAILED, "differ at log index", "document_pool", zone.node(1))
        state = zone.lab.ssh(zone.new(1), "systemctl show opennebula -p ActiveState -p LoadState")
        assert set(state.split()) == {"ActiveState=inactive", "LoadState=masked"}
        zone.lab.ssh(zone.new(1), "mariadb -e 'DROP DATABASE opennebula'")
        zone.rollout_ends()
    zone.require_end(writes)


def test_a_removed_server_that_is_started_by_hand(zone: Trial):
    """It is no member and votes all the same: the term keeps rising until it is put away."""
    retired: list[str] = []

    def revived(command: Command) -> None:
        retired.append(zone.retiring(command))
        revive(zone.lab, retired[0])
        wait_for_term_to_rise(zone.lab, retired[0], by=2)

    with zone.writes() as writes:
        outcome = zone.rollout_under("retire:", revived, event="done")
        told(outcome, (REFUSED, UNAVAILABLE, DEADLINE))
        zone.rollout_fails(REFUSED, "oned runs on", "not in the zone", "Stop and mask")
        put_away(zone.lab, retired[0])
        zone.at_rest()
        zone.rollout_ends()
    zone.require_end(writes)


def test_a_candidate_that_ignores_sigterm(zone: Trial):
    """A follower to be retired is cut off, stands for election, and does not stop kindly.

    Between the tool's decision and its order to stop are milliseconds: systemd is kept from
    passing the order on until the server is a candidate.
    """
    steps: list[str] = []
    old = zone.lab.addresses(zone.generation)

    with zone.writes() as writes, contextlib.ExitStack() as held:

        def candidate(command: Command) -> None:
            victim = zone.retiring(command)
            everybody = {*zone.lab.addresses("a"), *zone.lab.addresses("b")}
            cut_off(zone.lab, victim, *sorted(everybody - {victim}))
            wait_for_term_to_rise(zone.lab, victim, by=1)
            steps.append(command.transitions()[-1].step)
            held.close()

        held.enter_context(stops_held(zone.lab, *old))
        outcome = zone.rollout_under("retire:", candidate)
        outcome.show("rollout past a candidate that ignores SIGTERM")
        done = re.search(rf"{steps[0]}: done in ([0-9.]+) s", outcome.err)
        assert done is not None, outcome.err
        assert float(done[1]) >= KIND_S
        if outcome.status != OK:
            told(outcome, (REFUSED, UNAVAILABLE, DEADLINE))
            zone.rollout_ends()
    zone.require_end(writes)


def test_a_new_member_removed_by_hand(zone: Trial):
    with zone.writes() as writes:
        with zone.rollout_reaching("done", f"join:{zone.node(2)}") as command:
            with command.frozen():
                remove_machine(zone.lab, zone.new(2))
            told(command.finish(), (FAILED, REFUSED, UNAVAILABLE, DEADLINE))
        zone.rollout_ends()
    zone.require_end(writes)


def test_an_old_member_removed_by_hand(zone: Trial):
    """Nobody knows what it held: it is the operator who takes it out of the zone."""
    gone = zone.follower()
    with zone.writes() as writes:
        remove_machine(zone.lab, gone)
        zone.rollout_fails(REFUSED, "out of the zone for good")
        number = zone.server_id(gone)
        zone.lab.call(zone.lab.endpoint(zone.leader()), "one.zone.delserver", 0, number)
        zone.at_rest()
        zone.rollout_ends()
    zone.require_end(writes)
