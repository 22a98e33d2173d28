"""Puts adapters behind the ports and runs one use case: what each command calls."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeVar

from onebaton.wiring.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from onebaton.model import Image, World
    from onebaton.plan.actions import Action, Plan
    from onebaton.rollout.lock import Lock
    from onebaton.rollout.runner import Taken
    from onebaton.views import (
        DoctorView,
        GapRow,
        PlanView,
        RehearsalView,
        ReportView,
        StatusView,
    )
    from onebaton.wiring.cluster import Cluster

__all__ = [
    "Options",
    "bake",
    "bootstrap",
    "destroy",
    "destroy_preview",
    "doctor",
    "images",
    "plan",
    "rehearse",
    "rollout",
    "status",
]

W = TypeVar("W", bound="World | None")

#: What a rollout leaves to its operator: it has no business on the hypervisors.
HYPERVISORS = (
    "the hypervisors keep the drivers they have until `onehost sync` is run, as oneadmin, on the "
    "leader"
)


@contextlib.contextmanager
def _opened(options: Options) -> Iterator[Cluster]:
    from onebaton.wiring.cluster import Cluster

    with contextlib.ExitStack() as closing:
        yield Cluster(options, closing)


@contextlib.contextmanager
def _locked(cluster: Cluster, command: str) -> Iterator[Lock]:
    from onebaton.rollout import lock

    with lock.held(
        cluster.store,
        cluster.clock,
        cluster.reporter,
        cluster.options.again(command),
        break_lock=cluster.options.break_lock,
    ) as taken:
        yield taken


def bake(options: Options, *, force: bool) -> tuple[Image, bool]:
    """Bake the configured image, unless the same recipe was baked before.

    :returns: the image, and whether it was baked now.
    """
    from onebaton.adapters.image_builder import PackerBuilder
    from onebaton.adapters.podman import Podman
    from onebaton.bake.oven import Oven

    with _opened(options) as cluster, _locked(cluster, "bake"):
        builder = PackerBuilder(
            cluster.config.image,
            Podman(cluster.state / "podman"),
            cluster.state / "bake",
            cluster.reporter,
            cluster.clock,
        )
        oven = Oven(builder, cluster.platform, cluster.catalogue, cluster.reporter)
        baked = oven.bake(force=force)
        return baked.image, baked.fresh


def images(options: Options) -> tuple[Image, ...]:
    """The catalogue, oldest first."""
    with _opened(options) as cluster:
        return cluster.catalogue.list()


def bootstrap(options: Options) -> ReportView:
    """Found a new zone of the configured size."""
    from onebaton.plan.bootstrap import plan_bootstrap

    def decide(world: World | None) -> Plan:
        nodes = cluster.platform.nodes()
        if world is not None:
            return plan_bootstrap(cluster.wanted, nodes, world.node_facts, world)
        facts = cluster.frontends.facts_of([node.host for node in nodes])
        seen = {name: fact for name, fact in facts.items() if not isinstance(fact, str)}
        return plan_bootstrap(cluster.wanted, nodes, seen, None)

    with _opened(options) as cluster:
        cluster.platform.check()
        with _locked(cluster, "bootstrap") as lock:
            run = _run_id(cluster, "bootstrap")
            taken = _carry_out(cluster, lock, run, cluster.observe_any, decide)
            title = f"zone {cluster.config.zone.name} founded on {cluster.image.version}"
            return _report(cluster, run, title, taken)


def plan(options: Options) -> PlanView:
    """What a rollout would do now; empty steps if nothing."""
    from onebaton.plan.describe import describe_roll
    from onebaton.plan.roll import plan_roll

    with _opened(options) as cluster:
        cluster.platform.check()
        world = cluster.observe()
        return describe_roll(cluster.wanted, world, plan_roll(cluster.wanted, world))


def rehearse(options: Options, *, accepted: Sequence[str], keep: bool) -> RehearsalView:
    """Rehearse a change of the schema on a copy; the zone is only read."""
    import json
    from dataclasses import asdict, replace

    from onebaton.adapters.zone import session_of
    from onebaton.rollout.rehearse import Rehearsal

    with _opened(options) as cluster:
        cluster.platform.check()
        version = cluster.wanted.image.version
        with _locked(cluster, "rehearse"):
            view = Rehearsal(
                cluster.site,
                cluster.migrations,
                cluster.wanted,
                session_of(cluster.config.zone.credentials.user, cluster.password),
                options.again("rehearse"),
            ).run(accepted=accepted, keep=keep)
            key = f"rehearsals/{_run_id(cluster, version)}.json"
            view = replace(view, kept_as=str(cluster.state / key))
            cluster.store.write(key, json.dumps(asdict(view), indent=2).encode())
            return view


def rollout(options: Options) -> ReportView:
    """Bring the zone onto the configured image, step by step."""
    from onebaton.plan.roll import plan_roll
    from onebaton.wiring.probing import probing

    with _opened(options) as cluster:
        cluster.platform.check()
        wanted = cluster.wanted
        with _locked(cluster, "rollout") as lock:
            run = _run_id(cluster, "rollout")
            title = f"zone {cluster.config.zone.name} rolled to {wanted.image.version}"
            # Refused, or found done, before the probe writes anything.
            if not plan_roll(wanted, cluster.observe()).actions:
                return _report(cluster, run, title, ())
            with probing(cluster) as watch:
                taken = _carry_out(
                    cluster,
                    lock,
                    run,
                    cluster.observe,
                    lambda world: plan_roll(wanted, world),
                    seen=watch.seen,
                    before=watch.before,
                )
                gaps = watch.gaps()
            return _report(cluster, run, title, taken, gaps, notes=(HYPERVISORS,))


def status(options: Options) -> StatusView:
    """The zone and the nodes as they are."""
    from onebaton.rollout.reporting import status_view

    with _opened(options) as cluster:
        world = cluster.look()
        return status_view(world, cluster.config.zone.vip.to_model(), cluster.clock.now())


def doctor(options: Options, *, window_s: float) -> DoctorView:
    """Every precondition of a rollout, judged. Changes nothing.

    :param window_s: shortest time over which the term is watched.
    """
    from onebaton.plan.diagnosis import diagnose
    from onebaton.rollout.checkup import check_up
    from onebaton.rollout.reporting import doctor_view

    with _opened(options) as cluster:
        cluster.platform.check()
        wanted, baked = cluster.wanted_or_unbaked
        world = cluster.observe()
        options.reporter.progress(f"watching the zone for {window_s:g} s")
        checkup = check_up(
            cluster.api, cluster.examiner, world, clock=cluster.clock, window_s=window_s
        )
        vip = cluster.config.zone.vip.to_model()
        found = diagnose(wanted, world, checkup, vip, baked=baked)
        return doctor_view(world, wanted.image.version, found, cluster.clock.now())


def destroy_preview(options: Options) -> tuple[str, ...]:
    """Names of the nodes that :func:`destroy` would destroy."""
    with _opened(options) as cluster:
        cluster.platform.check()
        return tuple(node.spec.name for node in cluster.platform.nodes())


def destroy(options: Options) -> tuple[str, ...]:
    """Destroy all nodes of the cluster.

    :returns: names of the nodes destroyed.
    """
    with _opened(options) as cluster:
        cluster.platform.check()
        with _locked(cluster, "destroy"):
            names = tuple(node.spec.name for node in cluster.platform.nodes())
            cluster.platform.apply([])
            return names


def _run_id(cluster: Cluster, command: str) -> str:
    """Names a run's journal and report; sorts by time."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(cluster.clock.now(), UTC).strftime("%Y%m%dT%H%M%S")
    return f"{moment}-{command}"


