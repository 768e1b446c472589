"""Holds and draws: the order of the checks, the reason of each refusal, and who lends."""

from __future__ import annotations

import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.accounts import customers
from server.accounts.costing import schedule
from server.accounts.desk import RuleText
from server.limits.rules.prices import Price
from server.limits.rules.pricing import equal_instalments
from server.policies import embedded
from server.store import changes, decisions, draws, funds, holds
from shared.errors import ConfideError, Conflict, DrawRefused, EnvironmentFault, NotFound
from tests.accounts.kit import GOOD, Office
from tests.accounts.till import Till, products
from tests.service.kit import name_of


def refused(act, *, check, reason=""):
    """Refuse by a check and a reason, and return the refusal."""
    with pytest.raises(DrawRefused) as caught:
        act()
    assert (caught.value.check, caught.value.reason) == (check, reason)
    return caught.value


def stopped(act, check):
    with pytest.raises(Conflict) as caught:
        act()
    assert caught.value.check == check
    return caught.value


def with_rules(till, **texts):
    """Return the same till under other rules."""
    return Till(Office(till.scene, till.store, **texts))


# a draw in one step


def test_a_draw_is_priced_scheduled_and_lent_by_the_lender_alone_without_partners(tills):
    line = tills.line()
    made = tills.draw(line, 120_000, months=12)
    price, schedule = made.terms["price"], made.terms["schedule"]
    assert [(one.partner_id, one.amount_minor) for one in made.shares] == [("own", 120_000)]
    assert sum(one["principal_minor"] for one in schedule) == 120_000
    assert sum(one["cost_minor"] for one in schedule) == price["total_minor"]
    paid = [one["principal_minor"] + one["cost_minor"] for one in schedule]
    assert paid == price["instalments_minor"]
    assert price["grade"] == made.terms["score"]["grade"] == "A"
    assert Decimal(price["apr"]) <= Decimal(price["annual_rate"]) <= Decimal(price["cap"]["rate"])
    assert (made.model_ref, made.terms["pack"]) == ("scorecard-0001", "cn/2026.11")
    assert tills.get(line).totals.outstanding_minor == 120_000


def test_the_sheet_must_be_read_once_the_duty_is_in_force(till):
    line = till.line()
    assert not till.draw(line, 20_000).terms["price"]["forced_read"]
    till.repay(line, 20_000)
    till.office.now = datetime(2026, 8, 1, tzinfo=UTC)
    assert till.draw(line, 20_000).terms["price"]["forced_read"]


@pytest.mark.parametrize(
    ("drawn", "due"),
    [
        # 16:30 in London on the 30th is the 31st in Shanghai; the 31st comes back after February
        (datetime(2027, 1, 30, 16, 30, tzinfo=UTC), ["2027-02-28", "2027-03-31", "2027-04-30"]),
        (datetime(2027, 1, 30, 15, 30, tzinfo=UTC), ["2027-02-28", "2027-03-30", "2027-04-30"]),
        (datetime(2026, 8, 30, 16, 0, tzinfo=UTC), ["2026-09-30", "2026-10-31", "2026-11-30"]),
    ],
)
def test_due_dates_are_local_and_keep_to_the_end_of_months(till, drawn, due):
    line = till.line()
    till.office.now = drawn
    made = till.draw(line, 30_000)
    assert [one["due_on"] for one in made.terms["schedule"]] == due


def test_due_dates_of_a_leap_year():
    price = Price("A", Decimal("0.072"))
    plan = equal_instalments(30_000, 3, price)
    days = {
        date(2028, 1, 31): ["2028-02-29", "2028-03-31", "2028-04-30"],
        date(2028, 2, 29): ["2028-03-29", "2028-04-29", "2028-05-29"],
        date(2027, 11, 30): ["2027-12-30", "2028-01-30", "2028-02-29"],
    }
    for drawn, due in days.items():
        assert [one["due_on"] for one in schedule(plan, price, drawn)] == due


