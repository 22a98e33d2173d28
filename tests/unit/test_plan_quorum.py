"""The arithmetic that every transition is judged by."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebaton.plan.quorum import Quorum, majority


@pytest.mark.parametrize(
    ("voters", "needed"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (9, 5)]
)
def test_majority(voters, needed):
    assert majority(voters) == needed


def test_two_majorities_always_share_a_voter():
    assert all(2 * majority(n) > n for n in range(200))


def test_what_people_read():
    assert str(Quorum(6, 5)) == "4 of 6 needed, 5 healthy seen, survives 1 more failure"
    assert str(Quorum(9, 9)) == "5 of 9 needed, 9 healthy seen, survives 4 more failures"
    assert str(Quorum(4, 3)) == "3 of 4 needed, 3 healthy seen, survives no further failure"
    assert str(Quorum(2, 1)) == "2 of 2 needed, 1 healthy seen, no quorum"


def test_a_zone_of_nobody_has_no_quorum():
    assert not Quorum(0, 0).holds


def test_more_healthy_than_listed_cannot_be():
    with pytest.raises(ValueError, match="4 healthy of 3 voters"):
        Quorum(3, 4)


@given(st.integers(1, 20), st.data())
def test_a_change_by_one_is_never_judged_too_well(voters, data):
    now = Quorum(voters, data.draw(st.integers(1, voters)))
    assert now.adding().tolerance <= now.tolerance
    assert now.stopping().tolerance == now.tolerance - 1
    assert now.adding().recovering().healthy == now.healthy + 1
    assert now.stopping().deleting() == Quorum(voters - 1, now.healthy - 1)
