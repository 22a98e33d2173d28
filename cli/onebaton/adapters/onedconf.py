"""The grammar of ``oned.conf`` and ``monitord.conf``, and changes that touch nothing else.

A file is a list of ``NAME = value`` and ``NAME = [ ATTRIBUTE = value, … ]``; values are quoted
(``\\"`` stands for a quote, they may span lines) or bare words; ``#`` begins a comment up to the
end of the line, except inside quotes. Names do not care about case. Some names stand many times
(``VM_MAD``, ``VM_RESTRICTED_ATTR``); of those that should stand once the last one counts
(source: ``template_parser.l``, ``template_syntax.y``).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from onebaton.errors import StepFailedError

_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*(?:\n|$))*")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_EQUAL = re.compile(r"[ \t]*=[ \t]*")
_QUOTED = re.compile(r'"(?:\\"|[^"])*"')
_BARE = re.compile(r'[^=#\s,\[\]"][^=#\s,\[\]]*')
_OPEN = re.compile(r"\[")

#: Names that a zone decides about; all others are left as the package has them.
MANAGED = (
    "DB",
    "FEDERATION",
    "RAFT",
    "RAFT_LEADER_HOOK",
    "RAFT_FOLLOWER_HOOK",
    "LISTEN_ADDRESS",
    "PORT",
)


class ConfigSyntaxError(StepFailedError):
    """A file is not what ``oned`` could read."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value and where it stands in the text (with its quotes)."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One ``NAME = …`` and where it stands in the text.

    :param name: in capitals.
    :param value: of a single value.
    :param attributes: of a vector, in the order of the file, names in capitals.
    """

    name: str
    start: int
    end: int
    value: Value | None
    attributes: tuple[tuple[str, Value], ...] = ()

    def attribute(self, name: str) -> str | None:
        """An attribute's value; the first one counts, as for ``oned``."""
        return next((value.text for key, value in self.attributes if key == name), None)


def parse(text: str, *, file: str) -> tuple[Statement, ...]:
    """The statements of a file, in its order.

    :param file: its name, for messages.
    :raises ConfigSyntaxError: if ``oned`` could not read it either.
    """
    statements = []
    place = _skip(text, 0)
    while place < len(text):
        statement = _statement(text, place, file)
        statements.append(statement)
        place = _skip(text, statement.end)
    return tuple(statements)


def last(statements: Sequence[Statement], name: str) -> Statement | None:
    """The statement that counts for a name that should stand once."""
    return next((found for found in reversed(statements) if found.name == name), None)


def settings(text: str, *, file: str) -> dict[str, str]:
    """What counts in a file: ``PORT``, or ``RAFT/LOG_RETENTION`` of a vector, with its value.

    :raises ConfigSyntaxError: if the file cannot be read.
    """
    found: dict[str, str] = {}
    statements = parse(text, file=file)
    for name in {statement.name: None for statement in statements}:
        counts = last(statements, name)
        if counts is None:
            continue
        if counts.value is not None:
            found[name] = counts.value.text
        # The first of an attribute counts.
        found |= {f"{name}/{key}": value.text for key, value in reversed(counts.attributes)}
    return found


def merge(packaged: str, managed: str) -> str:
    """A packaged ``oned.conf`` with the managed statements in place of its own.

    Each managed statement takes the place of the first of its name (further ones go away), or
    stands at the end if there is none. All else stays as it is, to the byte.

    :param packaged: the file as the package brought it.
    :param managed: statements with names of :data:`MANAGED` only.
    :raises ConfigSyntaxError: if one of both cannot be read, or ``managed`` goes too far.
    """
    wanted: dict[str, str] = {}
    for statement in parse(managed, file="the rendered part of oned.conf"):
        if statement.name not in MANAGED:
            raise ConfigSyntaxError(
                f"the rendered part of oned.conf sets {statement.name}, which is not managed",
                resolution=f"Let the template set nothing but {', '.join(MANAGED)}.",
            )
        wanted[statement.name] = managed[statement.start : statement.end]
    parts = []
    place = 0
    placed: set[str] = set()
    for statement in parse(packaged, file="oned.conf"):
        if statement.name in wanted:
            parts.append(packaged[place : statement.start])
            if statement.name not in placed:
                parts.append(wanted[statement.name])
                placed.add(statement.name)
            place = statement.end
    parts.append(packaged[place:])
    merged = "".join(parts)
    missing = [text for name, text in wanted.items() if name not in placed]
    if missing:
        merged = merged.rstrip("\n") + "\n\n" + "\n\n".join(missing) + "\n"
    return merged


