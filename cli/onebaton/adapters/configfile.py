"""Reads ``cluster.yaml``, and lists everything that is wrong with it at once.

ruamel.yaml gives the tree of nodes with their lines; pydantic and
:mod:`onebaton.contradictions` find the mistakes; this module brings each to its line.
"""

import difflib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pydantic
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from onebaton.config import ClusterConfig, SecretSource, Section
from onebaton.config.section import kind_of, sections_in
from onebaton.contradictions import Location, contradictions
from onebaton.errors import ConfigError
from onebaton.fields import FILES, FOLDER, PATTERNS

#: ``${NAME}``; ``$${`` stands for ``${`` itself.
_VARIABLE = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Place of a value that the command line gave: no line of the file.
_COMMAND_LINE = 0

#: What is wrong, in words, by pydantic's name for it; what is not here speaks for itself.
_WORDS = {
    "string_type": "must be text; put a number in quotes",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "dict_type": "must hold keys of its own",
    "model_attributes_type": "must hold keys of its own",
    "model_type": "must hold keys of its own",
    "is_instance_of": "must be text",
    "missing": "is missing",
    "value_error": "{error}",
    "literal_error": "must be {expected}",
    "string_too_short": "is empty",
    "string_too_long": "is longer than {max_length} characters",
    "too_short": "must hold at least one entry",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
}


def load(
    path: Path,
    *,
    version: str | None = None,
    state: str | None = None,
    environ: Mapping[str, str] | None = None,
    files: bool = True,
) -> ClusterConfig:
    """Read and check a whole configuration file.

    Relative paths in it start at its own folder; they are absolute in what is returned.

    :param version: stands for ``image.version``.
    :param state: stands for ``state``; relative to the working folder.
    :param environ: where ``${NAME}`` is looked up, by default this process's environment.
    :param files: look for the files that it names; they may be on another machine.
    :raises ConfigError: if the file is not there or has mistakes; ``details`` lists all of
        them as ``file:line: key: message``, ordered by line.
    """
    document = _Document(path, os.environ if environ is None else environ)
    data = document.read()
    if version is not None:
        document.override(data, ("image", "version"), version)
    if state is not None:
        document.override(
            data, ("state",), state if "://" in state else str(Path(state).absolute())
        )
    config = _validate(data, document, files=files)
    for found in contradictions(data):
        document.mistake(found.location, found.message)
    if document.mistakes or config is None:
        raise document.error()
    return config


def written(data: Mapping[str, object], *, head: str) -> str:
    """A configuration as the text of a file that :func:`load` reads back.

    :param data: plain values.
    :param head: a comment's line, without its sign.
    """
    out = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.dump(_escaped(data), out)
    return f"# {head}\n{out.getvalue()}"


