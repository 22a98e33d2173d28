"""Each gate alone, all of them at once, and what they let pass in the middle of a roll."""

from dataclasses import replace

import pytest
from tests.fakes.wanting import NEXT_SCHEMA
from tests.fakes.worlds import ELSEWHERE, SLOTS, Lab, Machine, image, wanted, zone

from onebaton.errors import RefusedError, Status
from onebaton.model import UNKNOWN_SCHEMA, NodeState, Schema, Server
from onebaton.plan.roll import plan_roll
from onebaton.plan.versions import version_key


def reasons(lab: Lab) -> list[str]:
    """All reasons against a roll now."""
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, lab.observe())
    assert refusal.value.status is Status.REFUSED
    assert refusal.value.resolution
    return list(refusal.value.details)


def only_reason(lab: Lab) -> str:
    """The single one."""
    (reason,) = reasons(lab)
    return reason


def advance(lab: Lab, until: str) -> Lab:
    """Carry the plan out up to, and without, the action of this id."""
    while (plan := plan_roll(lab.wanted, lab.observe()).actions)[0].id != until:
        lab.do(plan[0])
    return lab


def settings(lab: Lab, **changes: object) -> Lab:
    lab.settings = replace(lab.settings, **changes)
    return lab


def test_a_healthy_zone_passes():
    lab = zone(wanted(3))
    assert plan_roll(lab.wanted, lab.observe()).actions


def test_no_leader():
    lab = zone(wanted(3))
    lab.leader = None
    assert reasons(lab)[0].startswith(
        "the zone has no leader: z-a1 candidate, z-a2 candidate, z-a3 candidate."
    )


def test_no_leader_because_two_of_three_are_down():
    lab = zone(wanted(3))
    lab.leader = None
    lab.named("z-a1").oned = lab.named("z-a2").oned = False
    found = reasons(lab)
    assert found[0].startswith("the zone has no leader: z-a1 does not answer")
    assert found[1].startswith("server 0 (z-a1) is unhealthy: does not answer.")
    assert found[2].startswith("server 1 (z-a2) is unhealthy: does not answer.")


def test_two_leaders():
    lab = zone(wanted(3))
    world = lab.observe()
    raft = replace(world.members[1].raft, state=world.members[0].raft.state)
    split = replace(world.members[1], raft=raft)
    world = replace(world, members=(world.members[0], split, world.members[2]))
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, world)
    assert "more than one server says that it leads: z-a1, z-a2." in refusal.value.details[0]


def test_a_disabled_zone():
    lab = zone(wanted(3))
    lab.enabled = False
    assert only_reason(lab).startswith("the zone is disabled")


@pytest.mark.parametrize("mode", ["MASTER", "SLAVE"])
def test_a_federated_zone(mode):
    lab = settings(zone(wanted(3)), federation_mode=mode)
    assert f"the zone is federated: FEDERATION/MODE is {mode}." in only_reason(lab)


def test_a_follower_that_is_down():
    lab = zone(wanted(3))
    lab.named("z-a2").oned = False
    assert only_reason(lab).startswith("server 1 (z-a2) is unhealthy: does not answer.")


def test_a_follower_that_lags():
    lab = zone(wanted(3))
    lab.named("z-a3").index -= 51
    assert only_reason(lab).startswith("server 2 (z-a3) is 51 records behind, 50 are allowed")
    lab.named("z-a3").index += 1
    assert plan_roll(lab.wanted, lab.observe()).actions


def test_an_unknown_member_is_unhealthy():
    """Its API hangs, its machine does not answer: down or not, it does not count."""
    lab = zone(wanted(3))
    lab.named("z-a2").oned, lab.named("z-a2").ssh = False, False
    assert only_reason(lab).startswith("server 1 (z-a2) is unhealthy")


def test_an_old_member_that_was_put_away_before_its_time():
    """Stopped and masked is what our retirement leaves, but nothing has joined yet."""
    lab = zone(wanted(3))
    lab.named("z-a2").oned, lab.named("z-a2").masked = False, True
    assert only_reason(lab).startswith("server 1 (z-a2) is unhealthy")


def test_an_old_follower_that_is_down_in_the_middle_of_a_roll():
    """It is down and not masked: that was not us."""
    lab = advance(zone(wanted(3)), "retire:1:z-a2")
    lab.named("z-a3").oned = False
    assert only_reason(lab).startswith("server 2 (z-a3) is unhealthy")


