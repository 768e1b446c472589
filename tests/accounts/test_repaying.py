"""Repayments, days past due on local days, and what the triggers learn of a line's past."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.accounts import customers, repaying
from server.accounts.dossier import BureauReport
from server.limits.line.history import measures
from server.store import draws
from shared.errors import Conflict, NotFound
from tests.accounts.kit import GOOD
from tests.accounts.till import a_till


def stopped(act, check):
    with pytest.raises(Conflict) as caught:
        act()
    assert caught.value.check == check
    return caught.value


def due(till, line):
    with till.store.read() as db:
        return repaying.next_due(till.desk, db, line, till.day)


def test_a_repayment_goes_to_what_falls_due_first_and_to_each_lender_by_what_it_is_owed(tills):
    tills.partner()
    line = tills.line()
    first = tills.draw(line, 10_001, months=12)
    tills.later(days=10)
    second = tills.draw(line, 20_000)
    one, two = (drawn.terms["schedule"][0]["principal_minor"] for drawn in (first, second))
    made = tills.repay(line, one + two)
    got = dict.fromkeys((first.id, second.id), 0)
    for part in made.allocations:
        got[part.drawdown_id] += part.amount_minor
    assert got == {first.id: one, second.id: two}
    own = sum(part.amount_minor for part in made.allocations if part.partner_id == "own")
    assert abs(own - 0.3 * (one + two)) < 2
    rest = tills.repay(line, 30_001 - one - two)
    assert rest.outstanding_minor == 0
    assert tills.book().open_minor == 0
    assert tills.book().partner.used_minor == 0


def test_who_pays_what_falls_due_on_several_draws_is_not_late(till):
    """Once the oldest draw was repaid first: its next instalments, while another's fell overdue."""
    line = till.line()
    till.draw(line, 90_000, months=12)
    till.later(days=10)
    till.draw(line, 30_000, months=12)
    till.later(days=15)
    with till.store.read() as db:
        due = repaying.due_by(till.desk, db, line, till.day, till.day + timedelta(days=30))
    till.repay(line, due)
    till.later(days=30)
    assert till.late(line) == (0, None)
    till.later(days=60)
    assert till.late(line)[0] > 30


@given(
    st.lists(
        st.tuples(st.integers(0, 100), st.integers(10_000, 60_000), st.sampled_from((3, 6, 12))),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 25_000),
)
@settings(max_examples=12, deadline=None)
def test_whoever_pays_in_time_what_falls_due_is_never_late(scene, empty_file, drawn, ahead):
    with a_till(scene, empty_file) as till:
        line, begun = till.line(), till.now
        for day in range(0, 200, 5):
            till.office.now = begun + timedelta(days=day)
            for _, amount, months in (one for one in drawn if 0 <= one[0] - day < 5):
                till.draw(line, amount, months=months)
            if day % 30 == 0:
                with till.store.read() as db:
                    until = till.day + timedelta(days=30)
                    due = repaying.due_by(till.desk, db, line, till.day, until)
                owed = till.get(line).totals.outstanding_minor
                if owed:
                    till.repay(line, min(owed, max(due, 1) + ahead))
            # What is drawn after the payment falls due a month later: after the next one.
            assert till.late(line)[0] == 0


@given(st.integers(10_000, 200_000), st.lists(st.integers(1, 60_000), max_size=5))
@settings(max_examples=8, deadline=None)
def test_shares_never_drift_and_the_own_one_stays_at_the_laws(scene, empty_file, amount, parts):
    with a_till(scene, empty_file) as till:
        till.partner()
        line = till.line()
        made, left = till.draw(line, amount), amount
        for part in [*parts, amount]:
            if not left:
                break
            part = min(part, left)  # noqa: PLW2901 - the last one pays the rest
            till.repay(line, part)
            left -= part
            with till.store.read() as db:
                open_ = {s.partner_id: s.open_minor for s in draws.get_drawdown(db, made.id).shares}
            assert sum(open_.values()) == left
            assert open_["own"] * 10 >= left * 3


def test_a_payment_is_applied_once_however_often_it_is_reported(tills):
    line = tills.line()
    tills.draw(line, 50_000)
    first = tills.repay(line, 50_000, ref="bank-1")
    assert tills.repay(line, 50_000, ref="bank-1") == first  # nothing is owed by now
    assert tills.get(line).totals.outstanding_minor == 0
    tills.draw(line, 50_000)
    assert tills.repay(line, 50_000, ref="bank-1") == first
    stopped(lambda: tills.repay(line, 49_999, ref="bank-1"), "reference")


def test_more_than_is_owed_is_refused_naming_what_is(till):
    line = till.line()
    till.draw(line, 50_000)
    before = till.everything()
    refusal = stopped(lambda: till.repay(line, 50_001), "outstanding")
    assert "50000 minor units are" in str(refusal)
    assert till.everything() == before
    with pytest.raises(NotFound):
        till.repay("nobody", 1)


