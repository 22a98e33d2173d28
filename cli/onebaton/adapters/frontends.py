"""Front-end machines over ssh: the port ``FrontEnds`` on real nodes.

Rooms of this house: :mod:`nodefacts` (what a node says of itself), :mod:`seeding` with its two
ways, :mod:`raftlog` (shipping the log), :mod:`tablesums` (parity), :mod:`nodesecrets`,
:mod:`nodeconfig` with :mod:`onedconf` (its grammar), :mod:`reaching`, :mod:`nodeunit` (starting,
stopping, cutting off).
"""

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from onebaton.adapters import (
    nodeconfig,
    nodefacts,
    nodesecrets,
    nodeunit,
    raftlog,
    reaching,
    tablesums,
)
from onebaton.adapters.mariadb import SQL_FUNCTION, NodeDatabase, SessionDatabase
from onebaton.adapters.nodeconfig import Renderer, ZoneSettings
from onebaton.adapters.process import ProgramError
from onebaton.adapters.seeding import Seeding
from onebaton.adapters.ssh import Ssh
from onebaton.config import DatabaseConfig, OnedConfig
from onebaton.errors import (
    DeadlineError,
    OnebatonError,
    RefusedError,
    StepFailedError,
    UnavailableError,
)
from onebaton.model import FrontEndFacts, Host, LogPosition, Secret
from onebaton.ports import Clock, Reporter

FACTS_TIMEOUT_S = 20.0
SHORT_TIMEOUT_S = 30.0
#: For the few records that came while a server started.
BENEATH_TIMEOUT_S = 60.0
#: Seconds that another server's machine is given to answer a connection.
KNOCK_S = 5
#: How often a wait looks again, in seconds.
LOOK_S = 0.5
#: So much of a stop's time is kept for SIGKILL and what comes after.
LAST_RESORT_S = 30.0
#: Followers of a leader that is cut off confirm records for so long after its drain.
AFTER_DRAIN_S = 0.15


