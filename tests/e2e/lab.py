"""A lab on this machine: a folder with cluster.yaml, key and password, and what is in it.

Drives the command as an operator would, and looks at the result past the command: over ssh,
XML-RPC and podman.
"""

import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.e2e.traffic import DOCUMENT_TYPE, DeadlineTransport, Traffic

#: Exit status of an interrupted command.
INTERRUPTED = 130

ROOT = Path(__file__).resolve().parents[2]
#: Several heartbeats, in seconds.
APPLIED_S = 4.0
#: STATE of ``one.zone.raftstatus``.
LEADER, FOLLOWER = 3, 2

CLUSTER = """\
zone:
  name: {name}
  size: {size}
  vip:
    address: {net}.100/24
  credentials:
    password:
      file: oneadmin_password
image:
  version: {version}
  repository:
    url: {repository}
  scripts: [{scripts}]
platform:
  kind: podman
network:
  subnet: {net}.0/24
  generations:
    a: [{a}]
    b: [{b}]
ssh:
  key: ssh_key
rollout:
  strategy: {strategy}
{rollout}state: state
"""


def standin_repository() -> Path:
    """The package repository: ``ONEBATON_REPO``, or stand-in packages built here."""
    named = os.environ.get("ONEBATON_REPO")
    if named:
        return Path(named).resolve()
    target = ROOT / ".cache" / "standin"
    target.parent.mkdir(exist_ok=True)
    # Two labs begin at a time: the second one finds it up to date.
    with (target.parent / "standin-in-use").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run(
            [sys.executable, str(ROOT / "tests/standin/build.py"), str(target)],
            check=True,
            timeout=300,
        )
    return target


