"""What a cutoff does to people of known scores, and what rolls from bucket to bucket."""

from __future__ import annotations

from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from server.monitor.cutoff import ScoreCell, effects, grid
from server.monitor.rolls import Stock, roll_rates

CELLS = (
    ScoreCell(700, 10, 1_000, 600, 3.0),
    ScoreCell(600, 5, 300, 200, 4.0),
    ScoreCell(500, 5, 100, 50, 9.0, refused=True),
)
BUCKETS = ("C", "1-29", "30-59")


def cells():
    amounts = st.integers(0, 10**6)
    one = st.builds(
        ScoreCell, st.integers(300, 900), st.integers(0, 99), amounts, amounts, amounts.map(float)
    )
    return st.lists(one, max_size=30)


def test_a_cutoff_lets_in_who_reaches_it():
    low, today, high, none = effects(CELLS, 5, (500, 550, 601, 701))
    assert (low.approved, today.approved, high.approved, none.approved) == (20, 15, 10, 0)
    assert {one.people for one in (low, today, high, none)} == {25}
    assert (low.rate, today.rate, none.rate) == (0.8, 0.6, 0.0)
    assert (today.limit_minor, today.exposure_minor, today.loss_minor) == (1_300, 800, 7.0)
    assert low.loss_minor == 16.0


def test_nobody_gives_no_rate():
    [found] = effects((), 0, (500,))
    assert (found.people, found.rate) == (0, 0.0)


@given(cells(), st.integers(0, 50))
def test_a_higher_cutoff_lets_in_no_more_and_the_grid_reaches_from_all_to_nobody(found, otherwise):
    cutoffs = grid(found, 550)
    assert 550 in cutoffs
    done = effects(found, otherwise, cutoffs)
    for lower, higher in pairwise(done):
        assert lower.approved >= higher.approved
        assert lower.exposure_minor >= higher.exposure_minor
    assert done[0].approved == done[0].people - otherwise
    assert done[-1].approved == 0


def stock(day, owed, lines=60):
    return Stock(day, dict.fromkeys(BUCKETS, lines), dict(zip(BUCKETS, owed, strict=True)))


def test_what_is_owed_in_a_bucket_came_from_the_one_before_a_month_ago():
    days = [
        stock(date(2026, 1, 5), (999, 999, 999)),
        stock(date(2026, 1, 31), (1000, 100, 10)),
        stock(date(2026, 2, 28), (1000, 50, 25)),
    ]
    [found] = roll_rates(days, BUCKETS, 20)
    assert (found.since, found.until) == (date(2026, 1, 31), date(2026, 2, 28))
    assert dict(found.rates) == {("C", "1-29"): 0.05, ("1-29", "30-59"): 0.25}


def test_a_month_that_was_not_counted_leaves_a_gap():
    days = [stock(date(2026, month, 28), (100, 10, 1)) for month in (1, 3, 4)]
    assert [one.until for one in roll_rates(days, BUCKETS, 20)] == [date(2026, 4, 28)]


def test_a_year_ends_without_a_gap():
    days = [stock(date(2025, 12, 31), (100, 10, 1)), stock(date(2026, 1, 31), (100, 10, 1))]
    assert len(roll_rates(days, BUCKETS, 20)) == 1


def test_few_lines_and_empty_buckets_give_no_rate():
    before = Stock(date(2026, 1, 31), {"C": 19, "1-29": 60}, {"C": 1000, "1-29": 0})
    after = stock(date(2026, 2, 28), (1000, 50, 25))
    [found] = roll_rates([before, after], BUCKETS, 20)
    assert set(found.rates.values()) == {None}
