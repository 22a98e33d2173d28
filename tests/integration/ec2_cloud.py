"""AWS on loopback: moto's EC2, IAM, STS and S3 in one service, with its faults taken out."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_network_interfaces import NetworkInterfaceBackend
from tests.contract import objectstore
from tests.contract.objectstore import ACCESS_KEY, ObjectStore
from tests.contract.objectstore import SECRET_KEY as SECRET
from tests.integration.aws_calls import OURS

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

__all__ = ["OURS", "REGION", "SECRET", "Cloud", "cloud"]

REGION = "eu-central-1"


class Cloud:
    """An account.

    :ivar store: the service itself.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.url = store.url

    @property
    def seen(self) -> list[str]:
        """Actions asked for by others than the tests themselves, in order."""
        return self.store.actions

    @property
    def environment(self) -> dict[str, str]:
        """What programs take keys from."""
        return {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null/no-config",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null/no-keys",
        }

    def reset(self) -> None:
        """An empty account, in fair weather."""
        self.store.reset()

    @cached_property
    def ec2(self) -> "EC2Client":
        """A client of the tests' own."""
        session = boto3.session.Session(OURS, SECRET)
        return session.client("ec2", endpoint_url=self.url, region_name=REGION)

    def publish(self, name: str, day: date) -> str:
        """An AMI of that day; moto's own clock cannot tell two of one second apart.

        :returns: its id.
        """
        ami = self.ec2.register_image(Name=name)["ImageId"]
        made = ec2_backends[DEFAULT_ACCOUNT_ID][REGION].amis[ami]
        made.creation_date = datetime.combine(day, time(), UTC)
        made.root_device_type = "ebs"  # as Packer wants it
        return ami


@contextlib.contextmanager
def cloud(record: Path) -> Iterator[Cloud]:
    """Serve an empty account until the block is left.

    :param record: gets a line for each action that was asked for.
    """
    with pytest.MonkeyPatch.context() as patch, objectstore.serving(record) as store:
        # Hundreds of AMIs of others, each with a snapshot: seconds for each list.
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        patch.setattr(NetworkInterfaceBackend, "assign_private_ip_addresses", _assign)
        made = Cloud(store)
        made.reset()
        yield made


@contextlib.contextmanager
def keys_of(service: Cloud) -> Iterator[None]:
    """Programs take this account's keys from the environment, and no others."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in service.environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        yield


_moto_assign = NetworkInterfaceBackend.assign_private_ip_addresses


def _assign(backend, eni_id, private_ip_addresses=None, secondary_ips_count=None):
    """A secondary address that comes to an interface leaves another one; moto leaves it there."""
    for eni in backend.enis.values():
        if eni.id != eni_id:
            eni.private_ip_addresses[:] = [
                entry
                for entry in eni.private_ip_addresses
                if entry.get("Primary")
                or entry["PrivateIpAddress"] not in (private_ip_addresses or ())
            ]
    return _moto_assign(backend, eni_id, private_ip_addresses, secondary_ips_count)
