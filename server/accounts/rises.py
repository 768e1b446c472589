"""Whether a limit may rise: what forbids it, why it is no higher today, when it may be."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Final

from server.accounts.grounds import UnderDecision
from server.limits.basis.reasons import Reason
from server.limits.line.bars import bars, consents, cooling_down, is_paused
from server.limits.line.delinquency import add_months
from server.limits.line.line import LOOKED_INTO, Line, State
from server.limits.line.reasons import FROZEN, because, curing, first_of, progress
from server.limits.line.restore import restoration
from server.limits.line.triggers import needed_reviews
from shared.errors import Refused

_AHEAD: Final = 14  # scheduled reviews looked ahead at for an increase: more than a year


def check_free(case: UnderDecision, what: str) -> None:
    """Refuse what would raise a limit while anything forbids it (invariant I13)."""
    facts, findings = case.grounds.facts, []
    if case.goal.missing:
        told = ", ".join(f"{holder} ({why})" for holder, why in sorted(case.goal.missing.items()))
        findings.append(f"no current word of {told}")
    if not consents(case.before, facts):
        findings.append("the customer's consent does not stand")
    if facts.dispute:
        findings.append("a dispute is open")
    if facts.forborne_on is not None:
        findings.append("a concession was made because of difficulties")
    if is_paused(facts, case.rules.line):
        findings.append("increases are paused")
    if findings:
        raise Refused(f"{what}: " + "; ".join(findings))


def why_not_higher(case: UnderDecision) -> tuple[Reason, ...]:
    """Return why a limit is not higher today, and does not rise for the asking."""
    line, facts, policy, goal = case.before, case.grounds.facts, case.rules.line, case.goal
    found = [
        progress(one.code, one.clean, needed_reviews(one.code, policy)) for one in line.windows
    ]
    if line.delinquency.curing:
        found.append(curing(line.delinquency, policy.arrears))
    if line.frozen_for in LOOKED_INTO:
        found.append(because(FROZEN[line.frozen_for]))
    found += bars(line, facts, goal, policy)
    found += cooling_down(line, policy, case.ask.day)
    if goal.lowest_minor <= line.effective_limit_minor:
        found += goal.told()
    elif not found:
        # Neither caps nor behaviour hold it: the next scheduled review, and the customer's word.
        found.append(because("P-AGREED"))
    return first_of(found)


def first_rise(case: UnderDecision, line: Line) -> date | None:
    """Return the day of the first step up of a limit that fell, if every review is clean."""
    if not line.is_reduced or line.state in {State.CLOSING, State.CLOSED}:
        return None
    plan = restoration(line, case.grounds.facts, case.goal, case.rules.line, case.ask.day)
    return plan.earliest


def next_offer(case: UnderDecision) -> date | None:
    """Return the first scheduled review that may offer more, as far as dates go."""
    line, policy = case.before, case.rules.line
    if case.goal.lowest_minor <= line.approved_limit_minor or line.next_review_on is None:
        return None
    waits = [line.next_review_on]
    past = [day for day in (line.increased_on, line.offered_on) if day is not None]
    waits += [add_months(day, policy.months_between) for day in past]
    if line.opened_on is not None:
        waits.append(line.opened_on + timedelta(days=policy.days_after_opening))
    reviews = (
        line.next_review_on + timedelta(days=policy.every_days * ahead) for ahead in range(_AHEAD)
    )
    return next((day for day in reviews if day >= max(waits)), None)
