"""What each chart draws, leaves out and refuses."""

# ruff: noqa: E501 - tables of texts and figures are read by the line
from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from server.web import charts as c
from server.web.charts.axes import nice_step, number_axis, spread
from server.web.charts.curves import DASH
from server.web.charts.marks import fit, num, text, width, wrap
from server.web.charts.people import runs, told, told_part
from server.web.charts.units import MINUS, number
from shared.errors import DataError
from shared.metrics import auc_interval, ks
from shared.trueness import CalibrationBin, calibration_table
from tests.charts.gallery import score_bins, scored, words
from tests.charts.reading import SVG, curve_of, fits, root_of, texts_of

MONEY = c.Unit("CNY", 0, 100)
NOBODY = c.ScoreBins((), (), ())
RANKED = (c.roc, c.ks_curve, c.gains, c.lift)


def shown(chart):
    return [one.words for one in texts_of(chart.svg)]


def by_name(function):
    return words(function.__name__)


def few(goods, bads):
    return c.ScoreBins((0.0, 1.0, 2.0), (goods, 0), (0, bads))


# --- one way to write a figure


@pytest.mark.parametrize(
    ("value", "digits", "told_as"),
    [(-0.0, 0, "0"), (-0.04, 1, "0.0"), (-1234.5, 1, f"{MINUS}1,234.5"), (1e6, 0, "1,000,000")],
)
def test_a_number_has_thousands_apart_and_no_minus_before_zero(value, digits, told_as):
    assert number(value, digits) == told_as


def test_units_scale_and_tell():
    assert MONEY.told(1_234_500) == "12,345 CNY"
    assert c.PERCENT.told(0.1234) == "12.3%"
    assert str(c.PERCENT.scaled(-0.0001)) == "0.0"
    assert num(-0.04) == "0"


def test_a_text_is_a_golden_string():
    told_as = '<text x="3" y="4.5" font-size="11" text-anchor="end">a &lt; b</text>'
    assert text(3, 4.5, "a < b", anchor="end") == told_as


def test_long_words_are_cut_and_wrapped_to_their_room():
    assert fit("Utilisation", 200) == "Utilisation"
    assert fit("Utilisation of all cards", 60).endswith("…")
    assert width(fit("Utilisation of all cards", 60)) <= 60
    assert wrap("one two three", 52) == ("one two", "three")
    assert wrap("连续六次按时还款后恢复", 55) == ("连续六次按", "时还款后恢", "复")


# --- axes


def test_ticks_are_round_and_hold_all_values():
    axis = number_axis("Amount", MONEY, [0, 6_130_000], low=0.0)
    assert [label for _, label in axis.marks] == ["0", "20,000", "40,000", "60,000", "80,000"]
    assert axis.label == "Amount (CNY)"
    assert [label for _, label in number_axis("Round", c.Unit(), [1, 3]).marks] == ["1", "2", "3"]
    assert nice_step(2.2, 1) == 2.5
    assert nice_step(2.2, 0) == 5.0


@pytest.mark.parametrize("value", [0.0, 5.0, -3.0, 0.2])
def test_a_constant_still_has_an_axis(value):
    axis = number_axis("x", c.FIGURE, [value, value])
    assert axis.low <= value <= axis.high
    assert axis.low < axis.high


def test_fewer_labels_stand_where_all_would_touch():
    labels = [(20.0 + 25 * at, f"2026-{at + 1:02}") for at in range(12)]
    assert [told_at for _, _, told_at in spread(labels)] == [
        "2026-01",
        "2026-04",
        "2026-07",
        "2026-10",
    ]


# --- few people


def test_a_withheld_cell_is_not_the_total_less_the_others():
    assert told([100, 7, 40]) == (100, None, None)
    assert told([100, 7, 3]) == (100, None, None)
    assert told([100, 0, 40]) == (100, 0, 40)
    assert told([7]) == (None,)
    assert (told_part(0), told_part(19), told_part(20)) == (0, None, 20)


def test_runs_have_enough_people_each():
    assert runs([5, 5, 5, 5, 5, 5, 5, 5, 3], 10) == ((0, 4), (4, 9))
    assert runs([5, 5], 10) == ()
    assert runs([100] * 10, 5) == ((0, 2), (2, 4), (4, 6), (6, 8), (8, 10))


@pytest.mark.parametrize("function", RANKED)
def test_a_ranking_needs_twenty_of_both(function):
    assert function(by_name(function), NOBODY).state == "empty"
    for goods, bads in ((500, 19), (19, 500), (500, 0), (0, 500), (5, 5)):
        chart = function(by_name(function), few(goods, bads))
        assert chart.state == "too_few"
        assert chart.table.rows == ()
        assert not any(char.isdigit() for one in shown(chart) for char in one.replace("20", ""))
    assert function(by_name(function), few(20, 20)).state == "ready"


