"""What every way of seeding shares: the look beforehand, dump and load, and how they fail.

``onedb backup`` locks tables for the whole dump (source note); a single transaction does not,
and holds ``logdb`` and the pools at one moment.
"""

import json
import shlex
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from onebaton.adapters.mariadb import (
    ONED_RUNS,
    ONED_RUNS_FUNCTION,
    SQL_FUNCTION,
    harmless,
)
from onebaton.adapters.process import Pipe, ProgramError
from onebaton.adapters.raftlog import POSITION_SQL
from onebaton.adapters.ssh import Ssh
from onebaton.errors import OnebatonError, RefusedError, StepFailedError
from onebaton.model import Host

#: Where a node keeps what it was seeded from (no secrets).
SEED_FILE = "/var/lib/onebaton/seed.json"
#: So much passes at a time where a dump is paced.
PORTION_KIB = 256
#: What ``mysqldump`` writes last when it came to its end.
END_MARK = "-- Dump completed"
#: The target's script ends with this status when the dump's end was not seen.
CUT_SHORT = 95
#: The same where what came is not what the source sent, and nothing of it was used.
DAMAGED = 94
#: The same where what was loaded is no database of OpenNebula's.
NOT_OURS = 91
#: The same where a seed of a run that was killed has not come to its end.
BUSY = 92
#: So long it is waited for: it ends with the next that it wants of its run.
BUSY_S = 120
#: Locked on a target for as long as anything of its script runs. The late end of another one
#: would drop the database from under this one.
LOCK_FILE = "/run/onebaton-seed.lock"
#: A script ends with this status when a request of its ``curl`` failed.
NOT_PASSED = 93

#: What to do where a machine could not be seeded.
WAY_OUT = "Look at the disk and at MariaDB there, then run the same command again."

#: Shell: the client shows the whole statement that failed, a megabyte and more. Where nobody reads
#: that any more, because our run was killed, it would wait for ever with the database half loaded
#: (measured); and its rows are nobody's business.
_ERRORS_ALONE = r"sed -unE 's/^((ERROR|mariadb|mysql|bash)[: ].{0,500}).*/\1/p'"

_LOOKED_FOR = ("zstd", "curl", "openssl")


class Seeding(Protocol):
    """A way that a database takes from one node to others."""

    def seed(
        self, database: str, source: Host, targets: Sequence[Host], *, timeout_s: float
    ) -> None:
        """Dump the source's database into a fresh one on every target.

        A target that fails is left without a database; the others are seeded all the same.

        :raises RefusedError: if ``oned`` runs on a target; nothing was touched then.
        :raises StepFailedError: if a target was not seeded, naming each.
        :raises DeadlineError: if it takes longer than ``timeout_s``.
        """
        ...


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen before anything is changed on any node.

    :param charset: of the source's database. ``oned`` takes its connections' character set from
        the database and refuses to start where it differs from the tables' (source:
        ``MySqlDB.cc``).
    :param lacking: programs that a machine does not have, of those that a way may need, by name.
    """

    charset: str
    collation: str
    lacking: Mapping[str, tuple[str, ...]]

    @property
    def packer(self) -> str:
        """What packs the dump: gzip is everywhere."""
        return "gzip" if any("zstd" in names for names in self.lacking.values()) else "zstd"


def look(
    ssh: Ssh,
    database: str,
    source: Host,
    targets: Sequence[Host],
    *,
    source_ssh: Ssh | None = None,
) -> Looked:
    """See whether all can be seeded, and with what.

    :param source_ssh: the way to the source, where it is another one than to the targets.
    :raises RefusedError: if ``oned`` runs on a target.
    :raises StepFailedError: if the source has no such database.
    """
    charset, collation, of_source = _look_at_source(source_ssh or ssh, database, source)
    with ThreadPoolExecutor(max_workers=max(len(targets), 1)) as pool:
        of_targets = pool.map(lambda host: look_at_target(ssh, host), targets)
        lacking = dict(zip((host.name for host in targets), of_targets, strict=True))
    return Looked(charset, collation, {source.name: of_source, **lacking})


_PROGRAMS_SCRIPT = (
    f"for name in {' '.join(_LOOKED_FOR)}; do\n"
    '  command -v "$name" >/dev/null || echo "no $name"\ndone'
)


def look_at_target(ssh: Ssh, host: Host) -> tuple[str, ...]:
    """Programs that a target lacks.

    :raises RefusedError: if ``oned`` runs there.
    """
    done = ssh.run(
        host,
        f"{ONED_RUNS_FUNCTION}\n{_PROGRAMS_SCRIPT}\noned_runs && echo runs\nexit 0",
        timeout_s=20,
        what="looking before seeding",
    )
    lines = done.stdout.splitlines()
    if "runs" in lines:
        raise RefusedError(
            f"oned runs on {host.name}: its database is not replaced",
            resolution=f"Stop opennebula.service on {host.name} first.",
        )
    return _lacking(lines)


def _look_at_source(ssh: Ssh, database: str, source: Host) -> tuple[str, str, tuple[str, ...]]:
    done = ssh.run(
        source,
        f"""{SQL_FUNCTION}
{_PROGRAMS_SCRIPT}
sql information_schema -e "SELECT default_character_set_name, default_collation_name
  FROM schemata WHERE schema_name = '{database}'"
