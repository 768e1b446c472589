"""Capital, expected loss and provisions against published figures (domain study, section 4)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest

from server.limits.caps.capital import (
    capital_cap,
    expected_credit_loss,
    exposure_at_default,
    retail_charge,
    revolving_charge,
    risk_weight,
    stage_of,
)
from server.limits.caps.caps import capacity_cap, loss_cap, rounded
from server.limits.rules.policy import Capacity, LossCap
from shared.errors import UsageError


@pytest.mark.parametrize(
    ("default_prob", "charge"),
    [(0.01, 0.0214345101785415), (0.1, 0.104400546577197), (0.999, 0.00064614706087279)],
)
def test_t11_revolving_charge(default_prob, charge):
    assert revolving_charge(default_prob, 0.7) == pytest.approx(charge, rel=1e-11)


@pytest.mark.parametrize(
    ("default_prob", "percent"),
    [
        (0.0003, 0.9799),
        (0.001, 2.7086),
        (0.01, 17.2242),
        (0.05, 54.7446),
        (0.1, 83.8933),
        (0.2, 117.9850),
    ],
)
def test_t12_revolving_risk_weight_at_lgd_45(default_prob, percent):
    weight = 100 * risk_weight(revolving_charge(default_prob, 0.45))
    assert weight == pytest.approx(percent, abs=5e-5)


@pytest.mark.parametrize(
    ("default_prob", "percent"),
    [(0.0003, 1.8510), (0.01, 32.5345), (0.05, 103.4065), (0.2, 222.8606)],
)
def test_t13_revolving_risk_weight_at_lgd_85(default_prob, percent):
    weight = 100 * risk_weight(revolving_charge(default_prob, 0.85))
    assert weight == pytest.approx(percent, abs=6e-5)


@pytest.mark.parametrize(
    ("default_prob", "charge"), [(0.01, 0.0325494930426509), (0.1, 0.0537193288676191)]
)
def test_t14_other_retail_charge(default_prob, charge):
    assert retail_charge(default_prob, 0.4) == pytest.approx(charge, rel=1e-11)


def test_t15_nothing_is_unexpected_at_certain_default():
    for charge in (revolving_charge, retail_charge):
        near = [charge(p, 0.7) for p in (0.5, 0.9, 0.99, 0.9999, 1.0)]
        assert near == sorted(near, reverse=True)
        assert near[-1] == 0.0 < near[0]
        assert charge(0.0, 0.7) == 0.0


def test_t16_expected_loss_cap_inverts_the_exposure():
    cap = LossCap(15_000, Decimal("0.7"), Decimal("0.5"))
    limit = loss_cap(cap, Decimal("0.02"), 200_000)
    assert (limit, rounded(limit, Decimal(1), 10_000)) == (1_942_857, 1_940_000)
    loss = exposure_at_default(200_000, limit, cap.ccf) * Fraction("0.02") * Fraction("0.7")
    assert 15_000 - loss < Fraction("0.01")


def test_t17_debt_service_cap_goes_down_to_the_minor_unit():
    """The study prints 19,984.53: the nearest. A cap is never rounded up (decision 19)."""
    capacity = Capacity(Decimal("0.5"), Decimal("0.146"), 12)
    cap = capacity_cap(capacity, 800_000, 220_000)
    rate = Fraction("0.146") / 12
    exact = 180_000 * (1 - (1 + rate) ** -12) / rate
    assert cap == 1_998_452 == exact.__floor__()
    assert round(exact) == 1_998_453
    assert rounded(cap, Decimal(1), 10_000) == rounded(1_998_453, Decimal(1), 10_000) == 1_990_000


def test_t18_provision_of_twelve_months():
    assert expected_credit_loss([100_000_000], [Decimal("0.005")], Decimal("0.25")) == 125_000


def test_lifetime_provision_counts_survivors_and_discounts():
    years = [100_000, 100_000]
    rates = [Decimal("0.1"), Decimal("0.1")]
    assert expected_credit_loss(years, rates, Decimal("0.5")) == 5_000 + 4_500
    assert expected_credit_loss(years, rates, Decimal("0.5"), discount=Decimal("0.5")) == 8_000
    assert expected_credit_loss([1], [Decimal("0.001")], Decimal("0.5")) == 1  # up, never down
    with pytest.raises(UsageError, match="each year"):
        expected_credit_loss([1, 2], [Decimal(0)], Decimal(1))


@pytest.mark.parametrize(
    ("days", "defaulted", "rose", "stage"),
    [(0, False, False, 1), (30, False, False, 1), (31, False, False, 2), (0, False, True, 2)],
)
def test_stages_of_impairment(days, defaulted, rose, stage):
    assert stage_of(days, defaulted=defaulted, risk_rose=rose, backstop_days=30) == stage
    assert stage_of(days, defaulted=True, risk_rose=rose, backstop_days=30) == 3


def test_capital_cap_is_what_the_capital_carries():
    weight, ratio, ccf = Decimal("0.75"), Decimal("0.08"), Decimal("0.1")
    limit = capital_cap(6_000, weight, ratio, ccf, drawn_minor=50_000)
    assert limit == 550_000
    assert exposure_at_default(50_000, limit, ccf) * Fraction("0.06") == 6_000
    assert capital_cap(2_999, weight, ratio, ccf, drawn_minor=50_000) == 0
    with pytest.raises(UsageError, match="above 0"):
        capital_cap(1, weight, Decimal(0), ccf)


def test_charges_refuse_what_is_no_probability():
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(UsageError, match="from 0 to 1"):
            revolving_charge(bad, 0.7)
