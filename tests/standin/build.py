#!/usr/bin/env python3
"""Builds the stand-in packages into a Debian package repository.

    python3 tests/standin/build.py OUTDIR

OUTDIR is then usable as ``deb [trusted=yes] file:/OUTDIR ./``. The same sources
give the same bytes; nothing is done if OUTDIR is up to date.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from onecore.release import SCHEMAS  # noqa: E402

_EPOCH = 1767225600
_TIMEOUT_S = 120
_MARK = ".built"
_MAINTAINER = "onebaton tests <onebaton@localhost>"

_LAUNCHER = """#!/usr/bin/python3
import sys

sys.path.insert(0, "/usr/lib/one")

from {module} import main  # noqa: E402

sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True, slots=True)
class File:
    """A file of a package."""

    path: str
    content: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Package:
    """A package before it is built."""

    name: str
    version: str
    depends: str
    description: str
    files: tuple[File, ...]
    folders: tuple[str, ...] = ()
    conffiles: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()
    """Names of maintainer scripts in ``files/``, like ``common.postinst``."""

    @property
    def file_name(self) -> str:
        """As the repository has it."""
        return f"{self.name}_{self.version}_all.deb"


def _shipped(name: str, path: str, mode: int = 0o644) -> File:
    return File(path, (HERE / "files" / name).read_bytes(), mode)


def _modules(package: str) -> tuple[File, ...]:
    return tuple(
        File(f"usr/lib/one/{package}/{module.name}", module.read_bytes())
        for module in sorted((HERE / package).glob("*.py"))
    )


def _launcher(name: str, module: str) -> File:
    return File(f"usr/bin/{name}", _LAUNCHER.format(module=module).encode(), 0o755)


def packages(version: str) -> list[Package]:
    """The packages of release *version*."""
    full = f"{version}-1"
    named = json.dumps({"version": version, "schema": SCHEMAS[version]}) + "\n"
    common = Package(
        "opennebula-common",
        full,
        "python3, passwd, sudo",
        "user, folders and rights of OpenNebula (stand-in)",
        (
            *_modules("onecore"),
            File("usr/lib/one/release.json", named.encode()),
            _shipped("sudoers", "etc/sudoers.d/opennebula", 0o440),
            _shipped("tmpfiles.conf", "usr/lib/tmpfiles.d/opennebula-common.conf"),
        ),
        folders=("var/lib/one", "var/log/one", "etc/one"),
        conffiles=("/etc/sudoers.d/opennebula",),
        scripts=("common.postinst", "common.prerm"),
    )
    tools = Package(
        "opennebula-tools",
        full,
        f"opennebula-common (= {full}), python3, python3-mysqldb, mariadb-client",
        "command line tools of OpenNebula (stand-in)",
        (
            *_modules("onecli"),
            _launcher("onedb", "onecli.onedb"),
            _launcher("onezone", "onecli.onezone"),
            _launcher("oneuser", "onecli.oneuser"),
            _launcher("onehost", "onecli.onehost"),
        ),
        scripts=("tools.postinst", "tools.prerm"),
    )
    server = Package(
        "opennebula",
        full,
        f"opennebula-common (= {full}), opennebula-tools (= {full}), python3, python3-mysqldb, "
        "sudo, iproute2, iputils-arping, mariadb-client",
        "OpenNebula's server (stand-in)",
        (
            *_modules("oned"),
            _launcher("oned", "oned.daemon"),
            _shipped("oned.conf", "etc/one/oned.conf", 0o640),
            _shipped("monitord.conf", "etc/one/monitord.conf", 0o640),
            _shipped("sudoers-server", "etc/sudoers.d/opennebula-server", 0o440),
            _shipped("logrotate", "etc/logrotate.d/opennebula"),
            _shipped("opennebula.service", "lib/systemd/system/opennebula.service"),
            _shipped("follower_cleanup", "usr/share/one/follower_cleanup", 0o755),
            _shipped("pre_cleanup", "usr/share/one/pre_cleanup", 0o755),
            _shipped("vip.sh", "var/lib/one/remotes/hooks/raft/vip.sh", 0o755),
        ),
        conffiles=(
            "/etc/one/oned.conf",
            "/etc/one/monitord.conf",
            "/etc/sudoers.d/opennebula-server",
            "/etc/logrotate.d/opennebula",
        ),
        scripts=("server.postinst", "server.prerm"),
    )
    return [common, server, tools]


