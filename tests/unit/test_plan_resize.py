"""Another size, and another image of the same version: the rules of a roll do both."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.worlds import Lab, image, wanted, zone

from onebaton.plan.actions import Plan
from onebaton.plan.roll import plan_roll

relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)


def carry_out(lab: Lab) -> list[str]:
    """Observe, plan, carry out the first action, and again; ids of the actions done."""
    done = []
    plan = plan_roll(lab.wanted, lab.observe())
    while plan.actions:
        assert plan.transitions[0].during.holds
        lab.do(plan.actions[0])
        lab.write(25)
        done.append(plan.actions[0].id)
        rest = plan_roll(lab.wanted, lab.observe())
        assert rest.rest_of(plan)
        plan = rest
    return done


def assert_is(lab: Lab, names: set[str]) -> None:
    """Exactly these serve, level, and knowing each other."""
    assert {s.name for s in lab.servers} == names == {m.name for m in lab.machines.values()}
    for server in lab.servers:
        assert lab.caught_up(server)
        others = {s.id for s in lab.servers} - {server.id}
        assert server.id == lab.leader or others <= lab.machines[server.address].known
        assert lab.machines[server.address].election_timeout_ms == 5000


def of(size: int, *, leader: int = 0) -> Lab:
    return zone(wanted(size), size, leader=leader, version="6.10.5")


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_three_become_five_without_an_election(strategy):
    lab = of(3, leader=1)
    lab.wanted = wanted(5, strategy)
    done = carry_out(lab)
    assert [step for step in done if step.startswith("join")] == ["join:z-a4", "join:z-a5"]
    assert {"refresh:z-a1", "refresh:z-a3", "refresh:z-a4"} <= set(done)
    assert lab.elections == 0
    assert_is(lab, {f"z-a{i}" for i in range(1, 6)})


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_five_become_three_without_an_election(strategy):
    lab = of(5, leader=1)
    lab.wanted = wanted(3, strategy)
    done = carry_out(lab)
    assert [step for step in done if step.startswith("retire")] == [
        "retire:3:z-a4",
        "retire:4:z-a5",
    ]
    assert lab.elections == 0
    assert_is(lab, {"z-a1", "z-a2", "z-a3"})


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_a_leader_that_is_one_too_many_hands_over_first(strategy):
    lab = of(5, leader=4)
    lab.wanted = wanted(3, strategy)
    done = carry_out(lab)
    assert "hand-over:4:z-a5:z-a1" in done
    assert lab.elections == 1
    assert_is(lab, {"z-a1", "z-a2", "z-a3"})


@pytest.mark.parametrize("strategy", ["surge", "one-by-one"])
def test_another_image_of_the_same_version_is_rolled(strategy):
    lab = of(3)
    newer = replace(image("6.10.5"), name="onebaton/z:6.10.5-2", digest="sha256:6.10.5-2")
    lab.wanted = wanted(3, strategy, of=newer)
    assert "hand-over:0:z-a1:z-b1" in carry_out(lab)
    assert lab.elections == 1
    assert_is(lab, {"z-b1", "z-b2", "z-b3"})
    assert {m.spec.image_digest for m in lab.machines.values() if m.spec} == {newer.digest}


@relaxed
@given(
    st.lists(st.integers(2, 7), min_size=2, max_size=4),
    st.sampled_from(["surge", "one-by-one"]),
    st.integers(0, 6),
    st.dictionaries(st.integers(0, 60), st.integers(0, 5), max_size=8),
)
def test_any_sizes_one_after_the_other_killed_anywhere(sizes, strategy, leader, crashes):
    lab = of(sizes[0], leader=leader % sizes[0])
    number = 0
    for size in sizes[1:]:
        lab.wanted, elections = wanted(size, strategy), lab.elections
        led = next(s for s in lab.servers if s.id == lab.leader)
        while plan := plan_roll(lab.wanted, lab.observe()).transitions:
            assert all(step.during.holds for step in plan)
            steps = lab.steps(plan[0].action)
            for step in steps[: crashes.get(number, len(steps))]:
                step()
                lab.survive()
            lab.write(10)
            number += 1
            assert number < 200
        stays = int(led.name.removeprefix("z-a")) <= size
        assert lab.elections - elections == (0 if stays else 1)
        assert_is(lab, {f"z-a{i + 1}" for i in range(size)})
    assert plan_roll(lab.wanted, lab.observe()) == Plan()
