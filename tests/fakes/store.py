"""Keys and bytes in memory, behind :class:`onebaton.ports.Store`."""

from collections.abc import Iterator


class MemoryStore:
    """Implements the port ``Store``.

    :ivar content: everything it holds, by key.
    """

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def read(self, key: str) -> bytes | None:
        """The content, ``None`` if there is none."""
        return self.content.get(self._checked(key))

    def write(self, key: str, content: bytes) -> None:
        """Replace the content."""
        self.content[self._checked(key)] = content

    def create(self, key: str, content: bytes) -> bool:
        """Write only if there is nothing yet."""
        return self.content.setdefault(self._checked(key), content) is content

    def replace(self, key: str, expected: bytes, content: bytes) -> bool:
        """Write only if ``expected`` is what is there."""
        if self.content.get(self._checked(key)) != expected:
            return False
        self.content[key] = content
        return True

    def delete(self, key: str) -> None:
        """Remove it; no error if there is none."""
        self.content.pop(self._checked(key), None)

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, sorted."""
        yield from sorted(key for key in self.content if key.startswith(prefix))

    def _checked(self, key: str) -> str:
        if any(part == "" or part.startswith(".") for part in key.split("/")):
            raise ValueError(f"not a key: {key!r}")
        return key
