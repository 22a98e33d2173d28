"""What every command is given."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from onebaton.config import Cut, Stage
    from onebaton.ports import Reporter

#: Commands that take the options of a cut-over; the second kind those of a rehearsal too.
_PLANNING = ("plan", "rollout", "continue")
_JUDGING = (*_PLANNING, "rehearse")
#: Commands that carry a plan out.
_CARRYING_OUT = ("rollout", "continue")
#: Commands that may stop after a stage.
_STAGED = ("rollout", "continue")
#: Commands that are about one node.
_ABOUT_ONE = ("park", "unpark", "replace")


@dataclass(frozen=True, slots=True)
class Options:
    """What every command is given.

    :param config: path of ``cluster.yaml``.
    :param version: overrides ``image.version``.
    :param state: overrides ``state``; relative to the working folder.
    :param break_lock: take the lock from whoever has it.
    :param cut: overrides ``rollout.cut``.
    :param accepted: tables that may lose rows in a cut-over.
    :param node: the one node that it is about.
    :param clone: name of a clone of that zone, which is meant instead of it.
    :param plan: file of the plan that a rollout carries out; it says the version, and how to cut
        over.
    :param image_digest: of the one image to take, as a plan names it.
    :param until: the stage after which a rollout stops.
    """

    config: Path
    reporter: Reporter
    version: str | None = None
    state: str | None = None
    break_lock: bool = False
    cut: Cut | None = None
    accepted: tuple[str, ...] = ()
    node: str | None = None
    clone: str | None = None
    plan: Path | None = None
    image_digest: str | None = None
    until: Stage | None = None

    def again(self, command: str) -> str:
        """The command line that goes on with this."""
        words = ["onebaton", *command.split()]
        if self.node is not None and command in _ABOUT_ONE:
            words.append(self.node)
        words += ["--config", str(self.config)]
        if self.clone is not None:
            words += ["--clone", self.clone]
        if self.plan is not None and command in _CARRYING_OUT:
            words += ["--plan", str(self.plan)]
        elif self.version is not None:
            words += ["--version", self.version]
        if self.state is not None:
            words += ["--state", self.state]
        return shlex.join([*words, *self._of_a_cut_over(command)])

    def _of_a_cut_over(self, command: str) -> Iterator[str]:
        """What was said of a cut-over, if the command takes it; a plan says it itself."""
        by_plan = self.plan is not None and command in _CARRYING_OUT
        if self.cut is not None and command in _PLANNING and not by_plan:
            yield from ("--cut", self.cut)
        if command in _JUDGING:
            for table in () if by_plan else self.accepted:
                yield from ("--accept-loss", table)
        if self.until is not None and command in _STAGED:
            yield from ("--until", self.until)
