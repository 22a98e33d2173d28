"""Keys and bytes in a bucket of an S3-compatible object store.

A write of S3 is whole or was never there, and what was written is read by everybody from then
on. ``create`` and ``replace`` are conditional writes (``If-None-Match: *``, ``If-Match``); a
store that takes them and does not heed them would let two runs hold the lock, so it is tried
before the first of them.
"""

import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Literal

from botocore.exceptions import (
    ClientError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)
from botocore.parsers import ResponseParserError

from onebaton.adapters.s3errors import code_of, retries_of, status_of
from onebaton.adapters.s3service import USUAL, Patience, S3Service
from onebaton.adapters.store import parts_of
from onebaton.config import S3Config
from onebaton.errors import RefusedError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2RequestTypeDef, PutObjectRequestTypeDef

#: The object that conditional writes are tried on; no key starts with a dot.
PROOF = ".conditional-writes"
PROOF_TEXT = b"Whether this store heeds conditional writes is tried here; it may be removed.\n"
#: An entity tag that no object has.
NO_TAG = '"no such object"'
#: Metadata that tells one write from every other.
WRITER = "onebaton-write"
#: Pauses after a write that the service saw beside another one of the same key, in seconds: it
#: answers 409 and wants it once more (AWS documentation of PutObject).
CONFLICT_PAUSES_S = (0.05, 0.2, 0.5, 1.0, 2.0)


