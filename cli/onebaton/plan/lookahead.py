"""Looking ahead: one action after another, each judged by the zone in numbers around it.

A planner is a function that names the one thing to be done in a world. It is asked again for
the world as it will be after that thing, until nothing is left; so after any prefix of a plan,
and after a crash in the middle of an action, planning anew from what is seen gives the rest.
"""

from collections.abc import Callable, Iterator
from typing import assert_never

from onebaton.plan.actions import (
    Action,
    CutOver,
    Destroy,
    Fence,
    Found,
    GiveUp,
    HandOver,
    Hold,
    Join,
    Park,
    Prepare,
    Provision,
    Refresh,
    Reinstate,
    Restore,
    Retire,
    Seed,
    Swap,
    Transition,
    Unpark,
)
from onebaton.plan.projection import after
from onebaton.plan.quorum import Quorum
from onebaton.plan.rules import Choice
from onebaton.plan.scene import Scene


def look_ahead(
    scene: Scene,
    choose: Callable[[Scene], Choice | None],
    guard: Callable[[Scene, Transition], None] = lambda _scene, _step: None,
) -> Iterator[Transition]:
    """Each action in turn, with the quorum around it.

    :param guard: sees each step with the scene it begins in, and may refuse it.
    :raises RuntimeError: if an action would come twice, which is a bug.
    """
    seen: set[Action] = set()
    while (choice := choose(scene)) is not None:
        action, why = choice
        if action in seen:
            raise RuntimeError(f"a plan has {action.id} twice: what it does is not as foreseen")
        seen.add(action)
        following = Scene.of(scene.wanted, after(scene, action))
        during = worst_moment(scene, action)
        step = Transition(action, why, before=scene.quorum, during=during, after=following.quorum)
        guard(scene, step)
        yield step
        scene = following


def worst_moment(  # noqa: PLR0911 - one case an action
    scene: Scene, action: Action
) -> Quorum:
    """The zone in numbers while the action is under way and everything else goes wrong."""
    quorum = scene.quorum
    match action:
        case Join(node=node):
            listed = any(s.name == node and scene.member_of(s) for s in scene.targets)
            return quorum if listed else quorum.adding()
        case Refresh():
            return quorum.stopping()
        case (
            Retire(server=server) | Fence(server=server) | Park(server=server) | Swap(server=server)
        ):
            down = any(m.server.id == server.id for m in scene.down)
            return quorum if down else quorum.stopping()
        case HandOver():
            return quorum if scene.handing_over is not None else quorum.stopping()
        case CutOver():
            # Nobody serves for a moment, whoever is counted; then the new zone is one server.
            return Quorum(1, 1)
        case Reinstate(servers=servers):
            return Quorum(len(servers), len(servers))
        case Provision() | Found() | Seed() | Restore() | Destroy() | Prepare() | Hold() | GiveUp():
            return quorum
        case Unpark():
            # It is listed already: until it is level nothing changes for the others.
            return quorum
        case _:
            assert_never(action)
