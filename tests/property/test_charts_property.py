"""Whatever figures come in, marks stay in the picture, words apart, and few people unseen."""

# ruff: noqa: E501 - tables of texts and figures are read by the line
from __future__ import annotations

from datetime import date, timedelta
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from server.web import charts as c
from server.web.charts.axes import number_axis
from server.web.charts.people import FLOOR, runs, told
from server.web.charts.units import MINUS, number
from tests.charts.gallery import words
from tests.charts.reading import curve_of, fits, root_of

FEW = settings(max_examples=25, deadline=None)
AMOUNT = st.floats(-1e9, 1e9, allow_nan=False)
COUNT = st.one_of(st.integers(0, 40), st.integers(0, 100_000))
NAME = st.text(min_size=0, max_size=40)
UNIT = st.sampled_from([c.Unit(), c.PERCENT, c.FIGURE, c.Unit("CNY", 0, 100), c.Unit("百万元", 2)])


@st.composite
def bins(draw):
    sides = draw(st.lists(st.tuples(COUNT, COUNT), min_size=1, max_size=30))
    low = draw(st.integers(-500, 500))
    return c.ScoreBins(
        tuple(float(low + at) for at in range(len(sides) + 1)),
        tuple(good for good, _ in sides),
        tuple(bad for _, bad in sides),
    )


def rises(points):
    """Whether a drawn curve goes right and up; pixels count from the top."""
    return all(a[0] <= b[0] and a[1] >= b[1] for a, b in pairwise(points))


@FEW
@given(bins(), st.none() | st.floats(-600, 600))
def test_curves_of_ranking_rise_within_their_box(some, cutoff):
    for function in (c.roc, c.gains):
        chart = function(words(function.__name__), some)
        fits(chart.svg)
        if chart.state == "ready":
            assert rises(curve_of(chart.svg, "ch-s1"))
            assert chart.table.rows[-1][-2:] == (100.0, 100.0)
    chart = c.ks_curve(words("ks_curve"), some, cutoff)
    fits(chart.svg)
    if chart.state == "ready":
        assert rises(curve_of(chart.svg, "ch-s1"))
        assert rises(curve_of(chart.svg, "ch-s2"))
    fits(c.lift(words("lift"), some).svg)


@FEW
@given(bins())
def test_a_point_of_a_curve_adds_at_least_twenty_people(some):
    found = runs(some.people, 60)
    assert all(sum(some.people[a:b]) >= FLOOR for a, b in found)
    ends = [end for _, end in found]
    assert [first for first, _ in found] == [0, *ends[:-1]] if found else sum(some.people) < FLOOR
    assert not found or ends[-1] == len(some.people)


@FEW
@given(bins())
def test_a_distribution_tells_no_few(some):
    chart = c.score_distribution(words("score_distribution"), some)
    fits(chart.svg)
    for at, side in ((2, some.goods), (3, some.bads)):
        for row, count in zip(chart.table.rows, side, strict=False):
            assert row[at] is None or count == 0 or count >= FLOOR


@FEW
@given(st.lists(COUNT, max_size=30))
def test_told_counts_hide_the_few_and_never_one_alone(counts):
    shown = told(counts)
    assert all(kept is None or kept == count for kept, count in zip(shown, counts, strict=True))
    assert all(kept in {None, 0} or kept >= FLOOR for kept in shown)
    hidden = [count for kept, count in zip(shown, counts, strict=True) if kept is None]
    assert len(hidden) != 1 or not any(shown)


@FEW
@given(st.lists(AMOUNT, min_size=1, max_size=9), UNIT)
def test_ticks_hold_every_value(values, unit):
    axis = number_axis("x", unit, values)
    scale = 1e-6 * max(1.0, *(abs(value) for value in values))
    assert axis.low <= min(values) + scale
    assert axis.high >= max(values) - scale
    places = [place for place, _ in axis.marks]
    assert places == sorted(set(places))
    labels = [label for _, label in axis.marks]
    assert len(set(labels)) == len(labels)
    assert "-0" not in labels
    assert 2 <= len(labels) <= 8


@FEW
@given(st.floats(-1e12, 1e12), st.integers(0, 4))
def test_a_number_reads_back(value, digits):
    told_as = number(value, digits)
    back = float(told_as.replace(",", "").replace(MINUS, "-"))
    assert abs(back - value) <= 0.5000001 * 10**-digits + 1e-3 * (abs(value) > 1e9)
    assert not (told_as.startswith(MINUS) and back == 0)


