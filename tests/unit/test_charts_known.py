"""Charts of figures that are known beforehand, or were withheld beforehand."""

from __future__ import annotations

import pytest

from server.web import charts as c
from shared.metrics import Interval
from tests.charts.gallery import score_bins, words


def test_what_was_withheld_before_stays_withheld():
    cells = [c.Swap(40, 0.1, 500.0), c.Swap(None, None, 0.0), c.Swap(30, None, 0.0)]
    table = c.swap_set(words("swap_set"), [*cells, c.Swap(5, None, 0.0)], c.PERCENT).table
    assert [row[1] for row in table.rows] == [40, None, 30, None]
    moved = c.migration(words("migration"), ["A", "B"], [[25, None], [0, 3]]).table
    assert moved.rows == (("A", 25, None), ("B", 0, None))
    months = [c.Month("2026-03", 40, None), c.Month("2026-04", None, 0.5)]
    assert c.stability_months(words("stability_months"), months).table.rows[1][1:3] == (None, None)
    hidden = [c.Month("2026-03", None, None)]
    assert c.stability_months(words("stability_months"), hidden).state == "too_few"
    none = [[None, None], [None, None]]
    assert c.migration(words("migration"), ["A", "B"], none).state == "too_few"


def test_figures_known_more_exactly_stand_in_the_picture():
    bins = score_bins()
    exact = c.roc(words("roc"), bins, auc=Interval(0.8123, 0.7987, 0.8222, 0.95))
    assert "0.812" in exact.svg
    assert "0.799" in exact.svg
    assert exact.table == c.roc(words("roc"), bins).table
    assert "0.987" in c.ks_curve(words("ks_curve"), bins, ks=0.9871).svg
    assert "0.987" not in c.ks_curve(words("ks_curve"), bins).svg


def test_bins_of_unlike_width_count_by_their_area():
    bins = c.ScoreBins((0.0, 10.0, 50.0), (100, 100), (40, 60))
    plain = c.score_distribution(words("score_distribution"), bins).table.rows
    wide = c.score_distribution(words("score_distribution"), bins, 10.0).table.rows
    assert [row[2] for row in plain] == [50.0, 50.0]
    assert [row[2] for row in wide] == [50.0, 12.5]
    assert wide[1][3] == pytest.approx(15.0)
