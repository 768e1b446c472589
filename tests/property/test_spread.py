"""Groups of points that a release tells: whole, ordered, and never of few people."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import metrics
from shared.errors import DataError
from shared.scorecard.spread import FEWEST, FEWEST_OF_A_CLASS, MOST_GROUPS, Spread

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(-30, 30)), min_size=1, max_size=400)


def prob(points):
    return 1 / (1 + np.exp(0.05 * points))


@given(ROWS)
def test_every_customer_is_counted_once_and_no_group_is_small(rows):
    label, points = (np.array(side) for side in zip(*rows, strict=True))
    found = Spread.of_rows(label, points, prob(points))
    if found is None:
        few = min(label.sum(), len(label) - label.sum()) < FEWEST_OF_A_CLASS
        assert few or len(label) < FEWEST
        return
    assert sum(found.bads) == label.sum()
    assert sum(found.goods) == len(label) - label.sum()
    assert len(found.goods) <= MOST_GROUPS
    for at, (good, bad) in enumerate(zip(found.goods, found.bads, strict=True)):
        assert min(good, bad) >= FEWEST_OF_A_CLASS
        assert good + bad >= FEWEST
        inside = (points >= found.points[at]) & (points < found.points[at + 1])
        assert inside.sum() == good + bad
        assert found.expected[at] == pytest.approx(prob(points[inside]).mean(), abs=1e-6)
    assert Spread.from_mapping(found.to_mapping()) == found


def test_it_keeps_nearly_all_of_the_ranking():
    rng = np.random.default_rng(1)
    points = np.rint(rng.normal(0, 30, 5000)).astype(int)
    label = (rng.random(5000) < prob(points)).astype(int)
    found = Spread.of_rows(label, points, prob(points))
    whole = metrics.roc_auc(label, -points)
    grouped = metrics.auc_from_counts(np.array(found.goods[::-1]), np.array(found.bads[::-1]))
    assert len(found.goods) > 20
    assert grouped == pytest.approx(whole, abs=0.005)


@pytest.mark.parametrize(("n", "bads"), [(19, 9), (400, 4), (400, 396), (400, 0)])
def test_too_few_of_a_class_or_of_all_are_not_told(n, bads):
    label = np.arange(n) < bads
    assert Spread.of_rows(label.astype(int), np.arange(n), np.full(n, 0.1)) is None
    label = np.arange(40) < 20  # the control
    assert Spread.of_rows(label.astype(int), np.zeros(40), np.full(40, 0.1)) is not None


GOOD = {"points": [0, 5, 9], "goods": [15, 20], "bads": [5, 6], "expected": [0.2, 0]}


@pytest.mark.parametrize(
    "change",
    [
        {"points": [0, 5]},
        {"points": [0, 9, 5]},
        {"points": [0, 5.0, 9]},
        {"goods": [True, 20]},
        {"bads": [4, 6]},
        {"goods": [14, 20]},
        {"expected": [0.2, 1.1]},
        {"expected": ["0.2", 0.1]},
        {"expected": [float("nan"), 0.1]},
        {"more": []},
        {"points": [0], "goods": [], "bads": [], "expected": []},
    ],
)
def test_what_is_no_spread_is_refused(change):
    assert Spread.from_mapping(GOOD).bads == (5, 6)
    with pytest.raises(DataError, match="spread"):
        Spread.from_mapping(GOOD | change)


def test_what_is_no_table_is_refused():
    for value in (None, [], {"points": []}):
        with pytest.raises(DataError):
            Spread.from_mapping(value)
