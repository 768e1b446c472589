"""Answers to customers: why a limit is low, why it is not back, what would raise it, what if.

`explain` tells a decision from its record, under the rules of its day: what was true then. `why`
tells a line as it is today, under the rules in force. Neither computes a limit of its own: both
run the policy that decides, and read their figures off what it returns. Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from server.accounts.carrying import credit_record, data_used, linkage
from server.accounts.coming_back import came_back
from server.accounts.desk import Desk
from server.accounts.keeping import read_decision
from server.accounts.last_cut import cut_view, last_cut
from server.accounts.lineview import LineView, line_view
from server.accounts.standing import look_at
from server.accounts.telling import (
    advice_of,
    as_it_is,
    as_it_was,
    baseline_of,
    headline_and_reasons,
    money_of,
    reasons_then,
    score_of,
    spoken,
    texts_of,
    way_back_of,
)
from server.limits.answers.line_reviews import LineReviews
from server.limits.answers.way_back import each_review
from server.limits.answers.whatif import FACTS, parse_changes, what_if_view
from server.limits.answers.whatif import what_if as run_ahead
from server.limits.answers.why_low import caps_view, multiplier_of, path_view, standing
from server.store.lines import get_line
from shared.errors import Conflict, UsageError

LONGEST: Final = 720
"""Days that a what-if looks ahead, at most."""
_LATER: Final[Mapping[str, int]] = {"enquiries": 90}
"""Days until a change can be seen, of facts that no action of the file is about."""


def explain(
    desk: Desk, db: Connection, decision_id: str, language: str, *, advice: bool = True
) -> dict[str, Any]:
    """Explain a decision from its record: what was known, under the rules of that day.

    Parameters
    ----------
    desk : Desk
    db : Connection
    decision_id : str
    language : str
        One of the languages of the desk's texts: the words are today's, nothing else of the answer
        is.
    advice : bool
        Without it nothing is told of what would help: proving that runs the coming reviews.

    Raises
    ------
    NotFound
        If there is no such decision, or its record was deleted.
    UsageError
        If there are no texts in that language.
    """
    texts = texts_of(desk, language)
    found = read_decision(desk, db, decision_id)
    record, decision = found.record, found.decision
    told = as_it_was(db, record)
    reasons = reasons_then(record, told)
    before, after = record.before, record.outcome.after
    words = headline_and_reasons(
        desk, told, reasons, texts, None if before.version == 0 else before
    )
    return {
        "decision_id": decision.id,
        "line_id": None if found.line is None else record.about.get("line"),
        "purpose": decision.purpose,
        "decided_on": record.ask.day.isoformat(),
        **spoken(words, reasons),
        "change": {
            "state_from": before.state.value,
            "state_to": after.state.value,
            "limit_from_minor": before.effective_limit_minor,
            "limit_to_minor": after.effective_limit_minor,
            "agreed_minor": after.approved_limit_minor,
        },
        "binding_caps": list(told.caps.binding) if told.caps else [],
        "caps": caps_view(told.caps, texts, told.money) if told.caps else [],
        "restoration": way_back_of(told, texts),
        **(advice_of(desk, told, texts) if advice else {}),
        "score": score_of(desk, told),
        "policy": decision.policy_ref,
        "jurisdiction": decision.pack_ref,
        "rules": dict(record.rules),
    }


def why(desk: Desk, db: Connection, line_id: str, language: str, now: datetime) -> dict[str, Any]:
    """Answer both questions about a line, as it is today: why so low, and why not back.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line_id : str
    language : str
    now : datetime

    Raises
    ------
    NotFound
        If there is no such line.
    UsageError
        If there are no texts in that language.
    """
    return why_of(desk, db, line_view(desk, db, line_id, now), language, now)


def why_of(
    desk: Desk, db: Connection, view: LineView, language: str, now: datetime
) -> dict[str, Any]:
    """Answer both questions about a line that was looked at just now; see `why`."""
    texts = texts_of(desk, language)
    line_id = view.line.id
    seen = look_at(desk, db, view.line, now)
    told = as_it_is(seen)
    line, money = seen.line, told.money
    found = standing(line, seen.facts, seen.target, seen.line_policy, seen.day)
    words = headline_and_reasons(desk, told, found.reasons, texts, line)
    coming = line.next_review_on if told.reviews is not None else None
    factor = multiplier_of(seen.caps, seen.line_policy, seen.day)
    room = view.available
    path = path_view(line, seen.caps, seen.target, room, texts, money, multiplier=factor)
    return {
        "line_id": line_id,
        "as_of": seen.day.isoformat(),
        "state": {"code": line.state.value, "text": texts.say(f"state.{line.state.value}")},
        "limit_minor": line.effective_limit_minor,
        "agreed_minor": line.approved_limit_minor,
        "available_minor": room.amount_minor,
        **spoken(words, found.reasons),
        "why_low": {
            "component": found.component,
            "path": path,
            "caps": caps_view(seen.caps, texts, money),
            "last_cut": cut_view(
                last_cut(db, line, line_id), texts, money, baseline_of(desk, told.model)
            ),
        },
        "why_not_back": {
            "at_once": came_back(desk, db, view.line, room, seen.facts, texts, money),
            "restoration": way_back_of(told, texts),
            "each_review": each_review(
                seen.line_policy, coming, line.base_limit_minor, texts, money
            ),
        },
        **advice_of(desk, told, texts),
        "score": score_of(desk, told),
        "policy": seen.policy.name,
        "rules": desk.rules.digests(),
    }


def what_if(
    desk: Desk,
    db: Connection,
    line_id: str,
    changes: Mapping[str, Any],
    horizon_days: int,
    now: datetime,
) -> dict[str, Any]:
    """Say what the coming reviews would do if some facts changed; nothing is kept of it.

    A change counts from the day on which it could first be seen: a window has to run out, a proof
    has to be checked. The score stays as it is, for only the holders know what would move it.

    Parameters
    ----------
    desk : Desk
    db : Connection
    line_id : str
    changes : mapping of str to value
        New value by fact; see `server.limits.answers.whatif.FACTS`.
    horizon_days : int
        From today, 1 to `LONGEST`.
    now : datetime

    Raises
    ------
    NotFound
        If there is no such line.
    UsageError
        With every change that is malformed.
    Conflict
        With check `state`, if the line has no reviews any more; `fact`, if nothing is known here
        of what would change; `source`, if the policy counts no income of that source.
    """
    if not 1 <= horizon_days <= LONGEST:
        raise UsageError(f"horizon_days must be from 1 to {LONGEST}")
    seen = look_at(desk, db, get_line(db, line_id), now)
    told = as_it_is(seen)
    if told.reviews is None:
        raise Conflict(f"a line that is {seen.line.state} has no coming reviews", check="state")
    _check_known(changes, told.reviews, list(seen.policy.haircuts))
    sources = list(seen.policy.haircuts)
    wanted = parse_changes(changes, told.reviews, sources, seen.day, _delays(desk))
    horizon = seen.day + timedelta(days=horizon_days)
    answer = run_ahead(told.reviews, wanted, horizon)
    holders = sorted(seen.snapshot.points)
    view = what_if_view(answer, seen.snapshot.rating, holders)
    seen_from = {one.fact: one.since.isoformat() for one in wanted}
    return {"line_id": line_id, "as_of": seen.day.isoformat(), "seen_from": seen_from, **view}


def _check_known(changes: Mapping[str, Any], reviews: LineReviews, sources: Sequence[str]) -> None:
    """Refuse what depends on this line: facts that it does not have, sources that do not count."""
    known = reviews.facts()
    unknown = sorted(fact for fact in changes if fact in FACTS and fact not in known)
    if unknown:
        hint = f"what can be changed here: {', '.join(sorted(known))}"
        raise Conflict(f"nothing is known of {', '.join(unknown)}", check="fact", hint=hint)
    if changes.get("income_source", sources[0]) not in sources:
        raise Conflict(f"income_source must be one of {', '.join(sources)}", check="source")


def _delays(desk: Desk) -> dict[str, int]:
    return {**_LATER, **{one.fact: one.delay_days for one in desk.rules.actions.actions}}


__all__ = [
    "LONGEST",
    "credit_record",
    "data_used",
    "explain",
    "linkage",
    "money_of",
    "texts_of",
    "what_if",
    "why",
]
