"""Invariants of a line's life over random years (domain 5.4)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from server.limits.caps.caps import Inputs
from server.limits.caps.decide import decide
from server.limits.line.acts import withdraw_consent
from server.limits.line.events import replay
from server.limits.line.limit_acts import self_lower
from server.limits.line.line import State
from server.limits.line.reasons import LINE_CODES
from server.limits.line.restore import restoration
from server.limits.line.review import review
from server.limits.line.target import target_of
from server.limits.line.triggers import Facts
from server.limits.line.waterfall import Room, available
from tests.depth import depth
from tests.line_kit import GRADE, POLICY, START, Life, opened, target
from tests.property.test_limits_property import ANY, PACK, REFERENCE, SCORER, everybody, present

QUANTUM = POLICY.quantum_minor
TIGHTER = {"observed", "cut", "scaled", "stepped_down", "frozen"}
LOOSER = {"left_observation", "stepped_up", "restored", "cured"}

limits = st.integers(0, 150).map(lambda number: number * QUANTUM)
shares = st.sampled_from([Decimal(1)] * 3 + [Decimal("0.9"), Decimal("0.7"), Decimal("0.4")])
days_late = st.sampled_from([0] * 8 + [2, 10, 35, 65, 95])


@dataclass(frozen=True)
class Month:
    """What happens until a review."""

    draws: int = 1
    peak: int = 200_000
    enquiries: int = 0
    spend: int = 0
    others: int = 0
    score: int = 650
    late: int = 0
    smallest: int = 1_000_000
    multiplier: Decimal = Decimal(1)
    scale: Decimal = Decimal(1)
    silent: bool = False
    dispute: bool = False
    consent: bool = True
    budget: Decimal = Decimal(0)
    wait: int = 30

    def facts(self, outstanding=None):
        measures = {
            "draws_30d": self.draws,
            "peak_balance_30d": self.peak,
            "enquiries_30d": self.enquiries,
            "enquiries_90d": self.enquiries,
            "spend_30d": self.spend,
            "spend_90d": self.spend + 200_000,
            "others": self.others,
            "others_90d_ago": 200_000,
            "score": self.score,
        }
        return Facts(
            outstanding_minor=self.peak if outstanding is None else outstanding,
            measures=measures,
            days_past_due=self.late,
            dispute=self.dispute,
            consent=self.consent,
            budget_used=self.budget,
        )

    def target(self):
        missing = {"bureau": "stale"} if self.silent else {}
        return target(
            self.smallest,
            multiplier=self.multiplier,
            scale=self.scale,
            scenario="slump",
            missing=missing,
        )


months = st.builds(
    Month,
    draws=st.integers(0, 9),
    peak=st.integers(0, 1_200_000),
    enquiries=st.sampled_from([0, 0, 0, 1, 3, 6]),
    spend=st.sampled_from([0, 90_000, 150_000, 900_000]),
    others=st.sampled_from([0, 210_000, 500_000]),
    score=st.integers(600, 700),
    late=days_late,
    smallest=limits,
    multiplier=shares,
    scale=shares,
    silent=st.sampled_from([False] * 5 + [True]),
    dispute=st.sampled_from([False] * 7 + [True]),
    consent=st.sampled_from([True] * 7 + [False]),
    budget=st.sampled_from([Decimal(0)] * 5 + [Decimal("0.95")]),
    wait=st.sampled_from([30] * 6 + [7, 29, 31, 60]),
)
EASY = Month()
SPELLS = (
    EASY,
    EASY,
    EASY,
    replace(EASY, draws=8),
    replace(EASY, draws=8),
    replace(EASY, draws=5),
    replace(EASY, peak=950_000),
    replace(EASY, enquiries=6),
    replace(EASY, spend=900_000),
    replace(EASY, score=610),
    replace(EASY, multiplier=Decimal("0.7")),
    replace(EASY, multiplier=Decimal("0.95")),
    replace(EASY, smallest=980_000),
    replace(EASY, smallest=600_000),
    replace(EASY, smallest=1_500_000),
    replace(EASY, scale=Decimal("0.8")),
    replace(EASY, late=10),
    replace(EASY, late=35),
    replace(EASY, late=65),
    replace(EASY, silent=True),
    replace(EASY, wait=7),
)
"""Months that come in spells: a line reaches its rarer states through several alike, in a row."""
spells = st.tuples(st.sampled_from(SPELLS), st.integers(1, 4)).map(lambda one: [one[0]] * one[1])
stretches = st.one_of(spells, spells, spells, months.map(lambda one: [one]))
years = st.lists(stretches, min_size=1, max_size=6).map(
    lambda parts: [month for part in parts for month in part]
)
next_months = st.one_of(st.sampled_from(SPELLS), months)


def live(year, smallest=1_000_000):
    """Return the life, and the line before and after each review with its month."""
    life, steps = Life(smallest), []
    for month in year:
        if life.line.state is State.CLOSED:
            break
        before = life.line
        day = before.changed_on + timedelta(days=month.wait)
        done = life.take(review(before, month.facts(), month.target(), POLICY, day))
        steps.append((before, done, month, day))
    return life, steps


@given(years)
@settings(max_examples=depth(20, 30), deadline=None)
def test_i1_amounts_are_whole_never_negative_and_in_order(year):
    """I1, and that a cut makes nobody a defaulter."""
    _, steps = live(year)
    for _, done, month, _ in steps:
        line = done.line
        for name in ("base", "approved", "effective", "advised", "caps"):
            value = getattr(line, f"{name}_limit_minor")
            assert type(value) is int
            assert value >= 0
        assert line.effective_limit_minor % QUANTUM == 0
        assert line.effective_limit_minor <= line.caps_limit_minor <= line.approved_limit_minor
        assert line.advised_limit_minor >= month.facts().outstanding_minor


@given(years, st.integers(0, 2_000_000), st.integers(0, 500_000))
@settings(max_examples=depth(20, 30), deadline=None)
def test_i2_what_is_owed_above_the_limit_leaves_nothing_and_never_less(year, owed, held):
    """I2."""
    life, _ = live(year)
    found = available(life.line, life.line.changed_on, owed, held)
    left = life.line.effective_limit_minor - owed - held
    assert found.amount_minor == (max(0, left) if life.line.may_draw else 0)


@given(years, next_months, limits, limits)
@settings(max_examples=depth(30, 60), deadline=None)
def test_i7_i8_lower_caps_never_give_a_higher_limit(year, month, one, other):
    """I7 and I8, from any line that a year can lead to."""
    line = live(year)[0].line
    low, high = (
        review(
            line,
            month.facts(),
            replace(month, smallest=smallest).target(),
            POLICY,
            line.next_review_on,
        ).line
        for smallest in sorted((one, other))
    )
    assert low.effective_limit_minor <= high.effective_limit_minor
    offers = [0 if each.offer is None else each.offer.limit_minor for each in (low, high)]
    assert offers[0] <= max(offers[1], high.effective_limit_minor)


@given(years, st.integers(-10, 118))
@settings(max_examples=depth(20, 30), deadline=None)
def test_i7_more_risk_never_gives_a_higher_limit(year, points):
    """I7 through the caps: the same line, the same facts, a worse score."""
    line = live(year)[0].line
    day = line.next_review_on
    outcomes = []
    for at in (points, points + 1):
        rating = SCORER.rating(at)
        snapshot = replace(present(ANY, {}), rating=rating, at_best=rating)
        inputs = Inputs(day, current_minor=line.effective_limit_minor)
        goal = target_of(decide(REFERENCE, PACK, snapshot, inputs), POLICY, day)
        outcomes.append(review(line, EASY.facts(), goal, POLICY, day).line.effective_limit_minor)
    assert outcomes[0] <= outcomes[1]


OUTSIDE = (
    EASY,
    EASY,
    EASY,
    replace(EASY, multiplier=Decimal("0.7")),
    replace(EASY, multiplier=Decimal("0.9")),
    replace(EASY, smallest=600_000),
    replace(EASY, smallest=300_000),
    replace(EASY, scale=Decimal("0.8")),
    replace(EASY, late=10),
    replace(EASY, late=35),
    replace(EASY, silent=True),
)
BORROWING = ((1, 0, 0), (0, 8, 0), (0, 5, 0), (4, 3, 0), (8, 0, 0), (2, 0, 700_000), (8, 1, 0))
"""Draws, more draws, more owed."""


def spread(values, longest):
    """Return lists in which values come in spells, as long as they last."""
    spell = st.tuples(st.sampled_from(values), st.integers(1, longest))
    parts = st.lists(spell, min_size=3, max_size=9)
    return parts.map(lambda found: [value for value, count in found for _ in range(count)])


@given(spread(OUTSIDE, 3), spread(BORROWING, 5))
@settings(max_examples=depth(100, 200), deadline=None)
def test_i9_who_draws_more_is_never_above(outside, borrowing):
    """I9: the same outside world, pointwise more draws and a higher balance."""
    few, many = Life(), Life()
    for month, (draws, more, owed) in zip(outside, borrowing, strict=False):
        day = few.line.next_review_on
        assert many.line.next_review_on == day
        low = replace(month, draws=draws)
        high = replace(month, draws=draws + more, peak=month.peak + owed)
        few.take(review(few.line, low.facts(), low.target(), POLICY, day))
        many.take(review(many.line, high.facts(), high.target(), POLICY, day))
        assert many.line.effective_limit_minor <= few.line.effective_limit_minor


WORSE = (
    ("draws", 3),
    ("peak", 300_000),
    ("enquiries", 4),
    ("spend", 300_000),
    ("others", 300_000),
    ("score", -40),
    ("late", 40),
    ("silent", True),
    ("dispute", True),
    ("budget", Decimal(1)),
)


def drawable(line):
    """Return the limit that draws can use: a freeze leaves the limit and stops them."""
    return line.effective_limit_minor if line.may_draw else 0


@given(years, next_months, st.sampled_from(WORSE))
@settings(max_examples=depth(30, 60), deadline=None)
def test_i10_worse_evidence_never_helps(year, month, change):
    """I10, fact by fact, from any line."""
    line = live(year)[0].line
    name, by = change
    worse = replace(month, **{name: by if isinstance(by, bool) else getattr(month, name) + by})
    day = line.next_review_on
    good, bad = (
        review(line, one.facts(outstanding=0), one.target(), POLICY, day).line
        for one in (month, worse)
    )
    assert drawable(bad) <= drawable(good)
    assert bad.clean_reviews <= good.clean_reviews
    assert {one.code for one in good.windows} <= {one.code for one in bad.windows} or (
        bad.state is State.FROZEN
    )
    assert good.may_draw >= bad.may_draw


@given(years.map(lambda year: [replace(one, wait=30) for one in year]))
@settings(max_examples=depth(30, 60), deadline=None)
def test_i11_no_state_goes_one_way_and_back_within_the_dwell(year):
    """I11. Upward always waits; downward, only a trigger does: falling caps are a new reason."""
    life, _ = live(year)
    moves = [one for one in life.events if one.state_from is not one.state_to or one.moves_limit]
    for first in moves:
        for second in moves:
            days = (second.on - first.on).days
            if not 0 < days < POLICY.dwell_days:
                continue
            if first.kind in TIGHTER:
                # An observation may end soon after a cut that had nothing to do with it.
                apart = first.kind in {"cut", "scaled"} and second.kind == "left_observation"
                assert apart or second.kind not in LOOSER, (first, second)
            if first.kind in LOOSER:
                assert second.kind != "observed", (first, second)


@given(years)
@settings(max_examples=depth(30, 60), deadline=None)
def test_i12_restoration_stays_below_the_target_and_waits_for_the_cool_down(year):
    """I12, and never in the review of a cut or an exit."""
    life, steps = live(year)
    for before, done, month, day in steps:
        rises = [one for one in done.events if one.limit_to_minor > one.limit_from_minor]
        if not rises:
            continue
        goal = month.target()
        assert done.line.effective_limit_minor <= goal.lowest_minor
        assert done.line.effective_limit_minor <= before.approved_limit_minor
        step = POLICY.step(before.base_limit_minor, POLICY.up_share)
        assert done.line.effective_limit_minor - before.effective_limit_minor <= step
        assert day >= before.next_review_on
        kinds = {one.kind for one in done.events}
        assert not kinds & {"cut", "stepped_down", "scaled", "left_observation"}
        falls = [one.on for one in life.events if one.limit_to_minor < one.limit_from_minor]
        assert all((day - on).days >= POLICY.cool_down_days for on in falls if on <= day)


@given(years)
@settings(max_examples=depth(20, 30), deadline=None)
def test_one_review_lowers_by_a_step_at_most(year):
    _, steps = live(year)
    for before, done, _, _ in steps:
        if {one.kind for one in done.events} & {"cured"}:
            continue
        limit = before.effective_limit_minor
        least = min(
            POLICY.lowest_after_cut(limit),
            limit - POLICY.step(before.base_limit_minor, POLICY.down_share),
        )
        assert done.line.effective_limit_minor >= max(0, least)


BLOCKS = ({"silent": True}, {"dispute": True}, {"consent": False}, {"budget": Decimal("0.95")})


@given(years, next_months, st.sampled_from(BLOCKS))
@settings(max_examples=depth(20, 30), deadline=None)
def test_i13_nothing_rises_while_something_forbids_it(year, month, block):
    """I13."""
    line = live(year)[0].line
    blocked = replace(month, smallest=1_500_000, multiplier=Decimal(1), **block)
    done = review(line, blocked.facts(), blocked.target(), POLICY, line.next_review_on)
    assert done.line.effective_limit_minor <= line.effective_limit_minor
    assert done.line.offer is None


def test_what_i13_forbids_is_possible_without_it():
    """The control: the same line does rise when nothing forbids it."""
    life = Life()
    life.review(smallest=700_000)
    life.review()
    before = life.line.effective_limit_minor
    life.review()
    assert life.line.effective_limit_minor > before


@given(years, next_months, everybody)
@settings(max_examples=depth(20, 30), deadline=None)
def test_i13_a_silent_holder_alone_cuts_nobody(year, month, found):
    """I13: without a holder's points and measures the limit is not below what it is with them."""
    line = live(year)[0].line
    day = line.next_review_on
    assume(line.state is not State.FROZEN)
    inputs = Inputs(day, current_minor=line.effective_limit_minor)
    goals = [
        target_of(decide(REFERENCE, PACK, present(found, missing), inputs), POLICY, day)
        for missing in ({}, {"bureau": "stale"})
    ]
    known = month.facts(outstanding=0)
    silent = replace(
        known,
        measures={
            name: value
            for name, value in known.measures.items()
            if not name.startswith(("enquiries", "others"))
        },
    )
    heard = review(line, known, goals[0], POLICY, day).line
    unheard = review(line, silent, goals[1], POLICY, day).line
    fell = unheard.effective_limit_minor < line.effective_limit_minor
    assert not fell or heard.effective_limit_minor <= unheard.effective_limit_minor


