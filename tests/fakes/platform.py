"""Machines in memory, behind :class:`onebaton.ports.Platform`."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from onebaton.errors import ConfigError, RefusedError
from onebaton.model import Image, Node, NodeSpec, NodeState
from onebaton.records import Preview, RecordedChange, StateIdentity


@dataclass
class FakeTrial:
    """Implements the port ``TrialNode``: answers scripts by what they contain.

    :ivar answers: exit status and output by a part of the script.
    """

    answers: dict[str, tuple[int, str]]

    def run(self, script: str, *, timeout_s: float) -> tuple[int, str]:  # noqa: ARG002
        """The answer to the first part found in the script; 0 and nothing if none is."""
        return next((a for part, a in self.answers.items() if part in script), (0, ""))


class FakePlatform:
    """Implements the port ``Platform`` without machines.

    :param images: digests by image name, as this platform holds them.
    :param on_change: called with ``create`` or ``destroy`` and the node after each machine
        came or went, for a simulated world to follow.
    :ivar before_change: called with ``create`` or ``destroy`` and the specification; what it
        raises interrupts :meth:`apply` there.
    :ivar written: how often its records were changed.
    """

    def __init__(
        self,
        images: dict[str, str],
        *,
        on_change: Callable[[str, Node], None] = lambda _what, _node: None,
    ) -> None:
        self.images = dict(images)
        self.trial_answers: dict[str, tuple[int, str]] = {}
        self.before_change: Callable[[str, NodeSpec], None] = lambda _what, _spec: None
        self._on_change = on_change
        self._nodes: dict[str, Node] = {}
        self._serial = itertools.count(1)
        self.written = 0

    @property
    def kind(self) -> str:
        return "fake"

    def check(self) -> None:
        """Nothing can be missing."""

    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._nodes[name] for name in sorted(self._nodes))

    def pending(self, wanted: Sequence[NodeSpec]) -> tuple[str, ...]:
        create, leave = self._difference(wanted)
        return (
            *(f"destroy node {node.spec.name}" for node in leave),
            *(f"create node {spec.name}" for spec in create),
        )

    def preview(self, wanted: Sequence[NodeSpec]) -> Preview:
        create, leave = self._difference(wanted)
        changes = [(node.spec, "delete") for node in leave] + [(spec, "create") for spec in create]
        ordered = sorted(changes, key=lambda change: change[0].name)
        return Preview(
            self.pending(wanted),
            tuple(RecordedChange(s.name, (word,), s.image_digest) for s, word in ordered),
        )

    def recorded(self) -> StateIdentity | None:
        return StateIdentity("fake", self.written) if self.written else None

    def apply(self, wanted: Sequence[NodeSpec]) -> None:
        create, leave = self._difference(wanted)
        self.written += bool(create or leave)
        for node in leave:
            self.before_change("destroy", node.spec)
            del self._nodes[node.spec.name]
            self._on_change("destroy", node)
        for spec in create:
            self.before_change("create", spec)
            node = Node(spec, NodeState.RUNNING, f"instance-{next(self._serial)}")
            self._nodes[spec.name] = node
            self._on_change("create", node)

    def image_present(self, image: Image) -> bool:
        return self.images.get(image.name) == image.digest

    def remove_image(self, image: Image) -> None:
        users = [n.spec.name for n in self.nodes() if n.spec.image == image.name]
        if users:
            raise RefusedError(f"the image {image.name} is in use by {', '.join(users)}")
        if self.image_present(image):
            del self.images[image.name]

    @contextlib.contextmanager
    def boot_trial(self, image: Image) -> Iterator[FakeTrial]:
        if not self.image_present(image):
            raise RefusedError(f"the image {image.name} is not here")
        yield FakeTrial(self.trial_answers)

    def lose(self, name: str) -> None:
        """The machine goes away behind everybody's back."""
        self._nodes[name] = replace(self._nodes[name], state=NodeState.VANISHED)

    def stop(self, name: str) -> None:
        """The machine is switched off behind everybody's back."""
        self._nodes[name] = replace(self._nodes[name], state=NodeState.STOPPED)

    def switch_on(self, name: str) -> None:
        """It is switched on again."""
        self._nodes[name] = replace(self._nodes[name], state=NodeState.RUNNING)

    def _difference(self, wanted: Sequence[NodeSpec]) -> tuple[list[NodeSpec], list[Node]]:
        """What to create, and what goes before that; refuses what cannot be."""
        if len({spec.address for spec in wanted}) != len(wanted):
            raise ConfigError("two nodes have the same address")
        kept = {
            node.spec
            for node in self._nodes.values()
            if node.spec in wanted and node.state is not NodeState.VANISHED
        }
        create = [spec for spec in wanted if spec not in kept]
        for spec in create:
            if self.images.get(spec.image) != spec.image_digest:
                raise RefusedError(f"the image {spec.image} is not here with this digest")
        return create, [node for node in self.nodes() if node.spec not in kept]
