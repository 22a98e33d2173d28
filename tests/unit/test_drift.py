"""What counts as drift, each kind by name, and what does not."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from tests.fakes.configurations import VIP, FakeConfigurations, as_written, decided
from tests.fakes.platform import FakePlatform
from tests.fakes.worlds import ELSEWHERE, Lab, image, next_release, wanted, zone
from tests.fakes.zone import FakeServer, FakeZoneApi

from onebaton.drift import Configured, Drift
from onebaton.errors import RefusedError
from onebaton.model import Health, NodeState, Prior, PriorPhase, RaftState, Schema, World
from onebaton.plan.actions import CutOver, Destroy, Provision
from onebaton.plan.drift import Sight, drift_of
from onebaton.plan.roll import plan_roll
from onebaton.plan.underway import goal_of
from onebaton.plan.wanted import Condemned, Wanted
from onebaton.rollout.drifting import drift_view, look_closer

OLD = image("6.10.0")


@dataclass
class Place:
    """A zone on the image that is wanted: z-a1 (server 0) leads, z-a2 and z-a3 follow."""

    lab: Lab
    goal: Wanted
    machines: dict[str, Configured | str]
    unbaked: str = ""
    channel: str | None = None
    revoked: dict[str, str] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    strangers: dict[str, str] = field(default_factory=dict)
    seen: list[Callable[[World], World]] = field(default_factory=list)

    def member(self, place: int, **changes: object) -> None:
        """Change what is seen of a member."""

        def change(world: World) -> World:
            members = list(world.members)
            members[place] = replace(members[place], **changes)
            return replace(world, members=tuple(members))

        self.seen.append(change)

    def facts(self, place: int, **changes: object) -> None:
        """Change what a machine says of itself."""

        def change(world: World) -> World:
            members = list(world.members)
            facts = replace(members[place].facts, **changes)
            members[place] = replace(members[place], facts=facts)
            return replace(world, members=tuple(members))

        self.seen.append(change)

    def server(self, place: int, **changes: object) -> None:
        """Change a server of the zone's list."""

        def change(world: World) -> World:
            members = list(world.members)
            server = replace(members[place].server, **changes)
            members[place] = replace(members[place], server=server)
            return replace(world, members=tuple(members))

        self.seen.append(change)

    def files(self, name: str, **changes: object) -> None:
        """Change what is found in a machine's files."""
        self.machines[name] = replace(self.machines[name], **changes)

    def setting(self, name: str, **changes: str) -> None:
        """Change a setting of its ``oned.conf``; names with two underscores for the slash."""
        settings = dict(self.machines[name].settings)
        settings |= {key.replace("__", "/"): value for key, value in changes.items()}
        self.files(name, settings=tuple(settings.items()))

    @property
    def world(self) -> World:
        world = self.lab.observe()
        for change in self.seen:
            world = change(world)
        return world

    def drift(self) -> tuple[Drift, ...]:
        """What is told."""
        world = self.world
        return drift_of(
            Sight(
                wanted=self.goal,
                world=world,
                vip=VIP,
                unbaked=self.unbaked,
                channel=self.channel,
                revoked=self.revoked,
                settings={m.server.id: decided(m.server.id) for m in world.members},
                configured=self.machines,
                pending=self.pending,
                strangers=self.strangers,
            )
        )


def at_rest(goal: Wanted | None = None) -> Place:
    goal = goal or wanted(3, of=OLD)
    machines = {f"z-a{n + 1}": as_written(n) for n in range(goal.size)}
    return Place(zone(goal), goal, dict(machines))


def test_a_zone_as_configured_has_none():
    assert at_rest().drift() == ()


def disabled(p: Place) -> None:
    p.lab.enabled = False


def no_leader(p: Place) -> None:
    p.lab.leader = None
    p.member(0, raft=None, health=Health.UNHEALTHY)


def too_few(p: Place) -> None:
    p.goal = wanted(5, of=OLD)


def somebody_elses(p: Place) -> None:
    p.member(1, node=None)


def other_name(p: Place) -> None:
    p.server(1, name="one-2")


def other_port(p: Place) -> None:
    p.server(1, endpoint="http://10.0.0.12:2634/RPC2")


def down(p: Place) -> None:
    p.lab.named("z-a2").oned = False


def is_parked(p: Place) -> None:
    p.lab.named("z-a2").put_away()
    p.lab.named("z-a2").parked_at = 1.0


def switched_off(p: Place) -> None:
    p.lab.named("z-a2").state = NodeState.STOPPED


