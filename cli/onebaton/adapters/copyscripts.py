"""The shell of a rehearsal, on the node: copy, ``onedb``, fence, ``oned`` on the copy.

Everything runs as root under bash with ``set -euo pipefail`` and may be repeated. No secret
stands in a script: the database's password is read on the node from where its configuration
put it, and goes to ``onedb`` in the environment (``ONE_DB_PASSWORD``, source: ``onedb.rb``).
"""

from collections.abc import Sequence

from onebaton.adapters.mariadb import ONED_RUNS, ONED_RUNS_FUNCTION, SQL_FUNCTION
from onebaton.adapters.nodeunit import UNIT, UNIT_FUNCTIONS, stop_script

#: Says that a rehearsal has begun on this node, before anything of it is there.
MARKER = "/var/lib/onebaton/rehearsal"
#: ``oned.conf`` as it was before it named the copy.
SAVED_CONF = "/etc/one/oned.conf.onebaton-rehearsal"
#: A script ends with this status when the fence lets something out.
LEAKS = 93
#: A script ends with this status when ``oned`` ended instead of answering.
ENDED = 92
#: A script ends with this status when ``oned`` did not answer in time.
TOO_SLOW = 91
#: Where migrators of the packages are (source: ``onedb.rb``).
MIGRATORS = "/usr/lib/one/ruby/onedb"

_FENCE = "onebaton_rehearsal"
_PASSWORD = "/var/lib/onebaton/db-password"  # noqa: S105 - a path


def user_at(user: str) -> str:
    """The database's user, as a statement names it; the name is checked by the configuration."""
    return f"'{user}'@'localhost'"


def clear_script(*, copy: str, user: str, vip: str, also: str = "") -> str:
    """Take away all that a rehearsal left; prints ``cleared`` if there was anything.

    :param also: shell that takes away more; it may call ``sql``.
    """
    return f"""[ -e {MARKER} ] || exit 0
{stop_script(vip=vip, mask=True, kind_s=15)}
pkill -KILL -u oneadmin -f /usr/bin/onedb || true
nft delete table inet {_FENCE} 2>/dev/null || true
[ ! -e {SAVED_CONF} ] || mv -f {SAVED_CONF} /etc/one/oned.conf
{SQL_FUNCTION}
for id in $(sql -e "SELECT id FROM information_schema.processlist WHERE db = '{copy}'"); do
  sql -e "KILL $id" 2>/dev/null || true
done
sql -e 'DROP DATABASE IF EXISTS `{copy}`'
sql -e "REVOKE ALL PRIVILEGES ON \\`{copy}\\`.* FROM {user_at(user)}" 2>/dev/null || true
{also}
rm -f {MARKER}
echo cleared
"""  # noqa: S608 - names are checked by the configuration


def size_script(database: str) -> str:
    """Print the size of a database as the server's statistics and as its files have it, in bytes.

    The statistics are behind after a bulk load (seen: 1.3 MiB said of 12); tables need not have
    files of their own.
    """
    return f"""{SQL_FUNCTION}
sql -e "SELECT COALESCE(SUM(data_length + index_length), 0) FROM information_schema.tables
  WHERE table_schema = '{database}'"
data=$(sql -e 'SELECT @@datadir')
[ ! -d "$data/{database}" ] || du -s -B 1 "$data/{database}" | cut -f 1
"""  # noqa: S608 - names are checked by the configuration


def copy_script(*, warm: str, copy: str, user: str) -> str:
    """Make the copy anew, from one snapshot, and let the database's user in."""
    return f"{begin_script(copy)}\n{duplicate_script(source=warm, copy=copy, user=user)}"


def begin_script(copy: str) -> str:
    """Note that a rehearsal is at work on this node, where no ``oned`` may run."""
    return f"""{ONED_RUNS_FUNCTION}
oned_runs && exit {ONED_RUNS}
mkdir -p {MARKER.rpartition("/")[0]}
echo {copy} > {MARKER}"""


