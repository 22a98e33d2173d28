"""The scripts Raft runs when the server becomes leader or follower."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from oned.journal import Journal
from oned.settings import Hook

_TIMEOUT_S = 120.0


class RaftHook:
    """Runs a hook beside the server, as the real one does (source: ``ExecuteHook``)."""

    def __init__(self, hook: Hook, remotes: Path, journal: Journal) -> None:
        command = hook.command
        if not command.startswith("/"):
            command = str(remotes / "hooks" / command)
        self._name = hook.name
        self._argv = [command, *hook.arguments.split()]
        self._journal = journal

    def start(self) -> None:
        """Start it and return at once; how it ends is written to the log."""
        threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _run(self) -> None:
        try:
            done = subprocess.run(
                self._argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
                # The hook must outlive a server that is just stopping.
                start_new_session=True,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            self._journal.error("HKM", f"Executing Hook: {self._name}: {error}")
            return
        result = "success" if done.returncode == 0 else f"failure code: {done.returncode}"
        self._journal.info(
            "HKM",
            f"Hook: {self._name}, {result}\nHook stdout: {done.stdout}\nHook stderr: {done.stderr}",
        )
