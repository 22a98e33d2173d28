"""podman, with the settings that this host needs and no others.

Two things keep system containers from starting on some hosts (measured note):

- hybrid cgroups, which crun refuses and runc takes;
- capped resource limits: as root podman asks for 1048576 open files and processes, which a
  process without CAP_SYS_RESOURCE cannot give.

Where one of them is found, a containers.conf of our own carries the remedy. It begins with
what the system's files say, because podman reads no other file once ``CONTAINERS_CONF`` is
set. Elsewhere podman runs as it is.
"""

import contextlib
import functools
import json
import os
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onebaton.adapters import process
from onebaton.errors import UnavailableError

#: What podman asks for as root (``RLimitDefaultValue`` in its source).
PODMAN_DEFAULT_LIMIT = 1048576
#: Number of CAP_SYS_RESOURCE (linux/capability.h): may raise hard limits.
CAP_SYS_RESOURCE = 24
INFO_TIMEOUT_S = 30.0

SYSTEM_FILES = (Path("/usr/share/containers/containers.conf"), Path("/etc/containers"))


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What the kernel gives to this process.

    :param capped: resource limits podman would exceed, with the highest value allowed,
        e.g. ``(("nofile", 20000),)``.
    :param hybrid_cgroups: cgroup v1 controllers with a v2 hierarchy beside them.
    """

    capped: tuple[tuple[str, int], ...]
    hybrid_cgroups: bool


@dataclass(frozen=True, slots=True)
class PodmanHost:
    """What podman says of this host (``podman info``).

    :param version: e.g. ``4.3.1``.
    :param rootless: runs without root; the host then has no route to its networks.
    :param can_limit_memory: the memory controller is there.
    :param runtime: the OCI runtime by name, e.g. ``crun``.
    """

    version: str
    rootless: bool
    can_limit_memory: bool
    runtime: str


class Podman:
    """Starts podman with the settings that this host needs.

    :param folder: where a containers.conf of our own and what was detected are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @functools.cached_property
    def program(self) -> str:
        """Path of the program.

        :raises UnavailableError: if podman is not installed.
        """
        return process.require_program("podman", package="the Debian package podman")

    @functools.cached_property
    def host(self) -> PodmanHost:
        """What podman says of this host under the settings in use."""
        return self._detected[0]

    @property
    def containers_conf(self) -> Path | None:
        """The settings file in use that podman would not find by itself."""
        return self._detected[1]

    @property
    def env(self) -> dict[str, str]:
        """What other programs need in their environment to start podman as we do."""
        conf = self.containers_conf
        return {} if conf is None else {"CONTAINERS_CONF": str(conf)}

    def run(
        self,
        args: Sequence[str],
        *,
        timeout_s: float,
        stdin: str | bytes | None = None,
        check: bool = True,
        what: str | None = None,
        on_line: process.LineHandler | None = None,
    ) -> process.Completed:
        """Run podman to its end.

        :param args: without the program, e.g. ``["ps", "--all"]``.
        :raises ProgramError: if ``check`` and the status is not 0.
        :raises DeadlineError: if it is still running after ``timeout_s`` seconds.
        :raises UnavailableError: if podman or the runtime this host needs is missing.
        """
        return process.run(
            [self.program, *args],
            timeout_s=timeout_s,
            stdin=stdin,
            env=self.env,
            check=check,
            what=what or f"podman {args[0]}",
            on_line=on_line,
        )

    @functools.cached_property
    def _detected(self) -> tuple[PodmanHost, Path | None]:
        limits = read_limits()
        chosen = os.environ.get("CONTAINERS_CONF")
        fingerprint = {
            "program": [self.program, Path(self.program).stat().st_mtime_ns],
            "boot": _text(Path("/proc/sys/kernel/random/boot_id")).strip(),
            "limits": json.loads(json.dumps(asdict(limits))),
            "chosen": chosen,
            "runc": _mtime("runc"),
            "system": [[str(path), path.stat().st_mtime_ns] for path in _system_files()],
        }
        cache = self._folder / "podman-host.json"
        conf = self._folder / "containers.conf"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            known = json.loads(cache.read_text("utf-8"))
            if known["fingerprint"] == fingerprint and (not known["own"] or conf.is_file()):
                return PodmanHost(**known["host"]), _in_use(conf, known["own"], chosen)
        host, own = self._detect(limits, conf, chosen)
        self._folder.mkdir(parents=True, exist_ok=True)
        _replace(
            cache,
            json.dumps({"fingerprint": fingerprint, "host": asdict(host), "own": own}, indent=1),
        )
        return host, _in_use(conf, own, chosen)

    def _detect(
        self, limits: HostLimits, conf: Path, chosen: str | None
    ) -> tuple[PodmanHost, bool]:
        """Ask podman; write a settings file of our own where one is needed."""
        host = self._info(chosen)
        if chosen:
            return host, False  # the operator's own choice
        settings = needed_settings(limits, host)
        if not settings:
            return host, False
        if "engine" in settings:
            process.require_program(
                "runc",
                package="the Debian package runc (this host's hybrid cgroups are refused by crun)",
            )
        merged: dict[str, Any] = {}
        for path in _system_files():
            merge(merged, _toml(path))
        merge(merged, settings)
        self._folder.mkdir(parents=True, exist_ok=True)
        _replace(conf, to_toml(merged))
        return self._info(str(conf)), True

    def _info(self, conf: str | None) -> PodmanHost:
        completed = process.run(
            [self.program, "info", "--format", "json"],
            timeout_s=INFO_TIMEOUT_S,
            env={"CONTAINERS_CONF": conf} if conf else None,
            check=False,
            what="podman info",
        )
        if completed.status != 0:
            raise UnavailableError(
                "podman does not work on this host",
                details=completed.stderr.strip().splitlines()[-process.SHOWN_LINES :],
                resolution="Make `podman info` work (it needs the Debian package crun or runc), "
                "then run the same command again.",
            )
        return parse_info(completed.stdout)


