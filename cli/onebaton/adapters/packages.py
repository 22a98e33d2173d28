"""What a Debian package repository holds, read before anything is baked from it.

apt verifies signatures and hashes during the bake; this only finds out in seconds, instead
of in the middle of a build, that a repository or a version is not there.
"""

import gzip
import lzma
import platform
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import requests
from debian.deb822 import Packages
from debian.debian_support import Version

from onebaton.config import RepositoryConfig
from onebaton.errors import ConfigError, UnavailableError

#: For one index; the vendor's are below 100 kB.
DOWNLOAD_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
INDEX_LIMIT_BYTES = 64 * 1024 * 1024
#: Debian's names of what ``uname -m`` says.
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el"}
#: As apt prefers them: small ones first.
_SUFFIXES = (".xz", ".gz", "")
_DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
#: How many versions a message lists.
_SHOWN_VERSIONS = 20


@dataclass(frozen=True, slots=True)
class Package:
    """A package file of a repository.

    :param version: with Debian's revision, e.g. ``6.10.0-1``.
    :param filename: path in the repository, as its index has it.
    """

    name: str
    version: str
    filename: str
    sha256: str

    @property
    def upstream_version(self) -> str:
        """Without epoch and Debian's revision: OpenNebula's own version."""
        return str(Version(self.version).upstream_version)


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a repository goes into an image.

    :param wanted: the packages asked for, ordered by name, all of one version.
    :param release: all packages of that version: what the wanted ones may pull in.
    """

    wanted: tuple[Package, ...]
    release: tuple[Package, ...]

    @property
    def version(self) -> str:
        """The one version, with Debian's revision."""
        return self.wanted[0].version


class _Source(Protocol):
    """Where a repository's files come from."""

    def fetch(self, path: str) -> bytes | None:
        """A file's content, ``None`` if there is none."""
        ...


def is_local(repository: RepositoryConfig) -> bool:
    """The repository is a folder of this machine."""
    return not repository.url.startswith(("http://", "https://"))


