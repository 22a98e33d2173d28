"""Reads the configuration files of front-end machines: the port ``Configurations`` over ssh.

One read-only script, one round trip, all machines at once. Passwords stay where they are: of
``oned.conf`` the statements that a zone decides about leave the machine without PASSWD, of
everything else only digests.
"""

import base64
import binascii
import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from onebaton.adapters import nodeconfig, onedconf
from onebaton.adapters.examination import STATEMENTS
from onebaton.adapters.ssh import Ssh
from onebaton.config import DatabaseConfig, OnedConfig
from onebaton.drift import Configured
from onebaton.errors import OnebatonError, StepFailedError
from onebaton.model import Host, Secret

TIMEOUT_S = 60.0
#: Never compared: each machine may have its own.
PASSWORD = "DB/PASSWD"  # noqa: S105 - the name of a setting
#: Where a front-end's configuration lies.
FOLDERS = ("/etc/one", "/var/lib/one/remotes")

#: Prints ``kind<TAB>name<TAB>value`` lines for :func:`parse`.
SCRIPT = f"""
conf=/etc/one/oned.conf
statements() {{ awk -v whole="$2" {shlex.quote(STATEMENTS)} "$1" 2>/dev/null || true; }}
# Lines of "name<TAB>text" to a digest of all the texts of each name.
digests() {{
  local -A text=()
  local name line digest
  while IFS=$'\\t' read -r name line; do text[$name]+="$line"$'\\n'; done
  for name in "${{!text[@]}}"; do
    digest=$(printf %s "${{text[$name]}}" | sha256sum)
    printf '%s\\t%s\\t%s\\n' "$1" "$name" "${{digest:0:16}}"
  done
}}
decided() {{
  awk -F '\\t' -v wanted="$1" -v names={shlex.quote(" ".join(onedconf.MANAGED))} '
    BEGIN {{ n = split(names, list, " "); while (n) is[list[n--]] = 1 }}
    ($1 in is) == wanted'
}}
printf 'decided\\t\\t%s\\n' "$(statements "$conf" 1 | decided 1 | cut -f 2- | base64 -w 0)"
statements "$conf" 0 | decided 0 | digests statement
statements "$conf.onebaton-dist" 0 | decided 0 | digests packaged
printf 'network\\t\\t%s\\n' "$(awk 'toupper($0) ~ "^[ \\t]*NETWORK[ \\t]*=" {{on=1}}
  on {{print}} on && /\\]/ {{on=0}}' /etc/one/monitord.conf 2>/dev/null | base64 -w 0)"
for folder in {shlex.join(FOLDERS)}; do
  cd "$folder" 2>/dev/null || continue
  # Of monitord.conf the address is compared by itself.
  find -H . -mindepth 1 -type f ! -path './oned.conf*' ! -path ./monitord.conf ! -name '*.pyc' -print0 |
    sort -z | xargs -0 -r sha256sum | while IFS= read -r line; do
      path=${{line#*  ./}}
      printf '%s\\t%s\\n' "$folder/${{path%%/*}}" "$line"
    done
  if [ -e monitord.conf ]; then
    printf '%s\\t%s\\n' "$folder/monitord.conf" "$(grep -vi MONITOR_ADDRESS monitord.conf | sha256sum)"
  fi
done | digests file
echo end
"""  # noqa: E501


class SshConfigurations:
    """Reads configuration files over ssh (implements the port ``Configurations``)."""

    def __init__(
        self,
        ssh: Ssh,
        *,
        zone: nodeconfig.ZoneSettings,
        database: DatabaseConfig,
        oned: OnedConfig,
        render: nodeconfig.Renderer,
    ) -> None:
        self._ssh = ssh
        self._zone = zone
        self._database = database
        self._oned = oned
        self._render = render

    def read(self, hosts: Sequence[Host]) -> dict[str, Configured | str]:
        """See ``Configurations.read``."""
        if not hosts:
            return {}
        with ThreadPoolExecutor(max_workers=min(len(hosts), 16)) as pool:
            return dict(zip((host.name for host in hosts), pool.map(self._one, hosts), strict=True))

    def settings(self, *, server_id: int) -> Mapping[str, str]:
        """See ``Configurations.settings``."""
        wanted = nodeconfig.Wanted(
            zone=self._zone,
            database=self._database,
            oned=self._oned,
            password=None,
            server_id=server_id,
            election_timeout_ms=self._oned.election_timeout_ms,
            server_ids=(),
        )
        managed = self._render(nodeconfig.TEMPLATE, nodeconfig.variables(wanted, Secret("")))
        found = onedconf.settings(managed, file="the rendered part of oned.conf")
        return {name: value for name, value in found.items() if name != PASSWORD}

    def _one(self, host: Host) -> Configured | str:
        try:
            done = self._ssh.run(
                host, SCRIPT, timeout_s=TIMEOUT_S, what="reading the configuration files"
            )
            return parse(done.stdout, place=host.name)
        except OnebatonError as error:
            return error.message


def parse(output: str, *, place: str) -> Configured:
    """What a machine printed.

    :param place: its name, for messages.
    :raises StepFailedError: if something is missing.
    :raises ConfigSyntaxError: if its ``oned.conf`` is none.
    """
    lines = [line.split("\t", 2) for line in output.splitlines()]
    try:
        decided, network = (_text(lines, kind) for kind in ("decided", "network"))
        if lines[-1] != ["end"]:
            raise ValueError("its end is missing")
    except (IndexError, ValueError, binascii.Error) as error:
        raise StepFailedError(
            f"what {place} says of its configuration cannot be understood: {error}",
            resolution=f"Log in to {place} and look for a shell start-up file that prints.",
        ) from None
    settings = onedconf.settings(decided, file=f"oned.conf of {place}")
    monitor = onedconf.settings(network, file=f"monitord.conf of {place}")
    return Configured(
        settings=tuple(sorted((k, v) for k, v in settings.items() if k != PASSWORD)),
        statements=_digests(lines, "statement"),
        packaged=_digests(lines, "packaged"),
        monitor_address=monitor.get("NETWORK/MONITOR_ADDRESS"),
        files=_digests(lines, "file"),
    )


def _text(lines: Sequence[Sequence[str]], kind: str) -> str:
    coded = next((line[2] for line in lines if len(line) == 3 and line[0] == kind), None)
    if coded is None:
        raise ValueError(f"{kind} is missing")
    return base64.b64decode(coded, validate=True).decode("utf-8", "replace")


def _digests(lines: Sequence[Sequence[str]], kind: str) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((line[1], line[2]) for line in lines if len(line) == 3 and line[0] == kind))
