"""What a cluster has on AWS: its nodes by their tags, what they share, the subnets they are in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from onebaton import config
from onebaton.adapters.aws_inventory import CLUSTER, NODE, Inventory, take_inventory
from onebaton.adapters.terraform import Resource
from onebaton.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import (
        InstanceTypeDef,
        NetworkInterfaceTypeDef,
        RouteTableTypeDef,
        RouteTypeDef,
    )
    from mypy_boto3_iam.client import IAMClient

    from onebaton.adapters.aws_session import Service


#: Targets that lead to no other network of private addresses: the VPC itself, the internet.
_HARMLESS = ("local", "igw-", "nat-", "eigw-")
#: What leads to lists of ranges: AWS's own services have endpoints in the VPC.
_ENDPOINT = "vpce-"
#: Where a route says what it leads to (Amazon EC2 API, Route).
_TARGETS = (
    "GatewayId",
    "NatGatewayId",
    "VpcPeeringConnectionId",
    "TransitGatewayId",
    "LocalGatewayId",
    "CarrierGatewayId",
    "EgressOnlyInternetGatewayId",
    "CoreNetworkArn",
    "NetworkInterfaceId",
    "InstanceId",
)


@dataclass(frozen=True, slots=True)
class AwsFence:
    """What keeps a clone's nodes apart.

    :param reaches: ranges that they may reach besides each other, on port 443.
    :param apart_from: ranges of production, to which their VPC has no route.
    """

    reaches: tuple[IPv4Network, ...]
    apart_from: tuple[IPv4Network, ...]


class AwsSight:
    """Looks at one cluster.

    :param cluster: the zone's name; everything that is its own carries it as a tag.
    """

    def __init__(
        self,
        ec2: "Service[EC2Client]",
        iam: "Service[IAMClient]",
        *,
        cluster: str,
        settings: config.AwsPlatform,
    ) -> None:
        self._ec2 = ec2
        self._iam = iam
        self._cluster = cluster
        self._settings = settings

    def check_subnets(self) -> None:
        """The subnets are as they were described.

        :raises UnavailableError: if one does not exist, or EC2 cannot be asked.
        :raises ConfigError: if one has another range, or is in another VPC.
        """
        ids = [subnet.id for subnet in self._settings.subnets]
        answer = self._ec2.call(
            "look at the subnets", lambda client: client.describe_subnets(SubnetIds=ids)
        )
        found = {item["SubnetId"]: item for item in answer["Subnets"]}
        wrong = []
        for subnet in self._settings.subnets:
            item = found[subnet.id]
            if item["CidrBlock"] != str(subnet.cidr):
                wrong.append(f"{subnet.id} has {item['CidrBlock']}, not {subnet.cidr}")
            if item["VpcId"] != self._settings.vpc_id:
                wrong.append(f"{subnet.id} is in {item['VpcId']}, not {self._settings.vpc_id}")
        if wrong:
            raise ConfigError(
                "subnets are not as they are described",
                details=wrong,
                resolution="Correct platform.subnets and platform.vpc_id in cluster.yaml.",
            )

    def check_routes(self, fence: AwsFence) -> None:
        """No route in the VPC leads to production.

        Of all its tables, not only the subnets': what goes to a NAT gateway is sent on by the
        table of that gateway's own subnet.

        :raises RefusedError: naming each route that does.
        """

        def tables(client: "EC2Client") -> "list[RouteTableTypeDef]":
            of_vpc = [{"Name": "vpc-id", "Values": [self._settings.vpc_id]}]
            pages = client.get_paginator("describe_route_tables").paginate(Filters=of_vpc)  # type: ignore[arg-type]
            return [item for page in pages for item in page["RouteTables"]]

        found = self._ec2.call("look at the routes", tables)
        wrong = [
            f"{table['RouteTableId']}: {line}"
            for table in found
            for route in table["Routes"]
            for line in _leads_to(route, fence.apart_from)
        ]
        if wrong:
            raise RefusedError(
                "the VPC of clones has a route to production",
                details=wrong,
                resolution="Take it away, or name another VPC in platform.clones.",
            )

    def inventory(self, records: Sequence[Resource] = ()) -> Inventory:
        """What EC2 shows of the nodes, beside what Terraform recorded of them.

        :raises RefusedError: if two machines say that they are the same node.
        """
        mine = [
            {"Name": f"tag:{CLUSTER}", "Values": [self._cluster]},
            {"Name": "tag-key", "Values": [NODE]},
        ]

        def machines(client: "EC2Client") -> "list[InstanceTypeDef]":
            pages = client.get_paginator("describe_instances").paginate(Filters=mine)  # type: ignore[arg-type]
            return [item for page in pages for r in page["Reservations"] for item in r["Instances"]]

        def interfaces(client: "EC2Client") -> "list[NetworkInterfaceTypeDef]":
            pages = client.get_paginator("describe_network_interfaces").paginate(Filters=mine)  # type: ignore[arg-type]
            return [item for page in pages for item in page["NetworkInterfaces"]]

        return take_inventory(
            self._ec2.call("look for the nodes", machines),
            self._ec2.call("look for the nodes' interfaces", interfaces),
            records,
        )

    def shared(self, inventory: Inventory) -> dict[str, str]:
        """Ids by Terraform's address of what the nodes share and Terraform does not know."""
        found: dict[str, str] = {}
        name = f"onebaton-{self._cluster}"
        groups = self._ec2.call(
            "look for the security group",
            lambda client: client.describe_security_groups(
                Filters=[
                    {"Name": f"tag:{CLUSTER}", "Values": [self._cluster]},
                    {"Name": "group-name", "Values": [name]},
                    {"Name": "vpc-id", "Values": [self._settings.vpc_id]},
                ]
            ),
        )["SecurityGroups"]
        if groups:
            found["aws_security_group.nodes[0]"] = groups[0]["GroupId"]
        if self._settings.instance_profile is None:
            role = f"{name}-{self._settings.region}"
            found |= self._role(role)
        return {at: identity for at, identity in found.items() if at not in inventory.recorded}

    def _role(self, role: str) -> dict[str, str]:
        found = {}
        asked = "look for the nodes' role"
        if self._iam.unless_missing(asked, lambda client: client.get_role(RoleName=role)):
            found["aws_iam_role.node[0]"] = role
        if self._iam.unless_missing(
            asked,
            lambda client: client.get_role_policy(RoleName=role, PolicyName="zone-address"),
        ):
            found["aws_iam_role_policy.node[0]"] = f"{role}:zone-address"
        if self._iam.unless_missing(
            asked, lambda client: client.get_instance_profile(InstanceProfileName=role)
        ):
            found["aws_iam_instance_profile.node[0]"] = role
        return found

    def remove_interface(self, interface: str) -> None:
        """Remove a network interface; no error if it is not there."""

        def remove(client: "EC2Client") -> None:
            client.delete_network_interface(NetworkInterfaceId=interface)

        self._ec2.unless_missing(f"remove the network interface {interface}", remove)


def _leads_to(route: "RouteTypeDef", ranges: Sequence[IPv4Network]) -> Iterator[str]:
    """Each of these ranges that a route may lead to, in words.

    What a prefix list holds is not looked up: it may be anything.
    """
    target = next((str(route[key]) for key in _TARGETS if route.get(key)), "nothing known")  # type: ignore[literal-required]
    if route.get("State") == "blackhole" or target.startswith(_HARMLESS):
        return
    listed = route.get("DestinationPrefixListId")
    if listed is not None and not target.startswith(_ENDPOINT):
        yield f"{listed} by {target}: a list of ranges that may hold production's"
    cidr = route.get("DestinationCidrBlock")
    for other in ranges if cidr is not None else ():
        if IPv4Network(cidr).overlaps(other):
            yield f"{cidr} by {target}: {other} is production's"