def duplicate_script(*, source: str, copy: str, user: str) -> str:
    """Make one database anew as a copy of another on the same node, and let the user in.

    Triggers stay behind: they note changes of the source.
    """
    return f"""{SQL_FUNCTION}
read -r charset collation < <(sql -e "SELECT default_character_set_name, default_collation_name
  FROM information_schema.schemata WHERE schema_name = '{source}'")
sql -e "DROP DATABASE IF EXISTS \\`{copy}\\`;
  CREATE DATABASE \\`{copy}\\` CHARACTER SET $charset COLLATE $collation;
  GRANT ALL PRIVILEGES ON \\`{copy}\\`.* TO {user_at(user)}"
dump=mariadb-dump; command -v "$dump" >/dev/null || dump=mysqldump
HOME=/root "$dump" --single-transaction --quick --hex-blob --no-tablespaces --skip-triggers \\
  --max-allowed-packet=1G --default-character-set=utf8mb4 {source} | sql {copy}
"""  # noqa: S608 - names are checked by the configuration


def oracle_script() -> str:
    """Ask the installed ``onedb`` about the database that ``oned.conf`` names.

    Prints migrators as ``file=…``, then ``status=…`` and what it said as ``said=…``.
    """
    return f"""
(cd {MIGRATORS} 2>/dev/null && ls -1 shared/*_to_*.rb* local/*_to_*.rb* 2>/dev/null || true) |
  sed 's/^/file=/'
cd /var/lib/one
status=0
said=$(runuser -u oneadmin -- env HOME=/var/lib/one onedb version </dev/null 2>&1) || status=$?
echo "status=$status"
sed 's/^/said=/' <<< "$said"
"""


def onedb_script(words: str, *, copy: str, user: str, port: int, before: str = "") -> str:
    """Run ``onedb`` on the copy to its end; prints ``status=``, ``ms=``, ``peak_kib=``, then all.

    It refuses while an API answers at ONE_XMLRPC, which on a node may name the virtual IP
    (measured note), so it is pointed at the node itself. VmHWM of a process is its peak already;
    it has only to be read now and then before it ends.

    :param words: the command with its options.
    :param port: of the node's own API.
    :param before: shell that runs right before it.
    """
    return f"""{ONED_RUNS_FUNCTION}
oned_runs && exit {ONED_RUNS}
rm -f /var/lock/one/one
{before}
{_onedb(words, copy=copy, user=user, endpoint=f"http://localhost:{port}/RPC2", watch=_WATCH)}"""


def onedb_beside_script(words: str, *, copy: str, user: str) -> str:
    """The same where an ``oned`` may run on another database of the node.

    It is not asked (nobody listens at the endpoint), and its lock file is away; one that
    nobody holds is left over. The peak is not watched: it would cost time where there is none.
    """
    run = _onedb(words, copy=copy, user=user, endpoint=_NOBODY, watch="")
    return f"pgrep -x oned >/dev/null || rm -f /var/lock/one/one\n{run}"


def _onedb(words: str, *, copy: str, user: str, endpoint: str, watch: str) -> str:
    return f"""cd /var/lib/one
ONE_DB_PASSWORD=$(cat {_PASSWORD})
export ONE_DB_PASSWORD ONE_XMLRPC={endpoint}
out=$(mktemp)
trap 'rm -f "$out" "$out.peak"' EXIT
begin=$(date +%s%N)
set -m
runuser -u oneadmin -- env HOME=/var/lib/one onedb {words} -S localhost -u {user} -d {copy} \\
  </dev/null >"$out" 2>&1 &
job=$!
set +m
{watch}
status=0
wait "$job" || status=$?
end=$(date +%s%N)
unset ONE_DB_PASSWORD
wait
echo "status=$status"
echo "ms=$(( (end - begin) / 1000000 ))"
echo "peak_kib=$(tail -n 1 "$out.peak" 2>/dev/null || true)"
cat "$out"
"""


#: Nothing listens on port 1.
_NOBODY = "http://127.0.0.1:1/RPC2"
_WATCH = """peak=0
look() {
  local pid key value
  for pid in $(pgrep -g "$job"); do
    while read -r key value _; do
      [ "$key" != VmHWM: ] || [ "$value" -le "$peak" ] || peak=$value
    done < "/proc/$pid/status"
  done
}
(while kill -0 "$job"; do look; echo "$peak"; sleep 0.05; done) > "$out.peak" 2>/dev/null &"""


