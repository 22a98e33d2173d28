"""Staging clones: what the operator says of them, and what a clone's own file says besides."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from onebaton.config.section import Section
from onebaton.fields import Duration, ExistingFile, Name, Subnet, state_place

#: Who keeps a clone's network apart from production.
Fence = Literal["platform", "own"]


class ClonesConfig(Section):
    """Fenced copies of the zone, to try things on."""

    subnets: tuple[Subnet, ...] = Field(
        strict=False,
        min_length=1,
        description="Subnets for clones, one each; the first that is free is taken. A /28 holds "
        "a clone of three servers.",
    )
    size: Literal[1, 3, 5, 7, 9] = Field(default=1, description="Number of servers of a clone.")
    ttl: Duration = Field(
        default="3d",
        description="How long a clone is meant to be there (90m, 12h, 3d, 1w); `onebaton clone "
        "destroy --expired` takes away what is past it.",
    )
    scrub: ExistingFile | None = Field(
        default=None,
        description="File with rules for taking user data out of a clone (names, e-mails, "
        "contexts).",
    )
    copy_mib_s: float = Field(
        default=8.0,
        gt=0,
        le=10_000,
        strict=False,
        description="MiB a second that are read from production's database at most: its clients "
        "are not to notice.",
    )
    fence: Fence = Field(
        default="platform",
        description="platform: the platform makes each clone a network without a way out; own: "
        "the subnets are kept apart by somebody else. It is proved before a start either way.",
    )


class CloneConfig(Section):
    """What `onebaton clone` writes into a clone's own file: that it is one, and of what."""

    name: Name = Field(description="The clone's name.")
    of: Name = Field(description="The zone that it is a copy of.")
    images: str = Field(
        min_length=1, description="The state of that zone, which holds the image catalogue."
    )
    fence: Fence = Field(description="Who keeps its network apart, as in `clones.fence`.")
    apart_from: tuple[Subnet, ...] = Field(
        default=(),
        strict=False,
        description="Ranges of that zone and its hypervisors, to which its network has no route.",
    )
    reaches: tuple[Subnet, ...] = Field(
        default=(),
        strict=False,
        description="Ranges that its machines may reach besides each other, on port 443 (aws).",
    )

    @field_validator("images")
    @classmethod
    def _state_place(cls, value: str, info: ValidationInfo) -> str:
        return state_place(value, info)
