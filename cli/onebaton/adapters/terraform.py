"""Terraform through python-terraform: a saved plan, then exactly that plan.

python-terraform builds the command lines and nothing else. Its own way of running them has
no deadline, logs all output, adds options that Terraform no longer takes, and reads the
state file whenever an object is made (measured notes, version 0.10.1). Programs run in
:mod:`onebaton.adapters.process`.
"""

import contextlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import python_terraform

from onebaton.adapters import process
from onebaton.adapters.plannedchanges import recorded_changes, state_identity
from onebaton.adapters.terraform_backend import MINIMUM_VERSION as LOCKING_VERSION
from onebaton.adapters.terraform_backend import S3Backend
from onebaton.errors import (
    LockedError,
    OnebatonError,
    StepFailedError,
    UnavailableError,
)
from onebaton.ports import Reporter
from onebaton.records import RecordedChange, StateIdentity

#: ``terraform_data`` came with 1.4, ``import`` blocks with 1.5 (its upgrade guides).
MINIMUM_VERSION = (1, 5)
QUERY_TIMEOUT_S = 60.0
PLAN_TIMEOUT_S = 300.0
#: How long to wait for somebody who only looks.
LOCK_TIMEOUT = "3s"
IMPORTS_FILE = "imports.tf.json"
BACKEND_FILE = "backend.tf.json"
HOW_TO_INSTALL = (
    "Terraform 1.5 or later (from HashiCorp's releases or its package repository for Debian; "
    "Debian itself does not carry it) and put it on PATH"
)

