"""Elements of the XML that ``oned`` keeps as text, exchanged in place.

Texts are bytes in the database's own character set, all of which have ASCII in common; they are
read as Latin-1, so that every byte is one character. What is not exchanged stays as it is, byte
for byte.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from xml.parsers import expat

#: Two slashes, one slash, a name, or a star for any name.
_PATTERN = re.compile(r"(?://?(?:\*|[A-Za-z_][A-Za-z0-9_.-]*))+")


@dataclass(frozen=True, slots=True)
class Element:
    """One element, and where it stands in the text.

    :param path: names from the root on, each after a slash: ``/USER/TEMPLATE/EMAIL``.
    :param start: of its opening tag.
    :param inner: of what it holds.
    :param inner_end: of what it holds; less than ``end`` by its closing tag.
    :param text: what it holds itself, entities resolved.
    """

    path: str
    start: int
    inner: int
    inner_end: int
    end: int
    text: bytes

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]


#: What becomes of an element: what it shall hold, as a text; ``None``: the element goes.
New = bytes | None
#: Elements by their path, and what becomes of those.
Edit = tuple[Callable[[str], bool], Callable[[Element], New]]


@lru_cache
def selector(pattern: str) -> Callable[[str], bool]:
    """Whether a path is meant by ``/A/B``, ``//B`` (anywhere), ``/A/*/B`` (any one name).

    :raises ValueError: if it is no such pattern.
    """
    if not _PATTERN.fullmatch(pattern):
        raise ValueError("an element is named by its path, such as /VM/TEMPLATE/CONTEXT or //EMAIL")
    parts = [
        ("(?:/[^/]+)*/" if slashes == "//" else "/") + ("[^/]+" if name == "*" else re.escape(name))
        for slashes, name in re.findall(r"(//?)([^/]+)", pattern)
    ]
    meant = re.compile("".join(parts))
    return lambda path: meant.fullmatch(path) is not None


def elements(body: bytes) -> tuple[Element, ...]:
    """All elements, each after those that it holds.

    :raises ValueError: if it is no XML.
    """
    found: list[Element] = []
    # Opening position, path, where the inside begins, own text.
    stack: list[tuple[int, str, int, list[str]]] = []
    parser = expat.ParserCreate("iso-8859-1")
    parser.buffer_text = True

    def begin(name: str, _attributes: object) -> None:
        at = parser.CurrentByteIndex
        path = f"{stack[-1][1] if stack else ''}/{name}"
        stack.append((at, path, body.index(b">", at) + 1, []))

    def text(part: str) -> None:
        if stack:
            stack[-1][3].append(part)

    def end(_name: str) -> None:
        start, path, inner, parts = stack.pop()
        if body[inner - 2 : inner] == b"/>":
            found.append(Element(path, start, inner, inner, inner, b""))
            return
        at = parser.CurrentByteIndex
        content = "".join(parts).encode("latin-1", "replace")
        found.append(Element(path, start, inner, at, body.index(b">", at) + 1, content))

    parser.StartElementHandler = begin
    parser.CharacterDataHandler = text
    parser.EndElementHandler = end
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"no XML: {expat.errors.messages[error.code]}") from None
    return tuple(found)


def edited(body: bytes, edits: Sequence[Edit]) -> bytes:
    """A text with elements exchanged; of one within another the outer one counts.

    :raises ValueError: if it is no XML.
    """
    parts: list[bytes] = []
    place = 0
    for element, new in _chosen(body, edits):
        if element.start < place:
            continue
        parts.append(body[place : element.start])
        if new is not None:
            name = element.name.encode("latin-1")
            parts += [b"<", name, b">", cdata(new), b"</", name, b">"]
        place = element.end
    return b"".join([*parts, body[place:]])


def cdata(text: bytes) -> bytes:
    """A text as it stands in an element; digits stand as they are, as ``oned`` has them."""
    if not text or text.isdigit():
        return text
    return b"<![CDATA[" + text.replace(b"]]>", b"]]]]><![CDATA[>") + b"]]>"


def _chosen(body: bytes, edits: Sequence[Edit]) -> Iterator[tuple[Element, New]]:
    """Elements that are exchanged, outer ones first, in the order of the text."""
    found = sorted(elements(body), key=lambda element: element.start)
    for element in found:
        for is_meant, become in edits:
            if is_meant(element.path):
                yield element, become(element)
                break
