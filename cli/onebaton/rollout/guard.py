"""Watches a rollout that carries a plan out: exactly that plan, or nothing more.

Everything that the plan was decided on is looked at anew before the first step and before every
stage; what is seen of the zone is compared before every step. While nobody leads, and while a
cut-over is under way, the step that is the reason is seen through first: a zone is not left
without a leader because somebody edited a file.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from onebaton.errors import RefusedError
from onebaton.model import PriorPhase, World
from onebaton.plan.actions import Action, Plan
from onebaton.plan.artefact import Artefact, waypoint_of
from onebaton.plan.staleness import (
    OFF_PLATFORM,
    Around,
    Difference,
    changed_around,
    changed_steps,
    changed_zone,
    kind_of,
    refuse_stale,
)
from onebaton.ports import Clock
from onebaton.records import StateIdentity
from onebaton.rollout.planuse import PlanUses, Use


class PlanGuard:
    """One run that carries a plan out.

    :param look: at everything beside the zone, anew each time.
    :param again: the command that makes a new plan, for messages.
    """

    def __init__(
        self,
        artefact: Artefact,
        uses: PlanUses,
        look: Callable[[], Around],
        clock: Clock,
        again: str,
    ) -> None:
        self._artefact = artefact
        self._uses = uses
        self._look = look
        self._clock = clock
        self._again = again
        self._use: Use | None = None
        self._around: Around | None = None
        self._stage = ""
        self._just_looked = False

    def begin(self, world: World) -> None:
        """Before anything else: the plan may still be carried out, in this world.

        :raises RefusedError: if it was carried out already, has expired, or is stale.
        """
        self._use = use = self._uses.load()
        if use is not None and use.ended_at is not None:
            raise RefusedError(
                "the plan is used: it was carried out already",
                details=[f"by the run {use.run}, to its end at {_moment(use.ended_at)}"],
                resolution=f"Make a new plan: {self._again}",
            )
        expired = []
        if use is None and self._clock.now() >= self._artefact.expires_at:
            until = _moment(self._artefact.expires_at)
            expired.append(Difference("time", f"to be begun until {until}", "the plan is expired"))
        self._compare(world, expired, everything=not _busy(world))
        self._just_looked = True

    def decided(self, world: World, plan: Plan) -> Plan:
        """See that what is left to do is the plan, or its end; and before a stage, everything.

        :param plan: of what is left to do in ``world``.
        :raises RefusedError: if anything changed.
        """
        is_boundary = bool(plan.actions) and kind_of(plan.actions[0]) != self._stage
        if is_boundary and not self._just_looked and not _busy(world):
            self._compare(world, [], everything=True)
        self._just_looked = False
        self._refuse(changed_steps(self._artefact, plan, fresh=self._use is None))
        return plan

    def take(self, run: str) -> None:
        """The plan is used, from here on by this rollout alone.

        :param run: id of this run.
        :raises RefusedError: if another run was faster.
        """
        if self._use is None:
            around = self._around or self._look()
            self._use = self._uses.take(run, self._clock.now(), around.state)

    def seen(self, world: World) -> None:
        """A fresh observation, before anything is decided on it.

        :raises RefusedError: if the zone is not as the plan foresees.
        """
        if self._use is not None and self._use.changing:
            self._use = self._uses.settled(self._use, self._look().state)
        self._compare(world, [], everything=False)

    def before(self, action: Action) -> None:
        """A step is about to be taken."""
        self._stage = kind_of(action)
        if self._use is not None and kind_of(action) not in OFF_PLATFORM:
            self._use = self._uses.changing(self._use)

    def finished(self) -> None:
        """The rollout came to its end."""
        if self._use is not None:
            self._uses.ended(self._use, self._clock.now())

    def _compare(self, world: World, found: list[Difference], *, everything: bool) -> None:
        if _cutting(world):
            return
        seen = waypoint_of(world)
        zone = changed_zone(self._artefact, seen, fresh=self._use is None)
        if zone or everything:
            # Where the zone is another, all that changed is told at once.
            self._around = self._look()
            around = changed_around(self._artefact, self._around, state=self._expected_state())
            found = [*found, *zone, *around]
        self._refuse(found)

    def _expected_state(self) -> StateIdentity | None:
        """As the plan was made on it, as the last step left it, or as an interrupted one did."""
        use, planned = self._use, self._artefact.platform.state
        if use is None:
            return StateIdentity(planned.lineage, planned.serial) if planned is not None else None
        if use.changing and self._around is not None:
            return self._around.state
        return use.identity

    def _refuse(self, found: list[Difference] | tuple[Difference, ...]) -> None:
        refuse_stale(found, begun=self._use is not None, again=self._again)


def _cutting(world: World) -> bool:
    return world.prior is not None and world.prior.phase is PriorPhase.CUTTING


def _busy(world: World) -> bool:
    """A step of ours is in the middle of a change of leader: it is seen through first."""
    return _cutting(world) or world.leader is None


def _moment(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC"
