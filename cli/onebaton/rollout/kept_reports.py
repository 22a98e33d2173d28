"""Reports of runs as they are kept with the state: one run, one report, in several formats."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from onebaton.errors import UnreadableError, UsageError
from onebaton.ports import Store
from onebaton.reports import KeptRow, ReportView, StepRow
from onebaton.rollout.journal import Entry, read, runs

PREFIX = "reports/"
#: In the order in which people look for them.
FORMATS = ("html", "md", "json")
_RUN = re.compile(r"\d{8}T\d{6}-[a-z]+(-[a-z]+)*")
_VIEW = TypeAdapter(ReportView)


def key_of(run: str, form: str) -> str:
    """Where a report is kept.

    :param form: html, md or json.
    """
    return f"{PREFIX}{run}.{form}"


def keep(store: Store, view: ReportView, rendered: Mapping[str, str]) -> None:
    """Keep a report.

    :param rendered: its text by format, besides JSON.
    """
    for form, text in rendered.items():
        store.write(key_of(view.run, form), text.encode())
    # Last: where it is, the others are.
    store.write(key_of(view.run, "json"), json.dumps(asdict(view), indent=2).encode())


def kept(store: Store) -> tuple[KeptRow, ...]:
    """All reports that are kept, oldest first, and runs that have only a journal.

    :raises UnreadableError: if one of them cannot be read.
    """
    return tuple(_row(store, run, found) for run, found in sorted(_forms(store).items()))


def _forms(store: Store) -> dict[str, list[str]]:
    """Of each run, in which formats its report is kept."""
    forms: dict[str, list[str]] = {}
    for key in store.keys(PREFIX):
        run, _, form = key.removeprefix(PREFIX).rpartition(".")
        if _RUN.fullmatch(run) and form in FORMATS:
            forms.setdefault(run, []).append(form)
    for run in runs(store):
        # A run that found nothing to do has no report, and an end.
        if run not in forms and [e.event for e in read(store, run)][-1:] != ["finished"]:
            forms[run] = []
    return forms


def _row(store: Store, run: str, found: list[str]) -> KeptRow:
    if "json" not in found:
        return KeptRow(run, _untold(run), "unfinished", _moment(run), None, tuple(found))
    view = load(store, run)
    return KeptRow(run, view.title, view.ending, view.began_at, view.ended_at, tuple(found))


def load(store: Store, run: str) -> ReportView:
    """A report.

    Of a run that keeps none, because it goes on or was killed, its journal tells.

    :raises UsageError: if there is neither.
    :raises UnreadableError: if it cannot be read.
    """
    content = store.read(key_of(run, "json")) if _RUN.fullmatch(run) else None
    if content is None and run in runs(store):
        return from_journal(run, list(read(store, run)))
    if content is None:
        raise UsageError(
            f"there is no report of a run {run!r}",
            resolution="`onebaton report` lists those that are kept.",
        )
    try:
        return _VIEW.validate_json(content)
    except ValidationError as error:
        raise UnreadableError(
            f"the report {key_of(run, 'json')} under `state` cannot be read",
            details=[
                f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
                for problem in error.errors(include_url=False, include_input=False)[:5]
            ],
            resolution="Nothing depends on it: move it away, or restore it from a copy.",
        ) from None


def from_journal(run: str, entries: Sequence[Entry]) -> ReportView:
    """What a run wrote down that has not come to its report."""
    steps: dict[str, StepRow] = {}
    for entry in entries:
        if entry.event == "started":
            steps[entry.step] = StepRow(entry.step, entry.text, entry.at, None, "unfinished")
        elif entry.event == "done" and entry.step in steps:
            begun = steps[entry.step]
            took_s = entry.at - begun.started_at
            steps[entry.step] = replace(begun, duration_s=took_s, outcome="done")
        elif entry.event == "done":
            steps[entry.step] = StepRow(entry.step, entry.step, entry.at, 0.0, "skipped")
    return ReportView(
        title=_untold(run),
        steps=tuple(steps.values()),
        notes=("it goes on, or was killed: this is what its journal holds",),
        run=run,
        ending="unfinished",
        began_at=entries[0].at if entries else _moment(run),
        ended_at=entries[-1].at if entries else None,
        go_on=entries[0].text if entries else "",
    )


def _untold(run: str) -> str:
    return f"{run.partition('-')[2]}: it goes on, or was killed"


def _moment(run: str) -> float:
    """When a run began, by its id."""
    return datetime.strptime(f"{run.partition('-')[0]}+0000", "%Y%m%dT%H%M%S%z").timestamp()


def newest(store: Store) -> str:
    """The run that began last.

    :raises UsageError: if there was none.
    """
    found = _forms(store)
    if not found:
        raise UsageError("no report is kept yet", resolution="Each run keeps one when it ends.")
    return max(found)
