"""A cluster on AWS of a test's own: real Terraform with its real provider, moto behind it."""

import base64
import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.ec2.models.instances import Instance
from tests.contract import terraform_provider
from tests.contract.objectstore import BUCKET
from tests.fakes.door import LocalDoor
from tests.fakes.reporter import ListReporter
from tests.integration.ec2_cloud import OURS, REGION, SECRET, Cloud, cloud, keys_of

from onebaton import config
from onebaton.adapters import aws_session
from onebaton.adapters.aws_images import AwsImages
from onebaton.adapters.aws_platform import AwsPlatform
from onebaton.adapters.terraform_backend import S3Backend
from onebaton.model import Image, NodeSpec, Schema
from onebaton.wiring.cluster import SystemClock

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHRlc3RzIG9ubHk= tests"
NETWORK = IPv4Network("10.60.0.0/16")
#: In two availability zones.
SUBNETS = {"a": IPv4Network("10.60.1.0/24"), "b": IPv4Network("10.60.2.0/24")}
PLACE = f"s3://{BUCKET}/zones/lab"
STATE = "zones/lab/terraform/aws.tfstate"


class AwsLab:
    """One cluster; Terraform's state is in the account's bucket."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cluster = f"t{os.getpid()}"
        self.cloud = cloud
        self.reporter = ListReporter()
        self.state = folder / "state"
        self.image_name = "onebaton-lab-6.10.0-1"
        self.clear()

    def clear(self) -> None:
        """A new account with a VPC, two subnets and the image."""
        self.cloud.store.clear()
        ec2 = self.cloud.ec2
        self.vpc = ec2.create_vpc(CidrBlock=str(NETWORK))["Vpc"]["VpcId"]
        self.subnets = {
            zone: ec2.create_subnet(
                VpcId=self.vpc, CidrBlock=str(cidr), AvailabilityZone=f"{REGION}{zone}"
            )["Subnet"]["SubnetId"]
            for zone, cidr in SUBNETS.items()
        }
        self.build_image()
        self.platform = self.new_platform()

    def settings(self, **changes: object) -> config.AwsPlatform:
        """As ``cluster.yaml`` would say it."""
        values: dict[str, Any] = {
            "kind": "aws",
            "region": REGION,
            "endpoint_url": self.cloud.url,
            "vpc_id": self.vpc,
            "subnets": [
                {"id": self.subnets[zone], "cidr": str(cidr)} for zone, cidr in SUBNETS.items()
            ],
            "instance_type": "m6i.large",
            "access": {
                "operators": ["10.9.0.0/16"],
                "clients": ["10.8.0.0/16"],
                "hypervisors": ["10.7.0.0/16"],
            },
            "address": {"via": "elastic-ip", "allocation_id": "eipalloc-0a1b2c3d"},
            "tags": {"team": "cloud"},
        }
        return config.AwsPlatform.model_validate(values | changes)

    def new_platform(
        self, settings: config.AwsPlatform | None = None, *, folder: str = "state"
    ) -> AwsPlatform:
        """As another run of the command would make it.

        :param folder: of this machine's files; another one is another machine.
        """
        settings = settings or self.settings()
        where = (settings.region, settings.endpoint_url, settings.timeouts.call_s)
        ec2, iam = (
            make(region=where[0], endpoint_url=where[1], timeout_s=where[2])
            for make in (aws_session.ec2, aws_session.iam)
        )
        return AwsPlatform(
            cluster=self.cluster,
            settings=settings,
            oned_port=2633,
            ssh_port=22,
            packages=("opennebula", "opennebula-fireedge"),
            state=self.state.with_name(folder),
            backend=S3Backend(
                PLACE,
                "terraform/aws.tfstate",
                config.S3Config(endpoint_url=self.cloud.url),
                region="us-east-1",
            ),
            authorized_key=KEY,
            ec2=ec2,
            iam=iam,
            images=AwsImages(ec2, cluster=self.cluster),
            door=LocalDoor,
            reporter=self.reporter,
            clock=SystemClock(),
        )

    def image(self) -> Image:
        """The image as the catalogue would list it."""
        return Image(
            name=self.image_name,
            digest=self.ami,
            version="6.10.0",
            schema=Schema("6.10.0", "6.10.0"),
            platform="aws",
            base="none",
            recipe_digest="sha256:0",
            built_at="2026-01-01T00:00:00Z",
            packer_version="0",
        )

    def build_image(self) -> None:
        """An AMI of the account."""
        ec2 = self.cloud.ec2
        volume = ec2.create_volume(Size=8, AvailabilityZone=f"{REGION}a")["VolumeId"]
        snapshot = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
        ec2.delete_volume(VolumeId=volume)
        self.ami = ec2.register_image(
            Name=self.image_name,
            Architecture="x86_64",
            RootDeviceName="/dev/xvda",
            VirtualizationType="hvm",
            BlockDeviceMappings=[{"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": snapshot}}],
        )["ImageId"]

    def spec(self, number: int, generation: str = "a") -> NodeSpec:
        """A node of a generation, numbered from 1; generations are in zones of their own."""
        address = SUBNETS[generation].network_address + 10 + number
        return NodeSpec(
            name=f"{self.cluster}-{generation}{number}",
            address=str(address),
            image=self.image_name,
            image_digest=self.ami,
            generation=generation,
        )

    def machines(self) -> dict[str, Any]:
        """Instances that live, by the tag Name."""
        found = {}
        for group in self.cloud.ec2.describe_instances()["Reservations"]:
            for item in group["Instances"]:
                if item["State"]["Name"] not in ("terminated", "shutting-down"):
                    tags = {tag["Key"]: tag["Value"] for tag in item["Tags"]}
                    found[tags["Name"]] = item | {"tags": tags}
        return found

    def rights(self) -> dict[str, str]:
        """What the nodes' role may do, and to what."""
        return {
            statement["Resource"].rpartition(":")[2]: statement["Action"]
            for statement in self.policy_of(self.cluster)["Statement"]
        }

    def policy_of(self, cluster: str) -> dict[str, Any]:
        """The policy of the role that a cluster's nodes have."""
        role = f"onebaton-{cluster}-{REGION}"
        session = boto3.session.Session(OURS, SECRET)
        iam = session.client("iam", endpoint_url=self.cloud.url, region_name=REGION)
        found: Any = iam.get_role_policy(RoleName=role, PolicyName="zone-address")
        return found["PolicyDocument"]

    def user_data(self, name: str) -> str:
        """What an instance was given for its first boot."""
        told = self.cloud.ec2.describe_instance_attribute(
            InstanceId=self.machines()[name]["InstanceId"], Attribute="userData"
        )
        return base64.b64decode(told["UserData"]["Value"]).decode()

    def twin_of(self, name: str) -> str:
        """A second instance with the same tags.

        :returns: its id.
        """
        tags = self.machines()[name]["Tags"]
        made = self.cloud.ec2.run_instances(
            ImageId=self.ami,
            MinCount=1,
            MaxCount=1,
            SubnetId=self.subnets["b"],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
        return made["Instances"][0]["InstanceId"]

    def lose(self, name: str) -> None:
        """An instance is terminated behind the platform's back."""
        self.cloud.ec2.terminate_instances(InstanceIds=[self.machines()[name]["InstanceId"]])

    def stop(self, name: str) -> None:
        """An instance is stopped behind the platform's back."""
        self.cloud.ec2.stop_instances(InstanceIds=[self.machines()[name]["InstanceId"]])

    def leftovers(self) -> list[str]:
        """Everything that this cluster still has in the account."""
        mine = [{"Name": "tag-key", "Values": ["onebaton:cluster", "onebaton:trial"]}]
        ec2 = self.cloud.ec2
        interfaces = ec2.describe_network_interfaces(Filters=mine)["NetworkInterfaces"]
        groups = ec2.describe_security_groups(Filters=mine)["SecurityGroups"]
        return [
            *self.machines(),
            *(e["NetworkInterfaceId"] for e in interfaces),
            *(g["GroupId"] for g in groups),
            *(v["VolumeId"] for v in ec2.describe_volumes()["Volumes"]),
        ]


@contextmanager
def aws_lab(folder: Path, record: Path) -> Iterator[AwsLab]:
    """A lab in an account of its own; skipped only where no provider can be had at all.

    :param record: gets a line for each action that was asked for.
    """
    why_not = terraform_provider.problem()
    if why_not is not None:
        pytest.skip(f"no AWS provider for Terraform, neither a mirror nor the registry: {why_not}")
    with pytest.MonkeyPatch.context() as patch, cloud(record) as made, keys_of(made):
        for name, value in terraform_provider.aws_provider().env.items():
            patch.setenv(name, value)
        # Terraform and its provider live for seconds: collecting garbage is a third of them.
        patch.setenv("GOGC", "400")
        patch.setattr(Instance, "terminate", _terminate)
        yield AwsLab(made, folder)


_moto_terminate = Instance.terminate


def _terminate(instance):
    """EC2 takes a machine's interfaces off when it ends; moto leaves them attached."""
    before = _moto_terminate(instance)
    for place, interface in list(instance.nics.items()):
        if interface.instance is not None and not interface.delete_on_termination:
            # The ended machine is still shown, with what it had.
            shown = copy.copy(interface)
            instance.detach_eni(interface)
            instance.nics[place] = shown
    return before
