"""The held stand-by on a node over ssh: the port ``StandBy``.

Rooms of this house: :mod:`ahead` (the databases), :mod:`holdscripts` (the unit, the fence, the
hooks), :mod:`nodedoor` (talking to an ``oned`` behind its fence).
"""

import base64
import binascii
import json
from collections.abc import Callable, Collection, Mapping, Sequence

from onebaton.adapters import copyscripts, holdscripts, nodeunit, onedconf
from onebaton.adapters.ahead import AheadDatabases
from onebaton.adapters.nodedoor import NodeDoor
from onebaton.adapters.process import Completed, ProgramError
from onebaton.adapters.ssh import Ssh
from onebaton.adapters.zone import OneZone
from onebaton.config import DatabaseConfig
from onebaton.errors import DeadlineError, RefusedError, StepFailedError, UnavailableError
from onebaton.migration import OnedbRun
from onebaton.model import AheadStage, Host, LogPosition, RaftStatus, Secret, Server
from onebaton.standby import Batch, Written

SHORT_TIMEOUT_S = 30.0
#: For one question to the held ``oned``.
ASK_TIMEOUT_S = 5.0
#: Where relative commands of Raft's hooks are looked for (source: ``oned.conf``'s comments).
HOOK_FOLDERS = ("/var/lib/one/remotes/hooks", "/var/lib/one/remotes")

_AGAIN = "Run the same command again: it goes on from what it finds."


