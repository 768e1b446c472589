"""The last time that a limit went down, with the reasons of that decision.

A reduced line says today what keeps it down: a watch, a cool-down, a silent holder. Why it was cut
stands in the decision that cut it, and whoever asks why a limit is low is owed that behaviour by
name (CFPB circular 2023-03), also after the watch is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.recording import read_record
from server.limits.basis.reasons import Reason
from server.limits.line.line import Line
from server.limits.words.explain import Money, Texts, principal, tell
from server.store.decisions import record_of
from server.store.tables import LINE_EVENTS
from shared.errors import NotFound

_E = LINE_EVENTS.c


@dataclass(frozen=True, slots=True)
class Cut:
    """A decision that lowered a limit.

    Parameters
    ----------
    decision_id : str
    on : date
        Local.
    before_minor, after_minor : int
        Effective limits: a temporary amount that runs out is no cut.
    own : bool
        The customer wanted it.
    reasons : tuple of Reason
        Of that day.
    """

    decision_id: str
    on: date
    before_minor: int
    after_minor: int
    own: bool
    reasons: tuple[Reason, ...]


def last_cut(db: Connection, line: Line, line_id: str) -> Cut | None:
    """Return the last cut of a line, while it counts: something is missing, or was given up.

    Parameters
    ----------
    db : Connection
    line : Line
        Of today.
    line_id : str

    Returns
    -------
    Cut or None
        None where the limit is what it was agreed to be by both; where it never fell; where the
        record was deleted.
    """
    before = sa.func.lag(_E.limit_minor).over(order_by=_E.version)
    rows = sa.select(_E.version, _E.ref, _E.limit_minor, before.label("before"))
    falls = rows.where(_E.line_id == line_id).subquery()
    fell = sa.select(falls.c.ref).where(falls.c.limit_minor < falls.c.before)
    for name in db.execute(fell.order_by(falls.c.version.desc())).scalars():
        cut = _read(db, name)
        if cut is not None and cut.after_minor < cut.before_minor:
            gave_up = cut.own and line.approved_limit_minor == cut.after_minor
            return cut if line.is_reduced or gave_up else None
    return None


def _read(db: Connection, decision_id: str) -> Cut | None:
    try:
        record = read_record(record_of(db, decision_id)[0])
    except NotFound:
        return None
    return Cut(
        decision_id=decision_id,
        on=record.ask.day,
        before_minor=record.before.effective_limit_minor,
        after_minor=record.outcome.after.effective_limit_minor,
        own=record.ask.purpose == "self_lower",
        reasons=principal(record.outcome.reasons),
    )


def cut_view(cut: Cut | None, texts: Texts, money: Money, baseline: str) -> dict[str, Any] | None:
    """Return a cut with its sentences, ready for JSON.

    Parameters
    ----------
    cut : Cut, optional
    texts : Texts
    money : Money
    baseline : str
        What points are measured below.
    """
    if cut is None:
        return None
    told = [tell(one, texts, money, baseline=baseline).to_mapping() for one in cut.reasons]
    words = {
        "day": texts.day(cut.on),
        "before": texts.money(cut.before_minor, money.currency, money.digits),
        "after": texts.money(cut.after_minor, money.currency, money.digits),
    }
    return {
        "decision_id": cut.decision_id,
        "on": cut.on.isoformat(),
        "limit_from_minor": cut.before_minor,
        "limit_to_minor": cut.after_minor,
        "reasons": told,
        "text": texts.say("cut.own" if cut.own else "cut.ours", **words),
    }