def test_a_distribution_leaves_out_the_class_of_few():
    chart = c.score_distribution(
        words("score_distribution"), c.ScoreBins((0, 1, 2), (60, 40), (3, 9))
    )
    assert [row[3] for row in chart.table.rows] == [None, None]
    assert "Bads" not in shown(chart)
    small = c.ScoreBins((0, 1, 2), (6, 4), (3, 9))
    assert c.score_distribution(words("score_distribution"), small).state == "too_few"


def test_a_distribution_marks_what_it_withholds():
    chart = c.score_distribution(
        words("score_distribution"), c.ScoreBins((0, 1, 2, 3), (600, 7, 100), (30, 30, 40))
    )
    assert [row[2] for row in chart.table.rows] == [84.9, None, None]
    assert "withheld: fewer than 20 people" in shown(chart)


def test_a_decile_of_few_people_has_neither_rate_nor_count():
    bins = [CalibrationBin(400, 8, 0.02, 0.02), CalibrationBin(12, 6, 0.5, 0.5),
            CalibrationBin(500, 50, 0.1, 0.1)]  # fmt: skip
    rows = c.calibration(words("calibration"), bins).table.rows
    assert rows[0] == (1, None, None, None, None, None)  # withheld with the small one
    assert rows[1] == (2, None, None, None, None, None)
    assert rows[2] == (3, 500, 10.0, 10.0, 50, 50)


def test_observed_defaults_of_few_are_a_rate_only():
    rows = c.calibration(words("calibration"), [CalibrationBin(400, 8, 0.02, 0.02)]).table.rows
    assert rows == ((1, 400, 2.0, 2.0, None, None),)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: c.funnel(words("funnel"), [("a", 19)]), "too_few"),
        (lambda: c.funnel(words("funnel"), []), "empty"),
        (lambda: c.limit_changes(words("limit_changes"), [0, 1], [12], MONEY), "too_few"),
        (lambda: c.limit_changes(words("limit_changes"), [], [], MONEY), "empty"),
        (lambda: c.migration(words("migration"), ["A"], [[19]]), "too_few"),
        (lambda: c.migration(words("migration"), [], []), "empty"),
        (lambda: c.swap_set(words("swap_set"), [c.Swap(4, 0.1, 1)] * 4, MONEY), "too_few"),
        (lambda: c.swap_set(words("swap_set"), [], MONEY), "empty"),
        (lambda: c.bin_bars(words("bin_bars"), [c.Bin("a", 19, 3)]), "too_few"),
        (lambda: c.bin_bars(words("bin_bars"), []), "empty"),
        (lambda: c.calibration(words("calibration"), [CalibrationBin(9, 1, 0.1, 0.1)]), "too_few"),
        (lambda: c.calibration(words("calibration"), []), "empty"),
        (lambda: c.stability_months(words("stability_months"), [c.Month("m", 9, 0.1)]), "too_few"),
        (lambda: c.stability_months(words("stability_months"), []), "empty"),
        (lambda: c.cutoff_curve(words("cutoff_curve"), [c.Cutoff(1, 1, 1)], 19, MONEY), "too_few"),
        (lambda: c.cutoff_curve(words("cutoff_curve"), [], 0, MONEY), "empty"),
        (lambda: c.score_distribution(words("score_distribution"), NOBODY), "empty"),
        (lambda: c.stacked(words("stacked"), [], MONEY), "empty"),
        (lambda: c.waterfall(words("waterfall"), [], MONEY), "empty"),
        (lambda: c.bars(words("bars"), [], MONEY), "empty"),
        (lambda: c.holders(words("holders"), [], c.Bar("a", 0.7)), "empty"),
        (lambda: c.worth(words("worth"), []), "empty"),
        (lambda: c.lines(words("lines"), [], c.Unit(), c.Unit()), "empty"),
        (lambda: c.burn_down(words("burn_down"), [c.Series("a", ())], c.Unit(), c.Unit()), "empty"),
        (lambda: c.heat_strip(words("heat_strip"), [], [], []), "empty"),
        (lambda: c.timeline(words("timeline"), None), "empty"),
        (lambda: c.lanes(words("lanes"), [c.Lane("a", ())], c.Unit("s")), "empty"),
    ],
)  # fmt: skip
def test_nothing_and_few_people_have_pictures_of_their_own(make, expected):
    chart = make()
    assert chart.state == expected
    assert chart.table.rows == ()
    fits(chart.svg)


