"""Packer: its version, its machine-readable output, a build and its manifest.

Facts that shape this module (measured note, Packer 1.6.6): a build that built nothing may
exit with 0, so the manifest decides; builders are plugins from 1.7 on, and a template that
says so is refused by older ones.
"""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from onebaton.adapters import process
from onebaton.errors import StepFailedError, UnavailableError
from onebaton.ports import Reporter

VERSION_TIMEOUT_S = 30.0
VALIDATE_TIMEOUT_S = 60.0
#: Fetches plugins.
INIT_TIMEOUT_S = 300.0
#: The first version that has plugins; older ones hold all builders.
PLUGINS_SINCE = (1, 7)
MANIFEST = "manifest.json"
#: Everything Packer said, kept beside the template.
LOG = "packer.log"
#: Starts Packer in the build folder as we did.
AGAIN = "again.sh"
#: Provisioning scripts begin their milestones with this.
MILESTONE = "## "
#: And what their last look found with this.
FINDING = "## found: "
SHOWN_LINES = 15

_VERSION = re.compile(r"^Packer v(\d+)\.(\d+)\.(\d+)", re.MULTILINE)
#: "    docker.node: text" of a script, "==> docker.node: text" of Packer itself.
_DECORATION = re.compile(r"^(==> |--> )?\s*([a-z-]+\.node( \([a-z-]+\))?: )?")
_SCRIPT = "Provisioning with shell script: "
#: What Packer says while it clears up: true, but not the reason.
_AFTERMATH = re.compile(
    r"Killing the container|Provisioning step had errors|Step \"[^\"]*\" failed|"
    r"Some builds didn't complete|Builds finished|Wait completed|Build '[^']*' errored|"
    r"Script exited with non-zero exit status|Cancelling build|Cleanly cancelled builds"
)


@dataclass(frozen=True, slots=True)
class Message:
    """A line of ``-machine-readable`` output.

    :param target: the builder it is about, may be empty.
    :param kind: e.g. ``ui``, ``artifact``, ``error-count``.
    """

    target: str
    kind: str
    data: tuple[str, ...]

    @property
    def text(self) -> str:
        """What a person is told; empty if it is not meant for people."""
        return self.data[1] if self.kind == "ui" and len(self.data) > 1 else ""


@dataclass(frozen=True, slots=True)
class PackerVersion:
    """Packer's version, comparable as numbers."""

    numbers: tuple[int, int, int]

    @property
    def has_plugins(self) -> bool:
        """Builders are plugins, named in ``required_plugins`` and fetched by ``init``."""
        return self.numbers >= PLUGINS_SINCE

    def __str__(self) -> str:
        return ".".join(str(number) for number in self.numbers)


@dataclass(frozen=True, slots=True)
class PackerPlugin:
    """A builder that Packer fetches as a plugin.

    :param name: e.g. ``docker``, of HashiCorp's own.
    :param version: a constraint, e.g. ``>= 1.0.8``.
    """

    name: str
    version: str


def parse_line(line: str) -> Message | None:
    """Read a line of ``-machine-readable`` output: ``timestamp,target,type,data…``.

    Commas within data come as ``%!(PACKER_COMMA)``, line ends as backslash and letter.

    :returns: ``None`` if it is something else (a plugin's own words).
    """
    parts = line.split(",")
    if len(parts) < 3 or not parts[0].isdigit():
        return None
    return Message(parts[1], parts[2], tuple(_unescape(part) for part in parts[3:]))


def _unescape(text: str) -> str:
    text = text.replace("%!(PACKER_COMMA)", ",")
    return text.replace("\\r", "\r").replace("\\n", "\n")


@dataclass(slots=True)
class BuildLog:
    """Follows a build: streams its progress and keeps what a failure needs.

    :param reporter: is told of milestones and of what goes on.
    :ivar lines: what was said, without Packer's decoration.
    """

    reporter: Reporter
    lines: list[str] = field(default_factory=list)

    def feed(self, line: str) -> None:
        """Take one line of ``-machine-readable`` output."""
        message = parse_line(line)
        text = line if message is None else message.text
        for part in text.splitlines():
            said = _DECORATION.sub("", part).rstrip()
            if not said:
                continue
            self.lines.append(said)
            if said.startswith(MILESTONE):
                self.reporter.note(said.removeprefix(MILESTONE))
            else:
                self.reporter.progress(said)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the image's last look found."""
        return tuple(line.removeprefix(FINDING) for line in self.lines if line.startswith(FINDING))

    @property
    def last_meaningful(self) -> tuple[str, ...]:
        """The closing lines of the last script, without Packer's report of clearing up."""
        meaningful = [line for line in self.lines if not _AFTERMATH.match(line)]
        starts = [number for number, line in enumerate(meaningful) if line.startswith(_SCRIPT)]
        script = meaningful[starts[-1] :] if starts else meaningful
        shown = script[-SHOWN_LINES:]
        # The script's name is worth a line even if it said more than is shown.
        return tuple(shown if shown == script else [script[0], *shown[1:]])


