"""The procedure by which operators change the schema by hand, without a pause between its parts.

Remove the followers, stop the last server, move its database to a new machine, ``onedb upgrade``,
start, wait for the leader. What can be prepared is: the new machine is booted, has the secrets
and its configuration. ``onedb`` makes no dump of its own, and nobody thinks in between.
"""

import subprocess
import xmlrpc.client

from tests.e2e.lab import Lab
from tests.e2e.running import wait_until

#: For moving and migrating the database: 50,000 machines took 200 s (measured note).
LONG_S = 3600.0


def prepare(lab: Lab, leader: str, node: str, server_id: int) -> None:
    """Make a machine of the next release ready to take the place of the last server.

    :param leader: address of the server that will be the last one.
    :param node: address of the new machine; its ``oned`` does not run.
    :param server_id: of the last server, whose place in the zone's list the new one takes.
    """
    _pipe(lab, leader, "tar -C /var/lib/one -c .one", node, "tar -C /var/lib/one -x")
    lab.ssh(
        node,
        f"sed -i -E 's/(SERVER_ID *= *)-?[0-9]+/\\1{server_id}/; "
        "s/(ELECTION_TIMEOUT_MS *= *)[0-9]+/\\15000/' /etc/one/oned.conf; "
        f"grep -q 'SERVER_ID *= *{server_id}' /etc/one/oned.conf; systemctl unmask opennebula",
    )


def change_the_schema(lab: Lab, leader: str, followers: dict[int, str], node: str) -> None:
    """From the first removed follower to the first write through the virtual IP.

    :param followers: addresses by id.
    """
    for server_id, address in followers.items():
        lab.call(lab.endpoint(leader), "one.zone.delserver", 0, server_id)
        lab.ssh(address, "systemctl stop opennebula")
    lab.ssh(leader, "systemctl stop opennebula")
    _pipe(
        lab,
        leader,
        "mariadb-dump --single-transaction --quick --databases --add-drop-database opennebula",
        node,
        "mariadb",
    )
    _run(
        lab,
        node,
        "cd /var/lib/one && runuser -u oneadmin -- env HOME=/var/lib/one "
        "ONE_XMLRPC=http://localhost:2633/RPC2 onedb upgrade --no-backup",
    )
    lab.ssh(node, "systemctl start opennebula")
    wait_until("a write by the new server", lambda: _writes(lab), timeout_s=120, interval_s=0.1)


def _writes(lab: Lab) -> bool:
    try:
        lab.call(lab.vip, "one.template.allocate", 'NAME="by-hand"')
    except (OSError, AssertionError, xmlrpc.client.Error):
        return False
    return True


def ssh(lab: Lab, address: str, script: str) -> list[str]:
    """The command line that runs a script on a machine."""
    return [
        "ssh", "-i", str(lab.folder / "ssh_key"), "-o", "BatchMode=yes",
        "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        "-o", "LogLevel=ERROR", f"root@{address}", script,
    ]  # fmt: skip


def _run(lab: Lab, address: str, script: str) -> None:
    subprocess.run(ssh(lab, address, script), check=True, stdout=subprocess.DEVNULL, timeout=LONG_S)


def _pipe(lab: Lab, source: str, read: str, target: str, write: str) -> None:
    with subprocess.Popen(ssh(lab, source, read), stdout=subprocess.PIPE) as reader:
        subprocess.run(ssh(lab, target, write), stdin=reader.stdout, check=True, timeout=LONG_S)
        if reader.wait(LONG_S) != 0:
            raise RuntimeError(f"{read} failed on {source}")
