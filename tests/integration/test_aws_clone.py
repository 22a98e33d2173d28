"""A clone on AWS, made as the commands make it: who may talk to whom, and what nobody may do.

Terraform and its AWS provider are real, EC2 is on loopback; no machine runs there. The proof by
trying from the machines is the same on every platform, and tried where machines run.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.contract.aws_lab import KEY, NETWORK, SUBNETS, AwsLab, aws_lab
from tests.integration.ec2_cloud import REGION

from onebaton.cloning import Clone
from onebaton.errors import RefusedError
from onebaton.model import NodeSpec
from onebaton.ports import Platform
from onebaton.wiring.cloning import write_config
from onebaton.wiring.options import Options
from onebaton.wiring.running import opened

pytestmark = pytest.mark.integration

CLUSTER = """\
zone:
  name: {zone}
  size: 1
  vip: {{address: 198.51.100.7/32, interface: ens5}}
  credentials: {{password: {{file: password}}}}
image: {{version: 6.10.0, repository: {{url: /srv/packages}}}}
network: {{subnet: {network}, generations: {{a: [{a}], b: [{b}]}}}}
platform:
  kind: aws
  region: {region}
  endpoint_url: {url}
  vpc_id: {vpc}
  subnets:
    - {{id: {subnet_a}, cidr: {cidr_a}}}
    - {{id: {subnet_b}, cidr: {cidr_b}}}
  access:
    operators: [10.9.0.0/16]
    clients: [10.8.0.0/16]
    hypervisors: [10.7.0.0/16]
  address: {{via: elastic-ip, allocation_id: eipalloc-0a1b2c3d}}
  instance_profile: moves-productions-address
  clones:
    vpc_id: {clones_vpc}
    subnets: [{{id: {clones_subnet}, cidr: 10.70.0.0/28}}]
    endpoints: [10.70.0.32/28]
ssh: {{key: key}}
clones: {{subnets: [10.70.0.0/28]}}
"""


@dataclass
class CloneLab:
    """A clone's place, and its platform as the commands make it.

    :param vpc: of clones.
    """

    lab: AwsLab
    platform: Platform
    zone: str
    vpc: str
    subnet: str

    def spec(self) -> NodeSpec:
        return NodeSpec(
            name=f"{self.zone}-a1",
            address="10.70.0.5",
            image=self.lab.image_name,
            image_digest=self.lab.ami,
            generation="a",
        )

    @contextmanager
    def peering(self) -> Iterator[str]:
        """A way to production's first subnet; how it is told of."""
        ec2 = self.lab.cloud.ec2
        made = ec2.create_vpc_peering_connection(VpcId=self.vpc, PeerVpcId=self.lab.vpc)
        by = made["VpcPeeringConnection"]["VpcPeeringConnectionId"]
        # Not the table of the clone's own subnet: what goes to a NAT gateway takes the gateway's.
        table = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        there = {"RouteTableId": table, "DestinationCidrBlock": str(SUBNETS["a"])}
        ec2.create_route(**there, VpcPeeringConnectionId=by)
        try:
            yield f"{table}: {SUBNETS['a']} by {by}: {NETWORK} is production's"
        finally:
            ec2.delete_route(**there)

    def ways_out(self) -> set[tuple[int, str, str]]:
        """Port, protocol and destination that the machines may reach."""
        (group,) = self.lab.cloud.ec2.describe_security_groups(
            Filters=[{"Name": "tag:onebaton:cluster", "Values": [self.zone]}]
        )["SecurityGroups"]
        assert group["VpcId"] == self.vpc
        return {
            (rule.get("FromPort", 0), rule["IpProtocol"], where)
            for rule in group["IpPermissionsEgress"]
            for where in (
                *(entry["CidrIp"] for entry in rule["IpRanges"]),
                *("nodes" for pair in rule["UserIdGroupPairs"]
                  if pair["GroupId"] == group["GroupId"]),
            )
        }  # fmt: skip


@pytest.fixture(scope="module")
def clone(tmp_path_factory, aws_calls) -> Iterator[CloneLab]:
    folder = tmp_path_factory.mktemp("clone")
    with aws_lab(folder, aws_calls / "platform") as lab, ExitStack() as closing:
        yield made(lab, folder, closing)


