"""OpenNebula's templates: the grammar of ``oned.conf`` and of API arguments.

A template is a bag of attributes: ``NAME = value``, ``NAME = "value"`` or
``NAME = [ KEY = value, … ]``; the same name may come several times. Templates
also travel as XML, ``<T><NAME>value</NAME></T>``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.etree import ElementTree

Vector = dict[str, str]
Value = str | Vector

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]*")
_SPACE = re.compile(r"(?:\s+|#[^\n]*)*")


class TemplateError(ValueError):
    """The text is no template."""


@dataclass(slots=True)
class Template:
    """Attributes in the order they came in."""

    attributes: list[tuple[str, Value]] = field(default_factory=list)

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read either form.

        :raises TemplateError: if *text* is neither.
        """
        if text.lstrip().startswith("<"):
            return cls._parse_xml(text)
        return cls(list(_attributes(text)))

    @classmethod
    def _parse_xml(cls, text: str) -> Template:
        try:
            root = ElementTree.fromstring(text)
        except ElementTree.ParseError as error:
            raise TemplateError(f"XML parse error: {error}") from error
        return cls.from_element(root)

    @classmethod
    def from_element(cls, root: ElementTree.Element) -> Template:
        """Read the children of an XML element."""
        result = cls()
        for child in root:
            value: Value
            if len(child):
                value = {leaf.tag.upper(): leaf.text or "" for leaf in child}
            else:
                value = child.text or ""
            result.attributes.append((child.tag.upper(), value))
        return result

    def single(self, name: str) -> str | None:
        """The first plain value called *name*."""
        for key, value in self.attributes:
            if key == name and isinstance(value, str):
                return value
        return None

    def vector(self, name: str) -> Vector | None:
        """The first bracketed value called *name*."""
        for key, value in self.attributes:
            if key == name and isinstance(value, dict):
                return value
        return None

    def vectors(self, name: str) -> list[Vector]:
        """All bracketed values called *name*."""
        return [v for k, v in self.attributes if k == name and isinstance(v, dict)]

    def erase(self, name: str) -> None:
        """Forget every attribute called *name*."""
        self.attributes = [pair for pair in self.attributes if pair[0] != name]

    def replace(self, name: str, value: Value) -> None:
        """Set *name* to this one value."""
        self.erase(name)
        self.attributes.append((name, value))

    def merge(self, other: Template) -> None:
        """Append: what *other* names replaces what was there."""
        for name in {key for key, _ in other.attributes}:
            self.erase(name)
        self.attributes.extend(other.attributes)

    def to_xml(self, tag: str = "TEMPLATE") -> str:
        """As the real one writes it: sorted by name, every value in CDATA."""
        parts = [f"<{tag}>"]
        for name, value in sorted(self.attributes, key=lambda pair: pair[0]):
            if isinstance(value, dict):
                inner = "".join(f"<{k}>{cdata(v)}</{k}>" for k, v in sorted(value.items()))
                parts.append(f"<{name}>{inner}</{name}>")
            else:
                parts.append(f"<{name}>{cdata(value)}</{name}>")
        parts.append(f"</{tag}>")
        return "".join(parts)

    def to_text(self) -> str:
        """One attribute a line, as ``/var/lib/one/config`` has it."""
        lines = []
        for name, value in sorted(self.attributes, key=lambda pair: pair[0]):
            if isinstance(value, dict):
                inner = ",".join(f"{k}={v}" for k, v in sorted(value.items()))
                lines.append(f"{name}={inner}")
            else:
                lines.append(f"{name}={value}")
        return "\n".join(lines) + "\n"


def cdata(value: str) -> str:
    """*value* in a CDATA section."""
    return "<![CDATA[" + value.replace("]]>", "]]]]><![CDATA[>") + "]]>"


def escape(value: str) -> str:
    """*value* as character data."""
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _attributes(text: str) -> Iterator[tuple[str, Value]]:
    position = _skip(text, 0)
    while position < len(text):
        name, position = _name(text, position)
        position = _expect(text, position, "=")
        position = _skip_inline(text, position)
        if position < len(text) and text[position] == "[":
            vector, position = _vector(text, position + 1)
            yield name, vector
        else:
            value, position = _value(text, position, "\n")
            yield name, value
        position = _skip(text, position)


def _name(text: str, position: int) -> tuple[str, int]:
    match = _NAME.match(text, position)
    if match is None:
        line = text.count("\n", 0, position) + 1
        raise TemplateError(
            f"syntax error, unexpected {text[position : position + 1]!r} at line {line}"
        )
    return match.group().upper(), match.end()


def _expect(text: str, position: int, sign: str) -> int:
    position = _skip_inline(text, position)
    if not text.startswith(sign, position):
        line = text.count("\n", 0, position) + 1
        raise TemplateError(f"syntax error, expecting {sign} at line {line}")
    return position + 1


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _skip_inline(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t":
        position += 1
    return position


def _vector(text: str, position: int) -> tuple[Vector, int]:
    vector: Vector = {}
    position = _skip(text, position)
    while not text.startswith("]", position):
        name, position = _name(text, position)
        position = _skip(text, position)
        position = _expect(text, position, "=")
        position = _skip(text, position)
        vector[name], position = _value(text, position, ",]\n#")
        position = _skip(text, position)
        if text.startswith(",", position):
            position = _skip(text, position + 1)
        elif not text.startswith("]", position):
            raise TemplateError("syntax error, expecting , or ]")
    return vector, position + 1


def _value(text: str, position: int, ends: str) -> tuple[str, int]:
    if text.startswith('"', position):
        pieces: list[str] = []
        index = position + 1
        while index < len(text):
            sign = text[index]
            if sign == "\\" and text.startswith('"', index + 1):
                pieces.append('"')
                index += 2
            elif sign == '"':
                return "".join(pieces), index + 1
            else:
                pieces.append(sign)
                index += 1
        raise TemplateError("syntax error, unterminated string")
    end = position
    while end < len(text) and text[end] not in ends:
        end += 1
    return text[position:end].strip(), end
