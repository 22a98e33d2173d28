"""Where nodes run, one section a platform."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from onebaton.config.section import Section
from onebaton.fields import (
    NOT_EMPTY,
    AwsId,
    AwsName,
    AwsOwner,
    InstanceType,
    Region,
    Seconds,
    Subnet,
    TagKey,
    UserName,
    service_url,
)


class PodmanPlatform(Section):
    """Nodes are system containers on this machine."""

    kind: Literal["podman"] = Field(default="podman", description="Which platform.")
    memory_mib: int = Field(default=1024, ge=256, description="Memory of a node, in MiB.")


class AwsSubnet(Section):
    """A subnet of the VPC that holds addresses of ``network.generations``."""

    id: AwsId = Field(description="Its id, e.g. subnet-0a1b2c3d; its zone comes with it.")
    cidr: Subnet = Field(description="Its range: nodes with addresses in it are placed there.")


class AwsSource(Section):
    """The AMI that images are baked on: the newest one that fits."""

    owner: AwsOwner = Field(
        default="136693071363",
        description="Account that publishes it: its number, self or amazon; Debian's own is "
        "136693071363.",
    )
    name: str = Field(
        default="debian-12-amd64-*",
        min_length=1,
        description="Pattern of its name, * for anything.",
    )
    user: UserName = Field(
        default="admin", description="Its user that may use sudo; Debian's is admin."
    )


class AwsVolumes(Section):
    """Disks of a new node: gp3, always encrypted."""

    root_gib: int = Field(default=16, ge=8, le=16384, description="The system's, in GiB.")
    data_gib: int = Field(
        default=50, ge=8, le=16384, description="The one MariaDB keeps its data on, in GiB."
    )
    kms_key_id: str | None = Field(
        default=None,
        min_length=1,
        description="ARN of the key they are encrypted with; the account's own for EBS if left "
        "out.",
    )


class AwsAccess(Section):
    """Ranges that may reach the nodes; the nodes of the zone reach each other anyway."""

    operators: Annotated[tuple[Subnet, ...], NOT_EMPTY] = Field(
        strict=False,
        description="Machines that run onebaton: ssh and the API of each node.",
    )
    clients: tuple[Subnet, ...] = Field(
        default=(),
        strict=False,
        description="Clients of the zone: the API (XML-RPC and gRPC), and the services in "
        "image.packages.",
    )
    hypervisors: tuple[Subnet, ...] = Field(
        default=(), strict=False, description="Hypervisors: monitoring reaches the nodes from them."
    )


class AwsAddress(Section):
    """How the zone's address, ``zone.vip.address``, comes to the node that leads."""

    via: Literal["secondary-private-ip", "elastic-ip"] = Field(
        default="secondary-private-ip",
        description="secondary-private-ip: a private address of the nodes' one subnet; "
        "elastic-ip: an Elastic IP (zone.vip.address is it, with /32), for nodes in several "
        "subnets. The leader takes it by its Raft hook.",
    )
    allocation_id: AwsId | None = Field(
        default=None, description="Of the Elastic IP, e.g. eipalloc-0a1b2c3d."
    )


class AwsClones(Section):
    """Where clones are: apart from everything of the zone that they are copies of."""

    vpc_id: AwsId = Field(
        description="Their VPC: another one than the zone's, without peering or any other route "
        "to it."
    )
    subnets: Annotated[tuple[AwsSubnet, ...], NOT_EMPTY] = Field(
        strict=False, description="Its subnets, one for each of clones.subnets."
    )
    endpoints: Annotated[tuple[Subnet, ...], NOT_EMPTY] = Field(
        strict=False,
        description="Ranges of the VPC's endpoints, EC2's at least: all that a clone's machines "
        "may reach besides each other, on port 443.",
    )
    instance_profile: AwsName | None = Field(
        default=None,
        description="Instance profile of clones' nodes; made for each if left out. Never the "
        "zone's own, which may move the zone's address.",
    )


class AwsTimeouts(Section):
    """Deadlines of what AWS is asked for, in seconds."""

    call_s: Seconds = Field(default=30.0, description="One question with all its retries.")
    apply_s: Seconds = Field(default=900.0, description="Terraform's work on the nodes.")
    trial_s: Seconds = Field(default=300.0, description="Until an image booted for a trial.")


class AwsPlatform(Section):
    """Nodes are EC2 instances in one VPC.

    Keys come from the usual AWS places: environment, profile, the machine's role.
    """

    kind: Literal["aws"] = Field(description="Which platform.")
    region: Region = Field(description="The VPC's region, e.g. eu-central-1.")
    endpoint_url: str | None = Field(
        default=None,
        description="Address of another service with the API of AWS, for EC2, IAM and STS; "
        "AWS if left out.",
    )
    vpc_id: AwsId = Field(description="The VPC, e.g. vpc-0a1b2c3d.")
    subnets: Annotated[tuple[AwsSubnet, ...], NOT_EMPTY] = Field(
        strict=False,
        description="Subnets of the VPC within network.subnet, in one availability zone or more. "
        "A node is placed where its address belongs.",
    )
    instance_type: InstanceType = Field(
        default="m6i.large", description="Type of new nodes, of the source AMI's architecture."
    )
    key_pair: AwsName | None = Field(
        default=None,
        description="EC2 key pair of new nodes; none is needed, as ssh.key can log in anyway.",
    )
    source_ami: AwsSource = Field(default=AwsSource(), description="What images are baked on.")
    volumes: AwsVolumes = Field(default=AwsVolumes(), description="Disks of a new node.")
    access: AwsAccess = Field(description="Who may reach the nodes.")
    address: AwsAddress = Field(default=AwsAddress(), description="How the zone's address moves.")
    instance_profile: AwsName | None = Field(
        default=None,
        description="Instance profile of the nodes, which lets the leader take the zone's "
        "address; made, with just that right, if left out.",
    )
    clones: AwsClones | None = Field(default=None, description="Where clones are.")
    tags: dict[TagKey, str] = Field(
        default={}, description="Further tags of everything that is made."
    )
    timeouts: AwsTimeouts = Field(default=AwsTimeouts(), description="Deadlines.")

    @field_validator("endpoint_url")
    @classmethod
    def _service(cls, value: str | None) -> str | None:
        return value if value is None else service_url(value)


#: What ``platform`` may be; ``kind`` tells which.
AnyPlatform = PodmanPlatform | AwsPlatform
