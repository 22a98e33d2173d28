"""What an S3-compatible service, or the way to it, does wrong, in words.

A message holds the error's code and never its text: a service may repeat in it what it was
sent.
"""

import re
from dataclasses import dataclass

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from onebaton.errors import UnavailableError

_CODE = re.compile(r"[A-Za-z0-9_.:-]{1,80}")


@dataclass(frozen=True, slots=True)
class Words:
    """What is wrong, going on from "cannot …: ", and the way out."""

    what: str
    way_out: str


_DENIED = Words(
    "access is denied",
    "Allow the user or role of these keys s3:ListBucket on the bucket, and s3:GetObject, "
    "s3:PutObject and s3:DeleteObject on what is under the prefix (and the use of the key, with "
    "s3.encryption aws:kms). Seeds take s3:ListBucketVersions and s3:DeleteObjectVersion too.",
)
BAD_KEYS = Words(
    "the service does not know the keys, or no longer",
    "Renew the keys in the environment or the profile that AWS_PROFILE names.",
)
NO_KEYS = Words(
    "there are no keys for it, or they cannot be had",
    "Give keys the way AWS programs take them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a "
    "profile (AWS_PROFILE), or the machine's role.",
)
_NO_BUCKET = Words(
    "there is no such bucket",
    "Create the bucket, best with versions, or correct `state` (and s3.endpoint_url) in "
    "cluster.yaml.",
)
_ELSEWHERE = Words(
    "the bucket is in another region",
    "Name the bucket's region: s3.region in cluster.yaml.",
)
_BUSY = Words(
    "the service is overloaded",
    "Wait a while, then run the same command again: it goes on with what is left.",
)
_BROKEN = Words(
    "the service failed",
    "See how the store is doing, then run the same command again: it goes on with what is left.",
)
_CONTESTED = Words(
    "others write the same object all the time",
    "See who else works on this cluster, then run the same command again.",
)
CLOCK = Words("this machine's clock is wrong", "Set the clock, then run the same command again.")
_LACKING = Words(
    "the store lacks something that was asked for",
    "It needs conditional writes (AWS, current MinIO and Ceph have them). If it has no "
    "server-side encryption: s3.encryption: bucket in cluster.yaml.",
)
_BAD_KMS = Words(
    "the encryption key cannot be used",
    "Correct s3.kms_key_id in cluster.yaml, or enable the key.",
)
_FOREIGN = Words(
    "the answer is none that S3 gives",
    "See that `state` and s3.endpoint_url in cluster.yaml name an S3-compatible service.",
)
_UNREACHED = Words(
    "the service cannot be reached",
    "See that it is up, and that `state` and s3.endpoint_url in cluster.yaml are right; then run "
    "the same command again.",
)
CERTIFICATE = Words(
    "the service's certificate is not trusted",
    "Name the file of its authority in the environment variable AWS_CA_BUNDLE.",
)
_NO_REGION = Words("the region is not known", _ELSEWHERE.way_out)

#: By the service's error code; what is not here is told by its HTTP status.
_CODES = {
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "InvalidAccessKeyId": BAD_KEYS,
    "SignatureDoesNotMatch": BAD_KEYS,
    "ExpiredToken": BAD_KEYS,
    "InvalidToken": BAD_KEYS,
    "RequestTimeTooSkewed": CLOCK,
    "NoSuchBucket": _NO_BUCKET,
    "PermanentRedirect": _ELSEWHERE,
    "AuthorizationHeaderMalformed": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "ConditionalRequestConflict": _CONTESTED,
    "OperationAborted": _CONTESTED,
    "SlowDown": _BUSY,
    "NotImplemented": _LACKING,
    "InvalidEncryptionAlgorithmError": _LACKING,
}
_STATUSES = {
    301: _ELSEWHERE,
    # What MinIO before its conditional writes answered to one whose condition does not hold.
    304: _LACKING,
    403: _DENIED,
    409: _CONTESTED,
    429: _BUSY,
    501: _LACKING,
    503: _BUSY,
}
#: The library's own errors where it finds no keys.
NO_KEYS_KINDS: tuple[type[Exception], ...] = (
    boto.NoCredentialsError,
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.ProfileNotFound,
    boto.ConfigNotFound,
    boto.ConfigParseError,
    boto.InvalidConfigError,
    boto.SSOError,
    boto.MetadataRetrievalError,
)
#: By the library's own errors, the first that fits.
_KINDS: tuple[tuple[tuple[type[Exception], ...], Words], ...] = (
    (
        NO_KEYS_KINDS,
        NO_KEYS,
    ),
    ((boto.NoRegionError, boto.InvalidRegionError, boto.UnknownRegionError), _NO_REGION),
    ((boto.SSLError,), CERTIFICATE),
    ((ResponseParserError,), _FOREIGN),
    ((boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError), _UNREACHED),
)

#: What to do where the words above speak of S3 alone.
_WAYS_OUT = {
    _NO_REGION: "Name the region: platform.region in cluster.yaml.",
    _FOREIGN: "See that platform.endpoint_url in cluster.yaml names a service with AWS's API.",
    _UNREACHED: "See that the service can be reached from here, then run the same command again.",
}


def told(
    error: ClientError | BotoCoreError | ResponseParserError,
    verb: str,
    where: str,
    bucket: str,
    service: str,
) -> UnavailableError:
    """The error in words, with the way out.

    :param verb: what was tried, in words that go on from "cannot".
    :param where: bucket, prefix and key.
    :param service: the service's address.
    """
    details = [f"bucket {bucket} at {service}"]
    if isinstance(error, ClientError):
        status, tries = status_of(error), retries_of(error) + 1
        words = _CODES.get(code_of(error)) or _by_status(code_of(error), status)
        times = f", after {tries} tries" if tries > 1 else ""
        details.append(f"it answered {code_of(error)} (HTTP status {status}){times}")
    else:
        words = _of_library(error)
        details.append(type(error).__name__)
    return UnavailableError(
        f"cannot {verb} {where}: {words.what}", details=details, resolution=words.way_out
    )


def library_fault(error: BotoCoreError | ResponseParserError) -> tuple[str, str]:
    """What the library itself found wrong, and the way out, for any service of AWS."""
    words = _of_library(error)
    return words.what, _WAYS_OUT.get(words, words.way_out)


def code_of(error: ClientError) -> str:
    """The service's word for it."""
    code = error.response.get("Error", {}).get("Code", "")
    return code if _CODE.fullmatch(code) else "an unknown code"


def status_of(error: ClientError) -> int:
    """The HTTP status of its answer."""
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)


def retries_of(error: ClientError) -> int:
    """How often the request was tried again before this answer."""
    return error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)


def _of_library(error: BotoCoreError | ResponseParserError) -> Words:
    return next((words for kinds, words in _KINDS if isinstance(error, kinds)), _UNREACHED)


def _by_status(code: str, status: int) -> Words:
    if code.startswith("KMS."):
        return _BAD_KMS
    return _STATUSES.get(status, _BROKEN if status >= 500 else _FOREIGN)
