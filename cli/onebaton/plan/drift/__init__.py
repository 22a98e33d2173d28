"""What is not as the configuration says, where nobody changes anything.

Pure: what is wanted and what was seen in, differences out. What cannot be seen is told as well:
a machine that does not answer may be anything.
"""

from collections.abc import Callable, Iterator

from onebaton.drift import Drift
from onebaton.plan.drift import content, standing
from onebaton.plan.drift.sight import Sight

__all__ = ["Sight", "drift_of"]

_JUDGES: tuple[Callable[[Sight], Iterator[Drift]], ...] = (
    standing.members,
    standing.nodes,
    content.images,
    content.terraform,
    content.configuration,
    content.versions,
    standing.vip,
)


def drift_of(sight: Sight) -> tuple[Drift, ...]:
    """Everything that is not as it should be, by area and place."""
    return tuple(found for judge in _JUDGES for found in judge(sight))
