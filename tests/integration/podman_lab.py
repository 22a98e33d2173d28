"""A podman platform of a test's own: a tiny image, a subnet, and nothing left behind."""

import io
import json
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from tests.fakes.clock import VirtualClock
from tests.fakes.reporter import ListReporter

from onebaton import config
from onebaton.adapters.podman import Podman
from onebaton.adapters.podman_platform import PodmanPlatform
from onebaton.model import Image, NodeSpec, Schema

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3RzIG9ubHk= tests"
PROGRAMS = ("/bin/sh", "/bin/sleep", "/bin/cat")
SCRIPTS = {
    "sbin/init": "#!/bin/sh\nexec sleep infinity\n",
    # A trial asks systemd whether the boot is over; this image has nothing to boot.
    "bin/systemctl": "#!/bin/sh\necho running\n",
}
QUICK_S = 60.0


def tiny_root() -> bytes:
    """A root file system, as a tar: a shell, and an init that sleeps."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", dereference=True) as tar:
        libraries: set[str] = set()
        for program in PROGRAMS:
            linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
            libraries |= set(re.findall(r"(/\S+) \(0x", linked.stdout))
            tar.add(program, arcname=program.lstrip("/"))
        for library in sorted(libraries):
            tar.add(library, arcname=library.lstrip("/"))
        for name, text in SCRIPTS.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text), 0o755
            tar.addfile(entry, io.BytesIO(text.encode()))
        for folder in ("etc", "tmp", "run", "var", "proc", "sys", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
    return out.getvalue()


class PodmanLab:
    """One cluster of tiny nodes.

    :param number: its own, 0 to 15: names and subnet come from it.
    """

    def __init__(self, folder: Path, number: int) -> None:
        self.cluster = f"t{number}p{os.getpid()}"
        self.network = f"onebaton-{self.cluster}"
        self.subnet = IPv4Network(f"10.213.{number * 16}.0/24")
        self.state = folder / "state"
        self.reporter = ListReporter()
        self.podman = Podman(self.state / "podman")
        self.image_name = f"localhost/onebaton-test-{self.cluster}:1"
        self.digest = ""
        self.platform = self.new_platform()

    def new_platform(self, module: Path | None = None) -> PodmanPlatform:
        """As another run of the command would make it."""
        return PodmanPlatform(
            cluster=self.cluster,
            network=config.NetworkConfig(
                subnet=self.subnet,
                generations={"a": (self._address(11),), "b": (self._address(21),)},
            ),
            settings=config.PodmanPlatform(memory_mib=256),
            state=self.state,
            authorized_key=KEY,
            podman=self.podman,
            reporter=self.reporter,
            clock=VirtualClock(),
            module=module,
        )

    def image(self) -> Image:
        """The tiny image as the catalogue would list it."""
        return Image(
            name=self.image_name,
            digest=self.digest,
            version="6.10.0",
            schema=Schema("6.10.0", "6.10.0"),
            platform="podman",
            base="none",
            recipe_digest="sha256:0",
            built_at="2026-01-01T00:00:00Z",
            packer_version="0",
        )

    def spec(self, number: int, generation: str = "a") -> NodeSpec:
        """A node of a generation, numbered from 1."""
        base = {"a": 10, "b": 20}[generation]
        return NodeSpec(
            name=f"{self.cluster}-{generation}{number}",
            address=str(self._address(base + number)),
            image=self.image_name,
            image_digest=self.digest,
            generation=generation,
        )

    def ask(self, *args: str, check: bool = True) -> str:
        """What podman prints."""
        return self.podman.run(args, timeout_s=QUICK_S, check=check).stdout.strip()

    def lose(self, name: str) -> None:
        """A container goes away behind the platform's back."""
        self.ask("rm", "--force", "--time", "0", name)

    def stop(self, name: str) -> None:
        """A container is stopped behind the platform's back."""
        self.ask("stop", "--time", "0", name)

    def leftovers(self) -> list[str]:
        """Everything of this cluster that podman still holds."""
        found = json.loads(self.ask("ps", "--all", "--format", "json") or "[]") or []
        networks = self.ask("network", "ls", "--format", "{{.Name}}").splitlines()
        return [
            *(c["Names"][0] for c in found if self.cluster in (c["Labels"] or {}).values()),
            *(name for name in networks if name == self.network),
        ]

    def clear(self) -> None:
        """No nodes, and nothing that they shared."""
        self.platform.apply([])

    def build_image(self) -> None:
        """Import the tiny image."""
        self.podman.run(["import", "-", self.image_name], timeout_s=QUICK_S, stdin=tiny_root())
        self.digest = self.ask("image", "inspect", "--format", "{{.Digest}}", self.image_name)

    def remove_all(self) -> None:
        """Take away what this lab made, whatever a test did to it."""
        label = f"label=onebaton.cluster={self.cluster}"
        for container in self.ask("ps", "--all", "--quiet", "--filter", label).split():
            self.ask("rm", "--force", "--volumes", "--time", "0", container, check=False)
        self.ask("network", "rm", "--force", self.network, check=False)
        self.ask("image", "rm", "--force", self.image_name, check=False)

    def _address(self, host: int) -> IPv4Address:
        return self.subnet.network_address + host


@contextmanager
def podman_lab(folder: Path, number: int) -> Iterator[PodmanLab]:
    """A lab with its image; everything is gone when the block is left."""
    lab = PodmanLab(folder, number)
    lab.build_image()
    try:
        yield lab
    finally:
        lab.remove_all()
