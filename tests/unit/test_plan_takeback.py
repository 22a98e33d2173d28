"""Taking a cut-over back, and making it final: when, what, and when not."""

from dataclasses import replace

import pytest
from tests.fakes.worlds import Lab, next_release, wanted, zone

from onebaton.errors import RefusedError
from onebaton.model import NodeState, PriorPhase, Schema
from onebaton.plan.actions import Destroy, GiveUp, Plan, Reinstate
from onebaton.plan.roll import plan_roll
from onebaton.plan.takeback import plan_finalize, plan_rollback


def served(size: int = 3, slot: str | None = "a") -> Lab:
    """A zone that was cut over, complete; its old generation is kept."""
    return _until(zone(next_release(size), slot=slot))


def _until(lab: Lab, before: str | None = None) -> Lab:
    while plan := plan_roll(lab.wanted, lab.observe()).actions:
        if before and plan[0].id.startswith(before):
            return lab
        lab.do(plan[0])
        lab.write(10)
    return lab


def refused_back(lab: Lab) -> list[str]:
    with pytest.raises(RefusedError) as refusal:
        plan_rollback(lab.observe())
    return list(refusal.value.details)


def refused_final(lab: Lab) -> list[str]:
    with pytest.raises(RefusedError) as refusal:
        plan_finalize(lab.observe(), lab.wanted.size)
    return list(refusal.value.details)


# Back


def test_the_old_generation_is_brought_back():
    lab = served()
    plan = plan_rollback(lab.observe())
    (action,) = plan.actions
    assert isinstance(action, Reinstate)
    assert action.stop == ("z-b1", "z-b2", "z-b3")
    assert [server.name for server in action.servers] == ["z-a1", "z-a2", "z-a3"]
    assert action.id == "reinstate:0,1,2"
    lab.do(action)
    assert lab.prior is None
    assert (lab.leader, lab.healthy) == (0, 3)


def test_new_nodes_that_have_not_joined_are_stopped_too():
    lab = _until(zone(next_release(3)), before="join:z-b3")
    assert plan_rollback(lab.observe()).actions[0].stop == ("z-b1", "z-b2", "z-b3")


def test_nodes_that_vanished_need_no_stopping():
    lab = served()
    lab.named("z-b3").state = NodeState.VANISHED
    assert plan_rollback(lab.observe()).actions[0].stop == ("z-b1", "z-b2")


def test_without_a_cut_over_there_is_nothing_to_take_back():
    with pytest.raises(RefusedError, match="no cut-over of the zone 'OpenNebula' to take back"):
        plan_rollback(zone(wanted(3)).observe())


def test_after_it_is_final_there_is_no_way_back():
    lab = served()
    lab.do(plan_finalize(lab.observe(), 3).actions[0])
    with pytest.raises(RefusedError, match="there is no way back"):
        plan_rollback(lab.observe())


def test_an_old_machine_that_cannot_be_looked_into_is_named():
    lab = served()
    lab.named("z-a2").ssh = False
    (found,) = refused_back(lab)
    assert found.startswith(
        "the old server z-a2 cannot be brought back as it was: no answer over ssh at 10.0.0.12."
    )
    lab.named("z-a2").ssh, lab.named("z-a3").state = True, NodeState.STOPPED
    assert "its machine is stopped" in refused_back(lab)[0]


def test_an_old_machine_of_somebody_else_that_cannot_be_looked_into():
    lab = served(slot=None)
    assert plan_rollback(lab.observe()).actions[0].stop == ("z-a1", "z-a2", "z-a3")
    lab.named("one-3").ssh = False
    assert refused_back(lab)[0].startswith("the old server one-3 cannot be brought back")


@pytest.mark.parametrize("unmasked", [{"oned": True}, {"masked": False}])
def test_an_old_server_that_could_have_served_beside_the_new_one(unmasked):
    lab = served()
    for name, value in unmasked.items():
        setattr(lab.named("z-a2"), name, value)
    (found,) = refused_back(lab)
    assert found.startswith("the old server z-a2 ")
    assert "and z-b1 serves: both generations may have taken writes" in found


def test_old_databases_have_to_be_what_they_were():
    lab = served()
    lab.named("z-a1").index -= 11
    lab.named("z-a2").index = None
    lab.named("z-a3").schema = Schema("7.0.0", "7.0.0")
    found = refused_back(lab)
    assert [reason.split(":")[0] for reason in found] == [
        "the old leader z-a1 lacks records that it had",
        "the old server z-a2 has no database",
        "the database of the old server z-a3 has another schema",
    ]


def test_an_old_follower_may_lag_as_followers_do():
    lab = served()
    lab.named("z-a2").index -= 11
    assert plan_rollback(lab.observe()).actions