def vanished(p: Place) -> None:
    p.lab.named("z-a2").state = NodeState.VANISHED


def silent(p: Place) -> None:
    p.lab.named("z-a2").ssh = False


def masked(p: Place) -> None:
    p.facts(1, oned_masked=True)


def would_not_come_back(p: Place) -> None:
    p.facts(1, oned_enabled=False)


def left_over(p: Place) -> None:
    p.lab.do(Provision((p.goal.specs("b")[0],)))


def stranger(p: Place) -> None:
    p.strangers["10.0.0.22"] = "oned 5.12.0"


def unbaked(p: Place) -> None:
    p.unbaked = "no image of OpenNebula 6.10.0 was baked"


def revoked(p: Place) -> None:
    p.revoked[OLD.digest] = "a hole"


def newer_image(p: Place) -> None:
    p.goal = wanted(3)


def promoted(p: Place) -> None:
    p.goal, p.channel = wanted(3), "production"


def terraform(p: Place) -> None:
    p.pending = ("replace node z-a2 (its specification changed)",)


def edited(p: Place) -> None:
    p.setting("z-a2", RAFT__LOG_RETENTION="1000")


def unset(p: Place) -> None:
    settings = tuple(pair for pair in p.machines["z-a2"].settings if pair[0] != "PORT")
    p.files("z-a2", settings=settings)


def monitor(p: Place) -> None:
    p.files("z-a2", monitor_address="auto")


def added(p: Place) -> None:
    p.files("z-a2", statements=(*p.machines["z-a2"].statements, ("API_LIST_ORDER", "d9")))


def changed(p: Place) -> None:
    p.files("z-a2", statements=(("LOG", "other"), ("VM_MAD", "d2")))


def removed(p: Place) -> None:
    p.files("z-a2", statements=(("LOG", "d1"),))


def remotes(p: Place) -> None:
    p.files("z-a2", files=(("/etc/one/cli", "f1"), ("/var/lib/one/remotes/hooks", "other")))


def unread(p: Place) -> None:
    p.machines["z-a2"] = "z-a2 does not answer over ssh"


def secrets(p: Place) -> None:
    p.facts(1, secret_digest="another")


def in_place(p: Place) -> None:
    p.facts(1, package_version="6.10.5-1")


def runs_other(p: Place) -> None:
    p.member(1, version="6.10.5")


def migrated(p: Place) -> None:
    p.facts(1, schema=Schema("7.0.0", "7.0.0"))


def two_holders(p: Place) -> None:
    p.lab.named("z-a2").vip = True


def no_holder(p: Place) -> None:
    p.lab.named("z-a1").vip = False


KINDS = [
    (disabled, "members", "zone z", "enabled", "disabled"),
    (no_leader, "members", "zone z", "one server that leads", "none"),
    (too_few, "members", "zone z", "5 servers", "3: z-a1, z-a2, z-a3"),
    (somebody_elses, "members", "server 1 (z-a2)", "a node of this cluster", "somebody else"),
    (other_name, "members", "server 1 (one-2)", "z-a2", "one-2"),
    (other_port, "members", "server 1 (z-a2)", "http://10.0.0.12:2633/RPC2", "2634"),
    (down, "members", "server 1 (z-a2)", "healthy", "does not answer"),
    (is_parked, "members", "server 1 (z-a2)", "healthy", "does not answer"),
    (switched_off, "nodes", "z-a2", "running", "stopped"),
    (vanished, "nodes", "z-a2", "running", "there is no such machine"),
    (silent, "nodes", "z-a2", "answers over ssh", "does not"),
    (masked, "nodes", "z-a2", "opennebula.service enabled", "masked"),
    (would_not_come_back, "nodes", "z-a2", "opennebula.service enabled", "disabled"),
    (left_over, "nodes", "z-b1", "generation a serves", "running, outside of the zone"),
    (stranger, "nodes", "10.0.0.22", "nobody", "oned 5.12.0"),
    (unbaked, "images", "catalogue", "an image of OpenNebula 6.10.0", "no image"),
    (revoked, "images", "z-a1", "may be used", "which was revoked: a hole"),
    (newer_image, "images", "z-a3", "onebaton/z:6.10.5, the newest of 6.10.5", "onebaton/z:6.10.0"),
    (promoted, "images", "z-a3", "z:6.10.5, the channel production's", "onebaton/z:6.10.0"),
    (terraform, "terraform", "nodes as they are", "no change", "replace node z-a2"),
    (edited, "configuration", "z-a2:/etc/one/oned.conf", "RAFT/LOG_RETENTION = 250000", "1000"),
    (unset, "configuration", "z-a2:/etc/one/oned.conf", "PORT = 2633", "not set"),
    (monitor, "configuration", "z-a2:/etc/one/monitord.conf", "= 10.0.0.100", "auto"),
    (added, "configuration", "z-a2:/etc/one/oned.conf", "API_LIST_ORDER", "added by hand"),
    (changed, "configuration", "z-a2:/etc/one/oned.conf", "LOG", "changed by hand"),
    (removed, "configuration", "z-a2:/etc/one/oned.conf", "VM_MAD", "removed by hand"),
    (remotes, "configuration", "z-a2:/var/lib/one/remotes/hooks", "on z-a1, z-a3", "another"),
    (unread, "configuration", "z-a2", "files that can be read", "does not answer"),
    (secrets, "configuration", "z-a2:/var/lib/one/.one", "the leader's secrets", "others"),
    (in_place, "versions", "z-a2", "OpenNebula 6.10.0", "6.10.5-1 installed"),
    (runs_other, "versions", "z-a2", "OpenNebula 6.10.0", "6.10.5 answers"),
    (migrated, "versions", "z-a2", "database schema 6.10.0", "7.0.0"),
    (two_holders, "vip", "10.0.0.100/24", "on z-a1, which leads, alone", "on z-a1, z-a2"),
    (no_holder, "vip", "10.0.0.100/24", "on z-a1, which leads, alone", "on no machine"),
]


