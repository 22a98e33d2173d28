"""Reports of runs: kept, listed, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.wiring.running import opened

if TYPE_CHECKING:
    from collections.abc import Mapping

    from onebaton.reports import KeptRow, ReportView
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options

#: What is said for the run whose report was kept last.
LAST = "last"


def keep(cluster: Cluster, view: ReportView) -> ReportView:
    """Keep a run's report, in all formats.

    :returns: the same, with a note of where it is.
    """
    from dataclasses import replace

    from onebaton.rollout import kept_reports

    place = cluster.place(kept_reports.key_of(view.run, "html"))
    view = replace(view, notes=(*view.notes, f"kept as {place}, and as .md and .json beside it"))
    kept_reports.keep(cluster.store, view, rendered(view))
    return view


def rendered(view: ReportView) -> Mapping[str, str]:
    """A report's text by format."""
    from onebaton.adapters.templates import Templates
    from onebaton.rollout.picture import picture

    templates = Templates()
    told = {"view": view, "picture": picture(view)}
    return {form: templates.render(f"reports/report.{form}.j2", told) for form in ("html", "md")}


def kept_reports(options: Options) -> tuple[KeptRow, ...]:
    """All reports that are kept, oldest first."""
    from onebaton.rollout.kept_reports import kept

    with opened(options) as cluster:
        return kept(cluster.store)


def kept_report(options: Options, run: str) -> ReportView:
    """One of them.

    :param run: its run's id, or :data:`LAST`.
    """
    from onebaton.rollout.kept_reports import load, newest

    with opened(options) as cluster:
        return load(cluster.store, newest(cluster.store) if run == LAST else run)


def kept_text(options: Options, run: str, form: str) -> bytes:
    """One of them as it is kept, or would be.

    :param run: its run's id, or :data:`LAST`.
    :param form: html, md or json.
    """
    import json
    from dataclasses import asdict

    from onebaton.rollout.kept_reports import key_of, load, newest

    with opened(options) as cluster:
        chosen = newest(cluster.store) if run == LAST else run
        view = load(cluster.store, chosen)
        content = cluster.store.read(key_of(chosen, form))
        if content is not None:
            return content
        # It has only a journal, or was kept by a version that knew fewer formats.
        if form == "json":
            return json.dumps(asdict(view), indent=2).encode()
        return rendered(view)[form].encode()
