"""What lies between the nodes that are there and the wanted ones, on any platform: no I/O."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from onebaton.errors import ConfigError, RefusedError, StepFailedError
from onebaton.model import NodeSpec, NodeState


@dataclass(frozen=True, slots=True)
class NodeChanges:
    """What must be done to hold exactly the wanted nodes; names in each part, sorted.

    :param replace: why, by name.
    :param adopt: ids of living machines that were never recorded, by name.
    :param destroy: recorded nodes that are not wanted.
    """

    create: tuple[NodeSpec, ...] = ()
    replace: Mapping[str, str] = field(default_factory=dict)
    adopt: Mapping[str, str] = field(default_factory=dict)
    destroy: tuple[str, ...] = ()

    @property
    def made(self) -> frozenset[str]:
        """Names of nodes that get a new machine."""
        return frozenset((*(spec.name for spec in self.create), *self.replace))

    def lines(self) -> tuple[str, ...]:
        """For people, a line each; empty if there is nothing to do."""
        return (
            *(f"take over node {name}: it lives, but was not recorded" for name in self.adopt),
            *(f"replace node {name}: {why}" for name, why in self.replace.items()),
            *(f"create node {spec.name} ({spec.address}, {spec.image})" for spec in self.create),
            *(f"destroy node {name}" for name in self.destroy),
        )

    def expected(self) -> dict[str, frozenset[str]]:
        """Terraform's actions on node names, with ``import`` for what is only recorded."""
        return {
            **{spec.name: frozenset({"create"}) for spec in self.create},
            **{name: frozenset({"delete", "create"}) for name in self.replace},
            **{name: frozenset({"import"}) for name in self.adopt},
            **{name: frozenset({"delete"}) for name in self.destroy},
        }


def require_apart(wanted: Sequence[NodeSpec], places: Mapping[str, str]) -> None:
    """Each node can have its address, and no other node has it.

    :param places: what is wrong with an address by itself, in words.
    :raises ConfigError: naming every address that cannot be.
    """
    holders: dict[IPv4Address, str] = {}
    problems = []
    for spec in wanted:
        address = IPv4Address(spec.address)
        if spec.address in places:
            problems.append(f"{spec.name}: {address} {places[spec.address]}")
        if address in holders:
            problems.append(f"{spec.name}: {address} is {holders[address]}'s already")
        holders[address] = spec.name
    if problems:
        raise ConfigError(
            "nodes cannot have these addresses",
            details=problems,
            resolution="Correct network.generations in the configuration.",
        )


def require_as_announced(
    planned: Mapping[str, frozenset[str]], announced: Mapping[str, frozenset[str]]
) -> None:
    """The saved plan does to nodes what was announced, and nothing else.

    :raises RefusedError: if it does.
    """
    if planned != announced:
        raise RefusedError(
            "Terraform would do something else to the nodes than was announced",
            details=[
                f"{name}: announced {_words(announced.get(name))}, "
                f"planned {_words(planned.get(name))}"
                for name in sorted({*planned, *announced})
                if planned.get(name) != announced.get(name)
            ],
            resolution="Nothing was changed. Make a new plan; if it stays so, this is a bug.",
        )


def require_as_wanted(
    found: Mapping[NodeSpec, NodeState], wanted: Sequence[NodeSpec], made: Collection[str]
) -> None:
    """After a change the nodes are the wanted ones, and new machines run.

    :raises StepFailedError: naming every node that is not.
    """
    wrong = [
        *(f"{spec.name} is missing" for spec in wanted if spec not in found),
        *(f"{spec.name} is still there" for spec in found if spec not in set(wanted)),
        *(
            f"{spec.name} ended right after its start"
            for spec, state in found.items()
            if spec.name in made and state is not NodeState.RUNNING
        ),
    ]
    if wrong:
        raise StepFailedError(
            "the nodes are not as they were asked for",
            details=wrong,
            resolution="Run the same command again: it goes on from what is there.",
        )


def _words(actions: frozenset[str] | None) -> str:
    return " and ".join(sorted(actions)) if actions else "nothing"
