"""To which stage each step of a plan belongs."""

from dataclasses import replace

import pytest
from tests.fakes.worlds import image, wanted, zone

from onebaton.config import Stage
from onebaton.model import NodeSpec, Prior, PriorPhase, Schema, Server, World, Zone
from onebaton.plan.actions import (
    Action,
    CutOver,
    Destroy,
    HandOver,
    Hold,
    Join,
    Plan,
    Prepare,
    Provision,
    Refresh,
    Restore,
    Retire,
    Seed,
    Transition,
)
from onebaton.plan.quorum import Quorum
from onebaton.plan.roll import plan_roll
from onebaton.plan.stages import CUT, ROLL, alone_after_cut, itinerary, under_way

IMAGE = image()
QUORUM = Quorum(3, 3)
ZONE = Zone(0, "z", enabled=True, servers=())
WORLD = World(zone=ZONE, members=(), nodes=(), node_facts={}, settings=None)


def server(number: int) -> Server:
    return Server(number, f"z-a{number + 1}", f"http://10.0.0.{11 + number}:2633/RPC2")


def join(node: str) -> Join:
    return Join(node, f"http://{node}/RPC2", steered=False, source="z-a2")


def plan(*actions: Action) -> Plan:
    return Plan(tuple(Transition(action, "", QUORUM, QUORUM, QUORUM) for action in actions))


SPEC = NodeSpec("z-b1", "10.0.0.21", "b", IMAGE.name, IMAGE.digest)
PROVISION, SEED = Provision((SPEC,)), Seed("z-a2", ("z-b1",))
HAND_OVER = HandOver(server(0), "z-b1")

SURGE: list[tuple[Action, Stage]] = [
    (Destroy(("z-b9",)), "provisioned"),
    (PROVISION, "provisioned"),
    (SEED, "provisioned"),
    (join("z-b1"), "joined"),
    (join("z-b2"), "joined"),
    (Refresh("z-b2", steered=False), "joined"),
    (Retire(server(1)), "handed-over"),
    (HAND_OVER, "handed-over"),
    (Retire(server(0)), "handed-over"),
    (Restore("z-b1"), "retired"),
    (Destroy(("z-a1",)), "retired"),
]
ONE_BY_ONE: list[tuple[Action, Stage]] = [
    (PROVISION, "provisioned"),
    (SEED, "provisioned"),
    (join("z-b1"), "provisioned"),
    (Retire(server(1)), "provisioned"),
    (replace(PROVISION), "provisioned"),
    (SEED, "provisioned"),
    (join("z-b2"), "joined"),
    (Retire(server(2)), "handed-over"),
    (HAND_OVER, "handed-over"),
    (Retire(server(0)), "handed-over"),
]
CUT_OVER: list[tuple[Action, Stage]] = [
    (PROVISION, "provisioned"),
    (SEED, "provisioned"),
    (Prepare("z-a2", ("z-b1",)), "prepared"),
    (Hold("z-b1", "z-a2"), "held"),
    (CutOver("z-b1", "stand-by"), "cut"),
    (SEED, "joined"),
    (join("z-b2"), "joined"),
    (Refresh("z-b2", steered=False), "joined"),
]
PLAIN: list[tuple[Action, Stage]] = [
    (PROVISION, "provisioned"),
    (SEED, "provisioned"),
    (CutOver("z-b1", "plain"), "cut"),
    (PROVISION, "joined"),
]


@pytest.mark.parametrize(
    ("steps", "stages"),
    [(SURGE, ROLL), (ONE_BY_ONE, ROLL), (CUT_OVER, CUT), (PLAIN, CUT)],
    ids=["surge", "one by one", "cut-over", "plain way"],
)
def test_each_step_has_its_stage_whatever_was_done_before_it(steps, stages):
    assert itinerary(WORLD, plan(*(a for a, _ in steps)), IMAGE.digest).stages is stages
    # Once the change of leadership is over the plan does not show it: see below.
    last = 1 + max(n for n, (a, _) in enumerate(steps) if isinstance(a, CutOver | HandOver))
    for begin in range(last):
        rest = steps[begin:]
        found = itinerary(WORLD, plan(*(a for a, _ in rest)), IMAGE.digest)
        assert list(found.ahead) == [stage for _, stage in rest]
        assert found.over == stages[: stages.index(rest[0][1])]


def test_a_swap_waits_before_and_after_its_followers_and_never_while_one_is_down():
    lab = zone(wanted(3, "swap"))
    stages = []
    while left := plan_roll(lab.wanted, lab.observe()):
        world = lab.observe()
        found = itinerary(world, left, lab.wanted.image.digest)
        assert found.stages is ROLL
        assert len(found.ahead) == len(left)
        waits = not under_way(world, left)
        assert waits == (lab.healthy == 3), left.actions[0].id
        stages.append((left.actions[0].id, found.entering, waits))
        lab.do(left.actions[0])
        lab.write(10)
    assert stages == [
        ("swap:1:z-a2", "joined", True),
        ("seed:z-a2", "joined", False),
        ("join:z-a2", "joined", False),
        ("swap:2:z-a3", "joined", True),
        ("seed:z-a3", "joined", False),
        ("join:z-a3", "joined", False),
        ("hand-over:0:z-a1:z-a2", "handed-over", True),
        ("swap:0:z-a1", "handed-over", False),
        ("seed:z-a1", "handed-over", False),
        ("join:z-a1", "handed-over", False),
        ("restore:z-a2", "retired", True),
    ]


@pytest.mark.parametrize("phase", PriorPhase)
def test_after_a_cut_all_that_is_left_are_joins(phase):
    prior = Prior(
        zone=ZONE,
        leader_id=0,
        node="z-b1",
        schema=Schema("6.10.0", "6.10.0"),
        version="6.10.5",
        image_digest=IMAGE.digest,
        way="plain",
        phase=phase,
        began_at=1.0,
    )
    world = replace(WORLD, prior=prior)
    found = itinerary(world, plan(SEED, join("z-b2")), IMAGE.digest)
    if phase is PriorPhase.FINAL:
        assert found.ahead == ("provisioned", "joined")
        return
    assert found.ahead == ("joined", "joined")
    assert alone_after_cut(found, "joined")
    # Of another image it is an ordinary roll.
    assert itinerary(world, plan(SEED, join("z-b2")), "sha256:other").stages is ROLL


def test_a_plan_of_nothing_has_every_stage_behind_it():
    found = itinerary(WORLD, plan(), IMAGE.digest)
    assert (found.entering, found.over) == (None, ROLL)
