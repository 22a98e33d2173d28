"""What was seen of a zone that nobody changes, and what it is held against."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from onebaton.drift import Configured
from onebaton.model import Member, Node, Vip, World
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Wanted


@dataclass(frozen=True)
class Sight:
    """All that was seen, and what it is held against.

    :param unbaked: why there is no wanted image; empty if there is one.
    :param channel: that the wanted image is of; ``None``: it is the newest of its version.
    :param revoked: why images must not be used any more, by digest.
    :param settings: settings of ``oned.conf`` as they would be written, by server id, e.g.
        ``RAFT/LOG_RETENTION``.
    :param configured: configuration files by name of the machine; a text says why they could not
        be read.
    :param pending: what Terraform would do to leave everything as it is, a line each.
    :param strangers: what answers at addresses of ours that nobody should have, by address.
    """

    wanted: Wanted
    world: World
    vip: Vip
    unbaked: str
    channel: str | None
    revoked: Mapping[str, str]
    settings: Mapping[int, Mapping[str, str]]
    configured: Mapping[str, Configured | str]
    pending: tuple[str, ...]
    strangers: Mapping[str, str]

    @cached_property
    def scene(self) -> Scene:
        """The same in the planner's words."""
        return Scene.of(self.wanted, self.world)

    @cached_property
    def slot(self) -> str:
        """The generation that serves: the one that most servers are of."""
        at = [member.server.address for member in self.world.members]

        def rank(slot: str) -> tuple[int, str]:
            return (-sum(address in self.wanted.slots[slot] for address in at), slot)

        return min(self.wanted.slots, key=rank)

    @property
    def own(self) -> Iterator[tuple[Member, Node]]:
        """Members that run on nodes of this cluster."""
        for member in self.world.members:
            if member.node is not None:
                yield member, member.node
