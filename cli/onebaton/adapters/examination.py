"""Looks into front-end machines for the doctor: the port ``Examiner`` over ssh.

One read-only script, one round trip, all machines at once. Passwords stay where they are: of
``oned.conf`` only the sections RAFT and hooks leave the machine, and digests of the rest, of
which PASSWD is left out.
"""

import base64
import binascii
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from onebaton.adapters import onedconf
from onebaton.adapters.mariadb import SQL_FUNCTION
from onebaton.adapters.nodeunit import UNIT_FUNCTIONS
from onebaton.adapters.ssh import Ssh
from onebaton.errors import OnebatonError, StepFailedError
from onebaton.examination import Examination, RaftHook
from onebaton.model import Host, Vip
from onebaton.ports import Clock

TIMEOUT_S = 30.0
#: Where a hook's COMMAND that is no absolute path is looked for.
HOOKS = "/var/lib/one/remotes/hooks"
_ROLES = ("leader", "follower")

#: awk: prints each line of ``oned.conf`` behind the name of its statement, without comments,
#: without surplus blanks, and without what may or must differ between machines; with ``whole``
#: set, only the password is taken out, and what is left can be parsed.
STATEMENTS = r"""
/^[ \t\r]*(#|$)/ { next }
{
  sub(/[ \t]#[^"]*$/, "")
  gsub(/[ \t\r]+/, " ")
}
depth <= 0 && match($0, /^ ?[A-Za-z0-9_]+ ?=/) {
  name = toupper(substr($0, RSTART, RLENGTH)); gsub(/[ =]/, "", name)
}
{
  gsub(/[Pp][Aa][Ss][Ss][Ww][Dd] ?= ?("(\\"|[^"])*"|[^ ,\]"]*)/, whole ? "PASSWD = \"\"" : "")
  bare = $0; gsub(/"(\\"|[^"])*"/, "", bare)
  depth += gsub(/\[/, "", bare); depth -= gsub(/\]/, "", bare)
  if (!whole) gsub(/(SERVER_ID|ELECTION_TIMEOUT_MS) ?= ?"?[-0-9]*"?/, "")
  print (name == "" ? "_" : name) "\t" $0
}"""


class SshExaminer:
    """Examines machines over ssh (implements the port ``Examiner``).

    :param database: the database's name.
    :param port: of ``oned``'s API.
    """

    def __init__(self, ssh: Ssh, *, vip: Vip, database: str, port: int, clock: Clock) -> None:
        self._ssh = ssh
        self._script = script(vip=vip, database=database, port=port)
        self._clock = clock

    def examine(self, hosts: Sequence[Host]) -> dict[str, Examination | str]:
        """See ``Examiner.examine``."""
        if not hosts:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(hosts), 16)) as pool:
            return dict(zip((host.name for host in hosts), pool.map(self._one, hosts), strict=True))

    def _one(self, host: Host) -> Examination | str:
        try:
            done = self._ssh.run(
                host, self._script, timeout_s=TIMEOUT_S, what="examining the machine"
            )
            return parse(done.stdout, place=host.name, now=self._clock.now())
        except OnebatonError as error:
            return error.message