def parse_info(text: str) -> PodmanHost:
    """What is needed of ``podman info --format json``.

    :raises UnavailableError: if it is not what podman 4 or later prints.
    """
    try:
        info = json.loads(text)
        host = info["host"]
        return PodmanHost(
            version=str(info["version"]["Version"]),
            rootless=bool(host["security"]["rootless"]),
            can_limit_memory="memory" in (host["cgroupControllers"] or ()),
            runtime=str(host["ociRuntime"]["name"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            "podman info printed something that is not understood",
            details=[f"{type(error).__name__}: {error}"],
            resolution="Install podman 4 or later.",
        ) from error


def needed_settings(limits: HostLimits, host: PodmanHost) -> dict[str, Any]:
    """Settings (as in containers.conf) without which containers would not start here."""
    settings: dict[str, Any] = {}
    if limits.capped and not host.rootless:  # rootless podman stays within its limits by itself
        settings["containers"] = {
            "default_ulimits": [f"{name}={value}:{value}" for name, value in limits.capped]
        }
    if limits.hybrid_cgroups and host.runtime != "runc":
        settings["engine"] = {"runtime": "runc"}
    return settings


def read_limits(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> HostLimits:
    """What the kernel gives to this process."""
    return HostLimits(
        capped=capped_limits(
            _text(proc / "self/limits"),
            _text(proc / "self/status"),
            nr_open=int(_text(proc / "sys/fs/nr_open") or PODMAN_DEFAULT_LIMIT),
            pid_max=int(_text(proc / "sys/kernel/pid_max") or PODMAN_DEFAULT_LIMIT),
        ),
        hybrid_cgroups=(cgroup / "unified/cgroup.controllers").exists(),
    )


def capped_limits(
    limits: str, status: str, *, nr_open: int, pid_max: int
) -> tuple[tuple[str, int], ...]:
    """Resource limits that podman's defaults exceed.

    :param limits: text of ``/proc/self/limits``.
    :param status: text of ``/proc/self/status``.
    :param nr_open: the kernel's own bound on open files.
    :param pid_max: the kernel's own bound on processes. podman lowers its own hard limit to
        it, so that a container cannot be given more (measured with podman 4.3.1).
    """
    hard: dict[str, int] = {}
    for title, name in (("Max open files", "nofile"), ("Max processes", "nproc")):
        for line in limits.splitlines():
            if line.startswith(title):
                value = line[len(title) :].split()[1]
                hard[name] = PODMAN_DEFAULT_LIMIT if value == "unlimited" else int(value)
    effective = next(
        (int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0
    )
    if effective >> CAP_SYS_RESOURCE & 1:
        hard = {"nofile": nr_open}  # may raise all but this one
    if "nproc" in hard:
        hard["nproc"] = min(hard["nproc"], pid_max)
    return tuple((name, value) for name, value in hard.items() if value < PODMAN_DEFAULT_LIMIT)


def merge(into: dict[str, Any], other: Mapping[str, Any]) -> None:
    """Lay one settings tree over another, as podman does with its files."""
    for key, value in other.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = dict(value) if isinstance(value, Mapping) else value


def to_toml(tree: Mapping[str, Any], prefix: str = "") -> str:
    """A settings tree as TOML (tables, strings, numbers, booleans and lists of them)."""
    own = [
        f"{key} = {json.dumps(value, ensure_ascii=False)}"
        for key, value in tree.items()
        if not isinstance(value, Mapping)
    ]
    parts = ["\n".join([f"[{prefix}]", *own, ""])] if prefix and own else []
    for key, value in tree.items():
        if isinstance(value, Mapping):
            parts.append(to_toml(value, f"{prefix}.{key}" if prefix else key))
    return "\n".join(part for part in parts if part)


def _system_files() -> list[Path]:
    """The system's settings files in the order in which podman reads them."""
    vendor, etc = SYSTEM_FILES
    found = [vendor, etc / "containers.conf", *sorted((etc / "containers.conf.d").glob("*.conf"))]
    return [path for path in found if path.is_file()]


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UnavailableError(
            f"podman's settings in {path} cannot be read",
            details=[str(error)],
            resolution="Correct that file, then run the same command again.",
        ) from error


def _in_use(conf: Path, own: bool, chosen: str | None) -> Path | None:
    if own:
        return conf.absolute()
    return Path(chosen) if chosen else None


def _mtime(program: str) -> int | None:
    found = shutil.which(program)
    return None if found is None else Path(found).stat().st_mtime_ns


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError:
        return ""


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(path)
