"""Invariants of limits: risk never pays, reasons are what bound, nobody is cut by an outage."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from server.limits.caps.caps import FROM_SCORE, Income, Inputs, capacity_cap, loss_cap
from server.limits.caps.decide import CAP_REASONS, HOLDER, MACRO, decide
from server.limits.caps.snapshot import Scorer, Share
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy import Capacity, GradeRow, LossCap, Macro
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from tests.depth import depth
from tests.service.kit import LINES, PARTIES, baselines, card

DAY = date(2026, 3, 1)
REFERENCE = parse_policy(*embedded("reference"))
PACK = parse_pack(*embedded("pack_cn"))
SCORER = Scorer(card(), baselines())
SPANS = SCORER.spans
CODES = {owner: [code for who, code, _, _ in LINES if who == owner] for owner in PARTIES}


def thousandths(low, high):
    return st.integers(low, high).map(lambda number: Decimal(number).scaleb(-3))


shares = thousandths(0, 1000)
positive_shares = thousandths(1, 1000)
money = st.integers(0, 10**9)


@st.composite
def policies(draw):
    limits = sorted(draw(st.tuples(*[money] * 5)), reverse=True)
    multiples = sorted(draw(st.tuples(*[thousandths(0, 9000)] * 5)), reverse=True)
    rows = zip("ABCDE", limits, multiples, strict=True)
    loss = LossCap(draw(money), draw(positive_shares), draw(positive_shares))
    stress = LossCap(draw(money), draw(positive_shares), draw(positive_shares))
    return replace(
        REFERENCE,
        quantum_minor=draw(st.sampled_from([1, 100, 10_000])),
        product_cap_minor=draw(money),
        grades={name: GradeRow(name, limit, multiple) for name, limit, multiple in rows},
        expected_loss=loss,
        stress_loss=draw(st.sampled_from([None, stress])),
        capacity=Capacity(draw(shares), draw(shares), draw(st.integers(1, 60))),
        macro=(Macro(date(2026, 1, 1), draw(positive_shares), "drawn"),),
    )


@st.composite
def inputs(draw, current=None):
    income = Income(draw(money), draw(st.sampled_from(["bank", "platform"])), draw(money))
    return Inputs(
        DAY,
        current_minor=None if current is None else draw(current),
        drawn_minor=draw(st.integers(0, 10**7)),
        own_minor=draw(st.none() | money),
        income=draw(st.sampled_from([None, income])),
    )


def holder_share(party):
    low, high = SPANS[party]
    costs = st.tuples(*[st.integers(0, 50)] * len(CODES[party]))
    reasons = costs.map(lambda lost: reasons_of(CODES[party], lost))
    return st.builds(Share, st.integers(low, high), reasons)


def reasons_of(codes, lost):
    pairs = [(code, points) for code, points in zip(codes, lost, strict=True) if points]
    return tuple(sorted(pairs, key=lambda one: (-one[1], one[0])))


everybody = st.fixed_dictionaries({party: holder_share(party) for party in PARTIES})
outages = st.dictionaries(
    st.sampled_from(PARTIES), st.sampled_from(["no feed", "stale"]), min_size=1, max_size=3
)


def present(found, missing):
    return SCORER.snapshot({k: v for k, v in found.items() if k not in missing}, missing)


@given(policies(), inputs(), st.integers(-10, 118))
@settings(max_examples=depth(30, 60))
def test_i7_more_risk_never_gets_more(policy, given_inputs, points):
    """I7."""
    riskier, safer = (
        decide(
            policy,
            PACK,
            replace(present(ANY, {}), rating=SCORER.rating(at), at_best=SCORER.rating(at)),
            given_inputs,
        )
        for at in (points, points + 1)
    )
    assert SCORER.rating(points).default_prob >= SCORER.rating(points + 1).default_prob
    assert riskier.limit_minor <= safer.limit_minor
    assert all(riskier.caps[name] <= safer.caps[name] for name in riskier.caps)


ANY = {party: Share(SPANS[party][0]) for party in PARTIES}


@given(policies(), inputs(), everybody)
@settings(max_examples=depth(30, 60))
def test_limit_is_the_smallest_cap_rounded_down_never_up(policy, given_inputs, found):
    decision = decide(policy, PACK, present(found, {}), given_inputs)
    smallest = min(decision.caps.values())
    exact = Fraction(smallest) * Fraction(policy.macro[0].multiplier)
    assert decision.limit_minor <= exact < decision.limit_minor + policy.quantum_minor
    assert decision.limit_minor % policy.quantum_minor == 0
    assert all(type(value) is int and value >= 0 for value in decision.caps.values())
    assert {name for name, cap in decision.caps.items() if cap == smallest} == set(decision.binding)


@given(
    st.builds(LossCap, money, positive_shares, positive_shares),
    st.integers(1, 999_999),
    st.integers(0, 10**15),
)
@settings(max_examples=depth(30, 60))
def test_expected_loss_cap_is_exact_to_the_minor_unit(cap, ppm, drawn):
    rate = Fraction(ppm, 10**6) * Fraction(cap.lgd)
    ccf = Fraction(cap.ccf)
    exact = (cap.most_minor - (1 - ccf) * drawn * rate) / (rate * ccf)
    assert loss_cap(cap, Decimal(ppm).scaleb(-6), drawn) == max(0, exact.__floor__())


@given(
    st.builds(Capacity, shares, positive_shares, st.integers(1, 84)),
    st.integers(0, 10**12),
    money,
)
@settings(max_examples=depth(30, 60))
def test_capacity_cap_never_lends_more_than_its_instalments_repay(capacity, income, owed):
    cap = capacity_cap(capacity, income, owed)
    spare = max(Fraction(0), Fraction(capacity.dti) * income - owed)
    rate = Fraction(capacity.annual_rate) / 12
    repaid = sum(spare / (1 + rate) ** month for month in range(1, capacity.months + 1))
    assert cap <= repaid < cap + 1


@given(policies(), inputs(), everybody, outages | st.just({}))
@settings(max_examples=depth(30, 60))
def test_i16_reasons_are_one_to_four_and_of_what_bound(policy, given_inputs, found, missing):
    """I16."""
    decision = decide(policy, PACK, present(found, missing), given_inputs)
    codes = [reason.code for reason in decision.reasons]
    assert 1 <= len([code for code in codes if code != "S-ENQUIRIES"]) <= 4
    assert len(set(codes)) == len(codes)
    allowed = {CAP_REASONS[name][0] for name in decision.binding}
    if policy.macro[0].multiplier < 1:
        allowed.add(MACRO)
        assert MACRO in codes
    for reason in decision.reasons:
        if reason.family == "score":
            assert not FROM_SCORE.isdisjoint(decision.binding)
            assert not set(reason.holders) & set(missing)
        else:
            assert reason.code in allowed


@given(policies(), inputs(current=money), everybody, outages)
@settings(max_examples=depth(50, 100))
def test_i13_an_outage_raises_nothing_and_cuts_nothing(policy, given_inputs, found, missing):
    """I13: whatever the missing holders would have said, their silence is never worse."""
    current = given_inputs.current_minor
    without = decide(policy, PACK, present(found, missing), given_inputs)
    with_them = decide(policy, PACK, present(found, {}), given_inputs)
    assert without.limit_minor <= current
    assert without.limit_minor >= min(current, with_them.limit_minor)
    assert without.blocked == missing
    if without.limit_minor == current:
        assert without.binding == (HOLDER,)


@given(policies(), inputs(), everybody, outages)
@settings(max_examples=depth(30, 60))
def test_an_outage_is_always_told(policy, given_inputs, found, missing):
    decision = decide(policy, PACK, present(found, missing), given_inputs)
    assert decision.provisional
    assert set(decision.blocked) == set(missing)
    assert not decide(policy, PACK, present(found, {}), given_inputs).blocked


@given(policies(), inputs(), everybody)
@settings(max_examples=depth(30, 60))
def test_the_same_inputs_give_the_same_decision(policy, given_inputs, found):
    first, second = (decide(policy, PACK, present(found, {}), given_inputs) for _ in range(2))
    assert first == second


@given(everybody, outages | st.just({}))
@settings(max_examples=depth(30, 60))
def test_points_add_up_and_reasons_are_the_costliest(found, missing):
    snapshot = present(found, missing)
    assert snapshot.rating.points == sum(snapshot.points.values())
    assert snapshot.at_best.points >= snapshot.rating.points
    lost = {}
    for party, share in found.items():
        for code, points in share.reasons if party not in missing else ():
            lost[code] = lost.get(code, 0) + points
    told = [one.points_lost for one in snapshot.reasons]
    assert told[:4] == sorted(lost.values(), reverse=True)[:4]
    assert [one.code for one in snapshot.reasons[4:]] in ([], ["S-ENQUIRIES"])
    assert ("S-ENQUIRIES" in [one.code for one in snapshot.reasons]) == (
        lost.get("ENQUIRIES", 0) > 0
    )
