"""A package repository's index, read from folders made here."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from onebaton.adapters import packages
from onebaton.adapters.packages import public_url, read_index, select
from onebaton.config import RepositoryConfig
from onebaton.errors import ConfigError

VERSIONS = ("6.9.5-1", "6.10.0-1", "6.10.0-2", "6.10.0-10", "6.10.5-1", "1:7.0.2-1~rc1")


def _index(*entries: tuple[str, str]) -> bytes:
    return "\n".join(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nDescription: a\n more\n"
        f"Filename: ./{name}_{version}_all.deb\nSize: 1\nSHA256: {len(name):064}\n"
        for name, version in entries
    ).encode()


def _entries(*names: str) -> list[tuple[str, str]]:
    return [(name, version) for version in VERSIONS for name in names]


def _flat(folder: Path, content: bytes, name: str = "Packages") -> RepositoryConfig:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return RepositoryConfig(url=str(folder))


@pytest.mark.parametrize(
    ("name", "pack"),
    [("Packages", bytes), ("Packages.gz", gzip.compress), ("Packages.xz", lzma.compress)],
)
def test_an_index_is_read_however_it_is_packed(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes]
):
    repository = _flat(tmp_path / "repo", pack(_index(("opennebula", "6.10.0-1"))), name)
    (package,) = read_index(repository)
    assert (package.name, package.version, package.upstream_version) == (
        "opennebula",
        "6.10.0-1",
        "6.10.0",
    )


def test_the_newest_revision_of_exactly_this_version_is_chosen(tmp_path: Path):
    repository = _flat(tmp_path / "repo", _index(*_entries("opennebula", "opennebula-tools")))
    selection = select(repository, ["opennebula"], "6.10.0")
    assert selection.version == "6.10.0-10"
    assert [(p.name, p.version) for p in selection.wanted] == [("opennebula", "6.10.0-10")]
    # What the wanted one pulls in takes part, other versions don't.
    assert [(p.name, p.version) for p in selection.release] == [
        ("opennebula", "6.10.0-10"),
        ("opennebula-tools", "6.10.0-10"),
    ]


def test_a_revision_that_lacks_a_wanted_package_is_passed_over(tmp_path: Path):
    entries = [*_entries("opennebula"), ("opennebula-flow", "6.10.0-2")]
    repository = _flat(tmp_path / "repo", _index(*entries))
    assert select(repository, ["opennebula", "opennebula-flow"], "6.10.0").version == "6.10.0-2"


def test_epoch_and_candidate_are_no_part_of_the_version(tmp_path: Path):
    repository = _flat(tmp_path / "repo", _index(*_entries("opennebula")))
    assert select(repository, ["opennebula"], "7.0.2").version == "1:7.0.2-1~rc1"


def test_a_version_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path):
    repository = _flat(tmp_path / "repo", _index(*_entries("opennebula")))
    with pytest.raises(ConfigError, match=r"OpenNebula 6\.10\.9 is not in") as raised:
        select(repository, ["opennebula"], "6.10.9")
    assert raised.value.details == (
        "versions of opennebula there: "
        "1:7.0.2-1~rc1, 6.10.5-1, 6.10.0-10, 6.10.0-2, 6.10.0-1, 6.9.5-1",
    )


def test_every_wanted_package_is_checked(tmp_path: Path):
    repository = _flat(tmp_path / "repo", _index(*_entries("opennebula")))
    with pytest.raises(ConfigError, match="does not hold opennebula-flow, opennebula-gate"):
        select(repository, ["opennebula", "opennebula-flow", "opennebula-gate"], "6.10.0")


def test_a_folder_that_is_not_there_is_told_with_its_place(tmp_path: Path):
    with pytest.raises(ConfigError, match=f"no package repository at {tmp_path}/none") as raised:
        read_index(RepositoryConfig(url=str(tmp_path / "none")))
    assert "image.repository.url" in (raised.value.resolution or "")


def test_a_folder_without_an_index_is_told_how_to_make_one(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no index") as raised:
        read_index(RepositoryConfig(url=str(tmp_path)))
    assert "dpkg-scanpackages" in (raised.value.resolution or "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Packages", b"Package: opennebula\nVersion: 1\n"),
        ("Packages", b"\xff\xfe"),
        ("Packages.gz", b"not packed"),
        ("Packages.gz", gzip.compress(b"Package: x" * 100, mtime=0)[:-9]),
        ("Packages.xz", b"not packed"),
        ("Packages.xz", lzma.compress(b"Package: x" * 100)[:-9]),
    ],
)
def test_a_damaged_index_is_told(tmp_path: Path, name: str, content: bytes):
    with pytest.raises(ConfigError, match=f"index {name} .*is damaged"):
        read_index(_flat(tmp_path / "repo", content, name))


def test_a_suite_has_an_index_for_each_component(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(packages.platform, "machine", lambda: "aarch64")
    for component, name in (("main", "opennebula"), ("extra", "opennebula-flow")):
        folder = tmp_path / "dists/stable" / component / "binary-arm64"
        folder.mkdir(parents=True)
        (folder / "Packages").write_bytes(_index((name, "6.10.0-1")))
    repository = RepositoryConfig(
        url=f"file://{tmp_path}", suite="stable", components=("main", "extra")
    )
    assert [p.name for p in read_index(repository)] == ["opennebula", "opennebula-flow"]


def test_a_suite_without_components_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="needs its components"):
        read_index(RepositoryConfig(url=str(tmp_path), suite="stable"))


@pytest.mark.parametrize("prefix", ["", "file:", "file://"])
def test_a_folder_may_be_written_as_an_address(tmp_path: Path, prefix: str):
    assert packages.local_folder(RepositoryConfig(url=f"{prefix}{tmp_path}")) == tmp_path


def test_a_password_in_the_address_is_not_shown():
    repository = RepositoryConfig(url="https://me:s3cret@packages.example:8443/6.10")
    assert public_url(repository) == "https://packages.example:8443/6.10"
