"""Whole commands on a simulated cluster: their own wiring, with memory behind the ports."""

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest
from tests.fakes.examiner import FakeExaminer, sound
from tests.fakes.simulated import PASSWORD, VIP, SimulatedCluster
from tests.fakes.simulated_tool import NEW
from tests.fakes.store import MemoryStore
from tests.fakes.wanting import SLOTS

from onebaton.adapters.startfile import Choices, write
from onebaton.wiring import cluster as wiring


def make_folder(folder: Path, *changes: tuple[str, str]) -> Path:
    """A folder with what a cluster.yaml names; its path.

    :param changes: texts of the file and what stands for them.
    """
    (folder / "secrets").mkdir(parents=True)
    (folder / "packages").mkdir()
    for name in ("id_ed25519", "id_ed25519.pub"):
        (folder / "secrets" / name).write_text("key\n")
    (folder / "secrets" / "oneadmin").write_text(f"{PASSWORD}\n")
    (folder / "secrets" / "oneadmin").chmod(0o600)
    file = folder / "cluster.yaml"
    write(file, Choices("podman", "z", NEW.version, str(folder / "packages")), force=False)
    text = file.read_text()
    for old, new in (
        ("10.77.10.100/24", f"{VIP}/24"),
        ("10.77.10.0/24", "10.0.0.0/24"),
        *((f"10.77.10.{10 + i}", SLOTS["a"][i - 1]) for i in (1, 2, 3)),
        *((f"10.77.10.{20 + i}", SLOTS["b"][i - 1]) for i in (1, 2, 3)),
        # The probe asks in real time.
        ("enabled: true", "enabled: false"),
        *changes,
    ):
        assert old in text, old
        text = text.replace(old, new)
    file.write_text(text)
    return file


@contextlib.contextmanager
def wired(simulated: SimulatedCluster, store: MemoryStore) -> Iterator[None]:
    """Commands work on this cluster and this store while the block runs."""

    class Wired(wiring.Cluster):
        def __init__(self, options, closing) -> None:
            super().__init__(options, closing)
            self.clock = simulated.clock

        @cached_property
        def store(self):
            return store

        @cached_property
        def priors(self):
            return simulated.priors

        @cached_property
        def platform(self):
            return simulated.platform

        @cached_property
        def frontends(self):
            return simulated.frontends

        @cached_property
        def standby(self):
            return simulated.standby

        @cached_property
        def examiner(self):
            return FakeExaminer({name: sound() for name in simulated.machines})

        @cached_property
        def image(self):
            return NEW

        def bounded_api(self, timeout_s, *, connect_timeout_s=2.0):  # noqa: ARG002
            return simulated.api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "Cluster", Wired)
        yield
