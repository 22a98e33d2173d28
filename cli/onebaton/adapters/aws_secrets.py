"""Secrets that AWS keeps: SSM's Parameter Store and Secrets Manager.

Keys and the region come from the usual AWS places. A message holds the service's error code and
never its text, nor anything of what was found: not even the keys of a JSON object.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import boto3
from botocore import exceptions as boto
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from onebaton.adapters.bounded import within
from onebaton.adapters.s3errors import (
    BAD_KEYS,
    CERTIFICATE,
    CLOCK,
    NO_KEYS,
    NO_KEYS_KINDS,
    Words,
    code_of,
    status_of,
)
from onebaton.config import SecretsConfig
from onebaton.errors import ConfigError, DeadlineError, UnavailableError

T = TypeVar("T")
Service = Literal["ssm", "secretsmanager"]
Answer = Mapping[str, object]

CONNECT_S = 3.0
READ_S = 5.0
ATTEMPTS = 4

_NAMES: dict[Service, str] = {
    "ssm": "SSM's Parameter Store",
    "secretsmanager": "Secrets Manager",
}
_RIGHTS: dict[Service, str] = {
    "ssm": "ssm:GetParameter",
    "secretsmanager": "secretsmanager:GetSecretValue",
}
_NO_REGION = Words(
    "the region is not known", "Name it: secrets.region in cluster.yaml, or AWS_REGION."
)
_BUSY = Words("the service is overloaded", "Wait a while, then run the same command again.")
_BROKEN = Words("the service failed", "Wait a while, then run the same command again.")
_UNREACHED = Words(
    "the service cannot be reached",
    "See that secrets.region and secrets.endpoint_url in cluster.yaml (or the AWS settings) are "
    "right and that the network lets you there, then run the same command again.",
)
_FOREIGN = Words(
    "the answer is none that AWS gives",
    "Correct secrets.endpoint_url in cluster.yaml.",
)
_BAD_KMS = Words(
    "it cannot be decrypted", "Enable the key that it was encrypted with, or allow kms:Decrypt."
)

#: By the service's error code.
_CODES = {
    "UnrecognizedClientException": BAD_KEYS,
    "InvalidClientTokenId": BAD_KEYS,
    "InvalidAccessKeyId": BAD_KEYS,
    "InvalidSignatureException": BAD_KEYS,
    "SignatureDoesNotMatch": BAD_KEYS,
    "IncompleteSignature": BAD_KEYS,
    "MissingAuthenticationToken": BAD_KEYS,
    "ExpiredToken": BAD_KEYS,
    "ExpiredTokenException": BAD_KEYS,
    "RequestExpired": CLOCK,
    "ThrottlingException": _BUSY,
    "Throttling": _BUSY,
    "RequestLimitExceeded": _BUSY,
    "InvalidKeyId": _BAD_KMS,
    "DecryptionFailure": _BAD_KMS,
}
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})
_MISSING = frozenset({"ParameterNotFound", "ParameterVersionNotFound", "ResourceNotFoundException"})
#: What the service says of a name or of the state of what it names, among them one that is
#: marked for deletion.
_WRONG = frozenset({"ValidationException", "InvalidParameterException", "InvalidRequestException"})


@dataclass(frozen=True, slots=True)
class _Place:
    """One secret.

    :param key: the configuration's key, e.g. ``zone.credentials.password``.
    """

    service: Service
    name: str
    key: str
    config: SecretsConfig

    def __str__(self) -> str:
        return f"{self.key}: {self.name} in {_NAMES[self.service]}"

    @property
    def asked(self) -> str:
        """Whom was asked."""
        where = self.config.endpoint_url or "AWS"
        region = self.config.region or "the AWS settings' own"
        return f"asked: {self.service} at {where}, region {region}"

    def mistake(self, problem: str, way_out: str) -> ConfigError:
        """It is not what a secret is."""
        return ConfigError(f"{self} {problem}", details=[self.asked], resolution=way_out)


def from_parameter_store(name: str, *, key: str, config: SecretsConfig) -> str:
    """The value of a parameter, decrypted.

    :param name: a parameter's name, or its ARN.
    :param key: the configuration's key, for messages.
    :raises ConfigError: if there is none, or it is a list.
    :raises UnavailableError: if the service does not give it.
    :raises DeadlineError: if it does not answer in time.
    """
    place = _Place("ssm", name, key, config)
    answer = _ask(place, {"Name": name, "WithDecryption": True})
    parameter = answer.get("Parameter")
    found = parameter if isinstance(parameter, Mapping) else {}
    if found.get("Type") == "StringList":
        raise place.mistake(
            "is a list, and a secret is one text", "Store it as SecureString, or name another one."
        )
    return _text(found.get("Value"), place)


def from_secrets_manager(name: str, *, key: str, config: SecretsConfig) -> str:
    """The value of a secret, or of one key of it.

    :param name: a secret's name or its ARN, and ``#KEY`` behind it where the secret is a JSON
        object.
    :param key: the configuration's key, for messages.
    :raises ConfigError: if there is none, or it is no text, or has no such key.
    :raises UnavailableError: if the service does not give it.
    :raises DeadlineError: if it does not answer in time.
    """
    identity, _, field = name.partition("#")
    place = _Place("secretsmanager", name, key, config)
    answer = _ask(place, {"SecretId": identity})
    if "SecretBinary" in answer:
        raise place.mistake("holds bytes and no text", "Store it as text, or name another one.")
    text = _text(answer.get("SecretString"), place)
    fields = _object(text)
    if not field:
        if fields is not None:
            raise place.mistake(
                "is a JSON object, and a secret is one text",
                f"Name one of its keys: secretsmanager: {identity}#KEY",
            )
        return text
    if fields is None:
        raise place.mistake(
            "is no JSON object, so that it has no keys", f"Say: secretsmanager: {identity}"
        )
    if field not in fields:
        raise place.mistake(f"has no key {field!r}", "Correct the word behind the # sign.")
    value = fields[field]
    if not isinstance(value, str):
        raise place.mistake("is no text", "Put the value in quotes there, or name another key.")
    return value


def _text(value: object, place: _Place) -> str:
    if not isinstance(value, str):
        raise _told(ResponseParserError(), place)
    return value


def _object(text: str) -> Mapping[str, object] | None:
    """The text as a JSON object, ``None`` if it is none."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _ask(place: _Place, request: Answer) -> Answer:
    timeout_s = place.config.timeout_s
    try:
        return within(timeout_s, lambda: _answer(place, request), name="secrets")
    except TimeoutError:
        raise DeadlineError(
            f"{place} did not come within {timeout_s:g} s",
            details=[place.asked],
            resolution=_UNREACHED.way_out,
        ) from None
    except (ClientError, BotoCoreError, ResponseParserError) as error:
        raise _told(error, place) from None


