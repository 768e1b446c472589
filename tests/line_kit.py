"""Lines to test with: the reference policy, an open line, a quiet month, a busy one."""

from __future__ import annotations

from datetime import date, timedelta

from server.limits.basis.reasons import Reason
from server.limits.line.limit_acts import open_line, request
from server.limits.line.review import review
from server.limits.line.target import target_from
from server.limits.line.triggers import Facts
from server.limits.rules.line_lint import parse_line_policy
from server.policies import embedded

TEXT, SOURCE = embedded("line_reference")
POLICY = parse_line_policy(TEXT, SOURCE)
START = date(2026, 1, 1)
BASE = 1_000_000
GRADE = Reason("P-GRADE", "policy", amount_minor=BASE)
QUIET = {"draws_30d": 1, "peak_balance_30d": 300_000}
BUSY = {"draws_30d": 8, "peak_balance_30d": 320_000}


def policy_with(*pairs, text=TEXT):
    """Return the reference policy with some of its text replaced."""
    for old, new in pairs:
        assert text.count(old) >= 1, old
        text = text.replace(old, new, 1)
    return parse_line_policy(text, "line.toml")


def target(smallest=BASE, policy=POLICY, **more):
    """Return a target."""
    return target_from(smallest, (GRADE,), policy, **more)


def opened(smallest=BASE, policy=POLICY, on=START):
    """Return an active line and its events."""
    asked = request("revolving_consumer", on)
    line = open_line(asked.line, target(smallest, policy), policy, on, consent=True)
    return line.line, [*asked.events, *line.events]


def quiet(**more):
    """Return the facts of a quiet month."""
    return Facts(measures={**QUIET, **more.pop("measures", {})}, **more)


def busy(**more):
    """Return the facts of a month with many draws."""
    return Facts(measures={**BUSY, **more.pop("measures", {})}, **more)


class Life:
    """A line that is reviewed again and again, its events kept."""

    def __init__(self, smallest=BASE, policy=POLICY, on=START):
        self.policy, self.smallest = policy, smallest
        self.line, self.events = opened(smallest, policy, on)
        self.codes = []

    def take(self, outcome):
        self.line = outcome.line
        self.events += outcome.events
        return outcome

    def review(self, facts=None, on=None, **caps):
        """Review on the next scheduled day, or on another."""
        day = on or self.line.next_review_on
        goal = target(caps.pop("smallest", self.smallest), self.policy, **caps)
        done = self.take(review(self.line, facts or quiet(), goal, self.policy, day))
        self.codes = [reason.code for event in done.events for reason in event.reasons]
        return done

    def months(self, *facts, **caps):
        """Review once for each."""
        for one in facts:
            self.review(one, **caps)
        return self

    @property
    def brief(self):
        """State and limit, in short."""
        return self.line.state.value, self.line.effective_limit_minor

    def later(self, days):
        return self.line.changed_on + timedelta(days=days)
