"""Clones, for people."""

import time
from collections.abc import Iterator

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from onebaton.cloning import ClonePhase, CloneRow, ClonesView, CloneView


def parts(view: CloneView | ClonesView) -> Iterator[RenderableType]:
    """What is printed, one thing after another."""
    return _listed(view) if isinstance(view, ClonesView) else _one(view)


def _listed(view: ClonesView) -> Iterator[RenderableType]:
    """All clones of a zone."""
    if not view.clones:
        yield Text("there is no clone")
        return
    heads = ("clone", "zone", "servers", "version", "subnet", "made", "of", "expires", "standing")
    table = _table(*heads)
    for row in view.clones:
        cells = (row.name, row.zone, str(row.size), row.version, row.subnet, _moment(row.made_at))
        more = (row.source or "-", _moment(row.expires_at))
        style = "red" if row.expired else ""
        table.add_row(*map(Text, (*cells, *more)), Text(_standing(row), style=style))
    yield table


def _one(view: CloneView) -> Iterator[RenderableType]:
    """One clone that was made or proved."""
    row = view.clone
    yield Text(f"clone {row.name} of the zone {row.of}: {_standing(row)}", style="bold")
    yield Text(
        f"zone {row.zone}, {row.size} {'server' if row.size == 1 else 'servers'} of OpenNebula "
        f"{row.version} in {row.subnet}, of {row.source}, made {_moment(row.made_at)}, expires "
        f"{_moment(row.expires_at)}"
    )
    yield Text(f"{view.user} at {view.endpoint}, password in {view.password_file}")
    if view.changed:
        rows = ", ".join(f"{table} {count}" for table, count in view.changed)
        yield Text(f"rows changed before the first start: {rows}")
    if view.parts:
        table = _table("part", "seconds")
        table.columns[1].justify = "right"
        for part in view.parts:
            table.add_row(Text(part.what), Text(f"{part.seconds:.1f}"))
        yield table
    for note in view.notes:
        yield Text(note)


def _standing(row: CloneRow) -> str:
    if row.phase != ClonePhase.READY.value:
        return "not made to its end"
    return "expired" if row.expired else "serves"


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _moment(at: float) -> str:
    """Local time."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
