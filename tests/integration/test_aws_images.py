"""The life of images by the commands on them, on podman and on EC2 on loopback."""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Protocol

import pytest
from tests.contract.objectstore import answers, for_ever, plainly
from tests.fakes.clock import VirtualClock
from tests.fakes.reporter import ListReporter
from tests.integration.aws_calls import App, action_of
from tests.integration.ec2_cloud import REGION, Cloud, cloud, keys_of
from tests.integration.podman_lab import tiny_root

from onebaton import config, main
from onebaton.adapters import aws_session
from onebaton.adapters.aws_build import AwsBuild
from onebaton.adapters.aws_images import REMOVED_WITH, AwsImages
from onebaton.adapters.podman import Podman
from onebaton.adapters.store import FolderStore
from onebaton.bake.catalogue import Catalogue
from onebaton.errors import ConfigError, RefusedError, Status, UnavailableError
from onebaton.model import Image, Recipe, Schema

pytestmark = pytest.mark.integration

CLUSTER = f"life{os.getpid()}"
HEAD = """\
zone:
  name: {cluster}
  vip:
    address: 10.213.248.100/24
  credentials:
    password:
      file: key
image:
  version: 6.10.5
  repository:
    url: .
network:
  subnet: 10.213.248.0/24
  generations:
    a: [10.213.248.11, 10.213.248.12, 10.213.248.13]
    b: [10.213.248.21, 10.213.248.22, 10.213.248.23]
ssh:
  key: key
state: state
platform:
"""
AWS = """\
  kind: aws
  region: {region}
  endpoint_url: {url}
  vpc_id: vpc-00000000000000000
  subnets: [{{id: subnet-00000000000000000, cidr: 10.213.248.0/24}}]
  access:
    operators: [10.213.248.0/24]
"""


class Yard(Protocol):
    """Images of one platform, made without a bake."""

    kind: str
    section: str

    def make(self, number: int) -> tuple[str, str]:
        """An image's name and digest."""

    def use(self, image: Image) -> None:
        """Something of somebody else's runs from it."""

    def free(self) -> None:
        """It ends."""

    def left(self) -> set[str]:
        """All that images leave on the platform if they leave anything."""


class PodmanYard:
    """Tiny images on this machine."""

    kind = "podman"
    section = "  kind: podman\n"

    def __init__(self, folder: Path) -> None:
        self._podman = Podman(folder / "state" / "podman")
        self._root = tiny_root()
        self._user = f"onebaton-user-{os.getpid()}"

    def make(self, number: int) -> tuple[str, str]:
        name = f"localhost/onebaton-{CLUSTER}:{number}"
        change = f"LABEL number={number}"
        self._podman.run(
            ["import", f"--change={change}", "-", name], timeout_s=60, stdin=self._root
        )
        return name, f"sha256:{self._ask('image', 'inspect', '--format={{.Id}}', name)}"

    def use(self, image: Image) -> None:
        self._ask("create", "--name", self._user, image.name, "/bin/sh")

    def free(self) -> None:
        self._ask("rm", self._user)

    def left(self) -> set[str]:
        names = self._ask("images", "--format", "{{.Repository}}:{{.Tag}}").splitlines()
        return {name for name in names if name.startswith(f"localhost/onebaton-{CLUSTER}:")}

    def remove_all(self) -> None:
        for name in self.left():
            self._ask("image", "rm", "--force", name)

    def _ask(self, *args: str) -> str:
        return self._podman.run(args, timeout_s=60).stdout.strip()


class AwsYard:
    """AMIs of an empty account."""

    kind = "aws"

    def __init__(self, service: Cloud) -> None:
        self.cloud = service
        self.section = AWS.format(region=REGION, url=service.url)
        self._made: dict[str, str] = {}
        self._users: list[str] = []

    def make(self, number: int) -> tuple[str, str]:
        name = f"onebaton-{CLUSTER}-{number}"
        ami = self.cloud.ec2.register_image(Name=name)["ImageId"]
        self._made[ami] = name
        return name, ami

    def use(self, image: Image) -> None:
        started = self.cloud.ec2.run_instances(ImageId=image.digest, MinCount=1, MaxCount=1)
        self._users = [started["Instances"][0]["InstanceId"]]

    def free(self) -> None:
        self.cloud.ec2.terminate_instances(InstanceIds=self._users)

    def left(self) -> set[str]:
        ec2 = self.cloud.ec2
        amis = {image["Name"] for image in ec2.describe_images(Owners=["self"])["Images"]}
        found = ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        made = [self._made[one["Description"].rpartition(" ")[2]] for one in found]
        return amis | {f"snapshot of {name}" for name in made}


