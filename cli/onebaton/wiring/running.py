"""What every use case that changes something shares: the cluster, the lock, the run, the report."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol, TypeVar

from onebaton.errors import OnebatonError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onebaton.model import World
    from onebaton.plan.actions import Action, Plan
    from onebaton.reports import Ending, GapRow, ReportView, StageRow
    from onebaton.rollout.chronicle import Chronicle
    from onebaton.rollout.interrupt import StopRequest
    from onebaton.rollout.lock import Lock
    from onebaton.rollout.runner import Verdict
    from onebaton.steps.site import Site
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options

W = TypeVar("W", bound="World | None")
W_contra = TypeVar("W_contra", contravariant=True)


class Between(Protocol[W_contra]):
    """What happens between the stages of a run; :mod:`onebaton.rollout.boundaries`."""

    ending: Ending | None
    said: tuple[str, ...]
    go_on: str
    rows: list[StageRow]

    def reached(self, world: W_contra, plan: Plan) -> Verdict:
        """What to do before the next step."""
        ...


@contextlib.contextmanager
def opened(options: Options) -> Iterator[Cluster]:
    """The cluster, until the block is left."""
    from onebaton.wiring.cluster import Cluster

    with contextlib.ExitStack() as closing:
        yield Cluster(options, closing)


@contextlib.contextmanager
def locked(cluster: Cluster, command: str) -> Iterator[Lock]:
    """Nobody else changes the cluster while the block runs."""
    from onebaton.rollout import lock

    with lock.held(
        cluster.store,
        cluster.clock,
        cluster.reporter,
        cluster.options.again(command),
        break_lock=cluster.options.break_lock,
    ) as taken:
        yield taken


def run_id(cluster: Cluster, command: str) -> str:
    """Names a run's journal and report; sorts by time."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(cluster.clock.now(), UTC).strftime("%Y%m%dT%H%M%S")
    return f"{moment}-{command}"


def carry_out(
    cluster: Cluster,
    lock: Lock,
    run: str,
    observe: Callable[[], W],
    decide: Callable[[W], Plan],
    *,
    site: Site | None = None,
    seen: Callable[[W], None] = lambda _world: None,
    before: Callable[[Action], None] = lambda _action: None,
    gaps: Callable[[], Sequence[GapRow]] = tuple,
    staged: Callable[[StopRequest], Between[W]] | None = None,
) -> Chronicle:
    """Take the plan's steps until nothing is left, or a stage is where it stops.

    A run that does not come so far keeps a report as well.

    :param run: as :func:`run_id` has it, of the command that goes on with it.
    :param site: what the steps work with, if it is not just the cluster's.
    :param gaps: ends the probe, for the report of a run that fails.
    :param staged: what happens between stages, if the run has any.
    """
    from dataclasses import replace

    from onebaton.rollout.chronicle import Chronicle
    from onebaton.rollout.interrupt import stop_on_signals
    from onebaton.rollout.journal import Journal
    from onebaton.rollout.runner import Runner, Verdict
    from onebaton.steps.build import Builder

    chronicle = Chronicle(run, cluster.clock)
    site = site or cluster.site
    look = site.observe

    def about_to(action: Action) -> None:
        lock.require()
        before(action)

    def noticed(world: W) -> None:
        chronicle.seen(world)
        seen(world)

    def looked() -> World:
        """Steps look at the zone too, and more often."""
        world = look()
        chronicle.seen(world)
        return world

    builder = Builder(
        replace(site, observe=looked),
        (cluster.config.zone.credentials.user, cluster.password),
        cluster.config.rollout.steered_election_timeout_ms,
    )
    command = run.rpartition("-")[2]
    with chronicled(cluster, chronicle, command, gaps), stop_on_signals(cluster.reporter) as stop:
        between = staged(stop) if staged is not None else None
        if between is not None:
            chronicle.stages = between.rows
        Runner(
            observe=observe,
            decide=decide,
            build=builder.build,
            clock=cluster.clock,
            reporter=cluster.reporter,
            journal=Journal(cluster.store, cluster.clock, run),
            stop=stop,
            hand_back=cluster.options.again(command),
        ).run(
            seen=noticed,
            before=about_to,
            reached=between.reached if between is not None else lambda _world, _plan: Verdict.GO,
            took=chronicle.took,
        )
        if between is not None and between.ending is not None:
            chronicle.ending, chronicle.said = between.ending, between.said
            chronicle.go_on = between.go_on
    return chronicle


@contextlib.contextmanager
def chronicled(
    cluster: Cluster, chronicle: Chronicle, command: str, gaps: Callable[[], Sequence[GapRow]]
) -> Iterator[None]:
    """Keep a report of what fails or is interrupted in the block."""
    from onebaton.wiring.reports import keep

    try:
        yield
    except (OnebatonError, KeyboardInterrupt) as error:
        chronicle.broken_off(error, cluster.options.again(command))
        title = f"zone {cluster.config.zone.name}: {command} {chronicle.ending}"
        try:
            view = keep(cluster, chronicle.view(title, gaps(), ()))
        except OnebatonError as problem:
            # What went wrong first is what is told.
            cluster.reporter.warn(f"no report was kept: {problem.message}")
        else:
            cluster.reporter.note(view.notes[-1])
        raise


def report(
    cluster: Cluster,
    run: str,
    title: str,
    taken: Chronicle | tuple[()],
    gaps: Sequence[GapRow] = (),
    *,
    notes: Sequence[str] = (),
    nothing: Sequence[str] = (),
) -> ReportView:
    """The report, kept with the state when anything was done.

    :param nothing: what is said besides if nothing was.
    """
    from onebaton.reports import ReportView
    from onebaton.wiring.reports import keep

    if not taken or not taken.is_worth_keeping:
        return ReportView(title, (), tuple(gaps), ("nothing was to be done", *nothing), run)
    return keep(cluster, taken.view(title, gaps, notes))
