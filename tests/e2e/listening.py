"""Everything that reaches some machines from a subnet, as tcpdump sees it in their own networks."""

import json
import signal
import subprocess
import time
from pathlib import Path


class Capture:
    """Packets from or to a subnet, on each of some containers' networks.

    :param names: of containers.
    :param net: the subnet, e.g. ``10.201.27.0/24``.
    :param folder: where the packets are kept.
    """

    def __init__(self, names: list[str], net: str, folder: Path) -> None:
        self._names = names
        self._net = net
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Capture":
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in self._names:
            shown = subprocess.run(
                ["podman", "inspect", name], check=True, capture_output=True, timeout=30
            )
            pid = json.loads(shown.stdout)[0]["State"]["Pid"]
            self._running.append(
                subprocess.Popen(
                    ["nsenter", "-t", str(pid), "-n", "tcpdump", "-i", "any", "-n", "-U",
                     "-Z", "root", "-w", self._file(name), "net", self._net],
                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )
            )  # fmt: skip
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
        for name in self._names:
            done = subprocess.run(
                ["tcpdump", "-n", "-r", self._file(name)],
                check=True, capture_output=True, text=True, timeout=60,
            )  # fmt: skip
            seen += [f"{name}: {line}" for line in done.stdout.splitlines()]
        return seen

    def _file(self, name: str) -> str:
        return str(self._folder / f"{name}.pcap")
