"""What a plan is made of: actions, each with its reason and its quorum.

Actions say *what*; the steps know *how*. An action names nodes and servers by what is known
before it runs: a server's id is given by the leader, so no action carries the id of a server
that has yet to join. Two actions are equal if they change the same thing in the same way;
where data is copied from does not count.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from onebaton.model import NodeSpec, Server
from onebaton.plan.quorum import Quorum

#: How a schema change is carried out.
CutWay = Literal["stand-by", "plain"]


@dataclass(frozen=True, slots=True)
class Provision:
    """Make these nodes exist, booted and answering over ssh; others stay as they are.

    A node that vanished or was stopped is replaced; none of ``nodes`` holds anything to lose.
    """

    nodes: tuple[NodeSpec, ...]

    @property
    def id(self) -> str:
        """``provision:z-b1,z-b2``."""
        return "provision:" + ",".join(spec.name for spec in self.nodes)


@dataclass(frozen=True, slots=True)
class Found:
    """Start a zone's first server: solo, then listed as server 0, then leading.

    May find any of its parts done already; a database that is there is kept.
    """

    node: str
    server_endpoint: str

    @property
    def id(self) -> str:
        """``found:z-a1``."""
        return f"found:{self.node}"


@dataclass(frozen=True, slots=True)
class Seed:
    """Give the targets the source's database and secrets, all of them in parallel.

    ``oned`` runs on none of the targets.

    :param source: name of the machine dumped from: a caught-up follower, the leader only of a
        zone that has no other server.
    """

    source: str = field(compare=False)
    targets: tuple[str, ...]

    @property
    def id(self) -> str:
        """``seed:z-b1,z-b2``."""
        return "seed:" + ",".join(self.targets)


@dataclass(frozen=True, slots=True)
class Join:
    """Ship the log, add the server unless it is listed, start it, wait until it is caught up.

    :param server_endpoint: the endpoint to list it with.
    :param steered: give it the shorter election timeout, so that it wins the one election.
    :param source: name of the machine the log is shipped from.
    """

    node: str
    server_endpoint: str
    steered: bool
    source: str = field(compare=False)

    @property
    def id(self) -> str:
        """``join:z-b1``."""
        return f"join:{self.node}"


@dataclass(frozen=True, slots=True)
class Refresh:
    """Restart a follower, so that it learns of the members added after its last start.

    :param steered: give it the shorter election timeout on the way.
    """

    node: str
    steered: bool

    @property
    def id(self) -> str:
        """``refresh:z-b2``."""
        return f"refresh:{self.node}"


@dataclass(frozen=True, slots=True)
class Retire:
    """Take a server that does not lead out of the zone: stop and mask it, then delete it.

    In this order: a removed server that still runs keeps toppling the leader (measured note).
    """

    server: Server

    @property
    def id(self) -> str:
        """``retire:0:z-a1``: id and name of the server."""
        return f"retire:{self.server.id}:{self.server.name}"


@dataclass(frozen=True, slots=True)
class Fence:
    """Let the platform destroy a server's machine, see it gone, then delete the server.

    For a machine that cannot be asked to stop: only one that is gone stands for no election.
    It comes back only as a new one.

    :param node: name of its machine.
    """

    server: Server
    node: str

    @property
    def id(self) -> str:
        """``fence:1:z-b2``: id of the server, name of its machine."""
        return f"fence:{self.server.id}:{self.node}"


@dataclass(frozen=True, slots=True)
class HandOver:
    """Cut the leader off and let the chosen server win the election.

    The old leader is masked and stays listed; it is retired next. May find the leader cut off
    already and the election under way.

    :param to_server: name of the server, which is its node's name too.
    """

    from_server: Server
    to_server: str

    @property
    def id(self) -> str:
        """``hand-over:0:z-a1:z-b1``: id and name of the leader, name of its successor."""
        return f"hand-over:{self.from_server.id}:{self.from_server.name}:{self.to_server}"


@dataclass(frozen=True, slots=True)
class Park:
    """Take a server that does not lead out of service: noted, stopped and masked, still listed.

    It keeps its id, and stays a voter.
    """

    server: Server

    @property
    def id(self) -> str:
        """``park:1:z-a2``: id and name of the server."""
        return f"park:{self.server.id}:{self.server.name}"


@dataclass(frozen=True, slots=True)
class Unpark:
    """Bring a parked server level, start it under its id, prove it equal, forget the note.

    :param source: name of the machine the log is shipped from: a follower, if there is one.
    """

    server: Server
    source: str = field(compare=False)

    @property
    def id(self) -> str:
        """``unpark:1:z-a2``: id and name of the server."""
        return f"unpark:{self.server.id}:{self.server.name}"


@dataclass(frozen=True, slots=True)
class Swap:
    """Stop a server that does not lead; let a new machine take the place of its machine.

    It stays listed under its id, and is seeded and joined next. May find it stopped already.

    :param node: the new machine, of the old one's name and address.
    """

    server: Server
    node: NodeSpec

    @property
    def id(self) -> str:
        """``swap:1:z-a2``: id of the server, name of both machines."""
        return f"swap:{self.server.id}:{self.node.name}"


@dataclass(frozen=True, slots=True)
class Restore:
    """Write the usual election timeout into the configuration, without a restart.

    What a cut-over that was broken off left beside the database goes too.
    A leader has read the zone's servers anew when it was elected: if the node leads, its record
    of the servers it knows is brought up to date as well.
    """

    node: str

    @property
    def id(self) -> str:
        """``restore:z-b1``."""
        return f"restore:{self.node}"


@dataclass(frozen=True, slots=True)
class Destroy:
    """Destroy nodes that are not in the zone (any more)."""

    names: tuple[str, ...]

    @property
    def id(self) -> str:
        """``destroy:z-a1,z-a2``."""
        return "destroy:" + ",".join(self.names)


@dataclass(frozen=True, slots=True)
class Prepare:
    """Migrate copies of the zone ahead, on all targets in parallel, and let them follow.

    :param source: name of the machine whose log is shipped: a follower.
    """

    source: str = field(compare=False)
    targets: tuple[str, ...]

    @property
    def id(self) -> str:
        """``prepare:z-b1,z-b2``."""
        return "prepare:" + ",".join(self.targets)


@dataclass(frozen=True, slots=True)
class Hold:
    """Start the next release on its migrated copy, unable to win an election.

    :param source: name of the machine whose log is shipped.
    """

    node: str
    source: str = field(compare=False)

    @property
    def id(self) -> str:
        """``hold:z-b1``."""
        return f"hold:{self.node}"


@dataclass(frozen=True, slots=True)
class CutOver:
    """Stop the old generation for good, bring the last records over, and let the new one lead.

    The new zone has one server then; the other new nodes join it next. May find the cut begun.

    :param way: ``stand-by``: the node's ``oned`` is held already; ``plain``: its database is
        migrated while nobody serves.
    :param others: new nodes whose copies are migrated ahead too and are completed afterwards.
    """

    node: str
    way: CutWay
    others: tuple[str, ...] = field(compare=False, default=())

    @property
    def id(self) -> str:
        """``cut-over:z-b1``."""
        return f"cut-over:{self.node}"


@dataclass(frozen=True, slots=True)
class Reinstate:
    """Take a cut-over back: the new servers stop for good, the old generation serves again.

    What was written since the cut is lost.

    :param stop: names of the new machines.
    """

    stop: tuple[str, ...]
    servers: tuple[Server, ...]

    @property
    def id(self) -> str:
        """``reinstate:0,1,2``: ids of the old servers."""
        return "reinstate:" + ",".join(str(server.id) for server in self.servers)


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Make a cut-over final: the old generation will not be brought back.

    Its nodes are destroyed next; machines of somebody else stay as they are, stopped and masked.
    """

    servers: tuple[Server, ...]

    @property
    def id(self) -> str:
        """``give-up:0,1,2``: ids of the old servers."""
        return "give-up:" + ",".join(str(server.id) for server in self.servers)


