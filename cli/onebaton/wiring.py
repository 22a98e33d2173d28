"""Puts adapters behind the ports and runs one use case: what each command calls.

Heavy libraries are imported where they are used, so that ``--help`` and a usage error cost
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from onebaton.model import Image
    from onebaton.ports import Reporter
    from onebaton.views import PlanView, ReportView, StatusView


@dataclass(frozen=True, slots=True)
class Options:
    """What every command is given.

    :param config: path of ``cluster.yaml``.
    :param version: overrides ``image.version``.
    :param state: overrides ``state``; relative to the working folder.
    """

    config: Path
    reporter: Reporter
    version: str | None = None
    state: str | None = None


def bake(options: Options, *, force: bool) -> tuple[Image, bool]:
    """Bake the configured image, unless the same recipe was baked before.

    :returns: the image, and whether it was baked now.
    """
    raise NotImplementedError


def images(options: Options) -> tuple[Image, ...]:
    """The catalogue, oldest first."""
    raise NotImplementedError


def bootstrap(options: Options) -> ReportView:
    """Found a new zone of the configured size."""
    raise NotImplementedError


def plan(options: Options) -> PlanView:
    """What a rollout would do now; empty steps if nothing."""
    raise NotImplementedError


def rollout(options: Options) -> ReportView:
    """Bring the zone onto the configured image, step by step."""
    raise NotImplementedError


def status(options: Options) -> StatusView:
    """The zone and the nodes as they are."""
    raise NotImplementedError


def destroy_preview(options: Options) -> tuple[str, ...]:
    """Names of the nodes that :func:`destroy` would destroy."""
    raise NotImplementedError


def destroy(options: Options) -> tuple[str, ...]:
    """Destroy all nodes of the cluster.

    :returns: names of the nodes destroyed.
    """
    raise NotImplementedError