@given(
    st.integers(1, 10**12),
    st.integers(1, 120),
    st.decimals(0, "0.5", places=4),
    st.decimals(0, "0.02", places=4),
)
@settings(max_examples=60, deadline=None)
def test_a_schedule_is_the_plan_split_into_principal_and_cost(amount, months, rate, fee):
    price = Price("A", rate, fee)
    plan = equal_instalments(amount, months, price)
    rows = schedule(plan, price, date(2026, 1, 31))
    assert sum(one["principal_minor"] for one in rows) == amount
    assert min(one["principal_minor"] for one in rows) >= 0
    paid = tuple(one["principal_minor"] + one["cost_minor"] for one in rows)
    assert paid == plan.instalments_minor
    assert sum(one["cost_minor"] for one in rows) == sum(plan.items_minor.values())


def _remember_a_score(till, line, score):
    """Let a line's last review have seen a score."""
    stored = till.get(line)
    change = changes.LineChange(
        line_id=line,
        version=stored.version,
        state=stored.state,
        may_draw=stored.may_draw,
        limit_minor=stored.totals.limit_minor,
        domain={**stored.domain, "score": score},
        policy_ref=stored.policy_ref,
        model_ref=stored.model_ref,
        ref="test",
    )
    with till.store.write() as db:
        changes.change_line(db, change, till.now)


def test_the_same_draw_again_finds_the_drawdown_whatever_has_become_of_the_line(tills):
    line = tills.line()
    made = tills.draw(line, 50_000, id_="d")
    tills.decide(line, "freeze_fraud")
    before = tills.everything()
    assert tills.draw(line, 50_000, id_="d") == made
    assert tills.everything() == before
    stopped(lambda: tills.draw(line, 50_001, id_="d"), "id")


def test_an_id_is_used_for_one_hold_or_draw(till):
    line = till.line()
    held = till.hold(line, 50_000, id_="h")
    assert till.hold(line, 50_000, id_="h") == held
    stopped(lambda: till.draw(line, 50_000, id_="h"), "id")
    stopped(lambda: till.hold(line, 50_001, id_="h"), "id")


# the order of the checks, and their reasons


def test_a_frozen_line_is_refused_by_the_reason_of_the_freeze(till):
    line = till.line()
    till.decide(line, "freeze_fraud")
    refused(lambda: till.draw(line, 20_000), check="state", reason="P-FRAUD")
    refused(lambda: till.draw(line, 20_000, purpose="investment"), check="state", reason="P-FRAUD")


def test_without_consent_nothing_is_drawn_and_repayment_stays_open(till):
    line = till.line()
    till.draw(line, 50_000)
    with till.store.read() as db:
        [consent] = customers.consents_of(db, GOOD)
    till.write(customers.withdraw_consent, consent.id, till.now)
    for act in (till.draw, till.hold):
        refused(lambda act=act: act(line, 20_000), check="state", reason="P-CONSENT")
    assert till.repay(line, 50_000).outstanding_minor == 0


def test_a_consent_that_has_run_out_stops_draws_on_the_next_local_day(till):
    till.consent(until=till.day)
    line = till.open(consent=False).line.id
    till.draw(line, 20_000)
    till.office.now = datetime(2026, 3, 2, 16, tzinfo=UTC)  # midnight in Shanghai
    refused(lambda: till.draw(line, 20_000), check="state", reason="P-CONSENT")


def test_the_newest_consent_that_counts_says_which_holders_may_tell(tills):
    line = tills.line()
    tills.later(seconds=1)
    tills.consent(holders=("bank", "bureau"))
    tills.later(seconds=1)
    tills.consent(holders=("bank",), purpose="credit_record")  # another purpose
    made = tills.draw(line, 20_000)
    assert made.terms["score"]["missing"] == ["ecommerce", "payments"]


