"""A rollout by stages: where it stops, who approves, who is told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from onebaton.errors import OnebatonError, RefusedError, UsageError
from onebaton.wiring.running import locked, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onebaton.config import Event, Stage
    from onebaton.model import World
    from onebaton.plan.actions import Plan
    from onebaton.reports import ReportView
    from onebaton.rollout.boundaries import Boundaries, StageCheck
    from onebaton.rollout.interrupt import StopRequest
    from onebaton.rollout.stage_notes import Progress
    from onebaton.staging import Notifier
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options


def require_stage(until: Stage | None, world: World, plan: Plan, digest: str) -> None:
    """See that a rollout of this kind has the stage after which it is to stop.

    :param digest: of the wanted image.
    :raises UsageError: if it has not.
    """
    from onebaton.plan.stages import itinerary

    stages = itinerary(world, plan, digest).stages
    if until is None or until in stages:
        return
    kind = "a cut-over" if "cut" in stages else "a roll"
    raise UsageError(
        f"--until {until}: this rollout is {kind}, which has no such stage",
        resolution=f"Its stages are {', '.join(stages)}.",
    )


def progress_to(cluster: Cluster, digest: str) -> Progress | None:
    """How far the rollout to an image came; what was approved for another holds no more.

    :param digest: of the wanted image.
    """
    goal, progress = cluster.goals.load(), cluster.stage_progress.load()
    if goal is None or goal.digest != digest:
        cluster.stage_progress.forget()
        return None
    return progress


def boundaries(
    cluster: Cluster,
    run: str,
    stop: StopRequest,
    notifier: Notifier,
    before_stage: tuple[StageCheck, ...] = (),
) -> Boundaries:
    """Where this rollout waits, asks and tells.

    :param before_stage: checks before its first step and before each stage.
    """
    from dataclasses import replace

    from onebaton.adapters.hooks import Programs
    from onebaton.rollout.boundaries import Boundaries, Run

    options, image = cluster.options, cluster.wanted.image
    to_the_end = replace(options, until=None)
    return Boundaries(
        run=Run(
            id=run,
            zone=cluster.config.zone.name,
            version=image.version,
            image_digest=image.digest,
            again=options.again("rollout"),
            beyond=to_the_end.again("rollout"),
            approving=options.again("continue"),
            until=options.until,
        ),
        settings=cluster.config.stages,
        note=cluster.stage_progress,
        observe=cluster.look,
        clock=cluster.clock,
        reporter=cluster.reporter,
        stop=stop,
        hooks=Programs(cluster.reporter),
        notifier=notifier,
        before_stage=before_stage,
    )


@contextlib.contextmanager
def telling(cluster: Cluster, run: str, title: str) -> Iterator[Notifier]:
    """Tell whoever is to be told that a run begins, and of its failure."""
    from onebaton.adapters.secrets import resolve
    from onebaton.adapters.webhook import Nobody, Webhook

    settings = cluster.config.notify
    url = None
    if settings.url is not None:
        try:
            url = resolve(settings.url, key="notify.url", reporter=cluster.reporter)
        except OnebatonError as error:
            # Who cannot be told stands in nobody's way.
            cluster.reporter.warn(f"nobody is told of this run: {error.message}")
    if url is None:
        yield Nobody()
        return
    with Webhook(
        url,
        cluster.reporter,
        events=settings.events,
        timeout_s=settings.timeout_s,
        attempts=settings.attempts,
    ) as webhook:
        tell(cluster, webhook, run, "begun", f"begun: {title}")
        try:
            yield webhook
        except OnebatonError as error:
            tell(cluster, webhook, run, "failed", error.message, *error.details)
            raise


def tell(
    cluster: Cluster, notifier: Notifier, run: str, event: Event, text: str, *details: str
) -> None:
    """One notice of the whole run."""
    from onebaton.staging import Notice

    zone, now = cluster.config.zone.name, cluster.clock.now()
    notifier.tell(Notice(event, zone, run, now, text, details=details))


def go_on(options: Options, by: str) -> ReportView:
    """Approve the stage that a rollout waits before, and go on with it.

    :param by: who approves.
    :raises RefusedError: if nothing waits.
    """
    from onebaton.wiring import rollout

    with opened(options) as cluster, locked(cluster, "continue"):
        _approve(cluster, by)
    return rollout(options)


def _approve(cluster: Cluster, by: str) -> None:
    from dataclasses import replace

    from onebaton.rollout.stage_notes import Approval

    progress = cluster.stage_progress.load()
    waiting = progress.waiting if progress is not None else None
    if progress is None or waiting is None or cluster.goals.load() is None:
        raise RefusedError(
            "no rollout waits for an approval",
            resolution=f"To begin one, or to go on: {cluster.options.again('rollout')}",
        )
    if progress.approval is not None:
        cluster.reporter.note(f"{waiting.stage} was approved by {progress.approval.by} already")
        return
    approval = Approval(waiting.stage, by, cluster.clock.now(), waiting.run, waiting.steps)
    cluster.stage_progress.save(replace(progress, approval=approval))
    cluster.reporter.note(f"{by} approves the stage {waiting.stage}: {', '.join(waiting.steps)}")