def test_a_stage_that_differs_by_few_people_is_withheld():
    chart = c.funnel(words("funnel"), [("a", 100), ("b", 93), ("c", 60), ("d", 7), ("e", 0)])
    assert [row[1] for row in chart.table.rows] == [100, None, 60, None, 0]


def test_a_month_of_few_people_breaks_the_line():
    months = [c.Month("1", 50, 0.05), c.Month("2", 19, 0.9), c.Month("3", 50, 0.3)]
    rows = c.stability_months(words("stability_months"), months).table.rows
    assert rows[1] == ("2", None, None, "")
    assert [row[3] for row in rows] == ["stable, under 0.10", "", "act, over 0.25"]


# --- curves


def test_roc_tells_the_auc_and_interval_of_the_metrics():
    label, score, _ = scored()
    auc = auc_interval(label, -score)
    drawn = shown(c.roc(words("roc"), score_bins()))
    assert f"AUC {auc.value:.3f}" in drawn
    assert f"{auc.low:.3f}{DASH}{auc.high:.3f} (95%)" in drawn


def test_ks_tells_the_ks_of_the_metrics_and_the_cutoff():
    label, score, _ = scored()
    drawn = shown(c.ks_curve(words("ks_curve"), score_bins(), 640))
    assert f"KS {ks(label, -score):.3f}" in drawn
    assert "Cutoff 640" in drawn
    assert "Cutoff 99" not in shown(c.ks_curve(words("ks_curve"), score_bins(), 99))


def test_a_constant_score_ranks_nobody():
    label = np.repeat([0, 1], [300, 100])
    bins = c.ScoreBins.of_rows(label, np.full(400, 600.0), range(350, 951, 50))
    assert "AUC 0.500" in shown(c.roc(words("roc"), bins))
    assert "KS 0.000" in shown(c.ks_curve(words("ks_curve"), bins))
    assert c.lift(words("lift"), bins).table.rows == ((1, 1.0, 25.0),)
    for function in (*RANKED, c.score_distribution):
        fits(function(by_name(function), bins).svg)


def test_one_class_only_still_has_a_distribution_and_a_calibration():
    label = np.zeros(400, dtype=int)
    score = np.linspace(400, 900, 400)
    chart = c.score_distribution(
        words("score_distribution"), c.ScoreBins.of_rows(label, score, range(350, 951, 100))
    )
    assert chart.state == "ready"
    table = calibration_table(label, np.linspace(0.01, 0.2, 400))
    assert c.calibration(words("calibration"), table).state == "ready"


def test_the_lift_of_perfect_order_is_that_of_the_bad_rate():
    bins = c.ScoreBins((0, 1, 2), (0, 300), (100, 0))
    assert c.lift(words("lift"), bins, groups=4).table.rows == ((1, 4.0, 100.0), (2, 0.0, 0.0))
    assert c.gains(words("gains"), bins).table.rows == ((0, 0), (25.0, 100.0), (100.0, 100.0))


def test_the_roc_curve_is_a_golden_string():
    bins = c.ScoreBins((0, 1, 2), (20, 60), (60, 20))
    chart = c.roc(words("roc"), bins)
    assert curve_of(chart.svg, "ch-s1") == [(32.1, 244), (111.1, 79), (348, 24)]
    assert chart.table.rows == ((0, 0.0, 0.0), (1, 25.0, 75.0), (2, 100.0, 100.0))
    assert c.csv_of(chart.table) == (
        "Score,Goods declined (%),Bads declined (%)\r\n0,0.0,0.0\r\n1,25.0,75.0\r\n2,100.0,100.0\r\n"
    )


# --- bars, grids, times


def test_a_waterfall_ends_at_the_sum_and_says_what_binds():
    steps = [c.Step("Score", 6_000_000), c.Step("Income", -1_000_000, binds=True)]
    chart = c.waterfall(words("waterfall"), steps, MONEY)
    assert chart.table.rows[-1] == ("Your limit", 50_000, 50_000, "")
    assert chart.table.rows[1] == ("Income", -10_000, 50_000, "binds")
    assert {"binds", f"{MINUS}10,000 CNY", "50,000 CNY"} <= set(shown(chart))


def test_a_limit_of_nothing_is_still_drawn():
    chart = c.stacked(words("stacked"), [("Used", 0), ("Available", 0)], MONEY)
    assert shown(chart)[0] == "Limit: 0 CNY"
    fits(chart.svg)


