"""What lending tells of people for the next training: who consented, and only what is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.accounts import customers
from server.accounts.learning import outcomes_of
from server.accounts.nightly import review_due
from shared.errors import Conflict, UsageError
from tests.accounts.kit import GOOD, GOOD_TOO
from tests.accounts.till import a_till

YEAR = timedelta(days=360)


@pytest.fixture
def till(scene, empty_file):
    with a_till(scene, empty_file) as found:
        yield found


def outcomes(till, since, until):
    with till.store.read() as db:
        return outcomes_of(till.desk, db, since, until, till.now).bad


def learns(till, customer):
    till.consent(customer, purpose="training")


def nights(till, days, step=10):
    """Let nights pass."""
    for _ in range(days // step):
        till.later(days=step)
        till.publish()
        review_due(till.desk)


def test_who_does_not_repay_is_bad_and_who_does_is_good_once_the_year_is_over(till):
    good, bad = till.line(GOOD), till.line(GOOD_TOO)
    learns(till, GOOD)
    learns(till, GOOD_TOO)
    since = till.day
    till.later(days=1)
    till.draw(good, 20_000)
    till.draw(bad, 20_000)
    till.repay(good, 20_000)
    nights(till, 350)
    with pytest.raises(Conflict) as caught:
        outcomes(till, since, since + YEAR)
    assert caught.value.check == "until"
    nights(till, 10)
    assert outcomes(till, since, since + YEAR) == {GOOD: False, GOOD_TOO: True}
    # Who was in default on the first day already teaches nothing.
    assert outcomes(till, since + YEAR - timedelta(days=30), since + YEAR) == {GOOD: False}


def test_only_who_lets_the_lender_learn_is_told_and_withdrawing_ends_it(till):
    till.line(GOOD)
    till.line(GOOD_TOO)
    learns(till, GOOD)
    since = till.day
    till.later(days=30)
    until = till.day
    assert outcomes(till, since, until) == {GOOD: False}
    with till.store.read() as db:
        consents = customers.consents_of(db, GOOD)
    [training] = [one for one in consents if one.purpose == "training"]
    till.write(customers.withdraw_consent, training.id, till.now)
    assert outcomes(till, since, until) == {}


def test_a_line_that_is_not_open_yet_or_no_more_on_the_first_day_is_not_told(till):
    before = till.day
    till.later(days=10)
    till.line(GOOD)
    learns(till, GOOD)
    till.later(days=10)
    assert outcomes(till, before, till.day) == {}


def test_days_that_are_in_the_wrong_order_or_too_far_apart_are_refused(till):
    till.later(days=500)
    for since, until in ((till.day, till.day), (till.day - timedelta(days=400), till.day)):
        with pytest.raises(UsageError, match="by a year at most"):
            outcomes(till, since, until)
