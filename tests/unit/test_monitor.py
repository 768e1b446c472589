"""Monitoring from counts: the study's figures, floors, and no attribute in any decision."""

from __future__ import annotations

from dataclasses import dataclass, make_dataclass, replace
from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from server.accounts.recording import LineDecision
from server.limits.answers.whatif import Change, PolicyReviews
from server.limits.basis.reasons import Reason
from server.limits.caps.caps import Inputs
from server.limits.caps.snapshot import Snapshot
from server.limits.rules.policy import Policy
from server.monitor.beta import beta_mass, jeffreys_interval
from server.monitor.bounds import parse_bounds
from server.monitor.champion import (
    Experiment,
    difference,
    migration,
    reason_churn,
    shadow,
    slot,
)
from server.monitor.complaints import Complaint, complaint_summary
from server.monitor.drift import backtest, characteristics, fit, ranking, ranking_alerts, stability
from server.monitor.fairness import (
    PROTECTED,
    Outcome,
    Sums,
    fairness_report,
    protected_fields,
    tally,
)
from server.monitor.overrides import Override, override_summary
from server.monitor.swap import Case, Cell, SwapTable, swap_table
from server.policies import embedded
from shared import trueness
from shared.errors import ConfigError, DataError, UsageError

BOUNDS = parse_bounds(*embedded("monitoring"))

# --- ranking, calibration, stability -------------------------------------------------------------


def test_t19_ranking_of_ten_customers_from_counts():
    # Domain T19, safest first: each score is a bin of its own.
    label = [1, 0, 1, 0, 0, 1, 0, 0, 1, 0][::-1]
    found = ranking([1 - y for y in label], label)
    assert found.ks == pytest.approx(1 / 3, abs=1e-15)
    assert (found.auc, found.gini) == (0.625, 0.25)
    assert (found.people, found.bads, found.bins) == (10, 4, 10)
    assert found.auc_low < 0.625 < found.auc_high


def test_a_drop_of_the_ranking_is_relative_to_development():
    before = ranking([40, 30, 20, 10], [10, 20, 30, 40])
    assert ranking_alerts(before, before, BOUNDS) == ()
    worse = replace(before, ks=0.89 * before.ks, auc=0.91 * before.auc)
    assert ranking_alerts(before, worse, BOUNDS) == ("ks",)


PROBS = [0.01, 0.02, 0.05, 0.1, 0.2]
PEOPLE = [4000, 3000, 2000, 800, 200]


def outcomes(slope=1.0):
    """Return goods and bads that fit a calibration slope as nearly as whole people can."""
    log_odds = slope * np.log(np.array(PROBS) / (1 - np.array(PROBS)))
    bads = np.round(np.array(PEOPLE) / (1 + np.exp(-log_odds))).astype(int)
    return (np.array(PEOPLE) - bads).tolist(), bads.tolist()


def test_calibration_from_counts_is_that_from_rows():
    goods, bads = outcomes()
    found = fit(PROBS, goods, bads, BOUNDS)
    label = np.concatenate([[0] * g + [1] * b for g, b in zip(goods, bads, strict=True)])
    prob = np.repeat(PROBS, PEOPLE)
    assert found.brier == pytest.approx(trueness.brier(label, prob), rel=1e-12)
    assert found.slope == pytest.approx(trueness.calibration_slope(label, prob), rel=1e-9)
    assert found.slope == pytest.approx(1.0, abs=0.02)
    assert not found.alert
    assert [row.people for row in found.bins] == PEOPLE
    assert all(row.low < row.bad_rate < row.high for row in found.bins)


@pytest.mark.parametrize(("slope", "alert"), [(0.7, True), (0.9, False), (1.1, False), (1.3, True)])
def test_a_calibration_slope_out_of_the_band_is_an_alert(slope, alert):
    assert fit(PROBS, *outcomes(slope), BOUNDS).alert is alert


def test_calibration_counts_are_checked_at_once():
    with pytest.raises(DataError) as caught:
        fit([0.2, 0.1], [1, 2, 3], [1, 1, 1], BOUNDS)
    assert len(caught.value.findings) == 2


T20_NOW = [7, 8, 7, 9, 11, 11, 10, 12, 11, 14]
T20_BEFORE = [8, 10, 9, 13, 11, 10, 9, 10, 11, 9]


