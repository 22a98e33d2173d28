"""Founding a zone: from nothing, from any prefix, and never over somebody else's."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import Lab, bare, image, wanted, zone

from onebaton.errors import RefusedError
from onebaton.model import NodeState
from onebaton.plan.actions import Join, Plan, Refresh
from onebaton.plan.bootstrap import plan_bootstrap
from onebaton.plan.roll import plan_roll


def planned(lab: Lab) -> Plan:
    """The plan from what is seen: where no ``oned`` answers, nobody tells who is a member."""
    world = lab.observe()
    if any(m.oned for m in lab.machines.values()):
        return plan_bootstrap(lab.wanted, world.nodes, world.node_facts, world)
    seen = {m.name: facts for m in lab.machines.values() if (facts := m.facts()) is not None}
    return plan_bootstrap(lab.wanted, world.nodes, seen, None)


def found(lab: Lab) -> list[str]:
    """Observe, plan, carry out the first action, and again."""
    done = []
    plan = planned(lab)
    while plan.actions:
        lab.do(plan.actions[0])
        lab.write(2)
        done.append(plan.actions[0].id)
        rest = planned(lab)
        assert rest.rest_of(plan), (plan.actions, rest.actions)
        plan = rest
    return done


def assert_founded(lab: Lab) -> None:
    """The zone is there, everybody knows everybody, and it could be rolled right away."""
    assert [s.id for s in lab.servers] == list(range(lab.wanted.size))
    everybody = frozenset(range(lab.wanted.size))
    for server in lab.servers:
        assert lab.caught_up(server)
        machine = lab.machines[server.address]
        assert machine.election_timeout_ms == 5000
        assert server.id == lab.leader or machine.known == everybody
    assert plan_roll(lab.wanted, lab.observe()) == Plan()


def test_three_servers():
    lab = bare(wanted(3))
    expected = [
        "provision:z-a1,z-a2,z-a3",
        "found:z-a1",
        "seed:z-a2,z-a3",
        "join:z-a2",
        "join:z-a3",
        "refresh:z-a2",  # started before z-a3 joined; it would never learn of it
    ]
    assert [a.id for a in planned(lab).actions] == expected
    assert found(lab) == expected
    assert_founded(lab)


def test_one_server():
    lab = bare(wanted(1))
    assert found(lab) == ["provision:z-a1", "found:z-a1"]
    assert_founded(lab)


def test_the_second_server_is_seeded_from_the_only_one_and_nobody_is_steered():
    plan = planned(bare(wanted(3)))
    assert plan.actions[2].source == "z-a1"
    assert not any(a.steered for a in plan.actions if isinstance(a, Join | Refresh))


def test_the_quorum_is_away_while_the_second_joins_and_the_plan_says_so():
    texts = [str(step.during) for step in planned(bare(wanted(3)))]
    assert texts[3] == "2 of 2 needed, 1 healthy seen, no quorum"
    assert texts[4] == "2 of 3 needed, 2 healthy seen, survives no further failure"


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.sampled_from([1, 3, 5]),
    st.sampled_from(["surge", "one-by-one"]),
    st.dictionaries(st.integers(0, 20), st.integers(0, 9), max_size=8),
)
def test_after_any_crashes_the_zone_is_founded_all_the_same(size, strategy, crashes):
    lab = bare(wanted(size, strategy))
    for number in range(60):
        actions = planned(lab).actions
        if not actions:
            break
        steps = lab.steps(actions[0])
        for step in steps[: crashes[number] % (len(steps) + 1) if number in crashes else None]:
            step()
        lab.write(2)
    assert_founded(lab)


def test_a_leader_that_was_lost_while_the_second_joined_comes_back_with_it():
    """Both are listed, server 0 was restarted, and cannot be elected by its own vote."""
    lab = bare(wanted(3))
    while (action := planned(lab).actions[0]).id != "join:z-a2":
        lab.do(action)
    for step in lab.steps(action)[:3]:
        step()
    lab.leader = None
    assert planned(lab).actions[0] == Join("z-a2", lab.servers[1].endpoint, False, "z-a1")
    found(lab)
    assert_founded(lab)


def test_a_member_whose_machine_vanished_is_made_again_in_its_place():
    lab = bare(wanted(3))
    found(lab)
    lab.named("z-a3").state = NodeState.VANISHED
    assert found(lab) == ["provision:z-a3", "seed:z-a3", "join:z-a3"]
    assert_founded(lab)


def refusal(lab: Lab) -> str:
    """The one reason."""
    with pytest.raises(RefusedError) as refused:
        planned(lab)
    (reason,) = refused.value.details
    return reason


def test_a_zone_of_another_image_is_rolled_and_not_founded():
    with pytest.raises(RefusedError) as refused:
        planned(zone(wanted(3)))
    assert refused.value.details[0].startswith("a zone lives here already: server 0 (z-a1)")
    assert "onebaton rollout" in refused.value.details[0]


def test_nodes_of_another_image_are_not_built_upon():
    lab = bare(wanted(3))
    lab.do(planned(lab).actions[0])
    lab.wanted = wanted(3, of=image("6.10.6"))
    with pytest.raises(RefusedError) as refused:
        planned(lab)
    assert refused.value.details[0].startswith("the node z-a1 is not of this zone")


def test_a_zone_that_sleeps_is_not_founded_again():
    """All servers are down, as after a power cut: their databases are all there is."""
    lab = bare(wanted(3))
    found(lab)
    lab.leader = None
    for machine in lab.machines.values():
        machine.oned = False
    with pytest.raises(RefusedError) as refused:
        planned(lab)
    assert refused.value.details[0].startswith("z-a2 holds the database of a zone")


def test_two_members_down_are_not_of_our_making():
    lab = bare(wanted(5))
    found(lab)
    lab.named("z-a4").oned = lab.named("z-a5").oned = False
    assert refusal(lab).startswith("members of the zone are down that a bootstrap does not")


def test_a_member_that_cannot_be_looked_into_is_left_alone():
    lab = bare(wanted(3))
    found(lab)
    lab.named("z-a3").oned = lab.named("z-a3").ssh = False
    assert refusal(lab).startswith("members of the zone are down that a bootstrap does not")


def test_a_disabled_zone():
    lab = bare(wanted(3))
    found(lab)
    lab.enabled = False
    assert refusal(lab).startswith("the zone is disabled")


def test_too_few_addresses():
    lab = bare(replace(wanted(3), slots={"a": ()}))
    assert refusal(lab).startswith("generation a has too few addresses")


def test_a_zone_whose_machines_are_switched_off_is_not_founded_anew():
    """As after a restart of their host: nobody answers, and every database is there."""
    lab = bare(wanted(3))
    found(lab)
    for machine in lab.machines.values():
        machine.oned, machine.state = False, NodeState.STOPPED
    with pytest.raises(RefusedError) as refused:
        planned(lab)
    assert all("is switched off, and may hold" in reason for reason in refused.value.details)
    assert len(refused.value.details) == 3


def test_a_zone_is_not_founded_on_a_revoked_image():
    lab = bare(replace(wanted(3), revoked="it has a hole"))
    with pytest.raises(RefusedError) as refused:
        planned(lab)
    assert "was revoked: it has a hole" in refused.value.details[0]
