"""Images that appear by themselves, behind :class:`onebaton.ports.ImageBuilder`."""

from tests.fakes.platform import FakePlatform

from onebaton.model import UNKNOWN_SCHEMA, Image, Recipe, Schema


class FakeBuilder:
    """Implements the port ``ImageBuilder`` for a platform in memory.

    :ivar the_recipe: what :meth:`recipe` answers; may be replaced.
    :ivar labelled: schemas that trials told, by the image's name.
    :ivar discarded: names of images that were removed.
    """

    def __init__(self, platform: FakePlatform, recipe: Recipe) -> None:
        self._platform = platform
        self._built = 0
        self.the_recipe = recipe
        self.labelled: dict[str, Schema] = {}
        self.discarded: list[str] = []

    def recipe(self) -> Recipe:
        """Everything that would go into the image."""
        return self.the_recipe

    def build(self, recipe: Recipe) -> Image:
        """An image of a new name and a new content each time."""
        self._built += 1
        image = Image(
            name=f"localhost/fake:{recipe.version}-{self._built}",
            digest=f"sha256:{self._built:064}",
            version=recipe.version,
            schema=UNKNOWN_SCHEMA,
            platform=recipe.platform,
            base=recipe.base,
            recipe_digest=recipe.digest,
            built_at=f"2026-01-01T00:00:{self._built:02}Z",
            packer_version="1.6.6",
        )
        self._platform.images[image.name] = image.digest
        return image

    def label(self, image: Image) -> None:
        """Note the schema."""
        self.labelled[image.name] = image.schema

    def discard(self, image: Image) -> None:
        """Remove an image; no error if there is none."""
        self._platform.images.pop(image.name, None)
        self.discarded.append(image.name)