def made(lab: AwsLab, folder: Path, closing: ExitStack) -> CloneLab:
    """Configured and noted, as `onebaton clone` does before it makes a machine."""
    ec2 = lab.cloud.ec2
    vpc = ec2.create_vpc(CidrBlock="10.70.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.70.0.0/28")["Subnet"]["SubnetId"]
    for name, text in (("key", ""), ("key.pub", KEY), ("password", "secret")):
        (folder / name).write_text(text)
    path = folder / "cluster.yaml"
    path.write_text(
        CLUSTER.format(
            zone=lab.cluster,
            network=NETWORK,
            a=lab.spec(1).address,
            b=lab.spec(1, "b").address,
            region=REGION,
            url=lab.cloud.url,
            vpc=lab.vpc,
            **{f"subnet_{zone}": identity for zone, identity in lab.subnets.items()},
            **{f"cidr_{zone}": cidr for zone, cidr in SUBNETS.items()},
            clones_vpc=vpc,
            clones_subnet=subnet,
        )
    )
    options = Options(path, lab.reporter)
    noted = Clone(
        name="try",
        zone=f"{lab.cluster}-try",
        of=lab.cluster,
        subnet="10.70.0.0/28",
        size=1,
        version="6.10.0",
        made_at=0.0,
        expires_at=0.0,
        ttl="1d",
    )
    write_config(closing.enter_context(opened(options)), noted)
    copy = closing.enter_context(opened(replace(options, clone="try")))
    return CloneLab(lab, copy.platform, noted.zone, vpc, subnet)


def test_a_route_to_production_is_refused_before_anything_is_made(clone: CloneLab):
    with clone.peering() as words, pytest.raises(RefusedError, match="a route to") as caught:
        clone.platform.apply([clone.spec()])
    assert caught.value.details == (words,)
    assert clone.lab.leftovers() == []


def test_a_way_to_hypervisors_or_everywhere_is_one_too_and_one_to_operators_is_none(
    clone: CloneLab,
):
    ec2 = clone.lab.cloud.ec2
    gateway = ec2.create_transit_gateway()["TransitGateway"]["TransitGatewayId"]
    table = ec2.create_route_table(VpcId=clone.vpc)["RouteTable"]["RouteTableId"]

    def refusal(cidr: str) -> tuple[str, ...]:
        there = {"RouteTableId": table, "DestinationCidrBlock": cidr}
        ec2.create_route(**there, TransitGatewayId=gateway)
        try:
            clone.platform.pending([clone.spec()])
        except RefusedError as error:
            return tuple(error.details)
        finally:
            ec2.delete_route(**there)
        return ()

    assert refusal("10.7.3.0/24") == (
        f"{table}: 10.7.3.0/24 by {gateway}: 10.7.0.0/16 is production's",
    )
    assert len(refusal("0.0.0.0/0")) == 2
    assert refusal("10.9.0.0/16") == ()


def test_its_machines_reach_each_other_and_aws_and_nothing_else(clone: CloneLab):
    internet = clone.lab.cloud.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    (table,) = clone.lab.cloud.ec2.describe_route_tables(
        Filters=[
            {"Name": "vpc-id", "Values": [clone.vpc]},
            {"Name": "association.main", "Values": ["true"]},
        ]
    )["RouteTables"]
    clone.lab.cloud.ec2.create_route(
        RouteTableId=table["RouteTableId"],
        DestinationCidrBlock="0.0.0.0/0",
        GatewayId=internet,
    )
    clone.platform.apply([clone.spec()])
    assert clone.ways_out() == {
        (2633, "tcp", "nodes"),
        (2634, "tcp", "nodes"),
        (443, "tcp", "10.70.0.32/28"),
    }
    machine = clone.lab.machines()[clone.spec().name]
    assert (machine["VpcId"], machine["SubnetId"]) == (clone.vpc, clone.subnet)


def test_its_role_is_its_own_and_may_move_its_own_address_alone(clone: CloneLab):
    machine = clone.lab.machines()[clone.spec().name]
    assert machine["IamInstanceProfile"]["Arn"].endswith(f"/onebaton-{clone.zone}-{REGION}")
    (statement,) = clone.lab.policy_of(clone.zone)["Statement"]
    assert statement["Action"] == "ec2:AssignPrivateIpAddresses"
    assert statement["Condition"] == {
        "StringEquals": {"aws:ResourceTag/onebaton:cluster": clone.zone}
    }


def test_nothing_of_it_is_left_though_its_fence_is_broken(clone: CloneLab):
    with clone.peering() as words:
        with pytest.raises(RefusedError) as caught:
            clone.platform.pending([clone.spec()])
        assert caught.value.details == (words,)
        clone.platform.apply([])
    assert clone.lab.leftovers() == []
