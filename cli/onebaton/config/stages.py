"""Where a rollout stops, waits, asks and tells."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from onebaton.config.section import SecretSource, Section
from onebaton.config.windows import Window
from onebaton.fields import Seconds

#: What a rollout goes through, in their order. A roll has provisioned, joined, handed-over and
#: retired; a cut-over provisioned, prepared, held, cut and joined.
Stage = Literal["provisioned", "prepared", "held", "cut", "joined", "handed-over", "retired"]
#: After the cut the zone is one server: there is no waiting before others have joined.
SoakStage = Literal["provisioned", "prepared", "held", "joined", "handed-over", "retired"]
#: What is told of a rollout through the webhook.
Event = Literal["begun", "stage", "waiting", "finished", "failed"]
#: All of them.
EVENTS: tuple[Event, ...] = ("begun", "stage", "waiting", "finished", "failed")


def _window(text: str) -> str:
    Window.parse(text)
    return text


WindowText = Annotated[str, AfterValidator(_window)]
#: A program and its arguments; it is run without a shell.
Command = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...], Field(strict=False, min_length=1)
]


class HooksConfig(Section):
    """Programs that are run between stages; a status other than 0 stops the rollout there."""

    before: dict[Stage, Command] = Field(
        default={},
        description="Program and its arguments, by the stage that it is run before, e.g. "
        "{cut: [/usr/local/bin/page, begin]}; it is told ONEBATON_STAGE, ONEBATON_ZONE and more.",
    )
    after: dict[Stage, Command] = Field(
        default={}, description="The same, by the stage that it is run after."
    )
    timeout_s: Seconds = Field(default=300.0, description="Deadline of one of them, in seconds.")


class StagesConfig(Section):
    """Where a rollout waits, and for whom."""

    approve: Annotated[tuple[Stage, ...], Field(strict=False)] = Field(
        default=(),
        description="Stages before which a rollout ends with status 3, until `onebaton continue` "
        "approves: of provisioned, prepared, held, cut, joined, handed-over, retired. The joins "
        "after a cut wait for nobody.",
    )
    soak_s: dict[SoakStage, Seconds] = Field(
        default={},
        description="How long the zone is watched after a stage, in seconds, e.g. {joined: 600}; "
        "one unhealthy sighting stops the rollout.",
    )
    windows: Annotated[tuple[WindowText, ...], Field(strict=False)] = Field(
        default=(),
        description='When leadership may be handed over or cut over, e.g. ["Sat 02:00-05:00 '
        'Europe/Berlin", "Mon-Fri 22:00-01:00 UTC"]; always, if there is none.',
    )
    hooks: HooksConfig = Field(
        default=HooksConfig(), description="Programs that are run between stages."
    )

    @property
    def opened(self) -> tuple[Window, ...]:
        """The windows as times."""
        return tuple(map(Window.parse, self.windows))


class NotifyConfig(Section):
    """Who is told of a rollout."""

    url: SecretSource | None = Field(
        default=None,
        description="Where the address of a webhook comes from, to which JSON is posted.",
    )
    events: Annotated[tuple[Event, ...], Field(strict=False)] = Field(
        default=EVENTS, description="What is told."
    )
    timeout_s: Seconds = Field(default=5.0, description="Deadline of one attempt, in seconds.")
    attempts: int = Field(default=3, ge=1, le=10, description="How often it is tried.")