amounts = st.integers(0, 10**6)


@given(years, amounts, amounts, amounts)
@settings(max_examples=depth(20, 30), deadline=None)
def test_i14_repaying_and_drawing_again_conserves(year, owed, held, amount):
    """I14: outstanding + available + held is the limit, when no other cap binds."""
    line = live(year)[0].line
    day, limit = line.changed_on, line.effective_limit_minor
    owed, held = owed % (limit + 1), held % (limit - owed % (limit + 1) + 1)
    amount = min(amount, owed)
    assume(line.may_draw)
    before = available(line, day, owed, held).amount_minor
    repaid = available(line, day, owed - amount, held).amount_minor
    assert owed + before + held == (owed - amount) + repaid + held == limit
    assert repaid - before == amount
    drawn = available(line, day, owed, held, Room(partner_minor=amount))
    assert drawn.amount_minor == min(before, amount)


@given(years)
@settings(max_examples=depth(20, 30), deadline=None)
def test_i16_every_change_of_a_limit_has_one_to_four_reasons_of_what_bound(year):
    """I16."""
    life, steps = live(year)
    for event in life.events:
        if event.moves_limit:
            assert 1 <= len(event.reasons) <= 4
        codes = [reason.code for reason in event.reasons]
        assert len(set(codes)) == len(codes)
        for reason in event.reasons:
            assert reason == GRADE or reason.family == LINE_CODES[reason.code]
    for _, done, month, _ in steps:
        goal = month.target()
        assert 1 <= len(done.reasons) <= 4
        for event in done.events:
            codes = {reason.code for reason in event.reasons}
            limit = event.limit_from_minor
            if event.kind == "cut":
                assert ("P-GRADE" in codes) == (goal.full_minor < limit)
                assert ("M-MACRO" in codes) == (goal.limit_minor < min(goal.full_minor, limit))
            if event.kind == "scaled":
                assert goal.scaled_minor < goal.limit_minor
                assert codes == {"C-CAP"}
            if event.kind == "stepped_down":
                assert codes <= {"B02", "B08"}


