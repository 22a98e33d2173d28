"""The runner: step after step, and never past a world it did not expect."""

from dataclasses import dataclass, field

import pytest
from tests.fakes.clock import VirtualClock
from tests.fakes.reporter import ListReporter

from onebaton.adapters.store import FolderStore
from onebaton.errors import InterruptedRunError, RefusedError, StepFailedError
from onebaton.plan.actions import Destroy, Plan, Transition
from onebaton.plan.quorum import Quorum
from onebaton.rollout import journal
from onebaton.rollout.interrupt import StopRequest
from onebaton.rollout.runner import Runner, Verdict
from onebaton.steps.step import DONE, NEEDED, Check, blocked

QUORUM = Quorum(3, 3)


@dataclass
class Letters:
    """A world of letters: a plan removes them one by one, in order."""

    letters: list[str]
    log: list[str] = field(default_factory=list)

    def decide(self, world: tuple[str, ...]) -> Plan:
        return Plan(
            tuple(Transition(Destroy((letter,)), "", QUORUM, QUORUM, QUORUM) for letter in world)
        )

    def observe(self) -> tuple[str, ...]:
        return tuple(self.letters)


@dataclass
class Remove:
    """A step that removes its letter."""

    world: Letters
    letter: str
    found: Check = NEEDED
    failure: BaseException | None = None

    @property
    def id(self) -> str:
        return f"destroy:{self.letter}"

    def check(self) -> Check:
        self.world.log.append(f"check {self.letter}")
        return self.found

    def apply(self) -> None:
        self.world.log.append(f"apply {self.letter}")
        if self.failure is not None:
            raise self.failure
        self.world.letters.remove(self.letter)

    def verify(self) -> None:
        self.world.log.append(f"verify {self.letter}")


def runner(tmp_path, world, build, stop=None):
    store = FolderStore(tmp_path)
    clock = VirtualClock()
    return Runner(
        observe=world.observe,
        decide=world.decide,
        build=lambda action, _seen: build(action.names[0]),
        clock=clock,
        reporter=ListReporter(),
        journal=journal.Journal(store, clock, "run"),
        stop=stop or StopRequest(),
        hand_back="onebaton rollout",
    )


def events(tmp_path):
    return [(e.event, e.step) for e in journal.read(FolderStore(tmp_path), "run")]


def test_every_step_is_checked_applied_verified_and_journalled(tmp_path):
    world = Letters(["a", "b"])
    taken = runner(tmp_path, world, lambda letter: Remove(world, letter)).run()
    assert [t.step for t in taken] == ["destroy:a", "destroy:b"]
    assert world.log == [f"{verb} {x}" for x in "ab" for verb in ("check", "apply", "verify")]
    assert events(tmp_path) == [
        ("begun", ""),
        ("started", "destroy:a"),
        ("done", "destroy:a"),
        ("started", "destroy:b"),
        ("done", "destroy:b"),
        ("finished", ""),
    ]


def test_a_step_found_done_is_verified_all_the_same(tmp_path):
    world = Letters(["a"])

    def build(letter):
        world.letters.remove(letter)
        return Remove(world, letter, found=DONE)

    taken = runner(tmp_path, world, build).run()
    assert world.log == ["check a", "verify a"]
    assert taken[0].outcome == "skipped"


def test_a_blocked_step_changes_nothing(tmp_path):
    world = Letters(["a"])
    with pytest.raises(RefusedError, match="no quorum"):
        runner(tmp_path, world, lambda x: Remove(world, x, found=blocked("no quorum"))).run()
    assert world.log == ["check a"]
    assert events(tmp_path)[-1] == ("failed", "destroy:a")


def test_a_world_that_went_another_way_stops_the_run(tmp_path):
    world = Letters(["a", "b"])

    def build(letter):
        if letter == "a":
            world.letters.append("x")
        return Remove(world, letter)

    with pytest.raises(RefusedError) as refused:
        runner(tmp_path, world, build).run()
    assert refused.value.details == (
        "expected next: destroy:b",
        "needed now: destroy:b, destroy:x",
    )
    assert "apply b" not in world.log


def test_a_failed_step_can_be_gone_on_with(tmp_path):
    world = Letters(["a", "b"])
    failing = {"a": StepFailedError("the machine burnt down")}
    with pytest.raises(StepFailedError):
        runner(tmp_path, world, lambda x: Remove(world, x, failure=failing.get(x))).run()
    assert world.letters == ["a", "b"]
    runner(tmp_path, world, lambda x: Remove(world, x)).run()
    assert world.letters == []


def test_a_stop_request_is_honoured_between_two_steps(tmp_path):
    world = Letters(["a", "b"])
    stop = StopRequest()

    def build(letter):
        stop.make()
        return Remove(world, letter)

    with pytest.raises(InterruptedRunError) as stopped:
        runner(tmp_path, world, build, stop).run()
    assert world.letters == ["b"]
    assert stopped.value.resolution == "To go on: onebaton rollout"
    assert events(tmp_path)[-1] == ("interrupted", "destroy:b")


def test_a_second_interrupt_stops_within_a_step(tmp_path):
    world = Letters(["a"])
    with pytest.raises(InterruptedRunError, match="in the middle of the step destroy:a"):
        runner(tmp_path, world, lambda x: Remove(world, x, failure=KeyboardInterrupt())).run()
    assert events(tmp_path)[-1] == ("interrupted", "destroy:a")


def test_what_is_asked_before_a_step_decides_and_the_world_is_looked_at_again(tmp_path):
    world = Letters(["a", "b"])
    asked = iter([Verdict.LOOK_AGAIN, Verdict.GO, Verdict.LOOK_AGAIN, Verdict.STOP])
    seen = []
    one = runner(tmp_path, world, lambda letter: Remove(world, letter))
    taken = one.run(seen=seen.append, reached=lambda _world, _plan: next(asked))
    assert [t.step for t in taken] == ["destroy:a"]
    assert seen == [("a", "b"), ("a", "b"), ("b",), ("b",)]
    assert events(tmp_path)[-1] == ("stopped", "destroy:b")


def test_a_world_that_changed_while_it_was_waited_stops_the_run(tmp_path):
    world = Letters(["a", "b"])

    def wait(_world, plan):
        if len(plan) == 1 and "x" not in world.letters:
            world.letters.append("x")
            return Verdict.LOOK_AGAIN
        return Verdict.GO

    with pytest.raises(RefusedError, match="not as the last step should have left it"):
        runner(tmp_path, world, lambda letter: Remove(world, letter)).run(reached=wait)


def test_who_asked_to_stop_is_not_kept_waiting(tmp_path):
    world, stop = Letters(["a"]), StopRequest()
    stop.make()
    one = runner(tmp_path, world, lambda letter: Remove(world, letter), stop)
    with pytest.raises(InterruptedRunError):
        one.run(reached=lambda _world, _plan: pytest.fail("it was asked"))


def test_each_step_that_was_tried_is_told(tmp_path):
    world, took = Letters(["a", "b"]), []
    failing = {"b": StepFailedError("it burnt")}
    one = runner(tmp_path, world, lambda x: Remove(world, x, failure=failing.get(x)))
    with pytest.raises(StepFailedError):
        one.run(took=took.append)
    assert [(t.step, t.outcome) for t in took] == [("destroy:a", "done"), ("destroy:b", "failed")]
