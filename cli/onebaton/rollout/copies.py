"""What a rehearsal does on the copies: migrate one whole, bring another one there in batches.

Two ways lead to the same tables: the plain one migrates the whole database while nobody serves,
the held stand-by brings rows over that changed after a copy was migrated ahead. The second may
be taken only where it was seen to end up equal to the first, with this database and this pair
of releases.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from onebaton.errors import RefusedError, StepFailedError
from onebaton.migration import AheadProof, Migrations, OnedbRun
from onebaton.model import Host, Member, NodeSpec, Secret
from onebaton.plan import rehearsal as judge
from onebaton.plan.wanted import Wanted
from onebaton.steps.join import SMALL_ROUND_RECORDS
from onebaton.steps.rounds import until_level
from onebaton.steps.site import Site
from onebaton.views import PartRow, RehearsalView, TableRow

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
class Copies:
    """The copies on one node of the next release, level with the zone when this begins.

    :param session: ``user:password`` of the zone's oneadmin, which the copies hold too.
    :param again: what to run to repeat it, for messages.
    """

    site: Site
    migrations: Migrations
    wanted: Wanted
    session: Secret
    again: str
    stage: Stage
    watch: Stopwatch

    def level(self, what: str) -> float:
        """Ship the zone's log into the warm database until next to nothing is missing.

        :param what: the part's name in the report.
        :returns: seconds that the last round took, which brought a few records only.
        :raises StepFailedError: if the zone writes faster.
        """
        site, stage = self.site, self.stage
        begin = round_began = site.clock.monotonic()
        total = 0

        def ship() -> int:
            nonlocal round_began, total
            round_began = site.clock.monotonic()
            shipped = site.frontends.ship_log(stage.source.host, stage.host)
            total += shipped
            return shipped

        until_level(
            ship,
            tiny=SMALL_ROUND_RECORDS,
            source=stage.source.host,
            host=stage.host,
            slow="its log can be shipped",
        )
        last_round_s = site.clock.monotonic() - round_began
        self.watch.since(begin, f"{what} ({total} records)")
        return last_round_s

    def rehearse(self, accepted: frozenset[str], began_at: float) -> RehearsalView:
        """Ask the oracle; if the schema differs, migrate and serve.

        :param accepted: tables that may lose rows.
        :raises RefusedError: if the database is newer than the image, or a migrator is missing.
        :raises StepFailedError: if the next release fails on the copy.
        """
        stage, image, facts = self.stage, self.wanted.image, self.stage.source.facts
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
            log_index=self._log_index(),
            began_at=began_at,
            source=stage.source.host.name,
            node=stage.spec.name,
            migrators=judge.migrators(answer.files, schema),
            parts=tuple(self.watch.parts),
        )
        if meaning is judge.Verdict.ROLL:
            note = "the schema is the same: `onebaton rollout` needs no cut-over"
            return replace(told, notes=(note,))
        return self._migrated(accepted, told)

    def _migrated(self, accepted: frozenset[str], told: RehearsalView) -> RehearsalView:
        site, host, migrations, watch = self.site, self.stage.host, self.migrations, self.watch
        held_back = self._past()
        # Production went on meanwhile: its records are what a batch has to bring over.
        records_s = self.level("log shipped again until level")
        told = replace(told, log_index=self._log_index())
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
        proof = self._proof(held_back)
        site.reporter.progress("onedb fsck of the copy")
        fsck = migrations.fsck(host, timeout_s=ONEDB_TIMEOUT_S)
        if fsck.status != 0:
            raise _onedb_failed("fsck", fsck, self.again)
        watch.note("onedb fsck --dry of the copy", fsck.seconds)
        start_s, pools = self._served(after.rows)
        ran = tuple(found[1] for line in upgrade.lines if (found := _RAN.search(line)))
        changes = judge.compare(before, after)
        forecast = judge.plain_way(upgrade_s=upgrade.seconds, start_s=start_s)
        told = replace(
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
            forecast=_rows(forecast),
            forecast_s=_sum(forecast),
            refusals=tuple(str(finding) for finding in judge.losses(changes, accepted)),
            notes=(
                *judge.needless(changes, accepted),
                *judge.unanswered(after.rows, pools),
            ),
        )
        return self._with_way(told, proof, records_s)

    # The copy migrated ahead

    def _past(self) -> int | StepFailedError:
        """Migrate an earlier state of the database, as a stand-by's copy is.

        What fails here is no failure of the rehearsal: the plain way does not need it. Where
        the migrator itself is what is wrong, the whole copy fails after it and says so.

        :returns: rows held back, or what went wrong.
        """
        site = self.site
        begin = site.clock.monotonic()
        site.reporter.progress("migrating a copy ahead, without a sample of its rows")
        try:
            rows = self.migrations.past(self.stage.host, timeout_s=ONEDB_TIMEOUT_S)
        except StepFailedError as error:
            site.reporter.warn(f"no copy could be migrated ahead: {error.message}")
            return error
        self.watch.since(begin, f"a copy migrated ahead, {rows} rows held back")
        return rows

    def _proof(self, held_back: int | StepFailedError) -> AheadProof | StepFailedError:
        """Bring over what the copy migrated ahead lacks; compare it with the one made whole."""
        if isinstance(held_back, StepFailedError):
            return held_back
        site = self.site
        begin = site.clock.monotonic()
        site.reporter.progress("bringing rows over in batches, and comparing all tables")
        try:
            proof = self.migrations.prove(self.stage.host, timeout_s=ONEDB_TIMEOUT_S)
        except StepFailedError as error:
            site.reporter.warn(f"what changed could not be brought over: {error.message}")
            return error
        rows = sum(proof.rows.values())
        self.watch.since(begin, f"{rows} rows brought over in batches, all tables compared")
        return proof

    def _with_way(
        self, told: RehearsalView, proof: AheadProof | StepFailedError, records_s: float
    ) -> RehearsalView:
        """What was proved, and which way a rollout will take."""
        if isinstance(proof, StepFailedError):
            doubts = ("; ".join((proof.message, *proof.details[-2:])),)
            return self._decided(replace(told, ahead_proven=False, doubts=doubts))
        told = replace(
            told,
            ahead_proven=proof.equal,
            doubts=judge.doubts(proof),
            stamps=proof.stamps,
            brought_over=tuple(sorted(proof.rows.items())),
        )
        # What was not equal is no way to take, however short.
        if proof.equal:
            limits = self.wanted.limits
            forecast = judge.ahead_way(
                records_s=records_s,
                batch_s=proof.seconds,
                steered_s=limits.steered_election_timeout_ms / 1000,
            )
            told = replace(
                told,
                batch_s=round(proof.seconds, 2),
                forecast_ahead=_rows(forecast),
                forecast_ahead_s=_sum(forecast),
            )
        return self._decided(told)

    def _decided(self, told: RehearsalView) -> RehearsalView:
        way, why = judge.way_ahead(
            self.wanted.cut,
            judge.Prospects(
                proven=bool(told.ahead_proven),
                doubts=told.doubts,
                ahead_s=told.forecast_ahead_s,
                plain_s=told.forecast_s,
            ),
        )
        return replace(told, way=way, why_this_way=why)

    # The copy migrated whole, served

    def _served(self, rows: Mapping[str, int]) -> tuple[float, Mapping[str, int]]:
        """The next ``oned`` on the copy, fenced off, answers for every pool; then it is stopped.

        :returns: seconds that it took to start, and objects by table.
        """
        site, host, migrations = self.site, self.stage.host, self.migrations
        site.reporter.progress("starting the next oned on the copy, fenced off")
        start_s = migrations.start_fenced(
            host, outside=self.stage.source.server.address, timeout_s=site.timeouts.start_s
        )
        self.watch.note("start of the next oned, fenced off", start_s)
        begin = site.clock.monotonic()
        pools = migrations.read_pools(host, self.session, rows)
        self.watch.since(begin, f"{len(pools)} pools read")
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

    def _log_index(self) -> int:
        return self.site.frontends.log_position(self.stage.host).last_applied


def _onedb_failed(command: str, run: OnedbRun, again: str) -> StepFailedError:
    return StepFailedError(
        f"onedb {command} of the copy ended with status {run.status}",
        details=run.lines[-8:],
        resolution=f"Production was not touched. To look at the copy: {again} --keep",
    )


def _fsck_errors(lines: Sequence[str]) -> int | None:
    found = [match[1] for line in lines if (match := _FSCK_ERRORS.search(line))]
    return int(found[-1]) if found else None


def _rows(forecast: Collection[judge.OutagePart]) -> tuple[PartRow, ...]:
    return tuple(PartRow(part.what, part.seconds, part.source) for part in forecast)


def _sum(forecast: Collection[judge.OutagePart]) -> float:
    return round(sum(part.seconds for part in forecast), 1)
