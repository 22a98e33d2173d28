"""Clients of AWS: keys from the usual places, a deadline over each call, errors in words.

Keys (access key and secret) come from boto3's own chain alone: environment, profile, the
machine's role.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from onebaton.adapters.aws_errors import is_missing, told
from onebaton.adapters.bounded import within
from onebaton.errors import UnavailableError

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client
    from mypy_boto3_iam.client import IAMClient

T = TypeVar("T")
C = TypeVar("C")

CONNECT_TIMEOUT_S = 3.0
READ_TIMEOUT_S = 15.0
#: Tries in all, of what may be tried again: throttling, 5xx, no answer.
ATTEMPTS = 5


class Service(Generic[C]):
    """One service of AWS.

    :param name: as people call it.
    :param make: makes the client; called within the first call's deadline, as looking for keys
        may ask the network.
    :param place: the region, or the address.
    :param timeout_s: deadline of one call with all its retries.
    """

    def __init__(self, name: str, make: "Callable[[], C]", *, place: str, timeout_s: float) -> None:
        self._name = f"{name} in {place}"
        self._make = make
        self._timeout_s = timeout_s
        self._making = threading.Lock()
        self._made: C | None = None
        self._deadline = threading.local()

    def call(self, verb: str, work: "Callable[[C], T]") -> T:
        """What the work gives, within the deadline.

        :param verb: what is tried, in words that go on from "cannot".
        :raises UnavailableError: if it fails.
        """
        try:
            return self._bounded(verb, work)
        except ClientError as error:
            raise told(error, verb, self._name) from None

    def unless_missing(self, verb: str, work: "Callable[[C], T]") -> T | None:
        """The same; ``None`` if what the work names does not exist.

        :raises UnavailableError: if it fails otherwise.
        """
        try:
            return self._bounded(verb, work)
        except ClientError as error:
            if is_missing(error):
                return None
            raise told(error, verb, self._name) from None

    def _bounded(self, verb: str, work: "Callable[[C], T]") -> T:
        at = time.monotonic() + self._timeout_s

        def bounded() -> T:
            self._deadline.at = at
            return work(self._client())

        try:
            return within(self._timeout_s, bounded, name=self._name)
        except TimeoutError:
            raise UnavailableError(
                f"cannot {verb}: no whole answer within {self._timeout_s:g} s",
                details=[self._name],
                resolution="See that the service can be reached from here, then run the same "
                "command again.",
            ) from None
        except (BotoCoreError, ResponseParserError) as error:
            raise told(error, verb, self._name) from None

    def _client(self) -> C:
        with self._making:
            if self._made is None:
                self._made = self._make()
                # The library gives every client its own hooks; the types know nothing of it.
                self._made.meta.events.register("before-send", self._in_time)  # type: ignore[attr-defined]
            return self._made

    def _in_time(self, **_: object) -> None:
        """Keep a call that was given up from being tried again."""
        if time.monotonic() >= self._deadline.at:
            raise TimeoutError


def ec2(*, region: str, endpoint_url: str | None, timeout_s: float) -> "Service[EC2Client]":
    """EC2 of a region.

    :param endpoint_url: of another service with the same API.
    """
    return Service(
        "EC2",
        lambda: boto3.session.Session().client(
            "ec2", region_name=region, endpoint_url=endpoint_url, config=_config(timeout_s)
        ),
        place=endpoint_url or region,
        timeout_s=timeout_s,
    )


def iam(*, region: str, endpoint_url: str | None, timeout_s: float) -> "Service[IAMClient]":
    """IAM, which is the same in all regions of a partition."""
    return Service(
        "IAM",
        lambda: boto3.session.Session().client(
            "iam", region_name=region, endpoint_url=endpoint_url, config=_config(timeout_s)
        ),
        place=endpoint_url or region,
        timeout_s=timeout_s,
    )


def _config(timeout_s: float) -> Config:
    return Config(
        connect_timeout=min(CONNECT_TIMEOUT_S, timeout_s),
        read_timeout=min(READ_TIMEOUT_S, timeout_s),
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