class S3Store:
    """The port ``Store`` on ``s3://bucket/prefix``, one object a key.

    :param place: ``s3://bucket/prefix``.
    """

    def __init__(self, place: str, config: S3Config, *, patience: Patience = USUAL) -> None:
        self._service = S3Service(place, config, patience=patience)
        self._bucket = self._service.bucket
        self._prefix = self._service.prefix
        self._proving = threading.Lock()
        self._proven = False

    def read(self, key: str) -> bytes | None:
        """The content, ``None`` if there is none.

        :raises UnavailableError: if the store does not give it.
        """
        found = self._service.call("read", key, partial(self._get, self._name(key)))
        return None if found is None else found[0]

    def write(self, key: str, content: bytes) -> None:
        """Replace the content; durable when this returns.

        :raises UnavailableError: if the store does not take it.
        """
        request = self._request(self._name(key), content)
        self._service.call("write", key, partial(_put, request))

    def create(self, key: str, content: bytes) -> bool:
        """Write only if there is nothing yet: of several writers exactly one succeeds.

        :returns: ``False`` if something is there.
        :raises UnavailableError: if the store does not take it.
        :raises RefusedError: if the store does not heed conditional writes.
        """
        request = self._request(self._name(key), content)
        request["IfNoneMatch"] = "*"
        self._prove()
        return self._service.call("write", key, partial(_put, request))

    def replace(self, key: str, expected: bytes, content: bytes) -> bool:
        """Write only if ``expected`` is what is there: of several writers one succeeds.

        :returns: ``False`` if something else, or nothing, is there.
        :raises UnavailableError: if the store does not take it.
        :raises RefusedError: if the store does not heed conditional writes.
        """
        request = self._request(self._name(key), content)
        self._prove()
        found = self._service.call("read", key, partial(self._get, request["Key"]))
        if found is None or found[0] != expected:
            return False
        request["IfMatch"] = found[1]
        return self._service.call("write", key, partial(_put, request))

    def delete(self, key: str) -> None:
        """Remove it; no error if there is none.

        :raises UnavailableError: if the store does not remove it.
        """
        name = self._name(key)
        self._service.call("remove", key, lambda c: c.delete_object(Bucket=self._bucket, Key=name))

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys that start with ``prefix``, sorted.

        :raises UnavailableError: if the store does not list them.
        """
        found: list[str] = []
        token: str | None = None
        while True:
            # Each page has the whole time: a long journal has many.
            names, token = self._service.call("list", prefix, partial(self._page, prefix, token))
            found += [name.removeprefix(self._prefix) for name in names]
            if token is None:
                break
        yield from sorted(key for key in found if _is_key(key))

    def _name(self, key: str) -> str:
        return self._prefix + "/".join(parts_of(key))

    def _request(self, name: str, content: bytes) -> "PutObjectRequestTypeDef":
        request: PutObjectRequestTypeDef = {
            "Bucket": self._bucket,
            "Key": name,
            "Body": content,
            "Metadata": {WRITER: secrets.token_hex(16)},
        }
        config = self._service.config
        if config.encryption != "bucket":
            request["ServerSideEncryption"] = config.encryption
        if config.kms_key_id is not None:
            request["SSEKMSKeyId"] = config.kms_key_id
        return request

    def _get(self, name: str, client: "S3Client") -> tuple[bytes, str] | None:
        """Content and entity tag."""
        tries = self._service.patience.attempts
        while True:
            tries -= 1
            try:
                answer = client.get_object(Bucket=self._bucket, Key=name)
                _require(answer, "ETag")
                return answer["Body"].read(), answer["ETag"]
            except ClientError as error:
                if code_of(error) == "NoSuchKey":
                    return None
                raise
            except (ResponseStreamingError, IncompleteReadError, ReadTimeoutError):
                # It broke off within the content, where the library does not try again.
                if not tries:
                    raise

    def _page(
        self, prefix: str, token: str | None, client: "S3Client"
    ) -> tuple[list[str], str | None]:
        """Names of one page, and what the next one is asked for with."""
        request: ListObjectsV2RequestTypeDef = {
            "Bucket": self._bucket,
            "Prefix": self._prefix + prefix,
        }
        if token is not None:
            request["ContinuationToken"] = token
        answer = client.list_objects_v2(**request)
        _require(answer, "IsTruncated")
        names = [entry["Key"] for entry in answer.get("Contents", [])]
        return names, answer.get("NextContinuationToken")

    def _prove(self) -> None:
        """See once that the store heeds conditions.

        The object stays, so that from the second time on nothing is written: in a versioned
        bucket every write would be kept.
        """
        with self._proving:
            if self._proven:
                return
            ignored = self._service.call("write", PROOF, self._ignored)
            if ignored:
                raise RefusedError(
                    f"the store of {self._service.place} does not heed conditional writes",
                    details=[f"it wrote over an object in spite of {' and '.join(ignored)}"],
                    resolution="Two runs could hold the lock at the same time. Take a store that "
                    "has conditional writes (AWS, current MinIO and Ceph do), or a folder as "
                    "`state`.",
                )
            self._proven = True

    def _ignored(self, client: "S3Client") -> tuple[str, ...]:
        """Headers whose conditions did not hold and did not keep a write back."""

        def written(header: Literal["IfNoneMatch", "IfMatch"], tag: str) -> bool:
            request = self._request(self._prefix + PROOF, PROOF_TEXT)
            request[header] = tag
            return _put(request, client)

        # The first time ever there is nothing yet, and the condition holds.
        wrote_over = written("IfNoneMatch", "*") and written("IfNoneMatch", "*")
        found = {"If-None-Match": wrote_over, "If-Match": written("IfMatch", NO_TAG)}
        return tuple(header for header, ignored in found.items() if ignored)


def _put(request: "PutObjectRequestTypeDef", client: "S3Client") -> bool:
    """Write; whether the condition held, if there is one."""
    for pause_s in (*CONFLICT_PAUSES_S, None):
        try:
            _require(client.put_object(**request), "ETag")
        except ClientError as error:
            if status_of(error) == 412:
                # The answer to a try that went through may have been lost, and the next try have
                # found what it wrote.
                return bool(retries_of(error)) and _is_ours(request, client)
            if code_of(error) == "NoSuchKey":
                return False
            if status_of(error) != 409 or pause_s is None:
                raise
            time.sleep(pause_s)
        else:
            return True
    raise AssertionError("the last pause is none")


def _is_ours(request: "PutObjectRequestTypeDef", client: "S3Client") -> bool:
    """What is there is what this very request wrote."""
    there = client.head_object(Bucket=request["Bucket"], Key=request["Key"])
    return there["Metadata"].get(WRITER) == request["Metadata"][WRITER]


def _require(answer: Mapping[str, object], field: str) -> None:
    """See that the answer is one: a web server takes every path, and has a page for it.

    :raises ResponseParserError: if the field is missing.
    """
    if field not in answer:
        raise ResponseParserError


def _is_key(name: str) -> bool:
    """Other objects may be there: folders that a console made, the proof."""
    try:
        parts_of(name)
    except ValueError:
        return False
    return True
