"""Quorum arithmetic: who counts, and what is left if the next thing goes wrong.

Raft commits a write, and elects a leader, only with a majority of all *voters*: every server
listed in the zone, running or not. A server that was added and is not up yet counts in full
against the majority, and so does one that was stopped and not yet deleted. Therefore no
change is judged by the state it wants to reach but by the worst one on its way there:

* a server to be **added** is assumed dead from the moment it is listed;
* a server to be **removed** is stopped first and still listed;
* a server to be **restarted**, and a leader that **hands over**, is gone for a while.

In each of these moments :attr:`Quorum.holds` must be true, counting as healthy only what was
seen healthy. (Cluster API's control plane and Consul's autopilot count the same way.)
"""

from dataclasses import dataclass, replace


def majority(voters: int) -> int:
    """How many of ``voters`` must agree: more than half of them."""
    return voters // 2 + 1


@dataclass(frozen=True, slots=True)
class Quorum:
    """A zone in numbers, at one moment.

    :param voters: servers listed in the zone, whatever their state.
    :param healthy: how many of them were *seen* healthy; unknown is unhealthy.
    """

    voters: int
    healthy: int

    def __post_init__(self) -> None:
        if not 0 <= self.healthy <= self.voters:
            raise ValueError(f"{self.healthy} healthy of {self.voters} voters cannot be")

    @property
    def needed(self) -> int:
        """The majority of the voters."""
        return majority(self.voters)

    @property
    def holds(self) -> bool:
        """The healthy ones can elect and commit by themselves."""
        return self.healthy >= self.needed

    @property
    def tolerance(self) -> int:
        """How many more may fail before writes stop; negative: they have stopped already."""
        return self.healthy - self.needed

    def adding(self) -> "Quorum":
        """One more voter, assumed dead until it is seen healthy."""
        return replace(self, voters=self.voters + 1)

    def stopping(self) -> "Quorum":
        """One healthy voter does not run for a while, and is listed all the same."""
        return replace(self, healthy=self.healthy - 1)

    def recovering(self) -> "Quorum":
        """One voter that was down is seen healthy."""
        return replace(self, healthy=self.healthy + 1)

    def deleting(self) -> "Quorum":
        """One voter that does not run is taken off the list."""
        return replace(self, voters=self.voters - 1)

    def __str__(self) -> str:
        text = f"{self.needed} of {self.voters} needed, {self.healthy} healthy seen"
        if self.tolerance < 0:
            return f"{text}, no quorum"
        if self.tolerance == 0:
            return f"{text}, survives no further failure"
        return f"{text}, survives {self.tolerance} more failure{'s' * (self.tolerance > 1)}"