def test_parts_add_up_to_the_whole_bar():
    chart = c.stacked(words("stacked"), [("Used", 100), ("Available", 300)], MONEY)
    bars = [one for one in root_of(chart.svg).iter(f"{SVG}rect") if one.get("height") == "30"]
    assert [float(one.get("width")) for one in bars] == [336, 83, 251]


def test_holders_without_an_oracle_do_not_name_one():
    told_words = words("holders")
    alone = [c.Bar("Bank", 0.7, 0.68, 0.72)]
    with_one = c.holders(told_words, alone, c.Bar("All", 0.75), c.Bar("Oracle", 0.76))
    without = c.holders(told_words, alone, c.Bar("All", 0.75))
    assert "pooled oracle" in shown(with_one)
    assert "pooled oracle" not in shown(without)
    assert without.table.rows == (("Bank", 0.7, 0.68, 0.72), ("All", 0.75, None, None))


def test_worth_is_ordered():
    chart = c.worth(words("worth"), [c.Bar("b", 0.1), c.Bar("a", 0.1), c.Bar("z", 0.5)])
    assert [row[0] for row in chart.table.rows] == ["z", "a", "b"]


def test_bins_of_others_have_counts_and_points_only():
    own = shown(c.bin_bars(words("bin_bars"), [c.Bin("[0, 1)", 100, 5, 0.1)]))
    others = shown(c.bin_bars(words("bin_bars"), [c.Bin("1", 100, 5)]))
    assert "Bad rate (%)" in own
    assert "Bad rate (%)" not in others


def test_swap_cells_stand_where_both_policies_say():
    cells = [c.Swap(100 + at, 0.1, 1e6) for at in range(4)]
    chart = c.swap_set(words("swap_set"), cells, MONEY)
    corner = {one.words: (one.left, one.top) for one in texts_of(chart.svg)}
    both, new = corner["Approved by both"], corner["+ Swapped in"]
    old, none = corner[f"{MINUS} Swapped out"], corner["Declined by both"]
    assert both[1] == old[1] < new[1] == none[1]
    assert both[0] == new[0] < old[0] == none[0]


def test_swap_cells_tell_what_people_bring_where_it_is_known():
    cells = [c.Swap(100 + at, 0.1, 1e6, -50_000.0 * at) for at in range(4)]
    told = replace(words("swap_set"), names={**words("swap_set").names, "profit": "Profit"})
    chart = c.swap_set(told, cells, MONEY)
    assert f"Profit: {MONEY.told(-50_000.0)}" in shown(chart)
    assert [row[4] for row in chart.table.rows] == [MONEY.scaled(one.profit) for one in cells]
    fits(chart.svg)
    hidden = c.swap_set(told, [*cells[:3], c.Swap(5, 0.1, 1e6, 7e9)], MONEY)
    assert hidden.table.rows[3][1:] == (None,) * 4
    assert MONEY.shown(7e9) not in hidden.svg
    plain = c.swap_set(words("swap_set"), [replace(one, profit=None) for one in cells], MONEY)
    assert len(plain.table.head) == 4


def test_a_way_back_shows_progress_rule_and_days():
    way = c.WayBack(
        date(2026, 3, 2), date(2026, 7, 9), None, date(2026, 7, 9), "Six in a row", 2, 6
    )
    chart = c.timeline(words("timeline"), way, lambda day: day.strftime("%d/%m/%Y"))
    assert {"2/6", "02/03/2026", "not known yet", "Rule: Six in a row"} <= set(shown(chart))
    fits(chart.svg)


def test_many_steps_are_one_bar_and_days_at_once_do_not_hide_each_other():
    day = date(2026, 3, 2)
    chart = c.timeline(words("timeline"), c.WayBack(day, day, day, day, "r", 30, 60))
    fits(chart.svg)
    circles = [one.get("cx") for one in root_of(chart.svg).iter(f"{SVG}circle")]
    assert len(circles) == 2


def test_a_lane_tells_its_states_by_pattern():
    lane = c.Lane("Bank", (c.Span("bins", 0, 2), c.Span("bins", 2, 3, "lost")))
    chart = c.lanes(words("lanes"), [lane], c.Unit("s", 1))
    assert chart.table.rows == (("Bank", "bins", 0, 2, "at work"), ("Bank", "bins", 2, 3, "lost"))
    assert "url(#lanes-p2)" in chart.svg
    assert "waiting" not in shown(chart)


def test_lines_of_different_rounds_share_a_table():
    chart = c.lines(words("lines"), [c.Series("a", ((1, 2.0), (2, 3.0))), c.Series("b", ((2, 5.0),))],
                    c.Unit(), c.Unit("", 1))  # fmt: skip
    assert chart.table.rows == ((1, 2.0, None), (2, 3.0, 5.0))


