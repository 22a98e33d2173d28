"""What the operator wants, as the planner takes it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from onebaton.model import Image, Node, NodeSpec
from onebaton.plan.actions import CutWay

Strategy = Literal["surge", "one-by-one", "swap"]


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
class Rehearsed:
    """What the newest rehearsal of the wanted image found.

    :param kept_as: where its report is.
    :param verdict: ``roll`` or ``cut-over``, the new release's own ``onedb`` says.
    :param age_s: seconds since it began.
    :param ahead_proven: a copy migrated ahead was equal to one migrated whole.
    :param doubts: why it was not, a sentence each.
    :param losses: tables that lose rows, each with how many, e.g. ``2099 → 0``.
    :param left_alone: tables that the migrator does not touch.
    :param forecast_s: seconds without writes, by the way of cutting over.
    :param clone: name of the clone that the whole rollout was carried out in; empty if it was
        not.
    :param measured_s: longest time without writes in that rollout; ``None`` if not measured.
    :param began_at: seconds since the epoch, UTC.
    :param digest: over its report.
    """

    kept_as: str
    verdict: str
    image_digest: str
    from_schema: str
    to_schema: str
    age_s: float
    migrators: tuple[str, ...] = ()
    ahead_proven: bool = False
    doubts: tuple[str, ...] = ()
    losses: Mapping[str, str] = field(default_factory=dict)
    left_alone: frozenset[str] = frozenset()
    forecast_s: Mapping[CutWay, float] = field(default_factory=dict)
    clone: str = ""
    measured_s: float | None = None
    began_at: float = 0.0
    digest: str = ""


@dataclass(frozen=True, slots=True)
class CutWish:
    """How a change of the schema is to be carried out.

    :param way: ``auto``: the held stand-by where the rehearsal proved it, else the plain way.
    :param max_outage_s: a forecast above it is refused; ``None``: any.
    :param rehearsal_max_age_s: older rehearsals do not count.
    :param rehearsal: the newest one of this image; ``None`` if there is none.
    :param accepted: tables that may lose rows.
    """

    way: Literal["auto", "stand-by", "plain"] = "auto"
    max_outage_s: float | None = None
    rehearsal_max_age_s: float = 7 * 86400.0
    rehearsal: Rehearsed | None = None
    accepted: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Condemned:
    """A machine that is to be replaced by a new one under its name and address.

    :param instance: its identity, which the new one will not have; empty if it vanished.
    :param image_digest: of the image that it, and the new one, is made from.
    """

    name: str
    address: str
    instance: str
    image_digest: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """A zone of ``size`` servers, all on one image.

    :param zone: name of the zone; names of its nodes begin with it.
    :param slots: addresses of each generation, ``a`` and ``b``: while one serves, the other is
        free for the next.
    :param port: TCP port of ``oned``.
    :param condemned: a machine that counts as old, whatever it runs.
    :param given_up: digest of the image that a swap goes back from; empty if it does not. A
        machine of it need not be well to be swapped.
    :param revoked: why the image must not be used any more; empty if it may.
    """

    zone: str
    size: int
    strategy: Strategy
    image: Image
    slots: Mapping[str, tuple[str, ...]]
    limits: Limits
    port: int = 2633
    cut: CutWish = CutWish()
    condemned: Condemned | None = None
    revoked: str = ""
    given_up: str = ""

    def condemns(self, node: Node | None, address: str = "") -> bool:
        """This very machine is to be replaced.

        :param address: of a server; where the platform holds nothing at that of the condemned
            machine any more, its server goes as well.
        """
        one = self.condemned
        if one is None or node is None:
            return one is not None and address == one.address
        return (node.spec.address, node.instance) == (one.address, one.instance)

    def specs(self, slot: str) -> tuple[NodeSpec, ...]:
        """The wanted nodes, if they live in this slot: ``zone-a1`` at its first address."""
        return tuple(
            NodeSpec(f"{self.zone}-{slot}{i}", address, self.image.name, self.image.digest, slot)
            for i, address in enumerate(self.slots[slot][: self.size], start=1)
        )

    def endpoint(self, address: str) -> str:
        """XML-RPC endpoint of ``oned`` at an address."""
        return f"http://{address}:{self.port}/RPC2"
