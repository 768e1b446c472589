"""Acts upon a limit between reviews: opening, offers, own caps, temporary amounts, a person's word.

Each checks what it needs and returns the line with its events; none of them decides what the caps
allow.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from server.limits.basis.reasons import Reason
from server.limits.line.acted import Acted, done, must_be_open
from server.limits.line.events import Journal
from server.limits.line.line import BLANK, DRAWING, Line, State, Temporary
from server.limits.line.reasons import because
from server.limits.line.target import Target
from server.limits.rules.line_policy import LinePolicy
from shared.errors import Conflict, Refused, UsageError


def request(product: str, as_of: date) -> Acted:
    """Begin a line: pending, without a limit."""
    journal = Journal(BLANK, as_of, "customer")
    journal.note("requested", product=product)
    return done(journal)


def open_line(
    line: Line, target: Target, policy: LinePolicy, as_of: date, *, consent: bool
) -> Acted:
    """Open a pending line with what the caps allow.

    Raises
    ------
    Refused
        Without the customer's consent, with a silent holder, or where the caps allow nothing.
    Conflict
        If the line is not pending.
    """
    if line.state is not State.PENDING:
        raise Conflict(f"a line that is {line.state} is not opened", check="state")
    if not consent:
        raise Refused("no line is opened without the customer's consent")
    if target.missing:
        raise Refused("no line is opened while a holder is silent")
    limit = target.lowest_minor
    if limit <= 0:
        raise Refused("the caps allow no limit")
    journal = Journal(line, as_of)
    journal.note(
        "opened",
        target.told(),
        state=State.ACTIVE,
        opened_on=as_of,
        next_review_on=as_of + timedelta(days=policy.every_days),
        **_agreed(limit),
    )
    return done(journal)


def accept_offer(line: Line, target: Target, policy: LinePolicy, as_of: date) -> Acted:
    """Raise the limit to an open offer, or to what the caps still allow of it.

    Parameters
    ----------
    line : Line
    target : Target
        Of today: an offer is no promise against a later fall of the caps.
    policy : LinePolicy
    as_of : date

    Raises
    ------
    Conflict
        If there is no open offer, or the line is not active any more.
    Refused
        If a holder is silent, consent was withdrawn, or the caps allow no more than there is.
    """
    offer = line.offer
    if offer is None or not offer.made_on <= as_of <= offer.until:
        raise Conflict("the line has no open offer", check="state")
    if line.state is not State.ACTIVE:
        raise Conflict(f"a line that is {line.state} is not raised", check="state")
    if target.missing or line.consent_withdrawn_on is not None:
        raise Refused("nothing is raised while a holder is silent or consent is withdrawn")
    limit = policy.floored(min(offer.limit_minor, target.lowest_minor))
    if limit <= line.effective_limit_minor:
        raise Refused("the caps allow no more than the present limit")
    journal = Journal(line, as_of, "customer")
    agreed = _agreed(limit)
    agreed["advised_limit_minor"] = max(line.advised_limit_minor, limit + line.temporary_on(as_of))
    journal.note("increased", [because("P-AGREED")], increased_on=as_of, offer=None, **agreed)
    return done(journal)


def decline_offer(line: Line, as_of: date) -> Acted:
    """Drop an offer; the next one comes as late as after an increase.

    Raises
    ------
    Conflict
        If there is none.
    """
    if line.offer is None:
        raise Conflict("the line has no open offer", check="state")
    journal = Journal(line, as_of, "customer")
    journal.note("declined", offer=None)
    return done(journal)


def self_lower(
    line: Line, limit_minor: int, owed_minor: int, policy: LinePolicy, as_of: date
) -> Acted:
    """Lower the limit because the customer wants it: at once, and no reason is asked.

    Parameters
    ----------
    line : Line
    limit_minor : int
        Rounded down to a quantum.
    owed_minor : int
        Outstanding and held; below it nothing can be drawn until it is repaid.
    policy : LinePolicy
    as_of : date

    Raises
    ------
    Conflict
        If the line is not open.
    UsageError
        If that would not be lower than the approved limit, or below 0.
    """
    must_be_open(line)
    limit = policy.floored(limit_minor)
    if not 0 <= limit < line.approved_limit_minor:
        raise UsageError("limit_minor must be at least 0 and below the approved limit")
    effective = min(line.effective_limit_minor, limit)
    journal = Journal(line, as_of, "customer")
    changes: dict[str, Any] = {
        "base_limit_minor": limit,
        "approved_limit_minor": limit,
        "effective_limit_minor": effective,
        "caps_limit_minor": min(line.caps_limit_minor, limit),
        "advised_limit_minor": max(effective + line.temporary_on(as_of), owed_minor),
        "offer": None,
        "offered_on": as_of,  # nobody who wanted less is soon offered more
    }
    journal.note("self_lowered", [Reason("P-OWN", "policy", amount_minor=limit)], **changes)
    return done(journal)


def grant_temporary(
    line: Line, passing: Temporary, owed_minor: int, policy: LinePolicy, as_of: date
) -> Acted:
    """Add a temporary amount that falls away by itself (domain M68).

    Raises
    ------
    Conflict
        If the line cannot be drawn on, or has a temporary amount.
    Refused
        If the policy knows no such purpose, or the amount or the span is more than it allows.
    """
    if not line.may_draw:
        raise Conflict("the line cannot be drawn on", check="state")
    if line.temporary_on(as_of):
        raise Conflict("the line has a temporary amount", check="state")
    days = (passing.until - passing.since).days + 1
    findings = []
    if passing.purpose not in policy.temporary_purposes:
        findings.append(f"purpose must be {' or '.join(policy.temporary_purposes)}")
    if not 0 < passing.amount_minor <= policy.temporary_minor:
        findings.append(f"amount_minor must be above 0 and at most {policy.temporary_minor}")
    if not 0 < days <= policy.temporary_days or passing.since != as_of:
        findings.append(f"it must begin today and last at most {policy.temporary_days} days")
    if line.delinquency.curing:
        findings.append("something is overdue or was lately, or a concession was made")
    if findings:
        raise Refused("no temporary amount: " + "; ".join(findings))
    journal = Journal(line, as_of)
    advised = max(line.effective_limit_minor + passing.amount_minor, owed_minor)
    journal.note("temporary", temporary=passing, advised_limit_minor=advised)
    return done(journal)


def override_limit(
    line: Line, limit_minor: int, owed_minor: int, target: Target, policy: LinePolicy, as_of: date
) -> Acted:
    """Set a limit by the word of a person, within the policy's bounds (domain 2.14).

    Downwards by one cut at most; upwards no further than what the customer agreed to, and never
    above law and the customer's own cap. The next scheduled review decides by the rules again.

    Parameters
    ----------
    line : Line
    limit_minor : int
        Rounded down to a quantum.
    owed_minor : int
        Outstanding and held.
    target : Target
        Of today.
    policy : LinePolicy
    as_of : date

    Raises
    ------
    Conflict
        With check `state`, if the line is frozen or not open; with check `limit`, out of bounds.
    """
    if line.state not in DRAWING:
        raise Conflict(f"the line is {line.state}", check="state")
    now, limit = line.effective_limit_minor, policy.floored(limit_minor)
    low, high = policy.lowest_after_cut(now), line.approved_limit_minor
    high = high if target.absolute_minor is None else min(high, target.absolute_minor)
    if not low <= limit <= high or limit == now:
        why = f"limit_minor must lie from {low} to {high} and differ from {now}"
        raise Conflict(why, check="limit")
    told, journal = [because("P-HUMAN")], Journal(line, as_of)
    changes: dict[str, Any] = {
        "effective_limit_minor": limit,
        "caps_limit_minor": max(line.caps_limit_minor, limit),
        "advised_limit_minor": max(limit + line.temporary_on(as_of), owed_minor),
        "offer": None,
    }
    if limit < now:
        state = State.OBSERVATION if line.state is State.OBSERVATION else State.REDUCED
        remembered = (*line.before_cuts, (as_of, now))
        journal.note(
            "overridden", told, state=state, cut_on=as_of, before_cuts=remembered, **changes
        )
        return done(journal)
    rising = line.state in {State.REDUCED, State.RESTORING}
    state = State.RESTORING if rising else line.state
    journal.note("overridden", told, state=state, loosened_on=as_of, **changes)
    if rising and limit == line.approved_limit_minor:
        journal.note("restored", [because("R03")], state=State.ACTIVE, restored_on=as_of)
    return done(journal)


def _agreed(limit: int) -> dict[str, Any]:
    """Return the changes that make a limit the agreed one."""
    return {
        "base_limit_minor": limit,
        "approved_limit_minor": limit,
        "effective_limit_minor": limit,
        "advised_limit_minor": limit,
        "caps_limit_minor": limit,
    }
