"""Which of the baked images is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.errors import RefusedError

if TYPE_CHECKING:
    from onebaton.model import Image
    from onebaton.wiring.cluster import Cluster


def chosen(cluster: Cluster) -> Image:
    """The first candidate that the platform holds.

    :raises RefusedError: if there is none.
    """
    version, channel = cluster.config.image.version, cluster.config.image.channel
    for image in candidates(cluster):
        if image.platform == cluster.platform.kind and cluster.platform.image_present(image):
            return image
    if channel is not None:
        raise RefusedError(
            f"the image of the channel {channel} is not on this platform",
            resolution="See `onebaton images`, and promote one that is.",
        )
    raise RefusedError(
        f"no image of OpenNebula {version} was baked",
        resolution=f"Bake it: {cluster.options.again('bake')}",
    )


def unbaked(cluster: Cluster) -> Image:
    """What stands for the image of the configured version before it is baked."""
    from onebaton.model import UNKNOWN_SCHEMA, Image

    version = cluster.config.image.version
    return Image(
        name=f"OpenNebula {version}",
        digest="",
        version=version,
        schema=UNKNOWN_SCHEMA,
        platform=cluster.platform.kind,
        base=cluster.config.image.base,
        recipe_digest="",
        built_at="",
        packer_version="",
    )


def candidates(cluster: Cluster) -> tuple[Image, ...]:
    """Images of the configured version, the one to take first.

    That is the channel's, or the newest that was not revoked; but before it that of a rollout
    that did not come to its end, or of a cut-over that is not final: another one that was baked
    or promoted meanwhile has no part in it, and its nodes no place. A plan names its image.

    :raises RefusedError: if the channel holds none of this version.
    """
    planned = cluster.options.image_digest
    if planned is not None:
        return tuple(image for image in cluster.catalogue.list() if image.digest == planned)
    images = cluster.catalogue.find(cluster.config.image.version)
    begun, why = _begun(cluster)
    channel = cluster.config.image.channel
    if channel is not None:
        promoted = _promoted(cluster, channel)
        images = (
            *(image for image in images if image.digest == promoted),
            *(image for image in images if image.digest == begun != promoted),
        )
    revoked = cluster.revoked
    ordered = sorted(images, key=lambda i: (i.digest != begun, i.digest in revoked))
    if images and ordered[0] != images[0]:
        if ordered[0].digest != begun:
            why = f"that one was revoked: {revoked[images[0].digest]}"
        cluster.reporter.note(f"{ordered[0].name} is taken, and not {images[0].name}: {why}")
    return tuple(ordered)


def _begun(cluster: Cluster) -> tuple[str, str]:
    """Digest of the image that was begun with, and why it is gone on with; empty if none."""
    from onebaton.model import PriorPhase

    goal, prior = cluster.goals.load(), cluster.priors.load()
    if goal is not None and any(
        node.spec.image_digest == goal.digest for node in cluster.platform.nodes()
    ):
        return goal.digest, "the rollout to it did not come to its end"
    if prior is not None and prior.phase is not PriorPhase.FINAL:
        return prior.image_digest, "the cut-over to it is not final"
    return "", ""


def _promoted(cluster: Cluster, channel: str) -> str:
    """Digest of the image that a channel holds.

    :raises RefusedError: if it holds none of the configured version.
    """
    held, version = cluster.standing.channel(channel), cluster.config.image.version
    if held is None or held.version != version:
        holds = f"holds {held.image}, of {held.version}" if held else "holds no image"
        raise RefusedError(
            f"the channel {channel} {holds}, and image.version is {version}",
            resolution=f"Promote one: onebaton images promote IMAGE {channel}",
        )
    return held.digest
