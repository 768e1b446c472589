"""Reading a release's evaluation: what was told, and nothing that was not."""

from __future__ import annotations

import pytest

from server.releases.evaluation import FIGURES, evaluation_of

SPREAD = {"points": [0, 9, 20], "goods": [30, 40], "bads": [20, 10], "expected": [0.4, 0.2]}
WHOLE = {
    "n": 100,
    "bad_rate": 0.3,
    "auc": 0.75,
    "auc_interval": [0.7, 0.8],
    "ks": 0.4,
    "brier": 0,
    "alone": {"bank": {"auc": 0.6, "auc_interval": [0.55, 0.65], "ks": 0.2}},
    "by_points": SPREAD,
}


def test_what_was_told_is_read():
    told = evaluation_of(WHOLE)
    assert (told.people, told.bad_rate) == (100, 0.3)
    assert [one.name for one in told.figures] == ["auc", "ks", "brier"]
    assert told.figure("auc").interval.low == 0.7
    assert told.figure("ks").interval is None
    assert told.figure("gini") is None
    assert told.alone[0].holder == "bank"
    assert told.alone[0].auc.high == 0.65
    assert told.spread.goods == (30, 40)


@pytest.mark.parametrize(
    "change",
    [
        {"auc": "0.75"},
        {"auc": True},
        {"auc": float("nan")},
        {"auc": None},
        {"n": -1},
        {"n": 99.5},
        {"bad_rate": "much"},
        {"alone": [1]},
        {"alone": {"bank": 0.6}},
        {"by_points": {**SPREAD, "bads": [1, 1]}},
        {"by_points": 7},
    ],
)
def test_what_has_another_form_is_not_known(change):
    told, name = evaluation_of(WHOLE | change), next(iter(change))
    found = {
        "auc": told.figure("auc"),
        "n": told.people,
        "bad_rate": told.bad_rate,
        "alone": told.alone or None,
        "by_points": told.spread,
    }
    assert found.pop(name) is None
    assert None not in found.values()


@pytest.mark.parametrize("ends", [[0.8, 0.9], [0.7], "wide", [None, 0.8], None])
def test_an_interval_that_does_not_hold_its_figure_is_left_out(ends):
    figure = evaluation_of(WHOLE | {"auc_interval": ends}).figure("auc")
    assert (figure.value, figure.interval) == (0.75, None)


def test_nothing_told_is_nothing_known():
    told = evaluation_of({})
    assert told.figures == told.alone == ()
    assert told.people is told.bad_rate is told.spread is None
    assert len(FIGURES) == 7
