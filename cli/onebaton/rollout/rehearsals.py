"""Reports of rehearsals, kept with the state: what a cut-over is planned on."""

import json
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError

from onebaton.errors import UnreadableError
from onebaton.model import Image
from onebaton.plan.actions import CutWay
from onebaton.plan.artefact import digest_of
from onebaton.plan.wanted import Rehearsed
from onebaton.ports import Store
from onebaton.views import RehearsalView

PREFIX = "rehearsals/"
#: Tables of Raft's log, which no row's kind matters in. A pool's rows differ in kind, and a
#: migrator that leaves alone all that it was shown may touch a kind that comes later (the one
#: to 7.0 drops documents by their type): rows of pools always go through it.
ALL_ALIKE = frozenset({"logdb", "fed_logdb"})

_VIEW = TypeAdapter(RehearsalView)


def key_of(run: str) -> str:
    """Where a rehearsal's report is kept.

    :param run: sorts by time and ends with the version.
    """
    return f"{PREFIX}{run}.json"


def keep(store: Store, key: str, view: RehearsalView) -> None:
    """Keep a report; durable when this returns."""
    store.write(key, json.dumps(asdict(view), indent=2).encode())


def newest(store: Store, image: Image, now: float) -> Rehearsed | None:
    """The newest rehearsal of an image; of another image of the same version it says nothing.

    :param now: seconds since the epoch.
    :raises UnreadableError: if one that may be it cannot be read.
    """
    keys = [key for key in store.keys(PREFIX) if key.endswith(f"-{image.version}.json")]
    for key in reversed(keys):
        view = _read(store, key)
        if (
            view is not None
            and view.image_digest == image.digest
            and view.to_schema == str(image.schema)
        ):
            return _rehearsed(view, now)
    return None


def _read(store: Store, key: str) -> RehearsalView | None:
    content = store.read(key)
    if content is None:
        return None
    try:
        return _VIEW.validate_json(content, strict=True)
    except ValidationError as error:
        raise UnreadableError(
            f"the report {key} of a rehearsal cannot be read",
            details=[
                f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)
            ],
            resolution="Remove it from where `state` is, and rehearse again.",
        ) from None


def _rehearsed(view: RehearsalView, now: float) -> Rehearsed:
    forecast: dict[CutWay, float] = {}
    if view.forecast_s is not None:
        forecast["plain"] = view.forecast_s
    if view.forecast_ahead_s is not None:
        forecast["stand-by"] = view.forecast_ahead_s
    if view.measured_s is not None and view.way is not None:
        # What was seen counts for more than what was added up.
        forecast[view.way] = view.measured_s
    return Rehearsed(
        kept_as=view.kept_as,
        verdict=view.verdict,
        image_digest=view.image_digest,
        from_schema=view.from_schema,
        to_schema=view.to_schema,
        age_s=now - view.began_at,
        migrators=view.migrators,
        ahead_proven=view.ahead_proven is True,
        doubts=view.doubts,
        losses={
            table.name: f"{table.rows_before} → {table.rows_after or 0}"
            for table in view.tables
            if table.change == "lost rows"
        },
        left_alone=frozenset(
            table.name
            for table in view.tables
            if table.change == "left alone" and table.rows_before and table.name in ALL_ALIKE
        ),
        forecast_s=forecast,
        clone=view.clone,
        measured_s=view.measured_s,
        began_at=view.began_at,
        digest=digest_of(asdict(view)),
    )
