"""Machines with systemd, sshd, MariaDB and the package opennebula, as containers."""

import contextlib
import hashlib
import os
import re
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fakes.reporter import ListReporter

from onebaton.adapters.base_image import BaseImages
from onebaton.adapters.dbdump import SeedByPipes
from onebaton.adapters.frontends import SshFrontEnds
from onebaton.adapters.nodeconfig import ZoneSettings
from onebaton.adapters.podman import Podman
from onebaton.adapters.ssh import Ssh
from onebaton.adapters.templates import Templates
from onebaton.config import DatabaseConfig, OnedConfig, SshConfig
from onebaton.model import Host, Secret, Vip
from onebaton.wiring.cluster import SystemClock

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache"
IMAGE = "localhost/onebaton-test-front-end"
VERSION = "6.10.0"
PASSWORD = "open'ne$bula"
#: The stand-in's delays, shortened; the real one does not read this file.
DELAYS = "START_DELAY_S=1\nSTOP_DELAY_S=1\nWARMUP_S=1\n"
INSTALL = """
set -eu
export DEBIAN_FRONTEND=noninteractive
printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d; chmod 0755 /usr/sbin/policy-rc.d
echo 'deb [trusted=yes] file:/srv/packages ./' > /etc/apt/sources.list.d/test.list
printf 'Package: opennebula*\\nPin: version @VERSION@*\\nPin-Priority: 1001\\n' \
  > /etc/apt/preferences.d/test.pref
apt-get update -q
apt-get install -q -y opennebula
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /srv/packages
systemctl disable opennebula.service 2>/dev/null || true
"""


@dataclass
class Lab:
    """The machines, and the adapter that reaches them."""

    podman: Podman
    network: str
    folder: Path
    hosts: list[Host]
    vip: Vip
    reporter: ListReporter
    ssh: Ssh
    frontends: SshFrontEnds

    def sh(self, host: Host, script: str, *, check: bool = True) -> str:
        """What a script prints on a machine, past ssh."""
        done = self.podman.run(["exec", host.name, "bash", "-c", script], timeout_s=60, check=check)
        return done.stdout.strip()

    def call(self, host: Host, method: str, *args: object) -> list[object]:
        """Ask a machine's oned as its oneadmin."""
        proxy = xmlrpc.client.ServerProxy(endpoint(host), transport=_Transport())
        answer = getattr(proxy, method)(f"oneadmin:{PASSWORD}", *args)
        assert isinstance(answer, list)
        return answer

    def raft(self, host: Host) -> dict[str, int]:
        """What a machine's oned says of its part in Raft."""
        text = str(self.call(host, "one.zone.raftstatus")[1])
        return {name: int(value) for name, value in re.findall(r"<(\w+)>(-?\d+)</", text)}

    def write(self, host: Host, name: str) -> int:
        """Allocate a document.

        :returns: its id.
        """
        document = f"<DOCUMENT><NAME>{name}</NAME><X>ä \\ ' \" %</X></DOCUMENT>"
        answer = self.call(host, "one.document.allocate", document, 200)
        assert answer[0], answer
        return int(str(answer[1]))

    def as_user(self, user: str) -> Ssh:
        """Another way in, as this user."""
        config = SshConfig(user=user, key=self.folder / "key")
        return Ssh(config, known_hosts=self.folder / "known_hosts")


class _Transport(xmlrpc.client.Transport):
    def make_connection(self, host):  # type: ignore[no-untyped-def]
        connection = super().make_connection(host)
        connection.timeout = 5
        return connection


def endpoint(host: Host) -> str:
    """A machine's XML-RPC address."""
    return f"http://{host.address}:2633/RPC2"


