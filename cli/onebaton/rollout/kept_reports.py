"""Reports of runs as they are kept with the state: one run, one report, in several formats."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict

from pydantic import TypeAdapter, ValidationError

from onebaton.errors import UnreadableError, UsageError
from onebaton.ports import Store
from onebaton.reports import KeptRow, ReportView

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
    """All reports that are kept, oldest first.

    :raises UnreadableError: if one of them cannot be read.
    """
    forms: dict[str, list[str]] = {}
    for key in store.keys(PREFIX):
        run, _, form = key.removeprefix(PREFIX).rpartition(".")
        if _RUN.fullmatch(run) and form in FORMATS:
            forms.setdefault(run, []).append(form)
    return tuple(_rows(store, forms))


def _rows(store: Store, forms: Mapping[str, list[str]]) -> Iterator[KeptRow]:
    for run, found in forms.items():
        view = load(store, run) if "json" in found else None
        if view is None:
            continue
        yield KeptRow(run, view.title, view.ending, view.began_at, view.ended_at, tuple(found))


def load(store: Store, run: str) -> ReportView:
    """A report.

    :raises UsageError: if there is none of this run.
    :raises UnreadableError: if it cannot be read.
    """
    content = text_of(store, run, "json")
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


def text_of(store: Store, run: str, form: str) -> bytes:
    """A report as it is kept in a format.

    :raises UsageError: if it is not there.
    """
    content = store.read(key_of(run, form)) if _RUN.fullmatch(run) else None
    if content is None:
        raise UsageError(
            f"there is no report of a run {run!r}" + ("" if form == "json" else f" as {form}"),
            resolution="`onebaton report` lists those that are kept.",
        )
    return content


def newest(store: Store) -> str:
    """The run whose report was kept last.

    :raises UsageError: if none is kept.
    """
    runs = [key.removeprefix(PREFIX).removesuffix(".json") for key in store.keys(PREFIX)]
    found = [run for run in runs if _RUN.fullmatch(run)]
    if not found:
        raise UsageError("no report is kept yet", resolution="Each run keeps one when it ends.")
    return found[-1]
