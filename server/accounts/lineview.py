"""A line as it is shown: what can be drawn and what binds, what is due, who lends, what it awaits.

A look changes nothing: holds whose time is over are left out of what is reserved, whether or not
they were swept yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from sqlalchemy import Connection

from server.accounts import funding
from server.accounts.admitting import Look, look_at, room, shown
from server.accounts.costing import rated
from server.accounts.desk import Desk
from server.accounts.repaying import Due, days_past_due, next_due
from server.limits.line.clean_path import earliest_exits
from server.limits.line.line import Line, State
from server.limits.line.triggers import needed_reviews, observes
from server.limits.line.waterfall import Available
from server.limits.portfolio.joint import PartnerDecision
from server.limits.rules.line_policy import LinePolicy
from server.store.lines import StoredLine, get_line
from server.store.shares import lenders_of

_SHOWN: Final = Decimal("0.000001")
_UNREVIEWED: Final = frozenset({State.FROZEN, State.CLOSING, State.CLOSED, State.PENDING})


@dataclass(frozen=True, slots=True)
class Lender:
    """Somebody that has money out on a line.

    Parameters
    ----------
    partner_id : str
        `own` for the lender itself.
    open_minor : int
    share : Decimal
        Of what is owed on the line; six decimals.
    """

    partner_id: str
    open_minor: int
    share: Decimal


@dataclass(frozen=True, slots=True)
class Progress:
    """An open observation or hold, and how far it is (domain M46, M66).

    Parameters
    ----------
    rule : str
        Code.
    observes : bool
        It keeps the line under observation; else it only keeps the limit from rising.
    clean, needed : int
        Clean reviews in a row: so far, and until it is over.
    earliest_exit : date, optional
        If every coming review is on its day and clean; None while a person has to look.
    """

    rule: str
    observes: bool
    clean: int
    needed: int
    earliest_exit: date | None

    @property
    def progress(self) -> str:
        """``1/2``."""
        return f"{self.clean}/{self.needed}"


@dataclass(frozen=True, slots=True)
class LineView:
    """A line as it is shown.

    Parameters
    ----------
    line : StoredLine
    domain : Line
    available : Available
        The waterfall, where no purpose is named.
    next_due : Due, optional
        None where nothing is owed.
    days_past_due : int
    lenders : tuple of Lender
        In order of names.
    advised_limit_minor : int
        What the customer was told; never below what is owed and held.
    observation : tuple of Progress
    next_review_on : date, optional
    day : date
        Local, of the look.
    """

    line: StoredLine
    domain: Line
    available: Available
    next_due: Due | None
    days_past_due: int
    lenders: tuple[Lender, ...]
    advised_limit_minor: int
    observation: tuple[Progress, ...]
    next_review_on: date | None
    day: date


def line_view(desk: Desk, db: Connection, line_id: str, now: datetime) -> LineView:
    """Return a line as it is shown at an instant.

    Raises
    ------
    NotFound
        If there is no such line.
    EnvironmentFault
        If partners bound what can be drawn, and no score can be had to ask them with.
    """
    look = look_at(desk, db, get_line(db, line_id), now)
    stored, line = look.stored, look.line
    owed = stored.totals.outstanding_minor
    days, due = 0, None
    if owed:
        days, _ = days_past_due(desk, db, line_id, look.day)
        due = next_due(desk, db, line_id, look.day)
    return LineView(
        line=stored,
        domain=line,
        available=_available(desk, db, look, now),
        next_due=due,
        days_past_due=days,
        lenders=_lenders(lenders_of(db, line_id) if owed else []),
        advised_limit_minor=max(line.advised_limit_minor, owed + look.held_minor),
        observation=progress_of(line, desk.rules.line, look.day),
        next_review_on=line.next_review_on,
        day=look.day,
    )


def progress_of(line: Line, policy: LinePolicy, day: date) -> tuple[Progress, ...]:
    """Return how far each open window is.

    Parameters
    ----------
    line : Line
    policy : LinePolicy
    day : date
        No review comes before it.
    """
    exits = {} if line.state in _UNREVIEWED else earliest_exits(line, policy, day)
    return tuple(
        Progress(
            rule=one.code,
            observes=observes(one, policy),
            clean=one.clean,
            needed=needed_reviews(one.code, policy),
            earliest_exit=exits.get(one.code),
        )
        for one in line.windows
    )


def _available(desk: Desk, db: Connection, look: Look, now: datetime) -> Available:
    supply = funding.supply_for(desk, db, look.stored, look.day)
    decisions: tuple[PartnerDecision, ...] = ()
    holders = look.past.holders
    # Only where something may be drawn do partners bound it, and without consent nobody is asked.
    if supply.own_minor is not None and look.line.may_draw and holders is not None:
        one = rated(desk, look.stored.customer_id, look.line, look.product, holders, now)
        decisions = supply.decide(shown(look, one), look.day)
    return room(look, supply, decisions)


def _lenders(owed: Sequence[tuple[str, int]]) -> tuple[Lender, ...]:
    whole = sum(amount for _, amount in owed)
    return tuple(
        Lender(name, amount, (Decimal(amount) / whole).quantize(_SHOWN, ROUND_HALF_UP))
        for name, amount in owed
    )
