"""Clones made in memory: what is refused, and that nothing starts or is copied before."""

import concurrent.futures
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.fakes.clonedoor import FakeCloneDoor
from tests.fakes.frontends import FakeDatabase
from tests.fakes.reporter import ListReporter
from tests.fakes.simulated import SimulatedCluster
from tests.fakes.simulated_tool import OLD, AtOnce, Tool
from tests.fakes.worlds import image, wanted

from onebaton.cloning import Place, Production
from onebaton.config import Gates, OnedConfig, Timeouts
from onebaton.errors import RefusedError, StepFailedError
from onebaton.model import Health, Host, Member, Schema, Secret, Server, Vip
from onebaton.plan.wanted import Wanted
from onebaton.rollout.cloning import Making, Origin, identity_of
from onebaton.rollout.copies import Stopwatch
from onebaton.steps.site import Site

PRODUCTION = ("192.0.2.11", "192.0.2.12")
HYPERVISOR = "192.0.2.50"
SOURCE = Member(Server(1, "cloud-a2", "http://192.0.2.12:2633/RPC2"), Health.HEALTHY)
NEXT = image("7.0.2", schema=Schema("7.0.0", "7.0.0"))
VIP = "10.0.0.100"


@pytest.fixture(autouse=True, scope="module")
def _no_threads() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(concurrent.futures, "ThreadPoolExecutor", AtOnce)
        yield


class Stage:
    """Production's database, machines for a clone of it, and a clone being made."""

    def __init__(self, goal: Wanted | None = None) -> None:
        self.goal = goal or wanted(1, of=OLD)
        self.cluster = SimulatedCluster([OLD, self.goal.image])
        self.cluster.guarded = self.cluster.traffic = False
        copied = FakeDatabase(OLD.schema)
        copied.append(1, ("zone_pool", PRODUCTION[0], "enabled"))
        copied.append(1, ("zone_pool", PRODUCTION[1], "enabled"))
        copied.append(1, ("user_pool", "oneadmin", "theirs"))
        copied.append(1, ("user_pool", "alice", "hers"))
        copied.append(1, ("host_pool", HYPERVISOR, "kvm"))
        self.door = FakeCloneDoor(self.cluster.machines, copied)

    def making(self) -> Making:
        cluster = self.cluster
        site = Site(
            api=cluster.api,
            frontends=cluster.frontends,
            platform=cluster.platform,
            clock=cluster.clock,
            reporter=ListReporter(),
            observe=Tool(cluster, self.goal).observe,
            vip=Vip(VIP, 24, "eth0"),
            port=2633,
            oned=OnedConfig(),
            timeouts=Timeouts(),
            gates=Gates(),
            standby=cluster.standby,
            priors=cluster.priors,
        )
        return Making(
            site=site,
            door=self.door,
            wanted=self.goal,
            identity=identity_of(
                self.goal, zone_id=0, endpoint="http://v", user="oneadmin", password=Secret("new")
            ),
            rules=(),
            ssh_port=22,
            watch=Stopwatch(site),
            began=0.0,
            again="onebaton clone create try",
        )

    def make(self, origin: Origin | None = None) -> Production:
        making = self.making()
        making.provision(PRODUCTION)
        before = making.copy(origin or Origin(SOURCE, None, PRODUCTION))
        making.change()
        making.prove(before, PRODUCTION)
        return before

    @property
    def started(self) -> list[str]:
        return [name for name, machine in self.cluster.machines.items() if machine.active]


def test_a_copy_is_changed_and_proved_and_the_fence_tried_before_and_after():
    there = Stage()
    before = there.make()
    assert there.door.calls == [
        "knock from z-a1",
        "seed z-a1 from cloud-a2",
        "read",
        "change",
        "prove",
        "knock from z-a1",
    ]
    assert before.endpoints == PRODUCTION
    machine = there.cluster.machines["z-a1"]
    assert machine.server_id == 0
    assert machine.secrets == "oneadmin:new"
    assert machine.database is not None
    assert set(machine.database.tables["zone_pool"]) == {"http://10.0.0.11:2633/RPC2"}
    assert there.started == []


def test_a_dump_is_loaded_where_no_zone_is_asked():
    there = Stage()
    there.make(Origin(None, Path("/srv/dump.sql"), ()))
    assert there.door.calls[1] == "load /srv/dump.sql into z-a1"


@pytest.mark.parametrize("port", [2633, 22, 9869])
def test_a_node_that_reaches_a_front_end_gets_no_data(port):
    there = Stage()
    there.door.network.add(Place(PRODUCTION[1], port))
    with pytest.raises(RefusedError) as caught:
        there.make()
    assert "has no fence" in caught.value.message
    assert caught.value.details == (f"z-a1 reaches {PRODUCTION[1]}:{port}",)
    assert there.cluster.machines["z-a1"].database is None
    assert there.started == []


def test_a_node_that_reaches_a_hypervisor_is_not_started():
    there = Stage()
    there.door.network.add(Place(HYPERVISOR, 22))
    with pytest.raises(RefusedError, match="has no fence"):
        there.make()
    assert there.started == []


def test_every_node_of_a_clone_is_tried():
    there = Stage(wanted(3, of=OLD))
    there.make()
    knocks = [call for call in there.door.calls if call.startswith("knock")]
    assert knocks == [f"knock from z-a{n}" for n in (1, 2, 3)] * 2


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("zone_pool", "zone_pool names production's 192.0.2.11"),
        ("user_pool", "user alice still has a secret of production"),
        ("host_pool", "host 192.0.2.50 is not switched off"),
    ],
)
def test_a_copy_that_is_still_productions_is_not_started(table, problem):
    there = Stage()
    there.door.forgets = frozenset({table})
    with pytest.raises(RefusedError) as caught:
        there.make()
    assert "is not started" in caught.value.message
    assert problem in caught.value.details
    assert "hers" not in " ".join(caught.value.details)
    assert there.started == []


def test_a_copy_for_the_next_release_is_migrated_before_it_is_changed():
    there = Stage(wanted(1, of=NEXT))
    migrated: list[list[str]] = []

    def upgrade(host: Host, *, timeout_s: float) -> None:
        migrated.append(list(there.door.calls))
        database = there.cluster.machines[host.name].database
        assert database is not None
        database.schema = NEXT.schema

    there.cluster.standby.upgrade = upgrade
    there.make()
    assert migrated == [["knock from z-a1", "seed z-a1 from cloud-a2"]]


def test_a_clone_that_serves_is_proved_on_all_its_machines():
    there = Stage()
    before = there.make()
    making = there.making()
    making.check(before, PRODUCTION)
    assert making.is_there()
    there.door.network.add(Place(HYPERVISOR, 22))
    with pytest.raises(RefusedError, match="has no fence"):
        making.check(before, PRODUCTION)
    there.cluster.machines["z-a1"].database.tables["user_pool"]["eve"] = "hers"
    with pytest.raises(RefusedError) as caught:
        making.check(before, PRODUCTION)
    assert caught.value.details == ("z-a1: user eve still has a secret of production",)


def test_nodes_that_are_gone_are_missed():
    there = Stage()
    making = there.making()
    making.provision(PRODUCTION)
    there.cluster.platform.apply([])
    assert not making.is_there()
    with pytest.raises(StepFailedError, match="are gone: z-a1"):
        making.copy(Origin(replace(SOURCE), None, ()))
