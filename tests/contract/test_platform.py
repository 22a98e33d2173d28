"""What every platform does alike: the one in memory, podman and AWS by Terraform.

AWS takes its time: Terraform's provider waits 10 s and more for machines that come or go. So the
life of nodes is one story, told in as few steps as it takes.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import pytest
from tests.contract.aws_lab import aws_lab
from tests.fakes.platform import FakePlatform
from tests.integration.podman_lab import podman_lab

from onebaton.errors import ConfigError, RefusedError
from onebaton.model import Image, NodeSpec, NodeState, Schema
from onebaton.ports import Platform
from onebaton.records import Preview

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
    def clear(self) -> None: ...


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

    def clear(self) -> None:
        self.platform.apply([])


@pytest.fixture(
    scope="module",
    params=["memory", *(pytest.param(n, marks=pytest.mark.integration) for n in ("podman", "aws"))],
)
def made_lab(request, tmp_path_factory, aws_calls) -> Iterator[Lab]:
    if request.param == "memory":
        yield MemoryLab()
        return
    folder = tmp_path_factory.mktemp("platform")
    labs = {
        "podman": lambda: podman_lab(folder, 1),
        "aws": lambda: aws_lab(folder, aws_calls / "platform"),
    }
    with labs[request.param]() as lab:
        yield lab


@pytest.fixture
def lab(made_lab: Lab) -> Iterator[Lab]:
    """Every test begins with nothing, and leaves nothing to the next one."""
    yield made_lab
    made_lab.clear()
    assert made_lab.leftovers() == []


def test_begins_with_no_nodes(lab: Lab):
    lab.platform.check()
    assert lab.platform.nodes() == ()
    assert lab.platform.pending([]) == ()


def instances(lab: Lab) -> dict[NodeSpec, str]:
    return {node.spec: node.instance for node in lab.platform.nodes()}


def test_what_would_be_done_is_seen_without_doing_it(lab: Lab):
    platform, both = lab.platform, (lab.spec(1), lab.spec(2))
    empty = platform.recorded()
    first = platform.preview(both)
    assert platform.preview(both) == first
    assert first.pending == platform.pending(both)
    assert [change.actions for change in first.changes][:2] == [("create",)] * 2
    assert (platform.nodes(), platform.recorded()) == ((), empty)

    platform.apply(both[:1])
    before = platform.recorded()
    assert before is not None
    assert before != empty
    assert platform.preview(both[:1]) == Preview(())
    second = platform.preview(both)
    assert second.changes
    # What is shared was not known at first: the contents may differ, what is done does not.
    done = {(change.address, change.actions) for change in second.changes}
    assert done < {(change.address, change.actions) for change in first.changes}
    assert all(lab.spec(2).name in change.address for change in second.changes)
    assert platform.recorded() == before


def states(lab: Lab) -> dict[NodeSpec, NodeState]:
    return {node.spec: node.state for node in lab.platform.nodes()}


def test_nodes_come_vanish_stop_and_go_through_generations(lab: Lab):
    first, second = lab.spec(1), lab.spec(2)
    old, new = [first, second], [lab.spec(1, "b"), lab.spec(2, "b")]
    running = NodeState.RUNNING

    # The wanted nodes are made, and then nothing is left to do.
    assert len(lab.platform.pending(old)) == 2
    lab.platform.apply(old)
    begun = lab.platform.nodes()
    assert [node.spec for node in begun] == old
    assert states(lab) == dict.fromkeys(old, running)
    made = instances(lab)
    assert len(set(made.values())) == 2
    assert all(made.values())
    assert lab.platform.pending(old) == ()
    lab.platform.apply(old)
    assert lab.platform.nodes() == begun

    # One vanishes: it is seen, and another machine takes its place while the next ones are made.
    # The node that stays is not touched.
    lab.lose(first.name)
    assert states(lab) == {first: NodeState.VANISHED, second: running}
    pending = lab.platform.pending(old)
    assert pending
    assert all(first.name in line for line in pending)
    lab.platform.apply([*old, *new])
    assert states(lab) == dict.fromkeys([*old, *new], running)
    between = instances(lab)
    assert between[first] != made[first]
    assert between[second] == made[second]

    # The old ones go; the one that vanished is forgotten, the one that was stopped is left so,
    # and the one that is to be something else is another machine.
    lab.lose(second.name)
    lab.stop(new[0].name)
    other = replace(new[1], generation="c")
    wanted = [new[0], other]
    assert states(lab) == {
        first: running,
        second: NodeState.VANISHED,
        new[0]: NodeState.STOPPED,
        new[1]: running,
    }
    assert len(lab.platform.pending(wanted)) >= 3
    lab.platform.apply(wanted)
    assert states(lab) == {new[0]: NodeState.STOPPED, other: running}
    after = instances(lab)
    assert after[new[0]] == between[new[0]]
    assert after[other] != between[new[1]]
    assert lab.platform.pending(wanted) == ()

    # An image goes only after the last node that was made from it.
    image = lab.image()
    with pytest.raises(RefusedError, match=image.name):
        lab.platform.remove_image(image)
    assert lab.platform.image_present(image)
    lab.platform.apply([])
    assert lab.leftovers() == []


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
