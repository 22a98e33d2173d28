"""Staging clones: what each command on them calls."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from onebaton.errors import RefusedError, UsageError
from onebaton.wiring.cloning import (
    CloneWish,
    again,
    front_ends,
    make,
    making_of,
    view_of,
    world_of,
    write_config,
)
from onebaton.wiring.running import locked, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onebaton.cloning import Clone, ClonesView, CloneView
    from onebaton.model import Node
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options


def create_clone(options: Options, wish: CloneWish) -> CloneView:
    """Make a clone, or go on with one that was begun.

    :raises RefusedError: if there is one, or what it holds or reaches is production's.
    """
    from onebaton.cloning import ClonePhase

    with opened(options) as production, locked(production, f"clone create {wish.name}"):
        known = _known(production, wish.name)
        if known is not None and known.phase is ClonePhase.READY:
            raise RefusedError(
                f"there is a clone {wish.name} already",
                details=[f"made of {known.source}"],
                resolution="Make it anew (`onebaton clone refresh`), or give it up (`onebaton "
                "clone destroy`).",
            )
        return make(production, wish, known)


def refresh_clone(options: Options, wish: CloneWish) -> CloneView:
    """Make a clone anew, in its place and with new secrets.

    :raises UsageError: if there is none.
    """
    with opened(options) as production, locked(production, f"clone refresh {wish.name}"):
        known = _require(production, wish.name)
        again = replace(
            wish,
            size=wish.size or known.size,
            ttl=wish.ttl or known.ttl,
            dump=wish.dump or known.dump,
        )
        _take_down(production, known)
        return make(production, again, known, anew=True)


def list_clones(options: Options) -> ClonesView:
    """All clones of the zone, by name."""
    from onebaton.cloning import ClonesView
    from onebaton.rollout.cloning import clones_in
    from onebaton.rollout.reporting import clone_row

    with opened(options) as production:
        now = production.clock.now()
        return ClonesView(tuple(clone_row(clone, now) for clone in clones_in(production.store)))


def check_clone(options: Options, name: str) -> CloneView:
    """Prove a clone that serves once more: its fence, its users, its server list.

    :raises RefusedError: if something of production is left, or reached.
    """
    from onebaton.cloning import ClonePhase
    from onebaton.rollout.cloning import PRODUCTION_FILE, remembered

    with opened(options) as production, opened(replace(options, clone=name)) as copy:
        clone = _require(production, name)
        if clone.phase is not ClonePhase.READY:
            raise RefusedError(
                f"the clone {name} was not made to its end",
                resolution=f"Go on with it: {again(production, name)}",
            )
        making = making_of(production, copy, name)
        before = remembered(copy.local / PRODUCTION_FILE)
        making.check(before, front_ends(production, world_of(production, living=False)))
        return view_of(copy, clone, making, ("nothing of production is in it, or reached by it",))


def destroy_clone(options: Options, name: str) -> None:
    """Take a clone away: machines, network, state, secrets.

    :raises UsageError: if there is none.
    """
    with opened(options) as production:
        _take_away(production, _require(production, name))


def expired_clones(options: Options) -> tuple[str, ...]:
    """Names of clones that are past their time."""
    return tuple(row.name for row in list_clones(options).clones if row.expired)


def nodes_of_clones(production: Cluster) -> Iterator[Node]:
    """Machines of all clones: their images are in use."""
    from onebaton.rollout.cloning import clones_in

    for clone in clones_in(production.store):
        write_config(production, clone)
        with opened(replace(production.options, clone=clone.name)) as copy:
            yield from copy.platform.nodes()


# What there is


def _known(production: Cluster, name: str) -> Clone | None:
    from onebaton.rollout.cloning import noted

    return noted(production.store, name).load()


def _require(production: Cluster, name: str) -> Clone:
    clone = _known(production, name)
    if clone is None:
        raise UsageError(
            f"there is no clone {name!r}", resolution="See which there are: onebaton clone list"
        )
    return clone


# Taking away


def _take_away(production: Cluster, clone: Clone) -> None:
    """Machines first, the note last: what is not gone yet can be found."""
    from onebaton.rollout.cloning import NOTE, PREFIX
    from onebaton.wiring.places import clone_folder

    _take_down(production, clone)
    mine = f"{PREFIX}{clone.name}/"
    keys = sorted(production.store.keys(mine), key=lambda key: key == f"{mine}{NOTE}")
    for key in keys:
        production.store.delete(key)
    folders = {clone_folder(production.config, clone.name)}
    if "://" not in production.config.state:
        folders.add(Path(production.config.state) / PREFIX / clone.name)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _take_down(production: Cluster, clone: Clone) -> None:
    """Its machines and its network, and what its own zone noted."""
    write_config(production, clone)
    with opened(replace(production.options, clone=clone.name, version=None)) as copy:
        copy.platform.check()
        with locked(copy, f"clone destroy {clone.name}"):
            copy.platform.apply([])
            production.reporter.note(f"the machines and the network of {clone.zone} are gone")
            for left in (copy.goals, copy.stage_progress, copy.condemned, copy.priors):
                left.forget()
