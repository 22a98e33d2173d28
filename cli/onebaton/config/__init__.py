"""``cluster.yaml``: what the operator wants, checked whole before anything is done.

The models are strict: unknown keys, wrong types and contradictions are mistakes. Secrets are
named here and never contained (:class:`SecretSource`). ``adapters.configfile.load`` reads the
file and lists all mistakes at once, each with its line, contradictions between the sections
among them (:mod:`onebaton.contradictions`).
"""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from onebaton.config.clones import CloneConfig, ClonesConfig, Fence
from onebaton.config.image import ImageConfig, RepositoryConfig
from onebaton.config.plans import PlansConfig
from onebaton.config.platform import (
    AnyPlatform,
    AwsAccess,
    AwsAddress,
    AwsPlatform,
    AwsSource,
    AwsSubnet,
    AwsTimeouts,
    AwsVolumes,
    PodmanPlatform,
)
from onebaton.config.rollout import Cut, Gates, ProbeConfig, RolloutConfig, Timeouts
from onebaton.config.section import SecretSource, Section
from onebaton.config.stages import (
    Event,
    HooksConfig,
    NotifyConfig,
    SoakStage,
    Stage,
    StagesConfig,
)
from onebaton.config.storage import S3Config, SecretsConfig, SeedConfig
from onebaton.config.windows import Window
from onebaton.config.zone import (
    Credentials,
    DatabaseConfig,
    NetworkConfig,
    OnedConfig,
    SshConfig,
    VipConfig,
    ZoneConfig,
)
from onebaton.fields import state_place, under_folder

__all__ = [
    "DEFAULT_STATE",
    "AnyPlatform",
    "AwsAccess",
    "AwsAddress",
    "AwsPlatform",
    "AwsSource",
    "AwsSubnet",
    "AwsTimeouts",
    "AwsVolumes",
    "CloneConfig",
    "ClonesConfig",
    "ClusterConfig",
    "Credentials",
    "Cut",
    "DatabaseConfig",
    "Event",
    "Fence",
    "Gates",
    "HooksConfig",
    "ImageConfig",
    "NetworkConfig",
    "NotifyConfig",
    "OnedConfig",
    "PlansConfig",
    "PodmanPlatform",
    "ProbeConfig",
    "RepositoryConfig",
    "RolloutConfig",
    "S3Config",
    "SecretSource",
    "SecretsConfig",
    "Section",
    "SeedConfig",
    "SoakStage",
    "SshConfig",
    "Stage",
    "StagesConfig",
    "Timeouts",
    "VipConfig",
    "Window",
    "ZoneConfig",
]

#: Folder of the state, and of what stays on this machine if the state does not.
DEFAULT_STATE = ".onebaton"


class ClusterConfig(Section):
    """A whole ``cluster.yaml``."""

    zone: ZoneConfig = Field(description="The OpenNebula zone.")
    image: ImageConfig = Field(description="What is baked.")
    platform: AnyPlatform = Field(discriminator="kind", description="Where nodes run.")
    network: NetworkConfig = Field(description="Addresses of the nodes.")
    ssh: SshConfig = Field(description="How nodes are reached.")
    database: DatabaseConfig = Field(default=DatabaseConfig(), description="MariaDB.")
    oned: OnedConfig = Field(default=OnedConfig(), description="Settings of oned.conf.")
    rollout: RolloutConfig = Field(default=RolloutConfig(), description="How to replace nodes.")
    plans: PlansConfig = Field(
        default=PlansConfig(), description="Plans that are reviewed before they are carried out."
    )
    stages: StagesConfig = Field(
        default=StagesConfig(), description="Where a rollout waits, and for whom."
    )
    notify: NotifyConfig = Field(default=NotifyConfig(), description="Who is told of a rollout.")
    state: str = Field(
        default=DEFAULT_STATE,
        min_length=1,
        description="Where journal, lock, image catalogue, rehearsals, reports and the record of "
        "a cut-over are: a folder, or s3://BUCKET/PREFIX for several machines to share.",
    )
    local: str | None = Field(
        default=None,
        min_length=1,
        description="Folder of what stays on this machine: known ssh host keys, work folders of "
        "podman, Terraform and the bake. If left out, the state's own, or .onebaton beside S3.",
    )
    s3: S3Config = Field(
        default=S3Config(), description="The object store, if state or seed.bucket is in one."
    )
    seed: SeedConfig = Field(default=SeedConfig(), description="The way that seeds take.")
    secrets: SecretsConfig = Field(
        default=SecretsConfig(), description="How AWS is asked for secrets."
    )
    clones: ClonesConfig | None = Field(
        default=None, description="Fenced copies of the zone (`onebaton clone`)."
    )
    clone: CloneConfig | None = Field(
        default=None, description="Written by `onebaton clone`: this zone is a copy of another."
    )

    @field_validator("platform", mode="before")
    @classmethod
    def _which_platform(cls, value: object) -> object:
        # The tag of a union has to be there; without a word it is the machine at hand.
        if isinstance(value, Mapping) and "kind" not in value:
            return {"kind": PodmanPlatform.model_fields["kind"].default, **value}
        return value

    @field_validator("state")
    @classmethod
    def _state_place(cls, value: str, info: ValidationInfo) -> str:
        return state_place(value, info)

    @field_validator("local")
    @classmethod
    def _local_folder(cls, value: str | None, info: ValidationInfo) -> str | None:
        # A state that is itself wrong is not in `data`; it is told of, and this one is not used.
        if value is None and "://" in info.data.get("state", ""):
            value = DEFAULT_STATE
        return value if value is None else str(under_folder(value, info) or value)

    @property
    def seed_place(self) -> str:
        """What seeds pass through, where ``seed.via`` is s3."""
        return self.seed.bucket or self.state

    @property
    def local_folder(self) -> Path:
        """Where what stays on this machine is."""
        return Path(self.local or self.state)
