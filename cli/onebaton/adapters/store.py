"""A folder that keeps keys and bytes: every write is whole or was never there."""

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from onebaton.errors import UnavailableError

#: One part of a key between slashes: never empty, hidden, ``.`` or ``..``.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%+-]*", re.ASCII)
#: Files being written; no key starts with a dot.
_TEMPORARY = ".writing-"
#: Locked while something is compared and replaced.
_GUARD = ".guard"


def parts_of(key: str) -> list[str]:
    """What stands between the key's slashes.

    :raises ValueError: if it is no key.
    """
    parts = key.split("/")
    if not all(_PART.fullmatch(part) for part in parts):
        raise ValueError(f"not a key: {key!r}")
    return parts


class FolderStore:
    """The port ``Store`` on a local folder, one file a key.

    :param root: the folder; made when something is first written.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, key: str) -> bytes | None:
        """The content, ``None`` if there is none.

        :raises UnavailableError: if the file is there and cannot be read.
        """
        path = self._path(key)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable("read", path, error) from error

    def write(self, key: str, content: bytes) -> None:
        """Replace the content; durable when this returns.

        :raises UnavailableError: if the folder cannot be written.
        """
        path = self._path(key)
        try:
            with self._temporary(path, content) as temporary:
                temporary.replace(path)
                _sync_folder(path.parent)
        except OSError as error:
            raise _unavailable("write", path, error) from error

    def create(self, key: str, content: bytes) -> bool:
        """Write only if there is nothing yet: of several writers exactly one succeeds.

        :returns: ``False`` if something is there.
        :raises UnavailableError: if the folder cannot be written.
        """
        path = self._path(key)
        try:
            with self._temporary(path, content) as temporary:
                # A link, unlike O_EXCL, never shows a file that is not yet whole.
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    return False
                _sync_folder(path.parent)
        except OSError as error:
            raise _unavailable("write", path, error) from error
        return True

    def replace(self, key: str, expected: bytes, content: bytes) -> bool:
        """Write only if ``expected`` is what is there: of several writers one succeeds.

        Compared and written under a lock of the folder's, which only writers by this method
        take: enough for a key that nobody else writes over.

        :returns: ``False`` if something else, or nothing, is there.
        :raises UnavailableError: if the folder cannot be written.
        """
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with (path.parent / _GUARD).open("ab") as guard:
                fcntl.flock(guard, fcntl.LOCK_EX)
                if self.read(key) != expected:
                    return False
                self.write(key, content)
        except OSError as error:
            raise _unavailable("write", path, error) from error
        return True

    def delete(self, key: str) -> None:
        """Remove it; no error if there is none.

        :raises UnavailableError: if it cannot be removed.
        """
        path = self._path(key)
        try:
            path.unlink()
            _sync_folder(path.parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise _unavailable("remove", path, error) from error

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, sorted."""
        found = []
        for folder, _, names in os.walk(self._root):
            relative = Path(folder).relative_to(self._root)
            found += [(relative / name).as_posix() for name in names if not name.startswith(".")]
        yield from sorted(key for key in found if key.startswith(prefix))

    def _path(self, key: str) -> Path:
        return self._root.joinpath(*parts_of(key))

    @contextlib.contextmanager
    def _temporary(self, path: Path, content: bytes) -> Iterator[Path]:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_TEMPORARY, dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            yield temporary
        finally:
            temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """A rename lasts only when the folder that holds the name was synced."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unavailable(verb: str, path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(
        f"cannot {verb} {path}: {error.strerror}",
        resolution="Make the state folder readable and writable (`state` in cluster.yaml).",
    )