def _escaped(value: object) -> object:
    """Texts as they are meant: none of them stands for an environment variable."""
    if isinstance(value, Mapping):
        return {key: _escaped(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_escaped(inner) for inner in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


def schema() -> dict[str, object]:
    """The file's JSON Schema, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ClusterConfig.model_json_schema(),
    }


@dataclass(slots=True)
class _Document:
    """One file being read: where each value stands, and what is wrong so far.

    :ivar unknown: places whose value could not be told; what else is said of them is noise.
    """

    path: Path
    environ: Mapping[str, str]
    lines: dict[Location, int] = field(default_factory=dict)
    mistakes: list[tuple[int, str, str]] = field(default_factory=list)
    unknown: list[Location] = field(default_factory=list)
    _yaml: YAML = field(default_factory=lambda: YAML(typ="safe", pure=True))
    _open: list[Node] = field(default_factory=list)

    def read(self) -> dict[str, object]:
        """The file's plain values."""
        root = self._compose()
        self.lines[()] = 1
        if not isinstance(root, MappingNode):
            self._at_line(1, "", "the file holds no keys" if root else "the file is empty")
            raise self.error()
        return self._mapping(root, ())

    def override(self, data: dict[str, object], location: tuple[str, ...], value: str) -> None:
        """Put a value of the command line in a place, if there is such a place."""
        inner: object = data
        for key in location[:-1]:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[location[-1]] = value
            self.lines[location] = _COMMAND_LINE
            self.unknown = [known for known in self.unknown if known != location]
            self.mistakes = [m for m in self.mistakes if m[1] != _dotted(location)]

    def mistake(self, location: Location, message: str) -> None:
        """Note what is wrong with a value, at its line or the line of what should hold it."""
        if any(location[: len(place)] == place for place in self.unknown):
            return
        found: Location = ()
        for part in location:
            # Parts that are not in the file (a kind of platform, a missing key) are skipped.
            if (*found, part) in self.lines:
                found = (*found, part)
        self._at_line(self.lines[found], _dotted(location), message)

    def error(self) -> ConfigError:
        """All mistakes as one error."""
        count = len(self.mistakes)
        details = []
        for line, key, message in sorted(set(self.mistakes)):
            if line == _COMMAND_LINE:
                place = "--version" if key == "image.version" else "--state"
            else:
                place = f"{self.path}:{line}"
            details.append(": ".join(part for part in (place, key, message) if part))
        return ConfigError(
            f"{self.path} has {'a mistake' if count == 1 else f'{count} mistakes'}",
            details=details,
            resolution=f"Correct it and look again: onebaton config check --config {self.path}",
        )

    def _at_line(self, line: int, key: str, message: str) -> None:
        self.mistakes.append((line, key, message))

    def _compose(self) -> Node | None:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(
                f"there is no configuration file {self.path}",
                resolution=f"Write one to begin with: onebaton init {self.path}",
            ) from None
        except UnicodeDecodeError:
            raise ConfigError(
                f"{self.path} is not text in UTF-8",
                resolution="Name the file that `onebaton init` wrote, or save it as UTF-8.",
            ) from None
        except OSError as error:
            raise ConfigError(
                f"{self.path} cannot be read: {error.strerror}",
                resolution="Make it readable for the user who runs this, or name another file.",
            ) from None
        try:
            return self._yaml.compose(text)  # type: ignore[no-any-return] # compose has no types
        except MarkedYAMLError as error:
            # Only the problem: what the library quotes of the file might be a secret.
            mark = error.problem_mark or error.context_mark
            problem = error.problem or error.context or "cannot be understood"
            self._at_line(mark.line + 1 if mark else 1, "", f"this is not YAML: {problem}")
        except YAMLError:
            self._at_line(1, "", "this is not YAML: it holds characters that no text has")
        raise self.error() from None

    def _plain(self, node: Node, location: Location) -> object:
        if any(node is outer for outer in self._open):
            self.mistake(location, "refers to itself")
            self.unknown.append(location)
            return None
        self._open.append(node)
        try:
            if isinstance(node, MappingNode):
                return self._mapping(node, location)
            if isinstance(node, SequenceNode):
                return self._sequence(node, location)
            return self._scalar(node, location)
        finally:
            self._open.pop()

    def _mapping(self, node: MappingNode, location: Location) -> dict[str, object]:
        values: dict[str, object] = {}
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, ScalarNode):
                self._at_line(line, _dotted(location), "a key must be one word")
                continue
            key = str(key_node.value)
            here = (*location, key)
            if key in first:
                self._at_line(line, _dotted(here), f"is here twice, first in line {first[key]}")
                continue
            first[key] = self.lines[here] = line
            value = self._plain(value_node, here)
            # A key with nothing behind it says as much as no key.
            if value is not None:
                values[key] = value
        return values

    def _sequence(self, node: SequenceNode, location: Location) -> tuple[object, ...]:
        values = []
        for number, value_node in enumerate(node.value):
            here = (*location, number)
            self.lines[here] = value_node.start_mark.line + 1
            values.append(self._plain(value_node, here))
        return tuple(values)

    def _scalar(self, node: Node, location: Location) -> object:
        try:
            value = self._yaml.constructor.construct_object(node)
        except (YAMLError, ValueError):
            self.mistake(location, "has a value that YAML cannot read")
            self.unknown.append(location)
            return None
        return self._expanded(value, location) if isinstance(value, str) else value

    def _expanded(self, text: str, location: Location) -> str:
        missing = False

        def expand(match: re.Match[str]) -> str:
            nonlocal missing
            escaped, name = match.groups()
            if escaped:
                return str(escaped)
            if not _VARIABLE_NAME.fullmatch(name):
                self.mistake(location, f"${{{name}}} does not name an environment variable")
            elif name not in self.environ:
                self.mistake(location, f"the environment variable {name} is not set")
            else:
                return self.environ[name]
            missing = True
            return ""

        expanded = _VARIABLE.sub(expand, text)
        if missing:
            self.unknown.append(location)
        return expanded


def _validate(
    data: Mapping[str, object], document: _Document, *, files: bool
) -> ClusterConfig | None:
    """The models' own opinion of the values, each mistake brought to its place."""
    folder = document.path.absolute().parent
    try:
        return ClusterConfig.model_validate(data, context={FOLDER: folder, FILES: files})
    except pydantic.ValidationError as error:
        for found in error.errors(include_url=False):
            location = tuple(part for part in found["loc"] if part != "[key]")
            place = _walk(location)[1]
            if found["type"] == "union_tag_invalid":
                place = (*place, "kind")
            document.mistake(place, _message(found, location))
        return None


def _message(found: ErrorDetails, location: Location) -> str:
    """One of pydantic's errors as a sentence without a subject."""
    kind, context = found["type"], found.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key; {_meant(str(location[-1]), _section(location[:-1]))}"
    if kind == "model_type" and _section(location) is SecretSource:
        names = ", ".join(SecretSource.model_fields)
        return f"a secret does not stand here: say where it is, with one of {names}"
    if kind == "string_pattern_mismatch":
        return PATTERNS[context["pattern"]]
    if kind == "union_tag_invalid":
        return f"must be {context['expected_tags'].replace(', ', ' or ')}"
    return _WORDS[kind].format(**context) if kind in _WORDS else found["msg"]


def _section(location: Location) -> type[Section]:
    """The model of the section at a place, or of the one around it."""
    return _walk(location)[0]


def _walk(location: Location) -> tuple[type[Section], Location]:
    """The model of the section at a place, or of the one around it; and the place in the file.

    :param location: as pydantic names it: where a section may be of several kinds, the kind
        stands behind the section's key.
    """
    section: type[Section] = ClusterConfig
    kinds: dict[str | int, type[Section]] = {}
    place: Location = ()
    for part in location:
        if part in kinds:
            section, kinds = kinds[part], {}
            continue
        place = (*place, part)
        known = section.model_fields.get(str(part))
        if known is None:
            continue
        inner = sections_in(known.annotation)
        section = inner[0] if inner else section
        kinds = {kind_of(model): model for model in inner} if len(inner) > 1 else {}
    return section, place


def _meant(key: str, section: type[Section]) -> str:
    known = list(section.model_fields)
    close = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"


def _dotted(location: Location) -> str:
    """``network.generations.a[1]``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
