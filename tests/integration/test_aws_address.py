"""The hook that brings the zone's address to the leader, against EC2 on loopback."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.integration.ec2_cloud import Cloud, cloud
from tests.integration.metadata import metadata_service

from onebaton.adapters.nodeconfig import AWS_COMMAND
from onebaton.adapters.parts import part

pytestmark = pytest.mark.integration

HOOK = part("packer", "platforms", "aws", "files") / Path(AWS_COMMAND).relative_to("/")
VIP = "10.0.0.100"
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def service(aws_calls: Path) -> Iterator[Cloud]:
    with cloud(aws_calls / "address-of-a-node") as made:
        yield made


class Machines:
    """Two machines with an interface each, and what the vendor's hook was called with."""

    def __init__(self, service: Cloud, folder: Path) -> None:
        self.service = service
        self._folder = folder
        vpc = service.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnet = service.ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]
        self.enis = [
            service.ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=f"10.0.0.1{n}")[
                "NetworkInterface"
            ]["NetworkInterfaceId"]
            for n in (1, 2)
        ]
        self.vip_hook = folder / "vip.sh"
        self.vip_hook.write_text(f'#!/bin/sh\necho "$*" >>{folder}/called\n')
        self.vip_hook.chmod(0o755)

    @property
    def called(self) -> list[str]:
        """Arguments of the vendor's hook, in order."""
        file = self._folder / "called"
        return file.read_text().splitlines() if file.exists() else []

    def holders(self) -> list[str]:
        """Interfaces that EC2 sends the address's packets to."""
        found = self.service.ec2.describe_network_interfaces()["NetworkInterfaces"]
        return [
            eni["NetworkInterfaceId"]
            for eni in found
            if VIP in {entry["PrivateIpAddress"] for entry in eni["PrivateIpAddresses"]}
        ]

    def start(
        self, role: str, metadata: str, *options: str, endpoint: str = "", deadline_s: float = 10.0
    ) -> subprocess.Popen[str]:
        """The hook as ``oned`` of a machine runs it."""
        words = [role, "lo", f"{VIP}/24", *options, "--endpoint", endpoint or self.service.url]
        return subprocess.Popen(
            [sys.executable, HOOK, *words],
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self._folder),
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": metadata,
                "ONEBATON_VIP_HOOK": str(self.vip_hook),
                "ONEBATON_LOCKS": str(self._folder),
                "ONEBATON_DEADLINE_S": str(deadline_s),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, role: str, metadata: str, *options: str, **more) -> tuple[int, str]:
        """Exit status and what was said."""
        process = self.start(role, metadata, *options, **more)
        out, err = process.communicate(timeout=TIMEOUT_S)
        return process.returncode, out + err


@pytest.fixture
def pair(service: Cloud, tmp_path: Path) -> Machines:
    service.reset()
    return Machines(service, tmp_path)


def test_the_address_follows_the_leader(pair: Machines):
    with ExitStack() as stack:
        one, other = (stack.enter_context(metadata_service(eni)) for eni in pair.enis)
        assert pair.run("leader", one) == (0, "")
        assert pair.holders() == pair.enis[:1]
        assert pair.run("leader", other) == (0, "")
        assert pair.holders() == pair.enis[1:]
        assert pair.run("leader", other) == (0, "")
        assert pair.run("follower", one) == (0, "")
        assert pair.holders() == pair.enis[1:]
    assert pair.called == ["leader lo 10.0.0.100/24"] * 3 + ["follower lo 10.0.0.100/24"]
    assert pair.service.seen == ["ec2:AssignPrivateIpAddresses"] * 3


def test_an_elastic_ip_follows_the_leader(pair: Machines):
    ec2 = pair.service.ec2
    allocation = ec2.allocate_address(Domain="vpc")["AllocationId"]

    def holder() -> str:
        (address,) = ec2.describe_addresses(AllocationIds=[allocation])["Addresses"]
        return address["NetworkInterfaceId"]

    with ExitStack() as stack:
        for eni in (*pair.enis, pair.enis[1]):
            metadata = stack.enter_context(metadata_service(eni))
            assert pair.run("leader", metadata, "--elastic-ip", allocation) == (0, "")
            assert holder() == eni
    assert pair.holders() == []
    assert pair.called == ["leader lo 10.0.0.100/24"] * 3


def test_what_ec2_refuses_is_told_in_one_line_and_the_vendors_hook_runs_all_the_same(
    pair: Machines,
):
    with metadata_service("eni-00000000000000000") as metadata:
        status, said = pair.run("leader", metadata, deadline_s=1.0)
    assert status == 1
    (line,) = said.splitlines()
    assert line.startswith("leader-address: 10.0.0.100/24 is not here: ")
    assert "InvalidNetworkInterfaceID.NotFound" in line
    assert pair.called == ["leader lo 10.0.0.100/24"]


def test_a_metadata_service_that_never_answers_is_given_up(pair: Machines):
    began = time.monotonic()
    with metadata_service(pair.enis[0], answers=False) as metadata:
        status, said = pair.run("leader", metadata, deadline_s=2.0)
    assert (status, said) == (1, "leader-address: 10.0.0.100/24 is not here: timed out\n")
    assert time.monotonic() - began < 8
    assert pair.service.seen == []


def test_one_that_leads_no_more_stops_trying(pair: Machines):
    """Else it would take the address from the next leader when EC2 answers again."""
    with metadata_service(pair.enis[0]) as metadata:
        late = pair.start("leader", metadata, endpoint="http://127.0.0.1:9", deadline_s=30.0)
        until = time.monotonic() + 10
        while not pair.called and time.monotonic() < until:
            time.sleep(0.05)
        assert pair.run("follower", metadata) == (0, "")
        assert late.communicate(timeout=10) == ("", "")
    assert late.returncode == 0
    assert pair.holders() == []


def test_the_vendors_failure_is_the_hooks(pair: Machines):
    pair.vip_hook.write_text("#!/bin/sh\nexit 3\n")
    with metadata_service(pair.enis[0]) as metadata:
        assert pair.run("leader", metadata) == (3, "")
    assert pair.holders() == pair.enis[:1]
