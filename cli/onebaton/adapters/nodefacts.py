"""What a node says of itself: one read-only script, one round trip, no Python on the node."""

import base64
import binascii
from collections.abc import Mapping

from onebaton.adapters import onedconf
from onebaton.adapters.aheadscripts import STAGE_FILE
from onebaton.adapters.aheadsql import standby_names
from onebaton.adapters.mariadb import SQL_FUNCTION
from onebaton.adapters.nodeunit import KNOWN_SERVERS, PARKED, UNIT_FUNCTIONS
from onebaton.adapters.raftlog import POSITION_SQL, position_of
from onebaton.errors import StepFailedError
from onebaton.model import Ahead, AheadStage, FrontEndFacts, Schema

#: Unit states in which an ``oned`` may be there.
_ACTIVE = frozenset({"active", "activating", "deactivating", "reloading"})

#: Shell: SHA-256 over names and contents of ``/var/lib/one/.one``, the same on every node that
#: holds the same secrets. Nothing is left out: whatever lies there is copied to new nodes, and
#: a server with another ``one_auth`` topples the leader (facts, "The zone and its API").
DIGEST_FUNCTION = """
secret_digest() (
  cd /var/lib/one/.one 2>/dev/null || exit 0
  LC_ALL=C
  shopt -s globstar dotglob nullglob
  files=()
  for file in **; do
    if [ -f "$file" ] && [ ! -L "$file" ]; then files+=("./$file"); fi
  done
  [ ${#files[@]} -gt 0 ] || exit 0
  digest=$(sha256sum "${files[@]}" | sha256sum)
  echo "${digest%% *}"
)"""


def script(*, vip: str, database: str) -> str:
    """The script; it prints ``key=value`` lines for :func:`parse`.

    It is run at every look at a zone, on each of its machines: a process more is felt there, so
    that bash does what it can, and MariaDB is asked once.
    Of ``oned.conf`` only the sections FEDERATION and RAFT leave the node: DB holds a password.

    :param vip: the zone's virtual address.
    :param database: the database's name.
    """
    warm = standby_names(database).warm
    return f"""{SQL_FUNCTION}
{UNIT_FUNCTIONS}
{DIGEST_FUNCTION}
note() {{
  local text=
  {{ [ ! -e "$2" ] || text=$(< "$2"); }} 2>/dev/null || text=
  echo "$1=${{text//$'\\n'/ }}"
}}
systemctl show -p ActiveState,LoadState,UnitFileState "$unit"
retired && echo retired=yes || echo retired=no
[ -n "$(ip -o address show to {vip}/32)" ] && echo vip=yes || echo vip=no
echo "package=$(dpkg-query -W -f='${{db:Status-Status}} ${{Version}}' opennebula 2>/dev/null || true)"
echo "secrets=$(secret_digest)"
note parked {PARKED}
note known {KNOWN_SERVERS}
echo "config=$(awk 'toupper($0) ~ /^[ \\t]*(FEDERATION|RAFT)[ \\t]*=/ {{on=1}}
  on {{print}} on && /\\]/ {{on=0}}' /etc/one/oned.conf 2>/dev/null | base64 -w 0 || true)"
stores=/var/lib/one/datastores
devices=($(stat -L -c %d "$stores" /var/lib/one 2>/dev/null || true))
if [ "${{devices[0]-}}" = "${{devices[1]-none}}" ] &&
  [ -n "$(find -H "$stores" -xdev -type f -print -quit 2>/dev/null)" ]
then echo stores=local; else echo stores=none; fi
said=$(sql << 'END'
{_sql(database)}
END
)
free=($(stat -f -c '%a %S' "${{said%%$'\\n'*}}"))
echo "free=$(( free[0] * free[1] ))"
echo "${{said#*$'\\n'}}"
if [ -s {STAGE_FILE} ]; then
  note ahead {STAGE_FILE}
  echo "warm=$(sql {warm} -e "{POSITION_SQL}" 2>/dev/null | tr '\\t' ' ' || true)"
fi"""  # noqa: E501 - names are checked by the configuration


def _sql(database: str) -> str:
    """Where the data are, and what the database says if there is one; a line each.

    Both names are checked by the configuration.
    """
    position = POSITION_SQL.replace("FROM logdb", f"FROM {database}.logdb")
    position = position.replace("SELECT", "SELECT 'position=',", 1)
    questions = [
        position,
        *(
            f"SELECT CONCAT('{name}=', version) FROM {database}.{table} ORDER BY oid DESC LIMIT 1"  # noqa: S608
            for name, table in (("shared", "db_versioning"), ("local", "local_db_versioning"))
        ),
    ]
    whole = "', '".join(("logdb", "db_versioning", "local_db_versioning"))
    return "\n".join(
        [
            "SELECT @@datadir;",
            "SELECT COUNT(*) = 3 INTO @whole FROM information_schema.tables "  # noqa: S608
            f"WHERE table_schema = '{database}' AND table_name IN ('{whole}');",
            *(
                "EXECUTE IMMEDIATE IF(@whole, '{}', 'DO 0');".format(one.replace("'", "''"))
                for one in questions
            ),
        ]
    )


def parse(output: str, *, place: str) -> FrontEndFacts:
    """The facts that a node printed.

    :param place: the node's name, for messages.
    :raises StepFailedError: if something is missing.
    """
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    try:
        return _facts(values)
    except (KeyError, ValueError, binascii.Error) as error:
        raise StepFailedError(
            f"what {place} says of itself cannot be understood: {error}",
            resolution=f"Log in to {place} and look for a shell start-up file that prints.",
        ) from None


def _facts(values: Mapping[str, str]) -> FrontEndFacts:
    status, _, version = values["package"].partition(" ")
    config = base64.b64decode(values["config"], validate=True).decode("utf-8", "replace")
    statements = onedconf.parse(config, file="oned.conf")
    federation = onedconf.last(statements, "FEDERATION")
    raft = onedconf.last(statements, "RAFT")
    position = None
    schema = None
    if "position" in values:
        position = position_of(values["position"].split())
        schema = Schema(shared=values["shared"], local=values["local"])
    return FrontEndFacts(
        oned_active=values["ActiveState"] in _ACTIVE,
        oned_masked=values["LoadState"] == "masked" or values["retired"] == "yes",
        oned_enabled=values["UnitFileState"] in ("enabled", "enabled-runtime"),
        holds_vip=values["vip"] == "yes",
        server_id=_number(federation, "SERVER_ID"),
        package_version=version if status == "installed" else None,
        database=position,
        schema=schema,
        secret_digest=values["secrets"] or None,
        known_servers=frozenset(int(word) for word in values["known"].split()),
        disk_free_bytes=int(values["free"]),
        local_datastores=values.get("stores") == "local",
        election_timeout_ms=_number(raft, "ELECTION_TIMEOUT_MS"),
        ahead=_ahead(values),
        parked_at=float(values["parked"]) if values.get("parked") else None,
    )


def _ahead(values: Mapping[str, str]) -> Ahead | None:
    if "ahead" not in values:
        return None
    # While the warm copy is set aside its tables are here and there.
    warm = values.get("warm", "")
    return Ahead(AheadStage(values["ahead"]), position_of(warm.split()) if warm else None)


def _number(statement: onedconf.Statement | None, attribute: str) -> int | None:
    text = statement.attribute(attribute) if statement else None
    return int(text) if text is not None else None
