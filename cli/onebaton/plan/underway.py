"""What a rollout is under way to, and whether it is still half-done.

A rollout notes the image that it goes to before its first step, and forgets it after its last.
The note alone decides nothing: only where the world shows work of that image beside servers of
another one is there something half-done, and it is finished or taken back before another image
is rolled out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from onebaton.model import Node, PriorPhase, World
from onebaton.plan.findings import Finding
from onebaton.plan.wanted import Strategy, Wanted


@dataclass(frozen=True, slots=True)
class Goal:
    """The image that a rollout goes to.

    :param image: its name on the platform.
    :param began_at: when its first step was to begin.
    :param endpoints: of the zone's servers then, some of them at addresses that the configuration
        may not name: there it is asked for where the virtual IP is on nobody.
    :param strategy: a swap leaves no generation beside the new one, and is taken back otherwise.
    """

    image: str
    digest: str
    version: str
    began_at: float
    endpoints: tuple[str, ...] = ()
    strategy: Strategy = "surge"


def goal_of(wanted: Wanted, began_at: float, world: World | None = None) -> Goal:
    """What a rollout to the wanted image notes."""
    image = wanted.image
    servers = world.zone.servers if world is not None else ()
    endpoints = tuple(server.endpoint for server in servers)
    return Goal(image.name, image.digest, image.version, began_at, endpoints, wanted.strategy)


def half_done(goal: Goal | None, world: World) -> tuple[Node, ...]:
    """Nodes of the goal's image, by name, while servers of another image are in the zone.

    None once every server runs that image: what is left to do then stands in nobody's way. Nor
    are those counted that a cut-over left behind.
    """
    if goal is None:
        return ()
    prior = world.prior
    left = prior is not None and prior.phase is not PriorPhase.FINAL
    kept = {s.address for s in prior.zone.servers} if left and prior is not None else set()
    nodes = [
        node
        for node in world.nodes
        if node.spec.image_digest == goal.digest and node.spec.address not in kept
    ]
    others = [m for m in world.members if m.node is None or m.node.spec.image_digest != goal.digest]
    return tuple(sorted(nodes, key=lambda n: n.spec.name)) if others else ()


def other_goal(wanted: Wanted, world: World, goal: Goal | None) -> Iterator[Finding]:
    """A rollout to another image, or in the places of the old machines or not, is half-done."""
    nodes = half_done(goal, world)
    if goal is None or not nodes:
        return
    if goal.digest == wanted.image.digest:
        yield from _other_way(wanted, goal)
        return
    listed = {m.server.address for m in world.members}
    joined = [node.spec.name for node in nodes if node.spec.address in listed]
    outside = [node.spec.name for node in nodes if node.spec.address not in listed]
    seen = [
        f"{', '.join(names)} {standing}"
        for names, standing in ((joined, "in the zone"), (outside, "outside of it"))
        if names
    ]
    yield Finding(
        f"a rollout to {goal.image} ({goal.version}) is half-done, and {wanted.image.name} "
        f"({wanted.image.version}) is wanted",
        f"nodes of {goal.digest}: {'; '.join(seen)}",
        f"Go on with that one (`onebaton rollout --version {goal.version}`), or take it back "
        "(`onebaton abort`).",
    )


def _other_way(wanted: Wanted, goal: Goal) -> Iterator[Finding]:
    """A swap is not gone on with beside the old machines, nor the other way round."""
    if "swap" in (goal.strategy, wanted.strategy) and goal.strategy != wanted.strategy:
        yield Finding(
            f"the rollout was begun as {goal.strategy}, and rollout.strategy is {wanted.strategy}",
            f"to {goal.image} ({goal.version}), half-done",
            f"Set rollout.strategy to {goal.strategy} until it is done, or take it back "
            "(`onebaton abort`).",
        )