def _answer(place: _Place, request: Answer) -> Answer:
    """Ask; looking for keys may ask the network too, and is part of the call."""
    client = boto3.session.Session().client(
        place.service,
        endpoint_url=place.config.endpoint_url,
        region_name=place.config.region,
        config=Config(
            connect_timeout=min(CONNECT_S, place.config.timeout_s),
            read_timeout=min(READ_S, place.config.timeout_s),
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
        ),
    )
    ask: Callable[..., Answer] = (
        client.get_parameter if place.service == "ssm" else client.get_secret_value
    )
    return ask(**request)


def _told(
    error: ClientError | BotoCoreError | ResponseParserError, place: _Place
) -> ConfigError | UnavailableError:
    if not isinstance(error, ClientError):
        words = _of_library(error)
        details = [place.asked, type(error).__name__]
        return UnavailableError(
            f"{place} cannot be read: {words.what}", details=details, resolution=words.way_out
        )
    code, status = code_of(error), status_of(error)
    details = [place.asked, f"it answered {code} (HTTP status {status})"]
    if code in _MISSING:
        return ConfigError(
            f"{place} is not there",
            details=details,
            resolution="Correct the name, or the region: secrets.region in cluster.yaml.",
        )
    if code in _WRONG:
        return ConfigError(
            f"{place} cannot be read as it stands",
            details=details,
            resolution="Correct the name; a secret that is marked for deletion can be restored.",
        )
    if code in _DENIED:
        words = Words(
            "access is denied",
            f"Allow the user or role of these keys {_RIGHTS[place.service]} on it, and "
            "kms:Decrypt on a key of your own that it is encrypted with.",
        )
    else:
        words = _CODES.get(code) or (_BROKEN if status >= 500 else _FOREIGN)
    return UnavailableError(
        f"{place} cannot be read: {words.what}", details=details, resolution=words.way_out
    )


def _of_library(error: BotoCoreError | ResponseParserError) -> Words:
    if isinstance(error, NO_KEYS_KINDS):
        return NO_KEYS
    if isinstance(error, boto.NoRegionError | boto.InvalidRegionError):
        return _NO_REGION
    if isinstance(error, boto.SSLError):
        return CERTIFICATE
    return _FOREIGN if isinstance(error, ResponseParserError) else _UNREACHED
