"""Which platform a cluster's nodes run on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton import config

if TYPE_CHECKING:
    from onebaton.ports import Platform
    from onebaton.wiring.cluster import Cluster


def platform(cluster: Cluster) -> Platform:
    """The platform that the configuration names."""
    settings = cluster.config.platform
    if isinstance(settings, config.AwsPlatform):
        return _aws(cluster, settings)
    return _podman(cluster, settings)


def _podman(cluster: Cluster, settings: config.PodmanPlatform) -> Platform:
    from onebaton.adapters.podman import Podman
    from onebaton.adapters.podman_platform import PodmanPlatform

    return PodmanPlatform(
        cluster=cluster.config.zone.name,
        network=cluster.config.network,
        settings=settings,
        state=cluster.local,
        authorized_key=_public_key(cluster),
        podman=Podman(cluster.local / "podman"),
        reporter=cluster.reporter,
        clock=cluster.clock,
        fenced=cluster.config.clone is not None and cluster.config.clone.fence == "platform",
    )


def _aws(cluster: Cluster, settings: config.AwsPlatform) -> Platform:
    from onebaton.adapters import aws_session
    from onebaton.adapters.aws_platform import AwsPlatform
    from onebaton.adapters.aws_sight import AwsFence
    from onebaton.adapters.terraform_backend import S3Backend

    configured = cluster.config
    clone = configured.clone
    fence = None
    if clone is not None and clone.fence == "platform":
        fence = AwsFence(reaches=clone.reaches, apart_from=clone.apart_from)
    backend = None
    if "://" in configured.state:
        backend = S3Backend(
            configured.state, "terraform/aws.tfstate", configured.s3, region=settings.region
        )
    return AwsPlatform(
        cluster=configured.zone.name,
        settings=settings,
        oned_port=configured.zone.port,
        ssh_port=configured.ssh.port,
        packages=configured.image.packages,
        state=cluster.local,
        backend=backend,
        authorized_key=_public_key(cluster),
        ec2=cluster.ec2(settings),
        iam=aws_session.iam(
            region=settings.region,
            endpoint_url=settings.endpoint_url,
            timeout_s=settings.timeouts.call_s,
        ),
        images=cluster.amis(settings),
        fence=fence,
        door=lambda: cluster.ssh,
        reporter=cluster.reporter,
        clock=cluster.clock,
    )


def _public_key(cluster: Cluster) -> str:
    key = cluster.config.ssh.key
    return key.with_name(f"{key.name}.pub").read_text().strip()