class SshFrontEnds:
    """Front-ends over ssh (implements the port ``FrontEnds``).

    :param render: renders ``templates/``.
    :param password: of the database's user; without one each node makes up its own.
    :param seeding: the way a database takes from one node to others.
    """

    def __init__(
        self,
        ssh: Ssh,
        *,
        zone: ZoneSettings,
        database: DatabaseConfig,
        oned: OnedConfig,
        password: Secret | None,
        render: Renderer,
        seeding: Seeding,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._ssh = ssh
        self._zone = zone
        self._database = database
        self._oned = oned
        self._password = password
        self._render = render
        self._seeding = seeding
        self._reporter = reporter
        self._clock = clock

    def facts(self, host: Host) -> FrontEndFacts:
        """See ``FrontEnds.facts``."""
        script = nodefacts.script(vip=self._zone.vip.address, database=self._database.name)
        done = self._ssh.run(host, script, timeout_s=FACTS_TIMEOUT_S, what="looking at the machine")
        return nodefacts.parse(done.stdout, place=host.name)

    def facts_of(self, hosts: Sequence[Host]) -> dict[str, FrontEndFacts | str]:
        """See ``FrontEnds.facts_of``."""

        def one(host: Host) -> FrontEndFacts | str:
            try:
                return self.facts(host)
            except OnebatonError as error:
                return error.message

        if not hosts:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(hosts), 16)) as pool:
            return dict(zip((host.name for host in hosts), pool.map(one, hosts), strict=True))

    def wait_ready(self, host: Host, *, timeout_s: float) -> None:
        """See ``FrontEnds.wait_ready``.

        :raises RefusedError: if the machine's host key is not the one known.
        :raises DeadlineError: if it is not ready in time.
        """
        script = f"{SQL_FUNCTION}\nsystemctl is-system-running || true\nsql -e 'DO 1'"
        deadline = self._clock.monotonic() + timeout_s
        while True:
            problem = self._not_ready(host, script)
            if problem is None:
                return
            self._wait(deadline, f"{host.name} to be ready", problem)

    def _not_ready(self, host: Host, script: str) -> str | None:
        try:
            done = self._ssh.run(
                host, script, timeout_s=FACTS_TIMEOUT_S, what="waiting for the boot", check=False
            )
        except (UnavailableError, DeadlineError) as error:
            return "; ".join([error.message, *error.details[-1:]])
        state = done.stdout.strip()
        if state not in ("running", "degraded"):
            return f"the boot is {state or 'not over'}"
        return None if done.status == 0 else "MariaDB does not answer"

    def copy_secrets(self, source: Host, targets: Sequence[Host]) -> None:
        """See ``FrontEnds.copy_secrets``."""
        nodesecrets.copy(self._ssh, source, targets)

    def seed(self, source: Host, targets: Sequence[Host], *, timeout_s: float) -> None:
        """See ``FrontEnds.seed``."""
        self._seeding.seed(self._database.name, source, targets, timeout_s=timeout_s)

    def log_position(self, host: Host) -> LogPosition:
        """See ``FrontEnds.log_position``."""
        return raftlog.position(self._db(host))

    def ship_log(
        self, source: Host, target: Host, *, up_to: int | None = None, beneath: bool = False
    ) -> int:
        """See ``FrontEnds.ship_log``."""
        if not beneath:
            return raftlog.ship(self._db(source), self._db(target), up_to=up_to)
        database = self._db(target)
        with database.session(timeout_s=BENEATH_TIMEOUT_S) as session:
            beside = SessionDatabase(session, database)
            return raftlog.ship(self._db(source), beside, up_to=up_to)

    def table_checksums(self, host: Host) -> tuple[LogPosition, dict[str, int | None]]:
        """See ``FrontEnds.table_checksums``."""
        return tablesums.of_one(self._db(host))

    def checksums_at_equal_index(
        self, one: Host, other: Host
    ) -> tuple[
        tuple[LogPosition, dict[str, int | None]], tuple[LogPosition, dict[str, int | None]]
    ]:
        """See ``FrontEnds.checksums_at_equal_index``."""
        return tablesums.of_two(self._db(one), self._db(other))

    def configure(
        self,
        host: Host,
        *,
        server_id: int,
        election_timeout_ms: int,
        server_ids: Sequence[int] = (),
    ) -> None:
        """See ``FrontEnds.configure``."""
        nodeconfig.configure(
            self._ssh,
            host,
            self._db(host),
            nodeconfig.Wanted(
                zone=self._zone,
                database=self._database,
                oned=self._oned,
                password=self._password,
                server_id=server_id,
                election_timeout_ms=election_timeout_ms,
                server_ids=tuple(server_ids),
            ),
            self._render,
        )

    def create_database(self, host: Host) -> None:
        """See ``FrontEnds.create_database``.

        :raises RefusedError: if there is one with tables in it.
        """
        name = self._database.name
        database = self._db(host)
        tables = database.administer(
            f"SELECT COUNT(*) FROM information_schema.tables "  # noqa: S608 - a checked name
            f"WHERE table_schema = '{name}'",
            what="looking for a database",
            timeout_s=SHORT_TIMEOUT_S,
        )
        if tables != [("0",)]:
            raise RefusedError(
                f"{host.name} has a database {name!r} with tables already",
                resolution="A new zone begins with an empty one. If nothing of it is needed, run "
                f"there: mariadb -e 'DROP DATABASE {name}'",
            )
        database.administer(
            f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4",
            what="creating the database",
            timeout_s=SHORT_TIMEOUT_S,
        )

    def set_password(self, host: Host, user: str, password: Secret) -> None:
        """See ``FrontEnds.set_password``."""
        nodesecrets.write_auth(self._ssh, host, user, password)

    def unreached(self, source: Host, targets: Sequence[Host]) -> tuple[str, ...]:
        """See ``FrontEnds.unreached``."""
        port = self._zone.port
        done = self._ssh.run(
            source,
            f"{reaching.announce(source.address)}\n{reaching.knock(KNOCK_S)}",
            stdin=reaching.told((target.address, port) for target in targets),
            timeout_s=SHORT_TIMEOUT_S,
            what="trying whether other servers answer",
        )
        found = {address for address, _ in reaching.answered(done.stdout)}
        return tuple(target.name for target in targets if target.address not in found)

    def start(self, host: Host, *, timeout_s: float) -> None:
        """See ``FrontEnds.start``.

        :raises StepFailedError: if ``oned`` ends instead of answering, with what it said.
        :raises DeadlineError: if its API does not listen in time.
        """
        deadline = self._clock.monotonic() + timeout_s
        done = self._ssh.run(
            host,
            nodeunit.start_script(host.address),
            timeout_s=SHORT_TIMEOUT_S,
            what="starting opennebula.service",
            check=False,
        )
        if done.status == nodeunit.NO_UNIT:
            raise StepFailedError(
                f"opennebula.service is not installed on {host.name}",
                resolution="Bake the image with the package opennebula.",
            )
        if done.status != 0:
            raise ProgramError(done, what=f"starting opennebula.service on {host.name}")
        while True:
            seen = self._look(host)
            if seen["ActiveState"] == "active" and int(seen["listening"]) > 0:
                return
            ended = seen["ActiveState"] == "failed" or seen["SubState"] == "auto-restart"
            if ended or (seen["ActiveState"] == "inactive" and seen["Job"] in ("", "0")):
                raise self._failed_start(host, seen)
            self._wait(deadline, f"oned on {host.name} to start", seen["SubState"])

    def _look(self, host: Host) -> dict[str, str]:
        done = self._ssh.run(
            host,
            nodeunit.look_script(self._zone.port),
            timeout_s=SHORT_TIMEOUT_S,
            what="looking at opennebula.service",
        )
        pairs = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        # Older systemd leaves out what is empty.
        return {"Job": "", "Result": "", **pairs}

    def _failed_start(self, host: Host, seen: Mapping[str, str]) -> StepFailedError:
        self._ssh.run(
            host,
            nodeunit.give_up_script(),
            timeout_s=SHORT_TIMEOUT_S,
            what="giving up a start",
            check=False,
        )
        said = self._ssh.run(
            host, nodeunit.log_script(), timeout_s=SHORT_TIMEOUT_S, what="reading oned.log"
        ).stdout
        resolution = f"Read /var/log/one/oned.log on {host.name}, then run the command again."
        if "Cannot start oned, opening lock file" in said:
            resolution = f"Another oned holds /var/lock/one/one on {host.name}: end it first."
        elif "Database version mismatch" in said:
            resolution = (
                "This release needs another database schema: that is a cut-over and not a roll."
            )
        return StepFailedError(
            f"oned on {host.name} ended instead of starting ({seen['Result'] or 'no result'})",
            details=nodeunit.telling(said),
            resolution=resolution,
        )

    def stop(self, host: Host, *, mask: bool, timeout_s: float) -> None:
        """See ``FrontEnds.stop``.

        :raises StepFailedError: if ``oned`` or the virtual IP is still there afterwards.
        """
        kind_s = max(timeout_s - LAST_RESORT_S, timeout_s / 2)
        self._reporter.progress(f"waiting for oned on {host.name} to stop")
        script = nodeunit.stop_script(vip=self._zone.vip.address, mask=mask, kind_s=kind_s)
        self._end(host, script, timeout_s, "stopping oned")

    def forget_servers(self, host: Host, gone: Collection[int]) -> None:
        """See ``FrontEnds.forget_servers``."""
        if gone:
            script = nodeunit.forget_script(gone)
            self._ssh.run(host, script, timeout_s=SHORT_TIMEOUT_S, what="noting who is gone")

    def note_parked(self, host: Host, at: float | None) -> None:
        """See ``FrontEnds.note_parked``."""
        script = nodeunit.park_script(at)
        self._ssh.run(host, script, timeout_s=SHORT_TIMEOUT_S, what="noting that it is parked")

    def cut_off_leader(self, host: Host, *, drain_s: float) -> None:
        """See ``FrontEnds.cut_off_leader``.

        :raises StepFailedError: if ``oned`` or the virtual IP is still there afterwards.
        """
        script = nodeunit.cut_off_script(
            vip=self._zone.vip.address, port=self._zone.port, drain_s=drain_s
        )
        self._end(host, script, drain_s + SHORT_TIMEOUT_S, "cutting off the leader")

    def freeze(self, leader: Host, others: Sequence[Host], *, drain_s: float) -> None:
        """See ``FrontEnds.freeze``.

        A machine that was looked at just before has its connection already, and loses no time
        with it.
        """
        vip = self._zone.vip.address
        others_script = nodeunit.freeze_script(vip=vip, after_s=drain_s + AFTER_DRAIN_S)

        def one(host: Host) -> OnebatonError | None:
            try:
                if host == leader:
                    self.cut_off_leader(host, drain_s=drain_s)
                else:
                    self._end(host, others_script, drain_s + SHORT_TIMEOUT_S, "stopping oned")
            except OnebatonError as error:
                return error
            return None

        hosts = [leader, *others]
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            outcomes = zip(hosts, pool.map(one, hosts), strict=True)
            failed = {host.name: error for host, error in outcomes if error is not None}
        if not failed:
            return
        details = [line for name, error in failed.items() for line in _told(name, error)] + [
            f"{host.name}: stopped" for host in hosts if host.name not in failed
        ]
        if all(isinstance(error, StepFailedError) for error in failed.values()):
            raise StepFailedError(
                f"{', '.join(failed)} did not stop",
                details=details,
                resolution="Log in there, end oned, take the virtual IP off, then run the same "
                "command again.",
            )
        raise UnavailableError(
            f"{', '.join(failed)} may still run",
            details=details,
            resolution="Reach the machine and stop oned there, or switch it off; then run the "
            "same command again.",
        )

    def _end(self, host: Host, script: str, timeout_s: float, what: str) -> None:
        done = self._ssh.run(host, script, timeout_s=timeout_s, what=what, check=False)
        if done.status == nodeunit.STILL_THERE:
            raise StepFailedError(
                f"{what} on {host.name} did not come to its end",
                details=done.stderr.strip().splitlines()[-2:],
                resolution=f"Log in to {host.name}, end oned there, take the virtual IP off, "
                "then run the same command again.",
            )
        if done.status != 0:
            raise ProgramError(done, what=f"{what} on {host.name}")

    def _db(self, host: Host) -> NodeDatabase:
        return NodeDatabase(self._ssh, host, self._database.name)

    def _wait(self, deadline: float, what: str, seen: str) -> None:
        """Wait a little, say for what.

        :raises DeadlineError: if the deadline is over.
        """
        if self._clock.monotonic() > deadline:
            raise DeadlineError(
                f"waited in vain for {what}",
                details=[f"last seen: {seen}"],
                resolution="Look at the machine, then run the same command again.",
            )
        self._reporter.progress(f"waiting for {what} ({seen})")
        self._clock.sleep(LOOK_S)


def _told(name: str, error: OnebatonError) -> list[str]:
    return [f"{name}: {error.message}", *error.details[:3]]
