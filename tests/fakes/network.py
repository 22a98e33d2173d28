"""A network among simulated machines that loses messages, delivers them late, or is cut."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Network:
    """Who reaches whom.

    :ivar cut: pairs of parties between which nothing goes, each in one direction.
    :ivar silent: machines that black-hole everything.
    :ivar lost: share of the messages between machines that are lost.
    :ivar delayed: share of them that come up to ``delay_s`` seconds too late.
    """

    dice: random.Random
    cut: set[tuple[str, str]] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    lost: float = 0.0
    delayed: float = 0.0
    delay_s: float = 3.0
    late: list[tuple[float, Callable[[], object]]] = field(default_factory=list)

    @property
    def still(self) -> bool:
        return not (self.cut or self.silent or self.lost or self.delayed)

    def passes(self, one: str, other: str) -> bool:
        """Nothing stands between two parties in this direction."""
        return (one, other) not in self.cut and not self.silent & {one, other}

    def carries(self, one: str, other: str, now: float, late: Callable[[], object]) -> bool:
        """A message arrives at once."""
        if self.still:
            return True
        if not self.passes(one, other):
            return False
        if self.lost and self.dice.random() < self.lost:
            return False
        if self.delayed and self.dice.random() < self.delayed:
            self.late.append((now + self.dice.uniform(0.2, self.delay_s), late))
            return False
        return True

    def due(self, now: float) -> list[Callable[[], object]]:
        """What arrives by now, and too late."""
        arrived = [message for at, message in self.late if at <= now]
        if arrived:
            self.late = [(at, message) for at, message in self.late if at > now]
        return arrived

    def mend(self) -> None:
        """All of it works again."""
        self.cut.clear()
        self.silent.clear()
        self.lost = self.delayed = 0.0
