"""Rehearse a schema change: everything but the cut, on one node of our own, while production runs.

The zone is only read: a follower is dumped without locks and its log is shipped, as for a roll.
All else happens on copies beside the seeded database of one new node that is no member. A
rehearsal that was killed leaves that node; the next one finds and clears it.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onebaton.errors import OnebatonError, RefusedError, StepFailedError
from onebaton.migration import Migrations, OnedbRun
from onebaton.model import Host, Member, NodeSpec, NodeState, Secret
from onebaton.plan import rehearsal as judge
from onebaton.plan.findings import refuse_if_any
from onebaton.plan.gates import require_open, same_schema
from onebaton.plan.scene import Scene
from onebaton.plan.wanted import Wanted
from onebaton.steps.destroy import DestroyStep
from onebaton.steps.join import MAX_ROUNDS, SMALL_ROUND_RECORDS
from onebaton.steps.provision import ProvisionStep
from onebaton.steps.seed import SeedStep
from onebaton.steps.site import Site
from onebaton.steps.step import Standing, Step
from onebaton.views import PartRow, RehearsalView, TableRow

#: ``SERVER_ID`` of a server on its own: no votes, no log, no hooks of Raft.
ALONE = -1
#: For ``onedb`` on the whole copy: 50,000 machines took 160–195 s (measured note).
ONEDB_TIMEOUT_S = 4 * 3600.0
#: What ``onedb upgrade`` says where the packages hold no migrator (source: ``onedb.rb``).
_NO_MIGRATOR = "missing migration descriptors"
_RAN = re.compile(r"> Running migrator \S*/((?:shared|local)/\S+)")
_FSCK_ERRORS = re.compile(r"Total errors found: (\d+)")


@dataclass(frozen=True, slots=True)
class Stage:
    """Where a rehearsal takes place.

    :param source: the follower it is seeded from.
    """

    spec: NodeSpec
    host: Host
    source: Member


@dataclass(slots=True)
class Stopwatch:
    """Seconds of each part, in their order."""

    site: Site
    parts: list[PartRow] = field(default_factory=list)

    def note(self, what: str, seconds: float) -> None:
        """A part that is over."""
        self.parts.append(PartRow(what, round(seconds, 2)))
        self.site.reporter.note(f"{what}: {seconds:.1f} s")

    def since(self, begin: float, what: str) -> None:
        """A part that began at ``begin``, monotonic seconds, and is over."""
        self.note(what, self.site.clock.monotonic() - begin)


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
            stage = self._seeded(scene, spec, watch)
            view = self._rehearsed(stage, watch, frozenset(accepted), began_at)
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
        scene = Scene.of(self.wanted, self.site.observe())
        # Whatever image it was of: an oned that runs outside of the zone shuts a gate.
        outside = [n for n in scene.world.nodes if n.spec.name in scene.world.node_facts]
        cleared = [node.spec.name for node in outside if self.migrations.clear(node.host)]
        if cleared:
            names = ", ".join(cleared)
            self.site.reporter.note(f"cleared what an earlier rehearsal left on {names}")
            scene = Scene.of(self.wanted, self.site.observe())
        require_open(scene, but=(same_schema,), again=self.again)
        if scene.new:
            raise RefusedError(
                f"servers of this image are in the zone already: "
                f"{', '.join(member.server.name for member in scene.new)}",
                resolution="There is no schema to change any more; see `onebaton plan`.",
            )
        return scene

    def _seeded(self, scene: Scene, spec: NodeSpec, watch: Stopwatch) -> Stage:
        """One node of the new image, with a database that is level with the zone's."""
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
        begin = site.clock.monotonic()
        records = self._ship(stage)
        watch.since(begin, f"log shipped until level ({records} records)")
        return stage

    def _require_room(self, stage: Stage) -> None:
        size = self.migrations.database_bytes(stage.source.host)
        held = self.migrations.database_bytes(stage.host)
        free = self.site.frontends.facts(stage.host).disk_free_bytes
        found = [*judge.room(stage.spec.name, free=free, held=held, database_bytes=size)]
        refuse_if_any(self.wanted.zone, found, again=self.again)

    def _ship(self, stage: Stage) -> int:
        total = 0
        for _ in range(MAX_ROUNDS):
            shipped = self.site.frontends.ship_log(stage.source.host, stage.host)
            total += shipped
            if shipped <= SMALL_ROUND_RECORDS:
                return total
        raise StepFailedError(
            f"{stage.spec.name} does not become level with {stage.source.host.name}: the zone "
            "writes faster than its log can be shipped",
            resolution=f"When there is less to write: {self.again}",
        )

    # On the copy

    def _rehearsed(
        self, stage: Stage, watch: Stopwatch, accepted: frozenset[str], began_at: float
    ) -> RehearsalView:
        image, facts = self.wanted.image, stage.source.facts
        schema = facts.schema if facts is not None else None
        answer = self.migrations.oracle(stage.host)
        meaning = judge.verdict(answer.status)
        if schema is None or meaning is judge.Verdict.BROKEN:
            raise StepFailedError(
                f"onedb {image.version} cannot tell the schema of the copy on {stage.spec.name}",
                details=[f"status {answer.status}", *answer.said[-5:]],
                resolution=f"With --keep the node stays to be looked at: {self.again} --keep",
            )
        if meaning is judge.Verdict.REFUSE:
            raise RefusedError(
                f"the zone's database is newer than OpenNebula {image.version}",
                details=[f"its schema is {schema}", *answer.said[-5:]],
                resolution="OpenNebula knows no way back: bake a release of this schema or later.",
            )
        told = RehearsalView(
            title=f"rehearsal of zone {self.wanted.zone} on OpenNebula {image.version}",
            verdict="roll" if meaning is judge.Verdict.ROLL else "cut-over",
            version=image.version,
            image=image.name,
            image_digest=image.digest,
            from_schema=str(schema),
            to_schema=str(image.schema),
            log_index=self.site.frontends.log_position(stage.host).last_applied,
            began_at=began_at,
            source=stage.source.host.name,
            node=stage.spec.name,
            migrators=judge.migrators(answer.files, schema),
            parts=tuple(watch.parts),
        )
        if meaning is judge.Verdict.ROLL:
            note = "the schema is the same: `onebaton rollout` needs no cut-over"
            return replace(told, notes=(note,))
        return self._migrated(stage, watch, accepted, told)

    def _migrated(
        self, stage: Stage, watch: Stopwatch, accepted: frozenset[str], told: RehearsalView
    ) -> RehearsalView:
        site, host, migrations = self.site, stage.host, self.migrations
        begin = site.clock.monotonic()
        site.reporter.progress("copying the database beside the warm one")
        migrations.copy(host, timeout_s=site.timeouts.seed_s)
        watch.since(begin, "copy beside the warm database")
        files = migrations.secret_files(host)
        before = migrations.contents(host)
        site.reporter.progress("onedb upgrade of the copy")
        upgrade = migrations.upgrade(host, timeout_s=ONEDB_TIMEOUT_S)
        self._require_migrated(upgrade, told)
        watch.note("onedb upgrade of the copy", upgrade.seconds)
        after = migrations.contents(host)
        site.reporter.progress("onedb fsck of the copy")
        fsck = migrations.fsck(host, timeout_s=ONEDB_TIMEOUT_S)
        if fsck.status != 0:
            raise _onedb_failed("fsck", fsck, self.again)
        watch.note("onedb fsck --dry of the copy", fsck.seconds)
        start_s, pools = self._served(stage, watch, after.rows)
        ran = tuple(found[1] for line in upgrade.lines if (found := _RAN.search(line)))
        changes = judge.compare(before, after)
        forecast = judge.plain_way(upgrade_s=upgrade.seconds, start_s=start_s)
        return replace(
            told,
            migrators=ran or told.migrators,
            tables=tuple(
                TableRow(t.name, t.before, t.after, t.change, bool(t.lost) and t.name in accepted)
                for t in changes
            ),
            files=judge.changed_files(files, migrations.secret_files(host)),
            pools=tuple(sorted(pools.items())),
            parts=tuple(watch.parts),
            database_bytes=migrations.database_bytes(host),
            peak_rss_bytes=upgrade.peak_rss_bytes,
            fsck_errors=_fsck_errors(fsck.lines),
            forecast=tuple(PartRow(p.what, p.seconds, p.source) for p in forecast),
            forecast_s=round(sum(part.seconds for part in forecast), 1),
            refusals=tuple(str(finding) for finding in judge.losses(changes, accepted)),
            notes=(
                *judge.needless(changes, accepted),
                *judge.unanswered(after.rows, pools),
            ),
        )

    def _served(
        self, stage: Stage, watch: Stopwatch, rows: Mapping[str, int]
    ) -> tuple[float, Mapping[str, int]]:
        """The next ``oned`` on the copy, fenced off, answers for every pool; then it is stopped.

        :returns: seconds that it took to start, and objects by table.
        """
        site, host, migrations = self.site, stage.host, self.migrations
        site.reporter.progress("starting the next oned on the copy, fenced off")
        start_s = migrations.start_fenced(
            host, outside=stage.source.server.address, timeout_s=site.timeouts.start_s
        )
        watch.note("start of the next oned, fenced off", start_s)
        begin = site.clock.monotonic()
        pools = migrations.read_pools(host, self.session, rows)
        watch.since(begin, f"{len(pools)} pools read")
        site.frontends.stop(host, mask=True, timeout_s=site.timeouts.stop_s)
        return start_s, pools

    def _require_migrated(self, run: OnedbRun, told: RehearsalView) -> None:
        if run.status == 0:
            return
        if any(_NO_MIGRATOR in line for line in run.lines):
            raise RefusedError(
                f"the image holds no migrator from schema {told.from_schema} to {told.to_schema}",
                details=run.lines[-4:],
                resolution="Add the vendor's package of migrators to image.packages, bake again "
                f"(`onebaton bake`), then: {self.again}",
            )
        raise _onedb_failed("upgrade", run, self.again)

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


def _onedb_failed(command: str, run: OnedbRun, again: str) -> StepFailedError:
    return StepFailedError(
        f"onedb {command} of the copy ended with status {run.status}",
        details=run.lines[-8:],
        resolution=f"Production was not touched. To look at the copy: {again} --keep",
    )


def _fsck_errors(lines: Sequence[str]) -> int | None:
    found = [match[1] for line in lines if (match := _FSCK_ERRORS.search(line))]
    return int(found[-1]) if found else None


def _collide(one: NodeSpec, other: NodeSpec) -> bool:
    return one.name == other.name or one.address == other.address
