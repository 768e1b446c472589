"""A line as it is shown: the waterfall, what is due, who lends, what an observation waits for."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from server.accounts import standing
from server.accounts.lineview import progress_of
from server.limits.line.line import Line, State, Window
from server.limits.line.restore import restoration
from server.limits.rules.line_lint import parse_line_policy
from server.policies import embedded
from shared.errors import DrawRefused, NotFound
from tests.accounts.kit import GOOD

POLICY = parse_line_policy(*embedded("line_reference"))


def test_a_fresh_line_owes_nothing_and_waits_for_nothing(tills):
    view = tills.view(tills.line())
    assert view.available.to_mapping()["available_minor"] == 4_000_000
    assert view.available.binding == ("limit",)
    assert (view.next_due, view.days_past_due, view.lenders) == (None, 0, ())
    assert (view.observation, view.advised_limit_minor) == ((), 4_000_000)
    assert view.next_review_on == date(2026, 4, 1)
    with pytest.raises(NotFound):
        tills.view("nobody")


@pytest.mark.parametrize("with_partner", [False, True])
def test_a_consent_that_ran_out_leaves_nothing_to_draw_and_the_line_can_still_be_seen(
    till, with_partner
):
    if with_partner:
        till.partner("lake")
    till.consent(GOOD, until=till.day + timedelta(days=9))
    line = till.open(GOOD, consent=False).line.id
    assert till.view(line).available.amount_minor > 0
    till.later(days=20)
    told = till.view(line).available
    assert (told.amount_minor, told.binding) == (0, ("state",))
    assert next(term.code for term in told.terms if term.name == "state") == "P-CONSENT"
    with pytest.raises(DrawRefused, match="consent"):
        till.draw(line, 10_000)


def test_i14_what_is_repaid_can_be_drawn_again(tills):
    line = tills.line()
    tills.draw(line, 300_000)
    tills.hold(line, 100_000)
    tills.repay(line, 120_000)
    view = tills.view(line)
    totals = view.line.totals
    assert view.available.amount_minor == 4_000_000 - 180_000 - 100_000
    whole = totals.outstanding_minor + totals.held_minor + view.available.amount_minor
    assert whole == view.domain.effective_limit_minor


def test_a_look_changes_nothing_and_leaves_out_holds_whose_time_is_over(tills):
    line = tills.line()
    tills.hold(line, 100_000)
    assert tills.view(line).available.parts["held"] == 100_000
    tills.later(hours=1)
    before = tills.everything()
    view = tills.view(line)
    assert view.available.parts["held"] == 0
    assert view.available.amount_minor == 4_000_000
    assert tills.everything() == before


def test_who_lends_is_told_with_shares(tills):
    tills.partner("lake")
    line = tills.line()
    tills.draw(line, 30_000)
    told = {one.partner_id: (one.open_minor, one.share) for one in tills.view(line).lenders}
    assert told == {"lake": (21_000, Decimal("0.7")), "own": (9_000, Decimal("0.3"))}
    tills.repay(line, 30_000)
    assert tills.view(line).lenders == ()


def test_a_frozen_line_shows_its_state_as_what_binds_and_lets_repayment_be_seen(till):
    line = till.line()
    till.draw(line, 90_000)
    till.decide(line, "freeze_fraud")
    view = till.view(line)
    [state] = [one for one in view.available.terms if one.binds]
    assert (state.name, state.code, view.available.amount_minor) == ("state", "P-FRAUD", 0)
    assert view.next_due.due_on == date(2026, 4, 2)


def test_a_temporary_amount_is_shown_until_its_last_day_and_is_there_for_its_purpose(till):
    line = till.line()
    until = till.day + timedelta(days=9)
    till.decide(line, "temporary", limit_minor=200_000, until=until)
    assert till.view(line).available.amount_minor == 4_200_000
    assert till.get(line).totals.limit_minor == 4_200_000
    till.draw(line, 4_000_000)
    with pytest.raises(Exception, match="0 minor units can be drawn"):
        till.draw(line, 50_000, purpose="daily")
    assert till.draw(line, 50_000, purpose="emergency").amount_minor == 50_000
    till.office.now = datetime(2026, 3, 11, 15, 59, tzinfo=UTC)
    assert till.view(line).available.amount_minor == 150_000
    till.later(minutes=1)
    assert till.view(line).available.amount_minor == 0  # though no review has run yet
    assert till.view(line).advised_limit_minor >= 4_050_000


def test_an_observation_tells_its_progress_and_the_day_that_the_plan_gives_too(till):
    line = till.line()
    till.later(days=1)  # a window of 30 days ends with the review
    for _ in range(6):
        till.draw(line, 20_000)
    till.repay(line, 120_000)
    till.review(line)
    [one] = till.view(line).observation
    assert (one.rule, one.observes, one.progress) == ("B01", True, "0/2")
    assert till.domain(line).state is State.OBSERVATION
    with till.store.read() as db:
        seen = standing.look_at(till.desk, db, till.get(line), till.now)
    plan = restoration(seen.line, seen.facts, seen.target, seen.line_policy, till.day)
    assert one.earliest_exit == plan.needs[0].earliest
    till.review(line)
    [one] = till.view(line).observation
    assert one.progress == "1/2"
    till.review(line)
    assert till.view(line).observation == ()
    assert till.day == one.earliest_exit


@pytest.mark.parametrize(("state", "day"), [(State.OBSERVATION, True), (State.FROZEN, False)])
def test_no_exit_is_promised_where_a_person_has_to_look(state, day):
    window = Window("B10", date(2026, 3, 1), date(2026, 3, 1))
    line = Line(
        product="revolving_consumer",
        state=state,
        frozen_for="" if day else "purpose",
        next_review_on=date(2026, 4, 1),
        windows=(window,),
    )
    [found] = progress_of(line, POLICY, date(2026, 3, 5))
    assert found.needed == 2
    assert (found.earliest_exit is not None) == day
    if day:
        assert found.earliest_exit >= date(2026, 3, 1) + timedelta(days=60)
