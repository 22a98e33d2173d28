"""Machines over ssh in a simulated cluster, behind :class:`onebaton.ports.FrontEnds`."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from tests.fakes.frontends import Checksums, FakeFrontEnds

from onebaton.errors import DeadlineError, UnavailableError
from onebaton.model import Host, LogPosition, RaftState, Secret

if TYPE_CHECKING:
    from tests.fakes.simulated import SimulatedCluster

#: The table that clients' records go to.
TRAFFIC = "template_pool"
#: How long a comparison waits for the next record.
LOOKS, LOOK_S = 15, 0.1


class SimulatedFrontEnds(FakeFrontEnds):
    """The machines over ssh; each change takes its time and may be the tool's last."""

    def __init__(self, cluster: "SimulatedCluster") -> None:
        super().__init__(cluster.machines, started=cluster.started, ended=cluster.ended)
        self._cluster = cluster

    def wait_ready(self, host: Host, *, timeout_s: float) -> None:
        deadline = self._cluster.clock.now() + timeout_s
        while not self.machines[host.name].ready:
            if self._cluster.clock.now() >= deadline:
                raise DeadlineError(
                    f"waited in vain for {host.name} to be ready", resolution="Look at it."
                )
            self._cluster.clock.sleep(1.0)
        super().wait_ready(host, timeout_s=timeout_s)

    def copy_secrets(self, source: Host, targets: Sequence[Host]) -> None:
        for target in targets:
            with self._cluster.change(f"copy_secrets {target.name}", after_s=0.2):
                super().copy_secrets(source, [target])
                if target.name in self._cluster.faults.other_secrets:
                    self.machines[target.name].secrets = "oneadmin:another"

    def seed(self, source: Host, targets: Sequence[Host], *, timeout_s: float) -> None:
        for target in targets:
            with self._cluster.change(f"drop {target.name}"):
                self._refuse_running(self.machines[target.name], target)
                self.machines[target.name].database = None
        for target in targets:
            with self._cluster.change(f"load {target.name}", after_s=1.0):
                super().seed(source, [target], timeout_s=timeout_s)
                if target.name in self._cluster.faults.bad_seed:
                    self.damage(target.name)

    def damage(self, name: str) -> None:
        """A row is lost, and no log index tells."""
        database = self.machines[name].database
        assert database is not None
        database.tables[TRAFFIC].popitem()

    def ship_log(
        self, source: Host, target: Host, *, up_to: int | None = None, beneath: bool = False
    ) -> int:
        with self._cluster.change(f"ship_log {target.name}", before_s=0.2):
            return super().ship_log(source, target, up_to=up_to, beneath=beneath)

    def checksums_at_equal_index(
        self, one: Host, other: Host
    ) -> tuple[tuple[LogPosition, Checksums], tuple[LogPosition, Checksums]]:
        """Each takes its snapshot when it comes to the next index, if one comes in time."""
        machines = {host: self._database(self._asked("wait", host), host) for host in (one, other)}
        goal = 1 + max(database.applied for database in machines.values())
        taken: dict[Host, tuple[LogPosition, Checksums]] = {}
        for _ in range(LOOKS):
            for host, database in machines.items():
                if database.applied >= goal and host not in taken:
                    taken[host] = self.table_checksums(host)
            if len(taken) == len(machines):
                break
            self._cluster.clock.sleep(LOOK_S)
        ours, theirs = (taken.get(host) or self.table_checksums(host) for host in (one, other))
        return ours, theirs

    def configure(
        self,
        host: Host,
        *,
        server_id: int,
        election_timeout_ms: int,
        server_ids: Sequence[int] = (),
    ) -> None:
        with self._cluster.change(f"configure {host.name}"):
            super().configure(
                host,
                server_id=server_id,
                election_timeout_ms=election_timeout_ms,
                server_ids=server_ids,
            )

    def reaches(self, source: Host, target: Host) -> bool:
        there = super().reaches(source, target)
        return there and self._cluster.reaches(source.name, target.name)

    def create_database(self, host: Host) -> None:
        with self._cluster.change(f"create_database {host.name}"):
            super().create_database(host)

    def set_password(self, host: Host, user: str, password: Secret) -> None:
        with self._cluster.change(f"set_password {host.name}"):
            super().set_password(host, user, password)

    def start(self, host: Host, *, timeout_s: float) -> None:
        with self._cluster.change(f"start {host.name}", before_s=5.0):
            super().start(host, timeout_s=timeout_s)
            if host.name in self._cluster.faults.bad_apply:
                self.damage(host.name)

    def stop(self, host: Host, *, mask: bool, timeout_s: float) -> None:
        with self._cluster.change(f"stop {host.name}", after_s=6.0):
            super().stop(host, mask=mask, timeout_s=timeout_s)

    def forget_servers(self, host: Host, gone: Collection[int]) -> None:
        with self._cluster.change(f"forget_servers {host.name}"):
            super().forget_servers(host, gone)

    def note_parked(self, host: Host, at: float | None) -> None:
        with self._cluster.change(f"note_parked {host.name}"):
            super().note_parked(host, at)

    def cut_off_leader(self, host: Host, *, drain_s: float) -> None:
        with self._cluster.change(f"cut_off_leader {host.name}", after_s=0.3):
            oned = self._cluster.raft.oneds.get(host.name)
            if oned is not None and oned.state is RaftState.LEADER:
                self._cluster.raft.replicate(oned)  # what is in flight, while it drains
            super().cut_off_leader(host, drain_s=drain_s)

    def freeze(self, leader: Host, others: Sequence[Host], *, drain_s: float) -> None:
        """The machines one after the other, and the tool may die between them."""
        lost: list[str] = []
        for host in (leader, *others):
            with self._cluster.change(f"freeze {host.name}", after_s=0.1):
                oned = self._cluster.raft.oneds.get(host.name)
                if oned is not None and oned.state is RaftState.LEADER:
                    self._cluster.raft.replicate(oned)
                try:
                    super().freeze(host, [], drain_s=drain_s)
                except UnavailableError as error:
                    lost.append(error.message)
        if lost:
            raise UnavailableError("; ".join(lost))