def test_t20_stability_of_the_published_table_with_people_and_bins():
    found = stability("score", T20_BEFORE, T20_NOW)
    assert found.index == pytest.approx(0.0532782, abs=5e-8)
    assert [round(term, 4) for term in found.terms] == [
        0.0013,
        0.0045,
        0.0050,
        0.0147,
        0.0,
        0.0010,
        0.0011,
        0.0036,
        0.0,
        0.0221,
    ]
    assert (found.band, found.before, found.now, found.bins) == ("stable", 100, 100, 10)
    # Two samples of 100 people differ by more than that by chance alone.
    assert found.noise == pytest.approx(0.18)


@pytest.mark.parametrize(
    ("now", "band"),
    [([50, 50], "stable"), ([36, 64], "stable"), ([33, 67], "watch"), ([20, 80], "act")],
)
def test_t21_bands_of_the_stability_of_a_score(now, band):
    assert stability("score", [50, 50], now).band == band


def test_characteristics_stand_worst_first():
    found = characteristics(
        {"income": ([50, 50], [50, 50]), "usage": ([50, 50], [20, 80]), "age_of_line": ([1], [1])}
    )
    assert [one.name for one in found] == ["usage", "age_of_line", "income"]


@pytest.mark.parametrize("bad", [[-1, 2], [0.5, 1.5], [[1, 2]]])
def test_counts_are_whole_and_none_is_negative(bad):
    with pytest.raises(DataError):
        stability("score", [1, 2], bad)


def test_stability_noise_is_the_mean_index_of_samples_that_did_not_move():
    rng = np.random.default_rng(7)
    drawn = [
        stability("score", *rng.multinomial(2000, [0.1] * 10, size=2).tolist()) for _ in range(400)
    ]
    assert np.mean([one.index for one in drawn]) == pytest.approx(drawn[0].noise, rel=0.1)


# --- back-test -----------------------------------------------------------------------------------


@given(st.floats(1e-6, 1 - 1e-6), st.integers(0, 3000), st.integers(0, 30_000))
@settings(max_examples=100)
def test_beta_mass_is_scipys(x, bads, goods):
    found = beta_mass(x, bads + 0.5, goods + 0.5)
    assert found == pytest.approx(stats.beta.cdf(x, bads + 0.5, goods + 0.5), abs=1e-9)


def test_beta_mass_ends_at_nothing_and_all():
    assert (beta_mass(0.0, 1.5, 2.5), beta_mass(1.0, 1.5, 2.5)) == (0.0, 1.0)


@pytest.mark.parametrize(("bads", "people"), [(0, 10), (10, 10), (3, 100), (200, 10_000)])
def test_jeffreys_interval_is_that_of_the_beta_distribution(bads, people):
    low, high = jeffreys_interval(bads, people)
    wanted = stats.beta.ppf([0.025, 0.975], bads + 0.5, people - bads + 0.5)
    assert low == pytest.approx(0.0 if bads == 0 else wanted[0], abs=1e-9)
    assert high == pytest.approx(1.0 if bads == people else wanted[1], abs=1e-9)


def test_backtest_flags_a_grade_whose_default_prob_is_too_low():
    tests = backtest({"A": (0.01, 1000, 10), "B": (0.02, 1000, 35), "C": (0.05, 1000, 20)}, BOUNDS)
    assert [one.alert for one in tests] == [False, True, False]
    assert tests[1].p_value == pytest.approx(stats.beta.cdf(0.02, 35.5, 965.5), abs=1e-12)
    assert tests[1].people == 1000
    with pytest.raises(DataError, match="grade A"):
        backtest({"A": (0.01, 5, 6)}, BOUNDS)


# --- swap sets -----------------------------------------------------------------------------------


def test_t22_an_even_swap_leaves_the_approval_rate_and_shows_who_changes():
    table = SwapTable(
        both=Cell(60_000, 60_000, 1_200, 600_000_000, 620_000_000),
        swapped_in=Cell(5_000, 0, 0, 0, 40_000_000),
        swapped_out=Cell(5_000, 5_000, 400, 50_000_000, 0),
        neither=Cell(30_000),
    )
    assert table.old_approval_rate == table.new_approval_rate == 0.65
    assert table.swapped_out.bad_rate == 0.08
    assert table.both.bad_rate == 0.02
    assert table.swapped_in.bad_rate is None  # nobody knows: the old policy declined them
    assert table.volume_change_minor == 10_000_000
    assert table.people == 100_000


