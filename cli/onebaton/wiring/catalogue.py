"""The image catalogue: what each command on images calls."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from onebaton.errors import UsageError
from onebaton.wiring.running import locked, opened

if TYPE_CHECKING:
    from onebaton.bake.pruning import Sorted
    from onebaton.model import Image
    from onebaton.views import ImageRow, ImageView, PruneView
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options


def images(options: Options) -> tuple[ImageRow, ...]:
    """The catalogue, oldest first."""
    with opened(options) as cluster:
        return _rows(cluster, cluster.catalogue.list())


def show_image(options: Options, name: str) -> ImageView:
    """One image, and where it is.

    :raises UsageError: if the catalogue has none of this name.
    """
    from onebaton.views import ImageView

    with opened(options) as cluster:
        image = _named(cluster, name)
        (row,) = _rows(cluster, (image,))
        nodes = cluster.platform.nodes()
        running = [n.spec.name for n in nodes if n.spec.image_digest == image.digest]
        return ImageView(row, cluster.platform.image_present(image), tuple(running))


def promote(options: Options, name: str, channel: str) -> Image:
    """Put an image in a channel. No prune is under way meanwhile.

    :raises UsageError: if the catalogue has none of this name.
    :raises RefusedError: if it was revoked.
    """
    with opened(options) as cluster, locked(cluster, "images promote"):
        cluster.require_no_clone("images")
        image = _named(cluster, name)
        cluster.standing.promote(image, channel, cluster.clock.now())
        return image


def revoke(options: Options, name: str, reason: str) -> ImageView:
    """Have an image used by nobody any more. Waits for no other run: it may be urgent.

    :raises UsageError: if the catalogue has none of this name.
    """
    with opened(options) as cluster:
        cluster.require_no_clone("images")
        cluster.standing.revoke(_named(cluster, name), reason, cluster.clock.now())
    return show_image(options, name)


def reinstate(options: Options, name: str) -> ImageView:
    """Take a revocation back.

    :raises UsageError: if the catalogue has none of this name.
    """
    with opened(options) as cluster:
        cluster.require_no_clone("images")
        cluster.standing.reinstate(_named(cluster, name))
    return show_image(options, name)


def prune_preview(options: Options, *, keep: int) -> PruneView:
    """What :func:`prune` would remove, and what stays, and why.

    :param keep: how many of each version stay besides, the newest.
    """
    with opened(options) as cluster:
        return _prune_view(_sorted(cluster, keep))


def prune(options: Options, *, keep: int) -> PruneView:
    """Remove the images that nothing needs, from the platform and then from the catalogue.

    :raises RefusedError: if something that is not ours uses one; those before it are gone.
    """
    with opened(options) as cluster, locked(cluster, "images prune"):
        cluster.require_no_clone("images")
        found = _sorted(cluster, keep)
        for image in found.going:
            # The entry last: an image without one would never be found again.
            cluster.platform.remove_image(image)
            cluster.catalogue.remove(image.name)
            cluster.standing.reinstate(image)
            cluster.reporter.note(f"removed {image.name}")
        return _prune_view(found)


def _rows(cluster: Cluster, listed: tuple[Image, ...]) -> tuple[ImageRow, ...]:
    from onebaton.views import ImageRow

    channels, revoked = cluster.standing.channels(), cluster.revoked
    return tuple(
        ImageRow(
            **{**asdict(image), "schema": image.schema},
            channels=tuple(c.name for c in channels if c.digest == image.digest),
            revoked=revoked.get(image.digest),
        )
        for image in listed
    )


def _named(cluster: Cluster, name: str) -> Image:
    image = cluster.catalogue.get(name)
    if image is None:
        raise UsageError(
            f"the catalogue has no image {name!r}", resolution="See the names: onebaton images"
        )
    return image


def _sorted(cluster: Cluster, keep: int) -> Sorted:
    from onebaton.bake.pruning import sort_out
    from onebaton.model import PriorPhase
    from onebaton.wiring.clones import nodes_of_clones

    goal, prior, one = cluster.goals.load(), cluster.priors.load(), cluster.condemned.load()
    underway = {one.image_digest: f"{one.name} is being replaced by a node of it"} if one else {}
    if goal is not None:
        underway[goal.digest] = "a rollout to it did not come to its end"
    if prior is not None and prior.phase is not PriorPhase.FINAL:
        underway[prior.image_digest] = "the cut-over to it is not final"
    return sort_out(
        [i for i in cluster.catalogue.list() if i.platform == cluster.platform.kind],
        nodes=[*cluster.platform.nodes(), *nodes_of_clones(cluster)],
        channels=cluster.standing.channels(),
        revoked=cluster.revoked.keys(),
        underway=underway,
        keep=keep,
    )


def _prune_view(found: Sorted) -> PruneView:
    from onebaton.views import PruneView

    return PruneView(
        tuple(image.name for image in found.going),
        tuple((image.name, why) for image, why in found.staying),
    )
