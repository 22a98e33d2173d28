"""One object of an S3-compatible store, brought to this machine: a dump may be large."""

import os
import time
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from onebaton.adapters.s3errors import told
from onebaton.adapters.s3store import client_of
from onebaton.config import S3Config
from onebaton.errors import DeadlineError, UsageError
from onebaton.fields import bucket_and_prefix

CHUNK_BYTES = 1 << 20


def fetch(place: str, config: S3Config, into: Path, *, timeout_s: float) -> None:
    """Bring an object into a file, which nobody else may read.

    :param place: ``s3://BUCKET/KEY``.
    :raises UsageError: if that is no place.
    :raises UnavailableError: if the store does not give it.
    :raises DeadlineError: if it takes longer.
    """
    try:
        bucket, key = bucket_and_prefix(place)
    except ValueError as error:
        raise UsageError(f"{place}: {error}", resolution="Name s3://BUCKET/KEY.") from None
    until = time.monotonic() + timeout_s
    try:
        body = client_of(config).get_object(Bucket=bucket, Key=key)["Body"]
        handle = os.open(into, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            for chunk in body.iter_chunks(CHUNK_BYTES):
                file.write(chunk)
                if time.monotonic() > until:
                    raise DeadlineError(
                        f"{place} was not fetched within {timeout_s:g} s",
                        resolution="Give rollout.timeouts.seed_s more seconds, then run it again.",
                    )
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        service = config.endpoint_url or "AWS"
        raise told(error, "read", place, bucket, service) from None
