"""The texts that a configuration is made of: addresses, paths, names, durations.

Each is refused with a sentence that can stand behind ``file:line: key:`` as it is.
"""

import os
import os.path
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo

_NAME = r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$"
_VERSION = r"^\d+\.\d+\.\d+(\.\d+)?$"
_DEVICE = r"^[A-Za-z0-9._-]{1,15}$"
_USER = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$"
_PACKAGE = r"^[a-z0-9][a-z0-9+.-]+$"
_DATABASE = r"^[A-Za-z0-9_]+$"

#: What a text must look like, in words, by the pattern that checks it.
PATTERNS = {
    _NAME: "must start with a letter and hold only lower-case letters, digits and hyphens, "
    "40 at most",
    _VERSION: "must be a whole version such as 6.10.0",
    _DEVICE: "must be the name of a network interface, such as eth0",
    _USER: "must be the name of a user",
    _PACKAGE: "must be the name of a Debian package; its version is image.version",
    _DATABASE: "must hold only letters, digits and underscores",
}

#: Key of the validation context under which the file's folder is found.
FOLDER = "folder"


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
    if isinstance(path, Path) and isinstance(info.context, dict):
        require_file(path)
    return path


def require_file(path: Path) -> None:
    """Nothing, if the file is there and can be read.

    :raises ValueError: otherwise.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"the file {path} cannot be read")


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
