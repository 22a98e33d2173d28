"""Writes the ``cluster.yaml`` that a new user begins with: every option, what it is for."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_origin

import pydantic

from onebaton.adapters.templates import Templates
from onebaton.config import ClusterConfig, Section
from onebaton.config.section import kind_of, sections_in
from onebaton.errors import UsageError
from onebaton.fields import PATTERNS, Name, Version

TEMPLATE = "cluster.yaml.j2"

#: Texts that YAML takes for text without quotes, but for a few words.
_PLAIN = re.compile(r"[a-z][a-z0-9-]*")
_NOT_TEXT = frozenset({"true", "false", "null"})


@dataclass(frozen=True, slots=True)
class Choices:
    """What a new user says beforehand.

    :param platform: a platform's kind.
    :param name: of the zone.
    :param version: of OpenNebula.
    :param repository: web address or local folder; ``None`` for the vendor's.
    """

    platform: str
    name: str
    version: str
    repository: str | None


def write(path: Path, choices: Choices, *, force: bool) -> None:
    """Write the file.

    :param force: replace what is there.
    :raises UsageError: if the file is there, or a choice is none, or the folder is missing.
    """
    text = render(choices)
    try:
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already", resolution="Name another file, or say --force."
        ) from None
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written: {error.strerror}", resolution="Name another file."
        ) from None


def render(choices: Choices) -> str:
    """The file's text.

    :raises UsageError: if the name or the version cannot be one.
    """
    _check("--name", choices.name, Name)
    _check("--version", choices.version, Version)
    series = ".".join(choices.version.split(".")[:2])
    leaves = dict(_leaves(ClusterConfig, choices.platform))
    return Templates().render(
        TEMPLATE,
        {
            "about": {key: about for key, (about, _) in leaves.items()},
            "default": {key: _yaml(value) for key, (_, value) in leaves.items()},
            "platform": choices.platform,
            "name": _yaml(choices.name),
            "version": choices.version,
            "series": series,
            "repository": None if choices.repository is None else _yaml(choices.repository),
            "on_the_web": choices.repository is None
            or choices.repository.startswith(("http://", "https://")),
        },
    )


def _leaves(
    section: type[Section], platform: str, prefix: str = ""
) -> Iterator[tuple[str, tuple[str, object]]]:
    """Every option by its dotted key, with its description and its default.

    :param platform: the one kind of several that is taken.
    """
    for name, field in section.model_fields.items():
        key = f"{prefix}{name}"
        inner = sections_in(field.annotation)
        if not inner or get_origin(field.annotation) is tuple:
            default = None if field.is_required() else field.default
            yield key, (field.description or "", default)
        if inner:
            chosen = [kind for kind in inner if len(inner) == 1 or kind_of(kind) == platform]
            yield from _leaves(chosen[0], platform, f"{key}.")


def _yaml(value: object) -> str:
    """A default as it is written in the file."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value not in _NOT_TEXT:
        return value
    return json.dumps(value, ensure_ascii=False)


def _check(option: str, value: str, kind: type[str]) -> None:
    try:
        pydantic.TypeAdapter(kind).validate_python(value)
    except pydantic.ValidationError as error:
        problem = error.errors()[0]
        words = PATTERNS.get(problem.get("ctx", {}).get("pattern", ""), problem["msg"])
        raise UsageError(f"{option}: {words}", resolution="See: onebaton init --help") from None
