"""Tables of status, images, plan and report."""

import os
import time
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from onebaton.cloning import ClonesView, CloneView
from onebaton.drift import DriftView
from onebaton.model import Health, Image
from onebaton.reports import GapRow, KeptRow, ReportView, StepRow
from onebaton.ui import clones, diagnosis, drift
from onebaton.views import (
    DoctorView,
    ImageRow,
    ImageView,
    MemberRow,
    NodeRow,
    PartRow,
    PlanView,
    PruneView,
    RehearsalView,
    StatusView,
    TableRow,
)

#: Where no terminal says how wide it is: a log, whose reader scrolls.
LOG_WIDTH = 200

_NOTHING = "-"
_STYLES = {
    Health.HEALTHY.value: "green",
    Health.LAGGING.value: "yellow",
    Health.UNHEALTHY.value: "red",
    Health.UNKNOWN.value: "red",
    "done": "green",
    "failed": "red",
    "interrupted": "red",
    "finished": "green",
    "waiting": "yellow",
    "stopped": "yellow",
    "skipped": "dim",
    "lost rows": "red",
    "changed": "yellow",
    "left alone": "dim",
}


def show(
    what: StatusView
    | PlanView
    | ReportView
    | DoctorView
    | DriftView
    | RehearsalView
    | ImageView
    | PruneView
    | CloneView
    | ClonesView
    | Sequence[Image]
    | Sequence[KeptRow],
    stream: TextIO,
) -> None:
    """Print a view's tables."""
    width = None if stream.isatty() or "COLUMNS" in os.environ else LOG_WIDTH
    console = Console(file=stream, width=width, markup=False, emoji=False, highlight=False)
    match what:
        case StatusView():
            parts = _status(what, console.width)
        case PlanView():
            parts = _plan(what)
        case ReportView():
            parts = _report(what)
        case DoctorView():
            parts = diagnosis.parts(what)
        case DriftView():
            parts = drift.parts(what)
        case RehearsalView():
            parts = _rehearsal(what)
        case ImageView():
            parts = _image(what)
        case CloneView() | ClonesView():
            parts = clones.parts(what)
        case PruneView():
            parts = _prune(what)
        case [KeptRow(), *_]:
            parts = iter([_kept([row for row in what if isinstance(row, KeptRow)])])
        case _:
            images = [row for row in what if isinstance(row, Image)]
            parts = iter([_images(images) if images else Text("no image was baked yet")])
    for part in parts:
        # A line that is folded here could not be pasted: the terminal does that.
        console.print(part, soft_wrap=isinstance(part, Text))


def _status(view: StatusView, width: int) -> Iterator[RenderableType]:
    # What was not looked into may hold it: only where all was seen, nobody does.
    nobody = "nobody" if all(row.holds_vip is False for row in view.members) else "nobody seen"
    holders = ", ".join(view.vip_holders) or nobody
    yield Text(
        f"zone {view.zone_name} ({view.zone_id}), {'enabled' if view.enabled else 'disabled'}, "
        f"leader {view.leader or 'none'}, VIP {view.vip} held by {holders}"
    )
    # A narrow terminal gets the machines' side in the second table only.
    wide = _members(view.members, machines=True)
    fits = Console(width=LOG_WIDTH).measure(wide).maximum <= width
    yield wide if fits else _members(view.members, machines=False)
    others = [node for node in view.nodes if not fits or node.server_id is None]
    if others:
        yield _nodes(others)
    for member in view.members:
        if member.problem:
            yield Text(f"{member.name}: {member.problem}", style="yellow")
    for problem in view.problems:
        yield Text(problem, style="red")
    for note in view.notes:
        yield Text(note)


def _standing(image: Image) -> str:
    if not isinstance(image, ImageRow):
        return ""
    return "revoked" if image.revoked is not None else ", ".join(image.channels)


def _image(view: ImageView) -> Iterator[RenderableType]:
    image = view.image
    yield Text(f"{image.name}: OpenNebula {image.version}, schema {image.schema}")
    if image.revoked is not None:
        yield Text(f"revoked: {image.revoked}", style="red")
    yield Text(f"channels: {', '.join(image.channels) or 'none'}")
    yield Text(f"run by: {', '.join(view.nodes) or 'no node'}")
    yield Text(f"on {image.platform}: {'there' if view.present else 'not there'}")
    yield Text(f"digest {image.digest}")
    yield Text(f"built {image.built_at} from {image.base} by Packer {image.packer_version}")
    yield Text(f"recipe {image.recipe_digest}")


