"""Invariants of money: proofs never hurt, shares add up, risk never pays, caps hold exactly."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from server.limits.caps.bureau import BureauView, Overdue, hidden_from
from server.limits.caps.capital import (
    capital_cap,
    exposure_at_default,
    retail_charge,
    revolving_charge,
)
from server.limits.caps.caps import CAPS, Inputs, all_caps
from server.limits.caps.decide import CAP_REASONS, decide
from server.limits.caps.evidence import KINDS, Evidence, assess, parse_evidence_rules
from server.limits.caps.snapshot import Rating, Snapshot
from server.limits.portfolio.budget import Budget
from server.limits.portfolio.joint import (
    OWN,
    Partner,
    PartnerDecision,
    capacity,
    fund,
    least_own,
    repay,
    room,
    split,
    terms_on,
)
from server.limits.portfolio.portfolio import allocate
from server.limits.portfolio.scaling import scale_down
from server.limits.portfolio.segments import Segment
from server.limits.rules.catalogue import parse_catalogue
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.limits.rules.prices import Price
from server.limits.rules.pricing import all_in, equal_instalments, flat_instalments, within
from server.limits.rules.products import for_product
from server.policies import embedded
from shared.errors import UsageError
from tests.depth import depth

DAY = date(2026, 3, 1)
REFERENCE = parse_policy(*embedded("reference"))
CATALOGUE = parse_catalogue(*embedded("products"))
RULES = parse_evidence_rules(*embedded("evidence"), REFERENCE.haircuts)
PACKS = [parse_pack(*embedded(name)) for name in ("pack_cn", "pack_cn_draft_2020", "pack_eu")]
TERMS = terms_on(PACKS[0], DAY)
POLICIES = [REFERENCE, *(for_product(REFERENCE, CATALOGUE, name) for name in CATALOGUE.products)]

money = st.integers(0, 10**8)
days = st.integers(-400, 400).map(lambda n: DAY + timedelta(days=n))


@st.composite
def ratings(draw):
    grade = draw(st.sampled_from("ABCDE"))
    return Rating(0, Decimal(draw(st.integers(1, 999_999))).scaleb(-6), 600, grade)


@st.composite
def proofs(draw, whole=False):
    kind = draw(st.sampled_from(["income_flow"] if whole else KINDS))
    issued = draw(days)
    return Evidence(
        id=draw(st.uuids().map(str)),
        kind=kind,
        value_minor=draw(money),
        source=draw(st.sampled_from(sorted(RULES.kinds[kind].haircuts))),
        issued=issued,
        expires=issued + timedelta(days=draw(st.integers(1, 400))),
        subject=draw(st.sampled_from(["", "one", "two"])),
        whole=whole,
    )


views = st.builds(BureauView, days, st.integers(0, 10**6), st.integers(0, 3 * 10**7))
held = st.lists(st.one_of(proofs(), proofs(whole=True)), max_size=4)


def caps_of(policy, pack, rating, evidence, bureau):
    inputs = assess(evidence, bureau, RULES, DAY).into(Inputs(DAY))
    return all_caps(policy, pack, rating, inputs)


def limit_of(policy, pack, rating, evidence, bureau):
    inputs = assess(evidence, bureau, RULES, DAY).into(Inputs(DAY))
    snapshot = Snapshot(rating, rating, {}, {}, ())
    return decide(policy, pack, snapshot, inputs).limit_minor


situations = st.tuples(st.sampled_from(POLICIES), st.sampled_from(PACKS), ratings(), held)


@given(situations, st.none() | views, proofs())
@settings(max_examples=depth(60, 120), deadline=None)
def test_i10_a_proof_never_hurts(situation, bureau, proof):
    """I10: whatever is proven, of whatever worth, in date or not."""
    policy, pack, rating, evidence = situation
    before = caps_of(policy, pack, rating, evidence, bureau)
    after = caps_of(policy, pack, rating, [*evidence, proof], bureau)
    assert before.keys() == after.keys()
    assert all(after[name] >= before[name] for name in before)
    more = limit_of(policy, pack, rating, [*evidence, proof], bureau)
    assert more >= limit_of(policy, pack, rating, evidence, bureau)


@given(situations, views)
@settings(max_examples=depth(40, 80), deadline=None)
def test_i10_what_a_bureau_tells_of_debts_never_helps(situation, view):
    """I10, the other half."""
    policy, pack, rating, evidence = situation
    without = limit_of(policy, pack, rating, evidence, None)
    with_debts = limit_of(policy, pack, rating, evidence, view)
    more = replace(view, obligations_minor=view.obligations_minor + 10_000)
    assert limit_of(policy, pack, rating, evidence, more) <= with_debts <= without


@given(situations, st.none() | views, proofs(whole=True))
@settings(max_examples=depth(40, 80), deadline=None)
def test_a_statement_of_the_whole_never_helps_more_than_a_proof(situation, bureau, proof):
    policy, pack, rating, evidence = situation
    part = limit_of(policy, pack, rating, [*evidence, replace(proof, whole=False)], bureau)
    assert limit_of(policy, pack, rating, [*evidence, proof], bureau) <= part


@given(situations, st.none() | views, st.integers(0, 10**8), st.integers(0, 10**8))
@settings(max_examples=depth(40, 80), deadline=None)
def test_i8_more_income_never_gets_less(situation, bureau, income, more):
    """I8, of a statement of the whole as well."""
    policy, pack, rating, evidence = situation
    for whole in (False, True):
        low, high = (
            limit_of(
                policy,
                pack,
                rating,
                [*evidence, replace(_salary(value), whole=whole)],
                bureau,
            )
            for value in (income, income + more)
        )
        assert low <= high


def _salary(value):
    return Evidence("salary", "income_flow", value, "bank", DAY, DAY + timedelta(days=9))


@given(situations, st.none() | views, st.integers(0, 10**6))
@settings(max_examples=depth(40, 80), deadline=None)
def test_i7_more_risk_never_gets_more_whatever_is_proven(situation, bureau, ppm):
    """I7 over every product, with what is presumed of grades."""
    policy, pack, rating, evidence = situation
    chances = sorted([rating.default_prob, Decimal(max(1, min(ppm, 999_999))).scaleb(-6)])
    for safer, riskier in [*pairwise("ABCDE"), ("A", "A")]:
        better = replace(rating, default_prob=chances[0], grade=safer)
        worse = replace(rating, default_prob=chances[1], grade=riskier)
        high = limit_of(policy, pack, better, evidence, bureau)
        assert limit_of(policy, pack, worse, evidence, bureau) <= high


@given(situations, money, money, money)
@settings(max_examples=depth(30, 60), deadline=None)
def test_every_named_cap_binds_by_its_own_reason(situation, own, capital, partner):
    policy, pack, rating, _ = situation
    inputs = Inputs(DAY, own_minor=own, capital_minor=capital, partner_minor=partner)
    decision = decide(policy, pack, Snapshot(rating, rating, {}, {}, ()), inputs)
    assert decision.limit_minor <= min(own, capital, partner)
    assert set(decision.caps) <= set(CAPS)
    codes = {CAP_REASONS[name][0] for name in decision.binding}
    assert {reason.code for reason in decision.reasons} <= codes


# --- pricing

rates = st.integers(0, 3600).map(lambda n: Decimal(n).scaleb(-4))


@given(st.integers(1, 10**9), st.integers(1, 84), rates)
@settings(max_examples=depth(40, 80), deadline=None)
def test_no_customer_pays_more_than_the_rate_agreed(amount, months, rate):
    plan = equal_instalments(amount, months, Price("A", rate))
    assert within(plan, rate)
    assert sum(plan.instalments_minor) == amount + plan.items_minor["interest"]
    assert all(type(one) is int and one >= 0 for one in plan.instalments_minor)


@given(st.integers(100, 10**9), st.integers(1, 60), rates, st.integers(0, 100))
@settings(max_examples=depth(40, 80), deadline=None)
def test_the_cost_shown_and_the_cap_agree(amount, months, monthly, fee):
    plan = flat_instalments(amount, months, monthly / 12, guarantee_monthly=Decimal(fee).scaleb(-4))
    apr, ear = all_in(plan)
    assert ear >= apr
    near = Decimal("0.000001")
    assert within(plan, apr + near)
    assert apr <= near or not within(plan, apr - near)
    assert sum(plan.instalments_minor) == amount + sum(plan.items_minor.values())


@given(st.integers(100, 10**8), st.integers(1, 36), st.lists(rates, min_size=5, max_size=5))
@settings(max_examples=depth(30, 40), deadline=None)
def test_i7_a_riskier_grade_never_pays_less(amount, months, drawn):
    """I7: rising rates give rising totals."""
    totals = [
        sum(equal_instalments(amount, months, Price("A", rate)).instalments_minor)
        for rate in sorted(drawn)
    ]
    # Interest goes down by less than a minor unit a month.
    assert all(low - high <= months for low, high in pairwise(totals))


# --- joint lending


@given(
    st.integers(0, 10**12),
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**6), min_size=1),
)
@settings(max_examples=depth(50, 100), deadline=None)
def test_i15_parts_add_up_and_none_is_a_unit_away_from_its_own(amount, weights):
    """I15."""
    total = sum(weights.values())
    if not total:
        weights, total = {"a": 1}, 1
    parts = split(amount, weights)
    assert sum(parts.values()) == amount
    for name, part in parts.items():
        assert abs(part - Fraction(amount * weights[name], total)) < 1


@st.composite
def consortia(draw):
    partners = []
    for name in draw(st.lists(st.sampled_from(["p", "q", "r"]), unique=True)):
        one, two, three, four = draw(st.tuples(*[st.integers(0, 10**7)] * 4))
        partners.append(Partner(name, 4 * one, 2 * two, three % (one + 1), four % (two + 1)))
    decisions = [
        PartnerDecision(one.id, draw(st.booleans()), "own/1", "", DAY)
        for one in partners
        if draw(st.booleans())
    ]
    return partners, decisions


@given(st.integers(1, 10**8), st.integers(0, 10**8), consortia())
@settings(max_examples=depth(75, 150), deadline=None)
def test_i3_i15_joint_draws_keep_every_cap(amount, own, consortium):
    """I3: own share, room of each partner, own funds; I15: the sum."""
    partners, decisions = consortium
    funding = fund(amount, own, partners, decisions, TERMS)
    rooms = {one.id: room(one, TERMS) for one in partners}
    accepted = {one.partner for one in decisions if one.accepted}
    most = capacity(own, [rooms[name] for name in accepted], TERMS.own_share)
    assert bool(funding.shares_minor) == (amount <= most)
    if not funding.shares_minor:
        assert [one.code for one in funding.reasons] == ["C-PARTNER"]
        return
    assert sum(funding.shares_minor.values()) == amount
    assert least_own(amount, TERMS.own_share) <= funding.shares_minor[OWN] <= own
    for name, share in funding.shares_minor.items():
        assert name == OWN or (name in accepted and 0 < share <= rooms[name])


@given(
    st.dictionaries(st.sampled_from(["p", "q", "r", OWN]), st.integers(0, 10**6), min_size=1),
    st.lists(st.integers(0, 10**6), max_size=12),
)
@settings(max_examples=depth(75, 150), deadline=None)
def test_i15_repayments_add_up_and_leave_nothing_at_payoff(owed, payments):
    """I15: no share is repaid more than it is owed, the own share is kept, no drift at the end."""
    total = sum(owed.values())
    own_kept = owed.get(OWN, 0) >= least_own(total, TERMS.own_share)
    for payment in [*payments, total]:
        amount = min(payment, sum(owed.values()))
        paid = repay(amount, owed, TERMS.own_share)
        assert sum(paid.values()) == amount
        assert all(0 <= paid[name] <= owed[name] for name in owed)
        owed = {name: owed[name] - paid[name] for name in owed}
        if own_kept:
            assert owed.get(OWN, 0) >= least_own(sum(owed.values()), TERMS.own_share)
    assert not any(owed.values())


# --- the portfolio

unit = st.floats(0.01, 0.99, allow_subnormal=False)


@st.composite
def segments(draw):
    result = []
    for ladder in ("x", "y"):
        for number in range(draw(st.integers(1, 3))):
            floor = draw(st.integers(0, 1000))
            result.append(
                Segment(
                    name=f"{ladder}{number}",
                    ladder=ladder,
                    customers=draw(st.integers(1, 500)),
                    floor_minor=0,
                    cap_minor=10_000 * (floor + 1),
                    default_prob=draw(st.sampled_from([0.01, 0.02, 0.05, 0.1, 0.3])),
                    lgd=draw(unit),
                    utilisation=draw(unit),
                    ccf=draw(unit),
                    revenue=draw(unit),
                    funding=0.03,
                    micro=ladder == "y",
                )
            )
    return tuple(result)


budgets = st.builds(
    Budget,
    commitments_minor=st.integers(0, 10**10),
    expected_loss_minor=st.none() | st.integers(0, 10**8),
    capital_minor=st.none() | st.integers(0, 10**9),
    inclusion_share=st.sampled_from([Decimal(0), Decimal("0.1")]),
)


def used(found, limits, rate):
    return sum(one.customers * limits[one.name] * rate(one) for one in found)


@given(segments(), budgets, st.lists(st.floats(0, 1), min_size=6, max_size=6))
@settings(max_examples=depth(40, 80), deadline=None)
def test_i3_i7_allocation_keeps_every_bound_and_the_order_of_risk(found, budget, guesses):
    """I3, I7; and no drawn allocation that meets the bounds brings more."""
    result = allocate(found, budget)
    limits = result.limits_minor
    assert used(found, limits, lambda one: 1) <= budget.commitments_minor
    if budget.expected_loss_minor is not None:
        loss = used(found, limits, lambda one: one.loss_rate)
        assert loss <= budget.expected_loss_minor * (1 + 1e-8) + 1e-6
    for one in found:
        assert 0 <= limits[one.name] <= one.cap_minor
        for other in found:
            if one.ladder == other.ladder and one.default_prob < other.default_prob:
                assert limits[one.name] >= limits[other.name]
    other = {one.name: g * one.cap_minor for one, g in zip(found, guesses, strict=False)}
    if _feasible(found, budget, other):
        gained = used(found, other, lambda one: one.margin)
        assert gained <= result.objective_minor + 1e-6 * max(1.0, abs(gained))


def _feasible(found, budget, limits):
    total = used(found, limits, lambda one: 1)
    bounds = [total <= budget.commitments_minor]
    if budget.expected_loss_minor is not None:
        bounds.append(used(found, limits, lambda one: one.loss_rate) <= budget.expected_loss_minor)
    if budget.capital_minor is not None:
        weight = float(budget.risk_weight * budget.capital_ratio)
        exposure = used(found, limits, lambda one: one.exposure_rate)
        bounds.append(exposure * weight <= budget.capital_minor)
    micro = used([one for one in found if one.micro], limits, lambda one: 1)
    bounds.append(micro >= float(budget.inclusion_share) * total)
    bounds += [
        limits[safe.name] >= limits[risky.name]
        for safe in found
        for risky in found
        if safe.ladder == risky.ladder and safe.default_prob < risky.default_prob
    ]
    return all(bounds)


@given(segments(), budgets, st.data())
@settings(max_examples=depth(30, 60), deadline=None)
def test_i3_i7_scaling_never_raises_and_never_turns_customers_round(found, budget, data):
    """I7 between any two customers, I3 for all of them together."""
    result = allocate(found, budget)
    order = sorted(found, key=lambda one: (one.ladder, one.default_prob))
    people, before = {}, {}
    for number in range(data.draw(st.integers(1, 12))):
        one = data.draw(st.sampled_from(order))
        people[f"{number}"] = (one, data.draw(st.integers(0, 10**7)))
    for ladder in ("x", "y"):  # a policy gives the riskier no more: drawn limits are put in order
        members = [(who, one) for who, (one, _) in people.items() if one.ladder == ladder]
        limits = sorted((people[who][1] for who, _ in members), reverse=True)
        ranked = sorted(members, key=lambda pair: pair[1].default_prob)
        before |= {who: (one.name, limit) for (who, one), limit in zip(ranked, limits, strict=True)}
    after = scale_down(found, result, before, 100)
    for who, limit in after.limits_minor.items():
        assert 0 <= limit <= before[who][1]
        for other, less in after.limits_minor.items():
            mine, theirs = people[who][0], people[other][0]
            if mine.ladder == theirs.ladder and mine.default_prob < theirs.default_prob:
                assert limit >= less
    assert after.reserve_minor >= 0
    assert sum(after.limits_minor.values()) + after.reserve_minor <= budget.commitments_minor


# --- capital and the bureau

shares = st.integers(1, 1000).map(lambda n: Decimal(n).scaleb(-3))


@given(st.integers(0, 10**9), shares, shares, shares, st.integers(0, 10**9))
@settings(max_examples=depth(40, 80), deadline=None)
def test_capital_cap_is_exact_to_the_minor_unit(spare, weight, ratio, ccf, drawn):
    limit = capital_cap(spare, weight, ratio, ccf, drawn)

    def tied(at):
        return exposure_at_default(drawn, at, ccf) * Fraction(weight) * Fraction(ratio)

    if limit:
        assert tied(limit) <= spare < tied(limit + 1)
    else:
        assert tied(drawn) > spare or (drawn == 0 and tied(1) > spare)


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=depth(40, 80), deadline=None)
def test_charges_are_never_negative_and_never_above_the_loss(default_prob, lgd):
    for charge in (revolving_charge, retail_charge):
        assert 0.0 <= charge(default_prob, lgd) <= lgd


@given(st.integers(1, 2 * 10**6), days, st.none() | st.integers(0, 800))
@settings(max_examples=depth(40, 80), deadline=None)
def test_nothing_is_forgotten_before_it_is_repaid(amount, arose, later):
    record = Overdue(amount, arose, None if later is None else arose + timedelta(days=later))
    gone = hidden_from(record, PACKS[0].credit_repair)
    if gone is not None:
        assert record.repaid < gone
        assert amount <= 1_000_000


@given(st.integers(-5, 5), st.integers(-5, 5))
@settings(deadline=None)
def test_split_never_invents_money(amount, weight):
    try:
        parts = split(amount, {"a": weight, "b": 1})
    except UsageError:
        assert amount < 0 or weight < 0
    else:
        assert sum(parts.values()) == amount