@pytest.mark.parametrize(
    ("disturb", "area", "place", "expected", "found"), KINDS, ids=[k[0].__name__ for k in KINDS]
)
def test_each_kind_is_told_with_its_place_and_the_way_back(disturb, area, place, expected, found):
    site = at_rest()
    disturb(site)
    told = site.drift()
    one = next(d for d in told if (d.area, d.place) == (area, place))
    assert expected in one.expected
    assert found in one.found
    assert all(d.way_back.endswith(".") for d in told)


@pytest.mark.parametrize(
    "disturb",
    [
        k[0]
        for k in KINDS
        if k[0] not in {revoked, newer_image, promoted, no_leader, vanished, too_few}
    ],
)
def test_one_thing_is_told_once(disturb):
    site = at_rest()
    disturb(site)
    assert len(site.drift()) == 1


def test_a_zone_that_is_too_small_lacks_its_nodes_as_well():
    site = at_rest()
    too_few(site)
    assert [(d.area, d.place) for d in site.drift()] == [
        ("members", "zone z"),
        ("nodes", "z-a4"),
        ("nodes", "z-a5"),
    ]


def test_a_parked_server_comes_back_by_unpark():
    site = at_rest()
    is_parked(site)
    assert "onebaton unpark z-a2" in site.drift()[0].way_back


def test_a_zone_of_somebody_else_is_told_of_its_servers_alone():
    goal = wanted(3, of=OLD)
    lab = zone(goal, slot=None)
    site = Place(lab, goal, {})
    assert {m.server.address for m in site.world.members} == set(ELSEWHERE[:3])
    told = site.drift()
    assert [d.area for d in told] == ["members"] * 3 + ["nodes"] * 3


def test_files_without_the_images_own_are_compared_between_machines():
    site = at_rest()
    for name in ("z-a1", "z-a2", "z-a3"):
        site.files(name, packaged=())
    assert site.drift() == ()
    changed(site)
    (one,) = site.drift()
    assert (one.place, one.expected) == ("z-a2:/etc/one/oned.conf", "the same LOG as on z-a1, z-a3")


def test_where_nobody_can_say_who_is_right_all_are_named():
    site = at_rest()
    remotes(site)
    del site.machines["z-a3"]
    (one,) = site.drift()
    assert (one.place, one.found) == ("/var/lib/one/remotes/hooks", "z-a1 against z-a2")


def test_machines_of_two_images_are_not_compared():
    site = at_rest()
    remotes(site)
    site.lab.named("z-a2").spec = replace(
        site.lab.named("z-a2").spec, image=image().name, image_digest=image().digest
    )
    assert [d.area for d in site.drift()] == ["images"]


def test_a_word_for_no_leader_with_two():
    site = at_rest()
    leader = site.world.members[0].raft
    site.member(1, raft=replace(leader, server_id=1, state=RaftState.LEADER))
    assert "z-a1, z-a2" in next(d.found for d in site.drift() if d.place == "zone z")


