"""The texts that a configuration is made of: addresses, paths, names, durations.

Each is refused with a sentence that can stand behind ``file:line: key:`` as it is.
"""

import os
import os.path
import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, ValidationInfo

_NAME = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"
_VERSION = r"^\d+\.\d+\.\d+(\.\d+)?$"
_DEVICE = r"^[A-Za-z0-9._-]{1,15}$"
_USER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$"
_PACKAGE = r"^[a-z0-9][a-z0-9+.-]+$"
_DATABASE = r"^[A-Za-z0-9_]+$"
_REGION = r"^[a-z0-9][a-z0-9-]{0,62}$"
_OF_PARAMETER_STORE = r"^[A-Za-z0-9_.:/-]{1,2048}$"
_OF_SECRETS_MANAGER = r"^[A-Za-z0-9/_+=.@:-]{1,2048}(#[^#\s]{1,256})?$"
_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_DURATION = r"^[1-9]\d{0,4}[mhdw]$"
_AWS_ID = r"^[a-z]+-[0-9a-f]{8,17}$"
_AWS_NAME = r"^[A-Za-z0-9_.:/=+,@ -]{1,255}$"
_INSTANCE_TYPE = r"^[a-z0-9-]+\.[a-z0-9-]+$"
_AWS_OWNER = r"^(\d{12}|self|amazon)$"
_TAG_KEY = r"^[A-Za-z0-9_.:/=+@ -]{1,128}$"
_PREFIX_PART = r"[A-Za-z0-9_][A-Za-z0-9._%+=-]*"

#: What a text must look like, in words, by the pattern that checks it.
PATTERNS = {
    _NAME: "must start with a letter and hold only lower-case letters, digits and hyphens, "
    "40 at most",
    _VERSION: "must be a whole version such as 6.10.0",
    _DEVICE: "must be the name of a network interface, such as eth0",
    _USER: "must be the name of a user",
    _PACKAGE: "must be the name of a Debian package; its version is image.version",
    _DATABASE: "must hold only letters, digits and underscores",
    _REGION: "must be the name of a region, such as eu-central-1",
    _DURATION: "must be a number of minutes, hours, days or weeks, such as 90m, 12h, 3d or 1w",
    _OF_PARAMETER_STORE: "must be the name of a parameter, such as /cloud/oneadmin, or its ARN",
    _OF_SECRETS_MANAGER: "must be the name of a secret or its ARN, and may have #KEY behind it",
    _AWS_ID: "must be an id as AWS gives them, such as vpc-0a1b2c3d4e5f67890",
    _AWS_NAME: "must be a name as AWS takes them",
    _INSTANCE_TYPE: "must be an instance type, such as m6i.large",
    _AWS_OWNER: "must be the number of an account (12 digits), self or amazon",
    _TAG_KEY: "must be the key of a tag: letters, digits and _.:/=+@- alone, 128 at most",
}

#: Key of the validation context under which the file's folder is found.
FOLDER = "folder"
#: Key of the validation context: whether the files that are named are looked for.
FILES = "files"


