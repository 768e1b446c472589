"""A line beside a later loan, by numbers worked out by hand; the record that customers carry."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.api.wording import texts_in
from server.limits.answers.credit_record import (
    CreditRecord,
    Month,
    build_record,
    sign_record,
    verify_record,
)
from server.limits.answers.linkage import Line, Loan, instalment, link, linkage_view
from server.limits.words.explain import Money
from shared.errors import BadPeer, DataError, UsageError
from tests.support import federation

CNY = Money("CNY", 2)
NOTHING = Decimal(0)
# 750,000 over 100 months without interest: 7,500 a month.
LOAN = Loan("mortgage", 75_000_000, NOTHING, 100, Decimal("0.55"))
# 6,000 of 24,000 drawn, over 12 months: 500 a month, or 2,000 with all of it.
LINE = Line(600_000, 2_400_000, NOTHING, 12)


def test_t23_instalment_of_the_published_loan():
    assert instalment(1_200_000, Decimal("0.24"), 12) == 113_472


def test_instalment_of_a_mortgage_is_the_annuity_rounded_up():
    # 1,000,000 x .003 / (1 - 1.003^-360) = 4,546.4536
    assert instalment(100_000_000, Decimal("0.036"), 360) == 454_646
    assert instalment(1000, NOTHING, 3) == 334
    assert instalment(0, Decimal("0.036"), 360) == 0


def test_debt_service_with_the_balance_and_with_the_whole_limit():
    result = link(LOAN, LINE, 2_000_000, 200_000)
    assert (result.loan_instalment_minor, result.drawn_instalment_minor) == (750_000, 50_000)
    assert result.full_instalment_minor == 200_000
    assert result.share_drawn == Decimal("0.5000")  # (2,000 + 500 + 7,500) / 20,000
    assert result.share_full == Decimal("0.5750")  # (2,000 + 2,000 + 7,500) / 20,000
    assert result.largest_drawn_minor == 85_000_000  # (11,000 - 2,500) x 100
    assert result.largest_full_minor == 70_000_000  # (11,000 - 4,000) x 100
    assert result.effect == "undrawn"


@pytest.mark.parametrize(
    ("most", "effect"),
    [("0.575", "fits"), ("0.574", "undrawn"), ("0.5", "undrawn"), ("0.49", "over")],
)
def test_effect_turns_exactly_at_the_share_that_is_allowed(most, effect):
    loan = replace(LOAN, most_share=Decimal(most))
    assert link(loan, LINE, 2_000_000, 200_000).effect == effect


def test_shares_are_rounded_up_so_that_no_debt_looks_smaller():
    assert link(LOAN, LINE, 3_000_001, 0).share_drawn == Decimal("0.2667")


def test_a_limit_cut_below_the_balance_leaves_nothing_undrawn():
    cut = replace(LINE, limit_minor=100_000)
    result = link(LOAN, cut, 2_000_000, 0)
    assert result.full_instalment_minor == result.drawn_instalment_minor
    assert result.share_drawn == result.share_full


def test_no_room_is_no_loan():
    assert link(LOAN, LINE, 2_000_000, 5_000_000).largest_drawn_minor == 0


rates = st.integers(0, 1000).map(lambda number: Decimal(number).scaleb(-3))


@given(rates, st.integers(1, 400), st.integers(1, 10**8), st.integers(0, 10**8))
@settings(max_examples=60)
def test_the_largest_loan_fits_and_one_more_minor_unit_a_month_does_not(rate, months, pay, owed):
    loan = Loan("car", 0, rate, months, Decimal("0.5"))
    result = link(loan, LINE, pay, owed)
    room = pay // 2 - owed - result.drawn_instalment_minor
    largest = result.largest_drawn_minor
    assert instalment(largest, rate, months) <= max(0, room)
    if room > 0:
        assert instalment(largest + 1, rate, months) > room


@given(st.integers(0, 10**7), st.integers(0, 10**7))
@settings(max_examples=40)
def test_more_drawn_or_a_larger_limit_never_makes_room(drawn, limit):
    smaller = link(LOAN, replace(LINE, drawn_minor=drawn, limit_minor=limit), 2_000_000, 0)
    larger = link(LOAN, replace(LINE, drawn_minor=drawn + 99, limit_minor=limit + 99), 2_000_000, 0)
    assert smaller.share_drawn <= larger.share_drawn
    assert smaller.largest_full_minor >= larger.largest_full_minor
    assert smaller.share_drawn <= smaller.share_full


def test_linkage_says_what_would_help_in_both_languages():
    result = link(LOAN, LINE, 2_000_000, 200_000)
    view = linkage_view(LOAN, result, texts_in("en"), CNY)
    assert (view["dti_drawn"], view["dti_full_limit"]) == ("0.5000", "0.5750")
    assert "50 %" in view["effect_text"]
    assert "57.5 %" in view["effect_text"]
    assert "a lower limit would help" in view["effect_text"]
    assert "no enquiry" in view["note"]
    assert "降低额度会有帮助" in linkage_view(LOAN, result, texts_in("zh"), CNY)["effect_text"]
    for share, effect in (("0.6", "fits"), ("0.1", "over")):
        loan = replace(LOAN, most_share=Decimal(share))
        assert (
            linkage_view(loan, link(loan, LINE, 2_000_000, 0), texts_in("en"), CNY)["effect"]
            == effect
        )


def test_a_loan_is_checked_with_all_findings():
    with pytest.raises(UsageError) as caught:
        Loan("boat", -1, Decimal("1.5"), 0, NOTHING)  # type: ignore[arg-type]
    for word in ("type:", "amount:", "rate:", "term:", "most_share:"):
        assert word in caught.value.message
    with pytest.raises(UsageError, match="income"):
        link(LOAN, LINE, 0, 0)


ISSUED, TODAY, EXPIRES = date(2026, 3, 1), date(2026, 3, 5), date(2026, 9, 1)
PEOPLE, ROSTER = federation(("bank", "bureau"))


def month(number, drawn=0, limit=1_000_000, *, due=True, on_time=True):
    return Month(date(2025, number, 1), due, on_time, drawn, limit)


def record(*months, **changes):
    named = {
        "issuer": "bank",
        "subject": "reference-1",
        "product": "revolving_consumer",
        "currency": "CNY",
        "issued": ISSUED,
        "expires": EXPIRES,
    }
    return build_record(months, **{**named, **changes})


def test_record_states_months_on_time_and_peak_use_only():
    made = record(
        month(1, 100_000), month(2, 333_333, on_time=False), month(3, 0), month(4, 9, due=False)
    )
    assert (made.months, made.months_due, made.months_on_time) == (4, 3, 2)
    assert made.on_time_rate == "0.6666"  # down
    assert made.peak_utilisation == "0.3334"  # up
    assert (made.first_month, made.last_month) == ("2025-01", "2025-04")
    words = set(json.loads(made.to_bytes()))
    assert not words & {"score", "default_prob", "income", "reasons", "limit", "pseudonym"}


def test_a_cut_does_not_make_a_careful_customer_look_exhausted():
    before = [month(number, 300_000, 1_000_000) for number in (1, 2, 3)]
    cut = [month(number, 300_000, 300_000) for number in (4, 5, 6)]
    assert record(*before, *cut).peak_utilisation == "0.3000"
    # Control: the fourth month after the cut counts against the smaller limit.
    assert record(*before, *cut, month(7, 300_000, 300_000)).peak_utilisation == "1.0000"


def test_a_record_where_nothing_was_due_claims_no_rate():
    assert record(month(1, due=False)).on_time_rate == ""
    assert record(month(1, 5, 0)).peak_utilisation == "1.0000"
    assert record(month(1, 0, 0)).peak_utilisation == "0.0000"


def test_a_signed_record_verifies_at_anybody_who_pins_the_issuer():
    made = record(month(1), month(2))
    raw = sign_record(PEOPLE["bank"], made).to_bytes()
    assert verify_record(raw, ROSTER, TODAY) == made
    assert CreditRecord.from_mapping(json.loads(made.to_bytes())) == made


@pytest.mark.parametrize("field", ["months_on_time", "peak_utilisation", "subject", "expires"])
def test_a_changed_record_does_not_verify(field):
    signed = sign_record(PEOPLE["bank"], record(month(1), month(2, on_time=False)))
    value = {"months_on_time": 2, "expires": "2036-01-01"}.get(field, "0.1234")
    forged = replace(signed, record=replace(signed.record, **{field: value}))
    with pytest.raises(BadPeer, match="not valid"):
        verify_record(forged.to_bytes(), ROSTER, TODAY)


def test_a_record_by_somebody_else_does_not_verify():
    made = record(month(1))
    signed = sign_record(PEOPLE["bank"], made)
    stranger = replace(signed, record=replace(made, issuer="nobody"))
    with pytest.raises(BadPeer, match="not in the federation"):
        verify_record(stranger.to_bytes(), ROSTER, TODAY)
    other = replace(signed, public_key=PEOPLE["bureau"].public_key)
    with pytest.raises(BadPeer, match="not the one pinned"):
        verify_record(other.to_bytes(), ROSTER, TODAY)
    with pytest.raises(DataError, match="issuer"):
        sign_record(PEOPLE["bureau"], made)


def test_a_signature_for_another_purpose_is_worthless():
    made = record(month(1))
    signed = sign_record(PEOPLE["bank"], made)
    reused = replace(signed, signature=PEOPLE["bank"].sign("release", made.to_bytes()))
    with pytest.raises(BadPeer, match="not valid"):
        verify_record(reused.to_bytes(), ROSTER, TODAY)


def test_a_record_is_out_of_date_from_its_last_day_on_and_not_before_its_first():
    raw = sign_record(PEOPLE["bank"], record(month(1))).to_bytes()
    for day in (EXPIRES, date(2026, 2, 28)):
        with pytest.raises(BadPeer, match="holds from"):
            verify_record(raw, ROSTER, day)
    assert verify_record(raw, ROSTER, ISSUED)


def test_only_the_canonical_form_is_read():
    raw = sign_record(PEOPLE["bank"], record(month(1))).to_bytes()
    value = json.loads(raw)
    spaced = json.dumps(value, sort_keys=True).encode()
    with pytest.raises(BadPeer, match="canonical"):
        verify_record(spaced, ROSTER, TODAY)
    for broken in (b"", b"{}", b"[]", raw[:-1], raw + b" ", b"\xff", b"[" * 4000, b"x" * 5000):
        with pytest.raises(BadPeer):
            verify_record(broken, ROSTER, TODAY)
    value["record"]["months"] = True
    with pytest.raises(BadPeer, match="malformed"):
        verify_record(json.dumps(value).encode(), ROSTER, TODAY)


def test_months_without_a_gap_and_amounts_are_checked_at_once():
    with pytest.raises(DataError) as caught:
        record(month(1, -1), month(3), expires=ISSUED)
    assert len(caught.value.findings) == 3
    with pytest.raises(DataError, match="months: must be 1"):
        record()