def set_attribute(text: str, name: str, attribute: str, value: str, *, file: str) -> str:
    """A file with one attribute of a vector set.

    :raises ConfigSyntaxError: if the file cannot be read, or has ``name`` as a single value.
    """
    found = last(parse(text, file=file), name)
    if found is None:
        return text.rstrip("\n") + f"\n\n{name} = [\n    {attribute} = {quote(value)}\n]\n"
    if found.value is not None:
        raise ConfigSyntaxError(
            f"{file}: {name} should be a list in brackets",
            resolution="Correct the file on the node; oned would not start with it either.",
        )
    for key, old in found.attributes:
        if key == attribute:
            return text[: old.start] + quote(value) + text[old.end :]
    opening = text.index("[", found.start) + 1
    comma = "," if found.attributes else ""
    return f"{text[:opening]}\n    {attribute} = {quote(value)}{comma}{text[opening:]}"


def quote(value: str) -> str:
    """A value in quotes.

    ``oned`` itself reads a backslash that stands before anything but a quote as it is; ``onedb``
    reads the file through Augeas, whose lens takes no such file at all (source: ``oned.aug``;
    tried with the lens of 6.10.0).

    :raises ConfigSyntaxError: if there is no way to write it that both read.
    """
    if "\\" in value or "\0" in value:
        raise ConfigSyntaxError(
            "a value for oned.conf holds a backslash or a zero byte",
            details=["oned and onedb do not both read that, however it is written"],
            resolution="Choose another value (for a database password: letters and digits).",
        )
    escaped = value.replace('"', '\\"')
    return f'"{escaped}"'


def _statement(text: str, start: int, file: str) -> Statement:
    name, place = _name(text, start, file)
    if place >= len(text) or text[place] in "\r\n":
        return Statement(name, start, place, Value("", place, place))
    if not _OPEN.match(text, place):
        value = _value(text, place, file)
        return Statement(name, start, value.end, value)
    attributes: list[tuple[str, Value]] = []
    place = _skip(text, place + 1)
    while True:
        if place < len(text) and text[place] == "]" and not attributes:
            return Statement(name, start, place + 1, None)
        key, at = _name(text, place, file)
        value = _value(text, at, file)
        attributes.append((key, value))
        place = _skip(text, value.end)
        if place < len(text) and text[place] == "]":
            return Statement(name, start, place + 1, None, tuple(attributes))
        if place >= len(text) or text[place] != ",":
            raise _unreadable(text, place, file, "a comma or ] is missing")
        place = _skip(text, place + 1)


def _name(text: str, place: int, file: str) -> tuple[str, int]:
    """A name with its equals sign: the name in capitals, and where its value begins."""
    name = _NAME.match(text, place)
    equal = _EQUAL.match(text, name.end()) if name else None
    if name is None or equal is None:
        raise _unreadable(text, place, file, "NAME = is missing")
    return name.group().upper(), equal.end()


def _value(text: str, place: int, file: str) -> Value:
    quoted = _QUOTED.match(text, place)
    if quoted:
        inner = quoted.group()[1:-1].replace('\\"', '"')
        return Value(inner, place, quoted.end())
    bare = _BARE.match(text, place)
    if bare is None:
        raise _unreadable(text, place, file, "a value is missing")
    return Value(bare.group(), place, bare.end())


def _skip(text: str, place: int) -> int:
    """Where blanks and comments end."""
    found = _BLANK.match(text, place)
    return found.end() if found else place


def _unreadable(text: str, place: int, file: str, reason: str) -> ConfigSyntaxError:
    line = text.count("\n", 0, place) + 1
    return ConfigSyntaxError(
        f"{file} cannot be read at line {line}: {reason}",
        resolution="Correct the file on the node; oned would not start with it either.",
    )
