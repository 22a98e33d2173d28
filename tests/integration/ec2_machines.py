"""Instances of EC2 on loopback as containers: what the API starts can be logged in to."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from tests.fakes.reporter import ListReporter
from tests.integration.ec2_cloud import Cloud

from onebaton.adapters.base_image import BaseImages
from onebaton.adapters.ingredients import debian_packages
from onebaton.adapters.podman import Podman

SUBNET = "10.213.249.0/24"
BASE = "mmdebstrap:bookworm"
#: The user of Debian's AMIs.
USER = "admin"
QUICK_S = 60.0
POLL_S = 0.1

#: What the first boot of Debian's AMI does: a user with sudo, and the key pair's public half.
_FIRST_BOOT = """
useradd --create-home --shell /bin/bash "$0"
echo "$0 ALL=(ALL) NOPASSWD:ALL" >/etc/sudoers.d/90-cloud-init-users
install -d -o "$0" -g "$0" -m 0700 "/home/$0/.ssh"
printf '%s\\n' "$1" >"/home/$0/.ssh/authorized_keys"
ssh-keygen -A
mkdir -p /run/sshd
exec /usr/sbin/sshd -D
"""


class Machines:
    """Starts a container for each instance, at its private address, and ends it with it.

    :ivar vpc: id of the network's VPC.
    :ivar subnet: id of its subnet.
    :ivar kept: names of container images, by instance: its disk when it was stopped.
    """

    def __init__(self, cloud: Cloud, podman: Podman, base: str) -> None:
        self.kept: dict[str, str] = {}
        self.network = f"onebaton-ec2-{os.getpid()}"
        ec2 = cloud.ec2
        self.vpc = ec2.create_vpc(CidrBlock=SUBNET)["Vpc"]["VpcId"]
        made = ec2.create_subnet(VpcId=self.vpc, CidrBlock=SUBNET)
        self.subnet = made["Subnet"]["SubnetId"]
        self._cloud = cloud
        self._podman = podman
        self._base = base
        self._running: dict[str, str] = {}
        self._over = threading.Event()

    def ask(self, *args: str, check: bool = True) -> str:
        """What podman prints."""
        return self._podman.run(args, timeout_s=QUICK_S, check=check).stdout.strip()

    def follow(self) -> None:
        """Until :meth:`end`."""
        while not self._over.wait(POLL_S):
            self._look()

    def end(self) -> None:
        self._over.set()

    def remove_all(self) -> None:
        """Take away all that was made."""
        for name in self._running.values():
            self.ask("rm", "--force", "--ignore", "--time=0", name, check=False)
        for image in self.kept.values():
            self.ask("image", "rm", "--force", image, check=False)
        self.ask("network", "rm", "--force", self.network, check=False)

    def _look(self) -> None:
        for reservation in self._cloud.ec2.describe_instances()["Reservations"]:
            for instance in reservation["Instances"]:
                self._treat(instance)

    def _treat(self, instance) -> None:
        id_, state = instance["InstanceId"], instance["State"]["Name"]
        if state == "running" and id_ not in self._running:
            self._start(id_, instance["PrivateIpAddress"], instance["KeyName"])
        elif state == "stopped" and id_ in self._running and id_ not in self.kept:
            image = f"localhost/onebaton-ec2:{id_}"
            self.ask("stop", "--time=0", self._running[id_])
            self.ask("commit", "--quiet", self._running[id_], image)
            self.kept[id_] = image
        elif state == "terminated" and id_ in self._running:
            self.ask("rm", "--force", "--ignore", "--time=0", self._running.pop(id_))

    def _start(self, id_: str, address: str, key: str) -> None:
        (pair,) = self._cloud.ec2.describe_key_pairs(KeyNames=[key], IncludePublicKey=True)[
            "KeyPairs"
        ]
        name = f"onebaton-ec2-{id_}"
        self._running[id_] = name
        self.ask(
            *("run", "--detach", "--name", name, f"--network={self.network}", f"--ip={address}"),
            *("--entrypoint=/bin/sh", self._base, "-c", _FIRST_BOOT, USER, pair["PublicKey"]),
        )


@contextlib.contextmanager
def machines(cloud: Cloud, folder: Path) -> Iterator[Machines]:
    """Machines for the instances of a region, until the block is left."""
    podman = Podman(folder / "podman")
    bases = BaseImages(podman, debian_packages("podman"), folder, ListReporter())
    bases.ensure(BASE)
    made = Machines(cloud, podman, bases.reference(BASE))
    thread = threading.Thread(target=made.follow)
    try:
        made.ask("network", "create", f"--subnet={SUBNET}", made.network)
        thread.start()
        yield made
    finally:
        made.end()
        if thread.is_alive():
            thread.join()
        made.remove_all()


def wait_kept(machines: Machines, instance: str) -> str:
    """The container image of an instance's disk, as it was when it was stopped."""
    until = time.monotonic() + QUICK_S
    while instance not in machines.kept:
        assert time.monotonic() < until, "the instance was never stopped"
        time.sleep(POLL_S)
    return machines.kept[instance]
