"""What stands at the boundaries of a rollout's stages, in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.fakes.store import MemoryStore

from onebaton.config import Stage, StagesConfig
from onebaton.rollout.boundaries import StageCheck
from onebaton.staging import Notice


@dataclass
class FakeHooks:
    """Implements the port ``HookRunner``.

    :ivar statuses: what programs end with, by their first word; 0 if not named.
    :ivar told: what they were told, in order.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    told: list[Mapping[str, str]] = field(default_factory=list)

    def run(
        self, command: Sequence[str], *, told: Mapping[str, str], timeout_s: float, what: str
    ) -> int:
        assert timeout_s > 0, what
        self.told.append(told)
        return self.statuses.get(command[0], 0)


@dataclass
class FakeNotifier:
    """Implements the port ``Notifier``: a list."""

    notices: list[Notice] = field(default_factory=list)

    def tell(self, notice: Notice) -> None:
        self.notices.append(notice)


@dataclass
class Staging:
    """How a rollout is staged, and what outlives a run of it."""

    settings: StagesConfig = field(default_factory=StagesConfig)
    until: Stage | None = None
    store: MemoryStore = field(default_factory=MemoryStore)
    hooks: FakeHooks = field(default_factory=FakeHooks)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    before_stage: Sequence[StageCheck] = ()
