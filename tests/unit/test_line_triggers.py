"""Triggers B01-B10: what sets each off, what calms it, and how windows count."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from server.limits.line.history import History, measures, value_on
from server.limits.line.line import Window
from server.limits.line.triggers import Facts, is_over, largest_limit, look, observes, watched
from tests.line_kit import BASE, POLICY, QUIET, START, Life, busy, opened, quiet

DAY = START + timedelta(days=30)


def seen(facts, line=None):
    return look(line or opened()[0], facts, POLICY, DAY)


@pytest.mark.parametrize(
    ("code", "below", "at"),
    [
        ("B01", {"draws_30d": 5}, {"draws_30d": 6}),
        ("B04", {"peak_balance_30d": 899_999}, {"peak_balance_30d": 900_000}),
        # Twice the month's share of the quarter: 2/3 of it.
        (
            "B05",
            {"spend_30d": 199_999, "spend_90d": 300_000},
            {"spend_30d": 200_000, "spend_90d": 300_000},
        ),
        (
            "B05",
            {"spend_30d": 99_999, "spend_90d": 99_999},
            {"spend_30d": 100_000, "spend_90d": 100_000},
        ),
        ("B06", {"enquiries_30d": 3, "enquiries_90d": 3}, {"enquiries_30d": 4, "enquiries_90d": 4}),
        ("B06", {"enquiries_30d": 0, "enquiries_90d": 5}, {"enquiries_30d": 0, "enquiries_90d": 6}),
        (
            "B09",
            {"others": 149_999, "others_90d_ago": 100_000},
            {"others": 150_000, "others_90d_ago": 100_000},
        ),
        ("B09", {"others": 99_999, "others_90d_ago": 0}, {"others": 100_000, "others_90d_ago": 0}),
        ("B10", {"forbidden_purposes_30d": 0}, {"forbidden_purposes_30d": 1}),
    ],
)
def test_a_trigger_goes_off_at_its_threshold_and_not_below(code, below, at):
    assert code not in seen(quiet(measures=below)).fired
    assert code in seen(quiet(measures=at)).fired


def test_b07_is_measured_from_the_last_scheduled_review():
    life = Life()
    assert "B07" not in seen(quiet(measures={"score": 500}), life.line).fired
    life.review(quiet(measures={"score": 700}))
    assert "B07" not in seen(quiet(measures={"score": 671}), life.line).fired
    assert "B07" in seen(quiet(measures={"score": 670}), life.line).fired


def test_what_is_told_holds_the_figures():
    reason = seen(busy()).fired["B01"]
    assert (reason.code, reason.family) == ("B01", "behaviour")
    assert dict(reason.params) == {"metric": "draws", "value": 8, "enter": "6", "days": 30}
    reason = seen(quiet(measures={"spend_30d": 100_000, "spend_90d": 120_000})).fired["B05"]
    assert dict(reason.params)["value"] == "2.50"


def test_an_unknown_measure_neither_fires_nor_is_calm():
    nothing = seen(Facts())
    assert not nothing.fired
    assert not nothing.clean
    assert seen(quiet()).clean
    assert not seen(Facts(measures={"draws_30d": 0})).clean


def test_a_month_is_clean_at_the_exit_and_within_grace():
    assert seen(quiet(measures={"draws_30d": 3, "peak_balance_30d": 800_000})).clean
    assert not seen(quiet(measures={"draws_30d": 4})).clean
    assert not seen(quiet(measures={"peak_balance_30d": 800_001})).clean
    assert seen(quiet(days_past_due=3)).clean
    assert not seen(quiet(days_past_due=4)).clean


def test_windows_count_scheduled_reviews_only():
    first = watched((), seen(busy()), POLICY, DAY, score=640, scheduled=True)
    assert first == (Window("B01", DAY, DAY, run=1, clean=0, score=640),)
    later = DAY + timedelta(days=5)
    again = watched(first, seen(busy()), POLICY, later, score=630, scheduled=False)
    assert again == (Window("B01", DAY, later, run=1, clean=0, score=630),)
    same = watched(again, seen(quiet()), POLICY, later, score=630, scheduled=False)
    assert same == again
    clean = watched(same, seen(quiet()), POLICY, later, score=630, scheduled=True)
    assert (clean[0].run, clean[0].clean) == (0, 1)
    unclean = watched(clean, seen(quiet(days_past_due=9)), POLICY, later, score=1, scheduled=True)
    assert unclean[0].clean == 0


def test_a_window_ends_after_its_reviews_and_its_days():
    window = Window("B01", DAY, DAY, clean=2)
    assert not is_over(window, POLICY, DAY + timedelta(days=59))
    assert is_over(window, POLICY, DAY + timedelta(days=60))
    assert not is_over(Window("B01", DAY, DAY, clean=1), POLICY, DAY + timedelta(days=90))
    cooling_off = Window("B06", DAY, DAY, clean=9)
    assert not is_over(cooling_off, POLICY, DAY + timedelta(days=89))
    after_freeze = Window("B08", DAY, DAY, clean=2)
    assert is_over(after_freeze, POLICY, DAY + timedelta(days=60))
    assert observes(after_freeze, POLICY)
    assert not observes(Window("B04", DAY, DAY), POLICY)


def test_utilisation_remembers_the_limit_of_ninety_days():
    life = Life()
    life.review(smallest=700_000)
    cut = life.line.changed_on
    assert largest_limit(life.line, POLICY, cut + timedelta(days=89)) == BASE
    assert largest_limit(life.line, POLICY, cut + timedelta(days=90)) == 700_000


def test_measures_are_taken_over_the_policys_windows():
    day = date(2026, 5, 31)
    history = History(
        draws=((date(2026, 5, 1), 10), (date(2026, 5, 2), 10), (day, 10), (date(2026, 6, 1), 10)),
        balances=((date(2026, 4, 1), 700), (date(2026, 5, 10), 100), (date(2026, 6, 2), 900)),
        spending=((date(2026, 3, 3), 5), (date(2026, 3, 2), 7), (date(2026, 5, 30), 11)),
        enquiries=(date(2026, 3, 2), date(2026, 3, 3), day),
        others=((date(2025, 1, 1), 300), (date(2026, 4, 1), 400)),
        forbidden=(date(2026, 5, 5),),
    )
    assert measures(history, POLICY, day, score=640) == {
        "score": 640,
        "draws_30d": 2,
        "peak_balance_30d": 700,  # carried into the window
        "spend_30d": 11,
        "spend_90d": 16,
        "enquiries_30d": 1,
        "enquiries_90d": 2,
        "others": 400,
        "others_90d_ago": 300,
        "forbidden_purposes_30d": 1,
    }
    assert value_on(history.balances, date(2026, 3, 31)) == 0


def test_what_a_history_does_not_know_is_left_out():
    known = measures(History(), POLICY, DAY)
    assert known == {"draws_30d": 0, "peak_balance_30d": 0, "forbidden_purposes_30d": 0}
    assert QUIET.keys() <= known.keys()
