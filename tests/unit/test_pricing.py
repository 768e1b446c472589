"""What a draw costs: the all-in cost, its cap, the sheet; products, purposes and the matcher."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from server.limits.caps.caps import Inputs, all_caps
from server.limits.caps.snapshot import Rating
from server.limits.rules.catalogue import check_purposes, parse_catalogue
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.limits.rules.prices import Price
from server.limits.rules.pricing import (
    CostCap,
    all_in,
    check_prices,
    cost_cap,
    equal_instalments,
    flat_instalments,
    sheet,
    within,
)
from server.limits.rules.products import Need, for_product, match, purpose_of_draw
from server.policies import embedded
from shared.errors import ConfigError, NotFound, UsageError

DAY = date(2026, 11, 22)
TEXT, SOURCE = embedded("products")
CATALOGUE = parse_catalogue(TEXT, SOURCE)
POLICY = parse_policy(*embedded("reference"))
CN, EU = parse_pack(*embedded("pack_cn")), parse_pack(*embedded("pack_eu"))
TWELVE = 1_200_000


def findings(*pairs):
    text = TEXT
    for old, new in pairs:
        assert old in text, old
        text = text.replace(old, new, 1)
    with pytest.raises(ConfigError) as caught:
        parse_catalogue(text, "products.toml")
    return caught.value.findings


def test_t23_a_flat_rate_of_7_2_percent_costs_13():
    plan = flat_instalments(TWELVE, 12, Decimal("0.006"))
    assert set(plan.instalments_minor) == {107_200}
    assert all_in(plan) == (Decimal("0.130342"), Decimal("0.138418"))
    shown = sheet(plan, cost_cap(CN, DAY))
    assert (shown.nominal_annual, shown.within_cap) == (Decimal("0.072"), True)


def test_t23_with_a_guarantee_fee_it_costs_23_5_and_passes():
    fee = Decimal("0.005")
    plan = flat_instalments(TWELVE, 12, Decimal("0.006"), guarantee_monthly=fee)
    shown = sheet(plan, cost_cap(CN, DAY))
    assert shown.apr == Decimal("0.235322")
    assert shown.within_cap
    assert dict(plan.items_minor) == {"interest": 86_400, "guarantee": 72_000, "upfront": 0}
    assert shown.total_minor == 158_400
    dearer = flat_instalments(TWELVE, 12, Decimal("0.006"), guarantee_monthly=Decimal("0.0053"))
    assert not sheet(dearer, cost_cap(CN, DAY)).within_cap


def test_t23_the_payment_at_24_percent():
    plan = equal_instalments(TWELVE, 12, Price("E", Decimal("0.24")))
    assert plan.instalments_minor[:11] == (113_472,) * 11
    assert plan.instalments_minor[11] < 113_472
    assert within(plan, Decimal("0.24"))
    assert not within(plan, Decimal("0.2399"))


def test_a_loan_without_charges_costs_nothing():
    plan = equal_instalments(1_000, 3, Price("A", Decimal(0)))
    assert plan.instalments_minor == (333, 333, 334)
    assert all_in(plan) == (0, 0)
    assert within(plan, Decimal(0))


def test_a_fee_kept_back_raises_the_cost():
    price = Price("A", Decimal("0.12"))
    plain = equal_instalments(TWELVE, 12, price)
    kept = equal_instalments(TWELVE, 12, price, upfront_minor=60_000)
    assert Decimal("0.11999") < all_in(plain)[0] <= Decimal("0.12")  # cents of interest go down
    assert all_in(kept)[0] > Decimal("0.2")
    assert kept.received_minor == TWELVE - 60_000
    assert sheet(kept, None).total_minor == sheet(plain, None).total_minor + 60_000


def test_all_in_cost_of_an_absurd_loan_is_still_found():
    plan = flat_instalments(100, 1, Decimal(1), guarantee_monthly=Decimal(1))
    assert all_in(plan)[0] == Decimal(24)  # 200 % in a month


@pytest.mark.parametrize(("amount", "months", "upfront"), [(0, 1, 0), (1, 0, 0), (5, 1, 5)])
def test_a_draw_out_of_range_is_refused(amount, months, upfront):
    with pytest.raises(UsageError, match="above 0"):
        equal_instalments(amount, months, Price("A", Decimal(0)), upfront_minor=upfront)


def test_the_cap_is_the_lowest_of_those_in_force():
    assert cost_cap(CN, date(2025, 9, 30)) is None
    assert cost_cap(CN, DAY).rate == Decimal("0.24")
    assert cost_cap(EU, DAY) is None
    later = date(2028, 1, 1)
    assert cost_cap(CN, later).rate == Decimal("0.24")  # a bank: no multiple of the prime rate
    micro = cost_cap(CN, later, lender="micro_lender", prime_rate=Decimal("0.03"))
    assert micro.rate == Decimal("0.12")
    assert "4 x" in micro.rule
    assert cost_cap(CN, later, lender="micro_lender", prime_rate=Decimal("0.07")).rate == Decimal(
        "0.24"
    )


def test_without_the_prime_rate_nothing_is_priced_that_needs_it():
    with pytest.raises(ConfigError, match="hand in the prime rate"):
        cost_cap(CN, date(2028, 1, 1), lender="micro_lender")


def test_no_price_of_the_catalogue_breaks_the_cap():
    cap = cost_cap(CN, DAY)
    for product in CATALOGUE.products.values():
        check_prices(SOURCE, product.prices, product.months, cap)


def test_a_price_above_the_cap_is_named_with_its_term():
    prices = {"E": Price("E", Decimal("0.24"), Decimal("0.001"))}
    with pytest.raises(ConfigError) as caught:
        check_prices("products.toml", prices, (3, 12), CostCap(Decimal("0.24"), "rule", "s"))
    assert len(caught.value.findings) == 2
    assert "prices.E: over 3 months" in caught.value.findings[0]


def test_sheet_must_be_read_where_the_pack_says():
    plan = equal_instalments(TWELVE, 12, Price("A", Decimal("0.1")))
    duty = CN.duty("cost_sheet", DAY)
    assert sheet(plan, None, forced_read=duty is not None).forced_read
    assert not sheet(
        plan, None, forced_read=CN.duty("cost_sheet", date(2026, 7, 1)) is not None
    ).forced_read


def test_a_safer_grade_never_pays_more_and_never_gets_less():
    found = findings(
        ('{ grade = "A", annual_rate = 0.0720 }', '{ grade = "A", annual_rate = 0.2 }'),
        ("limit_minor = 2_500_000", "limit_minor = 9_500_000"),
    )
    assert any("A (safer) must not pay more than B" in one for one in found)
    assert any("A (safer) must not get less than B" in one for one in found)
    assert all(one.startswith("products[1].") for one in found)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('borrower = "consumer"', 'borrower = "human"', "must be one of consumer, business"),
        ('purposes = ["daily", "emergency"]', 'purposes = ["fun"]', "must be some of daily"),
        ("months = [3, 6, 12]", "months = [0]", "from 1 to 120"),
        ("floor_minor = 50_000", "floor_minor = 50_000_000", "floor_minor <= cap_minor"),
        ('{ grade = "E", annual_rate = 0.2400 },\n', "", "must hold the grades, in order"),
        ('id = "credit_loan_plus"', 'id = "revolving_consumer"', "ids must differ"),
        (", presumed_minor = 1_400_000", "", "must stand in all rows or none"),
        ("days = 30", "days = 0", "days: must be a whole number from 1"),
    ],
)
def test_lint_of_products(old, new, finding):
    assert any(finding in one for one in findings((old, new)))


def test_three_products_differ_in_whom_they_are_for():
    assert list(CATALOGUE.products) == ["revolving_consumer", "credit_loan_plus", "micro_business"]
    for product in CATALOGUE.products.values():
        assert "investment" not in product.purposes
        assert product.cap_minor % product.quantum_minor == 0
    with pytest.raises(NotFound, match="no product 'car'; there are revolving_consumer"):
        CATALOGUE.product("car")


def test_the_reference_policy_is_the_everyday_product():
    fitted = for_product(POLICY, CATALOGUE, "revolving_consumer")
    assert fitted == replace(POLICY, id=fitted.id, version=fitted.version)


def test_the_same_decision_serves_every_product():
    rating = Rating(70, Decimal("0.02"), 664, "B")
    caps = {
        name: all_caps(for_product(POLICY, CATALOGUE, name), CN, rating, Inputs(DAY))
        for name in CATALOGUE.products
    }
    assert caps["micro_business"]["jurisdiction"] == 1_000_000_000
    assert caps["credit_loan_plus"]["jurisdiction"] == 30_000_000
    assert caps["micro_business"]["grade"] > caps["revolving_consumer"]["grade"]


def test_a_catalogue_that_does_not_fit_the_policy_is_refused():
    with pytest.raises(ConfigError) as caught:
        for_product(replace(POLICY, currency="EUR", grades={}), CATALOGUE, "micro_business")
    assert len(caught.value.findings) == 2


def test_fit_names_what_does_not_fit_and_what_would():
    everyday = Need(300_000, "daily")
    assert match(CATALOGUE, "revolving_consumer", everyday).misfits == ()
    shop = Need(300_000, "business", borrower="business")
    fit = match(CATALOGUE, "revolving_consumer", shop)
    assert (fit.misfits, fit.suggested) == (("borrower", "purpose"), "micro_business")
    assert [(one.code, one.family) for one in fit.reasons] == [("P-FIT", "outside")]
    large = Need(15_000_000, "daily")
    assert match(CATALOGUE, "revolving_consumer", large).suggested is None
    earner = replace(large, proven_income_minor=2_000_000)
    assert match(CATALOGUE, "revolving_consumer", earner).suggested == "credit_loan_plus"
    tiny = match(CATALOGUE, "credit_loan_plus", Need(50_000, "daily", "consumer", 2_000_000))
    assert (tiny.misfits, tiny.suggested) == (("too_little",), "revolving_consumer")


def test_purposes_law_first_then_product_then_the_temporary_line():
    product = CATALOGUE.product("revolving_consumer")
    answers = {
        purpose: purpose_of_draw(product, CN, purpose, DAY).answer
        for purpose in ("daily", "emergency", "business", "investment")
    }
    assert answers == {
        "daily": "allowed",
        "emergency": "temporary",
        "business": "refused",
        "investment": "forbidden",
    }
    forbidden = purpose_of_draw(product, CN, "investment", DAY)
    assert forbidden.rule
    assert forbidden.reasons[0].code == "B10"
    assert purpose_of_draw(product, EU, "investment", DAY).answer == "refused"


def test_temporary_line_is_a_share_within_bounds_and_whole_quanta():
    temporary = CATALOGUE.product("revolving_consumer").temporary
    assert temporary.amount(1_940_000, 10_000) == 200_000
    assert temporary.amount(555_000, 10_000) == 110_000
    assert temporary.amount(0, 10_000) == 0
    assert temporary.days == 30


def test_a_limit_below_the_floor_opens_no_line():
    product = CATALOGUE.product("revolving_consumer")
    assert [product.opens(limit) for limit in (0, 49_999, 50_000)] == [False, False, True]
    assert not replace(product, floor_minor=0).opens(0)


def test_no_product_is_for_what_the_law_forbids():
    check_purposes(CATALOGUE, CN, DAY)
    strict = replace(CN, forbidden_purposes=(replace(CN.forbidden_purposes[0], name="daily"),))
    with pytest.raises(ConfigError, match=r"revolving_consumer.purposes: must not hold 'daily'"):
        check_purposes(CATALOGUE, strict, DAY)