def _prune(view: PruneView) -> Iterator[RenderableType]:
    for name in view.going:
        yield Text(f"{name}: goes")
    for name, why in view.staying:
        yield Text(f"{name}: stays, {why}")
    if not view.going:
        yield Text("there is nothing to remove")


def _members(members: Sequence[MemberRow], *, machines: bool) -> Table:
    heads = ["id", "server", "endpoint", "state", "term", "index", "lag", "health", "version"]
    heads += ["schema", "VIP", *(["node", "gen", "image"] if machines else [])]
    table = _table(*heads, right=("id", "term", "index", "lag"))
    for row in members:
        cells = [row.id, row.name, row.endpoint, row.state, row.term, row.log_index, row.lag]
        cells += [row.health, row.version, row.schema, _mark(holds=row.holds_vip)]
        cells += [row.node, row.generation, row.image] if machines else []
        table.add_row(*map(_cell, cells))
    return table


def _nodes(nodes: Sequence[NodeRow]) -> Table:
    has_roles = any(row.role for row in nodes)
    heads = ["node", "address", "state", "gen", "image", "server id", *(["role"] * has_roles)]
    table = _table(*heads, right=("server id",))
    for row in nodes:
        cells = [row.name, row.address, row.state, row.generation, row.image, row.server_id]
        table.add_row(*map(_cell, [*cells, *([row.role or None] * has_roles)]))
    return table


def _images(images: Sequence[Image]) -> Table:
    is_said = any(map(_standing, images))
    heads = ["image", "version", *(["standing"] * is_said), "schema", "built", "base"]
    table = _table(*heads, "platform", "packer", "digest")
    for image in images:
        cells = [image.name, image.version, *([_standing(image) or None] * is_said)]
        cells += [str(image.schema), image.built_at, image.base]
        # Enough of a digest to tell two images apart.
        digest = image.digest.removeprefix("sha256:")[:12]
        table.add_row(*map(_cell, (*cells, image.platform, image.packer_version, digest)))
    return table


def _plan(view: PlanView) -> Iterator[RenderableType]:
    yield Text(view.title, style="bold")
    yield Text(
        f"{view.from_version or 'unknown'} → {view.to_version}, {view.strategy}: {view.reason}"
    )
    if view.steps:
        table = _table("#", "what", "why", "quorum meanwhile", right=("#",))
        for row in view.steps:
            table.add_row(*map(_cell, (row.number, row.what, row.why, row.quorum)))
        yield table
    else:
        yield Text("nothing to do", style="green")
    for warning in view.warnings:
        yield Text(f"warning: {warning}", style="yellow")


def _report(view: ReportView) -> Iterator[RenderableType]:
    yield Text(view.title, style="bold")
    if view.steps:
        yield _steps(view.steps)
    if view.gaps:
        yield _gaps(view.gaps)
    for line in view.problem:
        yield Text(line, style="red")
    for note in view.notes:
        yield Text(note)
    if view.go_on:
        yield Text(f"to go on: {view.go_on}", style="bold")


def _kept(reports: Sequence[KeptRow]) -> Table:
    table = _table("run", "began", "took", "ended", "what", "kept as", right=("took",))
    for row in reports:
        began, took = None, None
        if row.began_at is not None and row.ended_at is not None:
            began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.began_at))
            took = f"{row.ended_at - row.began_at:.0f} s"
        cells = (row.run, began, took, row.ending, row.title, ", ".join(row.formats))
        table.add_row(*map(_cell, cells))
    return table


