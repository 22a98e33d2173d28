"""What goes wrong with machines, networks and people, done to a real zone.

Each fault is a block: it is there inside of it and healed where the block is left. What is done
to a machine is done over ssh from outside of the zone's own network paths, so that a machine
that is cut off from its zone can still be healed.
"""

import contextlib
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.e2e.lab import LEADER, Lab
from tests.e2e.running import wait_until

API_PORT = 2633
HOOK = "/var/lib/one/remotes/hooks/raft/vip.sh"
#: The stand-in's migrator.
MIGRATOR = "/usr/lib/one/onecli/migration.py"
#: Ours in the nodes' packet filters; nobody else's rules are touched.
TABLE = "inet fault"
UNIT = "opennebula.service"
#: What MariaDB makes at its start (temporary tables, 12 MiB), with something to spare.
START_KIB = 32 << 10


# The network


@contextlib.contextmanager
def partition(
    lab: Lab, address: str, *others: str, hears: bool = False, speaks: bool = False
) -> Iterator[None]:
    """Cut a node off from others; clients still reach it.

    :param hears: packets of the others still reach it.
    :param speaks: its packets still reach the others.
    """
    cut_off(lab, address, *others, hears=hears, speaks=speaks)
    try:
        yield
    finally:
        lab.ssh(address, f"nft delete table {TABLE}")


def cut_off(
    lab: Lab, address: str, *others: str, hears: bool = False, speaks: bool = False
) -> None:
    """The same for as long as the machine lives."""
    peers = ", ".join(others)
    rules = [f"add table {TABLE}"]
    if not hears:
        rules += [
            f"add chain {TABLE} input {{ type filter hook input priority -200; }}",
            f"add rule {TABLE} input ip saddr {{ {peers} }} drop",
        ]
    if not speaks:
        rules += [
            f"add chain {TABLE} output {{ type filter hook output priority -200; }}",
            f"add rule {TABLE} output ip daddr {{ {peers} }} drop",
        ]
    _filter(lab, address, rules)


@contextlib.contextmanager
def black_hole(lab: Lab, address: str) -> Iterator[None]:
    """A node that swallows what is sent between servers: no answer, no refusal, no word."""
    rules = [f"add table {TABLE}"]
    for chain, interface in (("input", "iifname"), ("output", "oifname")):
        rules += [
            f"add chain {TABLE} {chain} {{ type filter hook {chain} priority -200; }}",
            f'add rule {TABLE} {chain} {interface} != "lo" tcp dport {API_PORT} drop',
        ]
    _filter(lab, address, rules)
    try:
        yield
    finally:
        lab.ssh(address, f"nft delete table {TABLE}")


@contextlib.contextmanager
def api_closed(lab: Lab, address: str, other: str) -> Iterator[None]:
    """A firewall that lets everything through but another server's words to ``oned``."""
    rules = [
        f"add table {TABLE}",
        f"add chain {TABLE} input {{ type filter hook input priority -200; }}",
        f"add rule {TABLE} input ip saddr {other} tcp dport {API_PORT} drop",
    ]
    _filter(lab, address, rules)
    try:
        yield
    finally:
        lab.ssh(address, f"nft delete table {TABLE}")


@contextlib.contextmanager
def ssh_black_holed(lab: Lab, address: str) -> Iterator[None]:
    """A node that nobody can look into or do anything to; its server goes on as before."""
    node = container_at(lab, address)
    _podman(
        "exec", node, "nft",
        f"add table {TABLE}; "
        f"add chain {TABLE} input {{ type filter hook input priority -200; }}; "
        f"add rule {TABLE} input tcp dport 22 drop",
    )  # fmt: skip
    try:
        yield
    finally:
        _podman("exec", node, "nft", f"delete table {TABLE}")


def _filter(lab: Lab, address: str, rules: list[str]) -> None:
    lab.ssh(address, "nft -f - <<'RULES'\n" + "\n".join(rules) + "\nRULES")


@contextlib.contextmanager
def vip_added(lab: Lab, address: str) -> Iterator[None]:
    """A second holder of the virtual IP, as after a hook that did not let go."""
    lab.ssh(address, f"ip address add {lab.net}.100/24 dev eth0")
    try:
        yield
    finally:
        lab.ssh(address, f"ip address del {lab.net}.100/24 dev eth0")


# Servers


def kill_server(lab: Lab, address: str) -> None:
    """``oned`` dies; its unit brings it back a few seconds later, as a follower."""
    lab.ssh(address, f"systemctl kill --signal=KILL {UNIT}")


@contextlib.contextmanager
def hook_broken(lab: Lab, address: str) -> Iterator[None]:
    """The hook for the virtual IP cannot be run on a node."""
    lab.ssh(address, f"chmod 0644 {HOOK}")
    try:
        yield
    finally:
        lab.ssh(address, f"chmod 0755 {HOOK}")


