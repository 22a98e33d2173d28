"""AMIs: what images are baked on, whether an image is there, and how it goes with its snapshots.

An AMI is identified by its id, which AWS gives once; its name is for people. Its snapshots cost
money after it is gone, so they go with it. They are marked first: those that a removal left half
done are found by the mark.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from onebaton.errors import ConfigError, RefusedError
from onebaton.model import Image

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef, TagTypeDef

    from onebaton.adapters.aws_session import Service

CLUSTER = "onebaton:cluster"
VERSION = "onebaton:version"
SCHEMA = "onebaton:schema"
RECIPE = "onebaton:recipe"
#: Of a snapshot: the AMI that it is removed with.
REMOVED_WITH = "onebaton:removed-with"
#: An instance whose end has begun needs its AMI no longer.
_LIVING = ("pending", "running", "stopping", "stopped")


@dataclass(frozen=True, slots=True)
class SourceAmi:
    """What an image is baked on.

    :param root_device: name of its root device, e.g. ``/dev/xvda``.
    """

    id: str
    name: str
    root_device: str


class AwsImages:
    """The AMIs of one cluster.

    :param cluster: the zone's name; all that is made is tagged with it.
    """

    def __init__(self, ec2: "Service[EC2Client]", *, cluster: str) -> None:
        self._ec2 = ec2
        self._cluster = cluster

    def source(self, *, owner: str, name: str) -> SourceAmi:
        """The newest AMI that fits.

        :param owner: number of an account, ``self`` or ``amazon``.
        :param name: a pattern.
        :raises ConfigError: if there is none.
        """
        found = self._ec2.call(
            "look for the source AMI", lambda ec2: list(_images(ec2, [owner], _named("name", name)))
        )
        fit = [image for image in found if image.get("State") == "available"]
        if not fit:
            raise ConfigError(
                f"there is no AMI {name!r} of {owner} in this region",
                resolution="Correct `platform.source_ami` (and `platform.region`) in cluster.yaml; "
                "aws ec2 describe-images shows what there is.",
            )
        newest = max(fit, key=lambda image: (image.get("CreationDate", ""), image["ImageId"]))
        return SourceAmi(newest["ImageId"], newest.get("Name", ""), newest["RootDeviceName"])

    def find(self, ami: str) -> str | None:
        """The name of an AMI of this account that can be used; ``None`` if there is none."""
        return self._ec2.call(f"look for {ami}", lambda ec2: _name_of(ec2, ami))

    def present(self, image: Image) -> bool:
        """The AMI is there, under its name and with this id."""
        return self.find(image.digest) == image.name

    def label(self, image: Image) -> None:
        """Note on the AMI and its snapshots which schema its ``oned`` requires."""
        tags: Sequence[TagTypeDef] = [{"Key": SCHEMA, "Value": str(image.schema)}]

        def work(ec2: "EC2Client") -> None:
            found = _image(ec2, image.digest)
            if found is not None:
                ec2.create_tags(Resources=[image.digest, *_snapshots_of(found)], Tags=tags)

        self._ec2.call(f"tag {image.name}", work)

    def remove(self, image: Image) -> None:
        """Deregister the AMI and delete its snapshots; no error if it is not there.

        Ends removals that were left half done as well.

        :raises RefusedError: if an instance or a launch template of this account, ours or not,
            uses it. What other accounts do with an AMI that was shared cannot be seen.
        """
        ami = image.digest
        found = self._ec2.call(f"look for {ami}", lambda ec2: _image(ec2, ami))
        if found is not None and found.get("Name") == image.name:
            users = [
                *self._ec2.call(f"see what runs from {ami}", lambda ec2: _instances_of(ec2, ami)),
                *self._ec2.call(f"see what starts {ami}", lambda ec2: _templates_of(ec2, ami)),
            ]
            if users:
                raise RefusedError(
                    f"the image {image.name} is still in use in this account",
                    details=[f"{ami} is used by {user}" for user in users],
                    resolution="Terminate or change what uses it, then run the same command again.",
                )
            snapshots = _snapshots_of(found)
            self._ec2.call(f"mark {ami}", lambda ec2: self._mark(ec2, snapshots, ami))
            self._ec2.call(f"deregister {ami}", lambda ec2: ec2.deregister_image(ImageId=ami))
        self._ec2.call("delete snapshots of AMIs that are gone", self._sweep)

    def _mark(self, ec2: "EC2Client", snapshots: list[str], ami: str) -> None:
        """Note what goes with the AMI: nothing else tells it once that is gone."""
        if snapshots:
            ec2.create_tags(
                Resources=snapshots,
                Tags=[
                    {"Key": CLUSTER, "Value": self._cluster},
                    {"Key": REMOVED_WITH, "Value": ami},
                ],
            )

    def _sweep(self, ec2: "EC2Client") -> None:
        """Delete the snapshots of AMIs that were removed.

        One that is part of another AMI of this account stays: somebody made that from it.
        """
        marked = [
            snapshot
            for page in ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"],
                Filters=[
                    {"Name": f"tag:{CLUSTER}", "Values": [self._cluster]},
                    {"Name": "tag-key", "Values": [REMOVED_WITH]},
                ],
            )
            for snapshot in page["Snapshots"]
        ]
        if not marked:
            return
        used = {id_ for image in _images(ec2, ["self"]) for id_ in _snapshots_of(image)}
        for snapshot in marked:
            if snapshot["SnapshotId"] not in used:
                ec2.delete_snapshot(SnapshotId=snapshot["SnapshotId"])


def _named(name: str, *values: str) -> "list[FilterTypeDef]":
    return [{"Name": name, "Values": list(values)}]


def _images(
    ec2: "EC2Client", owners: list[str], filters: "Sequence[FilterTypeDef]" = ()
) -> "Iterator[ImageTypeDef]":
    pages = ec2.get_paginator("describe_images").paginate(Owners=owners, Filters=list(filters))
    for page in pages:
        yield from page["Images"]


def _image(ec2: "EC2Client", ami: str) -> "ImageTypeDef | None":
    """An AMI of this account; one that is not there is no error when it is asked for so."""
    return next(_images(ec2, ["self"], _named("image-id", ami)), None)


def _name_of(ec2: "EC2Client", ami: str) -> str | None:
    found = _image(ec2, ami)
    usable = found is not None and found.get("State") == "available"
    return found.get("Name") if found is not None and usable else None


def _snapshots_of(image: "ImageTypeDef") -> list[str]:
    disks = image.get("BlockDeviceMappings", [])
    return [disk["Ebs"]["SnapshotId"] for disk in disks if "SnapshotId" in disk.get("Ebs", {})]


def _instances_of(ec2: "EC2Client", ami: str) -> list[str]:
    found = []
    pages = ec2.get_paginator("describe_instances").paginate(
        Filters=[*_named("image-id", ami), *_named("instance-state-name", *_LIVING)]
    )
    for page in pages:
        for reservation in page["Reservations"]:
            for instance in reservation["Instances"]:
                names = [tag["Value"] for tag in instance.get("Tags", []) if tag["Key"] == "Name"]
                found.append(" ".join(["the instance", instance["InstanceId"], *names]))
    return found


def _templates_of(ec2: "EC2Client", ami: str) -> list[str]:
    """Launch templates with the AMI in any of their versions."""
    users = []
    for page in ec2.get_paginator("describe_launch_templates").paginate():
        for template in page["LaunchTemplates"]:
            versions = ec2.get_paginator("describe_launch_template_versions").paginate(
                LaunchTemplateId=template["LaunchTemplateId"], Filters=_named("image-id", ami)
            )
            if any(
                version["LaunchTemplateData"].get("ImageId") == ami
                for found in versions
                for version in found["LaunchTemplateVersions"]
            ):
                users.append(f"the launch template {template['LaunchTemplateName']}")
    return users
