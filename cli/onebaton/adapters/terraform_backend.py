"""Where Terraform keeps its own state, when it is not a file beside the module."""

from collections.abc import Mapping
from dataclasses import dataclass

from onebaton.config import S3Config
from onebaton.fields import bucket_and_prefix

#: ``use_lockfile`` came with 1.10, as an experiment, and stays as it is from 1.11 on (its
#: changelog).
MINIMUM_VERSION = (1, 10)
#: What S3-compatible stores beside AWS take for any region.
ANY_REGION = "us-east-1"


@dataclass(frozen=True, slots=True)
class S3Backend:
    """An object of a bucket, locked by a second one beside it.

    :param place: ``s3://bucket/prefix`` of the cluster's state.
    :param name: of the object below it.
    :param region: the bucket's, where the settings of the store do not say it.
    """

    place: str
    name: str
    store: S3Config
    region: str | None = None

    def settings(self) -> Mapping[str, object]:
        """The block ``terraform`` in Terraform's JSON syntax.

        Keys come from the usual places of AWS, as the state's own do.
        """
        bucket, prefix = bucket_and_prefix(self.place)
        settings: dict[str, object] = {
            "bucket": bucket,
            "key": "/".join(part for part in (prefix, self.name) if part),
            "use_lockfile": True,
            "encrypt": self.store.encryption != "bucket",
        }
        region = self.store.region or self.region
        if self.store.kms_key_id is not None:
            settings["kms_key_id"] = self.store.kms_key_id
        if self.store.endpoint_url is not None:
            # Such a store has S3 and none of AWS's other services, which would be asked else.
            settings |= {
                "endpoints": {"s3": self.store.endpoint_url},
                "use_path_style": True,
                "skip_credentials_validation": True,
                "skip_requesting_account_id": True,
                "skip_region_validation": True,
                "skip_s3_checksum": True,
            }
            region = region or ANY_REGION
        if region is not None:
            settings["region"] = region
        return {"terraform": {"backend": {"s3": settings}}}
