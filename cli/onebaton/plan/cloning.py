"""Staging clones: which subnet and names one gets, what its own file says, where it must not reach.

Pure: what is there comes in, plain data go out.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import PurePath

from onebaton.cloning import Clone, Place
from onebaton.config import AwsPlatform, ClusterConfig
from onebaton.errors import RefusedError
from onebaton.fields import name_problem
from onebaton.model import Health, Member, World
from onebaton.plan.seen import diverged

#: Name of the file with a clone's configuration, in its folder, and of the one with its password.
CONFIG_FILE = "cluster.yaml"
PASSWORD_FILE = "oneadmin_password"  # noqa: S105 - a file's name
#: Sections that a clone's own file does not have: who is told, asks and signs for production's,
#: and a way of seeds that its machines, behind the fence, could not take.
NOT_ITS_OWN = frozenset({"clones", "clone", "stages", "notify", "seed", "plans"})
#: What listens on front-ends besides the API and sshd: OneFlow, FireEdge, the monitor, OneGate,
#: Sunstone (notes, "Ports").
SERVICE_PORTS = (2474, 2616, 4124, 5030, 9869)
#: Addresses at a subnet's beginning that no machine gets, besides the subnet's own: the gateway's,
#: and on AWS two more (Amazon VPC, Subnet CIDR blocks).
TAKEN = {"podman": 1, "aws": 3}


@dataclass(frozen=True, slots=True)
class Layout:
    """Addresses of a clone in its subnet."""

    vip: str
    a: tuple[str, ...]
    b: tuple[str, ...]


def zone_name(zone: str, clone: str) -> str:
    """Name of a clone's zone, which its machines and its network carry.

    :raises RefusedError: if it would be no name.
    """
    name = f"{zone}-{clone}"
    problem = name_problem(clone) or name_problem(name)
    if problem is not None:
        raise RefusedError(
            f"no clone can be called {clone!r}",
            details=[f"its zone would be {name!r}: a name {problem}"],
            resolution="Give it another name.",
        )
    return name


def free_subnet(subnets: Sequence[IPv4Network], taken: Mapping[str, str]) -> IPv4Network:
    """The first subnet that no clone has.

    :param taken: names of clones by their subnet.
    :raises RefusedError: if there is none.
    """
    for subnet in subnets:
        if str(subnet) not in taken:
            return subnet
    raise RefusedError(
        "every subnet for clones is taken",
        details=[f"{subnet} is the clone {name}'s" for subnet, name in sorted(taken.items())],
        resolution="Destroy a clone (`onebaton clone list`), or give clones.subnets another.",
    )


def layout(subnet: IPv4Network, size: int, *, taken: int) -> Layout:
    """Addresses of the virtual IP and of two generations.

    :param taken: how many of the subnet's first are not for them.
    :raises RefusedError: if the subnet is too small.
    """
    hosts = [str(host) for host in subnet.hosts()][taken : taken + 2 * size + 1]
    if len(hosts) < 2 * size + 1:
        raise RefusedError(
            f"{subnet} is too small for a clone of {size} servers",
            resolution="Give clones.subnets a larger one, or the clone fewer servers (--size).",
        )
    return Layout(hosts[0], tuple(hosts[1 : size + 1]), tuple(hosts[size + 1 :]))


def derived(production: ClusterConfig, clone: Clone, folder: PurePath) -> dict[str, object]:
    """What a clone's own ``cluster.yaml`` says: production's settings, and nothing of its places.

    :param folder: where it will be; what stays on this machine is beside it.
    """
    data = production.model_dump(mode="json", exclude_none=True, exclude=set(NOT_ITS_OWN))
    subnet = IPv4Network(clone.subnet)
    places = layout(subnet, clone.size, taken=TAKEN[production.platform.kind])
    # On AWS what images are baked on is told elsewhere.
    not_ours = {"channel", "base"} if production.platform.kind == "aws" else {"channel"}
    image = {key: value for key, value in data["image"].items() if key not in not_ours}
    # Each node makes up its own.
    database = {key: value for key, value in data["database"].items() if key != "password"}
    return {
        **data,
        "zone": {
            **data["zone"],
            "name": clone.zone,
            "size": clone.size,
            "vip": {**data["zone"]["vip"], "address": f"{places.vip}/{subnet.prefixlen}"},
            "credentials": {
                **data["zone"]["credentials"],
                "password": {"file": str(folder / PASSWORD_FILE)},
            },
        },
        "image": {**image, "version": clone.version},
        "platform": _platform(production, clone, data["platform"]),
        "network": {
            **data["network"],
            "subnet": clone.subnet,
            "generations": {"a": list(places.a), "b": list(places.b)},
        },
        "database": database,
        "state": state_of(production.state, clone.name),
        "local": str(folder),
        "clone": {
            "name": clone.name,
            "of": clone.of,
            "images": production.state,
            "fence": production.clones.fence if production.clones is not None else "platform",
            "apart_from": _apart_from(production),
            "reaches": _reaches(production),
        },
    }


def _platform(
    production: ClusterConfig, clone: Clone, data: Mapping[str, object]
) -> dict[str, object]:
    """Where its machines are.

    On AWS nothing is left by which one could act on production there: neither the Elastic IP nor
    the right to move production's address, and hypervisors have no way in.

    :raises RefusedError: if that place is not configured (any more).
    """
    own = {key: value for key, value in data.items() if key != "clones"}
    settings = production.platform
    if not isinstance(settings, AwsPlatform):
        return own
    place = settings.clones
    subnets = place.subnets if place is not None else ()
    subnet = next((s for s in subnets if str(s.cidr) == clone.subnet), None)
    if place is None or subnet is None:
        raise RefusedError(
            f"where the clone {clone.name} is on AWS is not configured",
            details=[f"its subnet is {clone.subnet}"],
            resolution="Describe it in platform.clones, among its subnets.",
        )
    own.pop("instance_profile", None)
    if place.instance_profile is not None:
        own["instance_profile"] = place.instance_profile
    return {
        **own,
        "vpc_id": place.vpc_id,
        "subnets": [subnet.model_dump(mode="json")],
        "access": {**settings.access.model_dump(mode="json"), "hypervisors": []},
        "address": {"via": "secondary-private-ip"},
    }


def _apart_from(production: ClusterConfig) -> list[str]:
    platform = production.platform
    hypervisors = platform.access.hypervisors if isinstance(platform, AwsPlatform) else ()
    return [str(production.network.subnet), *map(str, hypervisors)]


def _reaches(production: ClusterConfig) -> list[str]:
    platform = production.platform
    place = platform.clones if isinstance(platform, AwsPlatform) else None
    return [str(subnet) for subnet in place.endpoints] if place is not None else []


def state_of(state: str, clone: str) -> str:
    """Where the state of a clone is, within that of its zone."""
    return f"{state.rstrip('/')}/clones/{clone}"


def source_of(world: World) -> Member:
    """The server that a copy is taken from: a follower, if there is a healthy one.

    :raises RefusedError: if no server is healthy.
    """
    healthy = (m for m in world.members if m.health is Health.HEALTHY and m.facts is not None)
    able = [m for m in healthy if not diverged(m)]
    if not able:
        raise RefusedError(
            "no server can be copied from",
            resolution="See `onebaton status`: a healthy server is needed, a follower at best.",
        )
    return min(able, key=lambda member: (member.is_leader, member.server.id))


def places(
    front_ends: Iterable[str], hosts: Iterable[str], *, port: int, ssh_ports: Collection[int]
) -> tuple[Place, ...]:
    """Everything of production that a clone's nodes must get no answer from.

    :param front_ends: addresses of servers, their machines and the virtual IP.
    :param hosts: addresses or names of hypervisors.
    :param port: of ``oned``.
    """
    ports = {port, *ssh_ports, *SERVICE_PORTS}
    found = {Place(address, number) for address in front_ends for number in ports}
    found |= {Place(host, number) for host in hosts for number in ssh_ports}
    return tuple(sorted(found))
