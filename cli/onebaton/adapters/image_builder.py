"""Bakes container images of front-end nodes with Packer driving podman.

Everything Packer reads is put into one folder first: what lies there, and nothing else, goes
into the image, so the digest over it is the recipe's.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

from onebaton.adapters import packages
from onebaton.adapters.base_image import BaseImages
from onebaton.adapters.packer import Packer, PackerVersion
from onebaton.adapters.parts import part
from onebaton.adapters.podman import Podman
from onebaton.adapters.templates import Templates
from onebaton.config import ImageConfig, RepositoryConfig
from onebaton.errors import ConfigError, StepFailedError
from onebaton.model import UNKNOWN_SCHEMA, Image, Recipe
from onebaton.ports import Clock, Reporter

PLATFORM = "podman"
IMAGE_REPOSITORY = "localhost/onebaton/opennebula"
BUILD_TIMEOUT_S = 1800.0
QUERY_TIMEOUT_S = 30.0
REMOVE_TIMEOUT_S = 60.0
#: Where the package repository lies while the image is made.
_REPOSITORY_INSIDE = "/opt/onebaton-bake/repository"
_KEYS_INSIDE = "/etc/apt/keyrings"


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What a bake is made of.

    :param files: of the build folder, by path in it: everything that is part of the recipe.
    """

    recipe: Recipe
    files: Mapping[str, bytes]


class PackerBuilder:
    """The port ``ImageBuilder`` for the platform podman.

    :param folder: where build folders are made, e.g. ``STATE/bake``.
    :param clock: gives each bake a name of its own.
    """

    def __init__(
        self,
        image: ImageConfig,
        podman: Podman,
        folder: Path,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._image = image
        self._podman = podman
        self._folder = folder.absolute()
        self._reporter = reporter
        self._clock = clock
        self._bases = BaseImages(podman, debian_packages(), self._folder, reporter)

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
                "the package repository or a script changed while the bake began",
                resolution="Run the same command again.",
            )
        packer = self._packer()
        built_at = datetime.fromtimestamp(self._clock.now(), UTC).replace(microsecond=0)
        short = recipe.digest.removeprefix("sha256:")[:12]
        # A tag of its own for each bake: nodes of an earlier one keep an image with a name.
        tag = f"{recipe.version}-{built_at:%Y%m%d%H%M%S}-{short}"
        container = f"onebaton-bake-{tag}"
        folder = self._folder / short
        variables = {
            "base": self._bases.reference(recipe.base),
            "repository": IMAGE_REPOSITORY,
            "tag": tag,
            "container": container,
            "recipe_digest": recipe.digest,
        }
        if packages.is_local(self._image.repository):
            variables["package_folder"] = str(packages.local_folder(self._image.repository))
        self._stage(folder, preparation.files, packer.version)
        try:
            packer.validate(folder, variables)
            self._bases.ensure(recipe.base)
            packer.build(folder, variables, self._reporter, timeout_s=BUILD_TIMEOUT_S)
        finally:
            (folder / "apt" / "auth.conf").unlink(missing_ok=True)
            # Packer removes it itself, unless it was killed.
            self._podman.run(
                ["rm", "--force", "--ignore", "--time=0", "--volumes", container],
                timeout_s=REMOVE_TIMEOUT_S,
                check=False,
            )
        name = f"{IMAGE_REPOSITORY}:{tag}"
        return Image(
            name=name,
            digest=self._digest(name),
            version=recipe.version,
            schema=UNKNOWN_SCHEMA,
            platform=PLATFORM,
            base=recipe.base,
            recipe_digest=recipe.digest,
            built_at=f"{built_at:%Y-%m-%dT%H:%M:%SZ}",
            packer_version=str(packer.version),
        )

    def discard(self, image: Image) -> None:
        """Remove an image that must not be used; no error if there is none.

        :raises UnavailableError: if podman does not work.
        """
        self._podman.run(
            ["image", "rm", "--force", image.name], timeout_s=REMOVE_TIMEOUT_S, check=False
        )

    def _prepare(self) -> _Preparation:
        image = self._image
        # Programs first: what is missing here is said before a network is waited for.
        self._packer().require()
        self._bases.check(image.base)
        scripts = _scripts(image)
        self._reporter.progress(
            f"reading the package repository {packages.public_url(image.repository)}"
        )
        selection = packages.select(image.repository, image.packages, image.version)
        wanted = tuple((package.name, package.version) for package in selection.wanted)
        files = {
            **_files_below(part("packer", "files"), "files"),
            **_files_below(part("packer", "provision"), "provision"),
            "packages.list": part("packer", "packages.list").read_bytes(),
            **_apt_files(image.repository, selection.version),
            **scripts,
        }
        files["node.pkr.hcl"] = node_template(image, wanted, script_order(files))
        ingredients = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
        for package in selection.release:
            ingredients[f"repository/{package.filename.removeprefix('./')}"] = package.sha256
        return _Preparation(
            Recipe(
                version=image.version,
                platform=PLATFORM,
                base=image.base,
                packages=wanted,
                ingredients=tuple(sorted(ingredients.items())),
            ),
            files,
        )

    def _packer(self) -> Packer:
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

    def _stage(self, folder: Path, files: Mapping[str, bytes], version: PackerVersion) -> None:
        """Fill a fresh build folder."""
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True, mode=0o700)
        for name, content in {**files, **plugin_files(version)}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        login = _login(self._image.repository)
        if login is not None:
            path = folder / "apt" / "auth.conf"
            path.touch(mode=0o600)
            path.write_text(login, "utf-8")

    def _digest(self, name: str) -> str:
        """The identity of what was built; the manifest's word alone is not enough."""
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
        return f"sha256:{identity.removeprefix('sha256:')}"


