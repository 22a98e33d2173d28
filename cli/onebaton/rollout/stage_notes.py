"""How far a rollout has come by stages, kept with the state until it comes to its end.

The world tells which stages are over. The note tells what it cannot: which hooks have run, since
when the zone is watched, who approved what.
"""

from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from onebaton.config import Stage, StagesConfig
from onebaton.ports import Store
from onebaton.rollout.notes import Note

KEY = "stages.json"


@dataclass(frozen=True, slots=True)
class Entered:
    """A stage that was begun.

    :param steps: ids of all steps that were left then.
    """

    stage: Stage
    at: float
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Soak:
    """The zone is watched after a stage.

    :param since: seconds since the epoch.
    :param leader: name of the server that led then.
    """

    stage: Stage
    since: float
    leader: str
    term: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A rollout waits before a stage for an approval.

    :param run: that stopped there first.
    :param steps: ids of all steps that are left.
    :param again: what to run to go on.
    """

    stage: Stage
    run: str
    since: float
    steps: tuple[str, ...]
    again: str


@dataclass(frozen=True, slots=True)
class Approval:
    """Somebody approved a stage, with the steps that were left then and no others.

    :param by: whoever it was, as they said.
    """

    stage: Stage
    by: str
    at: float
    run: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rollout to one image has come.

    :param digest: of the image.
    :param ended: stages that are over, their hooks included.
    :param soaked: stages after which the zone was watched for long enough.
    :param approval: what the next stage may go on with.
    """

    digest: str
    entered: tuple[Entered, ...] = ()
    ended: tuple[Stage, ...] = ()
    soaked: tuple[Stage, ...] = ()
    soak: Soak | None = None
    waiting: Waiting | None = None
    approval: Approval | None = None

    def has_entered(self, stage: Stage) -> bool:
        """It was begun, whatever was to be done then."""
        return any(one.stage == stage for one in self.entered)

    def goes_on(self, stage: Stage, steps: tuple[str, ...]) -> bool:
        """It was begun, and what is left was part of it."""
        return any(one.stage == stage and {*steps} <= {*one.steps} for one in self.entered)

    def entering(self, stage: Stage, at: float, steps: tuple[str, ...]) -> "Progress":
        """The same, once the stage is begun; the approval is used up."""
        others = tuple(one for one in self.entered if one.stage != stage)
        return replace(
            self,
            entered=(*others, Entered(stage, at, steps)),
            ended=tuple(one for one in self.ended if one != stage),
            soaked=tuple(one for one in self.soaked if one != stage),
            soak=None,
            waiting=None,
            approval=None,
        )


def is_unfinished(progress: Progress | None, digest: str, settings: StagesConfig) -> bool:
    """Every step may have been taken, but a hook or a soak after the last stage was not.

    :param digest: of the wanted image.
    """
    if progress is None or progress.digest != digest or not progress.entered:
        return False
    last = progress.entered[-1].stage
    return any(one.stage not in progress.ended for one in progress.entered) or (
        last in settings.soak_s and last not in progress.soaked
    )


def progress_of(store: Store) -> Note[Progress]:
    """The note of a rollout's stages."""
    return Note(
        store,
        TypeAdapter(Progress),
        key=KEY,
        about="the stages of the rollout that is under way",
        resolution="The file can be removed: what was approved has to be approved again then, and "
        "hooks of the stage under way run again.",
    )
