"""A copy is level when a round is tiny, or as small as rounds get."""

from collections.abc import Sequence

import pytest

from onebaton.errors import StepFailedError
from onebaton.model import Host
from onebaton.steps.rounds import MAX_ROUNDS, until_level


def taken(rounds: Sequence[int]) -> int:
    """How many of these rounds it takes."""
    left = list(rounds)
    until_level(
        lambda: left.pop(0),
        tiny=20,
        source=Host("z-a2", "10.0.0.12"),
        host=Host("z-b1", "10.0.0.21"),
        slow="its log can be shipped",
    )
    return len(rounds) - len(left)


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ([0, 9], 1),
        ([3000, 900, 20, 9], 3),
        ([3000, 191, 240, 9], 3),
        ([3000, 191, 140, 9], 3),
        ([3000, 191, 100, 60, 9], 5),
        # Larger again by chance, then as before: nobody runs away.
        ([200, 500, 480, 9], 3),
    ],
)
def test_it_ends_when_a_round_is_as_small_as_it_gets(rounds: list[int], expected: int) -> None:
    assert taken(rounds) == expected


def test_a_zone_that_runs_away_is_told() -> None:
    with pytest.raises(StepFailedError, match="z-b1 does not become level with z-a2"):
        taken([100 * 2**number for number in range(MAX_ROUNDS)])