@dataclass(frozen=True)
class Lab:
    """One cluster on this machine.

    :param net: first three numbers of its subnet, a /24.
    """

    folder: Path
    name: str
    net: str
    size: int = 3
    strategy: str = "surge"

    def prepare(self, *, version: str, scripts: tuple[Path, ...] = (), rollout: str = "") -> None:
        """Write configuration, key and password, unless they are there.

        :param rollout: further lines of the section of that name.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        password = self.folder / "oneadmin_password"
        if not password.exists():
            password.touch(0o600)
            password.write_text(secrets.token_urlsafe(16) + "\n")
        if not (self.folder / "ssh_key").exists():
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.folder / "ssh_key"],
                check=True,
                timeout=30,
            )
        text = CLUSTER.format(
            name=self.name,
            size=self.size,
            net=self.net,
            version=version,
            repository=standin_repository(),
            scripts=", ".join(str(path) for path in scripts),
            a=", ".join(self.addresses("a")),
            b=", ".join(self.addresses("b")),
            strategy=self.strategy,
            rollout=rollout,
        )
        (self.folder / "cluster.yaml").write_text(text)

    def addresses(self, generation: str) -> list[str]:
        """Addresses of a generation's nodes."""
        base = {"a": 10, "b": 20}[generation]
        return [f"{self.net}.{base + i}" for i in range(1, self.size + 1)]

    def command(self, *words: str, config: Path | None = None) -> list[str]:
        """The command line for this cluster.

        :param config: another file than the lab's ``cluster.yaml``.
        """
        return [
            str(Path(sys.executable).parent / "onebaton"),
            *words,
            "--config",
            str(config or self.folder / "cluster.yaml"),
        ]

    def variant(self, name: str, *changes: tuple[str, str]) -> Path:
        """A copy of ``cluster.yaml`` beside it, with texts replaced."""
        text = (self.folder / "cluster.yaml").read_text()
        for old, new in changes:
            assert old in text, f"{old!r} is not in cluster.yaml"
            text = text.replace(old, new)
        path = self.folder / f"cluster-{name}.yaml"
        path.write_text(text)
        return path

    def onebaton(
        self, *words: str, timeout_s: float = 600, status: int = 0, capture: bool = False
    ) -> str:
        """Run the command, and see its exit status.

        :returns: its standard output if captured.
        :raises KeyboardInterrupt: if ^C ended it; it was given the time to end its step.
        """
        pipe = subprocess.PIPE if capture else None
        with subprocess.Popen(self.command(*words), text=True, stdout=pipe, stderr=pipe) as child:
            try:
                out, err = child.communicate(timeout=timeout_s)
            except KeyboardInterrupt:
                # The same ^C reached the command; it ends its step, and tells how to go on.
                child.wait(timeout_s)
                raise
            except subprocess.TimeoutExpired:
                child.terminate()
                raise
        if child.returncode == INTERRUPTED and status != INTERRUPTED:
            raise KeyboardInterrupt
        if child.returncode != status:
            shown = f"\n{out}\n{err}" if capture else ""
            raise AssertionError(
                f"onebaton {' '.join(words)} ended with {child.returncode}, not {status}{shown}"
            )
        return out or ""

    @property
    def session(self) -> str:
        """User and password of oneadmin."""
        return f"oneadmin:{(self.folder / 'oneadmin_password').read_text().strip()}"

    def endpoint(self, address: str) -> str:
        """XML-RPC endpoint at an address."""
        return f"http://{address}:2633/RPC2"

    @property
    def vip(self) -> str:
        """XML-RPC endpoint of the virtual IP."""
        return self.endpoint(f"{self.net}.100")

    def call(self, endpoint: str, method: str, *arguments):
        """One call; its value.

        :raises AssertionError: if it answers with an error.
        """
        proxy = xmlrpc.client.ServerProxy(endpoint, transport=DeadlineTransport(5.0))
        answer = getattr(proxy, method)(self.session, *arguments)
        assert answer[0], answer[1]
        return answer[1]

    def servers(self, endpoint: str | None = None) -> dict[str, str]:
        """Endpoints of the zone's servers by name."""
        zone = ET.fromstring(self.call(endpoint or self.vip, "one.zone.info", 0, False))
        return {s.findtext("NAME"): s.findtext("ENDPOINT") for s in zone.iter("SERVER")}

    def name_of(self, address: str | None) -> str:
        """Name that the zone has for the server at an address."""
        return next(name for name, at in self.servers().items() if f"//{address}:" in at)

    def documents(self, endpoint: str, document_type: int = DOCUMENT_TYPE) -> dict[int, str]:
        """Names of the documents of a type that one server has, by id."""
        pool = self.call(endpoint, "one.documentpool.info", -2, -1, -1, document_type)
        return {
            int(d.findtext("ID")): d.findtext("NAME") for d in ET.fromstring(pool).iter("DOCUMENT")
        }

    def ssh(self, address: str, script: str) -> str:
        """Run a script on a node."""
        done = subprocess.run(
            ["ssh", "-i", self.folder / "ssh_key", "-o", "BatchMode=yes",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=5", f"root@{address}", script],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def raft(self, address: str) -> dict[str, int] | None:
        """What the server at an address says of itself; ``None`` if it does not answer."""
        try:
            said = self.call(self.endpoint(address), "one.zone.raftstatus")
        except (OSError, AssertionError, xmlrpc.client.Error):
            return None
        return {child.tag: int(child.text) for child in ET.fromstring(said)}

    def leader(self) -> str | None:
        """Address of the one server that says it leads."""
        leads = [a for a in self.running() if (self.raft(a) or {}).get("STATE") == LEADER]
        return leads[0] if len(leads) == 1 else None

    def running(self) -> list[str]:
        """Addresses of the machines that run."""
        done = subprocess.run(
            ["podman", "ps", "--filter", f"label=onebaton.cluster={self.name}",
             "--format", "{{.Names}}"],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        generations = {"a": self.addresses("a"), "b": self.addresses("b")}
        parts = [name.removeprefix(f"{self.name}-") for name in sorted(done.stdout.split())]
        return [generations[part[0]][int(part[1:]) - 1] for part in parts]

    def started_at(self, address: str) -> float:
        """When the node's ``oned`` was last ready, in this machine's monotonic seconds."""
        shown = self.ssh(
            address, "systemctl show opennebula --value -p ActiveEnterTimestampMonotonic"
        )
        return int(shown) / 1e6

    def containers(self) -> list[str]:
        """Names of all containers of this cluster, running or not."""
        done = subprocess.run(
            ["podman", "ps", "--all", "--filter", f"label=onebaton.cluster={self.name}",
             "--format", "{{.Names}}"],
            check=True, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return sorted(done.stdout.split())

    def traffic(self, **rates: float) -> Traffic:
        """Clients of this zone; members are asked for through the VIP once a second."""
        return Traffic(self.session, self.vip, Members(self).endpoints, **rates)

    def status(self) -> dict:
        """``onebaton status --json``."""
        return json.loads(self.onebaton("status", "--json", capture=True, timeout_s=60))

    def problems(
        self, traffic: Traffic, *, generation: str, version: str, kept: str = ""
    ) -> list[str]:
        """What is not as a completed roll must leave it; empty if all is well.

        :param kept: a generation whose machines must still be there.
        """
        found: list[str] = []
        addresses = self.addresses(generation)
        wanted = {self.endpoint(address) for address in addresses}
        if set(self.servers().values()) != wanted:
            found.append(f"servers of the zone: {self.servers()}")
        checksums = {}
        holders = []
        for address in addresses:
            endpoint = self.endpoint(address)
            seen = self.call(endpoint, "one.system.version")
            if seen != version:
                found.append(f"{address} runs {seen}")
            lost = self.lost(endpoint, traffic)
            if lost:
                found.append(f"{len(lost)} acknowledged writes are not on {address}: {lost}")
            if self.ssh(address, f"ip -o -4 address show to {self.net}.100").strip():
                holders.append(address)
            checksums[address] = self.ssh(
                address,
                "mariadb -N opennebula -e \"SELECT GROUP_CONCAT(table_name SEPARATOR ', ') INTO @t "
                "FROM information_schema.tables WHERE table_schema = 'opennebula' AND "
                "table_name NOT IN ('logdb', 'db_versioning', 'local_db_versioning', "
                "'system_attributes'); EXECUTE IMMEDIATE CONCAT('CHECKSUM TABLE ', @t); "
                # Term and vote are each server's own.
                "SELECT name, MD5(body) FROM system_attributes WHERE name <> 'RAFT_STATE'\"",
            )
        if len(set(checksums.values())) != 1:
            found.append(f"checksums differ: {checksums}")
        if len(holders) != 1:
            found.append(f"the virtual IP is held by {holders}")
        nodes = [
            f"{self.name}-{one}{i}"
            for one in sorted({*kept, generation})
            for i in range(1, self.size + 1)
        ]
        if self.containers() != nodes:
            found.append(f"containers left: {self.containers()}")
        return found

    def lost(self, endpoint: str, traffic: Traffic) -> dict[int, tuple[str, str | None]]:
        """Acknowledged writes that a server does not have: what was written, what it shows.

        What was committed is applied by a follower with a later heartbeat of the leader: one that
        lacks some is asked again, for a few of those.
        """
        until = time.monotonic() + APPLIED_S
        while True:
            have = self.documents(endpoint, traffic.document_type)
            lost = {
                i: (n, have.get(i)) for i, n in traffic.acknowledged.items() if have.get(i) != n
            }
            if not lost or time.monotonic() > until:
                return lost
            time.sleep(0.3)

    def require_none_lost(self, addresses: Iterable[str], traffic: Traffic) -> None:
        """Every acknowledged write is on each of these servers.

        :raises AssertionError: if one lacks some, with what its log says.
        """
        found = []
        for address in addresses:
            lost = self.lost(self.endpoint(address), traffic)
            if lost:
                found.append(f"{len(lost)} are not on {address}: {lost}\n{self._log(address)}")
        assert not found, (
            f"{len(traffic.acknowledged)} writes were acknowledged, the last of them "
            f"{max(traffic.acknowledged)}; " + "\n".join(found)
        )

    def _log(self, address: str) -> str:
        """What a server's log of records looks like, for a human to judge."""
        return self.ssh(
            address,
            'mariadb -t opennebula -e "SELECT MIN(log_index), MAX(log_index), SUM(applied = 0), '
            "MIN(IF(applied = 0, log_index, NULL)) FROM logdb; SELECT log_index, term, timestamp, "
            'applied FROM logdb ORDER BY log_index DESC LIMIT 12"; '
            "grep -E '\\[E\\]|RCM' /var/log/one/oned.log | tail -n 40",
        )


class Members:
    """The zone's endpoints, asked for at most once a second."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._asked = 0.0
        self._endpoints: tuple[str, ...] = ()

    def endpoints(self) -> tuple[str, ...]:
        """Endpoints of the members that run, as last seen."""
        if time.monotonic() - self._asked > 1.0:
            self._asked = time.monotonic()
            with contextlib.suppress(OSError, AssertionError, xmlrpc.client.Error):
                self._endpoints = tuple(sorted(self._lab.servers().values()))
        return self._endpoints
