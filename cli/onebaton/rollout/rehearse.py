"""Rehearse a schema change: everything but the cut, on one node of our own, while production runs.

The zone is only read: a follower is dumped without locks and its log is shipped, as for a roll.
All else happens on copies beside the seeded database of one new node that is no member. A
rehearsal that was killed leaves that node; the next one finds and clears it.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from onebaton.errors import OnebatonError, RefusedError, StepFailedError
from onebaton.migration import Migrations
from onebaton.model import Host, NodeSpec, NodeState, PriorPhase, Secret
from onebaton.plan import rehearsal as judge
from onebaton.plan.findings import refuse_if_any
from onebaton.plan.gates import large_enough, require_open, same_schema
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Wanted
from onebaton.rollout.copies import Copies, Stage, Stopwatch
from onebaton.steps.destroy import DestroyStep
from onebaton.steps.provision import ProvisionStep
from onebaton.steps.seed import SeedStep
from onebaton.steps.site import Site
from onebaton.steps.step import Standing, Step
from onebaton.views import RehearsalView

#: ``SERVER_ID`` of a server on its own: no votes, no log, no hooks of Raft.
ALONE = -1


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """One rehearsal of one image.

    :param session: ``user:password`` of the zone's oneadmin, which the copy holds too.
    :param again: what to run to repeat it, for messages.
    """

    site: Site
    migrations: Migrations
    wanted: Wanted
    session: Secret
    again: str

    def run(self, *, accepted: Collection[str], keep: bool) -> RehearsalView:
        """Rehearse, and leave nothing behind.

        :param accepted: tables that may lose rows.
        :param keep: leave the node with its warm database, cleared and masked.
        :raises RefusedError: if a gate is shut, the disk is too small, the database is newer
            than the image, or a migrator is missing.
        :raises StepFailedError: if the next release fails on the copy.
        """
        began_at = self.site.clock.now()
        watch = Stopwatch(self.site)
        scene = self._open_scene()
        spec = scene.targets[0]
        try:
            copies = self._copies(self._seeded(scene, spec, watch), watch)
            copies.level("log shipped until level")
            view = copies.rehearse(frozenset(accepted), began_at)
        except (OnebatonError, KeyboardInterrupt):
            self._leave_after_failure(spec, keep=keep)
            raise
        self._leave(spec, keep=keep)
        return view

    # The stage

    def _open_scene(self) -> Scene:
        """The zone with all gates open, and nothing left of an earlier rehearsal that runs.

        :raises RefusedError: if a gate is shut, or new nodes are in the zone already.
        """
        # On a node of its own, in whatever way the zone is rolled.
        wanted = replace(self.wanted, strategy="surge")
        scene = Scene.of(wanted, self.site.observe())
        self._require_no_cut_over(scene)
        if self._cleared(scene):
            scene = Scene.of(wanted, self.site.observe())
        require_open(scene, but=(same_schema, large_enough), again=self.again)
        if scene.new:
            raise RefusedError(
                f"servers of this image are in the zone already: "
                f"{', '.join(member.server.name for member in scene.new)}",
                resolution="There is no schema to change any more; see `onebaton plan`.",
            )
        return scene

    def _require_no_cut_over(self, scene: Scene) -> None:
        """The addresses of the next nodes are those of the generation that is kept."""
        prior = scene.world.prior
        if prior is None or prior.phase is PriorPhase.FINAL:
            return
        names = ", ".join(server.name for server in prior.zone.servers)
        if prior.phase is PriorPhase.CUTTING:
            raise RefusedError(
                "the last cut-over is under way",
                details=[f"to {prior.node}, from {names}"],
                resolution="Go on with it (`onebaton rollout`), or take it back (`onebaton "
                "rollback`).",
            )
        raise RefusedError(
            "the last cut-over is neither final nor taken back",
            details=[f"kept, stopped and masked: {names}"],
            resolution="Make it final (`onebaton finalize`), or take it back (`onebaton "
            f"rollback`); then: {self.again}",
        )

    def _cleared(self, scene: Scene) -> bool:
        """Take away what an earlier rehearsal left, and a stand-by where this one takes place.

        :returns: whether there was anything.
        """
        spec, names, discarded = scene.targets[0], [], []
        for node in scene.world.nodes:
            facts = scene.world.node_facts.get(node.spec.name)
            if facts is None:
                continue
            # Whatever image it was of: an oned that runs outside of the zone shuts a gate.
            if facts.ahead is None:
                if self.migrations.clear(node.host):
                    names.append(node.spec.name)
            elif _collide(node.spec, spec):
                # It is held behind a fence of its own, which must not go before it does.
                self.site.standby.discard(node.host)
                discarded.append(node.spec.name)
        if names:
            left = ", ".join(names)
            self.site.reporter.note(f"cleared what an earlier rehearsal left on {left}")
        if discarded:
            left = ", ".join(discarded)
            self.site.reporter.note(f"gave up the stand-by on {left}: a rollout makes it anew")
        return bool(names or discarded)

    def _seeded(self, scene: Scene, spec: NodeSpec, watch: Stopwatch) -> Stage:
        """One node of the new image, with a database of the zone's on it."""
        site, source = self.site, scene.source
        if source is None:
            raise RefusedError(
                "no server can be copied from",
                resolution="See `onebaton status`: a healthy follower is needed.",
            )
        # A platform may replace what does not run: production must not be among that.
        others = [node for node in scene.world.nodes if not _collide(node.spec, spec)]
        down = [node.spec.name for node in others if node.state is not NodeState.RUNNING]
        if down:
            raise RefusedError(
                f"machines of this cluster do not run: {', '.join(down)}",
                resolution="A new node asked for now would have them replaced too. Start them, "
                "or let a rollout finish, then rehearse again.",
            )
        in_the_way = tuple(node.host for node in scene.blocking if _collide(node.spec, spec))
        # What was seen of a machine that is replaced now says nothing of the new one.
        is_warm = scene.is_up(spec) and scene.is_seeded(spec)
        begin = site.clock.monotonic()
        if in_the_way:
            self._take(DestroyStep("rehearse:clear-the-way", site, in_the_way))
        self._take(ProvisionStep(f"rehearse:provision:{spec.name}", site, (spec,)))
        watch.since(begin, "one node of the new image")
        stage = Stage(spec, self._host(spec), source)
        self.migrations.clear(stage.host)
        self._require_room(stage)
        if is_warm:
            site.reporter.note(f"{spec.name} was kept, and is brought level")
        else:
            begin = site.clock.monotonic()
            step = SeedStep(f"rehearse:seed:{spec.name}", site, source.host, (stage.host,))
            self._take(step)
            watch.since(begin, f"seed from {source.host.name}, without locks")
        site.frontends.configure(
            stage.host,
            server_id=ALONE,
            election_timeout_ms=site.oned.election_timeout_ms,
        )
        return stage

    def _copies(self, stage: Stage, watch: Stopwatch) -> Copies:
        return Copies(
            self.site, self.migrations, self.wanted, self.session, self.again, stage, watch
        )

    def _require_room(self, stage: Stage) -> None:
        size = self.migrations.database_bytes(stage.source.host)
        held = self.migrations.database_bytes(stage.host)
        free = self.site.frontends.facts(stage.host).disk_free_bytes
        found = [*judge.room(stage.spec.name, free=free, held=held, database_bytes=size)]
        refuse_if_any(self.wanted.zone, found, again=self.again)

    # Leaving

    def _leave(self, spec: NodeSpec, *, keep: bool) -> None:
        nodes = self.site.platform.nodes()
        mine = [node for node in nodes if node.spec == spec]
        if not mine:
            return
        host, others = mine[0].host, [node for node in nodes if node.spec != spec]
        if not keep:
            # A platform may replace what does not run, and that may be a member by now.
            down = [node.spec.name for node in others if node.state is not NodeState.RUNNING]
            if not down:
                self.site.platform.apply([node.spec for node in others])
                self.site.reporter.note(f"{spec.name} is destroyed")
                return
            self.site.reporter.warn(
                f"{', '.join(down)} does not run: nothing is asked of the platform, and "
                f"{spec.name} stays until the next rehearsal"
            )
        self.site.frontends.stop(host, mask=True, timeout_s=self.site.timeouts.stop_s)
        self.migrations.clear(host)
        self.site.reporter.note(f"{spec.name} is kept; its oned is stopped and masked")

    def _leave_after_failure(self, spec: NodeSpec, *, keep: bool) -> None:
        """The same, without hiding why it is left."""
        try:
            self._leave(spec, keep=keep)
        except OnebatonError as error:
            self.site.reporter.warn(
                f"{spec.name} could not be put away ({error.message}); it is no member, and the "
                "next rehearsal clears it"
            )

    def _take(self, step: Step) -> None:
        check = step.check()
        if check.standing is Standing.BLOCKED:
            raise RefusedError(
                f"the step {step.id} must not be taken now: {check.reason}",
                resolution=f"When that is put right: {self.again}",
            )
        if check.standing is Standing.NEEDED:
            step.apply()
        step.verify()

    def _host(self, spec: NodeSpec) -> Host:
        for node in self.site.platform.nodes():
            if node.spec == spec:
                return node.host
        raise StepFailedError(
            f"{spec.name} is gone", resolution=f"Run the same command again: {self.again}"
        )


def _collide(one: NodeSpec, other: NodeSpec) -> bool:
    return one.name == other.name or one.address == other.address