_FLAG = python_terraform.IsFlagged
# It reports what programs printed, which may hold secrets.
logging.getLogger("python_terraform").setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource in Terraform's state.

    :param key: its key in ``for_each``, ``None`` without one.
    :param tainted: its creation failed; Terraform will replace it.
    """

    address: str
    type: str
    name: str
    key: str | None
    tainted: bool
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What a plan does to one resource.

    :param actions: Terraform's words: ``create``, ``update``, ``delete``, ``no-op``; a
        replacement is ``delete`` and ``create``.
    :param importing: it exists and is only taken into the state.
    """

    address: str
    actions: tuple[str, ...]
    importing: bool


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan in a file, and the changes it makes (none that are ``no-op``)."""

    file: Path
    changes: tuple[Change, ...]


@dataclass(slots=True)
class Diagnostics:
    """What Terraform reports in its ``-json`` output as it comes: errors, changes it plans."""

    errors: list[tuple[str, str]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)

    def take(self, line: str) -> Mapping[str, Any]:
        """Read one line.

        :returns: the event; empty if the line is not one.
        """
        try:
            event = json.loads(line)
        except ValueError:
            return {}
        if not isinstance(event, dict):
            return {}
        change = planned_change(event)
        if change is not None:
            self.changes.append(change)
        diagnostic = event.get("diagnostic")
        if isinstance(diagnostic, dict) and diagnostic.get("severity") == "error":
            place = diagnostic.get("address")
            summary = str(diagnostic.get("summary", ""))
            self.errors.append(
                (f"{place}: {summary}" if place else summary, str(diagnostic.get("detail", "")))
            )
        return event


class Terraform:
    """One module in its working folder.

    :param module: the module as it is delivered; it is copied, never written to.
    :param folder: working folder, which holds the copy and Terraform's state.
    :param env: for Terraform and what it starts, added to this process's environment.
    :param program: name or path of the program.
    :param backend: where the state is kept; ``None`` for the working folder.
    """

    def __init__(
        self,
        *,
        module: Path,
        folder: Path,
        reporter: Reporter,
        env: Mapping[str, str] | None = None,
        program: str = "terraform",
        backend: S3Backend | None = None,
    ) -> None:
        self._module = module
        self._folder = folder
        self._reporter = reporter
        self._name = program
        self._backend = backend
        # Settings of somebody else's workspace must not reach this one; CHECKPOINT_DISABLE
        # keeps it from asking the network for news.
        self._env = {
            **(env or {}),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "TF_WORKSPACE": "",
            "TF_DATA_DIR": "",
            "TF_CLI_ARGS": "",
            "CHECKPOINT_DISABLE": "1",
        }

    @cached_property
    def program(self) -> str:
        """Path of the program.

        :raises UnavailableError: if it is not installed.
        """
        return process.require_program(self._name, package=HOW_TO_INSTALL)

    def check(self) -> str:
        """Whether module and program are there.

        :returns: Terraform's version.
        :raises UnavailableError: if the module or the program is missing, or too old.
        """
        if not self._module.is_dir():
            raise UnavailableError(
                f"the Terraform module {self._module} is missing",
                resolution="Install onebaton again: its Terraform modules belong to it.",
            )
        return self._version

    @cached_property
    def _version(self) -> str:
        completed = process.run(
            [self.program, "version", "-json"],
            timeout_s=QUERY_TIMEOUT_S,
            env=self._env,
            what="terraform version",
        )
        return require_version(
            completed.stdout, MINIMUM_VERSION if self._backend is None else LOCKING_VERSION
        )

    def prepare(self) -> None:
        """Copy the module into the working folder and initialise it there.

        :raises UnavailableError: if a provider cannot be had.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        delivered = {
            path.relative_to(self._module)
            for pattern in ("*.tf", "scripts/*")
            for path in self._module.glob(pattern)
            if path.is_file()
        }
        for pattern in ("*.tf", "*.tf.json", "scripts/*"):
            for path in self._folder.glob(pattern):
                if path.relative_to(self._folder) not in delivered:
                    path.unlink()
        for name in delivered:
            target = self._folder / name
            content = (self._module / name).read_bytes()
            if not target.is_file() or target.read_bytes() != content:
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(content)
        if self._backend is not None:
            (self._folder / BACKEND_FILE).write_text(json.dumps(self._backend.settings()), "utf-8")
        try:
            # What an earlier backend of this folder was is of no interest: the state that is
            # configured now is the one.
            self._run(
                "init",
                timeout_s=PLAN_TIMEOUT_S,
                what="terraform init",
                input=False,
                reconfigure=_FLAG,
            )
        except process.ProgramError as error:
            raise UnavailableError(
                "Terraform could not initialise its module",
                details=error.details,
                resolution="If a provider is missing, give Terraform access to its registry or "
                "to a mirror of it (TF_CLI_CONFIG_FILE). If its state cannot be reached, correct "
                "`state` and `s3` in cluster.yaml, or renew the keys.",
            ) from error

    def resources(self) -> tuple[Resource, ...]:
        """What Terraform's state records, ordered by address; nothing before the first run."""
        if not self._folder.is_dir():
            return ()
        shown = self._run("show", timeout_s=QUERY_TIMEOUT_S, json=_FLAG)
        return parse_state(shown.stdout)

    def identities(self) -> tuple[Resource, ...]:
        """The same with no more values than each one's ``id``, where that can be had faster.

        A provider such as AWS's takes seconds to start, and is needed to show a whole state. The
        state as it is stored names all ids; its format is Terraform's own, so that another one
        than is known is shown whole.
        """
        if not self._folder.is_dir():
            return ()
        pulled = self._run("state pull", timeout_s=QUERY_TIMEOUT_S, what="terraform state pull")
        found = parse_stored(pulled.stdout)
        return self.resources() if found is None else found

    def outputs(self) -> dict[str, Any]:
        """The module's outputs by name; empty before the first run."""
        if not self._folder.is_dir():
            return {}
        shown = self._run("output", timeout_s=QUERY_TIMEOUT_S, json=_FLAG)
        return {name: output["value"] for name, output in json.loads(shown.stdout).items()}

    def recorded(self) -> StateIdentity | None:
        """Which state is recorded; ``None`` before the first run."""
        if not self._folder.is_dir():
            return None
        pulled = self._run("state pull", timeout_s=QUERY_TIMEOUT_S, what="terraform state pull")
        return state_identity(pulled.stdout)

    def forget(self, address: str) -> None:
        """Drop a resource from the state without touching what it stands for.

        :raises LockedError: if somebody else holds the state's lock.
        """
        self._run(
            "state rm", address, timeout_s=QUERY_TIMEOUT_S, what=f"terraform state rm {address}"
        )

    @contextlib.contextmanager
    def plan(
        self,
        variables: Mapping[str, object],
        *,
        replace: Sequence[str] = (),
        imports: Mapping[str, str] | None = None,
        destroy: bool = False,
    ) -> Iterator[SavedPlan]:
        """Plan into a file that is gone when the block is left.

        :param replace: addresses to replace although nothing changed.
        :param imports: ids by address of what exists and is only to be recorded.
        :param destroy: plan the removal of everything.
        :raises LockedError: if somebody else holds the state's lock.
        :raises StepFailedError: if Terraform cannot plan.
        """
        blocks = self._folder / IMPORTS_FILE
        with tempfile.TemporaryDirectory(prefix="onebaton-plan-") as temporary:
            # Both files hold the variables: the folder is readable to us alone.
            file = Path(temporary) / "plan"
            values = Path(temporary) / "variables.tfvars.json"
            values.write_text(json.dumps(variables), "utf-8")
            try:
                if imports:
                    blocks.write_text(import_blocks(imports), "utf-8")
                self._reporter.progress("terraform: planning")
                seen = self._follow(
                    "plan",
                    timeout_s=PLAN_TIMEOUT_S,
                    out=str(file),
                    var_file=str(values),
                    replace=list(replace),
                    destroy=_FLAG if destroy else None,
                    input=False,
                    lock_timeout=LOCK_TIMEOUT,
                )
                yield SavedPlan(file, tuple(sorted(seen.changes, key=lambda c: c.address)))
            finally:
                blocks.unlink(missing_ok=True)

    def previewed(self, plan: SavedPlan) -> tuple[RecordedChange, ...]:
        """What stands in a saved plan, as it is kept and compared."""
        shown = self._run("show", str(plan.file), timeout_s=QUERY_TIMEOUT_S, json=_FLAG)
        return recorded_changes(shown.stdout)

    def apply(self, plan: SavedPlan, *, timeout_s: float) -> None:
        """Carry out a saved plan, its progress to the reporter.

        :raises LockedError: if somebody else holds the state's lock.
        :raises StepFailedError: if something of it failed; what was done is recorded.
        :raises DeadlineError: if it takes longer than ``timeout_s`` seconds.
        """
        self._follow(
            "apply", str(plan.file), timeout_s=timeout_s, input=False, lock_timeout=LOCK_TIMEOUT
        )

    def _argv(self, command: str, *args: str, **options: object) -> list[str]:
        builder = python_terraform.Terraform(
            terraform_bin_path=self.program,
            # It would read the state of wherever we are; this file is nowhere.
            state=os.path.join(os.devnull, "none"),  # noqa: PTH118 - the library wants text
        )
        return [str(word) for word in builder.generate_cmd_string(command, *args, **options)]

    def _run(
        self, command: str, *args: str, timeout_s: float, what: str | None = None, **options: object
    ) -> process.Completed:
        try:
            return process.run(
                self._argv(command, *args, no_color=_FLAG, **options),
                timeout_s=timeout_s,
                env=self._env,
                cwd=self._folder,
                what=what or f"terraform {command}",
            )
        except process.ProgramError as error:
            text = error.completed.stderr
            if LOCK_SUMMARY in text:
                raise locked(text, self._release) from error
            raise

    def _follow(self, command: str, *args: str, timeout_s: float, **options: object) -> Diagnostics:
        """Run a command that reports in JSON lines."""
        diagnostics = Diagnostics()

        def take(line: str) -> None:
            told = describe(diagnostics.take(line))
            if told is not None:
                self._reporter.progress(f"terraform: {told}")

        try:
            process.run(
                self._argv(command, *args, json=_FLAG, **options),
                timeout_s=timeout_s,
                env=self._env,
                cwd=self._folder,
                what=f"terraform {command}",
                on_line=take,
            )
        except process.ProgramError as error:
            if not diagnostics.errors:
                raise
            raise failure(command, diagnostics.errors, self._release) from error
        return diagnostics

    @property
    def _release(self) -> str:
        """What releases a lock whose holder died."""
        if self._backend is None:
            return "The lock of a local state ends with the process that holds it."
        return (
            "The lock of a state in a store stays when that run has died: if nobody works on "
            f"this cluster any more, take it away with terraform -chdir={self._folder} "
            "force-unlock and the lock's ID."
        )