@given(years, st.integers(0, 8), limits)
@settings(max_examples=depth(20, 30), deadline=None)
def test_i18_events_rebuild_every_state_there_was(year, at, lowered):
    """I18, with acts of the customer in between."""
    life, steps = live(year)
    acted = steps[at % len(steps)][1].line
    assert replay(life.events) == life.line
    for _, done, _, _ in steps:
        upto = [one for one in life.events if one.version <= done.line.version]
        assert replay(upto) == done.line
    if acted is life.line and acted.consent_withdrawn_on is None:
        life.take(withdraw_consent(acted, acted.changed_on))
        if lowered < acted.approved_limit_minor:
            life.take(self_lower(life.line, lowered, 0, POLICY, acted.changed_on))
        assert replay(life.events) == life.line


@given(years, next_months, st.integers(0, 29))
@settings(max_examples=depth(20, 30), deadline=None)
def test_i20_time_alone_raises_nothing(year, month, days):
    """I20: before its day a review raises no limit, and what can be drawn only falls."""
    line = live(year)[0].line
    day = min(line.changed_on + timedelta(days=days), line.next_review_on - timedelta(days=1))
    assume(day >= line.changed_on)
    early = review(line, month.facts(), month.target(), POLICY, day).line
    assert early.effective_limit_minor <= line.effective_limit_minor
    assert early.approved_limit_minor <= line.approved_limit_minor
    assert early.clean_reviews == line.clean_reviews
    assert early.next_review_on == line.next_review_on
    path = [
        available(line, line.changed_on + timedelta(days=later), 100_000).amount_minor
        for later in range(0, 400, 20)
    ]
    assert path == sorted(path, reverse=True)


