"""The shell of a copy migrated ahead, on the node: setting aside, stage, clearing away.

Everything runs as root under bash with ``set -euo pipefail`` and may be repeated.
"""

from collections.abc import Sequence

from onebaton.adapters.aheadsql import TRIGGERS, Names
from onebaton.adapters.copyscripts import onedb_script, user_at
from onebaton.adapters.mariadb import ONED_RUNS, ONED_RUNS_FUNCTION, SQL_FUNCTION
from onebaton.adapters.seeding import SEED_FILE
from onebaton.model import AheadStage

#: Where a node keeps how far it is (one of ``AheadStage``).
STAGE_FILE = "/var/lib/onebaton/ahead"
#: Digest of the note of the seed that was set aside; another seed begins anew.
ASIDE_FILE = "/var/lib/onebaton/ahead.seed"
#: A script ends with this status where there is no complete seed to set aside.
NOT_SEEDED = 90
#: A script ends with this status where the database may have taken writes of its own.
IS_RELEASED = 89

#: Digest of the note of the seed whose migration was begun and did not end well.
HALF_FILE = "/var/lib/onebaton/half-migrated"
#: A script ends with this status where a migration of the database was begun before.
IS_HALF_MIGRATED = 88

#: Replaces a file; durable when it returns.
_PUT = """
put() {
  mkdir -p "${1%/*}"
  cat > "$1.new"
  sync "$1.new"
  mv -f "$1.new" "$1"
  sync "${1%/*}"
}"""


def quiet(databases: Sequence[str]) -> str:
    """End what an interrupted run left at work on databases that are made anew or dropped."""
    listed = ", ".join(f"'{name}'" for name in databases)
    return f"""pkill -KILL -u oneadmin -f /usr/bin/onedb || true
for id in $(sql -e "SELECT id FROM information_schema.processlist
  WHERE db IN ({listed}) AND id <> CONNECTION_ID()"); do
  sql -e "KILL $id" 2>/dev/null || true
done"""  # noqa: S608 - names are checked by the configuration


def drop_triggers(database: str) -> str:
    """Have a database note nothing any more."""
    return f"""for trigger in $(sql -e "SELECT trigger_name FROM information_schema.triggers
  WHERE trigger_schema = '{database}' AND trigger_name LIKE '{TRIGGERS}%'"); do
  sql -e "DROP TRIGGER \\`{database}\\`.$trigger"
done"""  # noqa: S608 - names are checked by the configuration


def set_aside_script(names: Names) -> str:
    """Move the seeded tables into the warm database, once for each seed.

    The order makes it safe to repeat: while there is no stage, whatever the configured database
    holds is the seed, or what is not moved yet of it; from then on it is the copy.
    """
    database = names.migrated
    return f"""{SQL_FUNCTION}
{ONED_RUNS_FUNCTION}
{_PUT}
oned_runs && exit {ONED_RUNS}
[ "$(cat {STAGE_FILE} 2>/dev/null || true)" != {AheadStage.RELEASED.value} ] || exit {IS_RELEASED}
[ -s {SEED_FILE} ] || exit {NOT_SEEDED}
{quiet([names.warm, names.migrated, names.notes, names.batch])}
seed=$(sha256sum < {SEED_FILE} | cut -d ' ' -f 1)
if [ "$(cat {ASIDE_FILE} 2>/dev/null || true)" != "$seed" ]; then
  rm -f {STAGE_FILE}
  sql -e 'DROP DATABASE IF EXISTS `{names.warm}`; DROP DATABASE IF EXISTS `{names.notes}`;
    DROP DATABASE IF EXISTS `{names.batch}`'
  put {ASIDE_FILE} <<< "$seed"
fi
if [ ! -e {STAGE_FILE} ]; then
  read -r charset collation < <(sql -e "SELECT default_character_set_name, default_collation_name
    FROM information_schema.schemata WHERE schema_name = '{database}'") || exit {NOT_SEEDED}
  sql -e "CREATE DATABASE IF NOT EXISTS \\`{names.warm}\\`
    CHARACTER SET $charset COLLATE $collation"
  {drop_triggers(database)}
  move=$(sql -e "SELECT CONCAT('RENAME TABLE ', GROUP_CONCAT(CONCAT('\\`{database}\\`.\\`',
      table_name, '\\` TO \\`{names.warm}\\`.\\`', table_name, '\\`')))
    FROM information_schema.tables
    WHERE table_schema = '{database}' AND table_type = 'BASE TABLE'")
  [ "$move" = NULL ] || sql -e "$move"
  tables=$(sql -e "SELECT COUNT(*) FROM information_schema.tables
    WHERE table_schema = '{names.warm}' AND table_name IN ('logdb', 'db_versioning')")
  [ "$tables" = 2 ] || exit {NOT_SEEDED}
fi
put {STAGE_FILE} <<< {AheadStage.WARM.value}
"""  # noqa: S608 - names are checked by the configuration


