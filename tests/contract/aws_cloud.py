"""AWS on loopback: moto's EC2, IAM, STS and S3 in one service, with its faults taken out."""

import contextlib
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
import moto.ec2.models.instances as moto_instances
import pytest
from tests.contract import objectstore
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
        return boto3.session.Session(ACCESS_KEY, SECRET_KEY).client(
            "ec2", endpoint_url=self.url, region_name=REGION
        )


@contextlib.contextmanager
def serving() -> Iterator[Cloud]:
    """Serve an empty account until the block is left; its keys are in the environment."""
    with pytest.MonkeyPatch.context() as patch, objectstore.serving() as store:
        for name, value in KEYS.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        patch.setattr(moto_instances.Instance, "terminate", _terminate)
        yield Cloud(store)


_moto_terminate = moto_instances.Instance.terminate


def _terminate(instance):
    """EC2 takes a machine's interfaces off when it ends; moto leaves them attached."""
    before = _moto_terminate(instance)
    for interface in list(instance.nics.values()):
        if interface.instance is not None and not interface.delete_on_termination:
            instance.detach_eni(interface)
    return before
