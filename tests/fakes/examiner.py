"""Machines as the doctor finds them, behind :class:`onebaton.ports.Examiner`."""

from collections.abc import Sequence

from onebaton.examination import Examination, RaftHook
from onebaton.model import Host, Vip

VIP = Vip("10.0.0.100", 24, "eth0")


def sound(*, vip: Vip = VIP) -> Examination:
    """A machine with which nothing is wrong."""
    return Examination(
        clock_offset_s=0.01,
        logdb_records=1000,
        logdb_bytes=1 << 20,
        database_bytes=8 << 20,
        xmlrpc_timeout_ms=1000,
        broadcast_timeout_ms=500,
        hooks=tuple(
            RaftHook(role, "raft/vip.sh", (role, vip.interface, vip.cidr), executable=True)
            for role in ("leader", "follower")
        ),
        interfaces=frozenset({"lo", vip.interface}),
        has_arping=True,
        may_sudo=True,
        may_change_addresses=True,
        monitor_address=vip.address,
        config_digests=(("DB", "d1"), ("LOG", "d2"), ("RAFT", "d3")),
    )


class FakeExaminer:
    """Machines by the names of their hosts; who is not there does not answer.

    :ivar calls: names of the hosts of each call.
    """

    def __init__(self, machines: dict[str, Examination]) -> None:
        self.machines = machines
        self.calls: list[tuple[str, ...]] = []

    def examine(self, hosts: Sequence[Host]) -> dict[str, Examination | str]:
        self.calls.append(tuple(host.name for host in hosts))
        return {
            host.name: self.machines.get(host.name, f"{host.name} does not answer over ssh")
            for host in hosts
        }
