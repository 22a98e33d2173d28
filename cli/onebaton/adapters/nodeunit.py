"""``opennebula.service`` on a node: the shell that starts it, stops it, and cuts it off.

Everything here runs as root under bash with ``set -euo pipefail`` and may be repeated.
"""

import re
from collections.abc import Collection

from onebaton.adapters.mariadb import ONED_RUNS_FUNCTION
from onebaton.adapters.reaching import announce

UNIT = "opennebula.service"
#: A script ends with this status when ``oned`` or the virtual IP would not go away.
STILL_THERE = 98
#: A script ends with this status when the unit is not installed.
NO_UNIT = 96
#: Ids of the zone's servers when ``oned`` was last started by us, separated by blanks;
#: ``.next`` holds those of the next start.
KNOWN_SERVERS = "/var/lib/onebaton/known-servers"

#: Since when the node's server is parked, in seconds since the epoch.
PARKED = "/var/lib/onebaton/parked"

#: What the zone's leader starts besides ``oned`` (its vip hook) and a follower stops.
_LEADER_SERVICES = (
    "opennebula-flow.service opennebula-gate.service opennebula-hem.service "
    "opennebula-showback.timer"
)

#: What serves on every node that has it enabled, leader or not.
_WEB_NAMES = "opennebula-fireedge.service opennebula-sunstone.service"

#: Shell that starts them without waiting: at the node's boot they found no secrets and did not
#: start, and nobody else starts them.
START_WEB_SERVICES = f"""
for service in {_WEB_NAMES}; do
  if systemctl is-enabled --quiet "$service" 2>/dev/null; then
    systemctl start --no-block "$service"
  fi
done"""

#: Shell functions around the unit.
#:
#: ``mask`` links the unit's name in ``/etc`` to nothing, and so fails where an administrator
#: keeps a unit file of their own in ``/etc``; ``mask --runtime`` has no effect there either,
#: because ``/etc`` comes before ``/run`` (systemd.unit(5)). Such a unit is given a condition that
#: never holds, and no restart; it counts as masked.
UNIT_FUNCTIONS = f"""
unit={UNIT}
own=/etc/systemd/system/$unit
retirement=$own.d/90-onebaton-retired.conf
retired() {{ [ -e "$retirement" ]; }}
state() {{ systemctl show -p ActiveState --value "$unit"; }}
mask_unit() {{
  if [ -e "$own" ] && [ "$(readlink -f "$own")" != /dev/null ]; then
    mkdir -p "${{retirement%/*}}"
    printf '[Unit]\\nConditionPathExists=!/\\n[Service]\\nRestart=no\\n' > "$retirement"
    systemctl disable --quiet "$unit" || true
    systemctl daemon-reload
  else
    systemctl mask --quiet "$unit"
  fi
}}
unmask_unit() {{
  if retired; then
    rm -f "$retirement"
    rmdir --ignore-fail-on-non-empty "${{retirement%/*}}"
    systemctl daemon-reload
  fi
  systemctl unmask --quiet "$unit"
}}"""

#: Shell functions that end ``oned`` and what belongs to it.
END_FUNCTIONS = f"""{ONED_RUNS_FUNCTION}
kill_oned() {{
  systemctl kill -s KILL "$unit" 2>/dev/null || true
  local comm name pid try
  for comm in /proc/[0-9]*/comm; do
    name=
    {{ read -r name < "$comm"; }} 2>/dev/null || true
    [ "$name" = oned ] || continue
    pid=${{comm#/proc/}}
    kill -KILL "${{pid%/comm}}" 2>/dev/null || true
  done
  for try in $(seq 200); do
    oned_runs || break
    # Killed with a hook of its own beside it, it may be gone without systemd knowing (seen with
    # control groups of version 1 in a container, for TimeoutStopSec): reloading, it looks.
    [ "$try" != 3 ] || systemctl daemon-reload
    sleep 0.05
  done
  systemctl reset-failed "$unit" 2>/dev/null || true
}}
drop_vip() {{
  ip -o address show to "$vip/32" | while read -r _ device _ address _; do
    ip address del "$address" dev "${{device%@*}}"
  done
}}
drop_lock() {{ oned_runs || rm -f /var/lock/one/one; }}
stop_leader_services() {{
  local name
  for name in {_LEADER_SERVICES}; do
    if systemctl is-active --quiet "$name"; then systemctl stop --no-block "$name"; fi
  done
}}
require_gone() {{
  if oned_runs; then echo "oned still runs" >&2; exit {STILL_THERE}; fi
  if [ -n "$(ip -o address show to "$vip/32")" ]; then
    echo "the virtual IP $vip is still there" >&2; exit {STILL_THERE}
  fi
}}"""

#: Shell that ends ``oned`` at once; the unit is masked already.
_END_AT_ONCE = """kill_oned
drop_vip
drop_lock
stop_leader_services
require_gone"""


def start_script(address: str) -> str:
    """Unmask, enable and start, without waiting; remember what this start will know.

    A server that its leader does not reach in the first seconds stands for election: whoever
    still sends to another machine that had this address learns of this one first.

    :param address: the machine's own.
    """
    return f"""{UNIT_FUNCTIONS}
{END_FUNCTIONS}
{announce(address)}
[ "$(systemctl show -p LoadState --value "$unit")" != not-found ] || exit {NO_UNIT}
unmask_unit
systemctl enable --quiet "$unit"
if ! oned_runs; then
  systemctl reset-failed "$unit" 2>/dev/null || true
  drop_lock
  [ ! -e {KNOWN_SERVERS}.next ] || mv -f {KNOWN_SERVERS}.next {KNOWN_SERVERS}
fi
systemctl start --no-block "$unit"
{START_WEB_SERVICES}
"""