def debian_packages() -> tuple[str, ...]:
    """Debian packages every node has (``packer/packages.list``)."""
    text = part("packer", "packages.list").read_text("utf-8")
    words = (line.split("#", 1)[0].strip() for line in text.splitlines())
    return tuple(word for word in words if word)


def node_template(
    image: ImageConfig, wanted: Sequence[tuple[str, str]], scripts: Sequence[str]
) -> bytes:
    """The Packer template; every Packer from 1.6.6 on reads the same one.

    :param wanted: packages with exact versions.
    :param scripts: paths in the build folder, in the order in which they run.
    """
    text = Templates().render(
        "packer/podman.pkr.hcl.j2",
        {
            "version": image.version,
            "local_repository": packages.is_local(image.repository),
            "packages": [f"{name}={version}" for name, version in wanted],
            "scripts": scripts,
        },
    )
    return text.encode()


def plugin_files(version: PackerVersion) -> dict[str, bytes]:
    """What a Packer with plugins needs beside the template; older ones refuse to see it.

    No part of the recipe: another Packer makes the same image.
    """
    if not version.has_plugins:
        return {}
    text = Templates().render("packer/plugins.pkr.hcl.j2", {})
    return {"plugins.pkr.hcl": text.encode()}


def script_order(files: Mapping[str, bytes]) -> list[str]:
    """Scripts in the order in which they run: ours by number, the operator's before cleaning.

    :param files: of the build folder, by path in it.
    """
    ours = sorted(name for name in files if name.startswith("provision/"))
    closing = [name for name in ours if name >= "provision/8"]
    operators = sorted(name for name in files if name.startswith("scripts/"))
    return [*(name for name in ours if name not in closing), *operators, *closing]


def _scripts(image: ImageConfig) -> dict[str, bytes]:
    problems, found = [], {}
    for number, path in enumerate(image.scripts):
        try:
            found[f"scripts/{number:02}-{path.name}"] = path.read_bytes()
        except OSError as error:
            problems.append(f"image.scripts[{number}] {path}: {error.strerror}")
    if problems:
        raise ConfigError(
            "provisioning scripts cannot be read",
            details=problems,
            resolution="Correct `image.scripts` in cluster.yaml.",
        )
    return found


def _files_below(folder: Path, prefix: str) -> dict[str, bytes]:
    return {
        f"{prefix}/{path.relative_to(folder).as_posix()}": path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _apt_files(repository: RepositoryConfig, version: str) -> dict[str, bytes]:
    """Source, pin and key of the repository, as apt takes them; the login is not among them."""
    local = packages.is_local(repository)
    uri = f"file:{_REPOSITORY_INSIDE}" if local else packages.public_url(repository)
    lines = ["Types: deb", f"URIs: {uri}", f"Suites: {repository.suite}"]
    if repository.components and not repository.suite.endswith("/"):
        lines.append(f"Components: {' '.join(repository.components)}")
    files = {}
    if repository.key is not None:
        name, content = _key(repository.key)
        files[f"apt/{name}"] = content
        lines.append(f"Signed-By: {_KEYS_INSIDE}/{name}")
    elif local:
        lines.append("Trusted: yes")  # a folder of this machine needs no signature
    else:
        raise ConfigError(
            f"the package repository {packages.public_url(repository)} needs its public key",
            resolution="Set `image.repository.key` in cluster.yaml to the file with the key.",
        )
    # Above 1000: even if another source has a newer one.
    pin = ["Package: opennebula*", f"Pin: version {version}", "Pin-Priority: 1001"]
    files["apt/onebaton.sources"] = "".join(f"{line}\n" for line in lines).encode()
    files["apt/onebaton.pref"] = "".join(f"{line}\n" for line in pin).encode()
    return files


def _key(path: Path) -> tuple[str, bytes]:
    """A public key under the name by which apt knows its form."""
    try:
        content = path.expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(
            f"the package repository's key {path} cannot be read: {error.strerror}",
            resolution="Correct `image.repository.key` in cluster.yaml.",
        ) from error
    armoured = content.lstrip().startswith(b"-----BEGIN PGP")
    return ("onebaton.asc" if armoured else "onebaton.gpg"), content


def _login(repository: RepositoryConfig) -> str | None:
    """User and password of the repository's address as apt's auth.conf takes them."""
    if packages.is_local(repository):
        return None
    parts = urlsplit(repository.url)
    if parts.username is None:
        return None
    machine = parts.netloc.rpartition("@")[2]
    scheme = "http://" if parts.scheme == "http" else ""
    user, password = unquote(parts.username), unquote(parts.password or "")
    return f"machine {scheme}{machine}{parts.path}\nlogin {user}\npassword {password}\n"
