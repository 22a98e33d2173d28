"""Bakes images of front-end nodes with Packer: one recipe, whatever the platform.

Everything Packer reads is put into one folder first (:mod:`onebaton.adapters.ingredients`).
"""

import hashlib
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from onebaton.adapters import packages
from onebaton.adapters.ingredients import (
    TEMPLATE,
    ingredients,
    login_of,
    node_template,
    operators_scripts,
    plugin_files,
    script_order,
)
from onebaton.adapters.packer import PackerVersion
from onebaton.adapters.platform_build import BakeName, PlatformBuild
from onebaton.config import ImageConfig
from onebaton.errors import StepFailedError
from onebaton.model import UNKNOWN_SCHEMA, Image, Recipe
from onebaton.ports import Clock, Reporter

BUILD_TIMEOUT_S = 1800.0


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What a bake is made of.

    :param files: of the build folder, by path in it: everything that is part of the recipe.
    """

    recipe: Recipe
    files: Mapping[str, bytes]


class PackerBuilder:
    """The port ``ImageBuilder``.

    :param platform: its part of the bake.
    :param folder: where build folders are made, e.g. ``STATE/bake``.
    :param clock: gives each bake a name of its own.
    """

    def __init__(
        self,
        image: ImageConfig,
        platform: PlatformBuild,
        folder: Path,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._image = image
        self._platform = platform
        self._folder = folder.absolute()
        self._reporter = reporter
        self._clock = clock

    def recipe(self) -> Recipe:
        """Everything that would go into the image. Changes nothing.

        :raises ConfigError: if a script, the package repository or a version in it is missing.
        :raises UnavailableError: if a program is missing or the repository does not answer.
        """
        return self._prepare().recipe

    def build(self, recipe: Recipe) -> Image:
        """Render, validate, build, read the manifest.

        :returns: the image, its schema not yet known.
        :raises StepFailedError: if Packer fails, or what it made is not there.
        """
        preparation = self._prepare()
        if preparation.recipe != recipe:
            raise StepFailedError(
                "the package repository, the base or a script changed while the bake began",
                resolution="Run the same command again.",
            )
        packer = self._platform.packer()
        built_at = datetime.fromtimestamp(self._clock.now(), UTC).replace(microsecond=0)
        short = recipe.digest.removeprefix("sha256:")[:12]
        # A tag of its own for each bake: nodes of an earlier one keep an image with a name, and
        # two clusters of this machine may bake the same in the same second.
        tag = f"{recipe.version}-{built_at:%Y%m%d%H%M%S}-{short}-{secrets.token_hex(2)}"
        bake = BakeName(tag, recipe.version, recipe.digest)
        folder = self._folder / short
        variables = dict(self._platform.variables(recipe, bake))
        if packages.is_local(self._image.repository):
            variables["package_folder"] = str(packages.local_folder(self._image.repository))
        self._stage(folder, preparation, packer.version)
        try:
            packer.validate(folder, variables)
            self._platform.prepare(recipe)
            artifact = packer.build(folder, variables, self._reporter, timeout_s=BUILD_TIMEOUT_S)
        finally:
            (folder / "apt" / "auth.conf").unlink(missing_ok=True)
            self._platform.clear(bake)
        built = self._platform.built(artifact, bake)
        return Image(
            name=built.name,
            digest=built.digest,
            version=recipe.version,
            schema=UNKNOWN_SCHEMA,
            platform=recipe.platform,
            base=recipe.base,
            recipe_digest=recipe.digest,
            built_at=f"{built_at:%Y-%m-%dT%H:%M:%SZ}",
            packer_version=str(packer.version),
        )

    def label(self, image: Image) -> None:
        """Note on the image what its trial told, where the platform has a place for it.

        :raises UnavailableError: if the platform does not answer.
        """
        self._platform.label(image)

    def discard(self, image: Image) -> None:
        """Remove an image that must not be used; no error if there is none.

        :raises UnavailableError: if the platform does not answer.
        """
        self._platform.discard(image)

    def _prepare(self) -> _Preparation:
        image, platform = self._image, self._platform
        # Programs first: what is missing here is said before a network is waited for.
        platform.packer().require()
        base = platform.base()
        scripts = operators_scripts(image)
        self._reporter.progress(
            f"reading the package repository {packages.public_url(image.repository)}"
        )
        selection = packages.select(image.repository, image.packages, image.version)
        wanted = tuple((package.name, package.version) for package in selection.wanted)
        files = {**ingredients(image, platform.kind, selection.version), **scripts}
        files[TEMPLATE] = node_template(image, platform.kind, wanted, script_order(files))
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        for package in selection.release:
            digests[f"repository/{package.filename.removeprefix('./')}"] = package.sha256
        return _Preparation(
            Recipe(
                version=image.version,
                platform=platform.kind,
                base=base,
                packages=wanted,
                ingredients=tuple(sorted(digests.items())),
            ),
            files,
        )

    def _stage(self, folder: Path, preparation: _Preparation, version: PackerVersion) -> None:
        """Fill a fresh build folder."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, mode=0o700)
        files, kind = preparation.files, self._platform.kind
        wanted = preparation.recipe.packages
        staged = {
            **files,
            # What a newer Packer can do besides leaves nothing in the image.
            TEMPLATE: node_template(self._image, kind, wanted, script_order(files), version),
            **plugin_files(version, self._platform.plugin),
        }
        for name, content in staged.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        login = login_of(self._image.repository)
        if login is not None:
            path = folder / "apt" / "auth.conf"
            path.touch(mode=0o600)
            path.write_text(login, "utf-8")
