"""Days past due are civil days of a place; freezes, cures and their periods."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from server.limits.line.acts import freeze, give_consent, release, withdraw_consent
from server.limits.line.delinquency import (
    Instalment,
    add_months,
    advance,
    bucket_of,
    cured_on,
    days_past_due,
    due_dates,
    local_day,
)
from server.limits.line.line import Delinquency, State
from server.limits.line.review import age
from server.limits.line.waterfall import available
from shared.errors import Conflict, UsageError
from tests.line_kit import BASE, POLICY, Life, busy, quiet

ARREARS = POLICY.arrears
DAY = date(2026, 3, 1)


def test_the_31st_comes_back_after_a_short_month():
    assert due_dates(date(2027, 12, 31), 5) == (
        date(2027, 12, 31),
        date(2028, 1, 31),
        date(2028, 2, 29),  # a leap year
        date(2028, 3, 31),
        date(2028, 4, 30),
    )
    assert due_dates(date(2026, 1, 30), 3)[1] == date(2026, 2, 28)
    assert add_months(date(2028, 2, 29), 12) == date(2029, 2, 28)
    assert add_months(date(2026, 3, 31), -1) == date(2026, 2, 28)


@pytest.mark.parametrize(
    ("instant", "zone", "day"),
    [
        # A quarter to midnight in Shanghai is still the due date, though UTC says so too.
        (datetime(2026, 2, 28, 15, 45, tzinfo=UTC), "Asia/Shanghai", date(2026, 2, 28)),
        (datetime(2026, 2, 28, 16, 0, tzinfo=UTC), "Asia/Shanghai", date(2026, 3, 1)),
        (datetime(2028, 2, 28, 16, 30, tzinfo=UTC), "Asia/Shanghai", date(2028, 2, 29)),
        # The same UTC time of day is another civil day on either side of the change of clocks.
        (datetime(2026, 3, 28, 22, 30, tzinfo=UTC), "Europe/Berlin", date(2026, 3, 28)),
        (datetime(2026, 3, 29, 22, 30, tzinfo=UTC), "Europe/Berlin", date(2026, 3, 30)),
        (datetime(2026, 10, 24, 22, 30, tzinfo=UTC), "Europe/Berlin", date(2026, 10, 25)),
        (datetime(2026, 10, 25, 22, 30, tzinfo=UTC), "Europe/Berlin", date(2026, 10, 25)),
    ],
)
def test_a_day_ends_when_it_ends_at_the_customers_place(instant, zone, day):
    assert local_day(instant, ZoneInfo(zone)) == day


def test_an_instant_without_an_offset_is_refused():
    with pytest.raises(UsageError, match="offset"):
        local_day(datetime(2026, 1, 1), ZoneInfo("Asia/Shanghai"))  # noqa: DTZ001


def test_a_change_of_clocks_is_no_day_past_due():
    zone = ZoneInfo("Europe/Berlin")
    due = [Instalment(date(2026, 10, 25), 100)]
    late_evening = datetime(2026, 10, 25, 22, 59, tzinfo=UTC)
    assert days_past_due(due, local_day(late_evening, zone)) == 0
    assert days_past_due(due, local_day(late_evening + timedelta(minutes=1), zone)) == 1


def test_days_past_due_are_those_of_the_oldest_unpaid_instalment():
    paid, part, open_ = (
        Instalment(date(2026, 1, 31), 100, 100),
        Instalment(date(2026, 2, 28), 100, 99),
        Instalment(date(2026, 3, 31), 100),
    )
    assert days_past_due([paid, part, open_], date(2026, 3, 31)) == 31
    assert days_past_due([paid, open_], date(2026, 3, 31)) == 0
    assert days_past_due([paid, open_], date(2026, 3, 1)) == 0
    assert days_past_due([], DAY) == 0


@pytest.mark.parametrize(
    ("days", "bucket"),
    [
        (0, "C"),
        (1, "1-29"),
        (29, "1-29"),
        (30, "30-59"),
        (89, "60-89"),
        (119, "90-119"),
        (500, "120+"),
    ],
)
def test_buckets(days, bucket):
    assert bucket_of(days, ARREARS) == bucket


def test_grace_needs_no_cure_and_what_is_later_needs_60_clear_days():
    now = advance(Delinquency(), ARREARS, DAY, 3)
    assert not now.curing
    now = advance(now, ARREARS, DAY, 4)
    assert now.curing
    assert cured_on(now, ARREARS) is None
    now = advance(now, ARREARS, DAY + timedelta(10), 0)
    assert cured_on(now, ARREARS) == DAY + timedelta(70)
    relapsed = advance(now, ARREARS, DAY + timedelta(50), 1)
    assert cured_on(relapsed, ARREARS) is None
    assert advance(now, ARREARS, DAY + timedelta(69), 0).curing
    assert advance(now, ARREARS, DAY + timedelta(70), 0) == Delinquency()


def test_a_default_takes_90_clear_days_and_a_concession_a_year():
    now = advance(Delinquency(), ARREARS, DAY, 90)
    assert now.defaulted_on == DAY
    now = advance(now, ARREARS, DAY, 0, clear_since=DAY - timedelta(5))
    assert cured_on(now, ARREARS) == DAY + timedelta(85)
    leap = date(2028, 2, 29)
    eased = advance(Delinquency(), ARREARS, leap, 0, forborne_on=leap)
    assert cured_on(eased, ARREARS) == date(2029, 2, 28)


def late(days, **more):
    return quiet(days_past_due=days, outstanding_minor=100_000, **more)


def test_four_to_29_days_hold_and_take_nothing():
    life = Life()
    life.review(smallest=800_000)
    life.months(quiet(), late(10))
    assert life.brief == ("reduced", 800_000)
    life.review(quiet(clear_since=life.line.changed_on))
    assert life.brief == ("reduced", 800_000)  # 60 clear days are not over
    life.review()
    assert life.brief == ("active", BASE)


def test_30_days_take_one_step_and_not_one_a_review():
    life = Life()
    life.review(late(30))
    assert life.brief == ("reduced", 900_000)
    assert life.codes == ["B08"]
    life.review(late(59))
    assert life.brief == ("reduced", 900_000)


def test_60_days_freeze_and_90_are_a_default_and_neither_moves_the_limit():
    life = Life()
    life.review(late(60))
    assert (life.brief, life.line.frozen_for) == (("frozen", BASE), "arrears")
    assert available(life.line, life.line.changed_on, 100_000).amount_minor == 0
    life.review(late(90))
    assert (life.brief, life.line.frozen_for) == (("frozen", BASE), "default")
    life.review(late(120), smallest=0)
    assert life.brief == ("frozen", BASE)


def test_a_cured_line_comes_back_at_the_floor_under_observation():
    life = Life()
    life.review(late(70))
    paid = life.later(3)
    life.months(quiet(clear_since=paid), quiet(clear_since=paid))
    assert life.brief == ("frozen", BASE)
    life.review(quiet(clear_since=paid))
    assert life.brief == ("observation", 500_000)
    assert life.line.window("B08").clean == 0
    assert life.line.may_draw
    life.months(quiet(), quiet())
    assert life.brief == ("reduced", 500_000)
    life.months(quiet(), quiet())
    assert life.brief == ("active", BASE)


def test_a_default_is_cured_later_than_arrears():
    life = Life()
    life.review(late(95))
    paid = life.line.changed_on
    life.months(quiet(clear_since=paid), quiet(clear_since=paid))
    assert life.line.state is State.FROZEN
    life.review(quiet(clear_since=paid))
    assert life.brief == ("observation", 500_000)


def test_the_daily_job_freezes_between_reviews_and_changes_nothing_else():
    life = Life()
    life.review(busy())
    before = life.line
    life.take(age(life.line, late(20), POLICY, life.later(1)))
    assert life.brief == ("observation", BASE)
    assert life.line.windows == before.windows
    assert life.line.clean_reviews == before.clean_reviews
    assert life.line.next_review_on == before.next_review_on
    life.take(age(life.line, late(30), POLICY, life.later(10)))
    assert life.brief == ("observation", 900_000)
    life.take(age(life.line, late(60), POLICY, life.later(30)))
    assert life.line.frozen_for == "arrears"
    assert life.line.next_review_on == before.next_review_on
    life.take(age(life.line, quiet(), POLICY, life.later(400)))
    assert life.line.state is State.FROZEN  # only a scheduled review lets it go


def test_fraud_and_a_forbidden_purpose_freeze_until_a_person_looked():
    life = Life()
    life.review(quiet(measures={"forbidden_purposes_30d": 1}))
    assert (life.line.frozen_for, life.codes) == ("purpose", ["B10"])
    life.months(quiet(), quiet(), quiet(), quiet())
    assert life.line.state is State.FROZEN
    life.take(release(life.line, life.later(1)))
    assert life.brief == ("observation", BASE)
    life.months(quiet(), quiet(), quiet())
    assert life.brief == ("active", BASE)
    life.review(quiet(fraud=True))
    assert (life.line.frozen_for, life.codes) == ("fraud", ["P-FRAUD"])
    life.take(release(life.line, life.later(1)))
    assert life.brief == ("observation", BASE)
    assert [one.code for one in life.events[-1].reasons] == ["P-CLEARED"]
    assert [one.code for one in life.line.windows] == ["P-FRAUD"]  # nobody said a forbidden purpose
    with pytest.raises(Conflict, match="by hand"):
        release(Life().line, life.later(1))


def test_a_frozen_line_is_frozen_again_for_a_graver_cause_alone():
    life = Life()
    life.take(freeze(life.line, "purpose", life.later(1)))
    with pytest.raises(Conflict, match="frozen for purpose") as caught:
        freeze(life.line, "purpose", life.later(1))
    assert caught.value.check == "state"
    life.take(freeze(life.line, "fraud", life.later(1)))
    assert (life.line.frozen_for, life.events[-1].reasons[0].code) == ("fraud", "P-FRAUD")
    for cause in ("purpose", "fraud"):
        with pytest.raises(Conflict, match="frozen for fraud"):
            freeze(life.line, cause, life.later(1))
    late_one = Life()
    late_one.review(late(95))
    assert late_one.line.frozen_for == "default"
    late_one.take(freeze(late_one.line, "purpose", late_one.later(1)))
    assert late_one.line.frozen_for == "purpose"


def test_a_release_does_not_let_arrears_go():
    life = Life()
    life.take(freeze(life.line, "fraud", life.later(1)))
    life.review(late(95))
    assert life.line.frozen_for == "fraud"
    with pytest.raises(Conflict, match="not cured"):
        release(life.line, life.later(1))
    with pytest.raises(UsageError, match="fraud or purpose"):
        freeze(life.line, "arrears", life.later(1))


def test_withdrawn_consent_stops_draws_and_rises_but_cuts_nothing():
    life = Life()
    life.review(smallest=800_000)
    life.take(withdraw_consent(life.line, life.later(1)))
    assert available(life.line, life.line.changed_on, 0).amount_minor == 0
    assert available(life.line, life.line.changed_on, 0).terms[0].code == "P-CONSENT"
    life.months(quiet(), quiet(), quiet())
    assert life.brief == ("reduced", 800_000)
    with pytest.raises(Conflict, match="withdrawn"):
        withdraw_consent(life.line, life.later(1))
    life.take(give_consent(life.line, life.later(1)))
    life.review()
    assert life.brief == ("active", BASE)
    with pytest.raises(Conflict, match="not withdrawn"):
        give_consent(life.line, life.later(1))


def test_a_downturn_does_not_touch_a_frozen_line():
    life = Life()
    life.review(late(60))
    life.review(late(61), multiplier=Decimal("0.7"))
    assert life.brief == ("frozen", BASE)
