"""``onebaton bake`` on AWS: real Packer, EC2 on loopback, and a container for each instance."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from pathlib import Path

import pytest
from tests.integration.ec2_cloud import REGION, Cloud, cloud, keys_of
from tests.integration.ec2_machines import SUBNET, USER, Machines, machines

from onebaton import main
from onebaton.errors import Status

pytestmark = pytest.mark.integration

VERSION = "6.10.0"
STANDIN = Path(__file__).parents[1] / "standin" / "build.py"
CLUSTER = """\
zone:
  name: bake
  vip: {{address: 10.213.249.100/24}}
  credentials: {{password: {{file: key}}}}
image:
  version: {version}
  repository: {{url: {repository}}}
platform:
  kind: aws
  region: {region}
  endpoint_url: {url}
  vpc_id: {vpc}
  subnets: [{{id: {subnet}, cidr: {cidr}}}]
  access: {{operators: [{cidr}]}}
  source_ami: {{owner: self}}
  tags: {{Team: "cloud %{{x}}"}}
network:
  subnet: {cidr}
  generations:
    a: [10.213.249.111, 10.213.249.112, 10.213.249.113]
    b: [10.213.249.121, 10.213.249.122, 10.213.249.123]
ssh: {{key: key}}
state: state
"""


class Bakery:
    """A cluster on EC2, with nothing in it but the AMIs to bake on."""

    def __init__(self, folder: Path, cloud: Cloud, machines: Machines) -> None:
        self.folder = folder
        self.cloud = cloud
        self.machines = machines
        cloud.publish("debian-12-amd64-20260201-1", date(2026, 2, 1))
        cloud.publish("debian-12-amd64-20260101-1", date(2026, 1, 1))
        keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"]
        subprocess.run(keygen, check=True, timeout=60)
        named = os.environ.get("ONEBATON_REPO")
        repository = Path(named) if named else folder / "packages"
        if not named:
            subprocess.run([sys.executable, STANDIN, repository], check=True, timeout=300)
        (folder / "cluster.yaml").write_text(
            CLUSTER.format(
                version=VERSION,
                repository=repository,
                region=REGION,
                url=cloud.url,
                vpc=machines.vpc,
                subnet=machines.subnet,
                cidr=SUBNET,
            )
        )

    def onebaton(self, *words: str) -> int:
        return main.main([*words, "--config", str(self.folder / "cluster.yaml")])

    def on_the_disk(self, script: str) -> list[str]:
        """What a script prints that runs on the disk of the one AMI, where nothing was booted."""
        (disk,) = self.machines.disks.values()
        argv = ("run", "--rm", "--network=none", "--entrypoint=/bin/sh", disk, "-c", script)
        return self.machines.ask(*argv).splitlines()


@pytest.fixture(scope="module")
def bakery(tmp_path_factory: pytest.TempPathFactory, aws_calls: Path) -> Iterator[Bakery]:
    folder = tmp_path_factory.mktemp("bake")
    with ExitStack() as stack:
        service = stack.enter_context(cloud(aws_calls / "bake"))
        stack.enter_context(keys_of(service))
        yield Bakery(folder, service, stack.enter_context(machines(service, folder)))


def test_a_bake_ends_in_the_catalogue(bakery: Bakery, capsys: pytest.CaptureFixture[str]):
    """After Packer provisioned an instance, and a second one booted, was looked at and served."""
    status = bakery.onebaton("bake")
    said = capsys.readouterr()
    assert status == Status.OK, said.err
    assert bakery.onebaton("images", "list", "--json") == Status.OK
    (image,) = json.loads(capsys.readouterr().out)
    assert (image["platform"], image["version"]) == ("aws", VERSION)
    assert image["base"].startswith("debian-12-amd64-20260201-1 (ami-")

    ec2 = bakery.cloud.ec2
    (ami,) = ec2.describe_images(ImageIds=[image["digest"]])["Images"]
    tags = {tag["Key"]: tag["Value"] for tag in ami["Tags"]}
    assert ami["Name"] == tags["Name"] == image["name"]
    ours = {
        "onebaton:cluster": "bake",
        "onebaton:version": VERSION,
        "onebaton:recipe": image["recipe_digest"],
        "onebaton:schema": "6.10.0",
        "Team": "cloud %{x}",
    }
    assert ours.items() <= tags.items()
    snapshot = ami["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"]
    (found,) = ec2.describe_snapshots(SnapshotIds=[snapshot])["Snapshots"]
    assert ours.items() <= {tag["Key"]: tag["Value"] for tag in found["Tags"]}.items()


def test_nothing_else_is_left_of_it(bakery: Bakery):
    ec2 = bakery.cloud.ec2
    reservations = ec2.describe_instances()["Reservations"]
    states = [i["State"]["Name"] for r in reservations for i in r["Instances"]]
    assert states == ["terminated", "terminated"]
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    groups = ec2.describe_security_groups()["SecurityGroups"]
    assert {group["GroupName"] for group in groups} == {"default"}


def test_an_ami_holds_what_aws_needs_and_nothing_of_one_machine(bakery: Bakery):
    assert bakery.on_the_disk(
        f"cat /home/{USER}/.ssh/authorized_keys /root/.ssh/authorized_keys /etc/machine-id;"
        "ls /etc/ssh/ssh_host_* /var/lib/cloud/instance* /var/log/cloud-init*;"
        "systemctl is-enabled mariadb onebaton-data-disk onebaton-first-boot cloud-init opennebula;"
        "/usr/local/lib/onebaton/leader-address --help | head -n 1;"
        "python3 -c 'from cloudinit.stages import Init\n"
        "init = Init()\ninit.read_cfg()\n"
        'print(*init.cfg["datasource_list"])\n'
        'print(*init.cfg["cloud_init_modules"])\n'
        'print(init.cfg["cloud_config_modules"], init.cfg["cloud_final_modules"])\''
    ) == [
        *["enabled"] * 4,
        "disabled",
        "usage: leader-address [-h] [--elastic-ip ALLOCATION] [--endpoint URL]",
        "Ec2",
        "write-files growpart resizefs",
        "[] []",
    ]