def revive(lab: Lab, address: str) -> None:
    """Somebody starts a server by hand that was taken out of its zone."""
    lab.ssh(address, f"systemctl unmask {UNIT} && systemctl start {UNIT}")


def put_away(lab: Lab, address: str) -> None:
    """Stop and mask a server, as the tool's own message says; one that stands for election too.

    Such a one does not end on SIGTERM for a long time.
    """
    lab.ssh(
        address,
        f"systemctl mask {UNIT}; systemctl kill --signal=KILL {UNIT}; systemctl stop {UNIT}; "
        f"systemctl reset-failed {UNIT} || true",
    )


@contextlib.contextmanager
def stops_held(lab: Lab, *addresses: str) -> Iterator[None]:
    """Servers hear of no order to stop, unless they are killed, until the block is left."""
    folder, end = f"/etc/systemd/system/{UNIT}.d", "/run/stops-not-held"
    for address in addresses:
        lab.ssh(
            address,
            f"rm -f {end}; mkdir -p {folder} && printf '[Service]\\nExecStop=/bin/sh -c "
            f'"until [ -e {end} ]; do sleep 0.1; done"\\n\' '
            f"> {folder}/fault.conf && systemctl daemon-reload",
        )
    try:
        yield
    finally:
        for address in set(addresses) & set(lab.running()):
            lab.ssh(address, f"touch {end}; rm {folder}/fault.conf && systemctl daemon-reload")


@contextlib.contextmanager
def server_does_not_start(lab: Lab, address: str) -> Iterator[None]:
    """``oned`` ends at each start, at once."""
    folder = f"/etc/systemd/system/{UNIT}.d"
    lab.ssh(
        address,
        f"mkdir -p {folder} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' "
        f"> {folder}/fault.conf && systemctl daemon-reload",
    )
    try:
        yield
    finally:
        lab.ssh(address, f"rm {folder}/fault.conf && systemctl daemon-reload")


# Secrets, databases, disks


@contextlib.contextmanager
def migrator_changed(lab: Lab, address: str, line: str) -> Iterator[None]:
    """The migrator on a node does something else first.

    :param line: of Python, where ``time`` is there.
    """
    lab.ssh(
        address,
        f"cp -p {MIGRATOR} {MIGRATOR}.whole && cat >> {MIGRATOR} <<'END'\n\n"
        "_as_it_was = migrate\n\n\ndef migrate(*arguments):\n"
        f"    {line}\n    _as_it_was(*arguments)\nEND",
    )
    try:
        yield
    finally:
        lab.ssh(address, f"mv {MIGRATOR}.whole {MIGRATOR}")


def change_secret(lab: Lab, address: str) -> None:
    """A node gets another oneadmin's password than its zone has."""
    lab.ssh(address, "echo oneadmin:of-another-zone > /var/lib/one/.one/one_auth")


def change_row(lab: Lab, address: str) -> None:
    """One row of a node's database is no longer what it is elsewhere."""
    lab.ssh(
        address,
        "mariadb opennebula -e \"UPDATE document_pool SET body = CONCAT(body, ' ') LIMIT 1\"",
    )


def drop_database(lab: Lab, address: str) -> None:
    """What the tool's message says of a node that was seeded wrongly."""
    lab.ssh(address, "mariadb -e 'DROP DATABASE opennebula'")


@contextlib.contextmanager
def disk_full(lab: Lab, address: str, *, spare_kib: int = 512) -> Iterator[None]:
    """A node's database lies on a file system with hardly any room."""
    node = container_at(lab, address)
    pid = _podman("container", "inspect", "--format", "{{.State.Pid}}", node).strip()
    lab.ssh(address, "systemctl stop mariadb && mv /var/lib/mysql /var/lib/mysql.whole")
    used_kib = int(lab.ssh(address, "du -sk /var/lib/mysql.whole").split()[0])
    lab.ssh(address, "install -d -o mysql -g mysql /var/lib/mysql")
    # A container may not mount; its machine may do it for it.
    subprocess.run(
        ["nsenter", "--target", pid, "--mount", "mount", "-t", "tmpfs", "-o",
         f"size={used_kib + START_KIB}k", "tmpfs", "/var/lib/mysql"],
        check=True, timeout=30,
    )  # fmt: skip
    lab.ssh(
        address,
        "chown mysql:mysql /var/lib/mysql; cp -a /var/lib/mysql.whole/. /var/lib/mysql/ && "
        "systemctl start mariadb && "
        "free=$(df --output=avail -k /var/lib/mysql | tail -n 1) && "
        f"head -c $((free - {spare_kib}))K /dev/zero > /var/lib/mysql/filler",
    )
    try:
        yield
    finally:
        lab.ssh(address, "systemctl stop mariadb")
        subprocess.run(
            ["nsenter", "--target", pid, "--mount", "umount", "/var/lib/mysql"],
            check=True, timeout=30,
        )  # fmt: skip
        lab.ssh(
            address,
            "rmdir /var/lib/mysql && mv /var/lib/mysql.whole /var/lib/mysql && "
            "systemctl start mariadb",
        )


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder of this machine cannot be written any more."""
    subprocess.run(["mount", "--bind", folder, folder], check=True, timeout=30)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", folder, folder], check=True, timeout=30)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True, timeout=30)


# Machines and the platform


def remove_machine(lab: Lab, address: str) -> None:
    """Somebody removes a node's container by hand."""
    _podman("rm", "--force", "--volumes", "--time", "0", container_at(lab, address))