def wait_for(look: Callable[[], bool], what: str, timeout_s: float = 30) -> None:
    """Look until it is so; what cannot be reached yet is not so."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(OSError, xmlrpc.client.Error):
            if look():
                return
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.2)


@contextmanager
def front_ends(
    folder: Path, count: int, *, versions: Sequence[str] = (), subnet: str | None = None
) -> Iterator[Lab]:
    """So many machines with nothing configured; gone when the block is left.

    :param versions: OpenNebula's, of the first machines; all others have ``VERSION``.
    :param subnet: the first three numbers of their network, e.g. ``10.214.7``.
    """
    podman = Podman(CACHE / "podman")
    wanted = [*versions, *[VERSION] * (count - len(versions))]
    images = {version: _image(podman, version) for version in wanted}
    name = f"onebaton-fe{os.getpid()}"
    subnet = subnet or f"10.214.{os.getpid() % 250}"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key"], check=True
    )
    key = (folder / "key.pub").read_text()
    hosts: list[Host] = []
    reporter = ListReporter()
    ssh = Ssh(SshConfig(key=folder / "key"), known_hosts=folder / "known_hosts")
    vip = Vip(f"{subnet}.100", 24, "eth0")
    try:
        podman.run(["network", "create", "--subnet", f"{subnet}.0/24", name], timeout_s=30)
        for number, version in enumerate(wanted, start=1):
            host = Host(f"{name}-n{number}", f"{subnet}.{10 + number}", "")
            podman.run(
                [
                    *("run", "--detach", "--name", host.name, "--hostname", f"n{number}"),
                    *("--systemd=always", "--network", name, "--ip", host.address),
                    *("--cap-add", "NET_ADMIN,NET_RAW", images[version], "/sbin/init"),
                ],
                timeout_s=60,
            )
            hosts.append(host)
            podman.run(
                [
                    *("exec", "--interactive", host.name, "sh", "-c"),
                    "mkdir -p -m 700 /root/.ssh; cat > /root/.ssh/authorized_keys; ssh-keygen -A; "
                    f"printf '{DELAYS}' > /etc/one/standin.conf; "
                    # systemd may not listen yet.
                    "for i in $(seq 50); do systemctl restart ssh && exit; sleep 0.2; done; exit 1",
                ],
                stdin=key,
                timeout_s=60,
            )
        frontends = SshFrontEnds(
            ssh,
            zone=ZoneSettings(0, vip, 2633),
            database=DatabaseConfig(),
            oned=OnedConfig(),
            password=None,
            render=Templates().render,
            seeding=SeedByPipes(ssh, reporter),
            reporter=reporter,
            clock=SystemClock(),
        )
        for host in hosts:
            frontends.wait_ready(host, timeout_s=120)
        yield Lab(podman, name, folder, hosts, vip, reporter, ssh, frontends)
    finally:
        ssh.close()
        for host in hosts:
            podman.run(
                ["rm", "--force", "--time", "0", "--volumes", host.name], timeout_s=60, check=False
            )
        podman.run(["network", "rm", "--force", name], timeout_s=60, check=False)


def found_zone(lab: Lab, host: Host) -> None:
    """Make a machine the leader of a zone of its own."""
    lab.frontends.create_database(host)
    lab.frontends.set_password(host, "oneadmin", Secret(PASSWORD))
    lab.frontends.configure(host, server_id=-1, election_timeout_ms=1000)
    lab.frontends.start(host, timeout_s=60)
    wait_for(lambda: bool(lab.call(host, "one.zone.raftstatus")[0]), "the solo server")
    server = f'SERVER=[NAME="{host.name}",ENDPOINT="{endpoint(host)}"]'
    assert lab.call(host, "one.zone.addserver", 0, server)[0]
    lab.frontends.stop(host, mask=False, timeout_s=60)
    lab.frontends.configure(host, server_id=0, election_timeout_ms=1000, server_ids=[0])
    lab.frontends.start(host, timeout_s=60)
    wait_for(lambda: lab.raft(host)["STATE"] == 3, "the server to lead")


def _image(podman: Podman, version: str) -> str:
    """An image with the packages of a version, made once for each state of them."""
    name = IMAGE if version == VERSION else f"{IMAGE}-{version}"
    install = INSTALL.replace("@VERSION@", version)
    packages = tuple(
        line.split("#", 1)[0].strip()
        for line in (ROOT / "packer" / "packages.list").read_text().splitlines()
        if line.split("#", 1)[0].strip()
    )
    bases = BaseImages(podman, packages, CACHE, ListReporter())
    bases.ensure("mmdebstrap:bookworm")
    base = bases.reference("mmdebstrap:bookworm")
    repository = Path(os.environ.get("ONEBATON_REPO") or CACHE / "standin")
    if "ONEBATON_REPO" not in os.environ:
        builder = ROOT / "tests" / "standin" / "build.py"
        subprocess.run([sys.executable, builder, repository], check=True, timeout=300)
    content = [base, install, (repository / "Packages").read_text()]
    image = f"{name}:{hashlib.sha256(repr(content).encode()).hexdigest()[:12]}"
    if podman.run(["image", "exists", image], timeout_s=30, check=False).status == 0:
        return image
    older = podman.run(["images", "--quiet", name], timeout_s=30).stdout.split()
    maker = f"onebaton-fe-image{os.getpid()}"
    podman.run(["run", "--detach", "--name", maker, base, "sleep", "infinity"], timeout_s=60)
    try:
        podman.run(["cp", f"{repository}/.", f"{maker}:/srv/packages"], timeout_s=120)
        conf = "packer/files/etc/mysql/mariadb.conf.d/90-onebaton.cnf"
        podman.run(["cp", str(ROOT / conf), f"{maker}:/etc/mysql/mariadb.conf.d/"], timeout_s=60)
        podman.run(["exec", maker, "sh", "-c", install], timeout_s=600, what="installing packages")
        podman.run(["commit", "--quiet", maker, image], timeout_s=300)
    finally:
        podman.run(["rm", "--force", "--time", "0", maker], timeout_s=60, check=False)
    for old in older:
        podman.run(["rmi", old], timeout_s=60, check=False)
    return image