def test_what_a_retirement_leaves_behind_passes():
    lab = advance(zone(wanted(3)), "retire:1:z-a2")
    lab.named("z-a2").oned, lab.named("z-a2").masked = False, True
    assert plan_roll(lab.wanted, lab.observe()).actions[0].id == "retire:1:z-a2"


def test_a_follower_that_passed_over_a_record_is_seeded_anew_first():
    lab = zone(wanted(3))
    lab.named("z-a2").passed_over = 7
    told = only_reason(lab)
    assert "the data of z-a2 are not the zone's: record 7 of its logdb" in told
    assert "`onebaton park z-a2`, then `onebaton unpark z-a2`" in told


def test_a_leader_that_passed_over_a_record_does_not_lead_on():
    lab = advance(zone(wanted(3)), "join:z-b2")
    lab.named("z-a1").passed_over = 7
    assert "Restart opennebula.service on it, and wait until another" in only_reason(lab)


def test_an_old_follower_that_passed_over_a_record_goes_with_the_others():
    """Nothing is copied from it, and it is about to go."""
    lab = advance(zone(wanted(3)), "join:z-b2")
    lab.named("z-a2").passed_over = 7
    join, *_ = plan_roll(lab.wanted, lab.observe()).actions
    assert (join.id, join.source) == ("join:z-b2", "z-a3")
    while actions := plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(actions[0])
    assert {server.name for server in lab.servers} == {"z-b1", "z-b2", "z-b3"}


def test_a_new_member_that_passed_over_a_record_is_stopped_by_its_operator():
    lab = advance(zone(wanted(3)), "retire:1:z-a2")
    new = lab.named("z-b2")
    new.passed_over = 7
    assert "Stop opennebula.service on it" in only_reason(lab)
    new.oned = False
    assert plan_roll(lab.wanted, lab.observe()).actions[0].id == "seed:z-b2"
    while actions := plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(actions[0])
    assert new.passed_over is None


def test_two_that_are_put_away_do_not_pass():
    lab = advance(zone(wanted(3)), "retire:1:z-a2")
    for name in ("z-a2", "z-a3"):
        lab.named(name).oned, lab.named(name).masked = False, True
    assert len(reasons(lab)) == 2


def test_two_new_members_down_do_not_pass():
    lab = advance(zone(wanted(5)), "retire:1:z-a2")
    lab.named("z-b4").oned = lab.named("z-b5").oned = False
    assert len(reasons(lab)) == 2


def test_a_new_member_that_cannot_be_looked_into_does_not_pass():
    lab = advance(zone(wanted(3)), "join:z-b3")
    lab.named("z-b2").oned, lab.named("z-b2").ssh = False, False
    assert "server 4 (z-b2) is unhealthy" in only_reason(lab)


def test_what_a_hand_over_leaves_behind_passes():
    lab = advance(zone(wanted(3)), "hand-over:0:z-a1:z-b1")
    hand_over = plan_roll(lab.wanted, lab.observe()).actions[0]
    lab.steps(hand_over)[0]()
    assert lab.leader is None
    assert plan_roll(lab.wanted, lab.observe()).actions[0] == hand_over


def test_a_hand_over_with_a_new_member_down_does_not_pass():
    lab = advance(zone(wanted(3)), "hand-over:0:z-a1:z-b1")
    lab.steps(plan_roll(lab.wanted, lab.observe()).actions[0])[0]()
    lab.named("z-b3").oned = False
    assert reasons(lab)[0].startswith("the zone has no leader")


def test_an_old_leader_that_died_and_is_not_masked_is_no_hand_over():
    lab = advance(zone(wanted(3)), "hand-over:0:z-a1:z-b1")
    lab.named("z-a1").oned = lab.named("z-a1").vip = False
    lab.leader = None
    assert reasons(lab)[0].startswith("the zone has no leader")


def test_a_running_member_that_fell_out_of_the_log_is_stopped_by_its_operator():
    lab = advance(zone(wanted(3)), "retire:1:z-a2")
    lab.named("z-b2").index = lab.index - 200_000
    assert "z-b2 runs on a database that cannot catch up" in only_reason(lab)
    lab.named("z-b2").oned = False
    lab.named("z-b2").index = None
    assert plan_roll(lab.wanted, lab.observe()).actions[0].id == "seed:z-b2"


def test_terms_that_differ():
    lab = zone(wanted(3))
    world = lab.observe()
    ahead = replace(world.members[2], raft=replace(world.members[2].raft, term=9))
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, replace(world, members=(*world.members[:2], ahead)))
    assert "z-a3 is in another term than the leader: 9, and z-a1 in 3." in refusal.value.details[0]


