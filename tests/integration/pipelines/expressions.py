"""The part of the CI systems' expressions that our workflows use."""

import re
from collections.abc import Callable, Mapping

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*'|\"[^\"]*\")|(?P<op>\|\||&&|==|!=|!|\(|\))"
    r"|(?P<name>\$?[A-Za-z_][\w.-]*(?:\(\))?))"
)
_INSERT = re.compile(r"\$\{\{(.*?)\}\}", re.DOTALL)

Look = Callable[[str], object]


def evaluate(text: str, look: Look) -> object:
    """The value of an expression.

    :param look: tells what a name stands for, e.g. ``github.sha`` or ``cancelled()``.
    """
    tokens = []
    place = 0
    while text[place:].strip():
        match = _TOKEN.match(text, place)
        assert match, f"not understood: {text[place:]!r}"
        tokens.append((match.lastgroup, match.group(match.lastgroup or 0)))
        place = match.end()
    value, rest = _or(tokens, look)
    assert not rest, f"left over in {text!r}: {rest}"
    return value


def insert(text: str, look: Look) -> str:
    """A text with every ``${{ … }}`` in it replaced."""
    return _INSERT.sub(lambda match: as_text(evaluate(match.group(1), look)), text)


def as_text(value: object) -> str:
    """A value as it ends up in a variable."""
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def dotted(contexts: Mapping[str, object], name: str) -> object:
    """``a.b.c``; nothing where there is none."""
    found: object = contexts
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _or(tokens, look):
    value, rest = _and(tokens, look)
    while rest and rest[0] == ("op", "||"):
        other, rest = _and(rest[1:], look)
        value = value or other
    return value, rest


def _and(tokens, look):
    value, rest = _equal(tokens, look)
    while rest and rest[0] == ("op", "&&"):
        other, rest = _equal(rest[1:], look)
        value = other if value else value
    return value, rest


def _equal(tokens, look):
    value, rest = _one(tokens, look)
    if rest and rest[0] in (("op", "=="), ("op", "!=")):
        other, after = _one(rest[1:], look)
        same = as_text(value) == as_text(other)
        return same if rest[0][1] == "==" else not same, after
    return value, rest


def _one(tokens, look):
    kind, token = tokens[0]
    if (kind, token) == ("op", "!"):
        value, rest = _one(tokens[1:], look)
        return not value, rest
    if (kind, token) == ("op", "("):
        value, rest = _or(tokens[1:], look)
        assert rest[0] == ("op", ")")
        return value, rest[1:]
    if kind == "text":
        return token[1:-1], tokens[1:]
    return look(token), tokens[1:]
