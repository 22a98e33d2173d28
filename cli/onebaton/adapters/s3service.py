"""How an S3-compatible object store is spoken to: one client, one deadline a call, clear errors.

Keys (access key and secret) come from boto3's own chain alone. Neither they nor a text of the
service's get into a message: only its error's code does.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeVar

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from onebaton.adapters.bounded import within
from onebaton.adapters.s3errors import told
from onebaton.config import S3Config
from onebaton.errors import UnavailableError
from onebaton.fields import bucket_and_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a call may take, and how often it is tried.

    :param connect_s: one connection.
    :param read_s: one wait for the service's next bytes.
    :param attempts: tries in all, of what may be tried again: throttling, 5xx, no answer.
    """

    connect_s: float = 3.0
    read_s: float = 5.0
    attempts: int = 5


USUAL = Patience()


class S3Service:
    """The service that holds a place, and calls of it that end in time.

    :param place: ``s3://bucket/prefix``.
    :ivar prefix: what the names of all objects there begin with, its slash included.
    """

    def __init__(self, place: str, config: S3Config, *, patience: Patience = USUAL) -> None:
        self.place = place
        self.bucket, prefix = bucket_and_prefix(place)
        self.prefix = f"{prefix}/" if prefix else ""
        self.config = config
        self.patience = patience
        self._making = threading.Lock()
        self._made: S3Client | None = None
        self._deadline = threading.local()

    def call(self, verb: str, key: str, work: "Callable[[S3Client], T]") -> T:
        """What the work gives, within the deadline.

        :param verb: what is done, in words that go on from "cannot".
        :param key: below the place, for messages.
        :raises UnavailableError: if it fails.
        """
        at = time.monotonic() + self.config.timeout_s

        def bounded() -> T:
            self._deadline.at = at
            return work(self._client())

        where = f"{self.place}/{key}"
        try:
            return within(self.config.timeout_s, bounded, name="s3")
        except TimeoutError:
            raise UnavailableError(
                f"cannot {verb} {where}: no whole answer within {self.config.timeout_s:g} s",
                details=[f"bucket {self.bucket} at {self._address}"],
                resolution="See that the store can be reached from here and is not overloaded "
                "(`state` and `s3` in cluster.yaml), then run the same command again.",
            ) from None
        except (ClientError, BotoCoreError, ResponseParserError) as error:
            raise told(error, verb, where, self.bucket, self._address) from None

    @property
    def _address(self) -> str:
        return self.config.endpoint_url or "AWS"

    @property
    def _style(self) -> Literal["path", "virtual"]:
        # A store beside OpenNebula rarely has a DNS name for each bucket, and no certificate
        # fits one with dots. Where a style is named, links lead to the bucket's own region.
        beside = self.config.endpoint_url is not None
        return "path" if beside or "." in self.bucket else "virtual"

    def _client(self) -> "S3Client":
        """Made within the first call's deadline: looking for keys may ask the network."""
        with self._making:
            if self._made is None:
                self._made = self._make()
            return self._made

    def _make(self) -> "S3Client":
        config = self.config
        client = boto3.session.Session().client(
            "s3",
            endpoint_url=config.endpoint_url,
            region_name=config.region,
            config=Config(
                connect_timeout=min(self.patience.connect_s, config.timeout_s),
                read_timeout=min(self.patience.read_s, config.timeout_s),
                retries={"mode": "standard", "total_max_attempts": self.patience.attempts},
                s3={"addressing_style": self._style},
                # Older S3-compatible stores refuse the checksums that AWS takes; without one
                # the signature covers the content.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                # Links too: left to itself the library signs those the way before this one.
                signature_version="s3v4",
            ),
        )
        client.meta.events.register("before-send.s3", self._in_time)
        return client

    def _in_time(self, **_: object) -> None:
        """Keep a call that was given up from being tried again."""
        if time.monotonic() >= self._deadline.at:
            raise TimeoutError