def stage_script() -> str:
    """Print the stage; nothing where there is none."""
    return f"cat {STAGE_FILE} 2>/dev/null || true"


def set_stage_script(stage: AheadStage) -> str:
    """Write the stage; durable when it returns."""
    return f"{_PUT}\nput {STAGE_FILE} <<< {stage.value}"


def upgrade_script(*, database: str, user: str, port: int) -> str:
    """Run ``onedb upgrade`` of the node's own database, once for each seed.

    Migrators put old tables aside and drop what an earlier run put aside: a second run over what
    the first one left would lose rows.
    """
    before = f"""{_PUT}
seed=$(sha256sum {SEED_FILE} 2>/dev/null | cut -d ' ' -f 1)
[ "$(cat {HALF_FILE} 2>/dev/null || echo none)" != "$seed" ] || exit {IS_HALF_MIGRATED}
put {HALF_FILE} <<< $seed"""
    run = onedb_script("upgrade --no-backup -v", copy=database, user=user, port=port, before=before)
    return f'{run}\n[ "$status" != 0 ] || rm -f {HALF_FILE}'


def clear_script(names: Names, *, user: str, and_migrated: bool) -> str:
    """Take away what only the way needs; prints ``cleared`` if there was anything.

    The stage goes last: until then the rest is known to be there.

    :param and_migrated: the migrated copy too.
    """
    gone = [names.warm, names.notes, names.batch]
    # The user's access to its own database is the node's configuration, and stays.
    own = f"{quiet([names.migrated])}\nsql -e 'DROP DATABASE IF EXISTS `{names.migrated}`'"
    found = [*gone, *([names.migrated] if and_migrated else [])]
    listed = ", ".join(f"'{name}'" for name in found)
    refuse = f"oned_runs && exit {ONED_RUNS}" if and_migrated else ""
    return f"""{SQL_FUNCTION}
{ONED_RUNS_FUNCTION}
{refuse}
found=$(sql -e "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name IN ({listed})")
[ "$found" != 0 ] || [ -e {STAGE_FILE} ] || [ -e {ASIDE_FILE} ] || exit 0
{_drop(gone, user)}
{own if and_migrated else ""}
rm -f {ASIDE_FILE} {STAGE_FILE}
sync {STAGE_FILE.rpartition("/")[0]}
echo cleared
"""  # noqa: S608 - names are checked by the configuration


def clear_proof(names: Names, *, user: str) -> str:
    """Shell that takes away what the proof of a rehearsal made; ``sql`` must be there.

    The warm database stays: it is the seed.
    """
    gone = [names.migrated, names.notes, names.batch]
    return f"{drop_triggers(names.warm)}\n{_drop(gone, user)}"


def _drop(databases: Sequence[str], user: str) -> str:
    drops = "\n".join(
        f"sql -e 'DROP DATABASE IF EXISTS `{name}`'\n"
        f'sql -e "REVOKE ALL PRIVILEGES ON \\`{name}\\`.* FROM {user_at(user)}" 2>/dev/null || true'
        for name in databases
    )
    return f"{quiet(databases)}\n{drops}"