@pytest.fixture(scope="module")
def service(aws_calls: Path) -> Iterator[Cloud]:
    with cloud(aws_calls / "images") as made, keys_of(made):
        yield made


@pytest.fixture(params=["podman", "aws"])
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    if request.param == "aws":
        service: Cloud = request.getfixturevalue("service")
        service.reset()
        yield AwsYard(service)
        return
    made = PodmanYard(tmp_path)
    try:
        yield made
    finally:
        made.remove_all()


def image(name: str, digest: str, number: int, platform: str = "aws") -> Image:
    schema, built = Schema("6.10.0", "6.10.0"), f"2026-01-0{number}T00:00:00Z"
    return Image(name, digest, "6.10.5", schema, platform, "b", f"r{number}", built, "1.6.6")


def test_the_life_of_images(yard: Yard, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def command(*words: str) -> str:
        status = main.main(["images", *words, "--config", str(tmp_path / "cluster.yaml")])
        said = capsys.readouterr()
        assert status == Status.OK, said.err
        return said.out

    def listed() -> dict[str, tuple[tuple[str, ...], str | None]]:
        rows = json.loads(command("list", "--json"))
        return {row["name"]: (tuple(row["channels"]), row["revoked"]) for row in rows}

    for name in ("key", "key.pub"):
        (tmp_path / name).write_text("secret\n")
    (tmp_path / "cluster.yaml").write_text(HEAD.format(cluster=CLUSTER) + yard.section)
    catalogue = Catalogue(FolderStore(tmp_path / "state"))
    a, b, c, d = (image(*yard.make(n), n, yard.kind) for n in (1, 2, 3, 4))
    for one in (a, b, c, d):
        catalogue.add(one)
    others = yard.left()

    command("promote", b.name, "production")
    command("revoke", d.name, "--reason", "it has a hole")
    assert listed() == {
        a.name: ((), None),
        b.name: (("production",), None),
        c.name: ((), None),
        d.name: ((), "it has a hole"),
    }
    assert json.loads(command("show", a.name, "--json"))["present"]

    yard.use(d)
    status = main.main(
        ["images", "prune", "--keep", "1", "--yes", "--config", str(tmp_path / "cluster.yaml")]
    )
    assert status == Status.REFUSED
    assert d.name in capsys.readouterr().err
    # The one before it is gone, with all that belonged to it.
    assert set(listed()) == {b.name, c.name, d.name}
    assert yard.left() == {name for name in others if not name.endswith(a.name)}
    yard.free()
    command("prune", "--keep", "1", "--yes")
    assert set(listed()) == {b.name, c.name}
    assert {name for name in others if name.endswith((b.name, c.name))} == yard.left()
    command("prune", "--keep", "0", "--yes")
    assert set(listed()) == {b.name}
    assert all(name.endswith(b.name) for name in yard.left())


@pytest.fixture
def amis(service: Cloud) -> AwsImages:
    service.reset()
    ec2 = aws_session.ec2(region=REGION, endpoint_url=service.url, timeout_s=30)
    return AwsImages(ec2, cluster=CLUSTER)


def snapshots(service: Cloud, ami: str) -> list[str]:
    found = service.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
    return [one["SnapshotId"] for one in found if one["Description"].endswith(ami)]


def test_a_removal_that_was_killed_between_its_halves_is_ended_by_the_next(
    amis: AwsImages, service: Cloud
):
    yard = AwsYard(service)
    one, other = (image(*yard.make(n), n) for n in (1, 2))

    def no_snapshot_goes(app: App, environ: dict, start: Callable) -> Iterable[bytes]:
        deletes = action_of(environ) == "ec2:DeleteSnapshot"
        fault = answers("400 Bad Request", "Refused") if deletes else plainly
        return fault(app, environ, start)

    service.store.faults = for_ever(no_snapshot_goes)
    with pytest.raises(UnavailableError, match="cannot delete snapshots"):
        amis.remove(one)
    service.store.faults = iter(())
    assert not amis.present(one)
    assert len(snapshots(service, one.digest)) == 1
    amis.remove(other)
    assert snapshots(service, one.digest) == snapshots(service, other.digest) == []


def test_a_snapshot_that_somebody_made_another_ami_from_stays(amis: AwsImages, service: Cloud):
    yard = AwsYard(service)
    one, other = (image(*yard.make(n), n) for n in (1, 2))
    (shared,) = snapshots(service, other.digest)
    tags = [{"Key": REMOVED_WITH, "Value": "ami-0"}, {"Key": "onebaton:cluster", "Value": CLUSTER}]
    service.ec2.create_tags(Resources=[shared], Tags=tags)
    amis.remove(one)
    assert snapshots(service, other.digest) == [shared]


def test_one_that_a_launch_template_names_is_not_removed(amis: AwsImages, service: Cloud):
    one = image(*AwsYard(service).make(1), 1)
    service.ec2.create_launch_template(
        LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": one.digest}
    )
    service.ec2.create_launch_template_version(
        LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": "ami-0a1b2c3d"}
    )
    with pytest.raises(RefusedError, match=one.name) as raised:
        amis.remove(one)
    assert raised.value.details == (f"{one.digest} is used by the launch template theirs",)
    assert amis.present(one)


def test_an_ami_of_another_name_is_another_image(amis: AwsImages, service: Cloud):
    name, ami = AwsYard(service).make(1)
    other = image(f"{name}-renamed", ami, 1)
    assert not amis.present(other)
    amis.remove(other)
    assert amis.present(image(name, ami, 1))


def test_the_newest_ami_that_fits_is_the_source(amis: AwsImages, service: Cloud):
    service.publish("debian-12-b", date(2026, 1, 1))
    newest = service.publish("debian-12-a", date(2026, 2, 1))
    service.publish("debian-11-c", date(2026, 3, 1))
    found = amis.source(owner="self", name="debian-12-*")
    assert (found.id, found.name) == (newest, "debian-12-a")
    with pytest.raises(ConfigError, match="debian-13-"):
        amis.source(owner="self", name="debian-13-*")


def test_what_a_trial_told_stands_on_the_ami(amis: AwsImages, service: Cloud):
    one = image(*AwsYard(service).make(1), 1)
    amis.label(one)
    (found,) = service.ec2.describe_images(ImageIds=[one.digest])["Images"]
    assert {"Key": "onebaton:schema", "Value": "6.10.0"} in found["Tags"]


def test_what_a_bake_left_that_was_killed_goes_with_the_next(amis: AwsImages, service: Cloud):
    """The instance, and what Packer made for it; another cluster's stays."""
    ec2 = service.ec2
    vpc = ec2.create_vpc(CidrBlock="10.213.248.0/24")["Vpc"]["VpcId"]
    made = ec2.create_subnet(VpcId=vpc, CidrBlock="10.213.248.0/24")
    subnet = made["Subnet"]["SubnetId"]
    ami = service.publish("debian-12-amd64-1", date(2026, 1, 1))
    for cluster in (CLUSTER, "other"):
        ec2.create_key_pair(KeyName=f"onebaton-bake-{cluster}")
        group = ec2.create_security_group(
            GroupName=f"packer_{cluster}", Description="Packer's", VpcId=vpc
        )["GroupId"]
        tags = [
            {"Key": "onebaton:cluster", "Value": cluster},
            {"Key": "onebaton:bake", "Value": "6.10.5-1"},
        ]
        ec2.run_instances(
            ImageId=ami,
            MinCount=1,
            MaxCount=1,
            KeyName=f"onebaton-bake-{cluster}",
            SubnetId=subnet,
            SecurityGroupIds=[group],
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )
    settings = config.AwsPlatform.model_validate(
        {
            "kind": "aws",
            "region": REGION,
            "vpc_id": vpc,
            "subnets": [{"id": subnet, "cidr": "10.213.248.0/24"}],
            "access": {"operators": ["10.213.248.0/24"]},
            "source_ami": {"owner": "self"},
        }
    )
    build = AwsBuild(
        settings,
        aws_session.ec2(region=REGION, endpoint_url=service.url, timeout_s=30),
        amis,
        cluster=CLUSTER,
        reporter=ListReporter(),
        clock=VirtualClock(),
    )
    build.prepare(Recipe("6.10.5", "aws", build.base(), (), ()))
    (left,) = [
        instance
        for group in ec2.describe_instances()["Reservations"]
        for instance in group["Instances"]
        if instance["State"]["Name"] != "terminated"
    ]
    assert left["KeyName"] == "onebaton-bake-other"
    assert [pair["KeyName"] for pair in ec2.describe_key_pairs()["KeyPairs"]] == [left["KeyName"]]
    groups = {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]}
    assert {name for name in groups if name.startswith("packer_")} == {"packer_other"}
