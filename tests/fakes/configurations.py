"""Configuration files as they are found, behind :class:`onebaton.ports.Configurations`."""

from collections.abc import Mapping, Sequence

from onebaton.drift import Configured
from onebaton.model import Host, Vip

VIP = Vip("10.0.0.100", 24, "eth0")
STATEMENTS = (("LOG", "d1"), ("VM_MAD", "d2"))
FILES = (("/etc/one/cli", "f1"), ("/var/lib/one/remotes/hooks", "f2"))


def decided(server_id: int) -> dict[str, str]:
    """What would be written for a server."""
    return {
        "FEDERATION/SERVER_ID": str(server_id),
        "PORT": "2633",
        "RAFT/ELECTION_TIMEOUT_MS": "5000",
        "RAFT/LOG_RETENTION": "250000",
    }


def as_written(server_id: int, *, vip: Vip = VIP) -> Configured:
    """The files of a machine that nobody touched since."""
    return Configured(
        settings=(*decided(server_id).items(), ("DB/USER", "oneadmin")),
        statements=STATEMENTS,
        packaged=STATEMENTS,
        monitor_address=vip.address,
        files=FILES,
    )


class FakeConfigurations:
    """Files by the names of their machines; who is not there does not answer.

    :ivar calls: names of the hosts of each call.
    """

    def __init__(self, machines: dict[str, Configured]) -> None:
        self.machines = machines
        self.calls: list[tuple[str, ...]] = []

    def read(self, hosts: Sequence[Host]) -> dict[str, Configured | str]:
        self.calls.append(tuple(host.name for host in hosts))
        return {
            host.name: self.machines.get(host.name, f"{host.name} does not answer over ssh")
            for host in hosts
        }

    def settings(self, *, server_id: int) -> Mapping[str, str]:
        return decided(server_id)