def _carry_out(
    cluster: Cluster,
    lock: Lock,
    run: str,
    observe: Callable[[], W],
    decide: Callable[[W], Plan],
    *,
    seen: Callable[[W], None] = lambda _world: None,
    before: Callable[[Action], None] = lambda _action: None,
) -> tuple[Taken, ...]:
    from onebaton.rollout.interrupt import stop_on_signals
    from onebaton.rollout.journal import Journal
    from onebaton.rollout.runner import Runner
    from onebaton.steps.build import Builder

    def about_to(action: Action) -> None:
        lock.require()
        before(action)

    builder = Builder(
        cluster.site,
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


def _report(
    cluster: Cluster,
    run: str,
    title: str,
    taken: Sequence[Taken],
    gaps: Sequence[GapRow] = (),
    *,
    notes: Sequence[str] = (),
) -> ReportView:
    """The report, kept in the state folder when anything was done."""
    import json
    from dataclasses import asdict

    from onebaton.rollout.reporting import report_view

    if not taken:
        return report_view(title, taken, gaps, ("nothing was to be done",))
    key = f"reports/{run}.json"
    view = report_view(title, taken, gaps, (*notes, f"kept as {cluster.state / key}"))
    cluster.store.write(key, json.dumps(asdict(view), indent=2).encode())
    return view
