"""A whole rollout carried out in a clone, and what it took kept as a rehearsal of production's."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from onebaton.errors import RefusedError, UsageError
from onebaton.wiring.clones import create_clone, destroy_clone
from onebaton.wiring.cloning import CloneWish
from onebaton.wiring.running import locked, opened, run_id

if TYPE_CHECKING:
    from onebaton.reports import ReportView
    from onebaton.views import RehearsalView
    from onebaton.wiring.options import Options

#: Name of a clone that is made for one rehearsal.
MADE_FOR_IT = "rehearsal"


def rehearse_in_clone(options: Options, name: str | None, *, keep: bool) -> RehearsalView:
    """Rehearse and roll out in a clone, and keep what was measured with production's state.

    :param name: of the clone; ``None``: the one there is, or one made for it.
    :param keep: leave a clone that was made for it.
    :raises UsageError: if there are several clones.
    :raises RefusedError: if the clone cannot be rolled; production was not touched.
    """
    chosen = name or _only_one(options)
    is_made = chosen is None
    if is_made:
        create_clone(replace(options, version=None), CloneWish(MADE_FOR_IT))
    inside = replace(options, clone=chosen or MADE_FOR_IT)
    try:
        view = _carried_out(inside)
    finally:
        if is_made and not keep:
            destroy_clone(options, MADE_FOR_IT)
    return _kept(options, view)


def _carried_out(inside: Options) -> RehearsalView:
    from onebaton.wiring import rehearse, rollout

    view = rehearse(inside, keep=False)
    if view.refusals:
        return replace(view, clone=inside.clone or "")
    report = rollout(inside)
    return replace(
        view,
        clone=inside.clone or "",
        measured_s=_gap_s(report),
        measured=report.gaps,
        notes=(*view.notes, *(note for note in report.notes if not note.startswith("kept as "))),
    )


def _gap_s(report: ReportView) -> float | None:
    """Longest time without an acknowledged write through the virtual IP."""
    seen = [gap.longest_s for gap in report.gaps if (gap.target, gap.kind) == ("VIP", "write")]
    return round(max(seen), 2) if seen else None


def _kept(options: Options, view: RehearsalView) -> RehearsalView:
    from onebaton.rollout import rehearsals

    with opened(options) as production, locked(production, "rehearse"):
        key = rehearsals.key_of(run_id(production, view.version))
        title = f"{view.title}, a clone of {production.config.zone.name}"
        view = replace(view, title=title, kept_as=production.place(key))
        rehearsals.keep(production.store, key, view)
        return view


def _only_one(options: Options) -> str | None:
    """The one clone that serves; ``None`` if there is none.

    :raises UsageError: if there are several.
    :raises RefusedError: if one is there that was not made to its end.
    """
    from onebaton.cloning import ClonePhase
    from onebaton.rollout.cloning import clones_in

    with opened(options) as production:
        clones = clones_in(production.store)
    if len(clones) > 1:
        raise UsageError(
            f"there are several clones: {', '.join(clone.name for clone in clones)}",
            resolution="Name one: onebaton rehearse --in clone NAME",
        )
    if clones and clones[0].phase is not ClonePhase.READY:
        raise RefusedError(
            f"the clone {clones[0].name} was not made to its end",
            resolution=f"Go on with it: onebaton clone create {clones[0].name}",
        )
    return clones[0].name if clones else None
