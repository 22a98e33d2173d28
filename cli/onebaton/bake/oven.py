"""Bakes an image: once a recipe, and into the catalogue only after it was booted and tested."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from onebaton.bake.catalogue import Catalogue
from onebaton.bake.trial import run_trial
from onebaton.errors import OnebatonError
from onebaton.model import Image, Recipe
from onebaton.ports import ImageBuilder, Platform, Reporter


@dataclass(frozen=True, slots=True)
class Baked:
    """What a bake came to.

    :param fresh: it was baked now; else the same recipe was baked before.
    """

    image: Image
    fresh: bool


class Oven:
    """The use case behind ``onebaton bake``."""

    def __init__(
        self,
        builder: ImageBuilder,
        platform: Platform,
        catalogue: Catalogue,
        reporter: Reporter,
        *,
        unusable: Collection[str] = (),
    ) -> None:
        self._builder = builder
        self._platform = platform
        self._catalogue = catalogue
        self._reporter = reporter
        self._unusable = unusable

    def bake(self, *, force: bool = False) -> Baked:
        """Have an image of the recipe.

        :param force: bake it even if it was baked before.
        :raises ConfigError: if the recipe cannot be followed; nothing was changed.
        :raises UnavailableError: if a program or the package repository is missing.
        :raises UnreadableError: if the catalogue cannot be read.
        :raises StepFailedError: if the build or the trial fails; no image is left.
        """
        recipe = self._builder.recipe()
        known = None if force else self._known(recipe)
        if known is not None:
            self._reporter.note(f"{known.name} was baked from the same recipe")
            return Baked(known, fresh=False)
        versions = ", ".join(f"{name} {version}" for name, version in recipe.packages)
        self._reporter.note(f"baking OpenNebula {recipe.version} ({versions}) on {recipe.base}")
        image = self._builder.build(recipe)
        with self._discarded_on_failure(image):
            self._reporter.note(f"trial: booting {image.name} once")
            with self._platform.boot_trial(image) as node:
                self._reporter.progress("looking at the booted image, then starting its oned")
                schema = run_trial(node, recipe)
            tested = replace(image, schema=schema)
            self._builder.label(tested)
            self._catalogue.add(tested)
        self._reporter.note(f"baked {tested.name}, which requires the schema {schema}")
        return Baked(tested, fresh=True)

    def _known(self, recipe: Recipe) -> Image | None:
        """An image of this recipe that the platform still has."""
        return next(
            (
                image
                for image in self._catalogue.by_recipe(recipe.digest)
                if image.digest not in self._unusable and self._platform.image_present(image)
            ),
            None,
        )

    @contextmanager
    def _discarded_on_failure(self, image: Image) -> Iterator[None]:
        """An image that nobody tested must not lie about, after ^C neither."""
        try:
            yield
        except BaseException:
            try:
                self._builder.discard(image)
            except OnebatonError as error:
                self._reporter.warn(f"{image.name} could not be removed: {error.message}")
            raise
