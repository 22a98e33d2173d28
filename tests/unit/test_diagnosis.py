"""Every check of the doctor: what is well, what is wrong, and what cannot be told."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from tests.fakes.examiner import VIP, sound
from tests.fakes.worlds import Lab, Machine, image, wanted, zone

from onebaton.examination import (
    Checkup,
    Examination,
    RaftHook,
    Reading,
    Transient,
    Transients,
)
from onebaton.model import Health, NodeSpec, RaftState, Schema, World
from onebaton.plan import gates
from onebaton.plan.actions import Join
from onebaton.plan.diagnosis import CHECKS, Diagnosis, Verdict, diagnose
from onebaton.plan.roll import plan_roll

NOTHING_IN_FLIGHT = Transients((), 12, complete=True)
B, W, U = Verdict.BLOCKER, Verdict.WARNING, Verdict.UNKNOWN


@dataclass
class Patient:
    """A zone that the tests break: z-a1 (server 0) leads, z-a2 and z-a3 follow."""

    lab: Lab
    machines: dict[str, Examination | str]
    readings: dict[int, Reading]
    transients: Transients | None = NOTHING_IN_FLIGHT
    baked: bool = True
    seen: list[Callable[[World], World]] = field(default_factory=list)

    def member(self, place: int, **changes: object) -> None:
        """Change what is seen of a member."""

        def change(world: World) -> World:
            members = list(world.members)
            members[place] = replace(members[place], **changes)
            return replace(world, members=tuple(members))

        self.seen.append(change)

    def raft(self, place: int, **changes: object) -> None:
        """Change what a server says of itself."""

        def change(world: World) -> World:
            members = list(world.members)
            raft = replace(members[place].raft, **changes)
            members[place] = replace(members[place], raft=raft)
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

    def machine(self, name: str, **changes: object) -> None:
        """Change what is found on a machine."""
        self.machines[name] = replace(self.machines[name], **changes)

    def hook(self, name: str, **changes: object) -> None:
        """Change the leader's hook of a machine."""
        leader, follower = self.machines[name].hooks
        self.machine(name, hooks=(replace(leader, **changes), follower))

    def settings(self, **changes: object) -> None:
        """Change the settings that the leader tells."""
        self.lab.settings = replace(self.lab.settings, **changes)

    def diagnose(self) -> tuple[Diagnosis, ...]:
        """The doctor's word."""
        world = self.lab.observe()
        for change in self.seen:
            world = change(world)
        checkup = Checkup(6.0, self.machines, self.readings, self.transients)
        return diagnose(self.lab.wanted, world, checkup, VIP, baked=self.baked)


def healthy() -> Patient:
    lab = zone(wanted(3))
    return Patient(
        lab,
        {f"z-a{place}": sound() for place in (1, 2, 3)},
        {server: Reading(lab.term, (0, 1, 2)) for server in (0, 1, 2)},
    )


def test_a_healthy_zone_is_ok_in_every_check_and_says_what_was_seen():
    found = healthy().diagnose()
    assert [one for one in found if one.verdict is not Verdict.OK] == []
    assert [one.check for one in found] == [check.id for check in CHECKS]
    assert not any(one.blocks for one in found)
    assert all(one.evidence and one.why and not one.way_out for one in found)


def no_leader(p: Patient) -> None:
    p.lab.leader = None


def two_leaders(p: Patient) -> None:
    p.raft(1, state=RaftState.LEADER)


def two_down(p: Patient) -> None:
    p.lab.named("z-a2").oned = p.lab.named("z-a3").oned = False


def one_down(p: Patient) -> None:
    p.lab.named("z-a2").oned = False


def lags(p: Patient) -> None:
    p.lab.named("z-a2").index -= 60


def silent(p: Patient) -> None:
    p.member(1, raft=None, lag=None, health=Health.UNKNOWN)


def term_rises(p: Patient) -> None:
    p.readings[2] = Reading(p.lab.term + 4, (0, 1, 2))


def terms_differ(p: Patient) -> None:
    p.raft(1, term=2)
    p.readings[1] = Reading(2, (0, 1, 2))


def not_asked_twice(p: Patient) -> None:
    del p.readings[1]


def other_view(p: Patient) -> None:
    p.readings[1] = Reading(p.lab.term, (0, 1))


def stray(p: Patient) -> None:
    spec = NodeSpec("z-b1", "10.0.0.21", "old", "sha256:old", "b")
    p.lab.machines["10.0.0.21"] = Machine("z-b1", "10.0.0.21", "6.10.0", spec, oned=True)


