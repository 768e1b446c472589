"""Reviews of many lines at once are those of each line, whatever the policy."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from server.limits.batch.batch import review_batch
from server.limits.batch.days import month_earlier
from server.limits.batch.exact import met, share_of, step_of, times
from server.limits.batch.inputs import input_columns, score_columns
from server.limits.batch.pack import columns_of, target_columns
from server.limits.batch.rows import line_of_row, target_of_row
from server.limits.batch.target import targets_of
from server.limits.caps.caps import Income, Inputs
from server.limits.caps.decide import decide
from server.limits.line.delinquency import add_months
from server.limits.line.review import review
from server.limits.line.target import target_of
from server.limits.rules.line_policy import Condition, Inactivity, Overlay
from tests.batch_kit import DAY, differences, random_page
from tests.depth import depth
from tests.line_kit import POLICY, Life, quiet, target
from tests.property.test_limits_property import PACK, everybody, outages, policies, present

shares = st.integers(0, 1000).map(lambda number: Decimal(number).scaleb(-3))
some_shares = st.integers(1, 10**9).map(lambda number: Decimal(number).scaleb(-9))
amounts = st.lists(st.integers(0, 10**15), min_size=1, max_size=5)


@given(amounts, some_shares, st.sampled_from([1, 100, 10_000]))
@settings(max_examples=depth(30, 40))
def test_a_share_of_a_column_is_exactly_that_of_each_amount(values, share, quantum):
    policy = replace(POLICY, quantum_minor=quantum)
    column = np.array(values, np.int64)
    exact = [int(share * 10**9) * value // (10**9 * quantum) * quantum for value in values]
    assert share_of(column, share, quantum).tolist() == exact
    steps = [policy.step(value, share) for value in values]
    assert step_of(column, share, quantum).tolist() == steps


@given(amounts, st.integers(1, 10**15), st.integers(1, 10**12).map(lambda n: Decimal(n).scaleb(-9)))
@settings(max_examples=depth(30, 40))
def test_a_threshold_of_a_column_is_exactly_that_of_each_ratio(values, below, threshold):
    for rising in (True, False):
        condition = Condition("utilisation", 30, 0, threshold, rising)
        found = met(np.array(values), np.full(len(values), below), threshold, rising=rising)
        assert found.tolist() == [condition.met((value, below)) for value in values]


def test_ratios_on_the_threshold_are_told_from_their_neighbours_beyond_doubles():
    """The control: a float could not tell these apart."""
    whole, share = 10**15, Decimal("0.9")
    edge = 9 * 10**14
    assert float(edge) / whole == float(edge + 0) / whole
    values = np.array([edge - 1, edge, edge + 1])
    assert met(values, np.full(3, whole), share, rising=True).tolist() == [False, True, True]
    assert met(values, np.full(3, whole), share, rising=False).tolist() == [True, True, False]


@given(st.lists(st.integers(-(10**18), 10**18), min_size=1, max_size=4), st.integers(0, 10**12))
@settings(max_examples=depth(30, 40))
def test_a_product_never_wraps(values, factor):
    exact = [value * factor for value in values]
    assert [int(one) for one in times(np.array(values), factor)] == exact
    both = times(np.array(values), np.full(len(values), factor))
    assert [int(one) for one in both] == exact


@given(st.dates(date(2020, 1, 1), date(2032, 1, 1)), st.integers(0, 30), st.integers(-3, 3))
@settings(max_examples=depth(30, 60))
def test_the_last_day_so_many_months_earlier_is_what_adding_months_says(day, months, by):
    last = date.fromordinal(month_earlier(day.toordinal(), months))
    near = date.fromordinal(last.toordinal() + by)
    assert (add_months(near, months) <= day) == (near <= last)


@st.composite
def line_policies(draw):
    """Return policies of a line's life with other figures."""
    rules = dict(POLICY.rules)
    code = draw(st.sampled_from(sorted(rules)))
    change = {"steps_down": True, "reviews": draw(st.integers(1, 3))}
    change["min_days"] = draw(st.sampled_from([0, 30, 60]))
    rules[code] = replace(rules[code], **change)
    idle = Inactivity(draw(st.sampled_from([30, 365])), draw(shares), draw(shares))
    return replace(
        POLICY,
        quantum_minor=draw(st.sampled_from([100, 10_000])),
        clean_reviews=draw(st.integers(1, 3)),
        dwell_days=draw(st.sampled_from([0, 30, 60])),
        always=draw(st.sampled_from([("B01", "B04"), (), ("B01",), ("B06", "B09")])),
        down_reviews=draw(st.integers(1, 3)),
        down_share=draw(shares),
        floor_share=draw(shares),
        cut_share=draw(shares),
        up_share=draw(some_shares),
        up_clean_reviews=draw(st.integers(0, 2)),
        cool_down_days=draw(st.sampled_from([0, 30, 60, 90])),
        increase_share=draw(shares),
        months_between=draw(st.integers(0, 7)),
        pause_at=draw(st.sampled_from([Decimal("0.95"), Decimal("0.4")])),
        memory_days=draw(st.sampled_from([0, 30, 90])),
        inactivity=draw(st.sampled_from([None, idle])),
        rules=rules,
    )


