"""One object of an S3-compatible store, brought to this machine: a dump may be large."""

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from onebaton.adapters.s3service import S3Service
from onebaton.config import S3Config
from onebaton.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

CHUNK_BYTES = 1 << 20


def fetch(place: str, config: S3Config, into: Path, *, timeout_s: float) -> None:
    """Bring an object into a file, which nobody else may read.

    :param place: ``s3://BUCKET/KEY``.
    :raises UsageError: if that is no place.
    :raises UnavailableError: if the store does not give it, or not in time.
    """
    folder, _, key = place.rpartition("/")
    try:
        # A large one takes longer than what the state is made of.
        patient = config.model_copy(update={"timeout_s": timeout_s})
        service = S3Service(folder, patient)
    except ValueError as error:
        raise UsageError(f"{place}: {error}", resolution="Name s3://BUCKET/KEY.") from None
    name = f"{service.prefix}{key}"
    found = service.call("fetch", key, partial(_bring, service.bucket, name, into))
    if not found:
        raise UsageError(f"there is no {place}", resolution="Name another object.")


def _bring(bucket: str, name: str, into: Path, client: "S3Client") -> bool:
    """Write it; whether there is such an object."""
    try:
        body = client.get_object(Bucket=bucket, Key=name)["Body"]
    except client.exceptions.NoSuchKey:
        return False
    handle = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        for chunk in body.iter_chunks(CHUNK_BYTES):
            file.write(chunk)
    return True