Action = (
    Provision
    | Found
    | Seed
    | Join
    | Refresh
    | Retire
    | Fence
    | HandOver
    | Park
    | Unpark
    | Swap
    | Restore
    | Destroy
    | Prepare
    | Hold
    | CutOver
    | Reinstate
    | GiveUp
)


@dataclass(frozen=True, slots=True)
class Transition:
    """One action with its reason and the zone in numbers around it.

    :param why: the reason, in words.
    :param before: the quorum when it begins.
    :param during: at the worst moment on its way.
    :param after: when it is done.
    """

    action: Action
    why: str
    before: Quorum
    during: Quorum
    after: Quorum


@dataclass(frozen=True, slots=True)
class Plan:
    """Transitions in the order in which they are carried out; empty if nothing is to be done."""

    transitions: tuple[Transition, ...] = ()

    @property
    def actions(self) -> tuple[Action, ...]:
        """The actions alone."""
        return tuple(transition.action for transition in self.transitions)

    def rest_of(self, previous: "Plan") -> bool:
        """This is what remains of ``previous`` after its first action, whatever the wording.

        Right after a cut-over, seeds do not count: a copy that could not be completed then is
        seeded anew, and endangers nobody.
        """
        left = previous.actions[1:]
        if previous.actions and isinstance(previous.actions[0], CutOver):
            return _without_seeds(self.actions) == _without_seeds(left)
        return self.actions == left

    def __iter__(self) -> Iterator[Transition]:
        return iter(self.transitions)

    def __len__(self) -> int:
        return len(self.transitions)


def _without_seeds(actions: tuple[Action, ...]) -> tuple[Action, ...]:
    return tuple(action for action in actions if not isinstance(action, Seed))
