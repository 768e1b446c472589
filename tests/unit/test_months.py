"""Figures of watching that come from kept decisions: months, cuts and their way back, shocks."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.monitor.funnel import Seen, funnel, funnels, spells_of
from server.monitor.months import Scored, months, told_cells
from server.monitor.shock import Cut, shock

DAY = date(2026, 1, 1)


def seen(day, limit, state="active", *reasons, approved=100):
    return Seen(DAY + timedelta(days=day), state, limit, approved, reasons)


FREQUENT = [
    seen(0, 100),
    seen(30, 100, "observation", "B01"),
    seen(60, 90, "observation", "B02"),
    seen(90, 70, "observation", "M-MACRO"),
    seen(300, 70, "reduced", "R01"),
    seen(330, 95, "restoring", "R02"),
    seen(360, 100, "active", "R03"),
]


def test_a_spell_runs_from_the_first_cut_to_the_whole_limit():
    (one,) = spells_of(FREQUENT)
    assert (one.reason, one.observed, one.lost_minor) == ("B02", True, 30)
    assert (one.began, one.first_rise, one.restored) == tuple(
        DAY + timedelta(days=day) for day in (60, 330, 360)
    )


def test_an_open_spell_waits_and_has_no_days():
    (one,) = spells_of(FREQUENT[:5])
    assert (one.first_rise, one.restored) == (None, None)
    found = funnel([one])
    assert (found.cut, found.waiting, found.restored) == (1, 1, 0)
    assert found.median_days_to_restored is None


def test_a_second_cut_after_restoration_is_another_spell():
    again = [*FREQUENT, seen(400, 60, "reduced", "P-GRADE"), seen(460, 100, "active", "R03")]
    first, second = spells_of(again)
    assert (first.reason, second.reason) == ("B02", "P-GRADE")
    assert not second.observed
    by_reason = funnels([first, second, second])
    assert list(by_reason) == ["P-GRADE", "B02"]
    assert by_reason["B02"].median_days_to_restored == 300
    assert by_reason["P-GRADE"].median_days_to_rise == 60


def test_a_median_of_few_is_withheld():
    (one,) = spells_of(FREQUENT)
    assert funnel([one], floor=2).median_days_to_restored is None
    assert funnel([one, one], floor=2).median_days_to_restored == 300


def test_a_cut_raises_the_share_in_use_though_nobody_drew():
    cut = Cut(owed_minor=700, before_minor=1000, after_minor=750, score_before=640, score_after=630)
    calm = Cut(owed_minor=0, before_minor=1000, after_minor=500)
    found = shock([cut, calm])
    assert (found.cuts, found.with_debt, found.pushed_high, found.scored) == (2, 1, 1, 1)
    assert found.median_use_before == 0.7
    assert found.median_use_after == pytest.approx(0.9333, abs=1e-4)
    assert found.mean_score_change == -10
    few = shock([cut], floor=2)
    assert (few.median_use_after, few.pushed_high, few.mean_score_change) == (None, None, None)
    assert Cut(5, 10, 0).use_after == 5.0


def people(month, count, shift=0):
    return [
        Scored(month, 500 + 3 * at + shift, "C", {"bank": at + shift, "bureau": at})
        for at in range(count)
    ]


def test_a_month_is_held_against_the_first_that_has_enough_people():
    rows = people("2026-01", 3) + people("2026-02", 100) + people("2026-03", 100, 60)
    january, february, march = months(rows, floor=10)
    assert (january.people, january.score, february.score) == (None, None, None)
    assert march.score.band == "act"
    assert [one.name for one in march.holders] == ["bank", "bureau"]
    assert march.holders[1].index == 0
    assert march.grades == {"C": 100}


def test_the_same_people_again_have_not_moved():
    rows = people("2026-02", 100) + people("2026-03", 100)
    assert months(rows, floor=10)[1].score.index == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(2, 10))
def test_no_cell_of_few_people_is_told_nor_found_by_taking_it_from_the_total(counts, floor):
    told = told_cells(counts, floor)
    shown = [count for count in told if count is not None]
    assert all(count == 0 or count >= floor for count in shown)
    hidden = [count for count, one in zip(counts, told, strict=True) if one is None]
    assert len(hidden) != 1 or len([count for count in counts if count]) == 1
    assert all(one in (None, count) for one, count in zip(told, counts, strict=True))
