"""What a run saw and did, gathered while it goes on, for its report."""

from collections.abc import Sequence
from dataclasses import replace

from onebaton.errors import InterruptedRunError, OnebatonError
from onebaton.model import Health, World
from onebaton.plan.quorum import Quorum
from onebaton.ports import Clock
from onebaton.reports import Ending, GapRow, ReportView, SampleRow, StageRow, StepRow
from onebaton.rollout.runner import Taken


class Chronicle:
    """Follows one run.

    :param run: its id.
    :ivar steps: that ended, well or not, in their order.
    :ivar ending: how the run ended.
    :ivar problem: why it did not come to its end; empty if it did, or was to stop.
    :ivar said: why it stopped between two stages, and how the zone stands there.
    :ivar go_on: what to run next; empty if nothing.
    :ivar stages: what happened between stages.
    """

    def __init__(self, run: str, clock: Clock) -> None:
        self.run = run
        self.steps: list[Taken] = []
        self.ending: Ending = "finished"
        self.problem: tuple[str, ...] = ()
        self.go_on = ""
        self.said: tuple[str, ...] = ()
        self.stages: Sequence[StageRow] = ()
        self._clock = clock
        self._began_at = clock.now()
        self._samples: list[SampleRow] = []

    def took(self, taken: Taken) -> None:
        """A step that ended."""
        self.steps.append(taken)

    def seen(self, world: World | None) -> None:
        """A fresh observation; where nothing changed since the last one, none is added."""
        now = self._clock.now()
        if world is None:
            sample = SampleRow(now, None, None, 0, 0, 1)
        else:
            healthy = sum(member.health is Health.HEALTHY for member in world.members)
            quorum, leader = Quorum(len(world.members), healthy), world.leader
            sample = SampleRow(
                at=now,
                leader=leader.server.name if leader is not None else None,
                term=leader.raft.term if leader is not None and leader.raft else None,
                voters=quorum.voters,
                healthy=quorum.healthy,
                needed=quorum.needed,
            )
        if not self._samples or replace(sample, at=self._samples[-1].at) != self._samples[-1]:
            self._samples.append(sample)

    def broken_off(self, error: BaseException, go_on: str) -> None:
        """It did not come to its end.

        :param go_on: what to run next.
        """
        self.ending, self.problem, self.go_on = "interrupted", ("interrupted",), go_on
        if isinstance(error, OnebatonError):
            self.problem = (error.message, *error.details)
            if not isinstance(error, InterruptedRunError):
                self.ending = "failed"

    @property
    def is_worth_keeping(self) -> bool:
        """Something was done or tried, or it did not come to its end."""
        return bool(self.steps or self.stages) or self.ending != "finished"

    def view(self, title: str, gaps: Sequence[GapRow], notes: Sequence[str]) -> ReportView:
        """The report of the run, which ends now."""
        return ReportView(
            title=title,
            steps=tuple(
                StepRow(
                    step_id=step.step,
                    what=step.what,
                    started_at=step.started_at,
                    duration_s=step.seconds,
                    outcome=step.outcome,
                )
                for step in self.steps
            ),
            gaps=tuple(gaps),
            notes=tuple(notes),
            run=self.run,
            ending=self.ending,
            began_at=self._began_at,
            ended_at=self._clock.now(),
            problem=self.problem,
            go_on=self.go_on,
            samples=tuple(self._samples),
            stages=tuple(self.stages),
        )