def test_a_closing_line_takes_no_draws(till):
    line = till.line()
    till.draw(line, 50_000)
    till.decide(line, "close", by="customer:app")
    refused(lambda: till.draw(line, 20_000), check="state", reason="P-CLOSE")


def test_an_investment_is_refused_and_freezes_the_line_for_a_person_to_look_at(tills):
    line = tills.line()
    refusal = refused(
        lambda: tills.draw(line, 20_000, purpose="investment"), check="purpose", reason="B10"
    )
    assert "the law forbids" in str(refusal)
    stored, domain = tills.get(line), tills.domain(line)
    assert (domain.state.value, domain.frozen_for, stored.may_draw) == ("frozen", "purpose", False)
    assert stored.totals.outstanding_minor == 0
    with tills.store.read() as db:
        last = decisions.chain_of(db, line)[-1]
    assert last.purpose == "freeze_purpose"
    assert tills.history(line).forbidden == (tills.day,)
    refused(lambda: tills.draw(line, 20_000), check="state", reason="B10")
    tills.decide(line, "release")
    assert tills.history(line).forbidden == ()
    assert tills.draw(line, 20_000).amount_minor == 20_000


def test_a_hold_for_an_investment_freezes_as_well(till):
    line = till.line()
    refused(lambda: till.hold(line, 20_000, purpose="investment"), check="purpose", reason="B10")
    assert till.domain(line).frozen_for == "purpose"


def test_a_purpose_of_another_product_is_refused_and_freezes_nothing(till):
    line = till.line()
    before = till.everything()
    refused(lambda: till.draw(line, 20_000, purpose="business"), check="purpose", reason="P-FIT")
    assert till.everything() == before


def test_more_than_the_limit_is_refused_naming_what_there_is(till):
    line = till.line()
    till.draw(line, 3_000_000)
    refusal = refused(lambda: till.draw(line, 1_000_001), check="available")
    assert "1000000 minor units can be drawn" in str(refusal)
    assert till.draw(line, 1_000_000).amount_minor == 1_000_000
    assert till.view(line).available.amount_minor == 0


def test_the_purpose_is_looked_at_before_the_amount(till):
    line = till.line()
    refused(lambda: till.draw(line, 10**12, purpose="business"), check="purpose", reason="P-FIT")


def test_the_amount_is_looked_at_before_the_months(till):
    line = till.line()
    refused(lambda: till.draw(line, 10**12, months=7), check="available")
    stopped(lambda: till.draw(line, 20_000, months=7), "months")


def test_a_draw_too_small_to_handle_is_refused(till):
    assert "at least 10000" in str(stopped(lambda: till.draw(till.line(), 9_999), "amount"))


def test_velocity_bounds_what_is_drawn_and_drawn_again_within_a_local_day(tills):
    slow = ("days = 1, most_minor = 5_000_000", "days = 2, most_minor = 100_000")
    tills = with_rules(tills, **products(slow))
    line = tills.line()
    tills.draw(line, 60_000)
    tills.repay(line, 60_000)
    refused(lambda: tills.draw(line, 40_001), check="available", reason="P-VELOCITY")
    assert tills.view(line).available.binding == ("velocity",)
    held = tills.hold(line, 40_000)
    refused(lambda: tills.draw(line, 10_000), check="available", reason="P-VELOCITY")
    tills.void(held.id)
    tills.draw(line, 40_000)
    tills.later(days=1)
    refused(lambda: tills.draw(line, 10_000), check="available", reason="P-VELOCITY")
    tills.later(days=1)
    assert tills.draw(line, 100_000).amount_minor == 100_000