def test_a_machine_that_cannot_be_looked_into():
    lab = zone(wanted(3))
    lab.named("z-a2").ssh = False
    assert only_reason(lab).startswith("the machine of z-a2 cannot be looked into")


def test_nobody_holds_the_vip():
    lab = zone(wanted(3))
    lab.named("z-a1").vip = False
    assert only_reason(lab).startswith("no machine holds the virtual IP")


def test_two_hold_the_vip():
    lab = zone(wanted(3))
    lab.named("z-a3").vip = True
    assert only_reason(lab).startswith("more than one machine holds the virtual IP: z-a1, z-a3.")


def test_the_vip_on_a_follower():
    lab = zone(wanted(3))
    lab.named("z-a1").vip, lab.named("z-a3").vip = False, True
    assert "z-a3 holds it, z-a1 leads" in only_reason(lab)


def test_a_missing_vip_is_not_excused_by_a_retirement():
    lab = advance(zone(wanted(3)), "retire:1:z-a2")
    lab.steps(plan_roll(lab.wanted, lab.observe()).actions[0])[0]()
    lab.named("z-a1").vip = False
    assert only_reason(lab).startswith("no machine holds the virtual IP")


def test_another_schema_is_a_cut_over_that_has_to_be_rehearsed():
    lab = zone(wanted(3, of=image("7.0.2", schema=NEXT_SCHEMA)))
    assert only_reason(lab) == (
        "the change of the schema to 7.0.0 was never rehearsed: the zone's is 6.10.0, and there "
        "is no rehearsal of onebaton/z:7.0.2. "
        "Rehearse it: `onebaton rehearse --version 7.0.2`."
    )


def test_schemas_are_compared_as_strings_both_of_them():
    lab = zone(wanted(3, of=image("6.10.5", schema=Schema("6.10.0", "6.10.1"))))
    assert only_reason(lab).startswith("the change of the schema to 6.10.0/6.10.1")


def test_a_follower_of_another_schema():
    lab = zone(wanted(3))
    lab.named("z-a2").schema = NEXT_SCHEMA
    assert only_reason(lab).startswith(
        "cut-over needed: the wanted image has another database schema: "
        "z-a2: 7.0.0; 6.10.5 requires 6.10.0."
    )


def test_an_image_that_was_never_asked_for_its_schema():
    lab = zone(wanted(3, of=image(schema=UNKNOWN_SCHEMA)))
    assert only_reason(lab).startswith("the database schema of the wanted image is unknown")


def test_an_unknown_schema_of_a_member():
    lab = zone(wanted(3))
    lab.named("z-a2").schema = None
    assert only_reason(lab).startswith("the database schema of z-a2 is unknown")


def test_an_older_image():
    lab = zone(wanted(3, of=image("6.10.0")), version="6.10.5")
    assert "z-a3 runs 6.10.5, the image has 6.10.0" in only_reason(lab)


def test_versions_are_compared_as_numbers():
    assert version_key("6.10.0") > version_key("6.9.80")
    assert version_key("6.10.0.1") > version_key("6.10.0")
    assert version_key("6.10.0-1~bpo12") == version_key("6.10.0")


def test_settings_that_were_not_seen():
    lab = zone(wanted(3))
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, replace(lab.observe(), settings=None))
    assert "the leader's settings are unknown" in refusal.value.details[0]


def test_an_endless_timeout():
    lab = settings(zone(wanted(3)), xmlrpc_timeout_ms=0)
    assert "XMLRPC_TIMEOUT_MS is 0" in only_reason(lab)


def test_steering_at_the_pace_of_heartbeats():
    """Measured: a timeout equal to the heartbeat's broke the zone for seconds."""
    lab = settings(zone(wanted(3)), broadcast_timeout_ms=501)
    assert "1000 ms, and heartbeats come every 501 ms" in only_reason(lab)


def test_steering_that_would_not_win():
    lab = zone(wanted(3, election_timeout_ms=1000))
    assert only_reason(lab).startswith("the steered election timeout would not win")


def test_a_leader_that_was_steered_itself_can_be_rolled_again():
    """It runs with the shorter timeout until its next start; it does not stand for election."""
    lab = settings(zone(wanted(3)), election_timeout_ms=1000)
    assert plan_roll(lab.wanted, lab.observe()).actions


def test_a_log_that_outruns_the_seeds():
    lab = zone(wanted(3, expected_seed_s=100))
    lab.records_per_second = 1250
    assert "1250.0 records/s for 100 s are 125000" in only_reason(lab)
    lab.records_per_second = 1249
    assert plan_roll(lab.wanted, lab.observe()).actions


