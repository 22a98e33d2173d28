"""AWS on loopback: moto's EC2, IAM, STS and S3 in one service, with its faults taken out."""

import contextlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import moto.ec2.models.instances as moto_instances
import pytest
from moto.ec2.models.elastic_network_interfaces import NetworkInterfaceBackend
from tests.contract import objectstore
from tests.contract.aws_calls import OURS
from tests.contract.objectstore import ACCESS_KEY, SECRET_KEY, ObjectStore

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

REGION = "eu-central-1"
KEYS = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY,
    "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null/no-config",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null/no-keys",
}


class Cloud:
    """An account with one VPC.

    :ivar store: its S3, with the one bucket.
    """

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.url = store.url

    def clear(self) -> None:
        """A new account."""
        self.store.clear()

    @cached_property
    def ec2(self) -> "EC2Client":
        """A client of the tests' own."""
        return boto3.session.Session(OURS, SECRET_KEY).client(
            "ec2", endpoint_url=self.url, region_name=REGION
        )


@contextlib.contextmanager
def serving(record: Path | None = None) -> Iterator[Cloud]:
    """Serve an empty account until the block is left; its keys are in the environment.

    :param record: gets the actions that were asked for, a line each.
    """
    with pytest.MonkeyPatch.context() as patch, objectstore.serving(record) as store:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        # Hundreds of AMIs of others, each with a snapshot: seconds for each list.
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
        patch.setattr(moto_instances.Instance, "terminate", _terminate)
        patch.setattr(NetworkInterfaceBackend, "assign_private_ip_addresses", _assign)
        yield Cloud(store)


_moto_terminate = moto_instances.Instance.terminate


def _terminate(instance):
    """EC2 takes a machine's interfaces off when it ends; moto leaves them attached."""
    before = _moto_terminate(instance)
    for interface in list(instance.nics.values()):
        if interface.instance is not None and not interface.delete_on_termination:
            instance.detach_eni(interface)
    return before


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