def test_a_price_above_the_cap_of_the_law_is_refused(till):
    dear = (
        '{ grade = "A", annual_rate = 0.0720 }',
        '{ grade = "A", annual_rate = 0.0720, guarantee_monthly = 0.02 }',
    )
    rest = [
        (
            f'{{ grade = "{one}", annual_rate = {rate} }}',
            f'{{ grade = "{one}", annual_rate = {rate}, guarantee_monthly = 0.02 }}',
        )
        for one, rate in (("B", "0.1080"), ("C", "0.1460"), ("D", "0.1825"), ("E", "0.2400"))
    ]
    cheap = till.line()
    till.draw(cheap, 20_000, months=12)
    till = with_rules(till, **products(dear, *rest))
    before = till.everything()
    refusal = refused(lambda: till.draw(cheap, 20_000, months=12), check="price", reason="P-COST")
    assert "0.24" in str(refusal)
    assert not till.quote(cheap, 20_000, months=12).within_cap
    assert till.everything() == before


def test_wrong_currency_line_and_times_are_named(till):
    line = till.line()
    stopped(lambda: till.draw(line, 20_000, currency="EUR"), "currency")
    with pytest.raises(NotFound):
        till.draw("nobody", 20_000)
    for ttl in (timedelta(seconds=9), timedelta(days=7, seconds=1)):
        stopped(lambda ttl=ttl: till.hold(line, 20_000, ttl=ttl), "ttl")
    for ttl in (timedelta(seconds=10), timedelta(days=7)):
        assert till.hold(line, 20_000, ttl=ttl).expires_at == till.now + ttl


# the fresh score


def test_a_score_that_fell_further_than_the_freeze_rule_allows_stops_draws(till):
    text, source = embedded("line_reference")
    old = 'code = "B07"\neffect = "observe"'
    assert old in text
    frozen = RuleText.of(text.replace(old, 'code = "B07"\neffect = "freeze"'), source)
    line = till.line()
    today = till.draw(line, 20_000).terms["score"]["value"]
    _remember_a_score(till, line, today + 29)
    strict = with_rules(till, line=frozen)
    assert strict.draw(line, 20_000).amount_minor == 20_000
    strict.silence("bank")  # what a silent holder might have said counts for the customer
    made = strict.draw(line, 20_000)
    assert made.terms["score"]["value"] < today - 30
    _remember_a_score(strict, line, today + 30)
    refused(lambda: strict.draw(line, 20_000), check="score", reason="B07")


def test_a_silent_holder_makes_nobody_pay_more(till):
    line = till.line()
    _remember_a_score(till, line, 770)
    till.silence("bank", "payments", "ecommerce")
    made = till.draw(line, 20_000)
    assert made.terms["score"]["missing"] == ["bank", "ecommerce", "payments"]
    assert made.terms["price"]["grade"] == "A"


def test_with_no_score_at_all_the_last_review_counts_and_without_one_nothing_is_drawn(till):
    line = till.line()
    till.silence(*till.desk.scores.federation.holders)
    with pytest.raises(EnvironmentFault, match="no score can be had today"):
        till.draw(line, 20_000)
    _remember_a_score(till, line, 660)
    made = till.draw(line, 20_000)
    assert made.terms["price"]["grade"] == "B"
    assert made.terms["score"]["value"] is None


# arrears


def test_a_line_sixty_days_overdue_is_not_drawn_on_even_before_its_review(tills):
    line = tills.line()
    tills.draw(line, 90_000)  # due 2026-04-02
    tills.office.now = datetime(2026, 5, 31, 4, tzinfo=UTC)
    tills.scene.publish()
    assert tills.late(line)[0] == 59
    tills.draw(line, 20_000)
    tills.later(days=1)
    assert tills.late(line)[0] == 60
    refused(lambda: tills.draw(line, 20_000), check="state", reason="B08")


# holds


def test_a_hold_reserves_and_is_posted_once_with_its_price_of_then(till):
    line = till.line()
    held = till.hold(line, 500_000)
    assert till.view(line).available.amount_minor == 3_500_000
    made = till.post(held.id, 6)
    assert len(made.terms["schedule"]) == 6
    assert till.post(held.id, 3) == made
    totals = till.get(line).totals
    assert (totals.outstanding_minor, totals.held_minor) == (500_000, 0)
    stopped(lambda: till.void(held.id), "hold")