""",  # noqa: S608 - the name is checked by the configuration
        timeout_s=30,
        what="looking before dumping",
    )
    lines = done.stdout.splitlines()
    rows = [line for line in lines if "\t" in line]
    if not rows:
        raise StepFailedError(
            f"{source.name} has no database {database!r}",
            resolution="Set database.name to the name in its /etc/one/oned.conf.",
        )
    charset, collation = rows[0].split("\t")
    return charset, collation, _lacking(lines)


def _lacking(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(line.removeprefix("no ") for line in lines if line.startswith("no "))


def dump_command(database: str, packer: str, *, pace_mib_s: float | None = None) -> str:
    """Shell: the packed dump, on standard output.

    It steps back behind all that serves on that machine.

    :param pace_mib_s: MiB a second at most, before they are packed. The server that is read from
        is not ours to make nice: it goes no faster than it is listened to.
    """
    pack = "zstd -q -1 -c" if packer == "zstd" else "gzip -1 -c"
    return f"""\
{{ dump=mariadb-dump; command -v "$dump" >/dev/null || dump=mysqldump
  HOME=/root nice -n 19 "$dump" --single-transaction --quick --hex-blob --no-tablespaces \\
    --max-allowed-packet=1G --default-character-set=utf8mb4 {database}; }} | {_paced(pace_mib_s)}
  nice -n 19 {pack}"""


def _paced(mib_s: float | None) -> str:
    """Shell: lets so much pass in so much time, in portions that nobody notices.

    Nothing but coreutils is sure to be there.
    """
    if mib_s is None:
        return "\\"
    pause_s = PORTION_KIB / 1024 / mib_s
    return f"""{{ while
  moved=$(LC_ALL=C nice -n 19 dd bs=64K count={PORTION_KIB // 64} iflag=fullblock 2>&1 >&3) || exit
  [ "${{moved#0+0 }}" = "$moved" ]; do sleep {pause_s:.3f}; done; }} 3>&1 |"""


def unpack_command(packer: str) -> str:
    """Shell: undoes what ``dump_command`` packed."""
    return f"{packer} -q -d -c"


def load_script(
    database: str, looked: Looked, source: str, *, take: str, before: str = "", after: str = ""
) -> str:
    """Shell: a fresh database from a dump, and the note of where it came from.

    A load that does not come to its end leaves no database.

    :param source: the node's name.
    :param take: gives the plain dump on standard output. It may leave the status that the
        script is to end with in the file ``$work/why``.
    :param before: what ``take`` needs, run when ``$work`` is there and nothing was changed.
    :param after: run when all is loaded.
    """
    return f"""{SQL_FUNCTION}
{ONED_RUNS_FUNCTION}
oned_runs && exit {ONED_RUNS}
exec 9> {LOCK_FILE}
flock -w {BUSY_S} 9 || exit {BUSY}
work=$(mktemp -d)
accepted=yes
leave() {{
  [ "$accepted" = yes ] || sql -e 'DROP DATABASE IF EXISTS {database}' || true
  local why=
  [ ! -e "$work/why" ] || why=$(cat "$work/why")
  rm -rf "$work"
  [ -z "$why" ] || exit "$why"
}}
trap leave EXIT
{before}
mkdir -p {SEED_FILE.rpartition("/")[0]}
rm -f {SEED_FILE}
accepted=no
sql -e 'DROP DATABASE IF EXISTS {database};
  CREATE DATABASE {database} CHARACTER SET {looked.charset} COLLATE {looked.collation}'
mkfifo "$work/copy"
tail -n 1 < "$work/copy" > "$work/last" &
{take} | tee "$work/copy" | sql {database} 2>&1 >/dev/null | {_ERRORS_ALONE} >&2
wait $!
grep -q '^{END_MARK}' "$work/last" || exit {CUT_SHORT}
{after}
read -r last applied term _ < <(sql {database} -e "{POSITION_SQL}")
printf '{{"source": %s, "seeded_at": "%s", "last_index": %s, "last_applied": %s, "term": %s}}\\n' \\
  {shlex.quote(json.dumps(source))} "$(date -u +%FT%TZ)" "$last" "$applied" "$term" > {SEED_FILE}.new
mv {SEED_FILE}.new {SEED_FILE}
accepted=yes
"""  # noqa: E501 - shell


def reason(error: ProgramError) -> str:
    """Why a script of ours failed, without the words of client and server."""
    status = error.completed.status
    if status == CUT_SHORT:
        return f"the dump broke off before its end mark ({END_MARK!r})"
    if status == DAMAGED:
        return "a part is not the one that was sent (SHA-256 differs): it was not used"
    if status == NOT_OURS:
        return "it is no dump of an OpenNebula database"
    if status == BUSY:
        return f"an earlier seed of it has not come to its end for {BUSY_S} s"
    if status == NOT_PASSED:
        words = [line for line in error.completed.stderr.splitlines() if "curl: " in line]
        return f"the object store was asked in vain: {(words or ['nothing was said'])[-1]}"
    return "; ".join(harmless(error.completed.stderr)) or f"status {status}"


def ended(name: str, pipe: Pipe, deadline: float) -> str | None:
    """Wait until a target has loaded what it was sent.

    :param deadline: on the monotonic clock.
    :returns: why it has not, ``None`` if it has.
    """
    left = max(deadline - time.monotonic(), 1.0)
    try:
        pipe.finish(timeout_s=left, what=f"loading the dump on {name}")
    except ProgramError as error:
        return reason(error)
    except OnebatonError as error:
        return error.message
    return None


def require_all_seeded(
    source: str,
    targets: Sequence[Host],
    problems: Mapping[str, str],
    more: Sequence[str],
    *,
    resolution: str,
) -> None:
    """Nothing, if there is no problem.

    :param source: its name.
    :param problems: by target; one may be empty, where another line tells of it.
    :param more: further lines.
    :raises StepFailedError: otherwise, naming who was seeded and who was not.
    """
    if not problems:
        return
    details = [f"{name}: {problem}" for name, problem in problems.items() if problem]
    details += [*more, *(f"{host.name}: seeded" for host in targets if host.name not in problems)]
    raise StepFailedError(
        f"{', '.join(problems)} could not be seeded from {source}",
        details=details,
        resolution=resolution,
    )


def mebibytes(count: int) -> str:
    """A number of bytes for people."""
    return f"{count / 1024 / 1024:.1f} MiB"