def unseen_node(p: Patient) -> None:
    stray(p)
    p.lab.machines["10.0.0.21"].oned = p.lab.machines["10.0.0.21"].ssh = False


def vip_twice(p: Patient) -> None:
    p.lab.named("z-a2").vip = True


def vip_of_a_follower(p: Patient) -> None:
    p.lab.named("z-a1").vip, p.lab.named("z-a2").vip = False, True


def passed_over(p: Patient) -> None:
    p.lab.named("z-a2").passed_over = 7


def no_vip(p: Patient) -> None:
    p.lab.named("z-a1").vip = False


def no_ssh(p: Patient) -> None:
    p.lab.named("z-a2").ssh = False
    p.machines["z-a2"] = "z-a2 does not answer over ssh"


def no_image(p: Patient) -> None:
    p.baked = False


def other_schema_wanted(p: Patient) -> None:
    p.lab.wanted = wanted(of=image("7.0.2", schema=Schema("7.0.0", "7.0.0")))


def older_wanted(p: Patient) -> None:
    p.lab.wanted = wanted(of=image("6.8.0"))


def revoked(p: Patient) -> None:
    p.lab.wanted = replace(p.lab.wanted, revoked="its kernel has a hole")


def no_place(p: Patient) -> None:
    p.lab.wanted = replace(
        p.lab.wanted, slots={"a": p.lab.wanted.slots["a"], "b": ("10.0.0.21", "10.0.0.22")}
    )


def two_servers(p: Patient) -> None:
    p.lab = zone(replace(p.lab.wanted, size=1))


def hopeless_seed(p: Patient) -> None:
    spec = p.lab.wanted.specs("b")[0]
    p.lab.machines[spec.address] = Machine(
        spec.name, spec.address, "6.10.5", spec, oned=True, index=-300_000, secret="secrets"
    )
    p.lab.servers.append(
        replace(p.lab.servers[0], id=3, name=spec.name, endpoint="http://10.0.0.21:2633/RPC2")
    )


def busy(p: Patient) -> None:
    p.transients = Transients(
        tuple(Transient("VM", n, f"vm{n}", "PROLOG") for n in range(7)), 100, complete=True
    )


def too_many(p: Patient) -> None:
    p.transients = Transients((), 5000, complete=False)


def not_listed(p: Patient) -> None:
    p.transients = None


def settings(**changes: object) -> Callable[[Patient], None]:
    return lambda p: p.settings(**changes)


def on_a2(**changes: object) -> Callable[[Patient], None]:
    return lambda p: p.machine("z-a2", **changes)


def says_a2(**changes: object) -> Callable[[Patient], None]:
    return lambda p: p.facts(1, **changes)


def hook_a2(**changes: object) -> Callable[[Patient], None]:
    return lambda p: p.hook("z-a2", **changes)


def disabled(p: Patient) -> None:
    p.lab.enabled = False


def no_hook(p: Patient) -> None:
    follower = p.machines["z-a2"].hooks[1]
    p.machine("z-a2", hooks=(RaftHook("leader", None), follower))


def steered_too_low(p: Patient) -> None:
    p.lab.wanted = wanted(steered_election_timeout_ms=500)


def fast_writes(p: Patient) -> None:
    p.lab.records_per_second = 5000.0


