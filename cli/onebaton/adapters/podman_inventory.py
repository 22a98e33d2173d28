"""What is recorded, what is there, and what lies between: no I/O.

Terraform's records and podman's containers are joined by the *instance*: an id that
Terraform gives to each creation and the container carries as a label. A name alone proves
nothing, because a container of somebody else may have taken it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from onebaton.adapters.nodechanges import NodeChanges
from onebaton.adapters.terraform import Change, Resource
from onebaton.model import Node, NodeSpec, NodeState

#: States in which podman has never started a container.
NEVER_STARTED = frozenset({"created", "configured", "initialized"})
LABEL = "onebaton."


@dataclass(frozen=True, slots=True)
class Container:
    """A container of this host (``podman ps --all --format json``)."""

    id: str
    name: str
    state: str
    labels: Mapping[str, str]
    networks: tuple[str, ...]

    @property
    def instance(self) -> str:
        """The creation it came from; empty if it is none of ours."""
        return self.labels.get(f"{LABEL}instance", "")

    @property
    def node_state(self) -> NodeState:
        """As a node's state."""
        return NodeState.RUNNING if self.state == "running" else NodeState.STOPPED

    @property
    def spec(self) -> NodeSpec:
        """What it was created from, by its labels."""
        return NodeSpec(
            name=self.labels.get(f"{LABEL}node", self.name),
            address=self.labels.get(f"{LABEL}address", ""),
            image=self.labels.get(f"{LABEL}image", ""),
            image_digest=self.labels.get(f"{LABEL}image-digest", ""),
            generation=self.labels.get(f"{LABEL}generation", ""),
        )


@dataclass(frozen=True, slots=True)
class PodmanNetwork:
    """A podman network (``podman network ls --format json``).

    :param internal: it has no way out.
    """

    name: str
    interface: str
    subnets: tuple[IPv4Network, ...]
    labels: Mapping[str, str]
    internal: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A node in Terraform's state.

    :param sound: its creation came to its end.
    """

    spec: NodeSpec
    instance: str
    sound: bool


@dataclass(frozen=True, slots=True)
class Inventory:
    """What is recorded and what is there.

    :param records: by node name.
    :param containers: the cluster's own, by node name.
    :param broken: names whose record says nothing and can only be dropped.
    :param network_recorded: Terraform believes that it made the network.
    :param network: the cluster's network as it is.
    """

    records: Mapping[str, Record]
    containers: Mapping[str, Container]
    broken: frozenset[str] = frozenset()
    network_recorded: bool = False
    network: PodmanNetwork | None = None

    def nodes(self) -> tuple[Node, ...]:
        """The cluster's nodes as they are, ordered by name."""
        found = []
        for name in sorted({*self.records, *self.containers}):
            record, container = self.records.get(name), self.containers.get(name)
            if record is not None and not record.sound:
                found.append(Node(record.spec, NodeState.VANISHED, record.instance))
            elif container is not None:
                found.append(Node(container.spec, container.node_state, container.instance))
            elif record is not None:
                found.append(Node(record.spec, NodeState.VANISHED, record.instance))
        return tuple(found)

    def is_recorded(self, name: str) -> bool:
        """Record and container of this node are of the same creation."""
        record, container = self.records.get(name), self.containers.get(name)
        return (
            record is not None
            and container is not None
            and record.sound
            and (record.instance == container.instance)
        )


@dataclass(frozen=True, slots=True)
class Difference(NodeChanges):
    """What must be done to hold exactly the wanted nodes.

    :param remove: containers that are neither wanted nor recorded.
    :param forget: records that stand for nothing that is there.
    """

    remove: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    replace_network: bool = False
    remove_network: str | None = None

    def lines(self) -> tuple[str, ...]:
        """For people, a line each; empty if there is nothing to do."""
        return (
            *NodeChanges.lines(self),
            *(f"remove container {name}: left over, not recorded" for name in self.remove),
            *((f"remove network {self.remove_network}",) if self.remove_network else ()),
        )


