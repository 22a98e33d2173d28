"""The longest gap against its definition."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onebaton.rollout.gaps import (
    KEPT_GAPS,
    KEPT_TEXTS,
    OTHER_TEXTS,
    Gap,
    Kind,
    Ledger,
    Outcome,
    gap_of,
)

moments = st.floats(min_value=0, max_value=1000, allow_nan=False)
answers = st.lists(st.tuples(moments, st.sampled_from(Outcome)), max_size=40)


def ledger(begin: float, answered: list[tuple[float, Outcome]], end: float) -> Ledger:
    made = Ledger(begin)
    for at, outcome in sorted(answered, key=lambda pair: pair[0]):
        made.take(outcome, at)
    made.close(end)
    return made


def gap(*ledgers: Ledger, now: float = 0.0, epoch: float = 0.0) -> Gap:
    return gap_of("VIP", Kind.READ, list(ledgers), now, epoch)


@given(answers)
def test_the_gap_is_the_longest_distance_of_good_answers(answered):
    begin, end = 0.0, 1000.0
    good = sorted(at for at, outcome in answered if outcome is Outcome.OK)
    stops = [begin, *good, end]
    found = gap(ledger(begin, answered, end))
    assert found.longest_s == max(b - a for a, b in itertools.pairwise(stops))
    assert found.longest_s == found.ended_at - found.began_at
    assert {found.began_at, found.ended_at} <= set(stops)
    assert found.requests == len(answered)
    assert found.ok == len(good)


@given(answers, answers)
def test_what_fails_never_shortens_a_gap(good, bad):
    good = [(at, Outcome.OK) for at, _ in good]
    bad = [(at, Outcome.FAILED) for at, _ in bad]
    with_failures = gap(ledger(0, good + bad, 1000))
    assert with_failures.longest_s == gap(ledger(0, good, 1000)).longest_s


@given(answers, answers)
def test_a_target_removed_and_added_again_has_no_gap_in_between(first, second):
    one, two = ledger(0, first, 1000), ledger(5000, [(at + 5000, o) for at, o in second], 6000)
    found = gap(one, two)
    assert found.longest_s == max(gap(one).longest_s, gap(two).longest_s)
    assert found.requests == len(first) + len(second)


def test_by_hand():
    answered = [(1.0, Outcome.OK), (1.1, Outcome.FAILED), (3.5, Outcome.OK), (4.0, Outcome.UNKNOWN)]
    found = gap(ledger(0.5, answered, 5.0), epoch=1_000_000.0)
    assert (found.longest_s, found.began_at, found.ended_at) == (2.5, 1_000_001.0, 1_000_003.5)
    assert (found.ok, found.failed, found.unknown) == (2, 1, 1)


def test_never_answered_is_one_gap():
    found = gap(ledger(2.0, [(3.0, Outcome.FAILED)], 9.0))
    assert (found.began_at, found.ended_at, found.ok) == (2.0, 9.0, 0)


def test_a_gap_that_lasts_ends_now():
    running = Ledger(0.0)
    running.take(Outcome.OK, 1.0)
    assert gap(running, now=4.0).longest_s == 3.0
    running.take(Outcome.OK, 5.0)
    assert gap(running, now=5.5).longest_s == 4.0


def test_after_the_end_nothing_counts():
    made = ledger(0.0, [(1.0, Outcome.OK)], 2.0)
    made.take(Outcome.OK, 9.0)
    made.close(20.0)
    assert (gap(made).longest_s, gap(made).ok) == (1.0, 1)


def test_texts_are_counted_and_bounded():
    made = Ledger(0.0)
    for number in range(KEPT_TEXTS + 5):
        made.take(Outcome.FAILED, 1.0, f"text {number}")
    made.take(Outcome.FAILED, 1.0, "text 3")
    made.take(Outcome.FAILED, 1.0, "text 3")
    failures = dict(gap(made, now=2.0).failures)
    assert failures["text 3"] == 3
    assert failures[OTHER_TEXTS] == 5
    assert sum(failures.values()) == KEPT_TEXTS + 7


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_only_what_was_acknowledged_ends_a_gap(outcome):
    assert gap(ledger(0.0, [(5.0, outcome)], 10.0)).longest_s == 10.0


def test_each_gap_worth_telling_is_kept_with_its_times():
    made = Ledger(0.0, worth_s=0.5)
    for at in (0.1, 0.2, 1.0, 1.1, 3.0):
        made.take(Outcome.OK, at)
    made.take(Outcome.FAILED, 3.4)
    assert gap(made, now=3.4, epoch=100.0).others == ((100.2, 101.0), (101.1, 103.0))
    # One that still lasts ends now.
    assert gap(made, now=4.0).others[-1] == (3.0, 4.0)
    made.close(5.0)
    assert gap(made, now=9.0).others[-1] == (3.0, 5.0)


def test_of_very_many_gaps_the_longest_are_kept():
    made = Ledger(0.0, worth_s=0.5)
    at = 0.0
    for number in range(KEPT_GAPS + 20):
        at += 1.0 + number / 100
        made.take(Outcome.OK, at)
    kept = gap(made, now=at).others
    assert len(kept) == KEPT_GAPS
    assert min(end - begin for begin, end in kept) == pytest.approx(1.2)