CASES = [
    ("leader", no_leader, B, "z-a1 candidate"),
    ("leader", two_leaders, B, "z-a1, z-a2"),
    ("quorum", two_down, B, "2 of 3 needed, 1 healthy seen"),
    ("quorum", no_leader, U, "no leader"),
    ("members", one_down, B, "does not answer"),
    ("lag", lags, B, "60 records behind"),
    ("lag", silent, U, "z-a2"),
    ("term", term_rises, B, "z-a3 from 3 to 7"),
    ("term", terms_differ, B, "z-a1 in 3"),
    ("term", not_asked_twice, U, "z-a2"),
    ("views", other_view, B, "it lists the servers 0, 1, the leader 0, 1, 2"),
    ("views", not_asked_twice, U, "z-a2"),
    ("strays", stray, B, "z-b1"),
    ("log", passed_over, B, "record 7 of its logdb is not applied"),
    ("log", no_ssh, U, "z-a2"),
    ("vip", vip_twice, B, "z-a1, z-a2"),
    ("vip", vip_of_a_follower, B, "z-a2 holds it, z-a1 leads"),
    ("vip", no_vip, B, "no machine holds"),
    ("vip", no_ssh, U, "z-a2"),
    ("vip", unseen_node, U, "z-b1"),
    ("secrets", says_a2(secret_digest="other"), B, "z-a1, z-a3 against z-a2"),
    ("secrets", says_a2(secret_digest=None), U, "z-a2"),
    ("schema", says_a2(schema=Schema("6.8.0", "6.8.0")), B, "z-a2 6.8.0"),
    ("schema", says_a2(schema=None), U, "z-a2"),
    ("versions", lambda p: p.member(1, version="6.10.1"), W, "z-a2 6.10.1"),
    ("versions", says_a2(package_version="6.10.3-1"), W, "the package is 6.10.3-1"),
    ("versions", lambda p: p.member(1, version=None), U, "z-a2"),
    ("target", no_image, W, "6.10.5 was baked"),
    ("target", other_schema_wanted, B, "6.10.0; 7.0.2 requires 7.0.0"),
    ("target", older_wanted, B, "the image has 6.8.0"),
    ("target", revoked, B, "its kernel has a hole"),
    ("places", no_place, B, "2 of 3"),
    ("size", two_servers, B, "1 server listed, 1 wanted"),
    ("seeds", hopeless_seed, B, "z-b1 runs on a database"),
    ("transients", busy, W, "VM 0 (vm0) PROLOG"),
    ("transients", busy, W, "and 2 more"),
    ("transients", too_many, U, "more than the 5000 looked at"),
    ("transients", not_listed, U, "did not list"),
    ("zone-state", disabled, B, "STATE of zone 0"),
    ("federation", settings(federation_mode="MASTER"), B, "MASTER"),
    ("federation", no_leader, U, "one.system.config"),
    ("xmlrpc-timeout", settings(xmlrpc_timeout_ms=0), B, "XMLRPC_TIMEOUT_MS is 0"),
    ("xmlrpc-timeout", on_a2(xmlrpc_timeout_ms=0), B, "oned on z-a2"),
    ("xmlrpc-timeout", no_ssh, U, "z-a2"),
    ("election-timeout", says_a2(election_timeout_ms=900), B, "z-a2 would stand"),
    ("election-timeout", on_a2(broadcast_timeout_ms=3000), B, "BROADCAST_TIMEOUT_MS 3000"),
    ("election-timeout", steered_too_low, B, "500 ms"),
    ("election-timeout", says_a2(election_timeout_ms=1000), W, "ELECTION_TIMEOUT_MS is 1000"),
    ("election-timeout", no_ssh, U, "z-a2"),
    ("log-window", fast_writes, B, "5000.0 records/s"),
    ("log-window", no_leader, U, "one.system.config"),
    ("logdb", on_a2(logdb_records=500_001), W, "500001 records"),
    ("logdb", on_a2(logdb_records=None), U, "z-a2"),
    ("machines", no_ssh, B, "no answer over ssh at 10.0.0.12"),
    ("machines", no_ssh, U, "z-a2 does not answer"),
    ("hooks", no_hook, B, "z-a2 has no RAFT_LEADER_HOOK"),
    ("hooks", hook_a2(executable=False), B, "oneadmin on z-a2 cannot run the hook raft/vip.sh"),
    ("hooks", hook_a2(executable=None), U, "z-a2"),
    ("hooks", hook_a2(arguments=("leader", "eth0", "10.0.0.99/24")), B, "10.0.0.99/24"),
    ("hooks", hook_a2(arguments=("leader", "ens3", VIP.cidr)), B, "no network interface ens3"),
    ("hooks", hook_a2(arguments=()), B, "ARGUMENTS are empty"),
    ("hooks", on_a2(has_arping=False), W, "arping is not installed on z-a2"),
    ("hook-rights", on_a2(may_change_addresses=False), B, "oneadmin on z-a2"),
    ("hook-rights", no_ssh, U, "z-a2"),
    ("sudo", on_a2(may_sudo=False), W, "oneadmin on z-a2"),
    ("disk", says_a2(disk_free_bytes=100 << 20), B, "z-a2 100.0 MiB free"),
    ("disk", on_a2(database_bytes=20 << 30), W, "database 20.0 GiB"),
    ("disk", on_a2(database_bytes=None), U, "z-a2"),
    ("disk", no_ssh, U, "z-a2"),
    ("datastores", says_a2(local_datastores=True), B, "z-a2 holds images"),
    ("datastores", no_ssh, U, "z-a2"),
    ("clock", on_a2(clock_offset_s=-3.0), W, "z-a2 -3.0 s"),
    ("clock", no_ssh, U, "z-a2"),
    ("monitor-address", on_a2(monitor_address="auto"), W, "MONITOR_ADDRESS is auto"),
    ("monitor-address", on_a2(monitor_address=None), W, "not set"),
    ("config-drift", on_a2(config_digests=(("DB", "d1"), ("LOG", "x"), ("RAFT", "d3"))), W,
     "z-a1, z-a3 against z-a2"),
    ("config-drift", on_a2(config_digests=(("DB", "d1"), ("LOG", "d2"))), W, "RAFT of oned.conf"),
    ("config-drift", on_a2(config_digests=()), U, "no oned.conf"),
    ("known-servers", says_a2(known_servers=frozenset({0, 1})), W, "2 came later"),
    ("known-servers", says_a2(known_servers=frozenset()), U, "z-a2"),
    ("leftovers", on_a2(leftovers=("a rule",)), W, "a rule"),
    ("leftovers", says_a2(oned_masked=True), W, "masked"),
    ("leftovers", says_a2(oned_enabled=False), W, "disabled"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("check", "break_it", "verdict", "text"),
    CASES,
    ids=[f"{check}-{verdict.value}-{text}" for check, _, verdict, text in CASES],
)
def test_what_is_wrong_is_found_with_its_evidence_and_the_way_out(check, break_it, verdict, text):
    patient = healthy()
    break_it(patient)
    found = [d for d in patient.diagnose() if d.check == check]
    told = [d for d in found if d.verdict is verdict and text in f"{d.what}: {d.evidence}"]
    assert told, found
    for diagnosis in told:
        assert diagnosis.way_out
        assert diagnosis.why
    assert Verdict.OK not in {d.verdict for d in found}


def test_every_check_has_a_bad_case():
    assert {check for check, *_ in CASES} == {check.id for check in CHECKS}


def test_what_is_unknown_blocks_where_a_blocker_could_hide():
    hides_one = {check for check, _, verdict, _ in CASES if verdict is B}
    assert {check.id for check in CHECKS if check.blocks} == hides_one
    patient = healthy()
    no_ssh(patient)
    for diagnosis in patient.diagnose():
        if diagnosis.verdict is U:
            assert diagnosis.blocks == (diagnosis.check in hides_one), diagnosis


@pytest.mark.parametrize("break_it", [on_a2(monitor_address="auto"), busy, no_image])
def test_warnings_stand_in_nobodys_way(break_it):
    patient = healthy()
    break_it(patient)
    found = patient.diagnose()
    assert W in {d.verdict for d in found}
    assert not any(d.blocks for d in found)


def test_whatever_shuts_a_gate_is_found_by_the_doctor():
    asked: set[str] = set()
    for _, break_it, _, _ in CASES:
        patient = healthy()
        break_it(patient)
        world = patient.lab.observe()
        for change in patient.seen:
            world = change(world)
        scene = gates.Scene.of(patient.lab.wanted, world)
        found = {d.what for d in patient.diagnose() if d.blocks}
        for gate in gates.GATES:
            for finding in gate(scene):
                asked.add(gate.__name__)
                assert finding.what in found or not patient.baked, gate.__name__
    assert asked == {gate.__name__ for gate in gates.GATES}


def test_a_server_that_came_while_the_term_was_watched_is_no_other_view():
    patient = healthy()
    patient.readings = {n: Reading(patient.lab.term, (0, 1, 2, 3)) for n in (0, 1, 2)}
    assert [d.verdict for d in patient.diagnose() if d.check == "views"] == [Verdict.OK]


def test_what_an_interrupted_join_leaves_behind_blocks_nothing():
    patient = healthy()
    lab = patient.lab
    while not isinstance(step := plan_roll(lab.wanted, lab.observe()).actions[0], Join):
        lab.do(step)
    for small in lab.steps(step)[:-2]:
        small()
    assert len(lab.servers) == 4
    assert not lab.runs(lab.servers[3])
    patient.machines["z-b1"] = sound()
    patient.readings = {n: Reading(lab.term, (0, 1, 2, 3)) for n in (0, 1, 2)}
    assert plan_roll(lab.wanted, lab.observe()).actions[0].id == step.id
    assert [d for d in patient.diagnose() if d.blocks] == []


def test_the_readme_names_every_check():
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    assert [check.id for check in CHECKS if f"`{check.id}`" not in readme] == []
