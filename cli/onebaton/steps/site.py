"""What every step works with, and how a step waits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from onebaton.config import Gates, OnedConfig, Timeouts
from onebaton.errors import DeadlineError, UnavailableError
from onebaton.model import Vip, World
from onebaton.ports import Clock, FrontEnds, Platform, Reporter, ZoneApi
from onebaton.standby import PriorRecord, StandBy

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """The ports of one cluster, with the numbers that bound its steps.

    :param observe: a fresh observation of the world.
    :param port: TCP port of ``oned``.
    :param standby: what a cut-over does on the new nodes.
    :param priors: where the record of a cut-over is kept.
    :param max_outage_s: a cut-over that takes longer is taken back while it can be; ``None``:
        any time is accepted.
    :param left_alone: tables that the rehearsal saw the migrator leave alone.
    """

    api: ZoneApi
    frontends: FrontEnds
    platform: Platform
    clock: Clock
    reporter: Reporter
    observe: Callable[[], World]
    vip: Vip
    port: int
    oned: OnedConfig
    timeouts: Timeouts
    gates: Gates
    standby: StandBy
    priors: PriorRecord
    max_outage_s: float | None = None
    left_alone: frozenset[str] = frozenset()

    def endpoint(self, address: str) -> str:
        """The XML-RPC endpoint of ``oned`` at an address."""
        return f"http://{address}:{self.port}/RPC2"

    @property
    def vip_endpoint(self) -> str:
        """Where clients talk to the zone."""
        return self.endpoint(self.vip.address)

    def wait_for(
        self, what: str, look: Callable[[], T | str], *, timeout_s: float, interval_s: float = 0.5
    ) -> T:
        """Look again and again until it is there.

        :param what: what is waited for, in words.
        :param look: answers the thing waited for, or a text that says how it stands.
        :raises DeadlineError: if it is not there after ``timeout_s`` seconds.
        """
        begin = self.clock.monotonic()
        while True:
            try:
                seen = look()
            except UnavailableError as error:
                seen = error.message
            if not isinstance(seen, str):
                return seen
            waited = self.clock.monotonic() - begin
            if waited >= timeout_s:
                raise DeadlineError(
                    f"waited {timeout_s:g} s in vain for {what}",
                    details=[f"last seen: {seen}"],
                    resolution="Look into it, then run the same command again: it goes on.",
                )
            self.reporter.progress(f"waiting for {what}: {seen} ({waited:.0f} s)")
            self.clock.sleep(interval_s)
