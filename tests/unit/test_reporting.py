"""What ``status`` says of the zone as a whole: only what was seen."""

from dataclasses import replace

import pytest
from tests.fakes.worlds import SCHEMA, wanted, zone

from onebaton.model import Ahead, AheadStage, Prior, PriorPhase, Vip, World
from onebaton.rollout.reporting import status_view

VIP = Vip("10.0.0.100", 24, "eth0")


def problems(world: World) -> tuple[str, ...]:
    return status_view(world, VIP, 0.0).problems


def unseen(world: World, *names: str) -> World:
    """The same, but ssh does not answer on these machines."""
    members = (replace(m, facts=None) if m.server.name in names else m for m in world.members)
    return replace(world, members=tuple(members))


def test_a_whole_zone_has_no_problems():
    assert problems(zone(wanted(3)).observe()) == ()


def test_nobody_holds_the_vip_only_where_everybody_was_looked_into():
    world = zone(wanted(3)).observe()
    bare = replace(
        world,
        members=tuple(replace(m, facts=replace(m.facts, holds_vip=False)) for m in world.members),
    )
    assert problems(bare) == ("the virtual IP is held by no machine",)

    (only,) = problems(unseen(bare, "z-a1", "z-a2", "z-a3"))
    assert only == (
        "not looked into over ssh: the machines of z-a1, z-a2, z-a3; whether they hold the "
        "virtual IP is not known"
    )


def test_a_machine_that_was_not_looked_into_may_be_a_second_holder():
    (only,) = problems(unseen(zone(wanted(3)).observe(), "z-a3"))
    assert "z-a3" in only
    assert "not known" in only


def test_nodes_on_a_revoked_image_are_named():
    world = zone(wanted(3)).observe()
    digest = world.nodes[0].spec.image_digest
    assert status_view(world, VIP, 0.0, revoked={"sha256:other": "x"}).problems == ()
    found = status_view(world, VIP, 0.0, revoked={digest: "it has a hole"}).problems
    assert [text.split()[0] for text in found] == ["z-a1", "z-a2", "z-a3"]
    assert found[0].endswith("which was revoked: it has a hole")


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


def cut_over(prior: Prior | None) -> World:
    """The new zone, with the nodes of both generations."""
    new = zone(wanted(3), slot="b", first_id=3).observe()
    return replace(new, nodes=(*OLD.nodes, *new.nodes), prior=prior)


def roles(world: World) -> dict[str, str]:
    return {row.name: row.role for row in status_view(world, VIP, 0.0).nodes if row.role}


def test_a_generation_that_is_kept_says_so():
    world = cut_over(PRIOR)
    assert roles(world) == dict.fromkeys(("z-a1", "z-a2", "z-a3"), "kept for rollback")
    (note,) = status_view(world, VIP, 0.0).notes
    assert "onebaton rollback" in note
    assert "onebaton finalize" in note


@pytest.mark.parametrize("prior", [None, replace(PRIOR, phase=PriorPhase.FINAL)])
def test_without_a_way_back_nothing_is_kept(prior):
    world = cut_over(prior)
    assert roles(world) == {}
    assert status_view(world, VIP, 0.0).notes == ()


def test_in_the_middle_of_a_cut_over_both_sides_are_named():
    cutting = replace(PRIOR, phase=PriorPhase.CUTTING, served_at=None)
    world = replace(OLD, nodes=(*OLD.nodes, *cut_over(None).nodes[3:]), prior=cutting)
    assert roles(world) == {
        "z-a1": "being cut over",
        "z-a2": "being cut over",
        "z-a3": "being cut over",
        "z-b1": "taking over",
    }
    (note,) = status_view(world, VIP, 0.0).notes
    assert "onebaton rollout" in note

    (note,) = status_view(replace(world, prior=replace(cutting, served_at=9.0)), VIP, 0.0).notes
    assert "onebaton rollback" in note
    assert "onebaton rollout" not in note


@pytest.mark.parametrize(
    ("stage", "role"),
    [
        (AheadStage.WARM, "being migrated ahead"),
        (AheadStage.MIGRATED, "migrated ahead"),
        (AheadStage.HELD, "held stand-by"),
    ],
)
def test_a_node_on_the_way_to_a_cut_over_says_how_far_it_is(stage, role):
    facts = OLD.members[0].facts
    assert facts is not None
    node = cut_over(None).nodes[3]
    ahead = {node.spec.name: replace(facts, ahead=Ahead(stage, None))}
    assert roles(replace(OLD, nodes=(*OLD.nodes, node), node_facts=ahead)) == {"z-b1": role}
