"""Bakes AMIs: Packer's amazon-ebs builder, on an instance that goes when the bake ends."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from onebaton.adapters.aws_images import CLUSTER, AwsImages, SourceAmi
from onebaton.adapters.packer import Packer, PackerPlugin
from onebaton.adapters.platform_build import BakeName, Built
from onebaton.adapters.templates import hcl
from onebaton.config import AwsPlatform
from onebaton.errors import StepFailedError, UnavailableError
from onebaton.model import Image, Recipe
from onebaton.ports import Clock, Reporter

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

    from onebaton.adapters.aws_session import Service

#: Tag of all that is there for one bake alone.
BAKE = "onebaton:bake"
#: Until an instance that was told to end has ended.
END_TIMEOUT_S = 300.0
PAUSE_S = 3.0
#: Packer's name of the security group that it makes for a build.
_PACKERS_GROUP = "packer_"


class AwsBuild:
    """The platform aws's part of a bake (see ``PlatformBuild``).

    :param cluster: the zone's name.
    :param clock: for the wait until a left instance has ended.
    """

    kind = "aws"
    plugin = PackerPlugin("amazon", ">= 1.2.0")

    def __init__(
        self,
        settings: AwsPlatform,
        ec2: "Service[EC2Client]",
        images: AwsImages,
        *,
        cluster: str,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._ec2 = ec2
        self._images = images
        self._cluster = cluster
        self._reporter = reporter
        self._clock = clock

    def packer(self) -> Packer:
        """Packer; keys come to it the way they come to us."""
        return Packer({})

    def base(self) -> str:
        """The source AMI's name and id: a newer one makes another recipe."""
        return f"{self._source.name} ({self._source.id})"

    def variables(self, recipe: Recipe, bake: BakeName) -> Mapping[str, str]:
        """The template's variables."""
        settings = self._settings
        return {
            "region": settings.region,
            "endpoint": settings.endpoint_url or "",
            "cluster": self._cluster,
            "name": self._name(bake),
            "bake": bake.tag,
            "recipe_digest": recipe.digest,
            "source_owner": settings.source_ami.owner,
            "source_name": settings.source_ami.name,
            "source_ami": self._source.id,
            "root_device": self._source.root_device,
            "root_gib": str(settings.volumes.root_gib),
            "kms_key_id": settings.volumes.kms_key_id or "",
            "instance_type": settings.instance_type,
            "vpc_id": settings.vpc_id,
            "subnet_id": settings.subnets[0].id,
            "ssh_from": hcl([str(range_) for range_ in settings.access.operators]),
            "ssh_user": settings.source_ami.user,
            "tags": hcl(settings.tags),
        }

    def prepare(self, recipe: Recipe) -> None:  # noqa: ARG002 - the base is there already
        """Clear up after a bake that was killed: this one has the lock."""
        self._clear()

    def clear(self, bake: BakeName) -> None:  # noqa: ARG002 - one bake of a cluster at a time
        """Take away what a Packer that was killed left."""
        try:
            self._clear()
        except UnavailableError as error:
            self._reporter.warn(f"what the bake left on AWS could not be removed: {error.message}")

    def built(self, artifact: str, bake: BakeName) -> Built:
        """The AMI by the manifest's ``region:ami-…``, if EC2 has it under the bake's name."""
        region, _, ami = artifact.partition(":")
        name = self._images.find(ami) if ami.startswith("ami-") else None
        if region != self._settings.region or name != self._name(bake):
            raise StepFailedError(
                f"packer reported the AMI {artifact}, but EC2 in {self._settings.region} has none "
                f"of this id named {self._name(bake)}",
                resolution="See what aws ec2 describe-images --owners self shows, then bake again.",
            )
        return Built(name, ami)

    def label(self, image: Image) -> None:
        """Tag the AMI with the schema that its ``oned`` requires."""
        self._images.label(image)

    def discard(self, image: Image) -> None:
        """Remove an AMI that must not be used; no error if there is none.

        :raises UnavailableError: if AWS does not answer.
        """
        self._images.remove(image)

    @cached_property
    def _source(self) -> SourceAmi:
        source = self._settings.source_ami
        return self._images.source(owner=source.owner, name=source.name)

    def _name(self, bake: BakeName) -> str:
        """Of the AMI; as a region's AMIs of an account, no two have the same."""
        return f"onebaton-{self._cluster}-{bake.tag}"

    def _clear(self) -> None:
        """End this cluster's instances of bakes; then what Packer made for them can go."""
        left = self._ec2.call("look for instances of bakes", self._instances)
        if not left:
            return
        ids = [instance["InstanceId"] for instance in left]
        self._reporter.progress(f"ending what a bake left: {', '.join(ids)}")
        self._ec2.call("end them", lambda ec2: ec2.terminate_instances(InstanceIds=ids))
        self._wait_ended()
        self._ec2.call("delete what Packer made for them", lambda ec2: _delete_passing(ec2, left))

    def _wait_ended(self) -> None:
        until = self._clock.monotonic() + END_TIMEOUT_S
        while self._ec2.call("look for instances of bakes", self._instances):
            if self._clock.monotonic() >= until:
                raise UnavailableError(
                    f"an instance of a bake has not ended within {END_TIMEOUT_S:g} s",
                    resolution="Terminate it in EC2, then run the same command again.",
                )
            self._clock.sleep(PAUSE_S)

    def _instances(self, ec2: "EC2Client") -> "Sequence[InstanceTypeDef]":
        pages = ec2.get_paginator("describe_instances").paginate(
            Filters=[
                {"Name": f"tag:{CLUSTER}", "Values": [self._cluster]},
                {"Name": "tag-key", "Values": [BAKE]},
                {
                    "Name": "instance-state-name",
                    "Values": ["pending", "running", "shutting-down", "stopping", "stopped"],
                },
            ]
        )
        return [
            instance
            for page in pages
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]


def _delete_passing(ec2: "EC2Client", instances: "Sequence[InstanceTypeDef]") -> None:
    """Key pairs and security groups of builds whose instances have ended."""
    for instance in instances:
        for group in instance.get("SecurityGroups", []):
            if group.get("GroupName", "").startswith(_PACKERS_GROUP):
                ec2.delete_security_group(GroupId=group["GroupId"])
        if "KeyName" in instance:
            ec2.delete_key_pair(KeyName=instance["KeyName"])
