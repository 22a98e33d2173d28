"""What each value of a ``cluster.yaml`` may say alone and not beside another.

These rules read the file's plain values, not the models: a mistake in one section must not
hide a contradiction between two others. A value that is wrong by itself is left out here,
the models tell of it.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network

from onebaton.config import (
    DEFAULT_STATE,
    OnedConfig,
    RepositoryConfig,
    RolloutConfig,
    S3Config,
    SeedConfig,
    ZoneConfig,
)
from onebaton.contradictions.aws import on_aws
from onebaton.contradictions.reading import (
    Contradiction,
    Location,
    first_given,
    has_elastic_ip,
    is_aws,
    is_list,
    positive_number,
    read,
    value_at,
    whole_number,
    zone_size,
)
from onebaton.fields import read_address, read_interface, read_subnet

__all__ = ["Contradiction", "Location", "contradictions"]


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
    yield from on_aws(data)


def _generations(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Both generations are there, each large enough for the zone."""
    size = read(data, ("zone", "size"), zone_size, ZoneConfig.model_fields["size"].default)
    generations = value_at(data, ("network", "generations"))
    if not isinstance(generations, Mapping):
        return
    for name in ("a", "b"):
        location = ("network", "generations", name)
        addresses = generations.get(name)
        if addresses is None:
            yield Contradiction(
                location, "is missing: while generation a serves, b is free for the next nodes"
            )
        elif is_list(addresses) and size is not None and len(addresses) < size:
            yield Contradiction(
                location, f"has {len(addresses)} addresses, and zone.size takes {size}"
            )


def _places(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Every address is of the subnet, free for a node, and given once."""
    subnet = read(data, ("network", "subnet"), read_subnet, None)
    vip_location: Location = ("zone", "vip", "address")
    vip = read(data, vip_location, read_interface, None)
    taken: dict[IPv4Address, str] = {}
    if vip is not None:
        if not has_elastic_ip(data):  # which is no address of the nodes' own network
            yield from _place(vip_location, vip.ip, subnet)
        taken[vip.ip] = "the zone's virtual IP (zone.vip.address)"
    generations = value_at(data, ("network", "generations"))
    for name, addresses in generations.items() if isinstance(generations, Mapping) else ():
        for number, text in enumerate(addresses if is_list(addresses) else ()):
            location = ("network", "generations", name, number)
            address = read(data, location, read_address, None)
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
    steered = read(data, keys[0], whole_number, RolloutConfig().steered_election_timeout_ms)
    broadcast = read(data, keys[1], whole_number, oned.broadcast_timeout_ms)
    election = read(data, keys[2], whole_number, oned.election_timeout_ms)
    if steered is not None and broadcast is not None and steered < 2 * broadcast:
        yield Contradiction(
            first_given(data, keys[0], keys[1]),
            f"the steered timeout {steered} is less than twice oned.broadcast_timeout_ms "
            f"({broadcast}): the node would start elections against a healthy leader",
        )
    if steered is not None and election is not None and steered >= election:
        yield Contradiction(
            first_given(data, keys[0], keys[2]),
            f"the steered timeout {steered} is not below oned.election_timeout_ms "
            f"({election}): the node would not be the first to stand for election",
        )


def _outage(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """The shortest cut-over takes longer than the one election that ends it."""
    keys = (("rollout", "max_outage_s"), ("rollout", "steered_election_timeout_ms"))
    allowed = read(data, keys[0], positive_number, None)
    steered = read(data, keys[1], whole_number, RolloutConfig().steered_election_timeout_ms)
    if allowed is not None and steered is not None and allowed * 1000 <= steered:
        yield Contradiction(
            keys[0],
            f"no cut-over ends within {allowed:g} s: the steered timeout alone, after which the "
            f"new node stands for election, is {steered} ms",
        )


def _repository(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Packages from the web are signed, and a suite that is not flat has components."""
    location: Location = ("image", "repository")
    repository = value_at(data, location)
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
    chosen = value_at(data, ("s3", "encryption")) or S3Config().encryption
    if value_at(data, ("s3", "kms_key_id")) is not None and chosen != "aws:kms":
        yield Contradiction(
            ("s3", "kms_key_id"), f"is for s3.encryption aws:kms; chosen is {chosen}"
        )


#: Addresses of a subnet that no node has: its own, the gateway, the virtual IP, the broadcast.
_NOT_FOR_NODES = 4
#: AWS keeps two more.
_AWS_KEEPS_MORE = 2


def _clones(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Each clone's subnet is apart from production's and holds two generations of a clone."""
    subnets = value_at(data, ("clones", "subnets"))
    if not is_list(subnets):
        return
    if value_at(data, ("clone",)) is not None:
        yield Contradiction(("clones",), "stands in a clone's own file: a clone has no clones")
    size = read(data, ("clones", "size"), zone_size, 1)
    known = {"network.subnet": read(data, ("network", "subnet"), read_subnet, None)}
    for number in range(len(subnets)):
        location: Location = ("clones", "subnets", number)
        subnet = read(data, location, read_subnet, None)
        if subnet is None:
            continue
        for name, other in known.items():
            if other is not None and subnet.overlaps(other):
                yield Contradiction(location, f"{subnet} overlaps {name} ({other})")
        known[f"clones.subnets[{number}]"] = subnet
        kept = _NOT_FOR_NODES + (_AWS_KEEPS_MORE if is_aws(data) else 0)
        if size is not None and subnet.num_addresses < 2 * size + kept:
            yield Contradiction(
                location, f"{subnet} is too small for two generations of {size} nodes and a VIP"
            )


def _signatures(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """A signature is judged by somebody's key."""
    location: Location = ("plans", "require_signature")
    if value_at(data, location) is True and not value_at(data, ("plans", "public_keys")):
        yield Contradiction(location, "takes a key in plans.public_keys to tell a signature by")


def _seed(data: Mapping[str, object]) -> Iterator[Contradiction]:
    """Seeds through S3 have a bucket, and no others have one."""
    via = value_at(data, ("seed", "via")) or SeedConfig().via
    bucket = value_at(data, ("seed", "bucket"))
    state = value_at(data, ("state",)) or DEFAULT_STATE
    if via == "s3" and bucket is None and isinstance(state, str) and "://" not in state:
        yield Contradiction(
            ("seed", "via"), "seeds through S3 need seed.bucket, or a `state` in s3://"
        )
    if via == "ssh" and bucket is not None:
        yield Contradiction(("seed", "bucket"), "is for seed.via s3; chosen is ssh")
