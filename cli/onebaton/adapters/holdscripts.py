"""The shell that holds ``oned`` on a node, and lets it go again.

Everything runs as root under bash with ``set -euo pipefail`` and may be repeated. While held,
each of these alone keeps it harmless: its server list (in the database), the fence, hooks that
cannot run, a unit that is neither enabled nor started again nor startable without the fence.
"""

import shlex
from collections.abc import Sequence

from onebaton.adapters import aheadscripts, copyscripts
from onebaton.adapters.nodeunit import (
    END_FUNCTIONS,
    KNOWN_SERVERS,
    START_WEB_SERVICES,
    STILL_THERE,
    UNIT,
    UNIT_FUNCTIONS,
)
from onebaton.model import AheadStage

#: Says what is held here: written before anything of it is there.
MARKER = "/var/lib/onebaton/held"
#: systemd's id of the one run of ``oned`` that is held, written once it answers.
INSTANCE = "/var/lib/onebaton/held-instance"
#: Hooks that were disarmed, each with the mode it had.
HOOKS = "/var/lib/onebaton/held-hooks"
#: Table of nftables.
FENCE = "onebaton_held"
#: Held, ``oned`` is started by nobody but us: neither again after its end, nor by hand, nor
#: after a restart of the node, where the fence is gone.
DROP_IN = f"/etc/systemd/system/{UNIT}.d/91-onebaton-held.conf"
LOCK = "/var/lock/one/one"
#: Where the lock is put aside: ``onedb`` refuses while it is in its place (source: ``onedb.rb``).
LOCK_ASIDE = f"{LOCK}.onebaton-held"

#: A script ends with this status when a hook could still be run.
ARMED = 90
#: A script ends with this status when the ``oned`` there is not the one that is held.
ANOTHER = 89
#: A script ends with this status when no ``oned`` runs.
NOT_RUNNING = 88
#: A script ends with this status when one is held still.
HELD = 87

_FUNCTIONS = f"""{UNIT_FUNCTIONS}
{END_FUNCTIONS}
instance() {{ systemctl show -p InvocationID --value "$unit"; }}
runs() {{ [ "$(state)" = active ]; }}
arm_hooks() {{
  local mode path
  [ -e {HOOKS} ] || return 0
  while read -r mode path; do
    [ ! -e "$path" ] || chmod "$mode" "$path"
  done < {HOOKS}
}}
free_unit() {{
  rm -f {DROP_IN}
  rmdir --ignore-fail-on-non-empty "{DROP_IN.rpartition("/")[0]}" 2>/dev/null || true
}}
lower_fence() {{ nft delete table inet {FENCE} 2>/dev/null || true; }}"""


def look_script(*, vip: str, port: int) -> str:
    """What is held here, as ``key=value`` lines; changes nothing.

    Of ``oned.conf`` only FEDERATION, RAFT and Raft's hooks leave the node: DB holds a password.
    """
    return f"""{_FUNCTIONS}
systemctl show -p ActiveState,UnitFileState "$unit"
echo "instance=$(instance)"
echo "held=$(cat {MARKER} 2>/dev/null || true)"
echo "held_instance=$(cat {INSTANCE} 2>/dev/null || true)"
echo "listening=$(ss -Hltn 'sport = :{port}' | wc -l)"
nft list table inet {FENCE} >/dev/null 2>&1 && echo fence=yes || echo fence=no
[ -e {DROP_IN} ] && echo bound=yes || echo bound=no
[ -e {LOCK} ] && echo lock=yes || echo lock=no
[ -n "$(ip -o address show to {vip}/32)" ] && echo vip=yes || echo vip=no
armed=no
while read -r _ path; do
  [ ! -e "$path" ] || [ -z "$(find -L "$path" -perm /111)" ] || armed=yes
done < <(cat {HOOKS} 2>/dev/null || true)
echo "armed=$armed"
echo "config=$(awk 'toupper($0) ~ /^[ \\t]*(FEDERATION|RAFT|RAFT_LEADER_HOOK|RAFT_FOLLOWER_HOOK)[ \\t]*=/ {{on=1}}
  on {{print}} on && /\\]/ {{on=0}}' /etc/one/oned.conf 2>/dev/null | base64 -w 0 || true)"
"""  # noqa: E501 - shell


