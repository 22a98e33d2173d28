"""What a cut-over adds to the report of a rollout: the cut, the time after it, what is kept."""

from collections.abc import Sequence

from onebaton.model import Health, Prior, PriorPhase, World
from onebaton.plan.actions import Action, CutOver, Plan
from onebaton.plan.quorum import Quorum
from onebaton.ports import Clock, Reporter
from onebaton.rollout.runner import Taken

#: Fewer servers bear the loss of none.
SMALLEST_REDUNDANT = 3


class Overhearing:
    """A reporter that keeps what is said while it listens; implements the port ``Reporter``.

    :ivar lines: what was said then.
    """

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self.listening = False
        self.lines: list[str] = []

    def note(self, text: str) -> None:
        """One line that stays."""
        if self.listening:
            self.lines.append(text)
        self._reporter.note(text)

    def progress(self, text: str) -> None:
        """What is waited for; it is not kept."""
        self._reporter.progress(text)

    def warn(self, text: str) -> None:
        """One line that must be seen."""
        if self.listening:
            self.lines.append(f"warning: {text}")
        self._reporter.warn(text)


class CutReport:
    """Follows a rollout that may cut over, by what is observed before each of its steps.

    :param size: servers that the zone will have.
    :param plan: what was to be done when the rollout began.
    :param prior: the record of the last cut-over when it began.
    :ivar reporter: for the steps, so that the report can tell where the outage went.
    """

    def __init__(
        self, clock: Clock, reporter: Reporter, size: int, plan: Plan, prior: Prior | None
    ) -> None:
        self.reporter = Overhearing(reporter)
        self._clock = clock
        self._size = size
        self._prior = prior
        self._was_alone = False
        self._redundant_at: float | None = None
        kept = prior is not None and prior.phase is not PriorPhase.FINAL
        self.is_cut_over = kept or any(isinstance(action, CutOver) for action in plan.actions)

    def before(self, action: Action) -> None:
        """An action that is about to be carried out."""
        self.reporter.listening = isinstance(action, CutOver)

    def seen(self, world: World) -> None:
        """A fresh observation: the last action is over."""
        self.reporter.listening = False
        self._prior = prior = world.prior
        if prior is None or prior.phase is not PriorPhase.SERVED or self._redundant_at is not None:
            return
        healthy = sum(member.health is Health.HEALTHY for member in world.members)
        if len(world.members) < SMALLEST_REDUNDANT:
            self._was_alone = True
        elif self._was_alone and Quorum(len(world.members), healthy).tolerance > 0:
            self._redundant_at = self._clock.now()

    def notes(self, taken: Sequence[Taken] = ()) -> tuple[str, ...]:
        """Closing sentences; none if there was no cut-over.

        :param taken: the steps of this run.
        """
        prior = self._prior
        if prior is None or prior.phase is not PriorPhase.SERVED:
            return ()
        return (*self._cut(prior), *self._without_redundancy(prior, taken), kept(prior))

    def _cut(self, prior: Prior) -> tuple[str, ...]:
        if prior.served_at is None or not self.is_cut_over:
            return ()
        seconds = prior.served_at - prior.began_at
        way = "held stand-by" if prior.way == "stand-by" else "plain way"
        total = f"the cut ({way}): {seconds:.1f} s from its beginning to the first write"
        return (total, *(f"in the cut: {line}" for line in self.reporter.lines))

    def _without_redundancy(self, prior: Prior, taken: Sequence[Taken]) -> tuple[str, ...]:
        if self._size < SMALLEST_REDUNDANT:
            servers = "1 server" if self._size == 1 else f"{self._size} servers"
            return (f"redundancy: a zone of {servers} bears the loss of none",)
        if self._redundant_at is None or prior.served_at is None:
            return ()
        # It was observed a moment after the step that brought it about had ended.
        ends = [step.started_at + step.seconds for step in taken]
        at = max((end for end in ends if end <= self._redundant_at), default=self._redundant_at)
        return (f"time without redundancy: {at - prior.served_at:.0f} s",)


def kept(prior: Prior) -> str:
    """What stands by after a cut-over, and the two ways from there."""
    names = ", ".join(server.name for server in prior.zone.servers)
    return (
        f"the old generation ({names}) is kept, stopped and masked: `onebaton rollback` brings it "
        "back without what was written since, `onebaton finalize` gives it up"
    )
