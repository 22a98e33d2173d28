"""What an operator is told before a cut-over is taken back or made final."""

from dataclasses import replace

import pytest
from tests.fakes.worlds import SCHEMA, wanted, zone

from onebaton.errors import UnavailableError
from onebaton.model import Host, Prior, PriorPhase, World
from onebaton.plan.actions import Destroy, GiveUp, Plan, Reinstate, Transition
from onebaton.plan.quorum import Quorum
from onebaton.rollout.taking_back import NOTHING, final_view, rollback_view, written
from onebaton.standby import Written

NOW = Quorum(3, 3)
OLD = zone(wanted(3)).observe()
PRIOR = Prior(
    zone=OLD.zone,
    leader_id=0,
    node="z-b1",
    schema=SCHEMA,
    version="6.10.0",
    image_digest="sha256:7",
    way="stand-by",
    phase=PriorPhase.SERVED,
    began_at=100.0,
    cut_index=1000,
    served_at=102.5,
)
SOME = Written(12, 1700000000.0, 1700000060.0, {"vm_pool": 2, "document_pool": 5})


class Log:
    """The one question that is asked of a stand-by here; ``answer`` may be an error."""

    def __init__(self, answer: Written | UnavailableError = SOME) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    def written_since(self, host: Host, index: int) -> Written:
        self.asked.append((host.name, index))
        if isinstance(self.answer, UnavailableError):
            raise self.answer
        return self.answer


def served(*, leader: int = 1, prior: Prior | None = PRIOR) -> World:
    """The new zone, with the nodes of both generations."""
    new = zone(wanted(3), slot="b", leader=leader, first_id=3).observe()
    return replace(new, nodes=(*OLD.nodes, *new.nodes), prior=prior)


def plan(*actions) -> Plan:
    return Plan(tuple(Transition(action, "why", NOW, NOW, NOW) for action in actions))


BACK = plan(Reinstate(("z-b1", "z-b2", "z-b3"), PRIOR.zone.servers))


def test_the_leader_is_asked_what_was_written_since_the_cut():
    log = Log()
    assert written(served(leader=1), log) == SOME
    assert log.asked == [("z-b2", 1000)]


def test_where_nobody_leads_the_node_that_took_over_is_asked():
    world = served()
    members = tuple(replace(m, raft=None) for m in world.members)
    log = Log()
    written(replace(world, members=members), log)
    assert log.asked == [("z-b1", 1000)]


def test_before_the_cut_was_known_nothing_can_have_been_written():
    cutting = replace(PRIOR, phase=PriorPhase.CUTTING, cut_index=None, served_at=None)
    log = Log()
    assert written(replace(OLD, prior=cutting), log) == NOTHING
    assert log.asked == []


def test_a_rollback_that_was_begun_was_decided_on_already():
    begun = replace(PRIOR, phase=PriorPhase.CUTTING)
    log = Log()
    assert "already" in str(written(replace(OLD, prior=begun), log))
    assert log.asked == []


def test_a_database_that_does_not_answer_is_no_reason_against_a_rollback():
    told = rollback_view(served(), BACK, written(served(), Log(UnavailableError("no route"))))
    assert told.records is None
    assert told.lost == ("what was written since the cut cannot be told: no route",)


def test_what_will_be_lost_is_counted_by_table():
    told = rollback_view(served(), BACK, SOME)
    assert told.records == 12
    assert told.stops == ("z-b1", "z-b2", "z-b3")
    assert told.brings_back == ("z-a1", "z-a2", "z-a3")
    first, second = told.lost
    assert "12 log records, from 2023-11-14 22:13:20 to 2023-11-14 22:14:20 UTC" in first
    assert "document_pool 5, vm_pool 2 (the probes" in second
    told = rollback_view(served(), BACK, replace(SOME, objects={"vm_pool": 2}))
    assert told.lost[1] == "changes lost, by table: vm_pool 2"


def test_nothing_is_said_to_be_lost_where_nothing_was_written():
    assert rollback_view(served(), BACK, Written(0, None, None, {})).lost == (NOTHING,)


def test_finalizing_names_the_nodes_that_are_destroyed():
    told = final_view(served(), plan(GiveUp(PRIOR.zone.servers), Destroy(("z-a1", "z-a2", "z-a3"))))
    assert (told.destroys, told.stay, told.nothing) == (("z-a1", "z-a2", "z-a3"), (), "")


def test_machines_of_somebody_else_are_said_to_stay():
    elsewhere = zone(wanted(3), slot=None).observe().zone
    world = served(prior=replace(PRIOR, zone=elsewhere))
    told = final_view(world, plan(GiveUp(elsewhere.servers)))
    assert told.destroys == ()
    assert len(told.stay) == 3
    assert "one-1 (10.0.1.1)" in told.stay[0]


@pytest.mark.parametrize(
    ("prior", "said"),
    [(None, "there was no cut-over"), (replace(PRIOR, phase=PriorPhase.FINAL), "final already")],
)
def test_where_nothing_is_kept_it_is_said_why(prior, said):
    told = final_view(served(prior=prior), Plan())
    assert said in told.nothing
