"""The shell that makes a machine known to its neighbours, and tries which places answer it.

Everything runs as root under bash with ``set -euo pipefail`` and may be repeated.
"""

import shlex
from collections.abc import Iterable

#: So many places are tried at the same time.
AT_ONCE = 64


def announce(address: str) -> str:
    """Tell all neighbours, without waiting, which hardware has an address now.

    Addresses are used again by the next machines, and for 15 s and more the others went on
    sending to the hardware that had this one before (measured).

    :param address: the machine's own; where it is not, nothing is told.
    """
    return f"""
read -r _ device _ < <(ip -o -4 address show to {shlex.quote(address)} 2>/dev/null) || device=
if [ -n "$device" ] && command -v arping >/dev/null; then
  arping -q -c 3 -U -I "$device" {shlex.quote(address)} </dev/null >/dev/null 2>&1 &
fi"""


def knock(patience_s: int) -> str:
    """Print the places that answer, of those on standard input, ``address port`` a line.

    A refusal is an answer: its packet came back. What is dropped on the way, or has no way, says
    nothing.

    :param patience_s: seconds that one place is given to answer.
    """
    return f"""
knock() {{
  local said
  if said=$(timeout {patience_s} bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>&1); then
    echo "$1 $2"
  else
    case "$said" in *refused*|*reset*) echo "$1 $2";; esac
  fi
}}
count=0
knocks=
while read -r address port; do
  knock "$address" "$port" </dev/null &
  knocks="$knocks $!"
  count=$((count + 1))
  if [ $((count % {AT_ONCE})) = 0 ]; then wait $knocks; knocks=; fi
done
[ -z "$knocks" ] || wait $knocks"""


def told(places: Iterable[tuple[str, int]]) -> str:
    """Addresses and ports as :func:`knock` reads them."""
    return "".join(f"{address} {port}\n" for address, port in places)


def answered(printed: str) -> list[tuple[str, int]]:
    """Addresses and ports that :func:`knock` printed."""
    found = (line.split() for line in printed.splitlines())
    return [(address, int(port)) for address, port in found]
