"""Stages of a rollout: where it may be stopped, watched, approved, and what the zone bears there.

A stage is over when the rest of the plan holds nothing that belongs to it. So a run that is
begun anew finds itself in the right one by looking at the world, as it finds its next step.

===========  ==================================================================================
provisioned  the new nodes are there and seeded, outside of the zone
prepared     (cut-over) their copies are migrated ahead
held         (cut-over) the next release runs on its copy, unable to win an election
cut          (cut-over) one new node leads; the old generation is stopped, masked and kept
joined       every new node is a member, level, and known to the others
handed-over  (roll) a new node leads, and the old servers have left the zone
retired      (roll) nothing of the old generation is left: its nodes are destroyed
===========  ==================================================================================

A swap has no new nodes beside the old ones: *provisioned* is over at once, in *joined* all
followers are exchanged, and *handed-over* ends when the old leader was exchanged as well. It never
waits while a server is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from onebaton.config import Stage, Window
from onebaton.model import Health, Member, PriorPhase, World
from onebaton.plan.actions import (
    Action,
    CutOver,
    HandOver,
    Hold,
    Join,
    Plan,
    Prepare,
    Provision,
    Refresh,
    Retire,
    Seed,
    Swap,
)
from onebaton.plan.quorum import Quorum
from onebaton.plan.seen import put_away

#: Stages of a rollout to the same schema.
ROLL: tuple[Stage, ...] = ("provisioned", "joined", "handed-over", "retired")
#: Stages of a rollout to another schema.
CUT: tuple[Stage, ...] = ("provisioned", "prepared", "held", "cut", "joined")
#: Those in which leadership changes: they need a window, if there are any.
IN_A_WINDOW: tuple[Stage, ...] = ("cut", "handed-over")

#: The work of each stage.
_WORK: dict[type[Action], Stage] = {
    Provision: "provisioned",
    Seed: "provisioned",
    Prepare: "prepared",
    Hold: "held",
    CutOver: "cut",
    Join: "joined",
    Refresh: "joined",
    HandOver: "handed-over",
}


@dataclass(frozen=True, slots=True)
class Itinerary:
    """What is left of a rollout, stage by stage.

    :param stages: all that a rollout of this kind has, in their order.
    :param ahead: the stage of each action that is left, in their order.
    """

    stages: tuple[Stage, ...]
    ahead: tuple[Stage, ...]

    @property
    def entering(self) -> Stage | None:
        """The stage of the next action; ``None`` if nothing is left."""
        return self.ahead[0] if self.ahead else None

    @property
    def over(self) -> tuple[Stage, ...]:
        """Stages of which nothing is left, in their order."""
        if not self.ahead:
            return self.stages
        return self.stages[: self.stages.index(self.ahead[0])]

    def is_past(self, stage: Stage) -> bool:
        """Nothing is left of the stage, nor of those before it."""
        return stage in self.over


def itinerary(world: World, plan: Plan, image_digest: str) -> Itinerary:
    """The stage of each action that is left.

    :param plan: what is left, as seen from this world.
    :param image_digest: of the wanted image.
    """
    actions = plan.actions
    if _swaps(world, plan, image_digest):
        return Itinerary(ROLL, tuple(_swap_stages(world, plan, image_digest)))
    works = tuple(_work_of(action, world) for action in actions)
    for stages in (CUT, ROLL):
        change = stages[-2]
        if change not in works:
            continue
        # What comes after the change of leadership is the last stage, seeds and joins too.
        end = len(works) - works[::-1].index(change)
        if end < len(actions) and _is_aftermath(actions[end - 1], actions[end]):
            end += 1
        last = stages[-1]
        before = _assigned(works[:end], stages[:-1])
        return Itinerary(stages, (*before, *(last for _ in actions[end:])))
    if _was_cut(world, image_digest):
        return Itinerary(CUT, tuple(CUT[-1] for _ in actions))
    return Itinerary(ROLL, _assigned(works, ROLL))


def _swaps(world: World, plan: Plan, image_digest: str) -> bool:
    """Machines are exchanged in their places, or the last one is on its way back."""
    if any(isinstance(action, Swap) for action in plan.actions):
        return True
    return _new_leads(world, image_digest) and any(
        _is_exchange(action, world) for action in plan.actions[:1]
    )


def _swap_stages(world: World, plan: Plan, image_digest: str) -> Iterator[Stage]:
    led = _new_leads(world, image_digest)
    for action in plan.actions:
        led = led or isinstance(action, HandOver)
        if not led:
            yield "joined"
        elif isinstance(action, HandOver) or _is_exchange(action, world):
            yield "handed-over"
        else:
            yield "retired"


def _new_leads(world: World, image_digest: str) -> bool:
    node = world.leader.node if world.leader is not None else None
    return node is not None and node.spec.image_digest == image_digest


def _is_exchange(action: Action, world: World) -> bool:
    """It stops a server to exchange its machine, or brings one back that the zone lists."""
    return isinstance(action, Swap) or bool(_brings_back(action, world))


def _brings_back(action: Action, world: World) -> tuple[Member, ...]:
    """Members that the action is about, on machines that are made, seeded or started."""
    match action:
        case Swap(node=node):
            names = {node.name}
        case Provision(nodes=nodes):
            names = {spec.name for spec in nodes}
        case Seed(targets=targets):
            names = set(targets)
        case Join(node=name):
            names = {name}
        case _:
            return ()
    return tuple(member for member in world.members if member.host.name in names)


def _assigned(works: Sequence[Stage | None], stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    """Each action belongs to the earliest stage that it, or one after it, is the work of.

    What is the work of no stage (servers that retire, nodes destroyed) belongs to the next one
    to come: one by one, old followers go between two joins.
    """
    found: list[Stage] = []
    earliest = len(stages) - 1
    for work in reversed(works):
        if work is not None and work in stages:
            earliest = min(earliest, stages.index(work))
        found.append(stages[earliest])
    return tuple(reversed(found))


def _work_of(action: Action, world: World) -> Stage | None:
    return "handed-over" if _is_stopped(action, world) else _WORK.get(type(action))


def _is_stopped(action: Action, world: World) -> bool:
    """It retires a server that runs no more, and is a voter still."""
    return isinstance(action, Retire) and any(
        member.server == action.server and put_away(member) for member in world.members
    )


def _is_aftermath(change: Action, action: Action) -> bool:
    """The old leader leaves the zone: until then it counts against the quorum."""
    return (
        isinstance(change, HandOver)
        and isinstance(action, Retire)
        and action.server == change.from_server
    )


def _was_cut(world: World, image_digest: str) -> bool:
    """A cut-over brought the zone onto the wanted image, and is not final."""
    prior = world.prior
    return (
        prior is not None
        and prior.phase is not PriorPhase.FINAL
        and prior.image_digest == image_digest
    )


def under_way(world: World, plan: Plan) -> bool:
    """The next action finishes what must not be kept waiting.

    The leader is cut off and nobody leads; a cut-over was begun and no new server serves; or a
    server that is stopped for good, or is down and about to be brought back, counts as a voter.
    """
    prior = world.prior
    cutting = prior is not None and prior.phase is PriorPhase.CUTTING
    stopped = any(
        _is_stopped(action, world)
        or any(m.health is not Health.HEALTHY for m in _brings_back(action, world))
        for action in plan.actions[:1]
    )
    return world.leader is None or cutting or stopped


def alone_after_cut(itinerary: Itinerary, stage: Stage) -> bool:
    """The stage is that of the joins after a cut: until the second one the zone is one server."""
    return itinerary.stages is CUT and stage == "joined"


def unsettled(world: World) -> str | None:
    """Why the zone is not as it should be while it is watched; ``None`` if it is."""
    if not world.zone.enabled:
        return "the zone is disabled"
    leaders = [member.server.name for member in world.members if member.is_leader]
    if len(leaders) != 1:
        return f"{len(leaders)} servers lead" if leaders else "no server leads"
    for member in world.members:
        if member.health is not Health.HEALTHY:
            return f"{member.server.name} is {member.health.value}: {member.problem or 'no reason'}"
    holders = world.vip_holders
    if len(holders) != 1:
        return f"the virtual IP is held by {', '.join(holders) or 'no machine'}"
    return None


def standing(world: World, itinerary: Itinerary) -> str:
    """What the zone bears while it waits here, in a sentence."""
    counted = sum(member.health is Health.HEALTHY for member in world.members)
    quorum = Quorum(len(world.members), counted)
    over = itinerary.over[-1] if itinerary.over else None
    text = f"meanwhile the zone runs on {len(world.members)} servers: {quorum}"
    match over:
        case "held":
            return f"{text}; the stand-by is held and may wait, its copy is brought level again"
        case "prepared" | "provisioned":
            return f"{text}; the new nodes wait outside of it"
        case "cut":
            return f"{text}; go on at once, it has no other server that could take over"
    return text


def shut(windows: Sequence[Window], at: float) -> str | None:
    """Why leadership must not change now; ``None`` if a window is open, or there are none.

    :param at: seconds since the epoch.
    """
    if not windows or any(window.is_open(at) for window in windows):
        return None
    opens, window = min(((w.opens_next(at), w) for w in windows), key=lambda pair: pair[0])
    moment = datetime.fromtimestamp(opens, window.zone)
    wait = timedelta(seconds=round(opens - at))
    return (
        f"the next one is {window.text}, from {moment:%a %Y-%m-%d %H:%M} {window.zone.key} "
        f"(in {wait})"
    )
