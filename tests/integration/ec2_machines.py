"""Instances of EC2 on loopback as containers: what the API starts can be logged in to.

An instance of a published AMI is Debian with a user that may use sudo and the key pair's public
half, as Debian's own first boot makes it. One of an AMI that was made from an instance boots that
one's disk, with systemd and cloud-init, and a metadata service that gives it its user data.
"""

import base64
import contextlib
import os
import threading
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from tests.fakes.reporter import ListReporter
from tests.integration.ec2_cloud import REGION, Cloud
from tests.integration.metadata import MetadataServer

from onebaton.adapters.base_image import BaseImages
from onebaton.adapters.ingredients import debian_packages
from onebaton.adapters.podman import Podman

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import InstanceTypeDef

SUBNET = IPv4Network("10.213.249.0/24")
GATEWAY = "10.213.249.1"
BASE = "mmdebstrap:bookworm"
#: The user of Debian's AMIs.
USER = "admin"
QUICK_S = 120.0
POLL_S = 0.1

_FIRST_BOOT = """
useradd --create-home --shell /bin/bash "$0"
echo "$0 ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/90-cloud-init-users
install -d -o "$0" -g "$0" -m 0700 "/home/$0/.ssh"
printf '%s\\n' "$1" >"/home/$0/.ssh/authorized_keys"
ssh-keygen -A
mkdir -p /run/sshd
exec /usr/sbin/sshd -D
"""
#: What a container lacks of EC2: the address that the metadata service has there.
_CLOUD_INIT = """
datasource:
  Ec2:
    strict_id: false
    metadata_urls: ["{url}"]
network: {{config: disabled}}
"""


class Machines:
    """Starts a container for each instance, at its private address, and ends it with it.

    :ivar vpc: id of the network's VPC.
    :ivar subnet: id of its subnet.
    :ivar disks: names of container images: disks of instances when they were stopped, by id.
    """

    def __init__(self, cloud: Cloud, podman: Podman, base: str, folder: Path) -> None:
        self.disks: dict[str, str] = {}
        self.network = f"onebaton-ec2-{os.getpid()}"
        self.vpc = cloud.ec2.create_vpc(CidrBlock=str(SUBNET))["Vpc"]["VpcId"]
        made = cloud.ec2.create_subnet(VpcId=self.vpc, CidrBlock=str(SUBNET))
        self.subnet = made["Subnet"]["SubnetId"]
        self._cloud = cloud
        self._podman = podman
        self._base = base
        self._folder = folder
        self._running: dict[str, str] = {}
        self._over = threading.Event()

    def ask(self, *args: str, check: bool = True) -> str:
        """What podman prints."""
        return self._podman.run(args, timeout_s=QUICK_S, check=check).stdout.strip()

    def follow(self, metadata: MetadataServer) -> None:
        """Do what the API was asked for, until :meth:`end`."""
        while not self._over.wait(POLL_S):
            for reservation in self._cloud.ec2.describe_instances()["Reservations"]:
                for instance in reservation["Instances"]:
                    self._treat(instance, metadata)

    def end(self) -> None:
        self._over.set()

    def remove_all(self) -> None:
        """Take away all that was made."""
        for name in self._running.values():
            self._remove(name)
        for image in self.disks.values():
            self.ask("image", "rm", "--force", image, check=False)
        self.ask("network", "rm", "--force", self.network, check=False)

    def _treat(self, instance: "InstanceTypeDef", metadata: MetadataServer) -> None:
        id_, state = instance["InstanceId"], instance["State"]["Name"]
        if state == "running" and id_ not in self._running and id_ not in self.disks:
            self._running[id_] = f"onebaton-ec2-{id_}"
            self._start(instance, metadata)
        elif state in ("stopped", "terminated") and id_ in self._running:
            name = self._running[id_]
            # A stop that is followed by an end at once is not always seen.
            if "KeyName" in instance and id_ not in self.disks:
                disk = f"localhost/onebaton-ec2:{id_}"
                self.ask("commit", "--quiet", name, disk)
                self.disks[id_] = disk
            if state == "terminated":
                self._remove(name)
                del self._running[id_]

    def _start(self, instance: "InstanceTypeDef", metadata: MetadataServer) -> None:
        name, address = self._running[instance["InstanceId"]], instance["PrivateIpAddress"]
        common = ("run", "--detach", "--name", name, f"--network={self.network}", f"--ip={address}")
        # The AMI's own word; the API does not show it to everybody.
        ami = ec2_backends[DEFAULT_ACCOUNT_ID][REGION].amis[instance["ImageId"]]
        if ami.instance_id is None:
            (pair,) = self._cloud.ec2.describe_key_pairs(
                KeyNames=[instance["KeyName"]], IncludePublicKey=True
            )["KeyPairs"]
            script = ("-c", _FIRST_BOOT, USER, pair["PublicKey"])
            self.ask(*common, "--entrypoint=/bin/sh", self._base, *script)
            return
        told = self._cloud.ec2.describe_instance_attribute(
            InstanceId=instance["InstanceId"], Attribute="userData"
        )
        user_data = base64.b64decode(told["UserData"]["Value"]).decode()
        metadata.machines[address] = {
            "meta-data/instance-id": instance["InstanceId"],
            "meta-data/local-ipv4": address,
            "user-data": user_data,
        }
        (named,) = [tag["Value"] for tag in instance["Tags"] if tag["Key"] == "Name"]
        lab = self._folder / "zz-lab.cfg"
        lab.write_text(_CLOUD_INIT.format(url=metadata.url))
        self.ask(
            *common,
            # A container may not rename itself, as an instance does.
            *("--systemd=always", "--cap-add=NET_ADMIN,NET_RAW", f"--hostname={named}"),
            f"--volume={lab}:/etc/cloud/cloud.cfg.d/{lab.name}:ro",
            "--entrypoint=/sbin/init",
            self.disks[ami.instance_id],
        )

    def _remove(self, name: str) -> None:
        self.ask("rm", "--force", "--ignore", "--volumes", "--time=0", name, check=False)


@contextlib.contextmanager
def machines(cloud: Cloud, folder: Path) -> Iterator[Machines]:
    """Machines for the instances of a region, until the block is left."""
    podman = Podman(folder / "podman")
    bases = BaseImages(podman, debian_packages("podman"), folder, ListReporter())
    bases.ensure(BASE)
    made = Machines(cloud, podman, bases.reference(BASE), folder)
    with contextlib.ExitStack() as stack:
        stack.callback(made.remove_all)
        made.ask("network", "create", f"--subnet={SUBNET}", made.network)
        # The bridge has its address only while a container is on it.
        everywhere = "0.0.0.0"  # noqa: S104 - see above; it tells only these machines something
        # cloud-init takes tokens only from a machine that says it is EC2's.
        serving = MetadataServer.serving(everywhere, seen_at=GATEWAY, tokens=False)
        metadata = stack.enter_context(serving)
        thread = threading.Thread(target=made.follow, args=(metadata,))
        thread.start()
        stack.callback(thread.join)
        stack.callback(made.end)
        yield made
