"""``oned.log`` in the real one's form."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

ERROR, WARNING, INFO, DEBUG = "E", "W", "I", "D"
_LEVELS = {ERROR: 0, WARNING: 1, INFO: 2, DEBUG: 3}


class Journal:
    """Lines like ``Sun Nov 22 14:22:17 2026 [Z0][RCM][I]: text``.

    :param level: lines above it are dropped (0 error … 3 debug).
    """

    def __init__(self, path: Path | None, zone_id: int, level: int) -> None:
        self._path = path
        self._zone_id = zone_id
        self._level = level
        self._lock = threading.Lock()

    def write(self, module: str, level: str, text: str) -> None:
        """Append a line; a disk that is full must not stop the server."""
        if _LEVELS[level] > self._level:
            return
        line = f"{time.ctime()} [Z{self._zone_id}][{module}][{level}]: {text}\n"
        with self._lock:
            if self._path is None:
                sys.stderr.write(line)
                return
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(line)
            except OSError as error:
                sys.stderr.write(f"{self._path}: {error}\n{line}")

    def info(self, module: str, text: str) -> None:
        """What went as it should."""
        self.write(module, INFO, text)

    def warning(self, module: str, text: str) -> None:
        """What the operator should look at."""
        self.write(module, WARNING, text)

    def error(self, module: str, text: str) -> None:
        """What went wrong."""
        self.write(module, ERROR, text)

    def debug(self, module: str, text: str) -> None:
        """Every request, at the default level 3 too."""
        self.write(module, DEBUG, text)