class SshStandBy:
    """Held stand-bys over ssh (implements the port ``StandBy``).

    :param vip: the zone's virtual address, which must not be on a node while held.
    :param port: of the XML-RPC API.
    :param ssh_port: what the fence lets through.
    :param session: gives ``user:password``.
    """

    def __init__(
        self,
        ssh: Ssh,
        *,
        database: DatabaseConfig,
        vip: str,
        port: int,
        ssh_port: int,
        session: Callable[[], Secret],
    ) -> None:
        self._ssh = ssh
        self._databases = AheadDatabases(ssh, database=database, port=port)
        self._vip = vip
        self._port = port
        self._ssh_port = ssh_port
        self._session = session

    def begin(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """See ``StandBy.begin``."""
        return self._databases.begin(host, timeout_s=timeout_s)

    def follow(
        self,
        source: Host,
        host: Host,
        *,
        up_to: int | None = None,
        left_alone: Collection[str] = (),
        timeout_s: float,
    ) -> Batch:
        """See ``StandBy.follow``."""
        return self._databases.follow(
            source, host, up_to=up_to, left_alone=left_alone, timeout_s=timeout_s
        )

    def differing_rows(self, source: Host, host: Host) -> tuple[str, ...]:
        """See ``StandBy.differing_rows``."""
        return self._databases.differing_rows(source, host)

    def warm_checksums(self, host: Host) -> tuple[LogPosition, dict[str, int | None]]:
        """See ``StandBy.warm_checksums``."""
        return self._databases.warm_checksums(host)

    def list_alone(self, host: Host, *, server: Server) -> None:
        """See ``StandBy.list_alone``."""
        self._databases.list_alone(host, server=server)

    def upgrade(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """See ``StandBy.upgrade``."""
        return self._databases.upgrade(host, timeout_s=timeout_s)

    def written_since(self, host: Host, index: int) -> Written:
        """See ``StandBy.written_since``."""
        return self._databases.written_since(host, index)

    def hold(
        self,
        host: Host,
        *,
        server: Server,
        election_timeout_ms: int,
        outside: Sequence[str],
        timeout_s: float,
    ) -> None:
        """See ``StandBy.hold``.

        One that is held already, by the same configuration, goes on running.

        :param election_timeout_ms: what its ``oned.conf`` must say.
        :raises RefusedError: if there is no migrated copy, or it was let go already.
        :raises DeadlineError: if its API does not listen in time; nothing runs then.
        """
        stage = self._databases.stage(host)
        if stage not in (AheadStage.MIGRATED, AheadStage.HELD):
            raise _not_holdable(host, stage)
        token = _token(server, election_timeout_ms)
        seen = self._look(host)
        hooks = hooks_in(_conf(seen), host, server.id, election_timeout_ms)
        runs = is_held(seen, token)
        if not runs:
            self._prepare(host, token, hooks)
        self._fence(host, outside)
        self._databases.held_list(host, server=server)
        if not runs:
            self._start(host, timeout_s)
        self._databases.set_stage(host, AheadStage.HELD)

    def held_status(self, host: Host) -> RaftStatus | None:
        """See ``StandBy.held_status``.

        :raises UnavailableError: if the node itself is not reached.
        """
        door = self._door(host)
        try:
            return self._zone(door).raft_status(door.endpoint)
        except UnavailableError:
            if not door.reached:
                raise
            return None

    def heartbeat(self, host: Host, term: int) -> None:
        """See ``StandBy.heartbeat``.

        :raises UnavailableError: if it does not answer.
        :raises ZoneRefusal: if its own term is newer.
        """
        door = self._door(host)
        self._zone(door).heartbeat(door.endpoint, term)

    def loosen(self, host: Host, *, server: Server) -> None:
        """See ``StandBy.loosen``."""
        what = f"giving oned on {host.name} its ways back"
        self._run(host, holdscripts.loosen_script(server.id), what)

    def release(self, host: Host, *, server: Server) -> None:
        """See ``StandBy.release``."""
        what = f"letting oned on {host.name} go"
        self._run(host, holdscripts.release_script(server.id), what)
        self._databases.list_alone(host, server=server)
        # Nothing waits for them, and nothing depends on them.
        self._run(host, holdscripts.web_script(), "starting web services", check=False)

    def settle(self, host: Host) -> None:
        """See ``StandBy.settle``.

        :raises RefusedError: if its ``oned`` is held still.
        """
        self._run(host, holdscripts.settle_script(), "forgetting what was held")
        self._databases.settle(host)

    def discard(self, host: Host) -> bool:
        """See ``StandBy.discard``.

        :raises StepFailedError: if ``oned`` or the virtual IP is still there afterwards.
        """
        done = self._run(host, holdscripts.end_script(vip=self._vip), "ending oned")
        had_databases = self._databases.discard(host)
        self._run(host, holdscripts.forget_script(), "taking its fence away")
        return had_databases or done.stdout.strip() == "something"

    def _look(self, host: Host) -> dict[str, str]:
        script = holdscripts.look_script(vip=self._vip, port=self._port)
        said = self._run(host, script, "looking at what is held").stdout
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def _prepare(self, host: Host, token: str, hooks: Sequence[str]) -> None:
        script = holdscripts.prepare_script(token=token, hooks=hooks, vip=self._vip)
        self._run(host, script, "making oned harmless")

    def _fence(self, host: Host, outside: Sequence[str]) -> None:
        script = copyscripts.fence_script(
            outside=outside, port=self._port, ssh_port=self._ssh_port, table=holdscripts.FENCE
        )
        done = self._run(host, script, "raising a fence", check=False)
        if done.status == copyscripts.LEAKS:
            reached = ", ".join(sorted(done.stdout.split()))
            raise StepFailedError(
                f"the fence around {host.name} does not hold: {reached} was reached through it",
                resolution="Look at nftables on the node (`nft list ruleset`). An oned that runs "
                "there knows no server but itself; no other was started.",
            )
        _require(done, f"raising a fence on {host.name}")

    def _start(self, host: Host, timeout_s: float) -> None:
        script = holdscripts.start_script(vip=self._vip, port=self._port, timeout_s=timeout_s)
        what = "starting oned, held,"
        done = self._run(host, script, what, timeout_s=timeout_s + SHORT_TIMEOUT_S, check=False)
        if done.status in (copyscripts.ENDED, copyscripts.TOO_SLOW):
            raise self._no_start(host, done.status, timeout_s)
        self._judge(done, host, what)

    def _no_start(self, host: Host, status: int, timeout_s: float) -> StepFailedError:
        said = self._run(host, nodeunit.log_script(), "reading oned.log").stdout
        resolution = (
            f"Read /var/log/one/oned.log on {host.name}: the next release does not start on the "
            "migrated copy. Production is as it was."
        )
        if status == copyscripts.TOO_SLOW:
            raise DeadlineError(
                f"oned did not answer within {timeout_s:g} s, held on {host.name}",
                details=nodeunit.telling(said),
                resolution=resolution,
            )
        return StepFailedError(
            f"oned ended instead of being held on {host.name}",
            details=nodeunit.telling(said),
            resolution=resolution,
        )

    def _door(self, host: Host) -> NodeDoor:
        return NodeDoor(self._ssh, host, port=self._port, timeout_s=ASK_TIMEOUT_S)

    def _zone(self, door: NodeDoor) -> OneZone:
        return OneZone(self._session(), http=door)

    def _run(
        self,
        host: Host,
        script: str,
        what: str,
        *,
        timeout_s: float = SHORT_TIMEOUT_S,
        check: bool = True,
    ) -> Completed:
        done = self._ssh.run(host, script, timeout_s=timeout_s, what=what, check=False)
        if check:
            self._judge(done, host, what)
        return done

    @staticmethod
    def _judge(done: Completed, host: Host, what: str) -> None:
        match done.status:
            case nodeunit.STILL_THERE:
                raise StepFailedError(
                    f"{what} on {host.name} did not come to its end",
                    details=done.stderr.strip().splitlines()[-2:],
                    resolution=f"Log in to {host.name}, end oned there, take the virtual IP off, "
                    "then run the same command again.",
                )
            case holdscripts.ARMED:
                raise StepFailedError(
                    f"a hook of Raft on {host.name} can still be run: {done.stderr.strip()}",
                    details=["oned was not started"],
                    resolution="See what keeps its mode from being changed (`lsattr`).",
                )
            case holdscripts.NOT_RUNNING:
                raise StepFailedError(
                    f"oned does not run any more on {host.name}",
                    details=["it was held, or let go, and has ended since"],
                    resolution=f"Read /var/log/one/oned.log there. {_AGAIN}",
                )
            case holdscripts.ANOTHER:
                raise StepFailedError(
                    f"oned on {host.name} was started anew since it was held",
                    details=["it keeps its fence and its list"],
                    resolution=_AGAIN,
                )
            case holdscripts.HELD:
                raise RefusedError(
                    f"oned is held on {host.name}: its ways are not taken away beneath it",
                    resolution=_AGAIN,
                )
        _require(done, f"{what} on {host.name}")


def is_held(seen: Mapping[str, str], token: str) -> bool:
    """Whether what runs on a node is held as it should be, and by this configuration.

    :param seen: what :func:`holdscripts.look_script` printed.
    """
    return (
        seen["ActiveState"] == "active"
        and not seen["UnitFileState"].startswith("enabled")
        and seen["held"] == token
        and seen["held_instance"] == seen["instance"] != ""
        and int(seen["listening"]) > 0
        and (seen["fence"], seen["bound"]) == ("yes", "yes")
        and (seen["lock"], seen["vip"], seen["armed"]) == ("no", "no", "no")
    )


def hooks_in(conf: str, host: Host, server_id: int, election_timeout_ms: int) -> tuple[str, ...]:
    """Paths at which ``oned`` may find the commands of Raft's hooks.

    :param conf: sections of its ``oned.conf``.
    :raises StepFailedError: if it is not the configuration that is to be held.
    """
    statements = onedconf.parse(conf, file="oned.conf")

    def attribute(name: str, key: str) -> str | None:
        found = onedconf.last(statements, name)
        return found.attribute(key) if found else None

    wanted = (str(server_id), str(election_timeout_ms))
    found = (attribute("FEDERATION", "SERVER_ID"), attribute("RAFT", "ELECTION_TIMEOUT_MS"))
    if found != wanted:
        raise StepFailedError(
            f"oned.conf of {host.name} is not the one to be held",
            details=[
                f"SERVER_ID {found[0]} instead of {wanted[0]}",
                f"ELECTION_TIMEOUT_MS {found[1]} instead of {wanted[1]}",
            ],
            resolution=_AGAIN,
        )
    # Of a name that stands twice the last one counts; disarmed they all are.
    commands = [
        command
        for statement in statements
        if statement.name in ("RAFT_LEADER_HOOK", "RAFT_FOLLOWER_HOOK")
        and (command := statement.attribute("COMMAND"))
    ]
    paths = [
        path
        for command in commands
        for path in (
            (command,)
            if command.startswith("/")
            else tuple(f"{folder}/{command}" for folder in HOOK_FOLDERS)
        )
    ]
    return tuple(dict.fromkeys(paths))


def _conf(seen: Mapping[str, str]) -> str:
    try:
        return base64.b64decode(seen["config"], validate=True).decode("utf-8", "replace")
    except (KeyError, binascii.Error) as error:
        raise StepFailedError(
            f"what a node says of its oned.conf cannot be understood: {error}",
            resolution="Log in there and look for a shell start-up file that prints.",
        ) from None


def _token(server: Server, election_timeout_ms: int) -> str:
    """One word that says what is held."""
    told = [server.id, server.name, server.endpoint, election_timeout_ms]
    return base64.b64encode(json.dumps(told).encode()).decode()


def _not_holdable(host: Host, stage: AheadStage | None) -> RefusedError:
    if stage is AheadStage.RELEASED:
        return RefusedError(
            f"oned on {host.name} was let go already and is not held again",
            resolution=_AGAIN,
        )
    return RefusedError(
        f"{host.name} has no migrated copy to hold oned on",
        resolution=_AGAIN,
    )


def _require(done: Completed, what: str) -> None:
    if done.status != 0:
        raise ProgramError(done, what=what)
