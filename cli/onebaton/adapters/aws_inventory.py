"""What is recorded, what is there on AWS, and what lies between: no I/O.

The tags say what a machine is. A node's network interface carries them too and outlives the
machine, so that a node whose machine is gone is seen without any record.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from onebaton.adapters.nodechanges import NodeChanges
from onebaton.adapters.terraform import Change, Resource
from onebaton.errors import RefusedError
from onebaton.model import Node, NodeSpec, NodeState

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeDef, NetworkInterfaceTypeDef, TagTypeDef

TAG = "onebaton:"
CLUSTER = f"{TAG}cluster"
NODE = f"{TAG}node"
TRIAL = f"{TAG}trial"

MACHINES = 'aws_instance.node["'
INTERFACES = 'aws_network_interface.node["'
_PARTS = (MACHINES, INTERFACES, 'terraform_data.specification["', 'terraform_data.place["')


class Phase(Enum):
    """A machine's life, in the words of EC2."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SHUTTING_DOWN = "shutting-down"
    TERMINATED = "terminated"

    @property
    def lives(self) -> bool:
        """It can still be used."""
        return self not in (Phase.SHUTTING_DOWN, Phase.TERMINATED)


@dataclass(frozen=True, slots=True)
class Machine:
    """An EC2 instance with this cluster's tags.

    :param launched_at: seconds since the epoch.
    """

    id: str
    phase: Phase
    spec: NodeSpec
    subnet: str
    launched_at: float

    @property
    def state(self) -> NodeState:
        """As a node's state."""
        running = self.phase in (Phase.PENDING, Phase.RUNNING)
        return NodeState.RUNNING if running else NodeState.STOPPED


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface with this cluster's tags.

    :param machine: id of the instance that it is attached to; empty if there is none.
    """

    id: str
    spec: NodeSpec
    subnet: str
    machine: str


@dataclass(frozen=True, slots=True)
class Record:
    """A resource in Terraform's state.

    :param sound: its creation came to its end.
    """

    id: str
    sound: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """What there is, and what is recorded.

    :param machines: that live, by node name.
    :param interfaces: by node name.
    :param last: id of the machine that was terminated last, by node name.
    :param ending: ids of machines that are being terminated, by node name.
    :param recorded: by Terraform's address.
    """

    machines: Mapping[str, Machine]
    interfaces: Mapping[str, Interface]
    last: Mapping[str, str]
    ending: Mapping[str, str]
    recorded: Mapping[str, Record]

    def nodes(self) -> tuple[Node, ...]:
        """The cluster's nodes as they are, ordered by name."""
        found = []
        for name in sorted({*self.machines, *self.interfaces}):
            machine = self.machines.get(name)
            if machine is not None:
                found.append(Node(machine.spec, machine.state, machine.id))
            else:
                spec = self.interfaces[name].spec
                found.append(Node(spec, NodeState.VANISHED, self.last.get(name, "")))
        return tuple(found)

    def is_recorded(self, address: str, identity: str) -> bool:
        """Terraform knows this very thing under the address."""
        return self.recorded.get(address) == Record(identity, sound=True)


@dataclass(frozen=True, slots=True)
class Difference(NodeChanges):
    """What must be done to hold exactly the wanted nodes.

    What is adopted is recorded first, as it is; then all else is done.

    :param gone: names of nodes without a living machine: there is none to delete.
    :param forget: Terraform's addresses under which something else is recorded than is there.
    :param leftovers: ids of interfaces without a machine that are not recorded, by node name.
    """

    gone: frozenset[str] = frozenset()
    forget: tuple[str, ...] = ()
    leftovers: Mapping[str, str] = field(default_factory=dict)

    def expected(self) -> dict[str, frozenset[str]]:
        """Terraform's actions on the machines of nodes, once the adopted ones are recorded."""
        return {
            **{spec.name: frozenset({"create"}) for spec in self.create},
            **{
                name: frozenset({"create"} if name in self.gone else {"delete", "create"})
                for name in self.replace
            },
            **{name: frozenset({"delete"}) for name in self.destroy if name not in self.gone},
        }


def difference(
    inventory: Inventory, wanted: Sequence[NodeSpec], subnets: Mapping[str, str]
) -> Difference:
    """What lies between what is there and ``wanted``.

    A living machine of exactly the wanted kind is never destroyed because its record was lost:
    it may be a zone's leader.

    :param subnets: id of the subnet of each wanted node, by its address.
    """
    create: list[NodeSpec] = []
    replace: dict[str, str] = {}
    for spec in sorted(wanted, key=lambda spec: spec.name):
        machine = inventory.machines.get(spec.name)
        if machine is not None:
            if machine.spec != spec:
                replace[spec.name] = "its specification changed"
            elif machine.subnet != subnets[spec.address]:
                replace[spec.name] = "its subnet changed"
        elif spec.name in inventory.interfaces or machine_address(spec.name) in inventory.recorded:
            replace[spec.name] = "it vanished"
        else:
            create.append(spec)
    adopt, forget = _unrecorded(inventory)
    names = {*inventory.machines, *inventory.interfaces, *_names(inventory.recorded)}
    return Difference(
        create=tuple(create),
        replace=replace,
        adopt=adopt,
        destroy=tuple(sorted(names - {spec.name for spec in wanted})),
        gone=frozenset(names - set(inventory.machines)),
        forget=forget,
        leftovers={
            name: interface.id
            for name, interface in sorted(inventory.interfaces.items())
            if name not in inventory.machines
            and not inventory.is_recorded(interface_address(name), interface.id)
        },
    )


