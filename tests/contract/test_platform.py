"""What every platform does alike: the one in memory, and podman by Terraform."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import pytest
from tests.fakes.platform import FakePlatform
from tests.integration.podman_lab import podman_lab

from onebaton.errors import ConfigError, RefusedError
from onebaton.model import Image, NodeSpec, NodeState, Schema
from onebaton.ports import Platform

pytestmark = pytest.mark.contract


class Lab(Protocol):
    """A platform, and what happens behind its back."""

    platform: Platform

    def spec(self, number: int, generation: str = "a") -> NodeSpec: ...
    def image(self) -> Image: ...
    def build_image(self) -> None: ...
    def lose(self, name: str) -> None: ...
    def stop(self, name: str) -> None: ...
    def leftovers(self) -> list[str]: ...


class MemoryLab:
    """The platform in memory."""

    def __init__(self) -> None:
        self._digest = "sha256:" + "1" * 64
        self.fake = FakePlatform({"image:1": self._digest})
        self.platform: Platform = self.fake

    def spec(self, number: int, generation: str = "a") -> NodeSpec:
        third = {"a": 1, "b": 2}[generation]
        return NodeSpec(
            f"{generation}{number}", f"10.0.{third}.{number}", "image:1", self._digest, generation
        )

    def image(self) -> Image:
        schema = Schema("6.10.0", "6.10.0")
        return Image("image:1", self._digest, "6.10.0", schema, "fake", "none", "sha256:0", "", "0")

    def build_image(self) -> None:
        self.fake.images["image:1"] = self._digest

    def lose(self, name: str) -> None:
        self.fake.lose(name)

    def stop(self, name: str) -> None:
        self.fake.stop(name)

    def leftovers(self) -> list[str]:
        return [node.spec.name for node in self.fake.nodes()]


@pytest.fixture(
    scope="module",
    params=["memory", pytest.param("podman", marks=pytest.mark.integration)],
)
def made_lab(request, tmp_path_factory) -> Iterator[Lab]:
    if request.param == "memory":
        yield MemoryLab()
        return
    with podman_lab(tmp_path_factory.mktemp("platform"), 1) as lab:
        yield lab


@pytest.fixture
def lab(made_lab: Lab) -> Iterator[Lab]:
    """Every test begins with nothing, and leaves nothing to the next one."""
    yield made_lab
    made_lab.platform.apply([])
    assert made_lab.leftovers() == []


def specs(lab: Lab) -> set[NodeSpec]:
    return {node.spec for node in lab.platform.nodes()}


def test_begins_with_no_nodes(lab: Lab):
    lab.platform.check()
    assert lab.platform.nodes() == ()
    assert lab.platform.pending([]) == ()


def test_holds_the_wanted_nodes_and_has_nothing_more_to_do(lab: Lab):
    wanted = [lab.spec(1), lab.spec(2), lab.spec(3)]
    assert len(lab.platform.pending(wanted)) == 3
    lab.platform.apply(wanted)
    nodes = lab.platform.nodes()
    assert [node.spec for node in nodes] == wanted
    assert {node.state for node in nodes} == {NodeState.RUNNING}
    assert len({node.instance for node in nodes}) == 3
    assert all(node.instance for node in nodes)
    assert lab.platform.pending(wanted) == ()
    lab.platform.apply(wanted)
    assert lab.platform.nodes() == nodes


def test_changes_generations_without_touching_the_nodes_that_stay(lab: Lab):
    lab.platform.apply([lab.spec(1), lab.spec(2)])
    before = {node.spec: node.instance for node in lab.platform.nodes()}
    lab.platform.apply([lab.spec(1), lab.spec(2), lab.spec(1, "b"), lab.spec(2, "b")])
    between = {node.spec: node.instance for node in lab.platform.nodes()}
    assert len(between) == 4
    assert {spec: between[spec] for spec in before} == before
    lab.platform.apply([lab.spec(1, "b"), lab.spec(2, "b")])
    after = {node.spec: node.instance for node in lab.platform.nodes()}
    assert set(after) == {lab.spec(1, "b"), lab.spec(2, "b")}
    assert after == {spec: between[spec] for spec in after}


def test_a_node_that_vanished_is_seen_and_replaced_by_another_machine(lab: Lab):
    wanted = [lab.spec(1), lab.spec(2)]
    lab.platform.apply(wanted)
    before = lab.platform.nodes()
    lab.lose(wanted[0].name)
    seen = lab.platform.nodes()
    assert [node.state for node in seen] == [NodeState.VANISHED, NodeState.RUNNING]
    assert seen[0].spec == wanted[0]
    pending = lab.platform.pending(wanted)
    assert pending
    assert all(wanted[0].name in line for line in pending)
    lab.platform.apply(wanted)
    after = lab.platform.nodes()
    assert {node.state for node in after} == {NodeState.RUNNING}
    assert after[0].instance != before[0].instance
    assert after[1] == before[1]


def test_a_node_of_another_specification_is_another_machine_in_the_same_place(lab: Lab):
    wanted = [lab.spec(1), lab.spec(2)]
    lab.platform.apply(wanted)
    before = lab.platform.nodes()
    other = replace(wanted[0], generation="b")
    (line,) = lab.platform.pending([other, wanted[1]])[:1]
    assert other.name in line
    lab.platform.apply([other, wanted[1]])
    after = lab.platform.nodes()
    assert [node.spec for node in after] == [other, wanted[1]]
    assert after[0].state is NodeState.RUNNING
    assert after[0].instance != before[0].instance
    assert after[1] == before[1]


def test_a_node_that_vanished_and_is_not_wanted_is_forgotten(lab: Lab):
    lab.platform.apply([lab.spec(1), lab.spec(2)])
    lab.lose(lab.spec(1).name)
    lab.platform.apply([lab.spec(2)])
    assert specs(lab) == {lab.spec(2)}
    assert lab.platform.pending([lab.spec(2)]) == ()


def test_a_stopped_node_is_seen_and_left_as_it_is(lab: Lab):
    lab.platform.apply([lab.spec(1)])
    instance = lab.platform.nodes()[0].instance
    lab.stop(lab.spec(1).name)
    (node,) = lab.platform.nodes()
    assert node.state is NodeState.STOPPED
    assert node.instance == instance
    assert lab.platform.pending([lab.spec(1)]) == ()
    lab.platform.apply([lab.spec(1)])
    assert lab.platform.nodes()[0].state is NodeState.STOPPED


def test_an_image_with_another_content_is_refused_before_anything_is_made(lab: Lab):
    spec = lab.spec(1)
    other = NodeSpec(spec.name, spec.address, spec.image, "sha256:" + "0" * 64, spec.generation)
    with pytest.raises(RefusedError):
        lab.platform.apply([lab.spec(2), other])
    assert lab.platform.nodes() == ()


def test_two_nodes_with_one_address_are_refused_before_anything_is_made(lab: Lab):
    first, second = lab.spec(1), lab.spec(2)
    twin = NodeSpec(
        second.name, first.address, second.image, second.image_digest, second.generation
    )
    with pytest.raises(ConfigError):
        lab.platform.apply([first, twin])
    assert lab.platform.nodes() == ()


def test_knows_an_image_by_its_digest(lab: Lab):
    image = lab.image()
    assert lab.platform.image_present(image)
    other = Image(image.name, "sha256:" + "0" * 64, "6.10.0", image.schema, "", "", "", "", "")
    assert not lab.platform.image_present(other)


def test_removes_an_image_that_nothing_uses(lab: Lab):
    image = lab.image()
    lab.platform.apply([lab.spec(1)])
    with pytest.raises(RefusedError, match=image.name):
        lab.platform.remove_image(image)
    assert lab.platform.image_present(image)
    assert len(lab.platform.nodes()) == 1
    lab.platform.apply([])
    other = Image(image.name, "sha256:" + "0" * 64, "6.10.0", image.schema, "", "", "", "", "")
    lab.platform.remove_image(other)
    assert lab.platform.image_present(image)
    try:
        lab.platform.remove_image(image)
        assert not lab.platform.image_present(image)
        lab.platform.remove_image(image)
    finally:
        lab.build_image()


def test_a_trial_is_no_node_and_goes(lab: Lab):
    with lab.platform.boot_trial(lab.image()) as trial:
        assert trial.run("exit 0", timeout_s=20) == (0, "")
        assert lab.platform.nodes() == ()
    assert lab.leftovers() == []