def difference(inventory: Inventory, wanted: Sequence[NodeSpec]) -> Difference:
    """What lies between what is there and ``wanted``.

    A living container of exactly the wanted kind is never destroyed because its record was
    lost: it may be a zone's leader.
    """
    create: list[NodeSpec] = []
    replace: dict[str, str] = {}
    adopt: dict[str, str] = {}
    forget = set(inventory.broken)
    names = {spec.name for spec in wanted}
    for spec in sorted(wanted, key=lambda spec: spec.name):
        record, container = inventory.records.get(spec.name), inventory.containers.get(spec.name)
        if inventory.is_recorded(spec.name):
            if record is not None and record.spec != spec:
                replace[spec.name] = "its specification changed"
        elif (
            container is not None
            and container.spec == spec
            and container.state not in NEVER_STARTED
            and container.instance
            and (record is None or record.sound)
        ):
            adopt[spec.name] = container.instance
            if record is not None:
                forget.add(spec.name)
        elif record is None:
            create.append(spec)
        else:
            replace[spec.name] = "it vanished" if record.sound else "its creation had failed"
    unwanted = {*inventory.records, *inventory.containers} - names
    return Difference(
        create=tuple(create),
        replace=replace,
        adopt=adopt,
        destroy=tuple(sorted(name for name in unwanted if name in inventory.records)),
        remove=tuple(
            sorted(
                name
                for name in unwanted
                if name in inventory.containers and not inventory.is_recorded(name)
            )
        ),
        forget=tuple(sorted(forget)),
        replace_network=bool(wanted) and inventory.network_recorded and inventory.network is None,
        remove_network=None if wanted or inventory.network is None else inventory.network.name,
    )


def planned(changes: Iterable[Change]) -> dict[str, frozenset[str]]:
    """A saved plan's actions on nodes, by name, in the words of :meth:`Difference.expected`."""
    prefix, suffix = 'terraform_data.node["', '"]'
    return {
        change.address.removeprefix(prefix).removesuffix(suffix): (
            frozenset({"import"}) if change.importing else frozenset(change.actions)
        )
        for change in changes
        if change.address.startswith(prefix)
    }


def node_address(name: str) -> str:
    """A node's address in the Terraform module."""
    return f'terraform_data.node["{name}"]'


def take_inventory(
    resources: Iterable[Resource],
    containers: Iterable[Container],
    networks: Iterable[PodmanNetwork],
    *,
    cluster: str,
    network: str,
) -> Inventory:
    """Join Terraform's state with what podman shows."""
    records: dict[str, Record] = {}
    broken: set[str] = set()
    network_recorded = False
    for resource in resources:
        if resource.name == "network":
            network_recorded = not resource.tainted
        if resource.name != "node" or resource.key is None:
            continue
        given = resource.values.get("input")
        if not isinstance(given, Mapping):  # imported and never updated
            broken.add(resource.key)
            continue
        spec = NodeSpec(
            name=resource.key,
            address=given["address"],
            image=given["image"],
            image_digest=given["image_digest"],
            generation=given["generation"],
        )
        records[resource.key] = Record(spec, str(resource.values["id"]), not resource.tainted)
    return Inventory(
        records=records,
        containers={c.spec.name: c for c in containers if is_ours(c.labels, cluster)},
        broken=frozenset(broken),
        network_recorded=network_recorded,
        network=next(
            (n for n in networks if n.name == network and is_ours(n.labels, cluster)), None
        ),
    )


def is_ours(labels: Mapping[str, str], cluster: str) -> bool:
    """A container or network with these labels belongs to this cluster."""
    return labels.get(f"{LABEL}cluster") == cluster


def parse_containers(text: str) -> tuple[Container, ...]:
    """``podman ps --all --format json``."""
    return tuple(
        Container(
            id=item["Id"],
            name=item["Names"][0],
            state=item["State"],
            labels=item.get("Labels") or {},
            networks=tuple(item.get("Networks") or ()),
        )
        for item in json.loads(text or "[]") or ()
    )


def parse_networks(text: str) -> tuple[PodmanNetwork, ...]:
    """``podman network ls --format json``; IPv6 subnets are left out."""
    return tuple(
        PodmanNetwork(
            name=item["name"],
            interface=item.get("network_interface") or "",
            subnets=tuple(
                IPv4Network(subnet["subnet"])
                for subnet in item.get("subnets") or ()
                if ":" not in subnet["subnet"]
            ),
            labels=item.get("labels") or {},
            internal=bool(item.get("internal")),
        )
        for item in json.loads(text or "[]") or ()
    )


def parse_routes(text: str) -> tuple[tuple[str, IPv4Network], ...]:
    """Interfaces and destinations of ``/proc/net/route``, without default routes."""
    found = []
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) < 8 or int(words[7], 16) == 0:
            continue
        destination, mask = (
            IPv4Address(int(words[column], 16).to_bytes(4, "little")) for column in (1, 7)
        )
        found.append((words[0], IPv4Network(f"{destination}/{mask}")))
    return tuple(found)
