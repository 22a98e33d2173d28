"""Packer behind the port for bakes: each platform with its part of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onebaton.adapters.platform_build import PlatformBuild
    from onebaton.ports import ImageBuilder
    from onebaton.wiring.cluster import Cluster


def image_builder(cluster: Cluster) -> ImageBuilder:
    """Bakes for the configured platform."""
    from onebaton.adapters.image_builder import PackerBuilder

    return PackerBuilder(
        cluster.config.image,
        _platform_build(cluster),
        cluster.local / "bake",
        cluster.reporter,
        cluster.clock,
    )


def _platform_build(cluster: Cluster) -> PlatformBuild:
    from onebaton import config

    settings = cluster.config.platform
    if isinstance(settings, config.AwsPlatform):
        from onebaton.adapters.aws_build import AwsBuild

        return AwsBuild(
            settings,
            cluster.ec2(settings),
            cluster.amis(settings),
            cluster=cluster.config.zone.name,
            reporter=cluster.reporter,
            clock=cluster.clock,
        )
    from onebaton.adapters.podman import Podman
    from onebaton.adapters.podman_build import PodmanBuild

    return PodmanBuild(
        cluster.config.image.base,
        Podman(cluster.local / "podman"),
        cluster.local / "bake",
        cluster.reporter,
    )
