"""What does not go together on AWS."""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network

from onebaton.contradictions.reading import (
    Contradiction,
    Location,
    has_elastic_ip,
    is_aws,
    is_list,
    networks,
    read,
    value_at,
)
from onebaton.fields import read_address, read_interface, read_subnet


def on_aws(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """All contradictions of a file whose platform is AWS."""
    if is_aws(data):
        yield from _base(data)
        yield from _subnets(data)
        yield from _address(data)
        yield from _clones(data)


def _base(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """There is one place that says what an AMI is baked on."""
    if value_at(data, ("image", "base")) is not None:
        yield Contradiction(
            ("image", "base"), "is for other platforms: on aws it is platform.source_ami"
        )


def _subnets(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Subnets are apart, and each node's address is in one of them and free there."""
    whole = read(data, ("network", "subnet"), read_subnet, None)
    subnets: list[IPv4Network] = []
    given = value_at(data, ("platform", "subnets"))
    for number in range(len(given) if is_list(given) else 0):
        location: Location = ("platform", "subnets", number, "cidr")
        subnet = read(data, location, read_subnet, None)
        if subnet is None:
            return  # what lies in it is not known
        if whole is not None and not subnet.subnet_of(whole):
            yield Contradiction(location, f"{subnet} is outside network.subnet {whole}")
        for other in subnets:
            if subnet.overlaps(other):
                yield Contradiction(location, f"{subnet} overlaps with {other}")
        subnets.append(subnet)
    if not subnets:
        return
    generations = value_at(data, ("network", "generations"))
    for name, addresses in generations.items() if isinstance(generations, Mapping) else ():
        for number in range(len(addresses) if is_list(addresses) else 0):
            yield from _place(data, ("network", "generations", name, number), subnets)
    if not has_elastic_ip(data):
        yield from _vip(data, subnets)


def _place(
    data: Mapping[str, object], location: Location, subnets: Sequence[IPv4Network]
) -> Iterator[Contradiction]:
    address = read(data, location, read_address, None)
    if address is None:
        return
    subnet = next((subnet for subnet in subnets if address in subnet), None)
    if subnet is None:
        yield Contradiction(location, f"{address} is in none of platform.subnets")
    # The first four addresses and the last one of each subnet (Amazon VPC, Subnet CIDR blocks).
    elif address < subnet.network_address + 4 or address == subnet.broadcast_address:
        yield Contradiction(location, f"{address} of {subnet} is kept by AWS for itself")


def _vip(data: Mapping[str, object], subnets: Sequence[IPv4Network]) -> Iterator[Contradiction]:
    """A private address moves within its subnet only."""
    location: Location = ("zone", "vip", "address")
    vip = read(data, location, read_interface, None)
    if len(subnets) > 1:
        yield Contradiction(
            ("platform", "subnets"),
            "are several, and a private address cannot leave its own: take one subnet, or "
            "platform.address.via elastic-ip",
        )
    elif vip is not None and vip.ip not in subnets[0]:
        yield Contradiction(location, f"{vip.ip} is not in {subnets[0]}, the nodes' subnet")


def _address(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """An Elastic IP is named whole, and only where it is used."""
    location: Location = ("platform", "address", "allocation_id")
    allocation = value_at(data, location)
    if not has_elastic_ip(data):
        if allocation is not None:
            yield Contradiction(location, "is for platform.address.via elastic-ip")
        return
    if allocation is None:
        yield Contradiction(location, "is missing: elastic-ip moves the address allocated as this")
    vip = read(data, ("zone", "vip", "address"), read_interface, None)
    if vip is not None and vip.network.prefixlen != vip.max_prefixlen:
        yield Contradiction(
            ("zone", "vip", "address"), f"is an Elastic IP: write it as {vip.ip}/32"
        )


def _clones(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Clones have a place apart from the zone's, and no right to act on it."""
    given = value_at(data, ("clones", "subnets"))
    if not is_list(given):
        return
    location: Location = ("platform", "clones")
    place = value_at(data, location)
    if not isinstance(place, Mapping):
        yield Contradiction(location, "is missing: clones are in a VPC of their own")
        return
    vpc, profile = place.get("vpc_id"), place.get("instance_profile")
    kept_apart = value_at(data, ("clones", "fence")) == "own"  # by somebody else
    if not kept_apart and vpc == value_at(data, ("platform", "vpc_id")):
        yield Contradiction(
            (*location, "vpc_id"), "is the zone's own VPC, where everything has a way to it"
        )
    if profile is not None and profile == value_at(data, ("platform", "instance_profile")):
        yield Contradiction(
            (*location, "instance_profile"), "is the zone's own, which may move the zone's address"
        )
    described = networks(data, (*location, "subnets"), "cidr")
    if None not in described.values():
        for at, subnet in networks(data, ("clones", "subnets")).items():
            if subnet is not None and subnet not in described.values():
                yield Contradiction(at, f"{subnet} is none of platform.clones.subnets")
    apart = {
        "network.subnet": read(data, ("network", "subnet"), read_subnet, None),
        **{
            f"platform.access.hypervisors[{at[-1]}]": subnet
            for at, subnet in networks(data, ("platform", "access", "hypervisors")).items()
        },
    }
    for at, reached in networks(data, (*location, "endpoints")).items():
        for name, other in apart.items():
            if reached is not None and other is not None and reached.overlaps(other):
                yield Contradiction(at, f"{reached} overlaps {name} ({other})")