def _unrecorded(inventory: Inventory) -> tuple[dict[str, str], tuple[str, ...]]:
    """Living machines that Terraform does not know, and what it records in their place."""
    adopt: dict[str, str] = {}
    forget: list[str] = []
    for name, machine in sorted(inventory.machines.items()):
        things = {machine_address(name): machine.id}
        if name in inventory.interfaces:
            things[interface_address(name)] = inventory.interfaces[name].id
        unknown = [at for at, identity in things.items() if not inventory.is_recorded(at, identity)]
        if unknown:
            adopt[name] = machine.id
            forget += [address for address in unknown if address in inventory.recorded]
    return adopt, tuple(forget)


def imports_of(inventory: Inventory, names: Iterable[str]) -> dict[str, str]:
    """Ids by Terraform's address of what these nodes have and Terraform does not know."""
    things: dict[str, str] = {}
    for name in names:
        things[machine_address(name)] = inventory.machines[name].id
        if name in inventory.interfaces:
            things[interface_address(name)] = inventory.interfaces[name].id
    return {
        address: identity
        for address, identity in things.items()
        if not inventory.is_recorded(address, identity)
    }


def records_of_the_dead(inventory: Inventory) -> tuple[str, ...]:
    """Terraform's addresses of nodes without a living machine, of all that belongs to them."""
    return tuple(
        address
        for address in sorted(inventory.recorded)
        if address.startswith(_PARTS) and _name_in(address) not in inventory.machines
    )


def planned(changes: Iterable[Change], todo: Difference) -> dict[str, frozenset[str]]:
    """A saved plan's actions on machines, by name, in the words of :meth:`Difference.expected`.

    An interface that would be taken from a node that is to stay is told of as well.
    """
    found: dict[str, frozenset[str]] = {}
    for change in changes:
        if change.address.startswith(MACHINES):
            found[_name_in(change.address)] = frozenset(change.actions)
    for change in changes:
        name = _name_in(change.address)
        going = name in todo.replace or name in todo.destroy
        if change.address.startswith(INTERFACES) and "delete" in change.actions and not going:
            found[name] = frozenset({*found.get(name, ()), "delete its interface"})
    return found


def require_taken_over_only(changes: Iterable[Change]) -> None:
    """A saved plan records what is there, and makes and destroys no part of a node.

    :raises RefusedError: if it does.
    """
    wrong = [
        f"{change.address}: {' and '.join(change.actions)}"
        for change in changes
        if "delete" in change.actions
        or ("create" in change.actions and change.address.startswith((MACHINES, INTERFACES)))
    ]
    if wrong:
        raise RefusedError(
            "Terraform would change nodes that it should only take over",
            details=wrong,
            resolution="Nothing was changed. Restore Terraform's state from a copy; if it stays "
            "so, this is a bug.",
        )


def machine_address(name: str) -> str:
    """A node's machine in the Terraform module."""
    return f'{MACHINES}{name}"]'


def interface_address(name: str) -> str:
    """A node's network interface in the Terraform module."""
    return f'{INTERFACES}{name}"]'


def take_inventory(
    instances: Iterable["InstanceTypeDef"],
    interfaces: Iterable["NetworkInterfaceTypeDef"],
    resources: Iterable[Resource] = (),
) -> Inventory:
    """Join what EC2 shows with Terraform's state.

    :param instances: with this cluster's tags, terminated ones among them.
    :param interfaces: with this cluster's tags.
    :raises RefusedError: if two machines say that they are the same node.
    """
    living: dict[str, Machine] = {}
    last: dict[str, Machine] = {}
    for machine in sorted(map(_machine, instances), key=lambda machine: machine.launched_at):
        name = machine.spec.name
        if not machine.phase.lives:
            last[name] = machine
        elif name in living:
            raise RefusedError(
                f"two machines carry the tags of the node {name}",
                details=[f"{one.id} at {one.spec.address}" for one in (living[name], machine)],
                resolution="See which one is in the zone, and terminate the other.",
            )
        else:
            living[name] = machine
    ids = {machine.id for machine in living.values()}
    found = sorted(map(_interface, interfaces), key=lambda one: (one.machine not in ids, one.id))
    return Inventory(
        machines=living,
        interfaces={one.spec.name: one for one in reversed(found)},
        last={name: machine.id for name, machine in last.items()},
        ending={
            name: machine.id
            for name, machine in last.items()
            if machine.phase is Phase.SHUTTING_DOWN
        },
        recorded={
            resource.address: Record(str(resource.values.get("id")), not resource.tainted)
            for resource in resources
        },
    )


def _machine(item: "InstanceTypeDef") -> Machine:
    return Machine(
        id=item["InstanceId"],
        phase=Phase(item["State"]["Name"]),
        spec=_spec(item.get("Tags", [])),
        subnet=item.get("SubnetId", ""),
        launched_at=item["LaunchTime"].timestamp(),
    )


def _interface(item: "NetworkInterfaceTypeDef") -> Interface:
    return Interface(
        id=item["NetworkInterfaceId"],
        spec=_spec(item.get("TagSet", [])),
        subnet=item.get("SubnetId", ""),
        machine=item.get("Attachment", {}).get("InstanceId", ""),
    )


def _spec(tags: Sequence["TagTypeDef"]) -> NodeSpec:
    """What it was made from, by its tags."""
    said = {tag["Key"]: tag["Value"] for tag in tags}
    return NodeSpec(
        name=said.get(NODE, ""),
        address=said.get(f"{TAG}address", ""),
        image=said.get(f"{TAG}image", ""),
        image_digest=said.get(f"{TAG}image-digest", ""),
        generation=said.get(f"{TAG}generation", ""),
    )


def _names(addresses: Iterable[str]) -> set[str]:
    """Nodes that Terraform records something of."""
    return {_name_in(address) for address in addresses if address.startswith(_PARTS)}


def _name_in(address: str) -> str:
    return address.partition('["')[2].removesuffix('"]')
