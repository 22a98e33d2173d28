"""What every command is given."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from onebaton.ports import Reporter


@dataclass(frozen=True, slots=True)
class Options:
    """What every command is given.

    :param config: path of ``cluster.yaml``.
    :param version: overrides ``image.version``.
    :param state: overrides ``state``; relative to the working folder.
    :param break_lock: take the lock from whoever has it.
    """

    config: Path
    reporter: Reporter
    version: str | None = None
    state: str | None = None
    break_lock: bool = False

    def again(self, command: str) -> str:
        """The command line that goes on with this."""
        words = ["onebaton", command, "--config", str(self.config)]
        if self.version is not None:
            words += ["--version", self.version]
        if self.state is not None:
            words += ["--state", self.state]
        return shlex.join(words)