@pytest.mark.parametrize("how", [{"ssh": False}, {"state": NodeState.STOPPED}])
def test_a_new_server_that_may_lead_and_cannot_be_stopped(how):
    lab = served()
    for name, value in how.items():
        setattr(lab.named("z-b1"), name, value)
    assert refused_back(lab)[0].startswith("the new server z-b1 cannot be stopped")


def test_what_was_begun_goes_on_though_old_servers_run_again():
    lab = served()
    steps = lab.steps(plan_rollback(lab.observe()).actions[0])
    for step in steps[:6]:  # noted, three stopped, two started
        step()
        lab.survive()
    assert lab.named("z-a1").oned
    lab.do(plan_rollback(lab.observe()).actions[0])
    assert (lab.prior, lab.healthy) == (None, 3)


# Final


def test_finalize_gives_up_and_destroys():
    lab = served()
    plan = plan_finalize(lab.observe(), 3)
    assert [type(a) for a in plan.actions] == [GiveUp, Destroy]
    assert [a.id for a in plan.actions] == ["give-up:0,1,2", "destroy:z-a1,z-a2,z-a3"]
    lab.do(plan.actions[0])
    rest = plan_finalize(lab.observe(), 3)
    assert rest.rest_of(plan)
    lab.do(rest.actions[0])
    assert plan_finalize(lab.observe(), 3) == Plan()


def test_machines_of_somebody_else_are_not_destroyed():
    lab = served(slot=None)
    assert [a.id for a in plan_finalize(lab.observe(), 3).actions] == ["give-up:0,1,2"]


def test_without_a_cut_over_there_is_nothing_to_make_final():
    assert plan_finalize(zone(wanted(3)).observe(), 3) == Plan()


def test_a_cut_over_under_way_is_not_final():
    lab = _until(zone(next_release(3)), before="cut-over")
    for step in lab.steps(plan_roll(lab.wanted, lab.observe()).actions[0])[:4]:
        step()
    assert lab.prior.phase is PriorPhase.CUTTING
    with pytest.raises(RefusedError, match="a cut-over is under way"):
        plan_finalize(lab.observe(), 3)


def test_the_new_zone_has_to_be_complete():
    lab = _until(zone(next_release(3)), before="join:z-b3")
    assert refused_final(lab)[0].startswith("the new zone is not complete: 2 of 3 servers.")


def test_the_new_zone_has_to_be_healthy():
    lab = served()
    lab.named("z-b2").oned = False
    lab.named("z-b1").vip, lab.named("z-b3").vip = False, True
    assert [reason.split(":")[0] for reason in refused_final(lab)] == [
        "server 4 (z-b2) is unhealthy",
        "the virtual IP is not on the leader's machine alone",
    ]
    lab.leader = None
    assert refused_final(lab)[0].startswith("the new zone has no leader")


@pytest.mark.parametrize("how", [{"oned": True}, {"masked": False}, {"ssh": False}])
def test_old_nodes_are_seen_put_away_before_they_are_destroyed(how):
    lab = served()
    for name, value in how.items():
        setattr(lab.named("z-a3"), name, value)
    assert refused_final(lab)[0].startswith("the old node z-a3 is not seen stopped and masked")
    lab.prior = replace(lab.prior, phase=PriorPhase.FINAL)
    assert refused_final(lab)


def test_old_nodes_that_vanished_go_from_the_records():
    lab = served()
    lab.named("z-a3").state = NodeState.VANISHED
    plan = plan_finalize(lab.observe(), 3)
    assert plan.actions[1].names == ("z-a1", "z-a2", "z-a3")


def test_images_on_an_old_nodes_own_disk():
    lab = served()
    world = lab.observe()
    facts = replace(world.node_facts["z-a2"], local_datastores=True)
    world = replace(world, node_facts=world.node_facts | {"z-a2": facts})
    with pytest.raises(RefusedError) as refusal:
        plan_finalize(world, 3)
    assert refusal.value.details[0].startswith("z-a2 holds images on its own disk")


def test_nodes_that_came_to_the_old_places_later_are_not_destroyed():
    """The slots are used in turn; the record of an old cut-over says nothing of them."""
    lab = served()
    for action in plan_finalize(lab.observe(), 3).actions:
        lab.do(action)
    lab.wanted = replace(lab.wanted, image=replace(lab.wanted.image, digest="sha256:newer"))
    _until(lab, before="seed")
    assert plan_finalize(lab.observe(), 3) == Plan(), "fresh nodes, no members yet"
    _until(lab, before="join")
    assert plan_finalize(lab.observe(), 3) == Plan()
    _until(lab)
    assert sorted(m.name for m in lab.machines.values()) == ["z-a1", "z-a2", "z-a3"]
    assert plan_finalize(lab.observe(), 3) == Plan()
