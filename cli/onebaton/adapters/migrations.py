"""A rehearsal on a node over ssh: the port ``Migrations``, with :mod:`copyscripts`.

``onedb fsck`` is run with ``--dry``: it would dump the database first otherwise, with its
password on a command line (source: ``onedb_backend.rb``), and nobody needs the copy repaired.
"""

import base64
from collections.abc import Mapping, Sequence
from xml.etree import ElementTree

from onebaton.adapters import aheadproof, aheadscripts, aheadsql, copyscripts, nodeunit, onedconf
from onebaton.adapters.mariadb import ONED_RUNS, NodeDatabase
from onebaton.adapters.oned_xmlrpc import FailedCallError, decode, encode
from onebaton.adapters.onedb import onedb_run
from onebaton.adapters.process import Completed, ProgramError
from onebaton.adapters.ssh import Ssh
from onebaton.adapters.tablecontents import contents_of
from onebaton.config import DatabaseConfig
from onebaton.errors import DeadlineError, RefusedError, StepFailedError
from onebaton.migration import AheadProof, Contents, OnedbRun, OracleAnswer
from onebaton.model import Host, Secret

SHORT_TIMEOUT_S = 30.0
#: For reading all of a table or a pool.
LONG_TIMEOUT_S = 1800.0
#: Longest name of a database.
MAX_NAME = 64

#: Of pools that are listed by owner and range: everybody's, from the first to the last.
_ALL = (-2, -1, -1)
#: Each pool's call and arguments by its table (documentation, "XML-RPC API"). Documents are
#: listed by type, and so are asked for separately.
POOLS: Mapping[str, tuple[str, tuple[int, ...]]] = {
    "acl": ("acl.info", ()),
    "backupjob_pool": ("backupjobpool.info", _ALL),
    "cluster_pool": ("clusterpool.info", ()),
    "datastore_pool": ("datastorepool.info", ()),
    "group_pool": ("grouppool.info", ()),
    "hook_pool": ("hookpool.info", _ALL),
    "host_pool": ("hostpool.info", ()),
    "image_pool": ("imagepool.info", _ALL),
    "marketplace_pool": ("marketpool.info", _ALL),
    "marketplaceapp_pool": ("marketapppool.info", _ALL),
    "network_pool": ("vnpool.info", _ALL),
    "secgroup_pool": ("secgrouppool.info", _ALL),
    "template_pool": ("templatepool.info", _ALL),
    "user_pool": ("userpool.info", ()),
    "vdc_pool": ("vdcpool.info", ()),
    # -2: in any state, those that are done too.
    "vm_pool": ("vmpool.info", (*_ALL, -2)),
    "vmgroup_pool": ("vmgrouppool.info", _ALL),
    "vn_template_pool": ("vntemplatepool.info", _ALL),
    "vrouter_pool": ("vrouterpool.info", _ALL),
    "zone_pool": ("zonepool.info", ()),
}
_DOCUMENTS = "document_pool"


