"""The leader dies while a roll is under way, and a hook that does not take the virtual IP."""

import contextlib

import pytest
from tests.faults.faults import HOOK, hook_broken, kill_server
from tests.faults.trial import DEADLINE, FAILED, OK, REFUSED, UNAVAILABLE, Command, Trial, told

pytestmark = [pytest.mark.faults]

#: Steps during which the leader dies, one after the other in one roll.
PHASES = ("seed:", "join:", "refresh:", "retire:", "hand-over:")


def test_the_leader_dies_in_each_phase(zone: Trial):
    with zone.writes() as writes:
        for phase in PHASES:
            died: list[str] = []

            def fault(_command: Command, died: list[str] = died) -> None:
                died.append(zone.leader())
                kill_server(zone.lab, died[0])

            outcome = zone.rollout_under(phase, fault)
            if outcome.status == OK:
                # Who dies there was about to be cut off; or a new server leads since the last one.
                assert phase == PHASES[-1], outcome.err
                break
            # A step that does without the leader may come to its end; the next one does not.
            told(outcome, (FAILED, REFUSED, UNAVAILABLE, DEADLINE))
            zone.back(died[0])
        zone.rollout_ends()
    zone.require_end(writes)


def test_the_hook_of_the_new_leader_fails(zone: Trial):
    with zone.writes() as writes:
        with contextlib.ExitStack() as fault:
            outcome = zone.rollout_under(
                "hand-over:", lambda _: fault.enter_context(hook_broken(zone.lab, zone.new(1)))
            )
            told(outcome, DEADLINE, "virtual IP")
            assert zone.lab.leader() == zone.new(1)
            assert zone.vip_holders() == []
        # The hook is whole again. It runs when a leader is elected, or by hand.
        zone.lab.ssh(zone.new(1), f"sudo -u oneadmin {HOOK} leader eth0 {zone.lab.net}.100/24")
        zone.served()
        zone.rollout_ends()
    zone.require_end(writes)