def public_url(repository: RepositoryConfig) -> str:
    """The repository's address without user and password: what may be shown and kept."""
    if is_local(repository):
        return repository.url
    parts = urlsplit(repository.url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def local_folder(repository: RepositoryConfig) -> Path:
    """Path of a local repository."""
    path = repository.url.removeprefix("file:")
    # file:///folder has an empty host name before its path.
    return Path(path.removeprefix("//")).expanduser().absolute()


def select(repository: RepositoryConfig, names: Sequence[str], version: str) -> Selection:
    """Find the newest Debian revision of an OpenNebula version that has all packages wanted.

    :param names: of packages, e.g. ``("opennebula",)``.
    :param version: OpenNebula's own, e.g. ``6.10.0``, which finds ``6.10.0-1``.
    :raises ConfigError: if the repository, a package or the version is not there.
    :raises UnavailableError: if the repository does not answer.
    """
    packages = read_index(repository)
    missing = [name for name in names if not any(package.name == name for package in packages)]
    if missing:
        raise ConfigError(
            f"the package repository {public_url(repository)} does not hold {', '.join(missing)}",
            details=[f"packages there: {', '.join(sorted({p.name for p in packages}))}"],
            resolution="Correct `image.packages` or `image.repository` in cluster.yaml.",
        )
    release = [package for package in packages if package.upstream_version == version]
    complete = [
        revision
        for revision in {package.version for package in release}
        if set(names) <= {package.name for package in release if package.version == revision}
    ]
    if not complete:
        raise ConfigError(
            f"OpenNebula {version} is not in the package repository {public_url(repository)}",
            details=[_versions_of(name, packages) for name in names],
            resolution="Choose `image.version` among those, or another `image.repository`.",
        )
    newest = max(complete, key=Version)
    chosen = {package.name: package for package in release if package.version == newest}
    return Selection(
        wanted=tuple(chosen[name] for name in sorted(set(names))),
        release=tuple(chosen[name] for name in sorted(chosen)),
    )


def read_index(repository: RepositoryConfig) -> tuple[Package, ...]:
    """All packages of a repository for this machine's architecture.

    :raises ConfigError: if the repository or its index is not there, or the index is damaged.
    :raises UnavailableError: if the repository does not answer.
    """
    source: _Source = _Folder(repository) if is_local(repository) else _Web(repository)
    return tuple(
        package
        for folder in _index_folders(repository)
        for package in _parse(repository, *_find(repository, source, folder))
    )


def _index_folders(repository: RepositoryConfig) -> list[str]:
    """Folders that hold a ``Packages``: one of a flat repository, one a component else."""
    if repository.suite.endswith("/"):
        folder = repository.suite.strip("/").removeprefix(".").strip("/")
        return [f"{folder}/" if folder else ""]
    if not repository.components:
        raise ConfigError(
            f"the suite {repository.suite!r} of the package repository needs its components",
            resolution="Set `image.repository.components`, e.g. [opennebula]; or `suite: ./` for "
            "a flat repository.",
        )
    machine = platform.machine()
    architecture = _ARCHITECTURES.get(machine, machine)
    return [
        f"dists/{repository.suite}/{component}/binary-{architecture}/"
        for component in repository.components
    ]


def _find(repository: RepositoryConfig, source: _Source, folder: str) -> tuple[str, bytes]:
    for suffix in _SUFFIXES:
        name = f"{folder}Packages{suffix}"
        content = source.fetch(name)
        if content is not None:
            return name, content
    raise ConfigError(
        f"the package repository {public_url(repository)} holds no index",
        details=[f"looked for {folder}Packages, .gz and .xz"],
        resolution="Correct `url`, `suite` and `components` of `image.repository`; a folder of "
        ".deb files becomes a repository by: dpkg-scanpackages --multiversion . > Packages",
    )


def _parse(repository: RepositoryConfig, name: str, content: bytes) -> list[Package]:
    try:
        text = _unpack(name, content)
        # python-apt may be there or not; the pure parser reads the same everywhere.
        stanzas: Iterable[Packages] = Packages.iter_paragraphs(text, use_apt_pkg=False)
        return [
            Package(
                name=stanza["Package"],
                version=str(Version(stanza["Version"])),
                filename=stanza["Filename"],
                sha256=stanza["SHA256"],
            )
            for stanza in stanzas
        ]
    except (*_DAMAGED, UnicodeDecodeError, KeyError, ValueError) as error:
        raise ConfigError(
            f"the index {name} of the package repository {public_url(repository)} is damaged",
            details=[f"{type(error).__name__}: {error}"],
            resolution="Have the repository's index made anew.",
        ) from error


def _unpack(name: str, content: bytes) -> str:
    if name.endswith(".xz"):
        content = lzma.decompress(content)
    elif name.endswith(".gz"):
        content = gzip.decompress(content)
    return content.decode("utf-8")


def _versions_of(name: str, packages: Iterable[Package]) -> str:
    found = {package.version for package in packages if package.name == name}
    ordered = sorted(found, key=Version, reverse=True)
    more = ", …" if len(ordered) > _SHOWN_VERSIONS else ""
    return f"versions of {name} there: {', '.join(ordered[:_SHOWN_VERSIONS])}{more}"


class _Folder:
    """A repository on this machine."""

    def __init__(self, repository: RepositoryConfig) -> None:
        self._root = local_folder(repository)
        if not self._root.is_dir():
            raise ConfigError(
                f"there is no package repository at {self._root}",
                resolution="Set `image.repository.url` in cluster.yaml to a folder with a Debian "
                "package repository, or to its https address.",
            )

    def fetch(self, path: str) -> bytes | None:
        """A file's content, ``None`` if there is none."""
        try:
            return (self._root / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ConfigError(
                f"the package repository's {self._root / path} cannot be read: {error.strerror}",
                resolution="Give yourself the right to read it.",
            ) from error


class _Web:
    """A repository behind http or https."""

    def __init__(self, repository: RepositoryConfig) -> None:
        self._url = repository.url.rstrip("/")
        self._public_url = public_url(repository).rstrip("/")

    def fetch(self, path: str) -> bytes | None:
        """A file's content, ``None`` if there is none.

        :raises UnavailableError: if the server does not answer in time or with an error.
        """
        url = f"{self._url}/{path}"
        try:
            with requests.get(
                url, timeout=(CONNECT_TIMEOUT_S, DOWNLOAD_TIMEOUT_S), stream=True
            ) as answer:
                if answer.status_code in (requests.codes.not_found, requests.codes.gone):
                    return None
                if answer.ok:
                    return self._body(answer)
                problem = f"{answer.status_code} {answer.reason}"
        except requests.RequestException as error:
            problem = f"{type(error).__name__}: {error}"
        # requests' messages may quote the address, and with it a password.
        raise UnavailableError(
            f"the package repository {self._public_url} does not answer as it should",
            details=[f"GET {self._public_url}/{path}", problem.replace(self._url, "…")],
            resolution="Check `image.repository.url` in cluster.yaml and the way to it (name "
            "service, proxy, firewall, password).",
        )

    def _body(self, answer: requests.Response) -> bytes:
        """The raw body; requests bounds each read only, so the whole gets a deadline here."""
        deadline = time.monotonic() + DOWNLOAD_TIMEOUT_S
        content = bytearray()
        for chunk in answer.iter_content(64 * 1024):
            content += chunk
            if time.monotonic() > deadline:
                raise requests.Timeout(f"not complete after {DOWNLOAD_TIMEOUT_S:g} s")
            if len(content) > INDEX_LIMIT_BYTES:
                raise requests.RequestException(f"larger than {INDEX_LIMIT_BYTES} bytes")
        return bytes(content)
