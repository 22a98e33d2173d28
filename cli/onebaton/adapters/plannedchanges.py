"""What stands in a saved plan of Terraform, without what differs from one plan to the next.

The plan's file is a zip with time stamps in it: two plans of the same thing are two files. So
what is kept, and compared, are its changes as ``terraform show -json`` renders them.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from onebaton.records import RecordedChange, StateIdentity

#: Stands for a value that Terraform marks as sensitive.
HIDDEN = "(sensitive)"


def recorded_changes(text: str) -> tuple[RecordedChange, ...]:
    """Changes in ``terraform show -json PLAN``, ordered by address; none that are ``no-op``.

    :param text: JSON output format 1.
    """
    found = []
    for item in json.loads(text).get("resource_changes") or []:
        change = item["change"]
        actions = tuple(change["actions"])
        importing = bool(change.get("importing"))
        if actions == ("no-op",) and not importing:
            continue
        words = (*(["import"] if importing else []), *(a for a in actions if a != "no-op"))
        found.append(RecordedChange(item["address"], words, _content(change)))
    return tuple(sorted(found, key=lambda one: one.address))


def state_identity(text: str) -> StateIdentity | None:
    """Which state ``terraform state pull`` shows; ``None`` if there is none yet."""
    state = json.loads(text) if text.strip() else {}
    if not state.get("lineage"):
        return None
    return StateIdentity(str(state["lineage"]), int(state["serial"]))


def _content(change: Mapping[str, Any]) -> str:
    shown = {
        "before": _without(change.get("before"), change.get("before_sensitive")),
        "after": _without(change.get("after"), change.get("after_sensitive")),
        "unknown": change.get("after_unknown"),
        "replace": change.get("replace_paths"),
    }
    text = json.dumps(shown, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _without(value: object, sensitive: object) -> object:
    """The value, with what Terraform marks as sensitive left out."""
    if sensitive is True:
        return HIDDEN
    if isinstance(value, dict) and isinstance(sensitive, dict):
        return {key: _without(inner, sensitive.get(key)) for key, inner in value.items()}
    if isinstance(value, list) and isinstance(sensitive, list):
        marks = [*sensitive, *([None] * len(value))]
        return [_without(inner, mark) for inner, mark in zip(value, marks, strict=False)]
    return value
