"""Which OpenNebula release this copy of the stand-in speaks for.

Version and schema are parameters of the build: `build.py` writes them into
``release.json`` next to the packages it makes.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

SCHEMAS = {"6.10.0": "6.10.0", "6.10.5": "6.10.0", "7.0.2": "7.0.0"}
"""Schema a release needs, local and shared alike (measured note: ``onedb version``)."""


@dataclass(frozen=True, slots=True)
class Release:
    """A release and the database schema it was built for."""

    version: str
    schema: str

    @property
    def marks_failed_records_applied(self) -> bool:
        """Whether a record whose SQL fails counts as applied nevertheless.

        6.10.0 stays at such a record and applies nothing after it; 7.0 goes on
        and the nodes differ from then on (source: ``LogDB::apply_log_record``).
        """
        return self.version != "6.10.0"

    @property
    def has_plans(self) -> bool:
        """Whether the schema has ``plan_pool`` and ``vm_pool.resched`` (7.0 on)."""
        return int(self.schema.split(".")[0]) >= 7


def of(version: str) -> Release:
    """The release called *version*.

    :raises KeyError: if the stand-in does not know it.
    """
    return Release(version, SCHEMAS[version])


def installed() -> Release:
    """The release this copy was built as.

    :raises OSError: if ``release.json`` is missing, that is, if it was not built.
    """
    named = os.environ.get("ONE_RELEASE_FILE")
    path = Path(named) if named else Path(__file__).resolve().parent.parent / "release.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    return Release(str(content["version"]), str(content["schema"]))
