"""What AWS, or the way to it, does wrong, in words.

A message holds the error's code and never its text: a service may repeat in it what it was sent.
"""

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from onebaton.adapters.s3errors import code_of, library_fault, retries_of, status_of
from onebaton.errors import UnavailableError

_AGAIN = "then run the same command again: it goes on with what is left."

#: What is wrong and the way out, by the service's code (Amazon EC2 and IAM API error codes).
_CODES = {
    "UnauthorizedOperation": "denied",
    "AccessDenied": "denied",
    "AccessDeniedException": "denied",
    "AuthFailure": "keys",
    "InvalidClientTokenId": "keys",
    "UnrecognizedClientException": "keys",
    "SignatureDoesNotMatch": "keys",
    "ExpiredToken": "keys",
    "ExpiredTokenException": "keys",
    "RequestExpired": "keys",
    "RequestLimitExceeded": "busy",
    "Throttling": "busy",
    "ThrottlingException": "busy",
    "InsufficientInstanceCapacity": "capacity",
    "InstanceLimitExceeded": "limit",
    "VcpuLimitExceeded": "limit",
    "DependencyViolation": "used",
    "InvalidNetworkInterface.InUse": "used",
}
_MISSING = ("NotFound", "NoSuchEntity", "Malformed", ".Unavailable")
_WORDS = {
    "denied": (
        "the rights for it are missing",
        "Give the user or role of these keys the rights that the README lists.",
    ),
    "keys": (
        "the service does not know the keys, or no longer",
        "Renew the keys in the environment or the profile that AWS_PROFILE names.",
    ),
    "busy": ("the service is overloaded", f"Wait a while, {_AGAIN}"),
    "capacity": (
        "there is no machine of this type left",
        f"Take another platform.instance_type or other subnets, or wait a while, {_AGAIN}",
    ),
    "limit": ("the account's limit is reached", f"Have the account's limit raised, {_AGAIN}"),
    "used": ("something still uses it", f"See what does, and take it away, {_AGAIN}"),
    "missing": (
        "something that is named does not exist",
        "Correct the ids under `platform` in cluster.yaml, and its region.",
    ),
    "broken": ("the service failed", f"See how the service is doing, {_AGAIN}"),
    "wrong": (
        "the service does not take the request",
        "See that `platform` in cluster.yaml is right; if it is, this is a bug.",
    ),
}


def told(
    error: ClientError | BotoCoreError | ResponseParserError, verb: str, service: str
) -> UnavailableError:
    """The error in words, with the way out.

    :param verb: what was tried, in words that go on from "cannot".
    :param service: the service and where it is, e.g. ``EC2 in eu-central-1``.
    """
    if not isinstance(error, ClientError):
        what, way_out = library_fault(error)
        details = [service, type(error).__name__]
        return UnavailableError(f"cannot {verb}: {what}", details=details, resolution=way_out)
    code, status, tries = code_of(error), status_of(error), retries_of(error) + 1
    what, way_out = _WORDS[_CODES.get(code) or _by_status(code, status)]
    times = f", after {tries} tries" if tries > 1 else ""
    return UnavailableError(
        f"cannot {verb}: {what}",
        details=[service, f"it answered {code} (HTTP status {status}){times}"],
        resolution=way_out,
    )


def is_missing(error: ClientError) -> bool:
    """What was named does not exist, or cannot: ``InvalidAMIID.NotFound``, ``….Malformed``."""
    return code_of(error).endswith(_MISSING)


def _by_status(code: str, status: int) -> str:
    if code.endswith(_MISSING):
        return "missing"
    if status in (401, 403):
        return "denied"
    if status in (429, 503):
        return "busy"
    return "broken" if status >= 500 else "wrong"