class Packer:
    """The program, with an environment of its own.

    :param env: added to this process's environment for every start.
    :param first_in_path: a folder in which programs are looked for first.
    """

    def __init__(self, env: Mapping[str, str], *, first_in_path: Path | None = None) -> None:
        path = os.environ.get("PATH", os.defpath)
        self._env = {
            # Without it every start asks the vendor's server for news.
            "CHECKPOINT_DISABLE": "1",
            "PACKER_NO_COLOR": "1",
            "PATH": path if first_in_path is None else f"{first_in_path}{os.pathsep}{path}",
            **env,
        }
        self._program: str | None = None
        self._version: PackerVersion | None = None

    @property
    def program(self) -> str:
        """Path of the program.

        :raises UnavailableError: if it is not installed.
        """
        if self._program is None:
            self._program = process.require_program("packer", package="the Debian package packer")
        return self._program

    @property
    def version(self) -> PackerVersion:
        """Its version.

        :raises UnavailableError: if it is not installed, or another program of that name.
        """
        if self._version is None:
            completed = process.run(
                [self.program, "version"],
                timeout_s=VERSION_TIMEOUT_S,
                env=self._env,
                check=False,
                what="packer version",
            )
            found = _VERSION.search(completed.stdout)
            if completed.status != 0 or found is None:
                raise UnavailableError(
                    f"{self.program} is not HashiCorp's Packer",
                    details=(completed.stdout + completed.stderr).strip().splitlines()[:3],
                    resolution="Install the Debian package packer, or put it first in PATH.",
                )
            major, minor, patch = (int(number) for number in found.groups())
            self._version = PackerVersion((major, minor, patch))
        return self._version

    def require(self) -> None:
        """Packer is there and is HashiCorp's.

        :raises UnavailableError: if not.
        """
        _ = self.version

    def validate(self, folder: Path, variables: Mapping[str, str]) -> None:
        """Fetch the template's plugins where there are any, and check it.

        :raises StepFailedError: if Packer refuses the template.
        """
        if self.version.has_plugins:
            self._run("init", folder, variables, INIT_TIMEOUT_S)
        self._run("validate", folder, variables, VALIDATE_TIMEOUT_S)

    def build(
        self,
        folder: Path,
        variables: Mapping[str, str],
        reporter: Reporter,
        *,
        timeout_s: float,
    ) -> str:
        """Build the template in a folder.

        :returns: the artifact's id as the manifest has it.
        :raises StepFailedError: if there is no artifact in the end, whatever the status.
        :raises DeadlineError: if it is not done after ``timeout_s`` seconds.
        """
        manifest = folder / MANIFEST
        manifest.unlink(missing_ok=True)
        log = BuildLog(reporter)
        argv = [self.program, "build", "-machine-readable", "."]
        try:
            completed = process.run(
                argv,
                timeout_s=timeout_s,
                env=self._environment(variables),
                cwd=folder,
                check=False,
                what="packer build",
                on_line=log.feed,
            )
        finally:
            (folder / LOG).write_text("".join(f"{line}\n" for line in log.lines), "utf-8")
        for line in completed.stderr.splitlines():
            log.feed(line)
        artifact = None if completed.status else _artifact(manifest)
        if artifact is None:
            raise self._failed(folder, variables, log, completed.status)
        return artifact

    def _failed(
        self, folder: Path, variables: Mapping[str, str], log: BuildLog, status: int
    ) -> StepFailedError:
        again = self._line_to_paste(folder, variables, "build")
        if log.findings:
            return StepFailedError(
                "the image would hold what must not be in an image",
                details=[*log.findings, again],
                resolution="Correct the script under `image.scripts` that leaves it there, or the "
                "package; the image was not made.",
            )
        what = f"failed with status {status}" if status else "made no image"
        return StepFailedError(
            f"packer build {what}",
            details=[*log.last_meaningful, f"all it said: {folder / LOG}", again],
            resolution="Correct what the lines above name; nothing is left of this bake.",
        )

    def _run(
        self, command: str, folder: Path, variables: Mapping[str, str], timeout_s: float
    ) -> None:
        completed = process.run(
            [self.program, command, "."],
            timeout_s=timeout_s,
            env=self._environment(variables),
            cwd=folder,
            check=False,
            what=f"packer {command}",
        )
        if completed.status != 0:
            said = (completed.stdout + completed.stderr).strip().splitlines()
            raise StepFailedError(
                f"packer {command} failed with status {completed.status}",
                details=[
                    *said[-SHOWN_LINES:],
                    self._line_to_paste(folder, variables, command),
                ],
                resolution="Correct the template, or install a Packer that understands it.",
            )

    def _environment(self, variables: Mapping[str, str]) -> dict[str, str]:
        return {**self._env, **{f"PKR_VAR_{key}": value for key, value in variables.items()}}

    def _line_to_paste(self, folder: Path, variables: Mapping[str, str], command: str) -> str:
        """How to run Packer as we did; a script, because the environment fills a page."""
        exports = [
            f"export {key}={shlex.quote(value)}\n"
            for key, value in self._environment(variables).items()
        ]
        script = folder / AGAIN
        script.write_text(
            f"cd {shlex.quote(str(folder))} || exit 1\n{''.join(exports)}"
            f'exec {shlex.quote(self.program)} "$@" .\n',
            "utf-8",
        )
        return f"run: sh {shlex.quote(str(script))} {command}"


def _artifact(manifest: Path) -> str | None:
    """The last build's artifact id, ``None`` if the manifest names none."""
    try:
        content = json.loads(manifest.read_text("utf-8"))
        run = content["last_run_uuid"]
        ids = [
            build["artifact_id"] for build in content["builds"] if build["packer_run_uuid"] == run
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(ids[-1]) if ids and ids[-1] else None
