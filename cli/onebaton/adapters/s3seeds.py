"""Where seeds pass through a bucket: objects that machines without keys send and fetch.

A node is given a link that is signed for one object, one method and a few minutes. What is
below the place belongs to whoever holds the cluster's lock: what is found there is left over
from a run that was killed.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

from botocore.parsers import ResponseParserError

from onebaton.adapters.passing import Errand
from onebaton.adapters.s3service import USUAL, Patience, S3Service
from onebaton.config import S3Config
from onebaton.errors import UnavailableError
from onebaton.model import Secret

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

#: Below the place.
FOLDER = "seeds"
#: Objects removed at the same time.
AT_ONCE = 8
#: Objects listed at once.
PAGE = 1000

#: Name and version of an object.
Version = tuple[str, str]


class S3Passage:
    """The bucket's part in a seed (implements :class:`onebaton.adapters.passing.Passage`).

    :param place: ``s3://bucket/prefix``; everything below its folder ``seeds`` is ours.
    """

    def __init__(self, place: str, config: S3Config, *, patience: Patience = USUAL) -> None:
        self._service = S3Service(place, config, patience=patience)
        self.place = f"{place}/{FOLDER}"

    def sending(self, name: str, *, valid_s: int) -> Errand:
        """See ``Passage.sending``: the object will be encrypted by the service as well."""
        config = self._service.config
        said: dict[str, str] = {}
        headers = []
        if config.encryption != "bucket":
            said["ServerSideEncryption"] = config.encryption
            headers.append(f"x-amz-server-side-encryption: {config.encryption}")
        if config.kms_key_id is not None:
            said["SSEKMSKeyId"] = config.kms_key_id
            headers.append(f"x-amz-server-side-encryption-aws-kms-key-id: {config.kms_key_id}")
        return Errand(self._link("put_object", name, valid_s, said), tuple(headers))

    def fetching(self, name: str, *, valid_s: int) -> Errand:
        """See ``Passage.fetching``."""
        return Errand(self._link("get_object", name, valid_s, {}), ())

    def clear(self) -> int:
        """See ``Passage.clear``.

        All versions go: a bucket that keeps them would keep every seed.
        """
        removed = 0
        before: list[Version] = []
        while found := self._service.call("list", f"{FOLDER}/", self._first_page):
            if found == before:
                raise UnavailableError(
                    f"what is in {self.place} does not go away",
                    details=[f"{found[0][0]} is still there after it was removed"],
                    resolution="See what keeps it (a lock on objects, a rule of the bucket).",
                )
            with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
                # Read to the end, for what was raised.
                removed += len(list(pool.map(self._remove, found)))
            before = found
        return removed

    def _link(
        self,
        method: Literal["put_object", "get_object"],
        name: str,
        valid_s: int,
        said: dict[str, str],
    ) -> Secret:
        params = {"Bucket": self._service.bucket, "Key": self._key(name), **said}

        def sign(client: "S3Client") -> str:
            return client.generate_presigned_url(method, Params=params, ExpiresIn=valid_s)

        return Secret(self._service.call("sign a link to", f"{FOLDER}/{name}", sign))

    def _key(self, name: str) -> str:
        return f"{self._service.prefix}{FOLDER}/{name}"

    def _first_page(self, client: "S3Client") -> list[Version]:
        """Of all that is below the place, the marks of what was removed among it."""
        answer = client.list_object_versions(
            Bucket=self._service.bucket, Prefix=self._key(""), MaxKeys=PAGE
        )
        if "IsTruncated" not in answer:
            # A web server takes every path, and has a page for it.
            raise ResponseParserError
        entries = [*answer.get("Versions", []), *answer.get("DeleteMarkers", [])]
        return [(entry["Key"], entry["VersionId"]) for entry in entries]

    def _remove(self, version: Version) -> None:
        key, number = version

        def remove(client: "S3Client") -> None:
            client.delete_object(Bucket=self._service.bucket, Key=key, VersionId=number)

        self._service.call("remove", key.removeprefix(self._service.prefix), remove)
