"""Plans as files: how long they may be begun with, and who signs them."""

from pydantic import Field

from onebaton.config.section import Section
from onebaton.fields import ExistingFile


class PlansConfig(Section):
    """Plans that are reviewed before they are carried out."""

    max_age_hours: float = Field(
        default=24.0,
        gt=0,
        le=24 * 30,
        description="How long after it was made a rollout may begin with a plan, in hours.",
    )
    public_keys: tuple[ExistingFile, ...] = Field(
        default=(),
        strict=False,
        description="Ed25519 public keys (PEM files) of those who may sign a plan.",
    )
    require_signature: bool = Field(
        default=False,
        description="Carry out only plans that one of these keys signed: `rollout` needs --plan.",
    )