def test_secrets_that_cannot_be_read():
    lab = zone(wanted(3))
    lab.named("z-a2").secret = None
    assert only_reason(lab).startswith("the secrets of z-a2 cannot be read")


def test_a_name_that_is_in_use_elsewhere():
    """OpenNebula accepts a second server of the same name without a word."""
    lab = zone(wanted(3), slot=None)
    old = lab.servers[2]
    lab.servers[2] = Server(old.id, "z-a1", old.endpoint)
    assert only_reason(lab).startswith(
        f"the name of the new node z-a1 is in use: server 2 at http://{ELSEWHERE[2]}:2633/RPC2."
    )


def test_both_slots_in_use():
    lab = zone(wanted(3))
    address = SLOTS["b"][1]
    lab.servers.append(Server(9, "alien", lab.wanted.endpoint(address)))
    lab.machines[address] = replace(lab.named("z-a2"), name="alien", address=address, spec=None)
    assert only_reason(lab).startswith("the address of the new node z-b2 is in use: server 9")


def test_too_few_addresses():
    goal = replace(wanted(3), slots={"a": SLOTS["a"], "b": SLOTS["b"][:2]})
    assert only_reason(zone(goal)).startswith("generation b has too few addresses: 2 of 3.")


def test_a_removed_server_that_still_runs():
    lab = zone(wanted(3))
    spec = image("6.9.0")
    node = replace(wanted(3, of=spec).specs("b")[0], name="z-x1", address="10.0.0.99")
    lab.machines[node.address] = Machine(node.name, node.address, "6.9.0", node, oned=True)
    assert only_reason(lab).startswith("oned runs on z-x1, which is not in the zone")


def test_a_stopped_machine_of_a_new_member_is_not_replaced():
    """It may hold what others lack; only a machine that is gone for good is made anew."""
    lab = advance(zone(wanted(3)), "retire:1:z-a2")
    lab.named("z-b3").state = NodeState.STOPPED
    assert "server 5 (z-b3) is unhealthy" in only_reason(lab)


def test_everything_at_once():
    lab = settings(zone(wanted(3, steered_election_timeout_ms=5000)), xmlrpc_timeout_ms=0)
    lab.enabled = False
    lab.named("z-a2").oned = False
    lab.named("z-a3").vip = True
    lab.named("z-a3").schema = Schema("6.6.0", "6.6.0")
    assert [reason.split(":")[0] for reason in reasons(lab)] == [
        "the zone is disabled",
        "a dead server would block the others for ever",
        "server 1 (z-a2) is unhealthy",
        "more than one machine holds the virtual IP",
        "cut-over needed",
        "the steered election timeout would not win the election",
    ]


def with_local_images(lab: Lab, name: str):
    world = lab.observe()
    members = tuple(
        replace(m, facts=replace(m.facts, local_datastores=True)) if m.host.name == name else m
        for m in world.members
    )
    return replace(world, members=members)


def test_images_on_the_disk_of_a_machine_that_would_be_destroyed():
    lab = zone(wanted(3))
    with pytest.raises(RefusedError) as refusal:
        plan_roll(lab.wanted, with_local_images(lab, "z-a2"))
    assert refusal.value.details[0].startswith("z-a2 holds images on its own disk: files under")


def test_images_on_a_machine_that_stays_are_no_reason():
    lab = zone(wanted(3))
    while plan_roll(lab.wanted, lab.observe()).actions:
        lab.do(plan_roll(lab.wanted, lab.observe()).actions[0])
    assert plan_roll(lab.wanted, with_local_images(lab, "z-b1")).actions == ()


def test_a_revoked_image_is_refused_before_and_in_the_middle_of_a_roll():
    lab = zone(wanted(3))
    for until in ("", "join:z-b2"):
        if until:
            lab.wanted = replace(lab.wanted, revoked="")
            advance(lab, until)
        lab.wanted = replace(lab.wanted, revoked="it has a hole")
        reason = only_reason(lab)
        assert "was revoked: it has a hole" in reason
        assert "onebaton abort" in reason


def test_an_election_to_a_revoked_image_is_seen_through():
    lab = advance(zone(wanted(3)), "hand-over:0:z-a1:z-b1")
    hand_over = plan_roll(lab.wanted, lab.observe()).actions[0]
    lab.wanted = replace(lab.wanted, revoked="it has a hole")
    assert "was revoked" in only_reason(lab)
    lab.steps(hand_over)[0]()
    assert plan_roll(lab.wanted, lab.observe()).actions[0] == hand_over