@FEW
@given(st.lists(st.tuples(NAME, AMOUNT, st.booleans()), max_size=8), UNIT, st.none() | AMOUNT)
def test_bars_stay_in_their_box(rows, unit, reference):
    given_rows = [c.Bar(name, value, value - 1, value + 1, marked) for name, value, marked in rows]
    fits(c.bars(words("bars"), given_rows, unit, reference=reference).svg)
    fits(c.worth(words("worth"), given_rows, unit).svg)
    fits(c.holders(words("holders"), given_rows, c.Bar("all", 0.7), unit=unit).svg)
    steps = [c.Step(name, value, marked) for name, value, marked in rows]
    fits(c.waterfall(words("waterfall"), steps, unit).svg)
    parts = [(name, abs(value)) for name, value, _ in rows][:6]
    fits(c.stacked(words("stacked"), parts, unit).svg)


@FEW
@given(st.lists(st.tuples(NAME, COUNT), max_size=8))
def test_a_funnel_tells_no_few_and_no_few_between(stages):
    chart = c.funnel(words("funnel"), stages)
    fits(chart.svg)
    known = [row[1] for row in chart.table.rows if row[1] is not None]
    assert all(count == 0 or count >= FLOOR for count in known)
    assert all(a == b or abs(a - b) >= FLOOR for a, b in pairwise(known))


@FEW
@given(st.lists(st.lists(st.tuples(AMOUNT, AMOUNT), max_size=20), max_size=6), UNIT)
def test_lines_stay_in_their_box(some, unit):
    series = [c.Series(f"line {at}", tuple(sorted(points))) for at, points in enumerate(some)]
    fits(c.lines(words("lines"), series, unit, unit).svg)


@FEW
@given(st.lists(st.tuples(NAME, COUNT, st.none() | st.floats(0, 50)), max_size=40))
def test_months_and_heat_stay_in_their_box(some):
    months = [c.Month(name, people, index) for name, people, index in some]
    fits(c.stability_months(words("stability_months"), months).svg)
    names, values = [name for name, _, _ in some], [index for _, _, index in some]
    fits(c.heat_strip(words("heat_strip"), ["a", "b"], names, [values, values]).svg)


@FEW
@given(st.integers(1, 5).flatmap(lambda n: st.lists(st.lists(COUNT, min_size=n, max_size=n), min_size=n, max_size=n)))  # fmt: skip
def test_a_migration_tells_no_few(people):
    grades = [f"G{at}" for at in range(len(people))]
    chart = c.migration(words("migration"), grades, people)
    fits(chart.svg)
    for row in chart.table.rows:
        assert all(count in {None, 0} or count >= FLOOR for count in row[1:])


@FEW
@given(st.lists(st.tuples(NAME, COUNT, st.integers(-500, 500), st.none() | st.floats(0, 1)), max_size=9))  # fmt: skip
def test_bins_and_swaps_stay_in_their_box(some):
    fits(c.bin_bars(words("bin_bars"), [c.Bin(*one) for one in some]).svg)
    cells = [c.Swap(people, rate, 1e9) for _, people, _, rate in some][:4]
    if len(cells) == 4:
        chart = c.swap_set(words("swap_set"), cells, c.Unit("CNY", 0, 100))
        fits(chart.svg)
        assert all(row[1] in {None, 0} or row[1] >= FLOOR for row in chart.table.rows)


@FEW
@given(st.lists(st.integers(-2_000, 2_000), min_size=2, max_size=12, unique=True), st.data())
def test_limit_changes_stay_in_their_box(edges, data):
    people = data.draw(st.lists(COUNT, min_size=len(edges) - 1, max_size=len(edges) - 1))
    chart = c.limit_changes(words("limit_changes"), sorted(edges), people, c.Unit("CNY"))
    fits(chart.svg)
    assert all(row[2] in {None, 0} or row[2] >= FLOOR for row in chart.table.rows)


@FEW
@given(
    st.tuples(*[st.integers(0, 3_000)] * 4),
    st.booleans(),
    st.integers(1, 40),
    st.text(max_size=300),
)
def test_a_way_back_stays_in_its_box(days, known, needed, rule):
    cut, today, earliest, review = (date(2020, 1, 1) + timedelta(days=day) for day in days)
    way = c.WayBack(cut, today, earliest if known else None, review, rule, needed // 2, needed)
    fits(c.timeline(words("timeline"), way).svg)


@FEW
@given(st.lists(st.lists(st.tuples(NAME, st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from(["done", "waiting", "lost"])), max_size=6), max_size=6))  # fmt: skip
def test_lanes_stay_in_their_box(some):
    parties = [
        c.Lane(f"party {at}", tuple(c.Span(n, min(a, b), max(a, b), s) for n, a, b, s in spans))
        for at, spans in enumerate(some)
    ]
    fits(c.lanes(words("lanes"), parties, c.Unit("s", 1)).svg)


@FEW
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_words_make_a_well_formed_picture(name, unit):
    chart = c.bars(words("bars"), [c.Bar(name, 1.0)], c.Unit(unit[:8]))
    root_of(chart.svg)
    root_of(c.standalone(chart))
    assert c.csv_of(chart.table)