def container_at(lab: Lab, address: str) -> str:
    """Name of the container of an address."""
    last = int(address.rpartition(".")[2])
    generation, number = ("a", last - 10) if last < 20 else ("b", last - 20)
    return f"{lab.name}-{generation}{number}"


#: A unit that keeps the whole boot waiting, ssh with it.
HANGING_BOOT = {
    "hang.service": "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n"
    "[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sleep infinity\n",
    "sysinit.target.d/hang.conf": "[Unit]\nRequires=hang.service\nAfter=hang.service\n",
}
#: MariaDB does not come up.
NO_MARIADB = {
    "mariadb.service.d/fault.conf": "[Service]\nExecStartPre=/bin/false\nRestart=no\n",
}


def machines_with(folder: Path, node: str, units: dict[str, str]) -> Path:
    """A folder for ``PATH`` with a podman that boots one node with further unit files.

    :param units: contents by path below ``/etc/systemd/system``.
    """
    system = folder / "system"
    for name, text in units.items():
        path = system / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return _podman_before_start(
        folder, node, f'"$real" cp "{system}/." "$2:/etc/systemd/system/" || exit 125'
    )


def machines_that_fail(folder: Path, node: str) -> Path:
    """A folder for ``PATH`` with a podman that cannot start one node."""
    return _podman_before_start(
        folder, node, 'echo "Error: the address is already in use" >&2; exit 125'
    )


def _podman_before_start(folder: Path, node: str, script: str) -> Path:
    found = subprocess.run(
        ["sh", "-c", "command -v podman"], check=True, capture_output=True, text=True, timeout=10
    )
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    program = bin_folder / "podman"
    program.write_text(
        f"#!/bin/sh\nreal={found.stdout.strip()}\n"
        'if [ "$1" = start ]; then\n'
        '  name=$("$real" container inspect --format "{{.Name}}" "$2")\n'
        f'  if [ "$name" = {node} ]; then {script}; fi\n'
        'fi\nexec "$real" "$@"\n'
    )
    program.chmod(0o755)
    return bin_folder


def _podman(*words: str) -> str:
    done = subprocess.run(
        ["podman", *words], check=True, capture_output=True, text=True, timeout=60
    )
    return done.stdout


# What must never be


class LeadersSeen:
    """Who said of itself that it leads, and in which term, as long as the block runs.

    Raft allows one leader in a term. Two in one term would acknowledge apart from each other.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._guard = threading.Lock()
        #: Addresses by term.
        self.by_term: dict[int, set[str]] = defaultdict(set)

    def __enter__(self) -> "LeadersSeen":
        for address in (*self._lab.addresses("a"), *self._lab.addresses("b")):
            thread = threading.Thread(target=self._watch, args=(address,), daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(15)

    def _watch(self, address: str) -> None:
        while not self._stop.wait(0.4):
            said = self._lab.raft(address)
            if said is not None and said["STATE"] == LEADER:
                with self._guard:
                    self.by_term[said["TERM"]].add(address)

    @property
    def rivals(self) -> dict[int, set[str]]:
        """Terms with more than one leader."""
        return {term: leaders for term, leaders in self.by_term.items() if len(leaders) > 1}


def heal(lab: Lab) -> None:
    """Take away what a test that failed may have left on machines that run."""
    for address in lab.running():
        with contextlib.suppress(subprocess.SubprocessError):
            lab.ssh(address, f"nft delete table {TABLE} 2>/dev/null; chmod 0755 {HOOK}")


def wait_for_term_to_rise(lab: Lab, address: str, *, by: int) -> int:
    """Wait until a server's term has risen so often; the new term."""
    first = (lab.raft(address) or {"TERM": 0})["TERM"]
    wait_until(
        f"the term of {address} to rise by {by}",
        lambda: (lab.raft(address) or {"TERM": 0})["TERM"] >= first + by,
        timeout_s=60,
        interval_s=0.3,
    )
    return (lab.raft(address) or {"TERM": 0})["TERM"]