def script(*, vip: Vip, database: str, port: int) -> str:
    """The script; it prints ``key=value`` lines for :func:`parse`, the time as its last."""
    address = shlex.join(["ip", "address", "add", vip.cidr, "dev", vip.interface])
    return f"""{SQL_FUNCTION}
{UNIT_FUNCTIONS}
conf=/etc/one/oned.conf
as_oneadmin() {{ runuser -u oneadmin -- "$@" </dev/null >/dev/null 2>&1; }}
has() {{ command -v "$1" >/dev/null; }}
yes_or_no() {{ if "${{@:2}}"; then echo "$1=yes"; else echo "$1=no"; fi; }}
section() {{
  awk -v name="$2" 'toupper($0) ~ "^[ \\t]*" name "[ \\t]*=" {{on=1}}
    on {{print}} on && /\\]/ {{on=0}}' "$1" 2>/dev/null || true
}}
coded() {{ echo "$1=$(base64 -w 0)"; }}
section "$conf" RAFT | coded raft
for role in LEADER FOLLOWER; do
  found=$(section "$conf" "RAFT_${{role}}_HOOK")
  printf %s "$found" | coded "hook_$role"
  command=$(sed -n 's/.*COMMAND[ \\t]*=[ \\t]*"\\{{0,1\\}}\\([^",]*\\).*/\\1/p' <<< "$found" | tail -n 1)
  case "$command" in "") continue;; /*) ;; *) command={HOOKS}/$command;; esac
  yes_or_no "executable_$role" as_oneadmin test -x "$command"
done
section /etc/one/monitord.conf NETWORK | coded network
declare -A text=()
while IFS=$'\\t' read -r name line; do text[$name]+="$line"$'\\n'; done < <(
  awk {shlex.quote(STATEMENTS)} "$conf" 2>/dev/null || true)
for name in "${{!text[@]}}"; do
  digest=$(printf %s "${{text[$name]}}" | sha256sum)
  echo "digest_$name=${{digest:0:16}}"
done
echo "interfaces=$(ls /sys/class/net | tr '\\n' ' ')"
yes_or_no arping has arping
yes_or_no sudo as_oneadmin sudo -n -l
yes_or_no addresses as_oneadmin sudo -n -l {address}
if retired; then echo "left_unit=$retirement keeps the unit from starting"; fi
if [ -e /var/lib/one/.onebaton-new ]; then
  echo "left_secrets=/var/lib/one/.onebaton-new holds secrets that were not put in place"
fi
if nft list table inet onebaton_cut >/dev/null 2>&1 ||
    iptables -w 1 -S INPUT 2>/dev/null | grep -q -- "--dport {port} .*--reject-with tcp-reset"; then
  echo "left_cut=a packet filter rule refuses clients of port {port}"
fi
echo "records=$(sql {database} -e 'SELECT COUNT(*) FROM logdb' 2>/dev/null || true)"
sizes=$(sql -e "SELECT COALESCE(SUM(IF(table_name = 'logdb', data_length + index_length, 0)), 0),
  COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables
  WHERE table_schema = '{database}'" 2>/dev/null || true)
echo "sizes=$sizes"
echo "time=$(date +%s.%N)"
"""  # noqa: S608, E501 - a name that the configuration checked


def parse(output: str, *, place: str, now: float) -> Examination:
    """What a machine printed.

    :param place: its name, for messages.
    :param now: our clock when the answer had come.
    :raises StepFailedError: if something is missing.
    """
    values = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    try:
        return _examination(values, now)
    except (KeyError, ValueError, binascii.Error) as error:
        raise StepFailedError(
            f"what {place} says of itself cannot be understood: {error}",
            resolution=f"Log in to {place} and look for a shell start-up file that prints.",
        ) from None


def _examination(values: Mapping[str, str], now: float) -> Examination:
    raft = _statement(values["raft"], "RAFT")
    network = _statement(values["network"], "NETWORK")
    sizes = [int(word) for word in values["sizes"].split()]
    # Without the table there is no OpenNebula database, whatever the sizes say.
    records = int(values["records"]) if values["records"] else None
    known = records is not None and len(sizes) == 2
    return Examination(
        clock_offset_s=float(values["time"]) - now,
        logdb_records=records,
        logdb_bytes=sizes[0] if known else None,
        database_bytes=sizes[1] if known else None,
        xmlrpc_timeout_ms=_number(raft, "XMLRPC_TIMEOUT_MS"),
        broadcast_timeout_ms=_number(raft, "BROADCAST_TIMEOUT_MS"),
        hooks=tuple(_hook(values, role) for role in _ROLES),
        interfaces=frozenset(values["interfaces"].split()),
        has_arping=values["arping"] == "yes",
        may_sudo=values["sudo"] == "yes",
        may_change_addresses=values["addresses"] == "yes",
        monitor_address=network.attribute("MONITOR_ADDRESS") if network is not None else None,
        config_digests=tuple(
            sorted(
                (key.removeprefix("digest_"), digest)
                for key, digest in values.items()
                if key.startswith("digest_")
            )
        ),
        leftovers=tuple(text for key, text in values.items() if key.startswith("left_")),
    )


def _hook(values: Mapping[str, str], role: str) -> RaftHook:
    name = role.upper()
    found = _statement(values[f"hook_{name}"], f"RAFT_{name}_HOOK")
    command = found.attribute("COMMAND") if found is not None else None
    if found is None or command is None:
        return RaftHook(role, None)
    told = values.get(f"executable_{name}")
    return RaftHook(
        role,
        command,
        tuple((found.attribute("ARGUMENTS") or "").split()),
        None if told is None else told == "yes",
    )


def _statement(coded: str, name: str) -> onedconf.Statement | None:
    text = base64.b64decode(coded, validate=True).decode("utf-8", "replace")
    return onedconf.last(onedconf.parse(text, file=f"the section {name}"), name)


def _number(statement: onedconf.Statement | None, attribute: str) -> int | None:
    text = statement.attribute(attribute) if statement is not None else None
    return int(text) if text is not None else None