CASES = [
    Case(100, 200, bad=False),
    Case(100, 50, bad=True),
    Case(0, 70),
    Case(80, 0, bad=True),
    Case(0, 0),
]


def test_swap_table_counts_people_outcomes_and_limits():
    table = swap_table(CASES)
    assert table.both == Cell(2, 2, 1, 200, 250)
    assert table.swapped_in == Cell(1, 0, 0, 0, 70)
    assert table.swapped_out == Cell(1, 1, 1, 80, 0)
    assert table.neither == Cell(1)


def test_tables_of_two_holders_add_up():
    assert swap_table(CASES[:2]) + swap_table(CASES[2:]) == swap_table(CASES)


def test_a_table_that_contradicts_itself_is_refused():
    with pytest.raises(DataError) as caught:
        SwapTable(Cell(1, 2, 0, 5, 5), Cell(1, 0, 0, 5, 5), Cell(), Cell())
    assert len(caught.value.findings) == 2


# --- champion and challenger ---------------------------------------------------------------------

VECTORS = {
    ("customer-1", "2026-spring"): 6739,
    ("customer-2", "2026-spring"): 7568,
    ("customer-1", "2026-autumn"): 57,
    ("客户", "2026-spring"): 1921,
    ("", "s"): 643,
}


def test_slots_are_fixed_for_ever():
    assert {key: slot(*key) for key in VECTORS} == VECTORS


def test_salt_and_customer_cannot_run_into_each_other():
    assert slot("bc", "a") != slot("c", "ab")


def test_a_split_is_even_and_another_salt_is_another_split():
    share = Experiment("tighter", "salt-1", 1000, "live")
    again = Experiment("tighter", "salt-2", 1000, "live")
    arms = [(share.arm(str(n)), again.arm(str(n))) for n in range(20_000)]
    first = sum(one == "challenger" for one, _ in arms)
    both = sum(pair == ("challenger", "challenger") for pair in arms)
    # 5 standard deviations: 10 % and 1 % of 20,000.
    assert abs(first - 2000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5
    assert abs(both - 200) < 5 * (20_000 * 0.01 * 0.99) ** 0.5


def test_a_shadow_never_serves():
    live = Experiment("tighter", "salt", 10_000, "live")
    assert live.answer("anybody", "old", "new") == ("new", "old")
    hidden = replace(live, mode="shadow")
    assert hidden.arm("anybody") == "challenger"
    assert hidden.answer("anybody", "old", "new") == ("old", "new")
    nobody = replace(live, share=0)
    assert nobody.answer("anybody", "old", "new") == ("old", "new")


def test_an_experiment_is_checked_at_once():
    with pytest.raises(UsageError) as caught:
        Experiment("x", "", 10_001, "maybe")  # type: ignore[arg-type]
    assert all(word in caught.value.message for word in ("salt", "share", "mode"))


def test_shadow_values_are_summed_up_beside_the_champions():
    found = shadow(
        [
            ((100, "grade"), (100, "grade")),
            ((100, "grade"), (80, "expected_loss")),
            ((50, "income"), (70, "grade")),
            ((50, "grade"), (40, "expected_loss")),
        ]
    )
    assert (found.people, found.same, found.higher, found.lower) == (4, 1, 1, 2)
    assert (found.champion_minor, found.challenger_minor) == (300, 290)
    assert list(found.binding.items()) == [
        (("grade", "expected_loss"), 2),
        (("income", "grade"), 1),
    ]


def test_difference_of_rates_is_newcombes_example():
    # Newcombe (1998), table II, example (a): 56/70 and 48/80, method 10: .0524 to .3339.
    found = difference((48, 80), (56, 70))
    assert found.value == pytest.approx(0.2, abs=1e-12)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)
    assert found.people == (80, 70)
    with pytest.raises(DataError):
        difference((1, 0), (1, 2))


def test_reason_churn_between_two_releases():
    found = reason_churn(
        [(["A", "B"], ["A", "B"]), (["A", "B"], ["B", "A"]), (["A"], ["C"]), ([], [])]
    )
    assert (found.people, found.same, found.same_first, found.same_set) == (4, 2, 2, 3)
    assert found.overlap == 0.75
    assert (found.gained, found.lost) == ({"C": 1}, {"A": 1})
    assert reason_churn([]).overlap == 1.0