def _control(package: Package) -> str:
    return (
        f"Package: {package.name}\nVersion: {package.version}\nArchitecture: all\n"
        f"Maintainer: {_MAINTAINER}\nSection: admin\nPriority: optional\n"
        f"Depends: {package.depends}\nDescription: {package.description}\n"
        " Behaves from outside like the vendor's package, for tests only.\n"
    )


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(mode)


def _build(package: Package, outdir: Path) -> Path:
    target = outdir / package.file_name
    fresh = target.with_suffix(".new")
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "root"
        for folder in package.folders:
            (root / folder).mkdir(parents=True)
        for file in package.files:
            _write(root / file.path, file.content, file.mode)
        _write(root / "DEBIAN/control", _control(package).encode(), 0o644)
        if package.conffiles:
            _write(root / "DEBIAN/conffiles", ("\n".join(package.conffiles) + "\n").encode(), 0o644)
        for script in package.scripts:
            kind = script.split(".")[1]
            _write(root / "DEBIAN" / kind, (HERE / "files" / script).read_bytes(), 0o755)
        for path in (root, *root.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
            os.utime(path, (_EPOCH, _EPOCH))
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(root), str(scratch)],
            check=True,
            stdout=subprocess.DEVNULL,
            timeout=_TIMEOUT_S,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(_EPOCH)},
        )
        shutil.copyfile(Path(scratch) / package.file_name, fresh)
    # Whoever installs from the repository meanwhile finds the old package or the new one.
    fresh.replace(target)
    return target


def _index(built: list[tuple[Package, Path]]) -> str:
    parts = []
    for package, path in built:
        content = path.read_bytes()
        parts.append(
            _control(package)
            + f"Filename: ./{path.name}\nSize: {len(content)}\n"
            + f"MD5sum: {hashlib.md5(content, usedforsecurity=False).hexdigest()}\n"
            + f"SHA256: {hashlib.sha256(content).hexdigest()}\n"
        )
    return "\n".join(parts)


def _release(outdir: Path) -> str:
    lines = [
        "Origin: onebaton",
        "Label: onebaton stand-in",
        "Suite: ./",
        "Architectures: all",
        "Date: Thu, 01 Jan 2026 00:00:00 UTC",
        "SHA256:",
    ]
    for name in ("Packages", "Packages.gz"):
        content = (outdir / name).read_bytes()
        lines.append(f" {hashlib.sha256(content).hexdigest()} {len(content)} {name}")
    return "\n".join(lines) + "\n"


def _sources() -> Iterator[Path]:
    yield Path(__file__).resolve()
    for folder in ("onecore", "oned", "onecli", "files"):
        yield from sorted(path for path in (HERE / folder).iterdir() if path.is_file())


def fingerprint() -> str:
    """Digest of everything that goes into the packages."""
    digest = hashlib.sha256()
    for path in _sources():
        digest.update(str(path.relative_to(HERE)).encode() + b"\0")
        digest.update(path.read_bytes() + b"\0")
    return digest.hexdigest()


def build(outdir: Path) -> bool:
    """Build the repository.

    :returns: False if it was up to date and nothing was done.
    """
    wanted = fingerprint()
    mark = outdir / _MARK
    if mark.exists() and mark.read_text(encoding="utf-8").strip() == wanted:
        return False
    outdir.mkdir(parents=True, exist_ok=True)
    mark.unlink(missing_ok=True)
    wanted_packages = [package for version in SCHEMAS for package in packages(version)]
    built = [(package, _build(package, outdir)) for package in wanted_packages]
    keep = {path.name for _, path in built}
    for old in outdir.glob("*.deb"):
        if old.name not in keep:
            old.unlink()
    index = _index(built).encode()
    (outdir / "Packages").write_bytes(index)
    (outdir / "Packages.gz").write_bytes(gzip.compress(index, mtime=0))
    (outdir / "Release").write_text(_release(outdir), encoding="utf-8")
    mark.write_text(wanted + "\n", encoding="utf-8")
    return True


def main(argv: list[str]) -> int:
    """Command line."""
    if len(argv) != 1:
        sys.stderr.write("Usage: build.py OUTDIR\n")
        return 2
    if shutil.which("dpkg-deb") is None:
        sys.stderr.write("dpkg-deb is missing: install the Debian package dpkg\n")
        return 69
    outdir = Path(argv[0])
    done = build(outdir)
    print(f"{outdir}: {'built' if done else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