def test_a_hold_that_is_over_gives_its_money_back_to_the_next_draw(tills):
    line = tills.line()
    held = tills.hold(line, 4_000_000)
    refused(lambda: tills.draw(line, 10_000), check="available")
    tills.later(hours=1)
    assert tills.view(line).available.amount_minor == 4_000_000
    stopped(lambda: tills.post(held.id), "hold")
    assert tills.draw(line, 4_000_000).amount_minor == 4_000_000


def test_a_hold_is_not_posted_on_a_line_that_was_frozen_since(till):
    line = till.line()
    held = till.hold(line, 50_000)
    till.decide(line, "freeze_fraud")
    refused(lambda: till.post(held.id), check="state", reason="P-FRAUD")
    till.decide(line, "release")
    assert till.post(held.id).amount_minor == 50_000


# partners


def test_t36_a_joint_draw_leaves_the_lender_its_share_up_to_the_fen(till):
    line = till.line()
    till.partner()
    made = till.draw(line, 10_001)
    shares = {one.partner_id: one.amount_minor for one in made.shares}
    assert shares == {"lake": 7_000, "own": 3_001}


def test_t27_a_partner_lends_no_more_than_its_capital_and_its_loans_allow(till):
    assert till.partner("a", tier1_minor=400_000).cap_minor == 100_000
    assert till.partner("b", loans_minor=400_000, elsewhere_minor=50_000).cap_minor == 150_000
    assert till.partner("c", agreed_minor=7).cap_minor == 7
    line = till.line()
    made = till.draw(line, 1_000_000)
    shares = {one.partner_id: one.amount_minor for one in made.shares}
    assert shares == {"b": 150_000, "a": 100_000, "c": 7, "own": 749_993}


def test_a_partner_that_says_no_funds_nothing_and_its_no_is_kept(till):
    till.partner("lake", grades=["B", "C"])
    till.partner("hill", most_minor=50_000)
    till.partner("moor", most_default_prob="0.001")
    line = till.line()
    made = till.draw(line, 100_000)
    assert [(one.partner_id, one.amount_minor) for one in made.shares] == [("own", 100_000)]
    decided = made.terms["funding"]["decisions"]
    assert {one["partner"]: one["reason"] for one in decided} == {
        "hill": "amount",
        "lake": "grade",
        "moor": "default_prob",
    }
    assert till.book("lake").decided == {"grade": 1}
    assert {one.partner_id for one in till.draw(line, 50_000).shares} == {"hill", "own"}


def test_a_partner_that_withdraws_between_hold_and_post_stops_the_post_and_not_the_hold(tills):
    tills.partner("lake")
    tills.partner("hill", agreed_minor=10_000)
    line = tills.line()
    held = tills.hold(line, 100_000)
    tills.withdraw("lake")
    before = tills.everything()
    refused(lambda: tills.post(held.id), check="fund", reason="C-PARTNER")
    assert tills.everything() == before
    with tills.store.read() as db:
        assert holds.get_hold(db, held.id).state == "pending"
    again = tills.draw(line, 100_000)  # in one step it is shared among those that are left
    assert {one.partner_id: one.amount_minor for one in again.shares} == {
        "hill": 10_000,
        "own": 90_000,
    }
    tills.partner("lake")  # back again: the promise holds
    assert {one.partner_id for one in tills.post(held.id).shares} == {"lake", "own"}


def test_partners_bound_what_can_be_drawn_where_the_lender_keeps_little_on_a_line(tills):
    tills.partner("lake", agreed_minor=100_000)
    tills.lending(own_line_minor=60_000)
    line = tills.line()
    available = tills.view(line).available
    assert (available.amount_minor, available.binding) == (160_000, ("partner",))
    refused(lambda: tills.draw(line, 160_001), check="available", reason="C-PARTNER")
    tills.draw(line, 160_000)
    refused(lambda: tills.draw(line, 10_000), check="available", reason="C-PARTNER")
    tills.repay(line, 80_000)
    assert tills.view(line).available.amount_minor == 80_000


