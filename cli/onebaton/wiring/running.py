"""What every use case that changes something shares: the cluster, the lock, the run, the report."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onebaton.model import World
    from onebaton.plan.actions import Action, Plan
    from onebaton.rollout.lock import Lock
    from onebaton.rollout.runner import Taken
    from onebaton.steps.site import Site
    from onebaton.views import GapRow, ReportView
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.options import Options

W = TypeVar("W", bound="World | None")


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
) -> tuple[Taken, ...]:
    """Take the plan's steps until nothing is left.

    :param run: as :func:`run_id` has it, of the command that goes on with it.
    :param site: what the steps work with, if it is not just the cluster's.
    """
    from onebaton.rollout.interrupt import stop_on_signals
    from onebaton.rollout.journal import Journal
    from onebaton.rollout.runner import Runner
    from onebaton.steps.build import Builder

    def about_to(action: Action) -> None:
        lock.require()
        before(action)

    builder = Builder(
        site or cluster.site,
        (cluster.config.zone.credentials.user, cluster.password),
        cluster.config.rollout.steered_election_timeout_ms,
    )
    with stop_on_signals(cluster.reporter) as stop:
        return Runner(
            observe=observe,
            decide=decide,
            build=builder.build,
            clock=cluster.clock,
            reporter=cluster.reporter,
            journal=Journal(cluster.store, cluster.clock, run),
            stop=stop,
            hand_back=cluster.options.again(run.rpartition("-")[2]),
        ).run(seen=seen, before=about_to)


def report(
    cluster: Cluster,
    run: str,
    title: str,
    taken: Sequence[Taken],
    gaps: Sequence[GapRow] = (),
    *,
    notes: Sequence[str] = (),
    nothing: Sequence[str] = (),
) -> ReportView:
    """The report, kept with the state when anything was done.

    :param nothing: what is said besides if nothing was.
    """
    import json
    from dataclasses import asdict

    from onebaton.rollout.reporting import report_view

    if not taken:
        return report_view(title, taken, gaps, ("nothing was to be done", *nothing))
    key = f"reports/{run}.json"
    view = report_view(title, taken, gaps, (*notes, f"kept as {cluster.place(key)}"))
    cluster.store.write(key, json.dumps(asdict(view), indent=2).encode())
    return view
