"""Bakes container images: Packer's docker builder, which drives podman."""

from collections.abc import Mapping
from pathlib import Path

from onebaton.adapters.base_image import BaseImages
from onebaton.adapters.ingredients import debian_packages
from onebaton.adapters.packer import Packer, PackerPlugin
from onebaton.adapters.platform_build import BakeName, Built
from onebaton.adapters.podman import Podman
from onebaton.errors import StepFailedError
from onebaton.model import Image, Recipe
from onebaton.ports import Reporter

IMAGE_REPOSITORY = "localhost/onebaton/opennebula"
QUERY_TIMEOUT_S = 30.0
REMOVE_TIMEOUT_S = 60.0


class PodmanBuild:
    """The platform podman's part of a bake (see ``PlatformBuild``).

    :param base: ``image.base`` of the configuration.
    :param folder: of the bakes, e.g. ``STATE/bake``.
    """

    kind = "podman"
    plugin = PackerPlugin("docker", ">= 1.0.8")

    def __init__(self, base: str, podman: Podman, folder: Path, reporter: Reporter) -> None:
        self._base = base
        self._podman = podman
        self._folder = folder.absolute()
        self._bases = BaseImages(podman, debian_packages(self.kind), self._folder, reporter)

    def packer(self) -> Packer:
        """Packer, with ``docker`` meaning podman.

        Its builder starts a program of that name; a real docker client that comes first in
        PATH would go to another engine.
        """
        links = self._folder / "bin"
        links.mkdir(parents=True, exist_ok=True)
        link = links / "docker"
        target = Path(self._podman.program).absolute()
        if not link.is_symlink() or link.readlink() != target:
            link.unlink(missing_ok=True)
            link.symlink_to(target)
        return Packer(self._podman.env, first_in_path=links)

    def base(self) -> str:
        """The container image's name, or ``mmdebstrap:SUITE``; its content is not looked at."""
        self._bases.check(self._base)
        return self._base

    def variables(self, recipe: Recipe, bake: BakeName) -> Mapping[str, str]:
        """The template's variables."""
        return {
            "base": self._bases.reference(recipe.base),
            "repository": IMAGE_REPOSITORY,
            "tag": bake.tag,
            "container": _container(bake),
            "recipe_digest": bake.recipe_digest,
        }

    def prepare(self, recipe: Recipe) -> None:
        """Have the base here: made, or pulled."""
        self._bases.ensure(recipe.base)

    def clear(self, bake: BakeName) -> None:
        """Remove the container; Packer does it itself, unless it was killed."""
        self._podman.run(
            ["rm", "--force", "--ignore", "--time=0", "--volumes", _container(bake)],
            timeout_s=REMOVE_TIMEOUT_S,
            check=False,
        )

    def built(self, artifact: str, bake: BakeName) -> Built:  # noqa: ARG002 - the tag is its name
        """The image of the bake's tag, with podman's id of it."""
        name = f"{IMAGE_REPOSITORY}:{bake.tag}"
        completed = self._podman.run(
            ["image", "inspect", "--format={{.Id}}", name], timeout_s=QUERY_TIMEOUT_S, check=False
        )
        identity = completed.stdout.strip()
        if completed.status != 0 or not identity:
            raise StepFailedError(
                f"packer reported the image {name}, but podman does not have it",
                details=completed.stderr.strip().splitlines()[-3:],
                resolution="Check that packer and this command use the same podman storage.",
            )
        return Built(name, f"sha256:{identity.removeprefix('sha256:')}")

    def label(self, image: Image) -> None:
        """Nothing: the labels of a container image are part of it."""

    def discard(self, image: Image) -> None:
        """Remove an image that must not be used; no error if there is none.

        :raises UnavailableError: if podman does not work.
        """
        self._podman.run(
            ["image", "rm", "--force", image.name], timeout_s=REMOVE_TIMEOUT_S, check=False
        )


def _container(bake: BakeName) -> str:
    return f"onebaton-bake-{bake.tag}"