def test_the_agreed_own_share_may_be_above_the_laws_and_not_below(till):
    till.partner()
    till.lending(own_share=Decimal("0.5"))
    made = till.draw(till.line(), 100_000)
    assert {one.partner_id: one.amount_minor for one in made.shares} == {
        "lake": 50_000,
        "own": 50_000,
    }
    stopped(lambda: till.lending(own_share=Decimal("0.29")), "share")


def test_a_budget_that_shrank_leaves_each_line_its_part(tills):
    with tills.store.write() as db:
        funds.set_fund(db, "budget", kind="budget", cap_minor=8_000_000, is_open=True, at=tills.now)
    line = tills.line()
    tills.draw(line, 500_000)
    assert tills.view(line).available.binding == ("limit",)
    with tills.store.write() as db:
        funds.set_fund(db, "budget", kind="budget", cap_minor=1_000_000, is_open=True, at=tills.now)
    found = tills.view(line).available
    assert (found.amount_minor, found.binding) == (500_000, ("budget",))
    refused(lambda: tills.draw(line, 500_001), check="available", reason="C-CAP")
    tills.draw(line, 500_000)


# many at once


def at_once(tasks):
    """Run functions in threads, from one moment on; return what they returned or raised."""
    ready, results = threading.Barrier(len(tasks)), [None] * len(tasks)

    def play(place, task):
        ready.wait()
        try:
            results[place] = task()
        except ConfideError as error:
            results[place] = error

    threads = [threading.Thread(target=play, args=one) for one in enumerate(tasks)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    return results


def test_t37_of_ten_parallel_draws_of_all_that_is_left_exactly_one_succeeds(tills):
    line = tills.line()
    tills.draw(line, 3_990_000)
    tasks = [lambda k=k: tills.draw(line, 10_000, id_=f"t37-{k}") for k in range(10)]
    results = at_once(tasks)
    refusals = [one for one in results if isinstance(one, DrawRefused)]
    assert [one.check for one in refusals] == ["available"] * 9
    assert tills.get(line).totals.outstanding_minor == 4_000_000
    assert tills.view(line).available.amount_minor == 0


def test_partners_are_never_overdrawn_by_many_lines_at_once(tills):
    tills.partner("lake", agreed_minor=70_000)
    tills.scene.publish(customers=6)
    own = [tills.line(), tills.line(name_of(5))]
    tasks = [lambda k=k: tills.draw(own[k % 2], 20_000, id_=f"p-{k}") for k in range(10)]
    results = at_once(tasks)
    made = [one for one in results if isinstance(one, draws.Drawdown)]
    rest = [one for one in results if not isinstance(one, draws.Drawdown)]
    assert {(one.check, one.reason) for one in rest} <= {("fund", "C-PARTNER")}
    assert len(made) >= 5
    lent = sum(s.amount_minor for one in made for s in one.shares if s.partner_id == "lake")
    assert lent == tills.book("lake").partner.used_minor <= 70_000


def test_the_same_draw_by_many_at_once_has_one_effect(tills):
    line = tills.line()
    results = at_once([lambda: tills.draw(line, 20_000, id_="same")] * 6)
    made = [one for one in results if isinstance(one, draws.Drawdown)]
    assert made
    assert all(one == made[0] for one in made)
    assert tills.get(line).totals.outstanding_minor == 20_000


# quotes


def test_a_quote_is_what_the_draw_then_costs_and_changes_nothing(till):
    line = till.line()
    before = till.everything()
    sheet = till.quote(line, 100_000, months=6)
    assert till.everything() == before
    price = till.draw(line, 100_000, months=6).terms["price"]
    assert str(sheet.apr) == price["apr"]
    assert list(sheet.plan.instalments_minor) == price["instalments_minor"]
    stopped(lambda: till.quote(line, 100_000, months=5), "months")