def _rehearsal(view: RehearsalView) -> Iterator[RenderableType]:
    yield Text(view.title, style="bold")
    yield Text(
        f"{view.verdict}: schema {view.from_schema} → {view.to_schema}, on a copy of {view.source} "
        f"at log index {view.log_index}"
    )
    if view.migrators:
        yield Text(f"migrators: {', '.join(view.migrators)}")
    if view.tables:
        touched = [row for row in view.tables if row.change != "left alone"]
        yield _changes(touched)
        alone = len(view.tables) - len(touched)
        yield Text(f"{alone} of {len(view.tables)} tables are left alone")
        yield Text(f"files in /var/lib/one/.one: {'; '.join(view.files) or 'none changed'}")
        pools = ", ".join(f"{name} {count}" for name, count in view.pools)
        yield Text(f"pools read through the next oned: {pools}")
        yield Text(
            f"database {_mebibytes(view.database_bytes)}, migrator's peak memory "
            f"{_mebibytes(view.peak_rss_bytes)}, errors found by fsck {view.fsck_errors}"
        )
    yield from _migrated_ahead(view)
    yield _parts("rehearsed", view.parts)
    if view.forecast:
        yield _parts("forecast of the time without writes, the plain way", view.forecast)
        yield Text(f"forecast: {view.forecast_s:.1f} s without writes", style="bold")
    if view.forecast_ahead:
        yield _parts("forecast with the held stand-by", view.forecast_ahead)
        yield Text(f"forecast: {view.forecast_ahead_s:.1f} s without writes", style="bold")
    if view.why_this_way:
        verb = "will take" if view.way is not None else "will be refused"
        yield Text(f"a rollout {verb}: {view.why_this_way}", style="bold" if view.way else "red")
    if view.clone:
        out = "nothing" if view.measured_s is None else f"{view.measured_s:.2f} s without writes"
        yield Text(f"the whole rollout in the clone {view.clone}: {out}", style="bold")
        if view.measured:
            yield _gaps(view.measured)
    for note in view.notes:
        yield Text(note, style="yellow")
    for refusal in view.refusals:
        yield Text(refusal, style="red")
    if view.kept_as:
        yield Text(f"kept as {view.kept_as}")


def _migrated_ahead(view: RehearsalView) -> Iterator[RenderableType]:
    """What was proved of a copy that is migrated before the cut and kept current in batches."""
    if view.ahead_proven is None:
        return
    rows = ", ".join(f"{name} {count}" for name, count in view.brought_over if count)
    if rows:
        yield Text(f"migrated ahead, then brought over in batches: {rows}")
    if view.batch_s is not None:
        yield Text(
            f"compared with those migrated whole: all {len(view.tables)} tables; the last batch "
            f"took {view.batch_s:.1f} s"
        )
    if view.stamps:
        yield Text(f"not compared: {'; '.join(view.stamps)}")
    if view.ahead_proven:
        yield Text("migrated ahead: equal", style="green")
    for doubt in view.doubts:
        yield Text(f"migrated ahead: not proved: {doubt}", style="yellow")


def _changes(tables: Sequence[TableRow]) -> Table:
    right = ("rows before", "after")
    table = _table("table", "rows before", "after", "the migration", "loss", right=right)
    for row in tables:
        accepted = "accepted" if row.accepted else None
        cells = (row.name, row.rows_before, row.rows_after, row.change, accepted)
        table.add_row(*map(_cell, cells))
    return table


def _parts(head: str, parts: Sequence[PartRow]) -> Table:
    table = _table(head, "seconds", "source", right=("seconds",))
    for row in parts:
        table.add_row(*map(_cell, (row.what, f"{row.seconds:.1f}", row.source or None)))
    return table


def _mebibytes(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB"


def _steps(steps: Sequence[StepRow]) -> Table:
    table = _table("step", "began", "took", "outcome", right=("took",))
    for row in steps:
        took = None if row.duration_s is None else f"{row.duration_s:.1f} s"
        cells = (row.what, _time_of_day(row.started_at), took, row.outcome)
        table.add_row(*map(_cell, cells))
    return table


def _gaps(gaps: Sequence[GapRow]) -> Table:
    right = ("longest gap", "requests", "failed")
    table = _table(
        "through", "kind", "longest gap", "from", "to", "requests", "failed", right=right
    )
    for row in gaps:
        times = (_time_of_day(row.began_at, ms=True), _time_of_day(row.ended_at, ms=True))
        cells = (row.target, row.kind, f"{row.longest_s:.2f} s", *times, row.requests, row.failed)
        table.add_row(*map(_cell, cells))
    return table


def _table(*heads: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left", overflow="fold")
    return table


def _cell(value: object) -> Text:
    text = _NOTHING if value is None else str(value)
    return Text(text, style=_STYLES.get(text, ""))


def _mark(*, holds: bool | None) -> str:
    return "?" if holds is None else "yes" if holds else _NOTHING


def _time_of_day(at: float | None, *, ms: bool = False) -> str | None:
    """Local time, as in the log lines."""
    if at is None:
        return None
    text = time.strftime("%H:%M:%S", time.localtime(at))
    return f"{text}.{int(at * 1000) % 1000:03d}" if ms else text
