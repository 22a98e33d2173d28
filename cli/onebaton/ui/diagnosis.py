"""The doctor's findings: the worst first, each with the way out, what is well at the end."""

from collections.abc import Iterator, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from onebaton.views import DiagnosisRow, DoctorView

#: Headings in their order, with verdict and colour.
_GROUPS = (
    ("blocker", "stands in the way of a rollout", "red"),
    ("unknown", "could not be told, which is not ok", "magenta"),
    ("warning", "should be looked at", "yellow"),
)


def parts(view: DoctorView) -> Iterator[RenderableType]:
    """What is printed, one thing after another."""
    yield Text(f"zone {view.zone_name}, towards OpenNebula {view.to_version}", style="bold")
    for verdict, heading, style in _GROUPS:
        rows = [row for row in view.rows if row.verdict == verdict]
        if rows:
            yield Text(f"\n{verdict}: {heading}", style=f"bold {style}")
        for row in rows:
            yield from _finding(row, style)
    well = [row for row in view.rows if row.verdict == "ok"]
    if well:
        yield Text("\nok", style="bold green")
        yield _table(well)
    yield _summary(view)


def _finding(row: DiagnosisRow, style: str) -> Iterator[RenderableType]:
    yield Text.assemble((f"  {row.check}", f"bold {style}"), f": {row.what}")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="dim", min_width=10)
    grid.add_column(overflow="fold")
    grid.add_row("seen", Text(row.evidence))
    grid.add_row("because", Text(row.why))
    grid.add_row("way out", Text(row.way_out))
    yield grid


def _table(rows: Sequence[DiagnosisRow]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in ("check", "what", "seen"):
        table.add_column(head, overflow="fold")
    for row in rows:
        table.add_row(Text(row.check, style="green"), Text(row.what), Text(row.evidence))
    return table


def _summary(view: DoctorView) -> Text:
    counts = dict.fromkeys(("blocker", "unknown", "warning", "ok"), 0)
    for row in view.rows:
        counts[row.verdict] += 1
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    if view.blocked:
        return Text(f"{told}: no rollout before that is in order", style="bold red")
    return Text(f"{told}: nothing stands in the way of a rollout", style="bold green")