def prepare_script(*, token: str, hooks: Sequence[str], vip: str) -> str:
    """End what runs, and make the unit and the hooks harmless before the next start.

    A candidate does not end on SIGTERM (measured note), and one that is held has nothing to
    lose: SIGKILL.

    :param token: says what is held; one word.
    :param hooks: commands of Raft's hooks, as paths.
    """
    listed = " ".join(shlex.quote(path) for path in hooks)
    return f"""{_FUNCTIONS}
vip={vip}
mkdir -p {MARKER.rpartition("/")[0]}
rm -f {INSTANCE}
echo {token} > {MARKER}.new
mv -f {MARKER}.new {MARKER}
nft=$(command -v nft)
mkdir -p {DROP_IN.rpartition("/")[0]}
printf '[Service]\\nRestart=no\\nExecStartPre=+%s list table inet {FENCE}\\n' "$nft" > {DROP_IN}
unmask_unit
systemctl disable --quiet "$unit"
systemctl daemon-reload
if oned_runs; then kill_oned; fi
drop_vip
stop_leader_services
drop_lock
rm -f {LOCK_ASIDE}
require_gone
arm_hooks
for path in {listed}; do
  [ ! -e "$path" ] || stat -L -c '%a %n' "$path"
done > {HOOKS}.new
mv -f {HOOKS}.new {HOOKS}
for path in {listed}; do
  [ -e "$path" ] || continue
  chmod a-x "$path"
  if [ -n "$(find -L "$path" -perm /111)" ]; then echo "$path" >&2; exit {ARMED}; fi
done
sync -f {MARKER}
"""


def start_script(*, vip: str, port: int, timeout_s: float) -> str:
    """Start ``oned`` and put its lock aside; it is ended if it does not answer in time."""
    return f"""{_FUNCTIONS}
vip={vip}
leave() {{
  local status=$?
  [ "$status" = 0 ] || kill_oned
}}
trap leave EXIT
{copyscripts.starting_script(port=port, timeout_s=timeout_s)}
if [ -n "$(ip -o address show to "$vip/32")" ]; then
  echo "the virtual IP $vip is there" >&2; exit {STILL_THERE}
fi
[ ! -e {LOCK} ] || mv -f {LOCK} {LOCK_ASIDE}
instance > {INSTANCE}.new
mv -f {INSTANCE}.new {INSTANCE}
"""


def loosen_script(server_id: int) -> str:
    """Everything as it belongs to a serving node, but list and lock; ``oned`` goes on running.

    The lock stays aside: ``onedb`` may be at work on the last batch at this moment. The unit is
    read anew by systemd once for all changes, because it takes its time.
    """
    return f"""{_FUNCTIONS}
{_loosen(server_id)}"""


def release_script(server_id: int) -> str:
    """The same unless it was done, and the lock; then the stage.

    Who finds that stage finds a list that may be real.
    """
    return f"""{_FUNCTIONS}
if [ -e {DROP_IN} ] || nft list table inet {FENCE} >/dev/null 2>&1; then
{_loosen(server_id)}
fi
runs || exit {NOT_RUNNING}
if [ -e {LOCK_ASIDE} ]; then mv -f {LOCK_ASIDE} {LOCK}; fi
{aheadscripts.set_stage_script(AheadStage.RELEASED)}
"""


def _loosen(server_id: int) -> str:
    return f"""runs || exit {NOT_RUNNING}
# Without the drop-in it was let go before, and systemd may have started it again since.
if [ -e {DROP_IN} ] && [ "$(instance)" != "$(cat {INSTANCE} 2>/dev/null || true)" ]; then
  exit {ANOTHER}
fi
echo {server_id} > {KNOWN_SERVERS}.new
mv -f {KNOWN_SERVERS}.new {KNOWN_SERVERS}
rm -f {KNOWN_SERVERS}.next
free_unit
systemctl enable --quiet --no-reload "$unit"
systemctl daemon-reload
arm_hooks
lower_fence
"""


def web_script() -> str:
    """Start what serves beside ``oned`` on every node that has it enabled, without waiting."""
    return START_WEB_SERVICES


def settle_script() -> str:
    """Forget what was held and let go; nothing is taken away from beneath one that is not."""
    return f"""{_FUNCTIONS}
if [ -e {DROP_IN} ] || nft list table inet {FENCE} >/dev/null 2>&1; then exit {HELD}; fi
arm_hooks
rm -f {MARKER} {INSTANCE} {HOOKS} {LOCK_ASIDE}
"""


def end_script(*, vip: str) -> str:
    """Stop and mask ``oned``; prints ``something`` if there was anything of ours, or ``oned``.

    The fence stays until everything else is gone.
    """
    return f"""{_FUNCTIONS}
vip={vip}
if [ -e {MARKER} ] || [ -e {DROP_IN} ] || [ -e {HOOKS} ] || oned_runs ||
  nft list table inet {FENCE} >/dev/null 2>&1
then echo something; fi
mask_unit
kill_oned
drop_vip
stop_leader_services
drop_lock
rm -f {LOCK_ASIDE}
require_gone
"""


def forget_script() -> str:
    """Take the rest away once ``oned`` and its database are gone."""
    return f"""{_FUNCTIONS}
arm_hooks
free_unit
systemctl daemon-reload
lower_fence
rm -f {MARKER} {INSTANCE} {HOOKS}
"""
