"""What passes from clones to production, as tcpdump sees it: at the machines, and between them."""

import json
import signal
import subprocess
import time
from pathlib import Path

#: Where packets are seen before this machine may give them another sender.
BETWEEN = "between"


class Capture:
    """Packets of a subnet of clones, on production's machines and on the way to them.

    :param names: of production's containers.
    :param clones: their subnet, e.g. ``10.201.27.0/24``.
    :param production: the zone's own.
    :param folder: where the packets are kept.
    """

    def __init__(self, names: list[str], clones: str, production: str, folder: Path) -> None:
        self._filters = {name: ["net", clones] for name in names}
        self._filters[BETWEEN] = ["net", clones, "and", "net", production]
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Capture":
        self._folder.mkdir(parents=True, exist_ok=True)
        for name, wanted in self._filters.items():
            command = ["tcpdump", "-i", "any", "-n", "-U", "-Z", "root", "-w", self._file(name)]
            self._running.append(
                subprocess.Popen(
                    [*_inside(name), *command, *wanted],
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        time.sleep(1.0)
        assert all(one.poll() is None for one in self._running), "tcpdump did not start"
        return self

    def __exit__(self, *_error: object) -> None:
        for one in self._running:
            one.send_signal(signal.SIGINT)
        for one in self._running:
            one.wait(15)

    def packets(self) -> list[str]:
        """What was seen, a line each; only after it ended."""
        seen: list[str] = []
        for name in self._filters:
            done = subprocess.run(
                ["tcpdump", "-n", "-r", self._file(name)],
                check=True, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            seen += [f"{name}: {line}" for line in done.stdout.splitlines()]
        return seen

    def _file(self, name: str) -> str:
        return str(self._folder / f"{name}.pcap")


def _inside(name: str) -> list[str]:
    """The beginning of a command in a container's own network."""
    if name == BETWEEN:
        return []
    shown = subprocess.run(["podman", "inspect", name], check=True, capture_output=True, timeout=30)
    return ["nsenter", "-t", str(json.loads(shown.stdout)[0]["State"]["Pid"]), "-n"]
