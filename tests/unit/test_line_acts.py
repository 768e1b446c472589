"""Opening, own caps, temporary amounts, closing, and what can be drawn then."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from server.limits.line.acts import close_line, freeze
from server.limits.line.limit_acts import grant_temporary, open_line, request, self_lower
from server.limits.line.line import State, Temporary
from server.limits.line.waterfall import Room, available
from shared.errors import Conflict, Refused, UsageError
from tests.line_kit import BASE, POLICY, START, Life, opened, quiet, target


def test_a_line_opens_with_consent_and_the_lowest_cap():
    pending = request("revolving_consumer", START).line
    assert pending.state is State.PENDING
    assert available(pending, START, 0).amount_minor == 0
    done = open_line(
        pending, target(multiplier=Decimal("0.7"), scenario="slump"), POLICY, START, consent=True
    )
    assert done.line.approved_limit_minor == 700_000
    assert [one.code for one in done.events[0].reasons] == ["P-GRADE", "M-MACRO"]
    for goal, consent, word in (
        (target(), False, "consent"),
        (target(missing={"bank": "stale"}), True, "silent"),
        (target(9_999), True, "no limit"),
    ):
        with pytest.raises(Refused, match=word):
            open_line(pending, goal, POLICY, START, consent=consent)
    with pytest.raises(Conflict, match="active"):
        open_line(done.line, target(), POLICY, START, consent=True)
    with pytest.raises(Conflict, match="is pending"):
        freeze(pending, "fraud", START)


def test_customers_lower_their_own_limit_at_once():
    life = Life()
    life.take(self_lower(life.line, 409_999, 450_000, POLICY, life.later(1)))
    line = life.line
    assert (line.approved_limit_minor, line.effective_limit_minor) == (400_000, 400_000)
    assert line.advised_limit_minor == 450_000
    assert life.brief == ("active", 400_000)
    assert life.events[-1].initiator == "customer"
    life.months(*[quiet()] * 4, smallest=3_000_000)
    assert life.line.offer is None  # who wanted less is not soon offered more
    for wrong in (-1, 400_000):
        with pytest.raises(UsageError, match="below the approved"):
            self_lower(life.line, wrong, 0, POLICY, life.later(1))


def test_a_reduced_line_that_is_lowered_to_where_it_is_becomes_active_again():
    life = Life()
    life.review(smallest=800_000)
    life.take(self_lower(life.line, 800_000, 0, POLICY, life.later(1)))
    assert life.brief == ("reduced", 800_000)
    life.months(quiet(), quiet())
    assert life.brief == ("active", 800_000)


def test_a_temporary_amount_falls_away_by_itself():
    life = Life()
    today = life.later(1)
    passing = Temporary(200_000, "emergency", today, today + timedelta(days=29))
    life.take(grant_temporary(life.line, passing, 0, POLICY, today))
    assert life.brief == ("active", BASE)
    assert available(life.line, today, BASE).amount_minor == 200_000
    assert available(life.line, passing.until, BASE).amount_minor == 200_000
    after = passing.until + timedelta(days=1)
    assert available(life.line, after, BASE).amount_minor == 0
    assert available(life.line, after, BASE + 100_000).amount_minor == 0
    with pytest.raises(Conflict, match="has a temporary"):
        grant_temporary(life.line, passing, 0, POLICY, today)
    life.review(quiet(outstanding_minor=BASE + 100_000), on=after)
    assert life.line.temporary is None
    assert life.line.advised_limit_minor == BASE + 100_000
    assert [one.kind for one in life.events[-2:]] == ["lapsed", "reviewed"]


@pytest.mark.parametrize(
    ("amount", "purpose", "days", "word"),
    [
        (200_001, "emergency", 10, "at most 200000"),
        (0, "emergency", 10, "above 0"),
        (100, "holiday", 10, "purpose must be emergency"),
        (100, "emergency", 31, "at most 30 days"),
        (100, "emergency", 0, "at most 30 days"),
    ],
)
def test_a_temporary_amount_beyond_the_policy_is_refused(amount, purpose, days, word):
    line, _ = opened()
    passing = Temporary(amount, purpose, START, START + timedelta(days=days - 1))
    with pytest.raises(Refused, match=word):
        grant_temporary(line, passing, 0, POLICY, START)


def test_no_temporary_amount_for_who_is_late_or_cannot_draw():
    life = Life()
    life.review(quiet(days_past_due=10))
    today = life.later(1)
    passing = Temporary(100, "emergency", today, today)
    with pytest.raises(Refused, match="overdue"):
        grant_temporary(life.line, passing, 0, POLICY, today)
    life.take(freeze(life.line, "fraud", today, "regulator"))
    assert life.events[-1].initiator == "regulator"
    with pytest.raises(Conflict, match="cannot be drawn"):
        grant_temporary(life.line, passing, 0, POLICY, today)


def test_the_waterfall_names_every_term_and_the_one_that_binds():
    line, _ = opened()
    room = Room(partner_minor=400_000, budget_minor=900_000, velocity_minor=500_000)
    found = available(line, START, 200_000, 100_000, room)
    assert found.amount_minor == 400_000
    assert found.binding == ("partner",)
    assert [(one.name, one.amount_minor, one.code) for one in found.terms] == [
        ("limit", 700_000, ""),
        ("partner", 400_000, "C-PARTNER"),
        ("budget", 900_000, "C-CAP"),
        ("velocity", 500_000, "P-VELOCITY"),
    ]
    plain = found.to_mapping()
    assert plain["parts"] == {
        "effective": BASE,
        "temporary": 0,
        "outstanding": 200_000,
        "held": 100_000,
    }
    assert [one["name"] for one in plain["waterfall"] if one["binds"]] == ["partner"]
    assert available(line, START, 0, 0, Room(purpose_minor=0)).binding == ("purpose",)
    with pytest.raises(UsageError, match="0 or more"):
        available(line, START, -1)
    with pytest.raises(UsageError, match="0 or more"):
        available(line, START, 0, 0, Room(budget_minor=-1))


def test_repaying_and_drawing_again_conserves_what_there_is():
    """I14 at one point; the property runs over many."""
    line, _ = opened()
    before = available(line, START, 600_000).amount_minor
    repaid = available(line, START, 250_000).amount_minor
    assert (before, repaid) == (400_000, 750_000)


def test_a_line_without_draws_says_which_state_binds():
    life = Life()
    day = life.later(1)
    life.take(freeze(life.line, "purpose", day))
    found = available(life.line, day, 0)
    assert (found.amount_minor, found.binding, found.terms[0].code) == (0, ("state",), "B10")
    life.take(close_line(life.line, 5, day))
    assert available(life.line, day, 5).terms[0].code == "P-CLOSE"