#: Of a state as it is stored.
STORED_VERSION = 4
#: Words of the ``-json`` output that mean several actions, or none.
_ACTIONS = {"replace": ("delete", "create"), "noop": ("no-op",), "import": ("no-op",)}
LOCK_SUMMARY = "Error acquiring the state lock"


def require_version(text: str, minimum: tuple[int, int] = MINIMUM_VERSION) -> str:
    """The version in ``terraform version -json``.

    :param minimum: the oldest that will do.
    :raises UnavailableError: if it is too old or not understood.
    """
    try:
        version = str(json.loads(text)["terraform_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(
            "terraform does not tell its version", resolution=f"Install {HOW_TO_INSTALL}."
        ) from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < MINIMUM_VERSION:
        raise UnavailableError(
            f"Terraform {version} is too old", resolution=f"Install {HOW_TO_INSTALL}."
        )
    if numbers < minimum:
        raise UnavailableError(
            f"Terraform {version} is too old to lock a state in S3",
            resolution=f"Install Terraform {'.'.join(map(str, minimum))} or later, or take a "
            "folder as `state`.",
        )
    return version


def describe(event: Mapping[str, Any]) -> str | None:
    """What a line of ``-json`` output tells people; ``None`` if nothing.

    Terraform's resources are called by their name and key: ``node n1``.
    """
    hook = event.get("hook")
    if not isinstance(hook, Mapping):
        return None
    resource = hook.get("resource") or {}
    label = " ".join(
        str(resource[part]) for part in ("resource_name", "resource_key") if resource.get(part)
    )
    match event.get("type"):
        case "apply_start":
            return f"{label}: {hook.get('action', 'change')}"
        case "apply_progress":
            return f"{label}: {hook.get('action', 'change')}, {hook.get('elapsed_seconds', 0)} s"
        case "provision_progress":
            output = str(hook.get("output", "")).strip()
            # It repeats the command of every provisioner.
            return f"{label}: {output}" if output and not output.startswith("Executing: ") else None
        case _:
            return None


def parse_state(text: str) -> tuple[Resource, ...]:
    """Resources of the root module in ``terraform show -json`` (JSON output format 1)."""
    root = (json.loads(text).get("values") or {}).get("root_module") or {}
    found = [
        Resource(
            address=item["address"],
            type=item["type"],
            name=item["name"],
            key=item["index"] if isinstance(item.get("index"), str) else None,
            tainted=bool(item.get("tainted")),
            values=item.get("values") or {},
        )
        for item in root.get("resources") or []
        if item.get("mode") == "managed"
    ]
    return tuple(sorted(found, key=lambda resource: resource.address))


def parse_stored(text: str) -> tuple[Resource, ...] | None:
    """Resources of the root module in a state as Terraform stores it, with their ids alone.

    :returns: ``None`` if it is in another format than version 4, which all of 1.x write.
    """
    stored = json.loads(text or "{}")
    if not stored:
        return ()
    if stored.get("version") != STORED_VERSION:
        return None
    found = []
    for item in stored.get("resources") or []:
        if item.get("mode") != "managed" or "module" in item:
            continue
        for instance in item.get("instances") or []:
            index = instance.get("index_key")
            place = "" if index is None else f"[{json.dumps(index)}]"
            found.append(
                Resource(
                    address=f"{item['type']}.{item['name']}{place}",
                    type=item["type"],
                    name=item["name"],
                    key=index if isinstance(index, str) else None,
                    tainted=instance.get("status") == "tainted",
                    values={"id": (instance.get("attributes") or {}).get("id")},
                )
            )
    return tuple(sorted(found, key=lambda resource: resource.address))


def planned_change(event: Mapping[str, Any]) -> Change | None:
    """The change that a line of ``plan -json`` tells of (Terraform's Machine-Readable UI).

    :returns: ``None`` if it tells of none, or of something that is only read.
    """
    change = event.get("change")
    if event.get("type") != "planned_change" or not isinstance(change, Mapping):
        return None
    actions = _ACTIONS.get(str(change["action"]), (str(change["action"]),))
    importing = bool(change.get("importing")) or change["action"] == "import"
    if actions == ("read",) or (actions == ("no-op",) and not importing):
        return None
    return Change(change["resource"]["addr"], actions, importing)


def import_blocks(imports: Mapping[str, str]) -> str:
    """``import`` blocks in Terraform's JSON syntax."""
    return json.dumps(
        {"import": [{"to": address, "id": imports[address]} for address in sorted(imports)]}
    )


def failure(command: str, errors: Sequence[tuple[str, str]], release: str = "") -> OnebatonError:
    """What Terraform reported, as one error.

    :param release: what ends a lock, in words.
    """
    for summary, detail in errors:
        if LOCK_SUMMARY in summary:
            return locked(detail, release)
    details = [
        line.strip()
        for summary, detail in errors
        for line in (f"{summary}: {detail}" if detail else summary).splitlines()
        if line.strip()
    ]
    return StepFailedError(
        f"terraform {command} failed",
        details=details,
        resolution="What was done is recorded and nothing half done is left to you: remove the "
        "cause, then run the same command again.",
    )


def locked(text: str, release: str = "") -> LockedError:
    """Somebody else holds the lock of Terraform's state."""
    wanted = ("ID:", "Operation:", "Who:", "Created:")
    lines = [line.strip(" \t│") for line in text.splitlines()]
    return LockedError(
        "Terraform's state is locked by another run",
        details=[line for line in lines if line.startswith(wanted)],
        resolution="Wait until that run has ended, then run the same command again. "
        f"{release}".strip(),
    )
