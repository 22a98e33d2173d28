"""What ``status`` says of the zone as a whole: only what was seen."""

from dataclasses import replace

from tests.fakes.worlds import wanted, zone

from onebaton.model import Vip, World
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
