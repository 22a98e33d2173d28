"""What the operator wants, as the planner takes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onebaton.model import Image, NodeSpec

Strategy = Literal["surge", "one-by-one"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Numbers that decide whether a plan may go on.

    :param max_lag_records: how far behind the leader a member still counts as caught up.
    :param log_window_share: share of LOG_RETENTION that a seed may be old.
    :param expected_seed_s: how long seeding is expected to take; in that time the log must not
        outrun a seed.
    :param election_timeout_ms: of every server outside of a hand-over.
    :param steered_election_timeout_ms: of the server that shall win the hand-over.
    """

    max_lag_records: int
    log_window_share: float
    expected_seed_s: float
    election_timeout_ms: int
    steered_election_timeout_ms: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """A zone of ``size`` servers, all on one image.

    :param zone: name of the zone; names of its nodes begin with it.
    :param slots: addresses of each generation, ``a`` and ``b``: while one serves, the other is
        free for the next.
    :param port: TCP port of ``oned``.
    """

    zone: str
    size: int
    strategy: Strategy
    image: Image
    slots: Mapping[str, tuple[str, ...]]
    limits: Limits
    port: int = 2633

    def specs(self, slot: str) -> tuple[NodeSpec, ...]:
        """The wanted nodes, if they live in this slot: ``zone-a1`` at its first address."""
        return tuple(
            NodeSpec(f"{self.zone}-{slot}{i}", address, self.image.name, self.image.digest, slot)
            for i, address in enumerate(self.slots[slot][: self.size], start=1)
        )

    def endpoint(self, address: str) -> str:
        """XML-RPC endpoint of ``oned`` at an address."""
        return f"http://{address}:{self.port}/RPC2"
