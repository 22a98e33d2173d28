"""What goes into an image: files by their path in the build folder, and the template over them.

What lies in the build folder, and nothing else, goes into the image, so the digest over it is
the recipe's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from onebaton.adapters import packages
from onebaton.adapters.packer import PackerPlugin, PackerVersion
from onebaton.adapters.parts import part
from onebaton.adapters.templates import Templates
from onebaton.config import ImageConfig, RepositoryConfig
from onebaton.errors import ConfigError

TEMPLATE = "node.pkr.hcl"
#: Where the package repository lies while the image is made.
_REPOSITORY_INSIDE = "/opt/onebaton-bake/repository"
_KEYS_INSIDE = "/etc/apt/keyrings"
#: Where a platform's own parts are, laid out as those of all platforms are.
_PLATFORMS = "platforms"


def ingredients(image: ImageConfig, platform: str, version: str) -> dict[str, bytes]:
    """Everything but the template and the operator's scripts.

    :param platform: its name; what only its images need comes with what all have.
    :param version: of OpenNebula's packages, with Debian's revision.
    :raises ConfigError: if the repository's key cannot be read.
    """
    files: dict[str, bytes] = {}
    for folder in _folders(platform):
        files |= _files_below(folder / "files", "files")
        files |= _files_below(folder / "provision", "provision")
    return {
        **files,
        "packages.list": "".join(_package_lists(platform)).encode(),
        **_apt_files(image.repository, version),
    }


def debian_packages(platform: str) -> tuple[str, ...]:
    """Debian packages of every node, and of those of one platform."""
    lines = "".join(_package_lists(platform)).splitlines()
    words = (line.split("#", 1)[0].strip() for line in lines)
    return tuple(word for word in words if word)


def node_template(
    image: ImageConfig,
    platform: str,
    wanted: Sequence[tuple[str, str]],
    scripts: Sequence[str],
    version: PackerVersion | None = None,
) -> bytes:
    """The Packer template.

    :param wanted: packages with exact versions.
    :param scripts: paths in the build folder, in the order in which they run.
    :param version: of the Packer that reads it; without one, what every Packer from 1.6.6 on
        reads.
    """
    text = Templates().render(
        f"packer/{platform}.pkr.hcl.j2",
        {
            "version": image.version,
            "local_repository": packages.is_local(image.repository),
            "packages": [f"{name}={version}" for name, version in wanted],
            "scripts": scripts,
            "plugins": version is not None and version.has_plugins,
        },
    )
    return text.encode()


def plugin_files(version: PackerVersion, plugin: PackerPlugin) -> dict[str, bytes]:
    """What a Packer with plugins needs beside the template; older ones refuse to see it.

    No part of the recipe: another Packer makes the same image.
    """
    if not version.has_plugins:
        return {}
    text = Templates().render(
        "packer/plugins.pkr.hcl.j2", {"name": plugin.name, "version": plugin.version}
    )
    return {"plugins.pkr.hcl": text.encode()}


def script_order(files: Mapping[str, bytes]) -> list[str]:
    """Scripts in the order in which they run: ours by number, the operator's before cleaning.

    :param files: of the build folder, by path in it.
    """
    ours = sorted(name for name in files if name.startswith("provision/"))
    closing = [name for name in ours if name >= "provision/8"]
    operators = sorted(name for name in files if name.startswith("scripts/"))
    return [*(name for name in ours if name not in closing), *operators, *closing]


def operators_scripts(image: ImageConfig) -> dict[str, bytes]:
    """``image.scripts``.

    :raises ConfigError: naming all that cannot be read.
    """
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


def _folders(platform: str) -> tuple[Path, ...]:
    """What all platforms' images have, and what only this one's have."""
    own = part("packer") / _PLATFORMS / platform
    return (part("packer"), own) if own.is_dir() else (part("packer"),)


def _package_lists(platform: str) -> list[str]:
    lists = (folder / "packages.list" for folder in _folders(platform))
    return [path.read_text("utf-8") for path in lists]


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


def login_of(repository: RepositoryConfig) -> str | None:
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