def test_migration_counts_moves_between_grades():
    assert migration([("A", "A"), ("A", "B"), ("B", "B")], "AB") == {
        "A": {"A": 1, "B": 1},
        "B": {"A": 0, "B": 1},
    }
    with pytest.raises(DataError):
        migration([("A", "Z")], "AB")


# --- fairness and inclusion ----------------------------------------------------------------------


class Store:
    """An audit store for tests: the first letter of a name is the group."""

    def group_of(self, pseudonym):
        return {"r": "reference", "g": "group"}.get(pseudonym[:1])


def people(letter, count, approved, *, score=600, limit=1000, days=None, spread=10):
    return [
        Outcome(
            f"{letter}{n}",
            n < approved,
            score + spread * (-1) ** n,
            "B",
            limit if n < approved else 0,
            overridden=n % 10 == 0,
            advised=n % 2 == 0,
            restored_days=days,
        )
        for n in range(count)
    ]


def compare(*outcomes):
    (only,) = fairness_report(tally(outcomes, Store()), "reference", BOUNDS)
    return only


def test_four_fifths_is_flagged_below_and_not_at_it():
    at = compare(*people("r", 100, 100), *people("g", 100, 80)).impact_ratio
    below = compare(*people("r", 100, 100), *people("g", 100, 79)).impact_ratio
    assert (at.value, at.flagged) == (0.8, False)
    assert (below.value, below.flagged) == (0.79, True)


def test_a_figure_about_fewer_than_fifty_people_is_withheld():
    small = compare(*people("r", 100, 100, days=60), *people("g", 49, 20, days=60))
    for name in ("impact_ratio", "mean_difference", "limit_ratio", "restoration_ratio"):
        figure = getattr(small, name)
        assert (figure.value, figure.people, figure.flagged) == (None, None, False)
    # Control: with one more it is there. Only 20 are approved, so their limits stay withheld.
    enough = compare(*people("r", 100, 100, days=60), *people("g", 50, 20, days=60))
    assert enough.impact_ratio.value == 0.4
    assert enough.limit_ratio.value is None


def test_a_small_reference_group_withholds_as_well():
    found = compare(*people("r", 49, 49), *people("g", 500, 500))
    assert found.impact_ratio.value is None


@pytest.mark.parametrize(("gap", "flagged"), [(-4, True), (-3, True), (-2, False), (4, True)])
def test_mean_difference_is_in_standard_deviations(gap, flagged):
    found = compare(*people("r", 200, 200), *people("g", 200, 200, score=600 + gap))
    deviation = 10 * (400 / 398) ** 0.5
    assert found.mean_difference.value == pytest.approx(gap / deviation)
    # .3 is met by 3.008: 3 / 10.025 lies just under it.
    assert found.mean_difference.flagged is (abs(gap) / deviation >= 0.3)
    assert flagged or not found.mean_difference.flagged


