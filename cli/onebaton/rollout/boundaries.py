"""Between two stages: hooks, soak, approval, window, checks; in this order.

Asked before each step, with the world as it is and the plan that is left. Nothing waits while
leadership is changing hands. What was waited for is noted, so that a run which is killed here
goes on here.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from onebaton.config import Event, Stage, StagesConfig
from onebaton.errors import InterruptedRunError, RefusedError, StepFailedError, UnavailableError
from onebaton.model import World
from onebaton.plan.actions import CutOver, HandOver, Plan
from onebaton.plan.describe import what as described
from onebaton.plan.stages import (
    IN_A_WINDOW,
    Itinerary,
    alone_after_cut,
    itinerary,
    shut,
    standing,
    under_way,
    unsettled,
)
from onebaton.ports import Clock, Reporter
from onebaton.reports import Ending, StageRow
from onebaton.rollout.interrupt import StopRequest
from onebaton.rollout.notes import Note
from onebaton.rollout.runner import Verdict
from onebaton.rollout.stage_notes import Progress, Soak, Waiting
from onebaton.staging import HookRunner, Notice, Notifier

#: How often the zone is looked at while it is watched, in seconds.
WATCH_EVERY_S = 5.0

#: Looks at what is about to be begun, and raises if it must not be.
StageCheck = Callable[[Stage, World, Plan], None]


@dataclass(frozen=True, slots=True)
class Run:
    """What the boundaries of one run are told of it.

    :param image_digest: of the wanted image.
    :param until: the stage after which it stops.
    :param again: what goes on with it as it was begun.
    :param beyond: what goes on with it to its end.
    :param approving: what approves the next stage, and goes on.
    """

    id: str
    zone: str
    version: str
    image_digest: str
    again: str
    beyond: str
    approving: str
    until: Stage | None = None


@dataclass(slots=True)
class Boundaries:
    """Where a rollout waits, asks and tells.

    :param observe: a fresh observation.
    :param before_stage: checks that are made before the first step of a run and before each
        stage, in their order.
    :ivar ending: how the run ended at a boundary; ``None`` if it did not.
    :ivar said: why it ended there, and how the zone stands.
    :ivar go_on: what to run next; empty if it did not end here.
    :ivar rows: what happened at the boundaries.
    """

    run: Run
    settings: StagesConfig
    note: Note[Progress]
    observe: Callable[[], World]
    clock: Clock
    reporter: Reporter
    stop: StopRequest
    hooks: HookRunner
    notifier: Notifier
    before_stage: Sequence[StageCheck] = ()
    ending: Ending | None = None
    said: tuple[str, ...] = ()
    go_on: str = ""
    rows: list[StageRow] = field(default_factory=list)
    _checked: set[Stage] = field(default_factory=set)

    def reached(self, world: World, plan: Plan) -> Verdict:
        """What to do before the next step.

        :raises RefusedError: if a hook or a check refuses, or no window is open.
        :raises StepFailedError: if the zone was seen unhealthy while it was watched.
        :raises InterruptedRunError: if the operator asked to stop.
        """
        way = itinerary(world, plan, self.run.image_digest)
        if under_way(world, plan):
            return Verdict.GO
        for over in way.over:
            if self._left(over, world, way):
                return Verdict.LOOK_AGAIN
        stage = way.entering
        if stage is not None and self.run.until is not None and way.is_past(self.run.until):
            return self._stopped(world, way)
        last = self._last_entered
        if last is not None and way.is_past(last) and self._soaked(last, world):
            return Verdict.LOOK_AGAIN
        return Verdict.GO if stage is None else self._entered(stage, world, plan, way)

    # What is behind

    def _left(self, stage: Stage, world: World, way: Itinerary) -> bool:
        """A stage is over: tell it, run its hook; ``True`` if that was done now."""
        progress = self._progress
        if not progress.has_entered(stage) or stage in progress.ended:
            return False
        text = f"the stage {stage} is over; {standing(world, way)}"
        self.reporter.note(text)
        self._run_hook("after", stage)
        now = self.clock.now()
        self.note.save(replace(self._progress, ended=(*progress.ended, stage)))
        self.rows.append(StageRow(now, stage, "over", text))
        self._tell("stage", stage, text)
        return True

    def _soaked(self, stage: Stage, world: World) -> bool:
        """The zone was watched for long enough; ``True`` if that was waited for now."""
        lasts_s = next((s for name, s in self.settings.soak_s.items() if name == stage), None)
        if lasts_s is None or stage in self._progress.soaked:
            return False
        soak = self._begun(stage, world)
        while (rest_s := soak.since + lasts_s - self.clock.now()) > 0:
            self._see_healthy(soak, world)
            if self.stop.made:
                raise InterruptedRunError(
                    f"stopped while the zone was watched after the stage {stage}, with "
                    f"{rest_s:.0f} s to go",
                    resolution=f"To go on: {self.run.again}",
                )
            self.reporter.progress(f"watching the zone after the stage {stage}: {rest_s:.0f} s")
            self.clock.sleep(min(rest_s, WATCH_EVERY_S))
            try:
                world = self.observe()
            except UnavailableError as error:
                raise self._unhealthy(soak, error.message) from error
        self._see_healthy(soak, world)
        text = f"the zone was watched for {lasts_s:g} s after the stage {stage}, healthy throughout"
        self.reporter.note(text)
        progress = self._progress
        self.note.save(replace(progress, soaked=(*progress.soaked, stage), soak=None))
        self.rows.append(StageRow(self.clock.now(), stage, "soaked", text))
        return True

    def _begun(self, stage: Stage, world: World) -> Soak:
        """The soak that is under way, or a new one."""
        progress, leader = self._progress, world.leader
        soak, now = progress.soak, self.clock.now()
        name = leader.server.name if leader is not None else ""
        term = leader.raft.term if leader is not None and leader.raft is not None else 0
        if soak is not None and soak.stage == stage:
            if (soak.leader, soak.term) == (name, term) and soak.since <= now:
                return soak
            self.reporter.warn(
                f"an election took place since the zone was watched last: watched anew ({stage})"
            )
        soak = Soak(stage, now, name, term)
        self._see_healthy(soak, world)
        self.note.save(replace(progress, soak=soak))
        return soak

    def _see_healthy(self, soak: Soak, world: World) -> None:
        problem, leader = unsettled(world), world.leader
        if problem is None and leader is not None and leader.raft is not None:
            if (leader.server.name, leader.raft.term) == (soak.leader, soak.term):
                return
            problem = (
                f"{leader.server.name} leads in term {leader.raft.term}, and {soak.leader} led in "
                f"term {soak.term} when it began"
            )
        raise self._unhealthy(soak, problem or "no server leads")

    def _unhealthy(self, soak: Soak, problem: str) -> StepFailedError:
        """It begins anew with the next run."""
        self.note.save(replace(self._progress, soak=None))
        watched_s = self.clock.now() - soak.since
        return StepFailedError(
            f"the zone was not healthy {watched_s:.0f} s after the stage {soak.stage}",
            details=[problem, "nothing more was done"],
            resolution="Look at it with `onebaton status`. When it is put right, it is watched "
            f"anew by: {self.run.again}",
        )

    # What is ahead

    def _entered(self, stage: Stage, world: World, plan: Plan, way: Itinerary) -> Verdict:
        progress = self._progress
        steps = tuple(action.id for action in plan.actions)
        is_begun = progress.goes_on(stage, steps)
        if not is_begun and self._must_wait(stage, steps, way):
            return self._waiting(stage, steps, world, way)
        changes_leader = isinstance(plan.actions[0], CutOver | HandOver)
        if changes_leader or (stage in IN_A_WINDOW and not is_begun):
            self._require_window(stage, plan)
        if stage not in self._checked:
            for check in self.before_stage:
                check(stage, world, plan)
            self._checked.add(stage)
        if is_begun:
            return Verdict.GO
        self._run_hook("before", stage)
        now, approval = self.clock.now(), progress.approval
        if approval is not None and approval.stage == stage:
            text = f"{stage} was approved by {approval.by}"
            self.reporter.note(text)
            self.rows.append(StageRow(approval.at, stage, "approved", text))
        self.note.save(progress.entering(stage, now, steps))
        self.rows.append(StageRow(now, stage, "entered", f"the stage {stage} begins"))
        # A hook takes its time, and the world goes on meanwhile.
        return Verdict.LOOK_AGAIN if stage in self.settings.hooks.before else Verdict.GO

    def _must_wait(self, stage: Stage, steps: tuple[str, ...], way: Itinerary) -> bool:
        progress = self._progress
        # A stage may have come about by itself, as an election does: what comes after it still
        # waits for whoever was to be asked.
        passed = way.stages[: way.stages.index(stage)]
        asked = {stage, *(one for one in passed if not progress.has_entered(one))}
        if asked.isdisjoint(self.settings.approve) or alone_after_cut(way, stage):
            return False
        approval = progress.approval
        if approval is None or approval.stage != stage:
            return True
        if approval.steps != steps:
            self.reporter.warn(
                f"what {approval.by} approved is not what is left to do now: it has to be approved "
                "again"
            )
            return True
        return False

    def _waiting(
        self, stage: Stage, steps: tuple[str, ...], world: World, way: Itinerary
    ) -> Verdict:
        progress, now = self._progress, self.clock.now()
        since = now
        if progress.waiting is not None and progress.waiting.steps == steps:
            since = progress.waiting.since
        waiting = Waiting(stage, self.run.id, since, steps, self.run.approving)
        self.note.save(replace(progress, waiting=waiting, approval=None))
        text = f"waits for an approval before the stage {stage}"
        self.rows.append(StageRow(now, stage, "waiting", text))
        self.ending, self.go_on = "waiting", self.run.approving
        self.said = (text, standing(world, way), f"left to do: {', '.join(steps)}")
        self._tell("waiting", stage, *self.said)
        return Verdict.STOP

    def _stopped(self, world: World, way: Itinerary) -> Verdict:
        self.ending, self.go_on = "stopped", self.run.beyond
        left = len(way.ahead)
        self.said = (
            f"stopped after the stage {self.run.until}, as asked: {left} "
            f"{'step is' if left == 1 else 'steps are'} left",
            standing(world, way),
        )
        return Verdict.STOP

    def _require_window(self, stage: Stage, plan: Plan) -> None:
        reason = shut(self.settings.opened, self.clock.now())
        if reason is None:
            return
        raise RefusedError(
            f"the stage {stage} needs a maintenance window, and none is open",
            details=[reason, f"it would begin with: {described(plan.actions[0])}"],
            resolution=f"The zone can wait as it is. In that window: {self.run.again}",
        )

    # Whom it is told

    def _run_hook(self, moment: str, stage: Stage) -> None:
        hooks = self.settings.hooks
        command = (hooks.before if moment == "before" else hooks.after).get(stage)
        if command is None:
            return
        status = self.hooks.run(
            command,
            told={
                "ONEBATON_MOMENT": moment,
                "ONEBATON_STAGE": stage,
                "ONEBATON_ZONE": self.run.zone,
                "ONEBATON_RUN": self.run.id,
                "ONEBATON_VERSION": self.run.version,
            },
            timeout_s=hooks.timeout_s,
            what=f"the hook {moment} the stage {stage}",
        )
        if status != 0:
            raise RefusedError(
                f"the hook {moment} the stage {stage} ended with status {status}: nothing more "
                "was done",
                details=[f"stages.hooks.{moment}.{stage}: {command[0]}"],
                resolution=f"When all is in order, it is run again by: {self.run.again}",
            )

    def _tell(self, event: Event, stage: Stage, text: str, *details: str) -> None:
        run, now = self.run, self.clock.now()
        self.notifier.tell(Notice(event, run.zone, run.id, now, text, stage, details))

    @property
    def _last_entered(self) -> Stage | None:
        """Soaks of stages before it are over, or were asked for too late."""
        entered = self._progress.entered
        return entered[-1].stage if entered else None

    @property
    def _progress(self) -> Progress:
        """What is noted of this rollout; of another one nothing holds."""
        noted = self.note.load()
        if noted is None or noted.digest != self.run.image_digest:
            return Progress(self.run.image_digest)
        return noted
