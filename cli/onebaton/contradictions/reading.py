"""Values of a file as its fields read them, and what is said of two that do not go together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TypeGuard, TypeVar, get_args

from onebaton.config import ZoneConfig
from onebaton.fields import read_subnet

T = TypeVar("T")

#: Where a value stands: keys, and positions in lists.
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two values that do not go together; ``location`` is of the one to look at first."""

    location: Location
    message: str


def value_at(data: object, location: Location) -> object:
    """The value at a place, ``None`` if there is none."""
    for part in location:
        if isinstance(data, Mapping):
            data = data.get(part)
        elif is_list(data) and isinstance(part, int) and part < len(data):
            data = data[part]
        else:
            return None
    return data


def read(
    data: Mapping[str, object], location: Location, reader: Callable[[object], T], default: T | None
) -> T | None:
    """The value as its field reads it: the default if there is none, ``None`` if it is wrong."""
    value = value_at(data, location)
    if value is None:
        return default
    try:
        return reader(value)
    except ValueError:
        return None


def whole_number(value: object) -> int:
    """A reader of whole numbers; :raises ValueError: if it is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004 - pydantic reports ValueError
    return value


def positive_number(value: object) -> float:
    """A reader of seconds and the like; :raises ValueError: if it is none."""
    if not isinstance(value, int | float) or isinstance(value, bool) or value <= 0:
        raise ValueError("must be a number of seconds")
    return value


def zone_size(value: object) -> int:
    """A reader of ``zone.size``; :raises ValueError: if no zone has that many servers."""
    size = whole_number(value)
    if size not in get_args(ZoneConfig.model_fields["size"].annotation):
        raise ValueError("is no size of a zone")
    return size


def first_given(data: Mapping[str, object], *locations: Location) -> Location:
    """The first place that the file speaks of; the other values are defaults."""
    return next((place for place in locations if value_at(data, place) is not None), locations[0])


def is_list(value: object) -> TypeGuard[Sequence[object]]:
    """Whether it is a list, as YAML knows them; a text is none."""
    return isinstance(value, Sequence) and not isinstance(value, str)


def networks(
    data: Mapping[str, object], location: Location, *keys: str
) -> dict[Location, IPv4Network | None]:
    """Ranges in a list, by their places; ``None`` is one that cannot be read."""
    given = value_at(data, location)
    places = [(*location, n, *keys) for n in range(len(given) if is_list(given) else 0)]
    return {place: read(data, place, read_subnet, None) for place in places}


def is_aws(data: Mapping[str, object]) -> bool:
    """Whether the file's nodes run on AWS."""
    return value_at(data, ("platform", "kind")) == "aws"


def has_elastic_ip(data: Mapping[str, object]) -> bool:
    """Whether the zone's address is an Elastic IP, and none of the nodes' network."""
    return is_aws(data) and value_at(data, ("platform", "address", "via")) == "elastic-ip"
