"""What keeps a line from rising whatever the customer does on it (invariant I13), in one place.

A decision records that holders are silent (`bars`); a customer is told whose choice that silence is
(`bars_told`). What forbids a rise is the same for both.
"""

from __future__ import annotations

from datetime import date, timedelta

from server.limits.basis.reasons import Reason
from server.limits.line.line import Line
from server.limits.line.reasons import because, cooling, silent, unheard
from server.limits.line.target import Target
from server.limits.line.triggers import Facts
from server.limits.rules.line_policy import LinePolicy


def consents(line: Line, facts: Facts) -> bool:
    """Return whether the customer's consent to credit stands."""
    return facts.consent and line.consent_withdrawn_on is None


def is_paused(facts: Facts, policy: LinePolicy) -> bool:
    """Return whether the portfolio's budget lets nothing be raised."""
    return facts.budget_used >= policy.pause_at


def bars(line: Line, facts: Facts, target: Target, policy: LinePolicy) -> list[Reason]:
    """Return what forbids raising anything, as a decision records it."""
    found = [silent(target.missing)] if target.missing else []
    if not consents(line, facts):
        found.append(because("P-CONSENT"))
    return found + _outer(facts, policy)


def bars_told(line: Line, facts: Facts, target: Target, policy: LinePolicy) -> list[Reason]:
    """Return what forbids raising anything, as the customer is told it."""
    heard = unheard(target.missing, consent=consents(line, facts))
    return heard + _outer(facts, policy)


def cooling_down(line: Line, policy: LinePolicy, as_of: date) -> list[Reason]:
    """Return the cool-down of a limit that fell, while it lasts."""
    cut = line.last_cut() if line.is_reduced else None
    until = None if cut is None else cut + timedelta(days=policy.cool_down_days)
    return [] if until is None or until <= as_of else [cooling(until)]


def _outer(facts: Facts, policy: LinePolicy) -> list[Reason]:
    found = [because("P-DISPUTE")] if facts.dispute else []
    if is_paused(facts, policy):
        found.append(because("C-PAUSE"))
    return found
