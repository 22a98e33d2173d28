"""The databases of a held stand-by, on new nodes over ssh.

Rooms of this house: :mod:`aheadcopy` (one copy and its batches), :mod:`aheadsql` (statements),
:mod:`aheadscripts` (shell), :mod:`zonelist` (the row with the server list).
"""

import contextlib
import time
from collections.abc import Collection, Sequence

from onebaton.adapters import aheadrows, aheadscripts, aheadsql, raftlog, tablesums, zonelist
from onebaton.adapters.aheadcopy import AheadCopy
from onebaton.adapters.mariadb import ONED_RUNS, NodeDatabase, Session, SessionDatabase
from onebaton.adapters.onedb import onedb_run, require_migrated
from onebaton.adapters.process import Completed, ProgramError
from onebaton.adapters.ssh import Ssh
from onebaton.config import DatabaseConfig
from onebaton.errors import RefusedError, StepFailedError
from onebaton.migration import OnedbRun
from onebaton.model import AheadStage, Host, LogPosition, Server
from onebaton.standby import Batch, Written

SHORT_TIMEOUT_S = 30.0
#: For dropping databases and for comparing rows.
LONG_TIMEOUT_S = 600.0


class AheadDatabases:
    """The part of the port ``StandBy`` that is about databases.

    :param port: of the XML-RPC API.
    """

    def __init__(self, ssh: Ssh, *, database: DatabaseConfig, port: int) -> None:
        self._ssh = ssh
        self._database = database
        self._names = aheadsql.standby_names(database.name)
        self._port = port

    def begin(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """See ``StandBy.begin``.

        :raises RefusedError: if ``oned`` runs there, there is no complete seed, or the node
            was released and may hold writes of its own.
        """
        deadline = time.monotonic() + timeout_s
        script = aheadscripts.set_aside_script(self._names)
        done = self._run(host, script, "setting the seed aside", timeout_s=timeout_s)
        if done.status == aheadscripts.NOT_SEEDED:
            raise RefusedError(
                f"{host.name} holds no complete seed to set aside",
                resolution="Run the same command again: it seeds the node anew.",
            )
        if done.status == aheadscripts.IS_RELEASED:
            raise RefusedError(
                f"{host.name} was given its server list and may have taken writes: its database "
                "is not made anew",
                resolution="See `onebaton status`, and `onebaton rollback` for the way back.",
            )
        self._require(done, f"setting the seed aside on {host.name}")
        copy = self._copy(host)
        with copy.session(timeout_s=timeout_s) as session:
            copy.note_changes(session)
            copy.duplicate(timeout_s=_left(deadline))
            run = copy.upgrade(timeout_s=_left(deadline))
            problems = copy.try_out(session, timeout_s=_left(deadline))
            if problems:
                raise StepFailedError(
                    f"batches cannot be brought over on {host.name}",
                    details=problems,
                    resolution="This pair of releases cannot be migrated ahead: cut over the "
                    "plain way (--cut plain).",
                )
            copy.complete(session)
        self.set_stage(host, AheadStage.MIGRATED)
        return run

    def follow(
        self,
        source: Host,
        host: Host,
        *,
        up_to: int | None = None,
        left_alone: Collection[str] = (),
        timeout_s: float,
    ) -> Batch:
        """See ``StandBy.follow``.

        Where ``up_to`` is given, time counts: the next batch's database is made ready by the
        next call then, and not by this one.
        """
        deadline = time.monotonic() + timeout_s
        copy = self._copy(host)
        there = NodeDatabase(self._ssh, source, self._database.name)
        with contextlib.ExitStack() as stack:
            asked = stack.enter_context(there.session(timeout_s=timeout_s))
            session = stack.enter_context(copy.session(timeout_s=timeout_s))
            warm = SessionDatabase(session, copy.warm)
            records = raftlog.ship(
                SessionDatabase(asked, there), warm, up_to=up_to, timeout_s=_left(deadline)
            )
            brought = copy.bring(session, left_alone=left_alone, timeout_s=_left(deadline))
            reached = raftlog.position(warm)
            self._require_level(host, session, reached)
            if up_to is None:
                copy.make_ready(session)
        return Batch(records, brought.rows, reached, brought.migrator_s)

    def differing_rows(self, source: Host, host: Host) -> tuple[str, ...]:
        """See ``StandBy.differing_rows``.

        Rows of Raft's log are compared without the time of their application. What each node
        writes for itself is left out (see :mod:`tablesums`).
        """
        copy = self._copy(host)
        there = NodeDatabase(self._ssh, source, self._database.name)
        with contextlib.ExitStack() as stack:
            asked = stack.enter_context(there.session(timeout_s=LONG_TIMEOUT_S))
            session = stack.enter_context(copy.session(timeout_s=LONG_TIMEOUT_S))
            return aheadrows.differing(session, asked, self._names, copy.used(session))

    def warm_checksums(self, host: Host) -> tuple[LogPosition, dict[str, int | None]]:
        """See ``StandBy.warm_checksums``."""
        return tablesums.of_one(self._copy(host).warm)

    def list_alone(self, host: Host, *, server: Server) -> None:
        """See ``StandBy.list_alone``; an ``oned`` may run on it."""
        self._write_list(host, (server,), enabled=True)

    def held_list(self, host: Host, *, server: Server) -> None:
        """Write the list with which this server can never win.

        :raises StepFailedError: if the node's database has not the row of one zone.
        """
        self._write_list(host, zonelist.held(server), enabled=False)

    def upgrade(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """See ``StandBy.upgrade``.

        :raises RefusedError: if ``oned`` runs there, or a migration was begun there before and
            did not end well: it cannot be taken up again.
        """
        script = aheadscripts.upgrade_script(
            database=self._database.name, user=self._database.user, port=self._port
        )
        what = "onedb upgrade"
        done = self._run(host, script, what, timeout_s=timeout_s)
        if done.status == aheadscripts.IS_HALF_MIGRATED:
            raise RefusedError(
                f"a migration of the database on {host.name} was begun and did not end well",
                details=["a second run over what the first one left would lose rows"],
                resolution=f"Seed {host.name} again, from a server of the old generation.",
            )
        self._require(done, f"{what} on {host.name}")
        run = onedb_run(done.stdout)
        require_migrated(run, what=f"{what} on {host.name}")
        return run

    def written_since(self, host: Host, index: int) -> Written:
        """See ``StandBy.written_since``.

        Numbers that were given (``pool_control``) are no objects and count for none.
        """
        own = NodeDatabase(self._ssh, host, self._database.name)
        with own.session(timeout_s=LONG_TIMEOUT_S) as session:
            return aheadrows.written_since(session, index)

    def stage(self, host: Host) -> AheadStage | None:
        """How far the node is; ``None`` where nothing was begun.

        :raises StepFailedError: if its note of it cannot be understood.
        """
        what = "reading the stage"
        done = self._run(host, aheadscripts.stage_script(), what, timeout_s=SHORT_TIMEOUT_S)
        self._require(done, f"{what} on {host.name}")
        text = done.stdout.strip()
        try:
            return AheadStage(text) if text else None
        except ValueError:
            raise StepFailedError(
                f"{aheadscripts.STAGE_FILE} on {host.name} holds no stage",
                details=[text[:80]],
                resolution="Another version of onebaton may have written it: go on with that one.",
            ) from None

    def set_stage(self, host: Host, stage: AheadStage) -> None:
        """Note how far the node is; durable when this returns."""
        what = "writing the stage"
        script = aheadscripts.set_stage_script(stage)
        done = self._run(host, script, what, timeout_s=SHORT_TIMEOUT_S)
        self._require(done, f"{what} on {host.name}")

    def settle(self, host: Host) -> None:
        """See ``StandBy.settle``: warm and batch databases, notes, and the stage."""
        self._clear(host, and_migrated=False)

    def discard(self, host: Host) -> bool:
        """The same, and the node's own database.

        :returns: whether there was anything.
        :raises RefusedError: if ``oned`` runs there.
        """
        return self._clear(host, and_migrated=True)

    def _clear(self, host: Host, *, and_migrated: bool) -> bool:
        script = aheadscripts.clear_script(
            self._names, user=self._database.user, and_migrated=and_migrated
        )
        what = "clearing away what the cut-over needed"
        done = self._run(host, script, what, timeout_s=LONG_TIMEOUT_S)
        self._require(done, f"{what} on {host.name}")
        return done.stdout.strip() == "cleared"

    def _require_level(self, host: Host, session: Session, reached: LogPosition) -> None:
        names = self._names
        rows = session.rows(
            f"USE `{names.migrated}`;{raftlog.POSITION_SQL};\nUSE `{names.warm}`",
            what="reading the log position",
        )
        own_copy = raftlog.position_of(rows[0])
        if own_copy != reached:
            raise StepFailedError(
                f"the migrated copy on {host.name} stands elsewhere in the log than the warm one",
                details=[
                    f"the migrated one is at {_shown(own_copy)}, the warm one at {_shown(reached)}"
                ],
                resolution="Run the same command again; if it stays, discard this node's copy.",
            )

    def _write_list(self, host: Host, servers: Sequence[Server], *, enabled: bool) -> None:
        own = NodeDatabase(self._ssh, host, self._database.name)
        with own.session(timeout_s=SHORT_TIMEOUT_S) as session:
            rows = session.rows("SELECT oid, HEX(body) FROM zone_pool", what="reading the zone")
            try:
                ((oid, text),) = rows
                body = zonelist.with_servers(bytes.fromhex(text), servers, enabled=enabled)
            except ValueError as error:
                raise StepFailedError(
                    f"the server list on {host.name} cannot be written",
                    details=[f"zone_pool has {len(rows)} rows: {error}"],
                    resolution="A zone of its own has one row there; federated zones cannot be "
                    "cut over.",
                ) from None
            session.rows(
                f"UPDATE zone_pool SET body = 0x{body.hex()} WHERE oid = {int(oid)}",  # noqa: S608
                what="writing the server list",
            )

    def _copy(self, host: Host) -> AheadCopy:
        return AheadCopy(self._ssh, host, self._names, user=self._database.user)

    def _run(self, host: Host, script: str, what: str, *, timeout_s: float) -> Completed:
        done = self._ssh.run(host, script, timeout_s=timeout_s, what=what, check=False)
        if done.status == ONED_RUNS:
            raise RefusedError(
                f"oned runs on {host.name}: its database is not touched",
                details=[f"wanted: {what}"],
                resolution=f"Stop opennebula.service on {host.name} first.",
            )
        return done

    @staticmethod
    def _require(done: Completed, what: str) -> None:
        if done.status != 0:
            raise ProgramError(done, what=what)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 1.0)


def _shown(position: LogPosition) -> str:
    return f"record {position.last_index} (applied {position.last_applied}, term {position.term})"
