"""Which images go and which stay, and why."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from onebaton.bake.standing import Channel
from onebaton.model import Image, Node


@dataclass(frozen=True, slots=True)
class Sorted:
    """All images, each in one of both.

    :param going: oldest first.
    :param staying: with the reason, in words.
    """

    going: tuple[Image, ...]
    staying: tuple[tuple[Image, str], ...]


def sort_out(
    images: Sequence[Image],
    *,
    nodes: Collection[Node],
    channels: Collection[Channel],
    revoked: Collection[str],
    underway: Mapping[str, str],
    keep: int,
) -> Sorted:
    """What may go.

    :param images: oldest first.
    :param revoked: digests; a revoked image is not kept for being new.
    :param underway: what is begun and not final, in words, by the digest of its image.
    :param keep: how many of each version stay besides, the newest.
    """
    newest: set[str] = set()
    for version in {image.version for image in images}:
        sound = [i for i in images if i.version == version and i.digest not in revoked]
        newest |= {image.name for image in sound[-keep:]} if keep else set()

    def reasons(image: Image) -> Iterator[str]:
        using = [
            n.spec.name
            for n in nodes
            if image.digest == n.spec.image_digest or image.name == n.spec.image
        ]
        if using:
            yield f"in use by {', '.join(sorted(using))}"
        for channel in channels:
            if image.digest == channel.digest or image.name == channel.image:
                yield f"in the channel {channel.name}"
        if image.digest in underway:
            yield underway[image.digest]
        if image.name in newest:
            yield f"among the newest of {image.version}"

    why = {image.name: "; ".join(reasons(image)) for image in images}
    return Sorted(
        tuple(image for image in images if not why[image.name]),
        tuple((image, why[image.name]) for image in images if why[image.name]),
    )