def test_money_of_tomorrow_is_not_taken_today(till):
    line = till.line()
    till.draw(line, 50_000)
    stopped(lambda: till.repay(line, 100, day=till.day + timedelta(days=1)), "value_date")
    till.office.now = datetime(2026, 3, 2, 16, tzinfo=UTC)  # midnight in Shanghai
    assert till.repay(line, 100, day=date(2026, 3, 3)).amount_minor == 100


def test_days_past_due_begin_the_day_after_the_due_date_at_local_midnight(tills):
    line = tills.line()
    tills.draw(line, 90_000)
    assert due(tills, line).due_on == date(2026, 4, 2)
    for at, days in [
        (datetime(2026, 4, 2, 15, 59, tzinfo=UTC), 0),
        (datetime(2026, 4, 2, 16, 0, tzinfo=UTC), 1),
        (datetime(2026, 5, 1, 16, 0, tzinfo=UTC), 30),
    ]:
        tills.office.now = at
        assert tills.late(line) == (days, None)
        assert tills.view(line).days_past_due == days


def test_what_is_paid_on_the_day_is_paid_in_time_though_it_is_booked_later(tills):
    line = tills.line()
    schedule = tills.draw(line, 90_000).terms["schedule"]
    tills.office.now = datetime(2026, 4, 4, 4, tzinfo=UTC)
    assert tills.late(line)[0] == 2
    tills.repay(line, schedule[0]["principal_minor"], day=date(2026, 4, 2))
    assert tills.late(line) == (0, None)


def test_what_was_late_is_clear_since_the_day_it_was_paid(tills):
    line = tills.line()
    schedule = tills.draw(line, 90_000).terms["schedule"]
    tills.office.now = datetime(2026, 5, 10, 4, tzinfo=UTC)
    first, second = (one["principal_minor"] for one in schedule[:2])
    tills.repay(line, first + second - 1, day=date(2026, 5, 9))
    assert tills.late(line) == (8, None)
    tills.repay(line, 1)
    assert tills.late(line) == (0, date(2026, 5, 10))
    assert tills.late(line, date(2026, 5, 9)) == (7, None)
    tills.repay(line, schedule[2]["principal_minor"])
    assert tills.late(line) == (0, date(2026, 5, 10))


def test_who_pays_ahead_owes_nothing_until_that_is_used_up(till):
    line = till.line()
    schedule = till.draw(line, 90_000).terms["schedule"]
    till.repay(line, schedule[0]["principal_minor"] + 10)
    found = due(till, line)
    assert found.due_on == date(2026, 5, 2)
    assert found.principal_minor == schedule[1]["principal_minor"] - 10
    till.office.now = datetime(2026, 5, 2, 4, tzinfo=UTC)
    assert till.late(line) == (0, None)


def test_what_is_overdue_is_due_together_with_what_falls_due_today(till):
    line = till.line()
    schedule = till.draw(line, 90_000).terms["schedule"]
    till.office.now = datetime(2026, 5, 2, 4, tzinfo=UTC)
    found = due(till, line)
    assert found.due_on == date(2026, 4, 2)
    assert found.amount_minor == sum(
        one["principal_minor"] + one["cost_minor"] for one in schedule[:2]
    )
    till.repay(line, 90_000)
    assert due(till, line) is None


def test_the_history_tells_draws_and_balances_by_local_days(tills):
    line = tills.line()
    tills.draw(line, 50_000)
    tills.office.now = datetime(2026, 3, 4, 17, tzinfo=UTC)  # the 5th in Shanghai
    tills.draw(line, 30_000)
    tills.later(days=1)
    tills.repay(line, 60_000)
    found = tills.history(line)
    assert found.draws == ((date(2026, 3, 2), 50_000), (date(2026, 3, 5), 30_000))
    assert found.balances[1:] == (
        (date(2026, 3, 2), 50_000),
        (date(2026, 3, 5), 80_000),
        (date(2026, 3, 6), 20_000),
    )
    assert (found.spending, found.enquiries, found.others, found.forbidden) == (
        None,
        None,
        None,
        (),
    )


def test_the_history_carries_what_was_owed_before_its_window(till):
    line = till.line()
    till.draw(line, 50_000)
    till.later(days=200)
    found = till.history(line)
    assert found.draws == ()
    assert [owed for _, owed in found.balances] == [50_000]
    measured = measures(found, till.desk.rules.line, till.day)
    assert (measured["peak_balance_30d"], measured["draws_30d"]) == (50_000, 0)


def test_holds_are_draws_only_once_they_are_posted(till):
    line = till.line()
    held = till.hold(line, 50_000)
    assert till.history(line).draws == ()
    till.post(held.id)
    assert len(till.history(line).draws) == 1


def test_the_bureau_tells_of_enquiries_and_of_other_lenders(till):
    line = till.line()
    for as_of, owed, asked in [
        (date(2026, 2, 1), 100, ()),
        (date(2026, 3, 1), 900, (date(2026, 2, 20),)),
    ]:
        report = BureauReport(GOOD, as_of, other_balances_minor=owed, enquiries=asked)
        till.write(customers.report_bureau, report, till.now)
    found = till.history(line)
    assert found.enquiries == (date(2026, 2, 20),)
    assert found.others == ((date(2026, 2, 1), 100), (date(2026, 3, 1), 900))