class SshMigrations:
    """Rehearsals over ssh (implements the port ``Migrations``).

    :param vip: the zone's virtual address, which must not be on the node afterwards.
    :param port: of the XML-RPC API.
    :param ssh_port: what the fence lets through.
    """

    def __init__(
        self, ssh: Ssh, *, database: DatabaseConfig, vip: str, port: int, ssh_port: int
    ) -> None:
        self._ssh = ssh
        self._warm = database.name
        self._user = database.user
        self._copy = copy_name(database.name)
        self._names = aheadsql.proof_names(database.name)
        self._vip = vip
        self._port = port
        self._ssh_port = ssh_port

    def clear(self, host: Host) -> bool:
        """See ``Migrations.clear``."""
        script = copyscripts.clear_script(
            copy=self._copy,
            user=self._user,
            vip=self._vip,
            also=aheadscripts.clear_proof(self._names, user=self._user),
        )
        what = "clearing away a rehearsal"
        done = self._run(host, script, what, timeout_s=LONG_TIMEOUT_S)
        return done.stdout.strip() == "cleared"

    def database_bytes(self, host: Host) -> int:
        """See ``Migrations.database_bytes``."""
        script = copyscripts.size_script(self._warm)
        done = self._run(host, script, "measuring the database", timeout_s=SHORT_TIMEOUT_S)
        return max(int(size) for size in done.stdout.split())

    def oracle(self, host: Host) -> OracleAnswer:
        """See ``Migrations.oracle``."""
        script = copyscripts.oracle_script()
        done = self._run(host, script, "asking onedb version", timeout_s=SHORT_TIMEOUT_S)
        lines = [line.partition("=") for line in done.stdout.splitlines()]
        return OracleAnswer(
            status=next(int(value) for key, _, value in lines if key == "status"),
            said=tuple(value for key, _, value in lines if key == "said" and value),
            files=tuple(value for key, _, value in lines if key == "file"),
        )

    def copy(self, host: Host, *, timeout_s: float) -> None:
        """See ``Migrations.copy``."""
        script = copyscripts.copy_script(warm=self._warm, copy=self._copy, user=self._user)
        self._run(host, script, "copying the database", timeout_s=timeout_s)

    def contents(self, host: Host) -> Contents:
        """See ``Migrations.contents``."""
        return contents_of(NodeDatabase(self._ssh, host, self._copy))

    def secret_files(self, host: Host) -> Mapping[str, str]:
        """See ``Migrations.secret_files``."""
        done = self._run(host, copyscripts.DIGESTS, "listing secrets", timeout_s=SHORT_TIMEOUT_S)
        pairs = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
        return {name: digest for digest, name in pairs}

    def upgrade(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """See ``Migrations.upgrade``."""
        return self._onedb(host, "upgrade --no-backup -v", timeout_s)

    def fsck(self, host: Host, *, timeout_s: float) -> OnedbRun:
        """See ``Migrations.fsck``."""
        return self._onedb(host, "fsck --dry -v", timeout_s)

    def start_fenced(self, host: Host, *, outside: str, timeout_s: float) -> float:
        """See ``Migrations.start_fenced``.

        :raises DeadlineError: if its API does not listen in time.
        """
        found = self._run(
            host, copyscripts.READ_CONF, "reading oned.conf", timeout_s=SHORT_TIMEOUT_S
        )
        text = base64.b64decode(found.stdout).decode("utf-8", "surrogateescape")
        conf = on_the_copy(text, self._copy).encode("utf-8", "surrogateescape")
        fence = copyscripts.fence_script(
            outside=(outside,), port=self._port, ssh_port=self._ssh_port
        )
        done = self._run(host, fence, "raising a fence", timeout_s=SHORT_TIMEOUT_S, check=False)
        if done.status == copyscripts.LEAKS:
            raise StepFailedError(
                f"the fence around {host.name} does not hold: {outside} was reached through it",
                resolution="Look at nftables on the node (`nft list ruleset`); oned was not "
                "started there.",
            )
        self._require(done, f"raising a fence on {host.name}")
        script = copyscripts.start_script(port=self._port, timeout_s=timeout_s)
        done = self._run(
            host,
            script,
            "starting oned on the copy",
            timeout_s=timeout_s + SHORT_TIMEOUT_S,
            stdin=base64.b64encode(conf) + b"\n",
            check=False,
        )
        if done.status in (copyscripts.ENDED, copyscripts.TOO_SLOW):
            raise self._no_start(host, done.status, timeout_s)
        self._require(done, f"starting oned on the copy on {host.name}")
        return int(done.stdout.strip().removeprefix("ms=")) / 1000

    def read_pools(
        self, host: Host, session: Secret, tables: Mapping[str, int]
    ) -> Mapping[str, int]:
        """See ``Migrations.read_pools``."""
        answered = {
            table: self._pool(host, session, method, arguments)
            for table, (method, arguments) in POOLS.items()
            if table in tables
        }
        if _DOCUMENTS in tables:
            types = NodeDatabase(self._ssh, host, self._copy).rows(
                f"SELECT DISTINCT type FROM {_DOCUMENTS}",  # noqa: S608 - a constant
                what="listing types of documents",
                timeout_s=SHORT_TIMEOUT_S,
            )
            answered[_DOCUMENTS] = sum(
                self._pool(host, session, "documentpool.info", (*_ALL, int(kind)))
                for (kind,) in types
            )
        return answered

    def past(self, host: Host, *, timeout_s: float) -> int:
        """See ``Migrations.past``."""
        script = copyscripts.begin_script(self._names.migrated)
        self._run(host, script, "beginning a proof", timeout_s=SHORT_TIMEOUT_S)
        return aheadproof.past(self._ssh, host, self._names, user=self._user, timeout_s=timeout_s)

    def prove(self, host: Host, *, timeout_s: float) -> AheadProof:
        """See ``Migrations.prove``."""
        return aheadproof.prove(
            self._ssh,
            host,
            self._names,
            user=self._user,
            whole=self._copy,
            timeout_s=timeout_s,
        )

    def _pool(self, host: Host, session: Secret, method: str, arguments: Sequence[int]) -> int:
        body = encode(f"one.{method}", (session.reveal(), *arguments))
        head = (
            f"POST /RPC2 HTTP/1.0\r\nHost: localhost:{self._port}\r\nContent-Type: text/xml\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        what = f"reading one.{method} of the migrated copy"
        done = self._run(
            host,
            copyscripts.ask_script(self._port),
            what,
            timeout_s=LONG_TIMEOUT_S,
            stdin=head.encode() + body,
        )
        _, _, answer = done.stdout.replace("\r\n", "\n").partition("\n\n")
        problem = ""
        try:
            return objects_in(str(decode(answer.encode())[1]))
        except FailedCallError as failed:
            problem = failed.failure.text
        except ElementTree.ParseError as error:
            problem = f"its answer is no XML ({error})"
        raise StepFailedError(
            f"{what} on {host.name} failed",
            details=[problem.replace(session.reveal().partition(":")[2], "***")],
            resolution="The next release cannot serve this database as it is: look for this "
            "call in its issues, and do not cut over before.",
        )

    def _onedb(self, host: Host, words: str, timeout_s: float) -> OnedbRun:
        script = copyscripts.onedb_script(words, copy=self._copy, user=self._user, port=self._port)
        done = self._run(host, script, f"onedb {words.split(maxsplit=1)[0]}", timeout_s=timeout_s)
        return onedb_run(done.stdout)

    def _no_start(self, host: Host, status: int, timeout_s: float) -> StepFailedError:
        said = self._run(
            host, nodeunit.log_script(), "reading oned.log", timeout_s=SHORT_TIMEOUT_S
        ).stdout
        resolution = (
            f"Read /var/log/one/oned.log on {host.name} (with --keep it stays): the next release "
            "does not start on this database, so do not cut over before."
        )
        if status == copyscripts.TOO_SLOW:
            raise DeadlineError(
                f"oned did not answer within {timeout_s:g} s on the migrated copy on {host.name}",
                details=nodeunit.telling(said),
                resolution=resolution,
            )
        return StepFailedError(
            f"oned ended instead of starting on the migrated copy on {host.name}",
            details=nodeunit.telling(said),
            resolution=resolution,
        )

    def _run(
        self,
        host: Host,
        script: str,
        what: str,
        *,
        timeout_s: float,
        stdin: bytes | None = None,
        check: bool = True,
    ) -> Completed:
        done = self._ssh.run(host, script, stdin=stdin, timeout_s=timeout_s, what=what, check=False)
        if done.status == ONED_RUNS:
            raise RefusedError(
                f"oned runs on {host.name}: nothing is rehearsed beside it",
                resolution=f"Stop opennebula.service on {host.name} first.",
            )
        if check:
            self._require(done, f"{what} on {host.name}")
        return done

    @staticmethod
    def _require(done: Completed, what: str) -> None:
        if done.status != 0:
            raise ProgramError(done, what=what)


def copy_name(database: str) -> str:
    """Name of the copy, derived from the database's and never the same."""
    for ending in ("_rehearsal", "_rehearsed"):
        name = f"{database[: MAX_NAME - len(ending)]}{ending}"
        if name != database:
            break
    return name


def objects_in(pool: str) -> int:
    """Number of objects in a pool's listing: users' and groups' carry quotas beside them.

    :raises ElementTree.ParseError: if it is no XML.
    """
    root = ElementTree.fromstring(pool)  # noqa: S314 - of the node's own oned
    return len(root.findall(root.tag.removesuffix("_POOL")))


def on_the_copy(conf: str, copy: str) -> str:
    """An ``oned.conf`` that names the copy and knows no hook of Raft.

    A server on its own runs none anyway; without them there is nothing to doubt.

    :raises ConfigSyntaxError: if it cannot be read.
    """
    text = onedconf.set_attribute(conf, "DB", "DB_NAME", copy, file="oned.conf")
    hooks = [
        statement
        for statement in onedconf.parse(text, file="oned.conf")
        if statement.name in ("RAFT_LEADER_HOOK", "RAFT_FOLLOWER_HOOK")
    ]
    for statement in reversed(hooks):
        text = text[: statement.start] + text[statement.end :]
    return text