def forget_script(gone: Collection[int]) -> str:
    """Take ids off the note of the servers that this node's ``oned`` knows."""
    pattern = "|".join(str(number) for number in sorted(gone))
    return f"""[ -e {KNOWN_SERVERS} ] || exit 0
{{ tr -s ' \\n' '\\n' < {KNOWN_SERVERS} | grep -vxE '{pattern}' || true; }} |
  tr '\\n' ' ' > {KNOWN_SERVERS}.new
mv -f {KNOWN_SERVERS}.new {KNOWN_SERVERS}
"""


def park_script(at: float | None) -> str:
    """Note since when the node's server is parked, or take the note away; durable afterwards."""
    folder = PARKED.rpartition("/")[0]
    if at is None:
        return f"rm -f {PARKED}\nsync {folder} 2>/dev/null || true"
    return f"""mkdir -p {folder}
printf '%s\\n' {at:.3f} > {PARKED}.new
sync {PARKED}.new
mv -f {PARKED}.new {PARKED}
sync {folder}
"""


def look_script(port: int) -> str:
    """State of a start, as ``key=value``; ``listening`` counts sockets on the API's port."""
    return f"""
systemctl show -p ActiveState,SubState,Result,Job {UNIT}
echo "listening=$(ss -Hltn 'sport = :{port}' | wc -l)"
"""


def log_script() -> str:
    """The last lines of what ``oned`` said; they may hold secrets."""
    return f"""
journalctl -u {UNIT} -n 15 -o cat --no-pager 2>/dev/null || true
tail -n 40 /var/log/one/oned.log 2>/dev/null || true
"""


def give_up_script() -> str:
    """End a start that failed, so that systemd does not try again unseen."""
    return f"systemctl stop --no-block {UNIT} || true"


def stop_script(*, vip: str, mask: bool, kind_s: float) -> str:
    """Stop kindly for ``kind_s`` seconds, then not; VIP, services and lock go too.

    A candidate without a quorum does not end on SIGTERM (measured note). A mask makes systemd
    forget how the unit wants to be stopped, so it comes after the stop.
    """
    return f"""{UNIT_FUNCTIONS}
{END_FUNCTIONS}
vip={vip}
timeout {kind_s:.0f} systemctl stop "$unit" 2>/dev/null || true
if oned_runs; then kill_oned; fi
{"mask_unit" if mask else ":"}
drop_vip
stop_leader_services
drop_lock
require_gone
"""


def cut_off_script(*, vip: str, port: int, drain_s: float) -> str:
    """Make a leader stop leading, in one go on its machine.

    The mask comes first: it keeps ``Restart=on-failure`` from reviving what is killed, and
    takes time while the zone is still served. Then new connections from other machines are
    reset, so that what is in flight can end; SIGKILL; and off with the address, because the
    follower hook does not run (measured note). The rule looks at TCP flags alone, because
    connection tracking is not everywhere.
    """
    return f"""{UNIT_FUNCTIONS}
{END_FUNCTIONS}
vip={vip}
open_door() {{
  nft delete table inet onebaton_cut 2>/dev/null || true
  while iptables -w 1 -D INPUT $rule 2>/dev/null; do :; done
}}
close_door() {{
  nft -f - 2>/dev/null <<'RULES' || iptables -w 1 -I INPUT $rule 2>/dev/null || true
table inet onebaton_cut {{
  chain input {{
    type filter hook input priority -10; policy accept;
    iifname != "lo" tcp dport {port} tcp flags & (fin|syn|rst|ack) == syn reject with tcp reset
  }}
}}
RULES
}}
rule="! -i lo -p tcp --syn --dport {port} -j REJECT --reject-with tcp-reset"
mask_unit
trap open_door EXIT
open_door
close_door
sleep {drain_s:.3f}
{_END_AT_ONCE}
"""


def freeze_script(*, vip: str, after_s: float) -> str:
    """End a server that does not lead, while its leader is cut off at the same time.

    The mask comes first here too. Then it goes on confirming records, for as long as the leader
    may still acknowledge what is in flight.

    :param after_s: seconds until SIGKILL.
    """
    return f"""{UNIT_FUNCTIONS}
{END_FUNCTIONS}
vip={vip}
mask_unit
sleep {after_s:.3f}
{_END_AT_ONCE}
"""


#: What may stand in ``oned.log`` and in no message: passwords, and statements with data.
_SECRETS = (
    # Up to the next attribute: the password itself may hold commas and brackets.
    (re.compile(r"(PASSW\w*\s*=\s*).*?(?=,\s*[A-Z_]+\s*=|$)", re.IGNORECASE), r"\1***"),
    (re.compile(r"(SQL command was:?).*"), r"\1 ***"),
)


def telling(said: str) -> list[str]:
    """The lines of a log that tell why, without secrets."""
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "[E]" in line or "Error" in line or "Cannot" in line]
    shown = (errors or lines)[-8:]
    for pattern, replacement in _SECRETS:
        shown = [pattern.sub(replacement, line) for line in shown]
    return shown
