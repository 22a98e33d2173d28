"""What could stand in the way of nodes on this machine, looked at before anything is changed."""

from collections.abc import Collection, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network

from onebaton.adapters.nodechanges import require_apart
from onebaton.adapters.podman_inventory import Container, Inventory, PodmanNetwork
from onebaton.errors import RefusedError
from onebaton.model import NodeSpec


def check_addresses(wanted: Sequence[NodeSpec], subnet: IPv4Network) -> None:
    """Whether nodes can have their addresses.

    :raises ConfigError: naming every address that cannot be.
    """
    reserved = {
        subnet.network_address: "is the subnet's own address",
        subnet.network_address + 1: "is the gateway, which this machine holds",
        subnet.broadcast_address: "is the subnet's broadcast address",
    }
    wrong = {}
    for spec in wanted:
        address = IPv4Address(spec.address)
        if address not in subnet:
            wrong[spec.address] = f"is not in {subnet}"
        elif address in reserved:
            wrong[spec.address] = reserved[address]
    require_apart(wanted, wrong)


def check_network(
    inventory: Inventory,
    networks: Sequence[PodmanNetwork],
    routes: Sequence[tuple[str, IPv4Network]],
    *,
    name: str,
    subnet: IPv4Network,
    fenced: bool = False,
) -> None:
    """Whether the cluster can have its network.

    :param networks: all of this machine.
    :param routes: this machine's interfaces and where they lead.
    :param fenced: it must have no way out.
    :raises RefusedError: if name or subnet are in use, or the network there is not fenced.
    """
    for network in networks:
        if network is inventory.network:
            if fenced and not network.internal:
                raise RefusedError(
                    f"this cluster's network {name} has a way out, and must not have one",
                    resolution="Something else made it: remove it (podman network rm --force "
                    f"{name}), then run the same command again.",
                )
            if network.subnets != (subnet,) and inventory.nodes():
                raise RefusedError(
                    f"this cluster's network {name} has another subnet than configured",
                    details=[f"it has {_list(network.subnets)}", f"network.subnet is {subnet}"],
                    resolution="Change network.subnet back; another subnet needs another zone.",
                )
        elif network.name == name:
            raise RefusedError(
                f"a podman network named {name} exists and is not of this cluster",
                resolution=f"Remove it (podman network rm {name}) or name the zone otherwise.",
            )
        elif any(other.overlaps(subnet) for other in network.subnets):
            raise RefusedError(
                f"the subnet {subnet} is in use by the podman network {network.name}",
                details=[f"it has {_list(network.subnets)}"],
                resolution="Choose another network.subnet, or remove that network.",
            )
    bridges = {network.interface for network in networks}
    for interface, route in routes:
        if inventory.network is None and interface not in bridges and route.overlaps(subnet):
            raise RefusedError(
                f"the subnet {subnet} is in use by this machine's {interface}",
                details=[f"it has a route to {route}"],
                resolution="Choose another network.subnet.",
            )


def check_names(foreign: Sequence[Container], made: Collection[str]) -> None:
    """Whether nodes that are to be made can have their names.

    :param foreign: containers that are not the cluster's.
    :raises RefusedError: if one of them has such a name.
    """
    for container in foreign:
        if container.name in made:
            raise RefusedError(
                f"a container named {container.name} exists and is not of this cluster",
                details=[f"container {container.id[:12]} is {container.state}"],
                resolution="Rename or remove it, then run the same command again.",
            )


def check_no_guests(guests: Sequence[Container], network: str) -> None:
    """Whether the cluster's network can go.

    :raises RefusedError: if other containers are on it.
    """
    if guests:
        raise RefusedError(
            f"other containers use the network {network}",
            details=[f"{guest.name} is {guest.state}" for guest in guests],
            resolution="Take them off that network, then run the same command again.",
        )


def check_no_address_taken(taken: Mapping[str, str], wanted: Sequence[NodeSpec]) -> None:
    """Whether nodes can have their addresses on the network as it is.

    :param taken: names of other containers by their address.
    :raises RefusedError: if one of them holds a node's address.
    """
    for spec in wanted:
        if spec.address in taken:
            raise RefusedError(
                f"the address {spec.address} of node {spec.name} is in use",
                details=[f"container {taken[spec.address]} holds it"],
                resolution="Stop that container, then run the same command again.",
            )


def check_image(image: str, digest: str, present: Sequence[str]) -> None:
    """Whether an image is there with the content that was chosen.

    :param present: the identities of what the name stands for; empty if there is none.
    :raises RefusedError: if it is not.
    """
    if digest not in present:
        raise RefusedError(
            f"the image {image} has another content than the one that was chosen"
            if present
            else f"the image {image} is not on this machine",
            details=[f"wanted: {digest}", *(f"found: {found}" for found in present)],
            resolution="Bake it again, then make a new plan.",
        )


def _list(subnets: Sequence[IPv4Network]) -> str:
    return ", ".join(map(str, subnets))