@given(years, limits)
@settings(max_examples=depth(20, 30), deadline=None)
def test_the_plan_comes_true_for_who_keeps_to_it(year, smallest):
    """What a customer is told about the way back is what the policy then does."""
    line = live(year)[0].line
    assume(line.state in {State.OBSERVATION, State.REDUCED, State.RESTORING, State.FROZEN})
    assume(line.consent_withdrawn_on is None)
    goal = target(smallest)
    told = restoration(line, Facts(), goal, POLICY, line.changed_on)
    kept, paid = [], line.delinquency.clear_since or line.changed_on
    scores = [window.score for window in line.windows] + [line.score, 650]
    recovered = max(score for score in scores if score is not None) + 15
    measures = {**EASY.facts().measures, "peak_balance_30d": 0, "others": 200_000}
    last = told.steps[-1].on if told.steps else line.next_review_on
    while line.next_review_on <= last:
        facts = Facts(measures={**measures, "score": recovered}, clear_since=paid)
        after = review(line, facts, goal, POLICY, line.next_review_on).line
        if (after.state, after.effective_limit_minor) != (line.state, line.effective_limit_minor):
            kept.append((after.changed_on, after.state, after.effective_limit_minor))
        line = after
    assert kept == [(one.on, one.state, one.limit_minor) for one in told.steps]


def test_lines_of_the_properties_do_move():
    """The control for all above: such years do cut, observe, freeze and restore."""
    year = [
        replace(EASY, draws=8),
        replace(EASY, draws=8),
        *[EASY] * 4,
        replace(EASY, multiplier=Decimal("0.7")),
        *[EASY] * 4,
        replace(EASY, late=65),
    ]
    life, _ = live(year)
    kinds = {one.kind for one in life.events}
    assert kinds >= {
        "observed",
        "stepped_down",
        "left_observation",
        "stepped_up",
        "restored",
        "cut",
        "frozen",
    }
    assert opened()[0].changed_on == START
