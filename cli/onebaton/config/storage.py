"""What lies outside: the store of the state, the way that seeds take, AWS's secrets."""

from typing import Literal

from pydantic import Field, field_validator

from onebaton.config.section import Section
from onebaton.fields import Region, Seconds, bucket_place, service_url


class S3Config(Section):
    """How an object store is spoken to, where ``state`` or ``seed.bucket`` is in one."""

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


class SeedConfig(Section):
    """The way a database takes from one node to others."""

    via: Literal["ssh", "s3"] = Field(
        default="ssh",
        description="ssh: through this machine. s3: in encrypted parts through an object store, "
        "for large databases and nodes far from here; each is removed afterwards.",
    )
    bucket: str | None = Field(
        default=None,
        min_length=1,
        description="s3://BUCKET/PREFIX that seeds pass through, of this cluster alone; if left "
        "out, the state's own.",
    )

    @field_validator("bucket")
    @classmethod
    def _place(cls, value: str | None) -> str | None:
        return value if value is None else bucket_place(value)


class SecretsConfig(Section):
    """How AWS is asked for secrets (``ssm`` and ``secretsmanager``)."""

    region: Region | None = Field(
        default=None, description="Their region; the AWS settings' own if left out."
    )
    endpoint_url: str | None = Field(
        default=None, description="Address of a service in place of AWS's own."
    )
    timeout_s: Seconds = Field(
        default=20.0, description="Deadline of one secret with all its retries, in seconds."
    )

    @field_validator("endpoint_url")
    @classmethod
    def _service(cls, value: str | None) -> str | None:
        return value if value is None else service_url(value)
