"""Which plans were carried out: a plan is used by one rollout only.

The mark is made under the plan's digest, only if there is none, before the rollout's first step.
Where the rollout did not come to its end, the same plan goes on; where it did, the plan is used
up. The mark also keeps which state the platform's records were left in, so that what somebody
else did to them meanwhile is told from what the rollout did.
"""

import json
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from onebaton.errors import RefusedError, UnreadableError
from onebaton.ports import Store
from onebaton.records import StateIdentity

PREFIX = "plans/"
#: Version of the file's format.
FORMAT = 1


@checked(frozen=True, slots=True, config=ConfigDict(strict=True, extra="forbid"))
class Use:
    """The rollout that a plan was used by.

    :param run: id of its first run.
    :param began_at: seconds since the epoch, UTC.
    :param ended_at: ``None`` while it did not come to its end.
    :param state: of the platform's records when they were last looked at.
    :param changing: a step that changes them was under way.
    """

    format: Literal[1]
    digest: str
    run: str
    began_at: float
    ended_at: float | None
    state: tuple[str, int] | None
    changing: bool

    @property
    def identity(self) -> StateIdentity | None:
        """The state of the platform's records."""
        return StateIdentity(*self.state) if self.state is not None else None


_USE = TypeAdapter(Use)


@dataclass(frozen=True, slots=True)
class PlanUses:
    """The mark of one plan.

    :param digest: of the plan, ``sha256:…``.
    """

    store: Store
    digest: str

    @property
    def key(self) -> str:
        """Where the mark is kept."""
        return f"{PREFIX}{self.digest.removeprefix('sha256:')}.json"

    def load(self) -> Use | None:
        """The rollout that the plan was used by; ``None`` if there was none.

        :raises UnreadableError: if the mark cannot be read: the plan might be carried out twice.
        """
        content = self.store.read(self.key)
        if content is None:
            return None
        try:
            return _USE.validate_json(content)
        except ValidationError as error:
            raise UnreadableError(
                f"the mark of a plan's use ({self.key} under `state`) cannot be read",
                details=[
                    f"{'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
                    for problem in error.errors(include_url=False, include_input=False)
                ],
                resolution="Restore it from a copy, or make a new plan.",
            ) from None

    def take(self, run: str, at: float, state: StateIdentity | None) -> Use:
        """Mark the plan as used by this run.

        :raises RefusedError: if another run did so a moment ago.
        """
        use = Use(1, self.digest, run, at, None, _pair(state), changing=False)
        if not self.store.create(self.key, _dumped(use)):
            raise RefusedError(
                "another run has just begun to carry this plan out",
                resolution="Let that one end; `onebaton status` shows the zone.",
            )
        return use

    def changing(self, use: Use) -> Use:
        """A step that changes the platform's records is about to begin."""
        return self._save(replace(use, changing=True))

    def settled(self, use: Use, state: StateIdentity | None) -> Use:
        """It has ended."""
        return self._save(replace(use, changing=False, state=_pair(state)))

    def ended(self, use: Use, at: float) -> Use:
        """The rollout came to its end: the plan is used up."""
        return self._save(replace(use, changing=False, ended_at=at))

    def _save(self, use: Use) -> Use:
        self.store.write(self.key, _dumped(use))
        return use


def _pair(state: StateIdentity | None) -> tuple[str, int] | None:
    return (state.lineage, state.serial) if state is not None else None


def _dumped(use: Use) -> bytes:
    return json.dumps(_USE.dump_python(use, mode="json"), indent=1).encode() + b"\n"