@given(line_policies(), st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_whatever_the_policy_every_row_is_the_scalar_review(policy, seed):
    page = random_page(seed, 60, policy)
    assert differences(page, policy) == []


@given(st.integers(0, 10**6))
@settings(max_examples=8, deadline=None)
def test_amounts_that_need_wider_integers_change_nothing(seed):
    page = random_page(seed, 40, POLICY, large=True)
    assert differences(page, POLICY) == []


@given(st.integers(0, 10**6), st.integers(0, 400))
@settings(max_examples=8, deadline=None)
def test_on_any_later_day_every_row_is_the_scalar_review(seed, later):
    page = random_page(seed, 60, POLICY)
    day = date.fromordinal(DAY.toordinal() + later)
    assert differences(page, POLICY, day) == []


money = st.integers(0, 10**8)
incomes = st.builds(
    Income, money, st.sampled_from(["bank", "platform"]), money, st.booleans(), st.just(10**5)
)
inputs = st.builds(
    Inputs,
    st.just(DAY),
    current_minor=money,
    drawn_minor=money,
    own_minor=st.none() | money,
    income=st.none() | incomes,
    others_minor=st.none() | money,
    capital_minor=st.none() | money,
    partner_minor=st.none() | money,
)
downturns = st.sampled_from([None, "the same", Decimal("0.5"), Decimal("0.95"), Decimal(1)])


@given(
    policies(),
    st.lists(st.tuples(everybody, outages | st.just({}), inputs), min_size=1, max_size=6),
    shares,
    downturns,
    st.sampled_from(["none", "all"]),
)
@settings(max_examples=25, deadline=None)
def test_every_target_is_that_of_the_scalar_caps(policy, people, scale, downturn, presumed):
    if presumed == "all":
        rows = {name: replace(row, presumed_minor=800_000) for name, row in policy.grades.items()}
        policy = replace(policy, grades=rows, other_lenders_minor=2 * 10**7)
    overlays = ()
    if downturn == "the same":
        downturn = policy.macro[0].multiplier
    if downturn is not None:
        overlays = (Overlay("bad", DAY, DAY, downturn, ("a", "b"), DAY, "why"),)
    lines = replace(POLICY, overlays=overlays)
    snapshots = [present(found, missing) for found, missing, _ in people]
    given_inputs = [one for _, _, one in people]
    done = targets_of(
        policy,
        PACK,
        score_columns(snapshots, policy),
        input_columns(given_inputs),
        lines,
        DAY,
        scales=(Decimal(1), scale),
        scale=np.arange(len(people), dtype=np.int32) % 2,
    )
    for row, (snapshot, one) in enumerate(zip(snapshots, given_inputs, strict=True)):
        scalar = target_of(
            decide(policy, PACK, snapshot, one), lines, DAY, scale=(Decimal(1), scale)[row % 2]
        )
        assert target_of_row(done, row) == scalar


@given(st.lists(st.sampled_from([1, 5, 8]), min_size=2, max_size=9))
@settings(max_examples=6, deadline=None)
def test_a_life_reviewed_in_batches_is_the_life_reviewed_alone(draws):
    """State carried from page to page is whole: columns go in, columns come out, months on end."""
    life, columns = Life(), None
    for count in draws:
        facts = quiet(measures={"draws_30d": count, "score": 640 + count})
        day = life.line.next_review_on
        packed = columns_of([life.line], [facts], POLICY)
        columns = packed if columns is None else replace(packed, line=columns)
        goal = target(1_000_000 if count == 1 else 1_400_000)
        done = review_batch(columns, target_columns([goal]), POLICY, day)
        life.take(review(life.line, facts, goal, POLICY, day))
        columns = done.line
        assert line_of_row(columns, 0) == life.line
