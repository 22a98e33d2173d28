"""Seeding: one consistent dump of a follower's database, into several nodes at the same time.

``onedb backup`` locks tables for the whole dump (source note); a single transaction does not,
and holds ``logdb`` and the pools at one moment. The dump goes through this machine once, in
memory, and never onto a disk in between.
"""

import contextlib
import json
import shlex
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from onebaton.adapters import process
from onebaton.adapters.fanout import Target, copy_to_all
from onebaton.adapters.mariadb import (
    ONED_RUNS,
    ONED_RUNS_FUNCTION,
    SQL_FUNCTION,
    harmless,
)
from onebaton.adapters.process import Pipe, ProgramError
from onebaton.adapters.raftlog import POSITION_SQL
from onebaton.adapters.ssh import Ssh
from onebaton.errors import DeadlineError, OnebatonError, RefusedError, StepFailedError
from onebaton.model import Host
from onebaton.ports import Reporter

#: Where a node keeps what it was seeded from (no secrets).
SEED_FILE = "/var/lib/onebaton/seed.json"
#: The target's script ends with this status when the dump's end was not seen.
CUT_SHORT = 95
#: The target's script ends with this status when the dump was not of an OpenNebula database.
NOT_OURS = 94
#: First bytes of packed files.
_ZSTD, _GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
#: Until the tables are there and tell.
_DEFAULT_COLLATION = ("utf8mb4", "utf8mb4_general_ci")
#: Shell: a dump does not say what the database was like; ``oned`` wants it like its tables.
_ADOPT_COLLATION = """like=$(sql -e "SELECT CONCAT(character_set_name, ' COLLATE ', collation_name)
  FROM information_schema.columns WHERE table_schema = '{database}' AND table_name = 'zone_pool'
  AND column_name = 'body'")
[ -n "$like" ] || exit 94
sql -e "ALTER DATABASE {database} CHARACTER SET $like"
"""
#: What ``mysqldump`` writes last when it came to its end.
END_MARK = "-- Dump completed"


def seed(
    ssh: Ssh,
    reporter: Reporter,
    database: str,
    source: Host,
    targets: Sequence[Host],
    *,
    timeout_s: float,
    source_ssh: Ssh | None = None,
) -> None:
    """Dump the source's database into a fresh one on every target.

    A target that fails is left without a database; the others are seeded all the same.

    :param source_ssh: the way to the source, where it is another one than to the targets.
    :raises RefusedError: if ``oned`` runs on a target; nothing was touched then.
    :raises StepFailedError: if a target was not seeded, naming each.
    :raises DeadlineError: if it takes longer than ``timeout_s``.
    """
    if not targets:
        return
    collation, has_zstd = _source_look(source_ssh or ssh, database, source)
    packer = "zstd" if all([has_zstd, *(_look(ssh, host) for host in targets)]) else "gzip"
    script = _load_script(database, collation, packer, source.name)
    dump = (source_ssh or ssh).pipe(
        source, _dump_script(database, packer), stdin=False, timeout_s=timeout_s
    )
    _fill(ssh, reporter, (source.name, dump), targets, script, timeout_s=timeout_s)


def load(
    ssh: Ssh, reporter: Reporter, database: str, dump: Path, target: Host, *, timeout_s: float
) -> None:
    """Load a dump that somebody made into a fresh database on the target.

    :param dump: plain SQL, or packed by gzip or zstd, as its first bytes tell.
    :raises RefusedError: if ``oned`` runs on the target; nothing was touched then.
    :raises StepFailedError: if it is no dump of an OpenNebula database, or not whole.
    """
    _look(ssh, target)
    script = _load_script(database, _DEFAULT_COLLATION, "", dump.name)
    unpacked = process.pipe(_unpacker(dump), stdin=False)
    _fill(ssh, reporter, (dump.name, unpacked), [target], script, timeout_s=timeout_s)


def _unpacker(dump: Path) -> list[str]:
    try:
        with dump.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise StepFailedError(
            f"the dump {dump} cannot be read: {error.strerror}", resolution="Name another file."
        ) from None
    if head == _ZSTD:
        process.require_program("zstd", package="the Debian package zstd")
        return ["zstd", "-q", "-d", "-c", "--", str(dump)]
    return ["gzip", "-d", "-c", "--", str(dump)] if head[:2] == _GZIP else ["cat", "--", str(dump)]


def _fill(
    ssh: Ssh,
    reporter: Reporter,
    source: tuple[str, AbstractContextManager[Pipe]],
    targets: Sequence[Host],
    script: str,
    *,
    timeout_s: float,
) -> None:
    """Copy what a program says into the script on every target.

    :param source: its name, and the program, not started yet.
    """
    deadline = time.monotonic() + timeout_s
    name, dumping = source
    what = f"seeding {', '.join(host.name for host in targets)} from {name}"

    def progress(total: int) -> None:
        if time.monotonic() > deadline:
            raise DeadlineError(
                f"{what} did not end within {timeout_s:g} s",
                details=[f"{_mebibytes(total)} of the packed dump were sent"],
                resolution="Give rollout.timeouts.seed_s more seconds, then run it again.",
            )
        reporter.progress(f"{what}: {_mebibytes(total)} sent")

    with contextlib.ExitStack() as stack:
        receivers = [
            Target(
                host.name,
                stack.enter_context(ssh.pipe(host, script, stdin=True, timeout_s=timeout_s)),
            )
            for host in targets
        ]
        dump = stack.enter_context(dumping)
        copy_to_all(dump, receivers, progress=progress)
        problems = _finish(receivers, deadline)
        details = [f"{host}: {problem}" for host, problem in problems.items()]
        try:
            # It has ended, unless nobody was left to read it.
            dump.finish(timeout_s=2, what=f"dumping the database of {name}")
        except ProgramError as error:
            details.append(f"{name}: {_reason(error)}")
            problems = problems or {host.name: "" for host in targets}
        except DeadlineError:
            details.append(f"{name}: nobody was left to take the dump")
    if problems:
        details += [f"{host.name}: seeded" for host in targets if host.name not in problems]
        raise StepFailedError(
            f"{', '.join(problems)} could not be seeded from {name}",
            details=details,
            resolution="Look at the disk and at MariaDB there, then run the same command again.",
        )


