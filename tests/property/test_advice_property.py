"""Advice is always true: the real policy, on the advised facts, gives what was promised (I17)."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from server.limits.answers.actions import parse_actions
from server.limits.answers.advice import advise, holds
from server.limits.answers.line_reviews import LineReviews
from server.limits.answers.whatif import Change, PolicyReviews, what_if
from server.limits.caps.caps import Income, Inputs
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Scorer
from server.limits.line.line import DRAWING, Line, State
from server.limits.line.review import review
from server.limits.line.target import target_of
from server.limits.line.triggers import Facts as Seen
from server.limits.rules.line_lint import parse_line_policy
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy import GradeRow, LossCap, Macro
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from tests.depth import depth
from tests.service.kit import baselines, card

DAY = date(2026, 3, 1)
REFERENCE = parse_policy(*embedded("reference"))
PACK = parse_pack(*embedded("pack_cn"))
ACTIONS = parse_actions(*embedded("advice"))
SCORER = Scorer(card(), baselines())
WORTH = {"declared": 0, "platform": 1, "bank": 2}

money = st.integers(0, 3_000_000)
shares = st.integers(1, 1000).map(lambda number: Decimal(number).scaleb(-3))


@st.composite
def policies(draw):
    limits = sorted(draw(st.tuples(*[money] * 5)), reverse=True)
    presumed = sorted(draw(st.tuples(*[st.integers(0, 500_000)] * 5)), reverse=True)
    rows = zip("ABCDE", limits, presumed, strict=True)
    multiple = Decimal(draw(st.integers(0, 5)))
    loss = LossCap(draw(st.integers(1, 100_000)), draw(shares), draw(shares))
    days = draw(st.lists(st.integers(1, 200), max_size=2, unique=True).map(sorted))
    since = [date(2026, 1, 1), *(DAY + timedelta(days=after) for after in days)]
    return replace(
        REFERENCE,
        quantum_minor=draw(st.sampled_from([1, 10_000])),
        grades={name: GradeRow(name, limit, multiple, income) for name, limit, income in rows},
        expected_loss=loss,
        macro=tuple(Macro(day, draw(shares), "drawn") for day in since),
    )


@st.composite
def customers(draw):
    income = Income(
        draw(st.integers(0, 1_000_000)),
        draw(st.sampled_from(sorted(WORTH))),
        draw(st.integers(0, 300_000)),
    )
    return Inputs(
        DAY,
        current_minor=draw(st.none() | money),
        drawn_minor=draw(money),
        own_minor=draw(st.none() | money),
        income=draw(st.sampled_from([income, income, None])),
    )


def snapshots(missing):
    point = st.integers(-10, 119)
    return st.builds(
        lambda at, gone: replace(
            SCORER.snapshot({}, dict.fromkeys(SCORER.spans, "stale")),
            rating=SCORER.rating(at),
            at_best=SCORER.rating(min(119, at + 20)),
            missing=gone,
        ),
        point,
        missing,
    )


present, outages = snapshots(st.just({})), snapshots(st.just({"bureau": "stale"}))


def found(policy, snapshot, inputs):
    reviews = PolicyReviews(policy, PACK, snapshot, inputs)
    return reviews, advise(reviews, ACTIONS, holders=(), card_codes=()).advice


def with_advice(inputs, advice):
    """Apply an advice by hand, without the code under test."""
    for change in advice.changes:
        if change.fact == "drawn_minor":
            inputs = replace(inputs, drawn_minor=change.value)
        elif change.fact == "income_source":
            inputs = replace(inputs, income=replace(inputs.income, source=change.value))
        elif change.fact == "income_proven_minor":
            assert inputs.income is None
            inputs = replace(inputs, income=Income(change.value, "bank"))
        elif change.fact == "obligations_minor":
            inputs = replace(inputs, income=replace(inputs.income, obligations_minor=change.value))
        else:
            raise AssertionError(change.fact)
    return replace(inputs, day=advice.by)


@given(policies(), present, customers())
@settings(max_examples=depth(30, 60), deadline=None)
def test_i17_every_advice_is_true_in_the_policy_that_decides(policy, snapshot, inputs):
    _, advices = found(policy, snapshot, inputs)
    for advice in advices:
        then = decide(policy, PACK, snapshot, with_advice(inputs, advice))
        now = decide(policy, PACK, snapshot, replace(inputs, day=advice.by))
        assert then.limit_minor >= advice.expected_minor
        assert now.limit_minor == advice.otherwise_minor < advice.expected_minor


@given(policies(), present, customers())
@settings(max_examples=depth(30, 40), deadline=None)
def test_i17_who_does_more_than_advised_does_not_get_less(policy, snapshot, inputs):
    _, advices = found(policy, snapshot, inputs)
    for advice in advices:
        done = with_advice(inputs, advice)
        more = replace(done, drawn_minor=done.drawn_minor // 2)
        if any(change.fact == "income_proven_minor" for change in advice.changes):
            richer = replace(more.income, monthly_minor=2 * more.income.monthly_minor)
            more = replace(more, income=richer)
        if inputs.income is not None:
            proven = replace(
                done.income, source="bank", obligations_minor=done.income.obligations_minor // 2
            )
            more = replace(more, income=proven)
        assert decide(policy, PACK, snapshot, more).limit_minor >= advice.expected_minor


@given(policies(), outages, customers())
@settings(max_examples=depth(30, 40), deadline=None)
def test_i17_holds_while_a_holder_is_missing_and_nothing_is_promised_above_today(
    policy, snapshot, inputs
):
    reviews, advices = found(policy, snapshot, inputs)
    for advice in advices:
        assert holds(advice, reviews)
        assert advice.expected_minor <= inputs.current_minor  # kept, never raised (I13)


@given(policies(), present, customers())
@settings(max_examples=depth(30, 40), deadline=None)
def test_advice_is_short_possible_and_never_about_who_somebody_is(policy, snapshot, inputs):
    _, advices = found(policy, snapshot, inputs)
    assert len(advices) <= 3
    facts = {"drawn_minor", "income_source", "income_proven_minor", "obligations_minor"}
    for advice in advices:
        assert 1 <= len(advice.codes) <= 2
        for change in advice.changes:
            assert change.fact in facts
            assert DAY <= change.since <= advice.by
            if change.fact == "income_source":
                assert WORTH[change.value] > WORTH[inputs.income.source]
            elif change.fact == "drawn_minor":
                assert 0 <= change.value < inputs.drawn_minor
    promised = [(-one.expected_minor, one.by, one.cost) for one in advices]
    assert promised == sorted(promised)


def test_the_properties_have_something_to_check():
    """Control: an ordinary customer gets advice of every computable kind somewhere."""
    codes = set()
    policy = replace(
        REFERENCE,
        grades={name: replace(row, presumed_minor=0) for name, row in REFERENCE.grades.items()},
    )
    for source in [*WORTH, None]:
        for drawn, owed in ((0, 300_000), (1_500_000, 0)):
            income = Income(900_000, source, owed) if source else None
            inputs = Inputs(DAY, drawn_minor=drawn, income=income)
            snapshot = SCORER.snapshot({}, dict.fromkeys(SCORER.spans, "stale"))
            good = replace(
                snapshot, rating=SCORER.rating(85), at_best=SCORER.rating(85), missing={}
            )
            for advice in found(policy, good, inputs)[1]:
                codes.update(advice.codes)
    assert codes == {"ADV-PROOF", "ADV-PROOF-NEW", "ADV-DEBT", "ADV-UTIL"}


@given(policies(), present, customers(), st.integers(0, 400))
@settings(max_examples=depth(30, 40), deadline=None)
def test_what_if_is_the_decision_on_the_changed_facts(policy, snapshot, inputs, after):
    day = DAY + timedelta(days=after)
    reviews = PolicyReviews(policy, PACK, snapshot, inputs)
    answer = what_if(reviews, [Change("drawn_minor", 7, DAY)], day)
    real = decide(policy, PACK, snapshot, replace(inputs, day=answer.day, drawn_minor=7))
    assert answer.limit_minor == real.limit_minor
    assert answer.limit_minor == max(step.limit_minor for step in answer.path)


# --- lines with a history ------------------------------------------------------------------------

LINE_POLICY = parse_line_policy(*embedded("line_reference"))
BASE = 1_000_000


@st.composite
def histories(draw):
    """Return the reviews ahead of a line that has lived for some cycles."""
    policy = replace(
        REFERENCE,
        product_cap_minor=draw(st.sampled_from([BASE, 2 * BASE])),
        grades={name: replace(row, presumed_minor=0) for name, row in REFERENCE.grades.items()},
        macro=(
            Macro(date(2026, 1, 1), Decimal(1), "base"),
            Macro(DAY + timedelta(days=draw(st.integers(1, 300))), draw(shares), "drawn"),
        ),
    )
    rating = SCORER.rating(draw(st.integers(40, 119)))
    bare = SCORER.snapshot({}, dict.fromkeys(SCORER.spans, "stale"))
    snapshot = replace(bare, rating=rating, at_best=rating, missing={})
    owed = draw(st.integers(0, 12)) * 100_000
    source = draw(st.sampled_from([*WORTH, None]))
    income = Income(draw(st.integers(3, 15)) * 100_000, source) if source else None
    line = Line(
        state=State.ACTIVE,
        base_limit_minor=BASE,
        approved_limit_minor=BASE,
        effective_limit_minor=BASE,
        advised_limit_minor=2 * BASE,
        caps_limit_minor=BASE,
        opened_on=DAY,
        next_review_on=DAY + timedelta(days=30),
        changed_on=DAY,
    )
    measures = {"draws_30d": draw(st.integers(0, 9)), "peak_balance_30d": owed, "score": 650}
    seen = Seen(owed, measures=measures, days_past_due=draw(st.sampled_from([0, 0, 2, 20, 40])))
    inputs = Inputs(DAY, current_minor=BASE, drawn_minor=owed, income=income)
    for cycle in range(1, draw(st.integers(0, 6)) + 1):
        day = DAY + timedelta(days=30 * cycle)
        calm = replace(seen, days_past_due=0)
        line = reviewed(line, calm, policy, snapshot, replace(inputs, day=day))
        inputs = replace(inputs, day=day, current_minor=line.effective_limit_minor)
    return LineReviews(line, seen, LINE_POLICY, PolicyReviews(policy, PACK, snapshot, inputs))


def reviewed(line, seen, policy, snapshot, inputs):
    """Review a line as the nightly run does, without the code under test."""
    inputs = replace(inputs, current_minor=line.effective_limit_minor)
    target = target_of(decide(policy, PACK, snapshot, inputs), LINE_POLICY, inputs.day)
    return review(line, seen, target, LINE_POLICY, inputs.day).line


def lived(given_reviews, advice):
    """Live through the reviews as advised, and return the limit, offers counted, on the day."""
    one, line = given_reviews, given_reviews.line
    start, day = one.caps.inputs.day, max(line.next_review_on, one.caps.inputs.day)
    while day <= advice.by:
        inputs, seen = replace(one.caps.inputs, day=day), one.seen
        if seen.days_past_due:
            seen = replace(seen, days_past_due=seen.days_past_due + (day - start).days)
        for change in (change for change in advice.changes if change.since <= day):
            if change.fact == "draws":
                seen = replace(seen, measures={**seen.measures, "draws_30d": change.value})
            elif change.fact == "days_past_due":
                seen = replace(seen, days_past_due=0, clear_since=change.since)
            else:
                single = replace(advice, changes=(change,), by=day)
                inputs = with_advice(inputs, single)
                if change.fact == "drawn_minor":
                    seen = replace(seen, outstanding_minor=change.value)
                    if change.since + timedelta(days=30) <= day:
                        measures = {**seen.measures, "peak_balance_30d": change.value}
                        seen = replace(seen, measures=measures)
        line = reviewed(line, seen, one.caps.policy, one.caps.snapshot, inputs)
        day += timedelta(days=30)
    if line.state not in DRAWING:
        return 0
    return max(line.effective_limit_minor, line.offer.limit_minor if line.offer else 0)


@given(histories())
@settings(max_examples=20, deadline=None)
def test_i17_advice_on_a_line_is_true_when_it_is_lived_through(reviews):
    for advice in advise(reviews, ACTIONS, holders=(), card_codes=()).advice:
        assert lived(reviews, advice) >= advice.expected_minor > advice.otherwise_minor
        assert lived(reviews, replace(advice, changes=())) == advice.otherwise_minor