# What is under way, and what is kept


def view(site: Place, *others: FakeServer, goal=None, condemned=None):
    world = site.world
    specs = [node.spec for node in world.nodes]
    platform = FakePlatform({spec.image: spec.image_digest for spec in specs})
    platform.apply(specs)
    configurations = FakeConfigurations(site.machines)
    api = FakeZoneApi(*others)
    sight = look_closer(
        site.goal,
        world,
        platform,
        configurations,
        api,
        vip=VIP,
        unbaked="",
        channel=None,
        revoked={},
    )
    assert {method for method, _ in api.calls} == {"version"}
    return drift_view(sight, 5.0, goal=goal, condemned=condemned), configurations


def test_a_half_done_rollout_is_drift_that_is_expected():
    site = at_rest()
    site.goal = wanted(3)
    site.lab.wanted = site.goal
    plan = plan_roll(site.goal, site.world)
    site.lab.do(plan.actions[0])
    told, _ = view(site, goal=goal_of(site.goal, 1.0))
    assert {row.place for row in told.rows if row.area == "nodes"} == {"z-b1", "z-b2", "z-b3"}
    (note,) = told.notes
    assert "half-done, with z-b1, z-b2, z-b3" in note
    assert "drift is expected until `onebaton rollout`" in note
    assert "onebaton abort" in note


def test_a_machine_that_is_being_replaced_is_named():
    site = at_rest()
    told, _ = view(site, condemned=Condemned("z-a2", "10.0.0.12", "i2", OLD.digest))
    assert "z-a2 is being replaced: drift is expected" in told.notes[0]


def cut_over() -> Place:
    """The zone after a cut-over that is not final."""
    goal = next_release(3)
    lab = zone(wanted(3, of=OLD))
    lab.wanted = goal
    while actions := plan_roll(goal, lab.observe()).actions:
        lab.do(actions[0])
        assert not isinstance(actions[0], Destroy)
        if isinstance(actions[0], CutOver):
            assert lab.prior is not None
    assert lab.prior is not None
    assert lab.prior.phase is PriorPhase.SERVED
    machines = {m.host.name: as_written(m.server.id) for m in lab.observe().members}
    return Place(lab, goal, machines)


def test_the_generation_that_a_cut_over_left_is_no_drift():
    assert cut_over().drift() == ()


def test_but_its_oned_must_not_run():
    site = cut_over()
    site.lab.named("z-a2").oned = True
    (one,) = site.drift()
    assert (one.area, one.place, one.found) == ("nodes", "z-a2", "oned runs")
    assert "onebaton finalize" in one.way_back


def test_nor_may_its_machine_be_gone():
    site = cut_over()
    site.lab.named("z-a2").state = NodeState.VANISHED
    (one,) = site.drift()
    assert (one.area, one.place) == ("nodes", "z-a2")


def test_while_it_is_cut_over_all_is_expected():
    site = cut_over()
    prior = site.lab.prior
    assert isinstance(prior, Prior)
    site.lab.prior = replace(prior, phase=PriorPhase.CUTTING, served_at=None)
    told, _ = view(site)
    assert "a cut-over to z-b" in told.notes[0]


# What is read


def test_only_machines_that_answer_are_read_and_nothing_is_changed():
    site = at_rest()
    silent(site)
    told, configurations = view(site)
    assert configurations.calls == [("z-a1", "z-a3")]
    assert [(row.area, row.place) for row in told.rows] == [("nodes", "z-a2")]
    assert told.notes == ()


def test_whoever_answers_at_a_free_address_is_a_stranger():
    there = FakeServer(0, "theirs", "http://10.0.0.22:2633/RPC2")
    told, _ = view(at_rest(), there)
    assert [(row.place, row.found) for row in told.rows] == [("10.0.0.22", f"oned {there.version}")]


def test_a_platform_that_could_not_do_it_says_so():
    site = at_rest()

    class Refuses(FakePlatform):
        def pending(self, _wanted):
            raise RefusedError("10.0.0.12 is taken", details=["by x"], resolution="Free it.")

    sight = look_closer(
        site.goal,
        site.world,
        Refuses({}),
        FakeConfigurations(site.machines),
        FakeZoneApi(),
        vip=VIP,
        unbaked="",
        channel=None,
        revoked={},
    )
    (one,) = drift_of(sight)
    assert (one.area, one.found) == ("terraform", "10.0.0.12 is taken: by x")