def _finish(receivers: Sequence[Target], deadline: float) -> dict[str, str]:
    """Wait until every target has loaded what it was sent.

    :returns: problems by name.
    """
    problems = {}
    for target in receivers:
        if target.problem is not None and target.problem.startswith("took nothing"):
            problems[target.name] = target.problem
            continue
        left = max(deadline - time.monotonic(), 1.0)
        try:
            target.pipe.finish(timeout_s=left, what=f"loading the dump on {target.name}")
        except ProgramError as error:
            problems[target.name] = _reason(error)
        except OnebatonError as error:
            problems[target.name] = error.message
    return problems


def _reason(error: ProgramError) -> str:
    if error.completed.status == CUT_SHORT:
        return f"the dump broke off before its end mark ({END_MARK!r})"
    if error.completed.status == NOT_OURS:
        return "it is no dump of an OpenNebula database"
    said = "; ".join(harmless(error.completed.stderr))
    return said or f"status {error.completed.status}"


def _look(ssh: Ssh, host: Host) -> bool:
    """See whether a target can be seeded, before anything is changed on any.

    :returns: whether it has zstd.
    :raises RefusedError: if its ``oned`` runs.
    """
    done = ssh.run(
        host,
        f"{ONED_RUNS_FUNCTION}\noned_runs && echo runs\ncommand -v zstd >/dev/null && echo zstd"
        "\nexit 0",
        timeout_s=20,
        what="looking before seeding",
    )
    found = done.stdout.split()
    if "runs" in found:
        raise RefusedError(
            f"oned runs on {host.name}: its database is not replaced",
            resolution=f"Stop opennebula.service on {host.name} first.",
        )
    return "zstd" in found


def _source_look(ssh: Ssh, database: str, source: Host) -> tuple[tuple[str, str], bool]:
    """Character set and collation of the source's database, and whether it has zstd.

    ``oned`` takes its connections' character set from the database and refuses to start where
    it differs from the tables' (source: ``MySqlDB.cc``).
    """
    done = ssh.run(
        source,
        f"""{SQL_FUNCTION}
command -v zstd >/dev/null && echo zstd || echo gzip
sql information_schema -e "SELECT default_character_set_name, default_collation_name
  FROM schemata WHERE schema_name = '{database}'"
""",  # noqa: S608 - the name is checked by the configuration
        timeout_s=30,
        what="looking before dumping",
    )
    packer, *rows = done.stdout.splitlines()
    if not rows:
        raise StepFailedError(
            f"{source.name} has no database {database!r}",
            resolution="Set database.name to the name in its /etc/one/oned.conf.",
        )
    charset, collation = rows[0].split("\t")
    return (charset, collation), packer == "zstd"


def _dump_script(database: str, packer: str) -> str:
    pack = "zstd -q -1 -c" if packer == "zstd" else "gzip -1 -c"
    return f"""
dump=mariadb-dump; command -v "$dump" >/dev/null || dump=mysqldump
HOME=/root "$dump" --single-transaction --quick --hex-blob --no-tablespaces \\
  --max-allowed-packet=1G --default-character-set=utf8mb4 {database} | {pack}
"""


def _load_script(database: str, collation: tuple[str, str], packer: str, source: str) -> str:
    unpack = {"zstd": "zstd -q -d -c", "gzip": "gzip -d -c"}.get(packer, "cat")
    return f"""{SQL_FUNCTION}
{ONED_RUNS_FUNCTION}
oned_runs && exit {ONED_RUNS}
mkdir -p {SEED_FILE.rpartition("/")[0]}
rm -f {SEED_FILE}
work=$(mktemp -d)
accepted=no
leave() {{
  [ "$accepted" = yes ] || sql -e 'DROP DATABASE IF EXISTS {database}' || true
  rm -rf "$work"
}}
trap leave EXIT
sql -e 'DROP DATABASE IF EXISTS {database};
  CREATE DATABASE {database} CHARACTER SET {collation[0]} COLLATE {collation[1]}'
mkfifo "$work/copy"
tail -n 1 < "$work/copy" > "$work/last" &
{unpack} | tee "$work/copy" | sql {database}
wait $!
grep -q '^{END_MARK}' "$work/last" || exit {CUT_SHORT}
{"" if packer else _ADOPT_COLLATION.format(database=database)}
read -r last applied term < <(sql {database} -e "{POSITION_SQL}")
printf '{{"source": %s, "seeded_at": "%s", "last_index": %s, "last_applied": %s, "term": %s}}\\n' \\
  {shlex.quote(json.dumps(source))} "$(date -u +%FT%TZ)" "$last" "$applied" "$term" > {SEED_FILE}.new
mv {SEED_FILE}.new {SEED_FILE}
accepted=yes
"""  # noqa: E501 - shell


def _mebibytes(count: int) -> str:
    return f"{count / 1024 / 1024:.1f} MiB"
