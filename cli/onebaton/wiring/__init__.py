"""Puts adapters behind the ports and runs one use case: what each command calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onebaton.wiring.catalogue import (
    images,
    promote,
    prune,
    prune_preview,
    reinstate,
    revoke,
    show_image,
)
from onebaton.wiring.clones import (
    check_clone,
    create_clone,
    destroy_clone,
    expired_clones,
    list_clones,
    refresh_clone,
)
from onebaton.wiring.cloning import CloneWish
from onebaton.wiring.drifting import drift
from onebaton.wiring.giveup import abort, abort_preview
from onebaton.wiring.options import Options
from onebaton.wiring.rehearsing import rehearse_in_clone
from onebaton.wiring.replacing import replace, replace_preview
from onebaton.wiring.reports import kept_report, kept_reports, kept_text
from onebaton.wiring.reviewing import Paper
from onebaton.wiring.running import carry_out, locked, opened, report, run_id
from onebaton.wiring.staged import go_on
from onebaton.wiring.takeback import finalize, finalize_preview, rollback, rollback_preview
from onebaton.wiring.upkeep import park, unpark

if TYPE_CHECKING:
    from collections.abc import Set

    from onebaton.model import Image, World
    from onebaton.plan.actions import Action, Plan
    from onebaton.reports import ReportView
    from onebaton.rollout.guard import PlanGuard
    from onebaton.views import DoctorView, PlanView, RehearsalView, StatusView
    from onebaton.wiring.cluster import Cluster
    from onebaton.wiring.reviewing import FreeHand

__all__ = [
    "CloneWish",
    "Options",
    "Paper",
    "abort",
    "abort_preview",
    "bake",
    "bootstrap",
    "check_clone",
    "create_clone",
    "destroy",
    "destroy_clone",
    "destroy_preview",
    "doctor",
    "drift",
    "expired_clones",
    "finalize",
    "finalize_preview",
    "go_on",
    "images",
    "kept_report",
    "kept_reports",
    "kept_text",
    "list_clones",
    "park",
    "plan",
    "plan_for_review",
    "promote",
    "prune",
    "prune_preview",
    "refresh_clone",
    "rehearse",
    "rehearse_in_clone",
    "reinstate",
    "replace",
    "replace_preview",
    "revoke",
    "rollback",
    "rollback_preview",
    "rollout",
    "show_image",
    "status",
    "unpark",
]

#: What a rollout leaves to its operator: it has no business on the hypervisors.
HYPERVISORS = (
    "the hypervisors keep the drivers they have until `onehost sync` is run, as oneadmin, on the "
    "leader"
)


def bake(options: Options, *, force: bool) -> tuple[Image, bool]:
    """Bake the configured image, unless the same recipe was baked before.

    :returns: the image, and whether it was baked now.
    """
    from onebaton.bake.oven import Oven
    from onebaton.wiring.baking import image_builder

    with opened(options) as cluster, locked(cluster, "bake"):
        cluster.require_no_clone("images")
        oven = Oven(
            image_builder(cluster),
            cluster.platform,
            cluster.catalogue,
            cluster.reporter,
            unusable=cluster.revoked.keys(),
        )
        baked = oven.bake(force=force)
        return baked.image, baked.fresh


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

    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, "bootstrap") as lock:
            run = run_id(cluster, "bootstrap")
            taken = carry_out(cluster, lock, run, cluster.observe_any, decide)
            title = f"zone {cluster.config.zone.name} founded on {cluster.image.version}"
            return report(cluster, run, title, taken)


def plan(options: Options) -> PlanView:
    """What a rollout would do now; empty steps if nothing."""
    from onebaton.plan.describe import describe_roll
    from onebaton.wiring.planning import planned

    with opened(options) as cluster:
        cluster.platform.check()
        world = cluster.observe()
        return describe_roll(cluster.wanted, world, planned(cluster, world))


def plan_for_review(options: Options, paper: Paper) -> tuple[PlanView, str]:
    """The same, written down; that there is no plan is written down too.

    :returns: the view, and the comment for reviewers.
    """
    from onebaton.errors import RefusedError
    from onebaton.plan.describe import describe_roll
    from onebaton.wiring.planning import surveyed
    from onebaton.wiring.reviewing import write_down, write_refusal

    with opened(options) as cluster:
        cluster.platform.check()
        try:
            world = cluster.observe()
            found = surveyed(cluster, world)
        except RefusedError as error:
            write_refusal(cluster, error, paper)
            raise
        view = describe_roll(cluster.wanted, world, found.plan)
        return view, write_down(cluster, world, found, paper)


def rehearse(options: Options, *, keep: bool) -> RehearsalView:
    """Rehearse a change of the schema on a copy; the zone is only read."""
    from dataclasses import replace as changed

    from onebaton.adapters.zone import session_of
    from onebaton.rollout import rehearsals
    from onebaton.rollout.rehearse import Rehearsal

    with opened(options) as cluster:
        cluster.platform.check()
        version = cluster.wanted.image.version
        with locked(cluster, "rehearse"):
            view = Rehearsal(
                cluster.site,
                cluster.migrations,
                cluster.wanted,
                session_of(cluster.config.zone.credentials.user, cluster.password),
                options.again("rehearse"),
            ).run(accepted=options.accepted, keep=keep)
            key = rehearsals.key_of(run_id(cluster, version))
            view = changed(view, kept_as=cluster.place(key))
            rehearsals.keep(cluster.store, key, view)
            return view


def rollout(options: Options) -> ReportView:
    """Bring the zone onto the configured image, step by step; by a plan, exactly as it says."""
    from dataclasses import replace as changed

    from onebaton.plan.roll import plan_roll
    from onebaton.plan.underway import goal_of
    from onebaton.rollout.cut_report import CutReport
    from onebaton.rollout.stage_notes import is_unfinished
    from onebaton.wiring.planning import planned
    from onebaton.wiring.probing import probing, sweep
    from onebaton.wiring.reviewing import guard_of, reviewed
    from onebaton.wiring.staged import boundaries, progress_to, require_stage, tell, telling

    def seen(world: World) -> None:
        watch.seen(world)
        told.seen(world)
        guard.seen(world)

    def before(action: Action) -> None:
        watch.before(action)
        told.before(action)
        guard.before(action)

    by_plan = reviewed(options)
    with opened(by_plan.options if by_plan is not None else options) as cluster:
        cluster.platform.check()
        zone = cluster.config.zone.name
        with locked(cluster, "rollout") as lock:
            run = run_id(cluster, "rollout")
            world = cluster.observe()
            guard = guard_of(by_plan, cluster, world)
            wanted = cluster.wanted
            # Refused, or found done, before the probe writes anything.
            steps = guard.decided(world, planned(cluster, world))
            require_stage(options.until, world, steps, wanted.image.digest)
            told = CutReport(cluster.clock, cluster.reporter, wanted.size, steps, world.prior)
            verb = "cut over" if told.is_cut_over else "rolled"
            title = f"zone {zone} {verb} to {wanted.image.version}"
            progress = progress_to(cluster, wanted.image.digest)
            settings = cluster.config.stages
            if not steps.actions and not is_unfinished(progress, wanted.image.digest, settings):
                sweep(cluster)
                _ended(cluster, guard)
                return report(cluster, run, title, (), nothing=told.notes())
            rehearsal = wanted.cut.rehearsal
            left_alone = rehearsal.left_alone if rehearsal is not None else frozenset[str]()
            guard.take(run)
            cluster.goals.save(goal_of(wanted, cluster.clock.now(), world))
            with telling(cluster, run, title) as hook, probing(cluster) as watch:
                taken = carry_out(
                    cluster,
                    lock,
                    run,
                    cluster.observe,
                    lambda world: guard.decided(world, plan_roll(wanted, world)),
                    site=changed(cluster.site, left_alone=left_alone, reporter=told.reporter),
                    seen=seen,
                    before=before,
                    gaps=watch.gaps,
                    staged=lambda stop: boundaries(cluster, run, stop, hook),
                )
                gaps = watch.gaps()
                if taken.ending != "finished":
                    title = f"zone {zone} on its way to {wanted.image.version}: {taken.ending}"
                    return report(cluster, run, title, taken, gaps, notes=taken.said)
                tell(cluster, hook, run, "finished", title)
            _ended(cluster, guard)
            notes = (*told.notes(taken.steps), HYPERVISORS)
            return report(cluster, run, title, taken, gaps, notes=notes)


def _ended(cluster: Cluster, guard: PlanGuard | FreeHand) -> None:
    """The rollout came to its end: nothing of it is under way any more."""
    cluster.goals.forget()
    cluster.stage_progress.forget()
    guard.finished()


def status(options: Options) -> StatusView:
    """The zone and the nodes as they are."""
    from onebaton.rollout.cloning import clones_in, noted
    from onebaton.rollout.reporting import status_view

    with opened(options) as cluster:
        world, vip = cluster.look(), cluster.config.zone.vip.to_model()
        goal, revoked = cluster.goals.load(), cluster.revoked
        progress = cluster.stage_progress.load() if goal is not None else None
        itself = noted(cluster.store).load() if cluster.config.clone is not None else None
        return status_view(
            world,
            vip,
            cluster.clock.now(),
            goal,
            revoked,
            waiting=progress.waiting if progress is not None else None,
            clones=clones_in(cluster.store),
            itself=itself,
        )


def doctor(options: Options, *, window_s: float) -> DoctorView:
    """Every precondition of a rollout, judged. Changes nothing.

    :param window_s: shortest time over which the term is watched.
    """
    from onebaton.plan.diagnosis import diagnose
    from onebaton.rollout.checkup import check_up
    from onebaton.rollout.reporting import doctor_view

    with opened(options) as cluster:
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
    with opened(options) as cluster:
        cluster.platform.check()
        return tuple(node.spec.name for node in cluster.platform.nodes())


def destroy(options: Options) -> tuple[str, ...]:
    """Destroy all nodes of the cluster.

    :returns: names of the nodes destroyed.
    """
    with opened(options) as cluster:
        cluster.platform.check()
        with locked(cluster, "destroy"):
            nodes = cluster.platform.nodes()
            cluster.platform.apply([])
            cluster.goals.forget()
            cluster.stage_progress.forget()
            cluster.condemned.forget()
            _forget_cut_over(cluster, {node.spec.address for node in nodes})
            return tuple(node.spec.name for node in nodes)


def _forget_cut_over(cluster: Cluster, destroyed: Set[str]) -> None:
    """There is no way back any more, unless machines of somebody else stand by.

    :param destroyed: addresses of the nodes that were.
    """
    from onebaton.model import PriorPhase

    prior = cluster.priors.load()
    if prior is None:
        return
    gone = all(server.address in destroyed for server in prior.zone.servers)
    if gone or prior.phase is PriorPhase.FINAL:
        cluster.priors.forget()