# --- what is refused

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: c.ScoreBins((0, NAN), (1,), (1,)), "edges: must hold finite"),
        (lambda: c.ScoreBins((1, 0), (1,), (-1,)), "edges: must rise; bads: must hold whole"),
        (lambda: c.ScoreBins((0, 1), (1, 2), (1,)), "goods: must be one fewer than edges"),
        (lambda: c.ScoreBins.of_rows(np.array([0]), np.array([NAN]), [0, 1]), "not finite"),
        (lambda: c.ScoreBins.of_rows(np.array([0]), np.array([1.0]), [0]), "two or more"),
        (lambda: c.Bar("a", NAN), "value: must hold finite numbers"),
        (lambda: c.Bar("a", 1.0, 2.0, 3.0), "its interval must hold its value"),
        (lambda: c.Bar("a", 1.0, 0.5), "its interval must hold its value"),
        (lambda: c.Series("a", ((0, INF),)), "y: must hold finite"),
        (lambda: c.Series("a", ((1, 0), (0, 0))), "x: must not fall"),
        (lambda: c.Span("a", 2, 1), "must end after it starts"),
        (lambda: c.Span("a", 0, INF), "end: must hold finite"),
        (lambda: c.WayBack(date.min, date.min, None, None, "", 3, 2), "done: must be from 0"),
        (lambda: c.ks_curve(words("ks_curve"), NOBODY, NAN), "cutoff: must hold finite"),
        (lambda: c.stacked(words("stacked"), [("a", -1)], MONEY), "amounts: must not be below 0"),
        (lambda: c.stacked(words("stacked"), [("a", 1)] * 7, MONEY), "six or fewer"),
        (lambda: c.waterfall(words("waterfall"), [c.Step("a", NAN)], MONEY), "changes: must hold"),
        (lambda: c.bars(words("bars"), [c.Bar("a", 1)], MONEY, reference=INF), "reference: must"),
        (lambda: c.funnel(words("funnel"), [("a", -3)]), "people: must not be below 0"),
        (lambda: c.calibration(words("calibration"), [CalibrationBin(30, 1, NAN, 0.1)]), "rates"),
        (lambda: c.calibration(words("calibration"), [], [(0, 1)]), "one a bin"),
        (lambda: c.limit_changes(words("limit_changes"), [1, 0], [30], MONEY), "edges: must rise"),
        (lambda: c.limit_changes(words("limit_changes"), [0, INF], [30], MONEY), "edges: must hold"),
        (lambda: c.stability_months(words("stability_months"), [c.Month("a", 30, NAN)]), "index"),
        (lambda: c.heat_strip(words("heat_strip"), ["a"], ["b"], [[NAN]]), "values: must hold"),
        (lambda: c.heat_strip(words("heat_strip"), ["a"], ["b"], [[]]), "a cell a column"),
        (lambda: c.migration(words("migration"), ["A"], [[1, 2]]), "a cell a column"),
        (lambda: c.swap_set(words("swap_set"), [c.Swap(30, 0.1, 0)], MONEY), "must be four"),
        (lambda: c.swap_set(words("swap_set"), [c.Swap(30, NAN, 0)] * 4, MONEY), "bad rate"),
        (lambda: c.bin_bars(words("bin_bars"), [c.Bin("a", 30, 1, INF)]), "bad rate"),
        (lambda: c.cutoff_curve(words("cutoff_curve"), [c.Cutoff(1, NAN, 1)], 30, MONEY), "approval"),
        (lambda: c.cutoff_curve(words("cutoff_curve"), [c.Cutoff(1, 2, 1)], 30, MONEY), "at most 1"),
        (lambda: c.burn_down(words("burn_down"), [c.Series("a", ((0, 1), (1, 2)))], c.Unit(), c.Unit()), "must not rise"),
        (lambda: c.lines(words("lines"), [c.Series("a", ((0, 1),))] * 7, c.Unit(), c.Unit()), "6 or fewer"),
    ],
)  # fmt: skip
def test_figures_that_no_picture_can_show_are_refused(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_a_long_name_is_whole_in_the_table():
    long = "A holder whose registered name does not fit any telephone in the world " * 2
    chart = c.worth(words("worth"), [c.Bar(long, 0.2)])
    assert chart.table.rows[0][0] == long
    fits(chart.svg)
    fits(c.worth(replace(words("worth"), x=long), [c.Bar(long, 0.2)]).svg)


def test_a_unit_that_is_the_label_is_said_once():
    assert c.Unit("points").label("Points") == "Points"
    assert c.Unit("CNY").label("Amount") == "Amount (CNY)"
