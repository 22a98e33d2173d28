"""How the store of the state is spoken to."""

from typing import Literal

from pydantic import Field, field_validator

from onebaton.config.section import Section
from onebaton.fields import Region, Seconds, service_url


class S3Config(Section):
    """How an object store is spoken to, where ``state`` is in one."""

    endpoint_url: str | None = Field(
        default=None,
        description="Address of the S3-compatible service (MinIO, Ceph, ...); AWS if left out. "
        "Keys come from the usual AWS places: environment, profile, the machine's role.",
    )
    region: Region | None = Field(
        default=None, description="The bucket's region; the AWS settings' own if left out."
    )
    encryption: Literal["AES256", "aws:kms", "bucket"] = Field(
        default="AES256",
        description="Server-side encryption of each write; bucket: what the bucket does by itself.",
    )
    kms_key_id: str | None = Field(
        default=None, min_length=1, description="Key for aws:kms; the account's own if left out."
    )
    timeout_s: Seconds = Field(
        default=30.0,
        description="Deadline of one read or write with all its retries, in seconds.",
    )

    @field_validator("endpoint_url")
    @classmethod
    def _service(cls, value: str | None) -> str | None:
        return value if value is None else service_url(value)
