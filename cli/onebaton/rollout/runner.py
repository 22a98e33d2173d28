"""The runner: observe, plan, take one step, observe again.

The world decides, not the journal. After each step the plan is made anew from what is seen,
and must be the rest of the plan that was shown; anything else means that somebody or
something changed the zone, and the run stops before it does harm.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, Literal, TypeVar

from onebaton.errors import InterruptedRunError, OnebatonError, RefusedError
from onebaton.plan.actions import Action, Plan
from onebaton.plan.describe import what
from onebaton.ports import Clock, Reporter
from onebaton.rollout.interrupt import StopRequest
from onebaton.rollout.journal import Journal
from onebaton.steps.step import Standing, Step

W = TypeVar("W")
Outcome = Literal["done", "skipped", "failed", "interrupted"]


class Verdict(Enum):
    """What is done before a step.

    LOOK_AGAIN: something was waited for, and the world may have changed meanwhile.
    """

    GO = "go"
    LOOK_AGAIN = "look again"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Taken:
    """A step that was carried out, or tried.

    :param seconds: from check to verified, or to its failure.
    """

    step: str
    what: str
    started_at: float
    seconds: float
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Runner(Generic[W]):
    """Carries a plan out.

    :param observe: a fresh observation.
    :param decide: what is still to be done, from an observation; empty when all is done.
    :param build: the step that carries an action out.
    :param hand_back: what to run to go on, for messages.
    """

    observe: Callable[[], W]
    decide: Callable[[W], Plan]
    build: Callable[[Action, W], Step]
    clock: Clock
    reporter: Reporter
    journal: Journal
    stop: StopRequest
    hand_back: str

    def run(
        self,
        *,
        seen: Callable[[W], None] = lambda _world: None,
        before: Callable[[Action], None] = lambda _action: None,
        reached: Callable[[W, Plan], Verdict] = lambda _world, _plan: Verdict.GO,
        took: Callable[[Taken], None] = lambda _taken: None,
    ) -> tuple[Taken, ...]:
        """Take step after step until nothing is left to do.

        :param seen: called with each new observation.
        :param before: called with each action that is about to be carried out.
        :param reached: asked before each step, and when nothing is left, whether to go on.
        :param took: called with each step that ended, well or not.
        :raises RefusedError: if the world changed, or a step is blocked.
        :raises InterruptedRunError: if the operator asked to stop.
        """
        taken: list[Taken] = []
        self.journal.write("begun", text=self.hand_back)
        previous: Plan | None = None
        while True:
            world = self.observe()
            seen(world)
            plan = self.decide(world)
            if previous is not None and not plan.rest_of(previous):
                raise self._changed(previous, plan)
            if plan.actions and self.stop.made:
                step = plan.actions[0].id
                self.journal.write("interrupted", step=step)
                raise InterruptedRunError(
                    f"stopped before the step {step}; every step before it is complete",
                    resolution=f"To go on: {self.hand_back}",
                )
            verdict = self._asked(reached, world, plan)
            if verdict is Verdict.LOOK_AGAIN:
                continue
            if verdict is Verdict.STOP:
                self.journal.write("stopped", step=plan.actions[0].id if plan.actions else "")
                return tuple(taken)
            if not plan.actions:
                self.journal.write("finished")
                return tuple(taken)
            action = plan.actions[0]
            before(action)
            position = f"[{len(taken) + 1}/{len(taken) + len(plan)}]"
            taken.append(self._take(action, world, position, took))
            previous = plan

    def _asked(self, reached: Callable[[W, Plan], Verdict], world: W, plan: Plan) -> Verdict:
        try:
            return reached(world, plan)
        except OnebatonError as error:
            self.journal.write("failed", text=error.message)
            raise
        except KeyboardInterrupt:
            self.journal.write("interrupted")
            raise InterruptedRunError(
                "stopped between two steps; every step before is complete",
                resolution=f"To go on: {self.hand_back}",
            ) from None

    def _take(
        self, action: Action, world: W, position: str, took: Callable[[Taken], None]
    ) -> Taken:
        started_at, begin = self.clock.now(), self.clock.monotonic()
        self.reporter.note(f"{position} {what(action)}")
        outcome: Outcome = "skipped"
        try:
            step = self.build(action, world)
            check = step.check()
            if check.standing is Standing.BLOCKED:
                raise RefusedError(
                    f"the step {step.id} must not be taken now: {check.reason}",
                    resolution=f"When that is put right: {self.hand_back}",
                )
            if check.standing is Standing.NEEDED:
                outcome = "done"
                self.journal.write("started", step=step.id, text=what(action))
                step.apply()
            step.verify()
        except OnebatonError as error:
            self.journal.write("failed", step=action.id, text=error.message)
            took(self._ended(action, started_at, begin, "failed"))
            raise
        except KeyboardInterrupt:
            self.journal.write("interrupted", step=action.id)
            took(self._ended(action, started_at, begin, "interrupted"))
            raise InterruptedRunError(
                f"stopped in the middle of the step {action.id}; it can be repeated",
                resolution=f"To go on: {self.hand_back}",
            ) from None
        self.journal.write("done", step=step.id)
        taken = self._ended(action, started_at, begin, outcome)
        self.reporter.note(f"{position} {step.id}: {outcome} in {taken.seconds:.1f} s")
        took(taken)
        return taken

    def _ended(self, action: Action, started_at: float, begin: float, outcome: Outcome) -> Taken:
        seconds = self.clock.monotonic() - begin
        return Taken(action.id, what(action), started_at, seconds, outcome)

    def _changed(self, previous: Plan, plan: Plan) -> RefusedError:
        expected, needed = (
            ", ".join(action.id for action in actions) or "nothing"
            for actions in (previous.actions[1:], plan.actions)
        )
        return RefusedError(
            "the zone is not as the last step should have left it; nothing more was done",
            details=[f"expected next: {expected}", f"needed now: {needed}"],
            resolution=(
                "Look at it with 'onebaton status'. To plan anew from what is seen and go on: "
                f"{self.hand_back}"
            ),
        )
