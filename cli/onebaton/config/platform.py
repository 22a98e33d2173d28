"""Where nodes run, one section a platform."""

from typing import Literal

from pydantic import Field

from onebaton.config.section import Section


class PodmanPlatform(Section):
    """Nodes are system containers on this machine."""

    kind: Literal["podman"] = Field(default="podman", description="Which platform.")
    memory_mib: int = Field(default=1024, ge=256, description="Memory of a node, in MiB.")
