"""Drift by what it is about, each with what was expected and the way back."""

from collections.abc import Iterator
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from onebaton.drift import Drift, DriftView


def parts(view: DriftView) -> Iterator[RenderableType]:
    """What is printed, one thing after another."""
    yield Text(f"zone {view.zone_name}, OpenNebula {view.to_version}", style="bold")
    for area, rows in groupby(view.rows, key=lambda row: row.area):
        yield Text(f"\n{area}", style="bold yellow")
        for row in rows:
            yield Text(f"  {row.place}", style="bold")
            yield _grid(row)
    for note in view.notes:
        yield Text(f"\n{note[0].upper()}{note[1:]}.", style="cyan")
    count = len(view.rows)
    if count:
        things = "one thing is" if count == 1 else f"{count} things are"
        yield Text(f"\n{things} not as configured", style="bold yellow")
    else:
        yield Text("no drift: everything is as configured", style="bold green")


def _grid(row: Drift) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(justify="right", style="dim", min_width=10)
    grid.add_column(overflow="fold")
    grid.add_row("expected", Text(row.expected))
    grid.add_row("found", Text(row.found))
    grid.add_row("way back", Text(row.way_back))
    return grid
