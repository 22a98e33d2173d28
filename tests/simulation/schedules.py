"""What falls on a rollout, drawn from a number: the same number gives the same schedule."""

import random
from dataclasses import dataclass
from typing import Literal

from onebaton.plan.wanted import Strategy

Kind = Literal[
    "messages lost",
    "messages late",
    "network split",
    "one does not send",
    "one does not hear",
    "black hole",
    "tool cut off from one",
    "answer lost",
    "oned killed",
    "reboot",
    "power off",
    "machine gone",
    "MariaDB stopped",
    "hook fails",
    "never boots",
    "seed damaged",
    "other secrets",
]
Role = Literal["leader", "follower", "old", "new", "any"]

#: How often each kind is drawn.
WEIGHTS: dict[Kind, int] = {
    "messages lost": 3,
    "messages late": 3,
    "network split": 4,
    "one does not send": 3,
    "one does not hear": 3,
    "black hole": 3,
    "tool cut off from one": 3,
    "answer lost": 6,
    "oned killed": 4,
    "reboot": 5,
    "power off": 3,
    "machine gone": 2,
    "MariaDB stopped": 4,
    "hook fails": 2,
    "never boots": 1,
    "seed damaged": 1,
    "other secrets": 1,
}
#: Of how many points of a rollout (before and after each change) faults choose, by size.
POINTS = {1: 20, 3: 110, 5: 190}
ROLES: tuple[Role, ...] = ("leader", "follower", "old", "new", "any")
#: How long the tool stays dead: not at all, within an election, and long after one.
PAUSES_S = (0.0, 1.0, 4.0, 25.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong.

    :param point: of the tool's changes, counted over all its runs: when it begins.
    :param after_s: seconds after that.
    :param lasts_s: until it ends by itself, where it does.
    """

    kind: Kind
    role: Role
    point: int
    after_s: float
    lasts_s: float


@dataclass(frozen=True, slots=True)
class Crash:
    """The tool dies, and somebody runs it again after a while."""

    point: int
    pause_s: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """A rollout and what falls on it.

    :param own: the zone's machines are the platform's; else somebody else's.
    :param leader: place of the server that leads at first.
    """

    seed: int
    size: int
    strategy: Strategy
    own: bool
    leader: int
    faults: tuple[Fault, ...]
    crashes: tuple[Crash, ...]

    def __str__(self) -> str:
        lines = [
            f"seed {self.seed}: {self.size} servers, {self.strategy}, "
            f"{'own' if self.own else 'foreign'} machines, server {self.leader} leads",
            *(
                f"  point {f.point} + {f.after_s:.1f} s: {f.kind} ({f.role}), {f.lasts_s:.1f} s"
                for f in self.faults
            ),
            *(f"  point {c.point}: the tool dies for {c.pause_s:g} s" for c in self.crashes),
        ]
        return "\n".join(lines)


def drawn(seed: int) -> Schedule:
    """The schedule of a number."""
    dice = random.Random(seed)
    size = dice.choices((1, 3, 5), (1, 14, 5))[0]
    points = POINTS[size]
    kinds = dice.choices(list(WEIGHTS), list(WEIGHTS.values()), k=dice.choice((0, 1, 1, 2, 3)))
    faults = tuple(
        Fault(
            kind,
            dice.choice(ROLES),
            dice.randrange(points),
            dice.choice((0.0, 0.0, dice.uniform(0.0, 8.0))),
            dice.choice((dice.uniform(0.3, 3.0), dice.uniform(3.0, 20.0), 40.0)),
        )
        for kind in kinds
    )
    crashes = tuple(
        Crash(dice.randrange(points), dice.choice(PAUSES_S))
        for _ in range(dice.choice((0, 1, 1, 2, 4)))
    )
    strategy: Strategy = dice.choice(("surge", "one-by-one", "swap"))
    own = dice.random() < 0.7
    return Schedule(
        seed,
        size,
        strategy,
        # Only machines of ours are made anew in their places.
        own=own or strategy == "swap",
        leader=dice.randrange(size),
        faults=tuple(sorted(faults, key=lambda f: f.point)),
        crashes=tuple(sorted(crashes, key=lambda c: c.point)),
    )
