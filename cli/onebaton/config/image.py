"""What is baked."""

from pydantic import Field, ValidationInfo, field_validator

from onebaton.config.section import Section
from onebaton.fields import ExistingFile, Name, Package, Version, repository_url


class RepositoryConfig(Section):
    """Where the OpenNebula packages come from."""

    url: str = Field(
        min_length=1,
        description="Web address or local folder of a Debian package repository.",
    )
    suite: str = Field(
        default="./", min_length=1, description="The suite, e.g. stable; ./ if it is flat."
    )
    components: tuple[str, ...] = Field(
        default=(), strict=False, description="Components of the suite; none if it is flat."
    )
    key: ExistingFile | None = Field(
        default=None,
        description="The repository's public key; required unless it is a local folder.",
    )

    @field_validator("url")
    @classmethod
    def _place(cls, value: str, info: ValidationInfo) -> str:
        return repository_url(value, info)


class ImageConfig(Section):
    """What is baked."""

    version: Version = Field(description="OpenNebula version, e.g. 6.10.0.")
    channel: Name | None = Field(
        default=None,
        description="Take the image that was promoted to this channel; the newest one of the "
        "version if left out.",
    )
    repository: RepositoryConfig = Field(description="Where the packages come from.")
    packages: tuple[Package, ...] = Field(
        default=("opennebula",),
        min_length=1,
        strict=False,
        description="Packages to install. The services of opennebula-flow, -gate, -fireedge and "
        "-sunstone are enabled where they are named here.",
    )
    base: str = Field(
        default="mmdebstrap:bookworm",
        min_length=1,
        description="mmdebstrap:SUITE bootstraps a base from Debian's packages; anything else "
        "is the name of a container image. On aws it is platform.source_ami instead.",
    )
    scripts: tuple[ExistingFile, ...] = Field(
        default=(),
        strict=False,
        description="Further provisioning scripts, run in this order at the end of the bake.",
    )
