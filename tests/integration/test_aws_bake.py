"""Baking an AMI with real Packer: EC2 on loopback, and a container for each instance."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import date
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from tests.fakes.reporter import ListReporter
from tests.integration.ec2_cloud import REGION, Cloud, cloud, keys_of
from tests.integration.ec2_machines import SUBNET, Machines, machines

from onebaton import config
from onebaton.adapters import aws_session
from onebaton.adapters.aws_build import AwsBuild
from onebaton.adapters.aws_images import AwsImages
from onebaton.adapters.image_builder import PackerBuilder
from onebaton.model import Image
from onebaton.wiring.cluster import SystemClock

pytestmark = pytest.mark.integration

VERSION = "6.10.0"
STANDIN = Path(__file__).parents[1] / "standin" / "build.py"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package repository named by ONEBATON_REPO, else one of stand-in packages."""
    named = os.environ.get("ONEBATON_REPO")
    if named:
        return Path(named)
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run([sys.executable, STANDIN, folder], check=True, timeout=300)
    return folder


class Bakery:
    """A builder of a test's own, with real parts."""

    def __init__(self, state: Path, repository: Path, cloud: Cloud, machines: Machines) -> None:
        self.reporter = ListReporter()
        self.machines = machines
        self.cloud = cloud
        cloud.publish("debian-12-amd64-20260101-1", date(2026, 1, 1))
        cloud.publish("debian-12-amd64-20260201-1", date(2026, 2, 1))
        self.settings = config.AwsPlatform(
            kind="aws",
            region=REGION,
            endpoint_url=cloud.url,
            vpc_id=machines.vpc,
            subnets=(config.AwsSubnet(id=machines.subnet, cidr=IPv4Network(SUBNET)),),
            access=config.AwsAccess(operators=(IPv4Network("10.213.249.0/24"),)),
            source_ami=config.AwsSource(owner="self"),
            tags={"Team": "cloud ${x}"},
        )
        ec2 = aws_session.ec2(region=REGION, endpoint_url=cloud.url, timeout_s=30)
        self.images = AwsImages(ec2, cluster="bake")
        image = config.ImageConfig(
            version=VERSION, repository=config.RepositoryConfig(url=str(repository))
        )
        build = AwsBuild(
            self.settings,
            ec2,
            self.images,
            cluster="bake",
            reporter=self.reporter,
            clock=SystemClock(),
        )
        self.builder = PackerBuilder(image, build, state / "bake", self.reporter, SystemClock())


@pytest.fixture(scope="module")
def bakery(
    tmp_path_factory: pytest.TempPathFactory, repository: Path, aws_calls: Path
) -> Iterator[Bakery]:
    state = tmp_path_factory.mktemp("state")
    with ExitStack() as stack:
        service = stack.enter_context(cloud(aws_calls / "bake"))
        stack.enter_context(keys_of(service))
        running = stack.enter_context(machines(service, state))
        yield Bakery(state, repository, service, running)


@pytest.fixture(scope="module")
def baked(bakery: Bakery) -> Image:
    return bakery.builder.build(bakery.builder.recipe())


def test_what_was_baked_is_told(bakery: Bakery, baked: Image):
    assert bakery.images.present(baked)
    assert baked.digest.startswith("ami-")
    assert baked.name.startswith(f"onebaton-bake-{VERSION}-")
    assert baked.base.startswith("debian-12-amd64-20260201-1 (ami-")
