"""Order of OpenNebula's version numbers."""

import re


def version_key(version: str) -> tuple[int, ...]:
    """Versions in their order: 6.10.0 comes after 6.9.1."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()