#: Prints ``oned.conf`` as base64.
READ_CONF = "base64 -w 0 /etc/one/oned.conf"


def fence_script(*, outside: Sequence[str], port: int, ssh_port: int, table: str = _FENCE) -> str:
    """Nothing but ssh's answers leaves the node any more; seen by trying.

    Whatever its user: drivers reach hypervisors over ssh, helpers run as root. The rules look
    at ports alone, because connection tracking is not everywhere. What a machine needs to keep
    its address (DHCP, neighbour discovery) goes through: a fence may stand for days.

    Repeated, it stands all the time. Prints the addresses that were reached through it.

    :param outside: addresses with an API at ``port`` that were reachable before.
    :param table: of nftables, the fence's own.
    """
    return f"""
nft -f - <<'RULES'
table inet {table}
delete table inet {table}
table inet {table} {{
  chain out {{
    type filter hook output priority -10; policy accept;
    oifname "lo" accept
    tcp sport {ssh_port} accept
    udp sport 68 udp dport 67 accept
    udp sport 546 udp dport 547 accept
    icmpv6 type {{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert }} accept
    drop
  }}
  chain in {{
    type filter hook input priority -10; policy accept;
    iifname "lo" accept
    tcp dport {ssh_port} accept
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
    icmpv6 type {{ nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert }} accept
    drop
  }}
}}
RULES
reached=$(
  for address in {" ".join(outside)}; do
    (! timeout 1 bash -c "exec 3<>/dev/tcp/$address/{port}" 2>/dev/null || echo "$address") &
  done
  wait
)
if [ -n "$reached" ]; then echo "$reached"; exit {LEAKS}; fi
"""


def start_script(*, port: int, timeout_s: float) -> str:
    """Put the ``oned.conf`` from standard input in place and start; prints ``ms=…``.

    The unit is not enabled: after a restart of the node, where the fence is gone, it stays off.
    """
    return f"""{UNIT_FUNCTIONS}
read -r conf
[ -e {SAVED_CONF} ] || cp -p /etc/one/oned.conf {SAVED_CONF}
umask 077
base64 -d <<< "$conf" > /etc/one/oned.conf.new
chown root:oneadmin /etc/one/oned.conf.new
chmod 0640 /etc/one/oned.conf.new
mv -f /etc/one/oned.conf.new /etc/one/oned.conf
{starting_script(port=port, timeout_s=timeout_s)}"""


def starting_script(*, port: int, timeout_s: float) -> str:
    """Start the unit, not enabled, and wait until its API listens; prints ``ms=…``.

    Needs :data:`~onebaton.adapters.nodeunit.UNIT_FUNCTIONS` before it.
    """
    return f"""unmask_unit
systemctl disable --quiet {UNIT}
systemctl reset-failed {UNIT} 2>/dev/null || true
begin=$(date +%s%N)
systemctl start --no-block {UNIT}
while [ "$(ss -Hltn 'sport = :{port}' | wc -l)" = 0 ]; do
  now=$(date +%s%N)
  case "$(systemctl show -p ActiveState -p SubState -p Job --value {UNIT} | tr '\\n' ' ')" in
    failed*|*auto-restart*) exit {ENDED};;
    *inactive*)
      [ $(( (now - begin) / 1000000 )) -lt 2000 ] || exit {ENDED};;
  esac
  [ $(( (now - begin) / 1000000 )) -lt {timeout_s * 1000:.0f} ] || exit {TOO_SLOW}
  sleep 0.05
done
echo "ms=$(( ($(date +%s%N) - begin) / 1000000 ))"
"""


def ask_script(port: int) -> str:
    """Send standard input to the node's own API, and print what comes back."""
    return f"exec 3<>/dev/tcp/127.0.0.1/{port}; cat >&3; cat <&3"


#: Prints a SHA-256 and a path for each file of the node's secrets.
DIGESTS = """
cd /var/lib/one/.one 2>/dev/null || exit 0
find . -type f -printf '%P\\0' | sort -z | xargs -0 -r sha256sum"""
