"""Reviews of many lines at once: the same as the scalar review, row by row."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from server.limits.batch.batch import review_batch
from server.limits.batch.caps import capacity_cap, loss_cap
from server.limits.batch.columns import STATES
from server.limits.batch.inputs import input_columns, score_columns
from server.limits.batch.pack import columns_of, target_columns
from server.limits.batch.rows import facts_of_row, line_of_row, target_of_row
from server.limits.batch.state import KINDS
from server.limits.batch.target import targets_of
from server.limits.caps.caps import Income, Inputs
from server.limits.line.golden import CYCLES, START, _target, frequent, stable, with_downturn
from server.limits.line.history import History, measures
from server.limits.line.line import State
from server.limits.line.review import review
from server.limits.line.triggers import Facts
from server.limits.rules.policy import Capacity, LossCap
from shared.errors import Conflict, UsageError
from tests.batch_kit import DAY, differences, random_page, reviewed
from tests.depth import depth
from tests.line_kit import BASE, POLICY, TEXT, Life, busy, policy_with, quiet, target
from tests.unit.test_limits import PACK, T39, in_slump, snapshot
from tests.unit.test_limits import POLICY as LIMITS


def page_of(*rows):
    """Return a page of lines with their facts and targets."""
    return tuple(list(column) for column in zip(*rows, strict=True))


def codes(done):
    return Counter(code for row in range(len(done)) for code in done.codes_of(row))


def test_every_row_is_the_scalar_review():
    page = random_page(7, 2_000, POLICY)
    done = reviewed(page, POLICY)
    assert differences(page, POLICY, done=done) == []
    # The control: rows of every kind were among them.
    assert {kind for kind in KINDS if done.did(kind).any()} == set(KINDS)
    assert {done.state(row) for row in range(len(done))} == set(STATES) - {
        State.PENDING,
        State.CLOSED,
    }
    behaviour = {f"B{number:02}" for number in range(1, 11)}
    barred = {"H-MISSING", "P-CONSENT", "P-DISPUTE", "C-PAUSE", "P-FRAUD", "P-EASED"}
    path = {"H01", "H02", "R01", "R02", "R03", "M-MACRO", "C-CAP", "P-TEMP"}
    assert behaviour | barred | path <= set(codes(done))


@pytest.mark.slow
def test_every_row_of_tens_of_thousands_is_the_scalar_review():
    for seed in range(depth(2, 4)):
        page = random_page(seed, 10_000, POLICY)
        assert differences(page, POLICY) == []


def test_a_difference_in_one_row_is_found():
    """The control of the comparison itself."""
    page = random_page(3, 30, POLICY)
    done = reviewed(page, POLICY)
    reasons = done.reasons.copy()
    reasons[11, 0] += 1
    versions = done.line.version.copy()
    versions[12] += 1
    wrong = replace(done, line=replace(done.line, version=versions), reasons=reasons)
    found = [(row, name) for row, name, *_ in differences(page, POLICY, done=wrong)]
    assert found == [(11, "codes"), (12, "line")]


def test_columns_lose_nothing():
    lines, facts, targets = random_page(5, 400, POLICY)
    columns, goals = columns_of(lines, facts, POLICY), target_columns(targets)
    for row in range(len(lines)):
        assert line_of_row(columns.line, row) == lines[row]
        assert facts_of_row(columns.facts, row) == facts[row]
        assert target_of_row(goals, row) == targets[row]


def test_the_golden_year_of_both_customers_comes_out_of_batches():
    """T33: both lines in one page, month by month, columns into columns."""
    policy = with_downturn(POLICY)
    life = Life()
    page = columns_of([life.line, life.line], [Facts(), Facts()], policy).line
    histories = [_history(one.draws) for one in (stable(), frequent())]
    limits, states = [], []
    for cycle in range(1, CYCLES + 1):
        day = START + timedelta(days=30 * cycle)
        facts = [Facts(measures=measures(one, policy, day)) for one in histories]
        packed = columns_of([life.line, life.line], facts, policy)
        goal = _target(policy, day)
        done = review_batch(replace(packed, line=page), target_columns([goal] * 2), policy, day)
        page = done.line
        limits.append(tuple(int(one) // 100 for one in page.effective_limit_minor))
        states.append(tuple(STATES[one].value[:3] for one in page.state))
    assert [one for one, _ in limits] == [10000, 10000, 7000, 7000, 9500] + [10000] * 7
    assert [one for _, one in limits] == [
        *(10000, 9000, 7000, 6000, 5000, 5000),
        *(5000, 5000, 5000, 5000, 7500, 10000),
    ]
    assert [one for one, _ in states][2:6] == ["red", "red", "res", "act"]
    assert [one for _, one in states][8:] == ["obs", "red", "res", "act"]


def _history(cycles):
    draws, balances = [], []
    for number, wanted in enumerate(cycles):
        first, owed = START + timedelta(days=30 * number), 0
        for day, amount in wanted:
            owed += amount
            draws.append((first + timedelta(days=day), amount))
            balances.append((first + timedelta(days=day), owed))
        balances.append((first + timedelta(days=28), 0))
    return History(tuple(draws), tuple(balances))


def test_one_page_holds_a_quiet_line_a_cut_a_step_down_and_a_freeze():
    calm, often, late = Life(), Life(), Life()
    often.review(busy())
    calm.review()
    late.review()
    day = calm.line.next_review_on
    page = page_of(
        (calm.line, quiet(), target()),
        (calm.line, quiet(), target(800_000)),
        (often.line, busy(), target()),
        (late.line, quiet(days_past_due=65), target()),
    )
    done = reviewed(page, POLICY, day)
    assert done.line.effective_limit_minor.tolist() == [BASE, 800_000, 900_000, BASE]
    assert [done.state(row).value for row in range(4)] == [
        "active",
        "reduced",
        "observation",
        "frozen",
    ]
    assert [done.codes_of(row) for row in range(4)] == [
        ("P-GRADE",),
        ("P-GRADE",),
        ("B02",),
        ("B08",),
    ]
    assert done.changed.tolist() == [False, True, True, True]
    assert [row for row, _ in done.to_write()] == [1, 2, 3]


def test_what_is_written_of_a_row_is_the_scalar_review():
    page = random_page(9, 200, POLICY)
    done = reviewed(page, POLICY)
    assert done.changed.any()
    for row, told in done.to_write():
        assert told == review(page[0][row], page[1][row], page[2][row], POLICY, DAY)
        assert done.events_of(row) == told.events
        assert told.line == line_of_row(done.line, row)


def test_what_only_counts_is_not_written():
    life = Life()
    life.review()
    page = page_of((life.line, quiet(), target()))
    done = reviewed(page, POLICY, life.line.next_review_on)
    assert not done.changed.any()
    assert done.line.clean_reviews.tolist() == [2]
    assert list(done.to_write()) == []


def test_lines_that_idle_are_taken_back_like_one():
    text = TEXT.replace("# [inactivity]", "[inactivity]")
    for name in ("after_days = 365", "share = 0.10", "floor_share = 0.50"):
        text = text.replace(f"# {name}", name)
    policy = policy_with(text=text)
    page = random_page(4, 400, policy)
    done = reviewed(page, policy)
    assert differences(page, policy, done=done) == []
    assert codes(done)["I-IDLE"] > 0


def test_a_page_with_a_line_that_has_no_reviews_is_refused():
    life = Life()
    closed = replace(life.line, state=State.CLOSED)
    page = page_of((life.line, quiet(), target()), (closed, quiet(), target()))
    with pytest.raises(Conflict, match="1 lines are pending or closed"):
        reviewed(page, POLICY, DAY)


def test_a_day_before_the_last_change_is_refused():
    life = Life()
    page = page_of((life.line, quiet(), target()))
    with pytest.raises(Conflict, match="1 lines changed after"):
        reviewed(page, POLICY, life.line.changed_on - timedelta(days=1))
    assert len(reviewed(page, POLICY, life.line.changed_on)) == 1


def test_an_empty_page_is_reviewed():
    assert len(reviewed(([], [], []), POLICY)) == 0


def test_a_measure_below_zero_is_refused():
    life = Life()
    with pytest.raises(UsageError, match="0 or more"):
        columns_of([life.line], [quiet(measures={"draws_30d": -2})], POLICY)


def test_caps_are_those_of_the_study():
    """T16 and T17, to the minor unit."""
    loss = LossCap(15_000, Decimal("0.7"), Decimal("0.5"))
    one = np.array([1], np.int64)
    assert loss_cap(loss, one * 20_000, one * 200_000).tolist() == [1_942_857]
    capacity = Capacity(Decimal("0.5"), Decimal("0.146"), 12)
    assert capacity_cap(capacity, one * 800_000, one * 220_000, one * 0).tolist() == [1_998_452]


def test_the_order_of_rounding_is_that_of_the_study():
    """T39: 19,400 without and 13,500, not 13,600, with the multiplier."""
    one = replace(T39, current_minor=5_000_000)
    for multiplier, expected in (("1.0", 1_940_000), ("0.7", 1_350_000)):
        policy = in_slump(multiplier)
        found = targets_of(
            policy,
            PACK,
            score_columns([snapshot()], policy),
            input_columns([one]),
            POLICY,
            one.day,
        )
        assert found.limit_minor.tolist() == [expected]
        assert found.book[found.reasons[0, 0]].code == "P-LOSS"


def test_an_unknown_source_of_income_and_a_line_without_a_limit_are_refused():
    with pytest.raises(UsageError, match="limit of today"):
        input_columns([Inputs(DAY)])
    odd = replace(T39, current_minor=0, income=Income(1, "rumour"))
    scores = score_columns([snapshot()], LIMITS)
    with pytest.raises(UsageError, match="source must be one of"):
        targets_of(LIMITS, PACK, scores, input_columns([odd]), POLICY, odd.day)
