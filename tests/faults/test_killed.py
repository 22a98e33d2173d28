"""The tool is killed at every transition of its journal, and goes on when it is run again."""

import re
import signal
import time

import pytest
from tests.e2e.conftest import OLD, wait_whole
from tests.faults.trial import (
    DEADLINE,
    LOOK_S,
    OK,
    REFUSED,
    UNAVAILABLE,
    Command,
    Transition,
    Trial,
    told,
)

pytestmark = [pytest.mark.faults]

#: More runs than transitions would mean that it does not get on.
MAX_RUNS = 60


def kill_at_each_transition(
    zone: Trial,
    *words: str,
    honest: tuple[int, ...] = (REFUSED, UNAVAILABLE, DEADLINE),
    outage: bool = False,
) -> list[Transition]:
    """Run a command again and again; each run is killed at the first new transition it writes.

    :param honest: statuses with which a run that follows a killed one may end.
    :param outage: nobody may be served after some of them, until the next run.
    :returns: where it was killed, in order; the run after the last one came to its end.
    """
    killed_at: list[Transition] = []
    for _ in range(MAX_RUNS):
        command = Command(zone.lab, *words)
        seen: list[Transition] = []
        try:
            while command.process.poll() is None:
                seen = [one for one in command.transitions() if one not in killed_at]
                if seen:
                    command.signal(signal.SIGKILL)
                    # The last two may be written one right after the other.
                    killed_at += seen
                    break
                time.sleep(LOOK_S)
            outcome = command.finish()
        finally:
            if command.process.poll() is None:
                command.process.kill()
        if outcome.status != -signal.SIGKILL:
            if outcome.status == OK:
                return killed_at
            told(outcome, honest)
        if not outage:
            zone.served()
    raise AssertionError(f"not done after {MAX_RUNS} runs: {killed_at}")


def kill_in_the_middle(zone: Trial, into_s: dict[str, tuple[float, ...]]) -> list[str]:
    """Run a rollout again and again; it is killed so many seconds after a step has begun.

    :param into_s: when, by kind of step, one after the other; a step that came to its end by
        what a killed run had started is not begun so often.
    :returns: ids of the steps in which it was killed; the run after the last one came to its end.
    """
    left = {kind: list(times) for kind, times in into_s.items()}
    killed_in: list[str] = []
    for _ in range(MAX_RUNS):
        with zone.rollout() as command:
            step = begun(command, left)
            if step is not None:
                time.sleep(left[step.partition(":")[0]].pop(0))
                command.signal(signal.SIGKILL)
            outcome = command.finish()
        if outcome.status == OK:
            return killed_in
        if step is not None:
            assert outcome.status == -signal.SIGKILL, outcome.err
            killed_in.append(step)
        else:
            told(outcome, (REFUSED, UNAVAILABLE, DEADLINE))
        zone.served()
    raise AssertionError(f"not done after {MAX_RUNS} runs: {killed_in}")


def begun(command: Command, left: dict[str, list[float]]) -> str | None:
    """Wait until a step begins in which the run is still to be killed; ``None``: it ended."""
    while command.process.poll() is None:
        for one in command.transitions():
            if one.event == "started" and left.get(one.step.partition(":")[0]):
                return one.step
        time.sleep(LOOK_S)
    return None


def kinds(transitions: list[Transition], *events: str) -> dict[str, int]:
    """How many different steps of each kind had one of these events."""
    steps = {one.step for one in transitions if one.event in events}
    names = [re.split(":", step)[0] for step in steps]
    return {name: names.count(name) for name in sorted(set(names))}


def require_every(steps: dict[str, int], killed_at: list[Transition]) -> None:
    """Each step was begun, and its run killed; and again at its end.

    The rest of a restart that was killed may be a join. A step may fail on a machine that has too
    much to do, and be found done by the next run; so is a hand-over whose order reached the leader
    before its run was dead.
    """
    assert kinds(killed_at, "started") == steps
    ended = kinds(killed_at, "done", "failed")
    found_done = {name: steps[name] for name in ("refresh", "hand-over") if name in steps}
    assert found_done | ended == steps


def test_a_roll_killed_at_every_transition(zone: Trial):
    with zone.writes() as writes:
        killed_at = kill_at_each_transition(zone, "rollout")
    every_step = {
        "destroy": 1,
        "hand-over": 1,
        "join": 3,
        "provision": 1,
        "refresh": 1,
        "restore": 1,
        "retire": 3,
        "seed": 1,
    }
    print(*killed_at, sep="\n")  # noqa: T201 - for a human to judge
    zone.require_end(writes)
    require_every(every_step, killed_at)


def test_a_roll_killed_in_the_middle_of_its_steps(zone: Trial):
    """While machines boot, a dump runs, a server starts, stops, or hands over."""
    with zone.writes() as writes:
        killed_in = kill_in_the_middle(
            zone,
            into := {
                "provision": (0.3, 1.0, 2.0),
                "seed": (0.3, 1.0),
                "join": (0.5, 1.5, 3.0),
                # One that was killed in its restart is brought back by its join.
                "refresh": (1.0,),
                "retire": (0.3,),
                "hand-over": (0.5,),
                "destroy": (0.5, 1.0),
            },
        )
    print(*killed_in, sep="\n")  # noqa: T201 - for a human to judge
    zone.require_end(writes)
    assert {step.partition(":")[0] for step in killed_in} == set(into)


def test_a_bootstrap_killed_at_every_transition(trial: Trial):
    trial.lab.onebaton("destroy", "--yes", timeout_s=120)
    killed_at = kill_at_each_transition(trial, "bootstrap", "--version", OLD)
    trial.generation = "a"
    print(*killed_at, sep="\n")  # noqa: T201 - for a human to judge
    wait_whole(trial.lab)
    every_step = {"found": 1, "join": 2, "provision": 1, "refresh": 1, "seed": 1}
    require_every(every_step, killed_at)
    names = [f"{trial.lab.name}-a{number}" for number in (1, 2, 3)]
    assert trial.lab.containers() == names
    assert list(trial.lab.servers()) == names
    assert len(trial.vip_holders()) == 1
    with trial.writes() as writes:
        trial.at_rest()
        trial.lab.onebaton("bootstrap", "--version", OLD)
    writes.require_nothing_doubled()
    assert len(writes.traffic.acknowledged) > 0
