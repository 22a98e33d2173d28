"""What each value of a ``cluster.yaml`` may say alone and not beside another.

These rules read the file's plain values, not the models: a mistake in one section must not
hide a contradiction between two others. A value that is wrong by itself is left out here,
the models tell of it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TypeGuard, TypeVar, get_args

from onebaton.config import (
    DEFAULT_STATE,
    OnedConfig,
    RepositoryConfig,
    RolloutConfig,
    S3Config,
    SeedConfig,
    ZoneConfig,
)
from onebaton.fields import read_address, read_interface, read_subnet

T = TypeVar("T")

#: Where a value stands: keys, and positions in lists.
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two values that do not go together; ``location`` is of the one to look at first."""

    location: Location
    message: str


def contradictions(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """All of a file's contradictions.

    :param data: the file's values: mappings, sequences, texts, numbers.
    """
    yield from _generations(data)
    yield from _places(data)
    yield from _timeouts(data)
    yield from _outage(data)
    yield from _repository(data)
    yield from _encryption(data)
    yield from _clones(data)
    yield from _signatures(data)
    yield from _seed(data)
    yield from _aws_base(data)
    yield from _aws_subnets(data)
    yield from _aws_address(data)
    yield from _aws_clones(data)


def _generations(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Both generations are there, each large enough for the zone."""
    size = _value(data, ("zone", "size"), _size, ZoneConfig.model_fields["size"].default)
    generations = _at(data, ("network", "generations"))
    if not isinstance(generations, Mapping):
        return
    for name in ("a", "b"):
        location = ("network", "generations", name)
        addresses = generations.get(name)
        if addresses is None:
            yield Contradiction(
                location, "is missing: while generation a serves, b is free for the next nodes"
            )
        elif _is_list(addresses) and size is not None and len(addresses) < size:
            yield Contradiction(
                location, f"has {len(addresses)} addresses, and zone.size takes {size}"
            )


def _places(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Every address is of the subnet, free for a node, and given once."""
    subnet = _value(data, ("network", "subnet"), read_subnet, None)
    vip_location: Location = ("zone", "vip", "address")
    vip = _value(data, vip_location, read_interface, None)
    taken: dict[IPv4Address, str] = {}
    if vip is not None:
        if not _has_elastic_ip(data):  # which is no address of the nodes' own network
            yield from _place(vip_location, vip.ip, subnet)
        taken[vip.ip] = "the zone's virtual IP (zone.vip.address)"
    generations = _at(data, ("network", "generations"))
    for name, addresses in generations.items() if isinstance(generations, Mapping) else ():
        for number, text in enumerate(addresses if _is_list(addresses) else ()):
            location = ("network", "generations", name, number)
            address = _value(data, location, read_address, None)
            if address is None:
                continue
            yield from _place(location, address, subnet)
            if address in taken:
                yield Contradiction(location, f"{text} is already {taken[address]}")
            else:
                taken[address] = f"an address of generation {name}"


def _place(
    location: Location, address: IPv4Address, subnet: IPv4Network | None
) -> Iterator[Contradiction]:
    if subnet is None:
        return
    if address not in subnet:
        yield Contradiction(location, f"{address} is outside the subnet {subnet}")
    elif address == subnet.network_address:
        yield Contradiction(location, f"{address} is the address of the subnet itself")
    elif address == subnet.broadcast_address:
        yield Contradiction(location, f"{address} is the broadcast address of {subnet}")
    elif address == subnet.network_address + 1:
        yield Contradiction(location, f"{address}, the first of {subnet}, is its gateway")


def _timeouts(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """The steered node wins every election, and starts none against a healthy leader.

    500 ms beside a broadcast timeout of 500 ms broke a zone for seconds (measured note).
    """
    keys = (
        ("rollout", "steered_election_timeout_ms"),
        ("oned", "broadcast_timeout_ms"),
        ("oned", "election_timeout_ms"),
    )
    oned = OnedConfig()
    steered = _value(data, keys[0], _whole, RolloutConfig().steered_election_timeout_ms)
    broadcast = _value(data, keys[1], _whole, oned.broadcast_timeout_ms)
    election = _value(data, keys[2], _whole, oned.election_timeout_ms)
    if steered is not None and broadcast is not None and steered < 2 * broadcast:
        yield Contradiction(
            _first_given(data, keys[0], keys[1]),
            f"the steered timeout {steered} is less than twice oned.broadcast_timeout_ms "
            f"({broadcast}): the node would start elections against a healthy leader",
        )
    if steered is not None and election is not None and steered >= election:
        yield Contradiction(
            _first_given(data, keys[0], keys[2]),
            f"the steered timeout {steered} is not below oned.election_timeout_ms "
            f"({election}): the node would not be the first to stand for election",
        )


def _outage(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """The shortest cut-over takes longer than the one election that ends it."""
    keys = (("rollout", "max_outage_s"), ("rollout", "steered_election_timeout_ms"))
    allowed = _value(data, keys[0], _number, None)
    steered = _value(data, keys[1], _whole, RolloutConfig().steered_election_timeout_ms)
    if allowed is not None and steered is not None and allowed * 1000 <= steered:
        yield Contradiction(
            keys[0],
            f"no cut-over ends within {allowed:g} s: the steered timeout alone, after which the "
            f"new node stands for election, is {steered} ms",
        )


def _repository(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Packages from the web are signed, and a suite that is not flat has components."""
    location: Location = ("image", "repository")
    repository = _at(data, location)
    if not isinstance(repository, Mapping):
        return
    url = repository.get("url")
    on_the_web = isinstance(url, str) and url.startswith(("http://", "https://"))
    if on_the_web and repository.get("key") is None:
        yield Contradiction(
            (*location, "key"), "is missing: only a local folder may go without a public key"
        )
    suite = repository.get("suite", RepositoryConfig.model_fields["suite"].default)
    if isinstance(suite, str) and not suite.endswith("/") and not repository.get("components"):
        yield Contradiction(
            (*location, "components"),
            f"is missing: the suite {suite} has components (a flat repository's suite is ./)",
        )


def _encryption(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """A key is for the one way of encryption that takes one."""
    chosen = _at(data, ("s3", "encryption")) or S3Config().encryption
    if _at(data, ("s3", "kms_key_id")) is not None and chosen != "aws:kms":
        yield Contradiction(
            ("s3", "kms_key_id"), f"is for s3.encryption aws:kms; chosen is {chosen}"
        )


#: Addresses of a subnet that no node has: its own, the gateway, the virtual IP, the broadcast.
_NOT_FOR_NODES = 4
#: AWS keeps two more.
_AWS_KEEPS_MORE = 2


def _clones(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Each clone's subnet is apart from production's and holds two generations of a clone."""
    subnets = _at(data, ("clones", "subnets"))
    if not _is_list(subnets):
        return
    if _at(data, ("clone",)) is not None:
        yield Contradiction(("clones",), "stands in a clone's own file: a clone has no clones")
    size = _value(data, ("clones", "size"), _size, 1)
    known = {"network.subnet": _value(data, ("network", "subnet"), read_subnet, None)}
    for number in range(len(subnets)):
        location: Location = ("clones", "subnets", number)
        subnet = _value(data, location, read_subnet, None)
        if subnet is None:
            continue
        for name, other in known.items():
            if other is not None and subnet.overlaps(other):
                yield Contradiction(location, f"{subnet} overlaps {name} ({other})")
        known[f"clones.subnets[{number}]"] = subnet
        kept = _NOT_FOR_NODES + (_AWS_KEEPS_MORE if _is_aws(data) else 0)
        if size is not None and subnet.num_addresses < 2 * size + kept:
            yield Contradiction(
                location, f"{subnet} is too small for two generations of {size} nodes and a VIP"
            )


def _signatures(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """A signature is judged by somebody's key."""
    location: Location = ("plans", "require_signature")
    if _at(data, location) is True and not _at(data, ("plans", "public_keys")):
        yield Contradiction(location, "takes a key in plans.public_keys to tell a signature by")


def _aws_base(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """There is one place that says what an AMI is baked on."""
    if _is_aws(data) and _at(data, ("image", "base")) is not None:
        yield Contradiction(
            ("image", "base"), "is for other platforms: on aws it is platform.source_ami"
        )


def _aws_subnets(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Subnets are apart, and each node's address is in one of them and free there."""
    if not _is_aws(data):
        return
    whole = _value(data, ("network", "subnet"), read_subnet, None)
    subnets: list[IPv4Network] = []
    given = _at(data, ("platform", "subnets"))
    for number in range(len(given) if _is_list(given) else 0):
        location: Location = ("platform", "subnets", number, "cidr")
        subnet = _value(data, location, read_subnet, None)
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
    generations = _at(data, ("network", "generations"))
    for name, addresses in generations.items() if isinstance(generations, Mapping) else ():
        for number in range(len(addresses) if _is_list(addresses) else 0):
            yield from _aws_place(data, ("network", "generations", name, number), subnets)
    if not _has_elastic_ip(data):
        yield from _aws_vip(data, subnets)


def _aws_place(
    data: Mapping[str, object], location: Location, subnets: Sequence[IPv4Network]
) -> Iterator[Contradiction]:
    address = _value(data, location, read_address, None)
    if address is None:
        return
    subnet = next((subnet for subnet in subnets if address in subnet), None)
    if subnet is None:
        yield Contradiction(location, f"{address} is in none of platform.subnets")
    # The first four addresses and the last one of each subnet (Amazon VPC, Subnet CIDR blocks).
    elif address < subnet.network_address + 4 or address == subnet.broadcast_address:
        yield Contradiction(location, f"{address} of {subnet} is kept by AWS for itself")


def _aws_vip(data: Mapping[str, object], subnets: Sequence[IPv4Network]) -> Iterator[Contradiction]:
    """A private address moves within its subnet only."""
    location: Location = ("zone", "vip", "address")
    vip = _value(data, location, read_interface, None)
    if len(subnets) > 1:
        yield Contradiction(
            ("platform", "subnets"),
            "are several, and a private address cannot leave its own: take one subnet, or "
            "platform.address.via elastic-ip",
        )
    elif vip is not None and vip.ip not in subnets[0]:
        yield Contradiction(location, f"{vip.ip} is not in {subnets[0]}, the nodes' subnet")


def _aws_address(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """An Elastic IP is named whole, and only where it is used."""
    if not _is_aws(data):
        return
    location: Location = ("platform", "address", "allocation_id")
    allocation = _at(data, location)
    if not _has_elastic_ip(data):
        if allocation is not None:
            yield Contradiction(location, "is for platform.address.via elastic-ip")
        return
    if allocation is None:
        yield Contradiction(location, "is missing: elastic-ip moves the address allocated as this")
    vip = _value(data, ("zone", "vip", "address"), read_interface, None)
    if vip is not None and vip.network.prefixlen != vip.max_prefixlen:
        yield Contradiction(
            ("zone", "vip", "address"), f"is an Elastic IP: write it as {vip.ip}/32"
        )


def _aws_clones(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Clones have a place apart from the zone's, and no right to act on it."""
    given = _at(data, ("clones", "subnets"))
    if not _is_aws(data) or not _is_list(given):
        return
    location: Location = ("platform", "clones")
    place = _at(data, location)
    if not isinstance(place, Mapping):
        yield Contradiction(location, "is missing: clones are in a VPC of their own")
        return
    vpc, profile = place.get("vpc_id"), place.get("instance_profile")
    # With `fence: own` somebody else keeps them apart.
    if _at(data, ("clones", "fence")) != "own" and vpc == _at(data, ("platform", "vpc_id")):
        yield Contradiction(
            (*location, "vpc_id"), "is the zone's own VPC, where everything has a way to it"
        )
    if profile is not None and profile == _at(data, ("platform", "instance_profile")):
        yield Contradiction(
            (*location, "instance_profile"), "is the zone's own, which may move the zone's address"
        )
    described = _networks(data, (*location, "subnets"), "cidr")
    if None not in described.values():
        for at, subnet in _networks(data, ("clones", "subnets")).items():
            if subnet is not None and subnet not in described.values():
                yield Contradiction(at, f"{subnet} is none of platform.clones.subnets")
    apart = {
        "network.subnet": _value(data, ("network", "subnet"), read_subnet, None),
        **{
            f"platform.access.hypervisors[{at[-1]}]": subnet
            for at, subnet in _networks(data, ("platform", "access", "hypervisors")).items()
        },
    }
    for at, reached in _networks(data, (*location, "endpoints")).items():
        for name, other in apart.items():
            if reached is not None and other is not None and reached.overlaps(other):
                yield Contradiction(at, f"{reached} overlaps {name} ({other})")


def _networks(
    data: Mapping[str, object], location: Location, *keys: str
) -> dict[Location, IPv4Network | None]:
    """Ranges in a list, by their places; ``None`` is one that cannot be read."""
    given = _at(data, location)
    places = [(*location, n, *keys) for n in range(len(given) if _is_list(given) else 0)]
    return {place: _value(data, place, read_subnet, None) for place in places}


def _is_aws(data: Mapping[str, object]) -> bool:
    return _at(data, ("platform", "kind")) == "aws"


def _has_elastic_ip(data: Mapping[str, object]) -> bool:
    return _is_aws(data) and _at(data, ("platform", "address", "via")) == "elastic-ip"


def _seed(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Seeds through S3 have a bucket, and no others have one."""
    via = _at(data, ("seed", "via")) or SeedConfig().via
    bucket = _at(data, ("seed", "bucket"))
    state = _at(data, ("state",)) or DEFAULT_STATE
    if via == "s3" and bucket is None and isinstance(state, str) and "://" not in state:
        yield Contradiction(
            ("seed", "via"), "seeds through S3 need seed.bucket, or a `state` in s3://"
        )
    if via == "ssh" and bucket is not None:
        yield Contradiction(("seed", "bucket"), "is for seed.via s3; chosen is ssh")


def _at(data: object, location: Location) -> object:
    """The value at a place, ``None`` if there is none."""
    for part in location:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif _is_list(data) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def _value(
    data: Mapping[str, object], location: Location, read: Callable[[object], T], default: T | None
) -> T | None:
    """The value as its field reads it: the default if there is none, ``None`` if it is wrong."""
    value = _at(data, location)
    if value is None:
        return default
    try:
        return read(value)
    except ValueError:
        return None


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reports ValueError
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise ValueError("must be a number of seconds")
    return value


def _size(value: object) -> int:
    size = _whole(value)
    if size not in get_args(ZoneConfig.model_fields["size"].annotation):
        raise ValueError("is no size of a zone")
    return size


def _first_given(data: Mapping[str, object], *locations: Location) -> Location:
    """The first place that the file speaks of; the other values are defaults."""
    return next((place for place in locations if _at(data, place) is not None), locations[0])


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)
