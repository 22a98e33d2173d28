"""What a platform gives to a bake: the part of Packer's work that is its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from onebaton.adapters.packer import Packer, PackerPlugin
from onebaton.model import Image, Recipe


@dataclass(frozen=True, slots=True)
class BakeName:
    """What one bake is called; no two have the same tag.

    :param tag: ``VERSION-YYYYMMDDHHMMSS-DIGEST``.
    :param recipe_digest: ``sha256:…``.
    """

    tag: str
    version: str
    recipe_digest: str


@dataclass(frozen=True, slots=True)
class Built:
    """What came of it.

    :param name: of the image, for people.
    :param digest: its identity on the platform.
    """

    name: str
    digest: str


class PlatformBuild(Protocol):
    """A platform's part of a bake.

    :ivar kind: the platform's name; its template is ``templates/packer/KIND.pkr.hcl.j2``.
    :ivar plugin: its builder, for a Packer whose builders are plugins.
    """

    @property
    def kind(self) -> str: ...

    @property
    def plugin(self) -> PackerPlugin: ...

    def packer(self) -> Packer:
        """Packer with the environment that the builder needs. Starts nothing."""
        ...

    def base(self) -> str:
        """What the image is built on, by a name that is another one for another content.

        :raises ConfigError: if the configuration names none.
        :raises UnavailableError: if it cannot be told, or a program for it is missing.
        """
        ...

    def variables(self, recipe: Recipe, bake: BakeName) -> Mapping[str, str]:
        """The template's variables."""
        ...

    def prepare(self, recipe: Recipe) -> None:
        """Have the base here."""
        ...

    def clear(self, bake: BakeName) -> None:
        """Take away what a Packer that was killed left; no error if there is nothing."""
        ...

    def built(self, artifact: str, bake: BakeName) -> Built:
        """What was built, as the platform says.

        :param artifact: its id by Packer's manifest, whose word alone is not enough.
        :raises StepFailedError: if the platform does not have it.
        """
        ...

    def label(self, image: Image) -> None:
        """Note on the image what its trial told, where the platform has a place for it."""
        ...

    def discard(self, image: Image) -> None:
        """Remove an image that must not be used; no error if there is none."""
        ...
