"""Rules: what is to be done in a world about one matter. Parts that several planners share."""

from collections.abc import Callable

from onebaton.model import Member, NodeSpec
from onebaton.plan.actions import Action, Destroy, Provision, Seed
from onebaton.plan.scene import Scene

#: An action and its reason, in words.
Choice = tuple[Action, str]
#: What is to be done in a world about one matter; ``None`` if nothing.
Rule = Callable[[Scene], Choice | None]


def first_of(rules: tuple[Rule, ...], scene: Scene) -> Choice | None:
    """The first rule that has something to do."""
    return next((choice for rule in rules if (choice := rule(scene)) is not None), None)


def provision(scene: Scene, specs: tuple[NodeSpec, ...], why: str) -> Choice | None:
    """Those of the nodes that are not up."""
    missing = tuple(spec for spec in specs if not scene.is_up(spec))
    return (Provision(missing), why) if missing else None


def seed(scene: Scene, specs: tuple[NodeSpec, ...]) -> Choice | None:
    """Those of the nodes whose database or secrets are of no use."""
    targets = tuple(spec.name for spec in specs if not scene.is_seeded(spec))
    source = scene.source
    if not targets or source is None:
        return None
    role = "the leader: there is no other" if source.is_leader else "a follower, without locks"
    return Seed(source.host.name, targets), f"from {source.host.name}, {role}"


def source_name(scene: Scene, spec: NodeSpec) -> str:
    """Where the log is shipped from; a zone without a leader has its first server."""
    source: Member | None = scene.source
    if source is None:
        others = [m for m in scene.world.members if m.server.address != spec.address]
        source = min(others, key=lambda m: m.server.id, default=None)
    return source.host.name if source is not None else spec.name


def destroy_named(names: tuple[str, ...], why: str) -> Choice | None:
    """These nodes, if there are any."""
    return (Destroy(names), why) if names else None
