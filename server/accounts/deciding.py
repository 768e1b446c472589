"""What a decision on a line comes to, from its grounds alone: no store, no clock.

`work_out` is run when a decision is made, and again when it is replayed: what it is given stands in
the record, so the same comes out, bit for bit (invariant I5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from server.accounts.grounds import Ask, Grounds, Outcome, Rules, UnderDecision
from server.accounts.rises import check_free, first_rise, next_offer, why_not_higher
from server.limits.basis.reasons import Reason
from server.limits.caps.caps import counted_income
from server.limits.caps.decide import decide
from server.limits.line import acts as line_acts
from server.limits.line import limit_acts
from server.limits.line.acted import Acted
from server.limits.line.delinquency import advance
from server.limits.line.line import LOOKED_INTO, Cause, Line, State, Temporary
from server.limits.line.reasons import because
from server.limits.line.review import age, review
from server.limits.line.target import target_of
from shared.errors import Conflict, UsageError

CAPPED: Final = frozenset(
    {"open", "review", "increase", "restore", "accept_offer", "temporary", "override"}
)
"""Purposes that look at the score and the caps."""
RAISING: Final = frozenset({"open", "increase", "restore", "accept_offer", "temporary"})
"""Purposes that are refused, by the name of the check, while no score can be had."""
UNTIL_LOOKED: Final = "a line is frozen until a person has looked into it"


def work_out(rules: Rules, ask: Ask, grounds: Grounds, before: Line) -> Outcome:
    """Decide.

    Parameters
    ----------
    rules : Rules
        Of the line's product.
    ask : Ask
    grounds : Grounds
    before : Line
        `BLANK` where there is none yet.

    Raises
    ------
    UsageError
        If there is no such purpose, or it lacks an amount.
    Conflict
        If the line's state does not allow it, or the day lies before its last change.
    Refused
        If a rule forbids it: no consent, a silent holder, a dispute, a pause.
    """
    act = _ACTS.get(ask.purpose)
    if act is None:
        raise UsageError(f"purpose must be one of {', '.join(_ACTS)}")
    caps = target = None
    if grounds.snapshot is not None and grounds.inputs is not None:
        caps = decide(rules.policy, rules.pack, grounds.snapshot, grounds.inputs)
        target = target_of(caps, rules.line, ask.day, scale=grounds.scale)
    return act(UnderDecision(rules, ask, grounds, before, caps, target))


def _open(case: UnderDecision) -> Outcome:
    """Open a line, or decline to: both are decisions with reasons."""
    goal, day = case.goal, case.ask.day
    check_free(case, "no line is opened")
    income = None if case.grounds.inputs is None else case.grounds.inputs.income
    proven = 0 if income is None else counted_income(case.rules.policy, income)
    if proven < case.rules.product.income_minor:
        return case.done(Acted(case.before, ()), (Reason("P-FIT", "outside"),))
    if not case.rules.product.opens(goal.lowest_minor):
        return case.done(Acted(case.before, ()), goal.told())
    asked = limit_acts.request(case.ask.product, day)
    opened = limit_acts.open_line(asked.line, goal, case.rules.line, day, consent=True)
    return case.done(Acted(opened.line, (*asked.events, *opened.events)))


def _review(case: UnderDecision) -> Outcome:
    done = review(case.before, case.grounds.facts, case.goal, case.rules.line, case.ask.day)
    return case.done(done, done.reasons, first_rise(case, done.line))


def _age(case: UnderDecision) -> Outcome:
    done = age(case.before, case.grounds.facts, case.rules.line, case.ask.day)
    return case.done(done)


def _asked(case: UnderDecision) -> Outcome:
    """Answer who asks for more: a review that is due is made; else nothing changes (I20)."""
    line, day = case.before, case.ask.day
    if line.state in {State.PENDING, State.CLOSING, State.CLOSED}:
        raise Conflict(f"the line is {line.state}", check="state")
    if day < line.changed_on:
        raise Conflict(f"the line changed on {line.changed_on}", check="clock")
    if line.next_review_on is None or day >= line.next_review_on:
        return _review(case)
    earliest = first_rise(case, line)
    if earliest is None and case.ask.purpose == "increase" and not line.is_reduced:
        earliest = next_offer(case)
    return case.done(Acted(line, ()), why_not_higher(case), earliest)


def _accept(case: UnderDecision) -> Outcome:
    check_free(case, "nothing is raised")
    return case.done(limit_acts.accept_offer(case.before, case.goal, case.rules.line, case.ask.day))


def _decline(case: UnderDecision) -> Outcome:
    return case.done(limit_acts.decline_offer(case.before, case.ask.day))


def _self_lower(case: UnderDecision) -> Outcome:
    limit, line = case.rules.line.floored(case.amount()), case.before
    if not 0 <= limit < line.approved_limit_minor:
        why = f"limit_minor must be 0 or more and below {line.approved_limit_minor}"
        raise Conflict(why, check="limit", hint="a higher one is asked for by `increase`")
    owed = case.grounds.owed_minor
    return case.done(limit_acts.self_lower(line, limit, owed, case.rules.line, case.ask.day))


def _freeze(case: UnderDecision) -> Outcome:
    cause: Cause = "fraud" if case.ask.purpose == "freeze_fraud" else "purpose"
    return case.done(line_acts.freeze(case.before, cause, case.ask.day, case.ask.initiator))


def _release(case: UnderDecision) -> Outcome:
    return case.done(line_acts.release(case.before, case.ask.day))


def _temporary(case: UnderDecision) -> Outcome:
    check_free(case, "no temporary amount")
    day, policy = case.ask.day, case.rules.line
    most = case.rules.product.temporary
    amount = case.amount()
    if most is None:
        raise Conflict("the product has no temporary amounts", check="limit")
    allowed = min(
        most.amount(case.before.approved_limit_minor, policy.quantum_minor), policy.temporary_minor
    )
    last = day + timedelta(days=policy.temporary_days - 1)
    until = case.ask.until or last
    if not 0 < amount <= allowed:
        raise Conflict(f"limit_minor must be above 0 and at most {allowed}", check="limit")
    if not day <= until <= last:
        raise Conflict(f"until must lie from {day} to {last}", check="until")
    passing = Temporary(amount, policy.temporary_purposes[0], day, until)
    owed = case.grounds.owed_minor
    acted = limit_acts.grant_temporary(case.before, passing, owed, policy, day)
    return case.done(acted, (because("P-EXTRA", until=until.isoformat()),))


def _close(case: UnderDecision) -> Outcome:
    """Close a line; what is frozen for a person to look at is not closed past that person."""
    if case.ask.initiator == "customer" and case.before.frozen_for in LOOKED_INTO:
        raise Conflict(UNTIL_LOOKED, check="state", hint="ask for an officer")
    owed = case.grounds.owed_minor
    return case.done(line_acts.close_line(case.before, owed, case.ask.day, case.ask.initiator))


def _consent_given(case: UnderDecision) -> Outcome:
    return case.done(line_acts.give_consent(case.before, case.ask.day))


def _consent_withdrawn(case: UnderDecision) -> Outcome:
    return case.done(line_acts.withdraw_consent(case.before, case.ask.day))


def _forborne(case: UnderDecision) -> Outcome:
    """Take note of a concession: no trigger and no cap is looked at."""
    facts, rules, line = case.grounds.facts, case.rules.line, case.before
    late = advance(
        line.delinquency,
        rules.arrears,
        case.ask.day,
        facts.days_past_due,
        clear_since=facts.clear_since,
        forborne_on=facts.forborne_on,
    )
    return case.done(line_acts.forbear(line, late, rules, case.ask.day))


def _override(case: UnderDecision) -> Outcome:
    line, amount = case.before, case.amount()
    if amount > line.effective_limit_minor:
        check_free(case, "nothing is raised, by nobody")
    acted = limit_acts.override_limit(
        line, amount, case.grounds.owed_minor, case.goal, case.rules.line, case.ask.day
    )
    return case.done(acted)


_ACTS: Final[Mapping[str, Callable[[UnderDecision], Outcome]]] = {
    "open": _open,
    "review": _review,
    "age": _age,
    "increase": _asked,
    "restore": _asked,
    "accept_offer": _accept,
    "decline_offer": _decline,
    "self_lower": _self_lower,
    "freeze_fraud": _freeze,
    "freeze_purpose": _freeze,
    "release": _release,
    "temporary": _temporary,
    "close": _close,
    "consent_given": _consent_given,
    "consent_withdrawn": _consent_withdrawn,
    "forborne": _forborne,
    "override": _override,
}
PURPOSES: Final = tuple(_ACTS)
"""Every purpose of a decision."""
