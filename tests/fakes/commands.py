"""Whole commands on a simulated cluster: the real wiring, with the cluster behind its ports."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.fakes.danger import DiedError
from tests.fakes.examiner import FakeExaminer, sound
from tests.fakes.simulated import PASSWORD, VIP, SimulatedCluster, nobody_looks
from tests.fakes.simulated_tool import NEW, OLD
from tests.fakes.store import MemoryStore
from tests.fakes.worlds import ELSEWHERE, SLOTS

from onebaton import main
from onebaton.bake.catalogue import Catalogue
from onebaton.bake.standing import Standing
from onebaton.model import Image
from onebaton.wiring import cluster as wiring

CONFIG = """\
zone:
  name: z
  size: {size}
  vip:
    address: {vip}/24
  credentials:
    password:
      file: secrets/oneadmin
image:
  version: 6.10.5
  repository:
    url: packages
platform:
  kind: podman
network:
  subnet: 10.0.0.0/24
  generations:
    a: [{a}]
    b: [{b}]
ssh:
  key: secrets/key
rollout:
  strategy: {strategy}
  probe:
    enabled: false
"""


@dataclass
class Commands:
    """The command line of a folder, on a simulated cluster.

    :ivar store: what the commands keep.
    """

    folder: Path
    cluster: SimulatedCluster
    capture: pytest.CaptureFixture[str]
    store: MemoryStore = field(default_factory=MemoryStore)
    out: str = ""
    err: str = ""

    @property
    def config(self) -> Path:
        """The file ``cluster.yaml``."""
        return self.folder / "cluster.yaml"

    def edit(self, old: str, new: str) -> None:
        """Change the configuration."""
        text = self.config.read_text()
        assert old in text
        self.config.write_text(text.replace(old, new))

    def run(self, *words: str) -> int:
        """One command; its status, with what it said in ``out`` and ``err``."""
        command, *rest = words
        status = main.main([command, "--config", str(self.config), *rest])
        self.out, self.err = self.capture.readouterr()
        return status

    def killed(self, *words: str, at: str = "") -> None:
        """One command that is killed on its way.

        :param at: the change where it is; without it, wherever somebody sees to it.
        """
        if at:
            happening(self.cluster, at, die)
        with pytest.raises(DiedError):
            self.run(*words)
        self.cluster.at_point = nobody_looks
        self.capture.readouterr()

    def refused(self, *words: str, naming: str) -> None:
        """A command is refused with one message that names something."""
        assert self.run(*words) == 4, self.err
        assert self.err.count("error: ") == 1
        assert naming in self.err, self.err

    @property
    def plan(self) -> Path:
        """Where plans are written in most tests."""
        return self.folder / "plan.json"

    def planned(self, *words: str) -> dict:
        """Make a plan; the file's content."""
        assert self.run("plan", "--out", str(self.plan), *words) == 3, self.err
        return json.loads(self.plan.read_text())

    def add_image(self, image: Image) -> None:
        """One more entry of the catalogue, on the platform too."""
        self.cluster.take_in(image)
        Catalogue(self.store).add(replace(image, platform="fake"))

    @property
    def standing(self) -> Standing:
        """Channels and revocations."""
        return Standing(self.store)


def die() -> None:
    """The tool is killed."""
    raise DiedError


def happening(cluster: SimulatedCluster, moment: str, what: Callable[[], object]) -> None:
    """Something happens once, at a moment of a run."""

    def look(point: str) -> None:
        if point == moment:
            cluster.at_point = nobody_looks
            what()

    cluster.at_point = look


def commands(
    folder: Path,
    cluster: SimulatedCluster,
    patch: pytest.MonkeyPatch,
    capture: pytest.CaptureFixture[str],
    *,
    size: int = 3,
    strategy: str = "surge",
) -> Commands:
    """A folder with a configuration, whose commands find the simulated cluster."""
    (folder / "secrets").mkdir(parents=True)
    (folder / "packages").mkdir()
    (folder / "secrets" / "oneadmin").write_text(f"{PASSWORD}\n")
    (folder / "secrets" / "oneadmin").chmod(0o600)
    for name in ("key", "key.pub"):
        (folder / "secrets" / name).write_text("secret-of-ssh\n")
    (folder / "cluster.yaml").write_text(
        CONFIG.format(
            size=size,
            strategy=strategy,
            vip=VIP,
            a=", ".join(SLOTS["a"]),
            b=", ".join(SLOTS["b"]),
        )
    )
    made = Commands(folder, cluster, capture)
    made.add_image(OLD)
    made.add_image(NEW)
    names = [f"z-{slot}{i}" for slot in "ab" for i in range(1, 10)]
    names += [f"one-{i}" for i in range(1, len(ELSEWHERE) + 1)]
    there = {
        "clock": cluster.clock,
        "store": made.store,
        "api": cluster.api,
        "frontends": cluster.frontends,
        "platform": cluster.platform,
        "examiner": FakeExaminer({name: sound() for name in names}),
        "priors": cluster.priors,
        "standby": cluster.standby,
    }

    class Wired(wiring.Cluster):
        """The cluster as commands see it, with what is simulated in its place."""

        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            self.__dict__.update(there)

    patch.setattr(wiring, "Cluster", Wired)
    return made