def read_address(value: object) -> IPv4Address:
    """One address.

    :raises ValueError: if it is none; a number is none either, though Python takes it.
    """
    if isinstance(value, IPv4Address):
        return value
    try:
        return IPv4Address(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 address") from None


def read_interface(value: object) -> IPv4Interface:
    """An address with its prefix.

    :raises ValueError: if it is none, or has no prefix (which Python would take for /32).
    """
    if isinstance(value, IPv4Interface):
        return value
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        return IPv4Interface(value)
    except ValueError:
        raise ValueError(
            f"{value!r} is not an IPv4 address with its prefix, such as 10.0.0.100/24"
        ) from None


def read_subnet(value: object) -> IPv4Network:
    """A subnet, by its first address.

    :raises ValueError: if it is none.
    """
    if isinstance(value, IPv4Network):
        return value
    try:
        if not isinstance(value, str) or "/" not in value:
            raise ValueError
        subnet = IPv4Network(value, strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an IPv4 subnet, such as 10.0.0.0/24") from None
    if str(subnet.network_address) != value.partition("/")[0]:
        raise ValueError(f"{value!r} is an address within a subnet; did you mean {subnet}?")
    return subnet


def under_folder(text: str, info: ValidationInfo) -> Path | None:
    """A path as the file means it: relative ones start at the file's folder."""
    folder = info.context.get(FOLDER) if isinstance(info.context, dict) else None
    # An unknown user's "~name" is left as it stands; pathlib would raise.
    return folder / os.path.expanduser(text) if isinstance(folder, Path) else None  # noqa: PTH111


def _path(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str):
        return value
    if not value:
        raise ValueError("is empty")
    return under_folder(value, info) or Path(value)


def _existing_file(value: object, info: ValidationInfo) -> object:
    path = _path(value, info)
    if isinstance(path, Path) and files_are_here(info):
        require_file(path)
    return path


def files_are_here(info: ValidationInfo) -> bool:
    """The files that the file names are on this machine, and looked for."""
    return isinstance(info.context, dict) and info.context.get(FILES) is not False


def require_file(path: Path) -> None:
    """Nothing, if the file is there and can be read.

    :raises ValueError: otherwise.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"the file {path} cannot be read")


def _free_tag(key: str) -> str:
    # Without upper case: Name is what people see, and no two keys may differ by case alone.
    if key.lower().startswith(("aws:", "onebaton")) or key.lower() == "name":
        raise ValueError("is a tag that AWS or onebaton sets")
    return key


def _not_empty(values: tuple[object, ...]) -> tuple[object, ...]:
    if not values:
        raise ValueError("must hold at least one entry")
    return values


#: Of lists with entries of many parts: pydantic's own rule counts an entry that is wrong for none.
NOT_EMPTY = AfterValidator(_not_empty)

Name = Annotated[str, StringConstraints(pattern=_NAME)]
Version = Annotated[str, StringConstraints(pattern=_VERSION)]
Package = Annotated[str, StringConstraints(pattern=_PACKAGE)]
UserName = Annotated[str, StringConstraints(pattern=_USER)]
Seconds = Annotated[float, Field(gt=0, le=86400)]
Address = Annotated[IPv4Address, BeforeValidator(read_address)]
FilePath = Annotated[Path, BeforeValidator(_path)]
ExistingFile = Annotated[Path, BeforeValidator(_existing_file)]
Interface = Annotated[IPv4Interface, BeforeValidator(read_interface)]
Subnet = Annotated[IPv4Network, BeforeValidator(read_subnet)]
DeviceName = Annotated[str, StringConstraints(pattern=_DEVICE)]
DatabaseName = Annotated[str, StringConstraints(pattern=_DATABASE, max_length=64)]
DatabaseUser = Annotated[str, StringConstraints(pattern=_DATABASE, max_length=32)]
Duration = Annotated[str, StringConstraints(pattern=_DURATION)]
ParameterName = Annotated[str, StringConstraints(pattern=_OF_PARAMETER_STORE)]
SecretName = Annotated[str, StringConstraints(pattern=_OF_SECRETS_MANAGER)]
Region = Annotated[str, StringConstraints(pattern=_REGION)]
AwsId = Annotated[str, StringConstraints(pattern=_AWS_ID)]
AwsName = Annotated[str, StringConstraints(pattern=_AWS_NAME)]
InstanceType = Annotated[str, StringConstraints(pattern=_INSTANCE_TYPE)]
AwsOwner = Annotated[str, StringConstraints(pattern=_AWS_OWNER)]
TagKey = Annotated[str, StringConstraints(pattern=_TAG_KEY), AfterValidator(_free_tag)]


def repository_url(value: str, info: ValidationInfo) -> str:
    """A web address as it is, a local folder as an absolute path.

    :raises ValueError: if it is neither (the value may hold a password, so it is not shown).
    """
    parts = urlsplit(value)
    if parts.scheme in {"http", "https"} and parts.hostname:
        return value
    folder = parts.path if parts.scheme == "file" else value
    if parts.scheme not in {"", "file"} or not folder:
        raise ValueError("must be an http or https address, or a local folder")
    return str(under_folder(folder, info) or folder)


def name_problem(text: str) -> str | None:
    """What keeps a text from being a :data:`Name`, in words; ``None`` if nothing."""
    return None if re.fullmatch(_NAME, text) else PATTERNS[_NAME]


def bucket_and_prefix(place: str) -> tuple[str, str]:
    """The two parts of ``s3://bucket/prefix``; the prefix has no slash at its ends.

    :raises ValueError: if it is no such place.
    """
    scheme, _, path = place.partition("://")
    bucket, _, prefix = path.partition("/")
    prefix = prefix.rstrip("/")
    if scheme != "s3" or not re.fullmatch(_BUCKET, bucket):
        raise ValueError("must be a folder, or s3://BUCKET/PREFIX with the name of a bucket")
    if prefix and not all(re.fullmatch(_PREFIX_PART, part) for part in prefix.split("/")):
        raise ValueError(
            "the prefix behind the bucket must hold only letters, digits and _.%+=- between its "
            "slashes, and no part that is empty or starts with a dot"
        )
    return bucket, prefix


def state_place(value: str, info: ValidationInfo) -> str:
    """``s3://bucket/prefix`` without a slash at its end, a folder as an absolute path.

    :raises ValueError: if it is neither.
    """
    if "://" not in value:
        return str(under_folder(value, info) or value)
    return f"s3://{'/'.join(bucket_and_prefix(value))}".rstrip("/")


def bucket_place(value: str) -> str:
    """``s3://bucket/prefix`` without a slash at its end.

    :raises ValueError: if it is none.
    """
    if not value.startswith("s3://"):
        raise ValueError("must be s3://BUCKET/PREFIX")
    return f"s3://{'/'.join(bucket_and_prefix(value))}".rstrip("/")


def service_url(value: str) -> str:
    """The address of an HTTP service.

    :raises ValueError: if it is none, or holds a user's name or a password (it is not shown).
    """
    try:
        parts = urlsplit(value)
        is_one = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one or parts.query or parts.fragment:
        raise ValueError("must be an http or https address, such as https://minio.example.org:9000")
    if "@" in parts.netloc:
        raise ValueError("must hold no user and no password: keys come from the usual AWS places")
    return value


#: Seconds of the units that a :data:`Duration` is told in.
_UNITS_S = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def duration_s(text: str) -> float:
    """Seconds of a :data:`Duration`.

    :raises ValueError: if it is none.
    """
    if not re.fullmatch(_DURATION, text):
        raise ValueError(PATTERNS[_DURATION])
    return int(text[:-1]) * _UNITS_S[text[-1]]
