"""A node's ``oned.conf`` and ``monitord.conf``, and the database access they name.

The packaged ``oned.conf`` is kept beside the file at the first time and is what every later
configuration begins with, so that nothing of an earlier one stays.
"""

import base64
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onebaton.adapters import onedconf
from onebaton.adapters.mariadb import NodeDatabase, literal
from onebaton.adapters.ssh import Ssh
from onebaton.config import AwsPlatform, DatabaseConfig, OnedConfig
from onebaton.config.platform import AnyPlatform
from onebaton.model import Host, Secret, Vip

TIMEOUT_S = 30.0
#: The managed part of ``oned.conf``, below ``templates/``.
TEMPLATE = "oned.conf.j2"

#: Renders a template with variables (``Templates.render``).
Renderer = Callable[[str, Mapping[str, object]], str]


@dataclass(frozen=True, slots=True)
class AddressHook:
    """What Raft runs when a server becomes leader or follower.

    :param command: a path, absolute or below ``/var/lib/one/remotes/hooks``.
    :param options: words after role, interface and address.
    """

    command: str = "raft/vip.sh"
    options: tuple[str, ...] = ()


#: The vendor's own: the address goes to the leader's interface, which is enough where machines
#: of one network tell each other.
VENDORS_HOOK = AddressHook()
#: Of images for AWS (``packer/platforms/aws``): it runs the vendor's, and asks EC2 besides.
AWS_COMMAND = "/usr/local/lib/onebaton/leader-address"


@dataclass(frozen=True, slots=True)
class ZoneSettings:
    """What front-ends need to know of their zone.

    :param port: of the XML-RPC API.
    """

    zone_id: int
    vip: Vip
    port: int
    hook: AddressHook = VENDORS_HOOK


@dataclass(frozen=True, slots=True)
class Wanted:
    """A node's configuration.

    :param password: of the database's user; without one the node's own is made and kept.
    :param server_ids: the zone's servers as the next start will learn them.
    """

    zone: ZoneSettings
    database: DatabaseConfig
    oned: OnedConfig
    password: Secret | None
    server_id: int
    election_timeout_ms: int
    server_ids: tuple[int, ...]


def hook_of(platform: AnyPlatform) -> AddressHook:
    """How the zone's address comes to the leader on a platform."""
    if not isinstance(platform, AwsPlatform):
        return VENDORS_HOOK
    options: list[str] = []
    if platform.address.allocation_id is not None:
        options += ["--elastic-ip", platform.address.allocation_id]
    if platform.endpoint_url is not None:
        options += ["--endpoint", platform.endpoint_url]
    return AddressHook(AWS_COMMAND, tuple(options))


def configure(
    ssh: Ssh, host: Host, database: NodeDatabase, wanted: Wanted, render: Renderer
) -> None:
    """Write both files, and let the database's user in with the password they name.

    :raises ConfigSyntaxError: if a packaged file cannot be read.
    """
    found = ssh.run(host, _READ, timeout_s=TIMEOUT_S, what="reading oned.conf").stdout
    packaged, monitord, known_password = (_decoded(line) for line in found.splitlines()[:3])
    password = wanted.password or Secret(known_password or secrets.token_hex(20))
    managed = render(TEMPLATE, variables(wanted, password))
    vip = wanted.zone.vip.address
    contents = [
        onedconf.merge(packaged, managed),
        onedconf.set_attribute(monitord, "NETWORK", "MONITOR_ADDRESS", vip, file="monitord.conf"),
        password.reveal(),
        " ".join(str(number) for number in sorted(wanted.server_ids)),
    ]
    _give_access(database, wanted.database, password)
    lines = [base64.b64encode(text.encode("utf-8", "surrogateescape")) for text in contents]
    ssh.run(
        host,
        _WRITE,
        stdin=b"".join(line + b"\n" for line in lines),
        timeout_s=TIMEOUT_S,
        what="writing oned.conf",
    )


def variables(wanted: Wanted, password: Secret) -> dict[str, object]:
    """What the template is given; texts are quoted already, as the grammar wants it."""
    quote = onedconf.quote
    vip, hook = wanted.zone.vip, wanted.zone.hook
    return {
        "zone_id": wanted.zone.zone_id,
        "server_id": wanted.server_id,
        "port": wanted.zone.port,
        "db_user": quote(wanted.database.user),
        "db_password": quote(password.reveal()),
        "db_name": quote(wanted.database.name),
        "election_timeout_ms": wanted.election_timeout_ms,
        "broadcast_timeout_ms": wanted.oned.broadcast_timeout_ms,
        "xmlrpc_timeout_ms": wanted.oned.xmlrpc_timeout_ms,
        "log_retention": wanted.oned.log_retention,
        "limit_purge": wanted.oned.limit_purge,
        "hook_command": quote(hook.command),
        "leader_arguments": quote(" ".join(("leader", vip.interface, vip.cidr, *hook.options))),
        "follower_arguments": quote(" ".join(("follower", vip.interface, vip.cidr, *hook.options))),
    }


def _give_access(database: NodeDatabase, config: DatabaseConfig, password: Secret) -> None:
    """Let the database's user in, with this password and from this machine only."""
    user = f"{literal(config.user)}@'localhost'"
    word = literal(password.reveal())
    database.administer(
        f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY {word};\n"
        f"ALTER USER {user} IDENTIFIED BY {word};\n"
        f"GRANT ALL PRIVILEGES ON `{config.name}`.* TO {user};\n",
        what="giving oned access to the database",
        timeout_s=TIMEOUT_S,
    )


def _decoded(line: str) -> str:
    return base64.b64decode(line).decode("utf-8", "surrogateescape")


#: Prints oned.conf as packaged, monitord.conf, and the password of the node's own making, a
#: line of base64 each.
_READ = """
cd /etc/one
if [ ! -e oned.conf.onebaton-dist ]; then
  cp -p oned.conf oned.conf.onebaton-dist.new
  mv -f oned.conf.onebaton-dist.new oned.conf.onebaton-dist
fi
base64 -w 0 oned.conf.onebaton-dist; echo
base64 -w 0 monitord.conf; echo
base64 -w 0 /var/lib/onebaton/db-password 2>/dev/null || true; echo"""

#: Reads the same three and the ids of the zone's servers, and puts each in place at once.
_WRITE = """
umask 077
mkdir -p /var/lib/onebaton
put() {
  base64 -d > "$1.new"
  chown "$2" "$1.new"
  chmod "$3" "$1.new"
  mv -f "$1.new" "$1"
}
read -r oned; read -r monitord; read -r password; read -r known
put /var/lib/onebaton/db-password root:root 0600 <<< "$password"
put /etc/one/monitord.conf root:oneadmin 0640 <<< "$monitord"
put /var/lib/onebaton/known-servers.next root:root 0644 <<< "$known"
put /etc/one/oned.conf root:oneadmin 0640 <<< "$oned" """