def test_limits_are_compared_among_people_of_the_same_default_prob():
    reference = [replace(one, band="A") for one in people("r", 100, 100, limit=2000)]
    reference += [replace(one, pseudonym="x" + one.pseudonym) for one in people("r", 9, 9)]
    reference += people("r", 100, 100, limit=500)
    # The group has more of the riskier band, and the same limits within each.
    group = [replace(one, band="A") for one in people("g", 50, 50, limit=2000)]
    group += people("g", 300, 300, limit=500)
    found = compare(*reference, *group).limit_ratio
    assert (found.value, found.people, found.flagged) == (1.0, 350, False)
    lower = [replace(one, limit_minor=one.limit_minor * 3 // 4) for one in group]
    assert compare(*reference, *lower).limit_ratio.flagged


def test_slower_restoration_is_flagged():
    found = compare(*people("r", 60, 60, days=180), *people("g", 60, 60, days=360))
    assert (found.restoration_ratio.value, found.restoration_ratio.flagged) == (2.0, True)
    same = compare(*people("r", 60, 60, days=180), *people("g", 60, 60, days=180))
    assert (same.restoration_ratio.value, same.restoration_ratio.flagged) == (1.0, False)


def test_overrides_and_advice_are_compared_too():
    found = compare(*people("r", 100, 100), *people("g", 100, 100))
    assert (found.override_ratio.value, found.advice_ratio.value) == (1.0, 1.0)


def test_people_of_no_known_group_are_left_out():
    assert set(tally(people("z", 60, 60), Store())) == set()


def test_no_reference_group_compares_nothing():
    (only,) = fairness_report(tally(people("g", 60, 60), Store()), "reference", BOUNDS)
    assert only.impact_ratio.value is None


def test_the_report_holds_sums_and_no_person():
    assert "pseudonym" not in set(Sums.__dataclass_fields__)


def test_i19_no_input_of_a_decision_has_a_protected_attribute():
    for schema in (Inputs, Snapshot, Policy, Reason, PolicyReviews, Change, LineDecision):
        assert protected_fields(schema) == ()


@settings(max_examples=60, deadline=None)
@given(
    word=st.sampled_from(sorted(PROTECTED)),
    before=st.sampled_from(["", "customer", "is"]),
    after=st.sampled_from(["", "code", "of_birth"]),
    depth=st.integers(0, 4),
)
def test_i19_a_protected_attribute_is_found_under_any_name_and_at_any_depth(
    word, before, after, depth
):
    name = "_".join(part for part in (before, word, after) if part)
    schema = make_dataclass("Inner", [(name, str), ("amount_minor", int)])
    for _ in range(depth):
        schema = make_dataclass("Outer", [("inner", tuple[schema, ...]), ("percentage", int)])
    assert protected_fields(schema) == (".".join([*["inner"] * depth, name]),)


def test_i19_control_a_protected_attribute_is_found_however_deep():
    @dataclass(frozen=True)
    class Person:
        gender: str
        date_of_birth: str

    @dataclass(frozen=True)
    class Wrapped:
        people: tuple[Person, ...]
        average: int  # holds the letters of "age", not the word

    globals()["Person"] = Person
    assert protected_fields(Wrapped) == ("people.date_of_birth", "people.gender")


# --- complaints, overrides, bounds ---------------------------------------------------------------

TODAY = date(2026, 3, 31)


def test_complaints_are_counted_by_the_reasons_of_their_decisions():
    found = complaint_summary(
        [
            Complaint(("B01", "M-MACRO"), date(2026, 3, 1), date(2026, 3, 11), upheld=True),
            Complaint(("B01",), date(2026, 3, 1)),
            Complaint(("C-CAP",), date(2026, 3, 30)),
            Complaint(("X",), date(2026, 3, 2), date(2026, 3, 31)),
        ],
        {"B01": 1000, "M-MACRO": 4000, "C-CAP": 100, "P-LOSS": 50},
        TODAY,
        BOUNDS.complaint_days,
    )
    assert (found.total, found.open, found.late, found.upheld) == (4, 2, 2, 1)
    assert found.median_days == 19.5
    rows = {row.code: (row.complaints, row.per_thousand, row.upheld) for row in found.by_code}
    assert [row.code for row in found.by_code] == ["C-CAP", "B01", "M-MACRO", "X", "P-LOSS"]
    assert rows["B01"] == (2, 2.0, 1)
    assert rows["C-CAP"] == (1, 10.0, 0)
    assert rows["X"] == (1, None, 0)


def test_a_complaint_from_the_future_is_refused():
    with pytest.raises(DataError):
        complaint_summary([Complaint((), date(2026, 4, 1))], {}, TODAY, 15)


def test_overrides_are_summed_up_by_direction_reason_and_officer():
    found = override_summary(
        [
            Override("R-INCOME", "o-1", 100, 150, bad=False),
            Override("R-INCOME", "o-1", 100, 200, bad=True),
            Override("R-FRAUD", "o-2", 100, 0),
            Override("R-SEEN", "o-2", 100, 100),
        ],
        100,
    )
    assert found.rate == 0.03
    assert (found.raised.count, found.raised.moved_minor, found.raised.bad_rate) == (2, 150, 0.5)
    assert (found.lowered.count, found.lowered.bad_rate) == (1, None)
    assert found.unchanged == 1
    assert list(found.by_reason.items()) == [("R-INCOME", 2), ("R-FRAUD", 1)]
    assert override_summary([], 0).rate == 0.0


def test_bounds_are_linted_at_once_and_the_floor_cannot_be_lowered():
    text, source = embedded("monitoring")
    broken = text.replace("floor = 50", "floor = 10").replace(
        "slope_high = 1.2", "slope_high = 0.5"
    )
    with pytest.raises(ConfigError) as caught:
        parse_bounds(broken + "mood = 1\n", source)
    assert [finding.split(":")[0] for finding in caught.value.findings] == [
        "mood",
        "floor",
        "slope_high",
    ]
