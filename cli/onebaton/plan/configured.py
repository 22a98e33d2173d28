"""The configuration by its values: what two files say alike is alike, however it is written."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from onebaton.config import ClusterConfig
from onebaton.plan.artefact import digest_of

#: User and password in an address: they are secrets, and do not count.
_USER_AND_PASSWORD = re.compile(r"(?<=://)[^/@\s]*@")


def settings_of(config: ClusterConfig, folder: Path) -> dict[str, str]:
    """A digest of each value by its dotted key, defaults included.

    Comments, order and layout do not count, nor does where the file lies. A secret is not
    looked at: the place that it comes from counts.

    :param folder: of the file, absolute.
    """
    return {
        key: digest_of(_portable(value, folder)).removeprefix("sha256:")[:16]
        for key, value in sorted(_values(config.model_dump(mode="json")))
    }


def changed_settings(planned: Mapping[str, str], now: Mapping[str, str]) -> tuple[str, ...]:
    """Dotted keys whose values differ, sorted."""
    return tuple(sorted(k for k in {*planned, *now} if planned.get(k) != now.get(k)))


def _values(data: object, prefix: str = "") -> Iterator[tuple[str, object]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _values(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, data


def _portable(value: object, folder: Path) -> object:
    """The value without what belongs to one machine, or to nobody's eyes."""
    if isinstance(value, list):
        return [_portable(item, folder) for item in value]
    if not isinstance(value, str):
        return value
    inside = f"{folder}/"
    return _USER_AND_PASSWORD.sub("", value.removeprefix(inside))
