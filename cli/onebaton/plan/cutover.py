"""Cut over: another database schema, so that the old and the new generation never mix.

The new nodes are made, seeded and (the held stand-by) migrated ahead while the old generation
serves; one action, :class:`~onebaton.plan.actions.CutOver`, stops the old generation and lets
one new node lead a zone of its own; from then on the rules of a roll go on with the others.

**Invariants**, in every world that a plan passes through and after a crash at any point:

1. At most one generation leads. A held stand-by is outside of the zone and can win no election.
2. The old servers are *seen* stopped and masked before the new node is given its real list.
3. Nothing of the old generation is destroyed, retired or changed before the cut-over is made
   final; until then it can be brought back.
4. The new node leads only with every record that the old zone acknowledged. A copy that is not
   complete up to the cut never joins: it is seeded anew from the new zone.
5. While a cut-over is under way nothing else is done, whatever the members' health: the step
   itself goes on, or takes the cut-over back.
6. The schema decides, and a rehearsal with this image of this schema: never a version number.
"""

from onebaton.model import AheadStage, NodeSpec
from onebaton.plan.actions import CutOver, CutWay, Hold, Prepare
from onebaton.plan.findings import Finding, refuse_if_any
from onebaton.plan.rules import Choice, Rule, destroy_named, provision, seed, source_name
from onebaton.plan.scene import Scene
from onebaton.plan.seen import stage_of


def require_continuable(scene: Scene) -> None:
    """See that a cut-over that is under way is the wanted one, and its new node is there.

    :raises RefusedError: if it is not.
    """
    prior = scene.world.prior
    if prior is None:
        return
    found: list[Finding] = []
    if prior.served_at is not None:
        found.append(
            Finding(
                "the last cut-over is being taken back",
                f"its new server {prior.node} served, and is to be stopped for good",
                "Finish that first: `onebaton rollback`.",
            )
        )
    if prior.image_digest != scene.wanted.image.digest:
        found.append(
            Finding(
                "a cut-over to another image is under way",
                f"to {prior.image_digest} on {prior.node}, and {scene.wanted.image.name} "
                f"({scene.wanted.image.digest}) is wanted",
                "Go on with that image (set image.version to what it was), or take the cut-over "
                "back: `onebaton rollback`.",
            )
        )
    elif all(spec.name != prior.node or scene.node_of(spec) is None for spec in scene.targets):
        found.append(
            Finding(
                f"the node that a cut-over was begun to is gone: {prior.node}",
                "the platform has no such node of the wanted image",
                "Take the cut-over back: `onebaton rollback`.",
            )
        )
    refuse_if_any(scene.wanted.zone, found, again="onebaton rollout")


# The rules, in the order in which they apply.


def finish_cut(scene: Scene) -> Choice | None:
    """A cut-over that was begun is the one thing to do."""
    prior = scene.world.prior
    if prior is None or not scene.cutting:
        return None
    way: CutWay = "plain" if prior.way == "plain" else "stand-by"
    return (
        CutOver(prior.node, way, _completed(scene, prior.node)),
        "it was begun; by what is seen it goes on, or is taken back",
    )


def clear_the_way(scene: Scene) -> Choice | None:
    """Leftovers that hold a wanted node's name or address."""
    names = tuple(node.spec.name for node in scene.blocking)
    return destroy_named(names, "its place is needed for a new node")


def provision_all(scene: Scene) -> Choice | None:
    """Every new node is there before the cut: the zone is of one server for a short time."""
    return provision(
        scene, scene.targets, f"runs {scene.wanted.image.version}, outside of the zone"
    )


def seed_all(scene: Scene) -> Choice | None:
    """The plain way needs one copy: others of the old schema would be of no use after the cut."""
    return seed(scene, scene.targets if scene.way == "stand-by" else (_first(scene),))


def prepare(scene: Scene) -> Choice | None:
    """Copies are migrated while the old generation serves."""
    if scene.way == "plain":
        return None
    targets = tuple(spec.name for spec in scene.targets if not scene.is_prepared(spec))
    if not targets:
        return None
    return (
        Prepare(source_name(scene, _first(scene)), targets),
        f"migrated to schema {scene.wanted.image.schema} while the zone serves, and kept level",
    )


def hold(scene: Scene) -> Choice | None:
    """The next release is started before the cut, where it can harm nobody."""
    first = _first(scene)
    if scene.way == "plain" or scene.is_held(first):
        return None
    return (
        Hold(first.name, source_name(scene, first)),
        "so that no start and no migration is left for the time without writes",
    )


def cut(scene: Scene) -> Choice | None:
    """All is prepared."""
    first = _first(scene)
    others = _completed(scene, first.name) if scene.way == "stand-by" else ()
    return (
        CutOver(first.name, scene.way, others),
        f"servers of schema {scene.schema} and of {scene.wanted.image.schema} cannot serve one "
        "zone; the old ones are kept, stopped and masked",
    )


RUNBOOK: tuple[Rule, ...] = (
    finish_cut,
    clear_the_way,
    provision_all,
    seed_all,
    prepare,
    hold,
    cut,
)


def _first(scene: Scene) -> NodeSpec:
    """The node to cut over to: the one that is held, or the first."""
    held = (spec for spec in scene.targets if scene.is_held(spec))
    return next(held, scene.targets[0])


def _completed(scene: Scene, first: str) -> tuple[str, ...]:
    """Further nodes whose copies are migrated ahead, and only lack the last records."""
    return tuple(
        spec.name
        for spec in scene.targets
        if spec.name != first
        and (facts := scene.facts_of(spec)) is not None
        and facts.ahead is not None
        and facts.ahead.warm is not None
        and stage_of(facts) in (AheadStage.MIGRATED, AheadStage.HELD)
    )
