"""Results on standard output: tables for people, JSON for programs."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict

from onebaton.cloning import ClonesView, CloneView
from onebaton.drift import DriftView
from onebaton.model import Image
from onebaton.reports import KeptRow, ReportView
from onebaton.views import (
    DoctorView,
    ImageView,
    PlanView,
    PruneView,
    RehearsalView,
    StatusView,
)

#: What commands show.
View = (
    StatusView
    | PlanView
    | ReportView
    | DoctorView
    | DriftView
    | RehearsalView
    | ImageView
    | PruneView
    | CloneView
    | ClonesView
)
Shown = View | Sequence[Image] | Sequence[KeptRow]


def show(what: Shown, *, as_json: bool = False) -> None:
    """Print a command's result.

    :param as_json: as data, and nothing else.
    """
    if as_json:
        show_json(asdict(what) if isinstance(what, View) else [asdict(row) for row in what])
        return
    # rich is slow to import; JSON does not need it.
    from onebaton.ui import tables

    tables.show(what, sys.stdout)


def show_json(data: object) -> None:
    """Print plain data as JSON."""
    show_line(json.dumps(data, indent=2, ensure_ascii=False))


def show_line(text: str) -> None:
    """Print a line of result."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
