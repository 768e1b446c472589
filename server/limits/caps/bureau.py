"""What a credit bureau tells, and the overdue payments that it must no longer show.

The central bank of China lets one overdue payment up to an amount be forgotten once it is repaid
(the pack's `credit_repair`). A copy at the lender forgets on the same day (domain 2.6, T28).
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass, replace
from datetime import date

from server.limits.rules.pack_rows import CreditRepair
from shared.errors import UsageError


@dataclass(frozen=True, slots=True)
class Overdue:
    """One overdue payment.

    Parameters
    ----------
    amount_minor : int
    arose : date
    repaid : date, optional
        In full; None while it is not.

    Raises
    ------
    UsageError
        If the amount is not above 0, or it was repaid before it arose.
    """

    amount_minor: int
    arose: date
    repaid: date | None = None

    def __post_init__(self) -> None:
        if self.amount_minor <= 0 or (self.repaid is not None and self.repaid < self.arose):
            raise UsageError("an overdue payment is above 0 and repaid after it arose")


@dataclass(frozen=True, slots=True)
class BureauView:
    """What a bureau tells of one customer.

    Parameters
    ----------
    as_of : date
    obligations_minor : int
        Repayments of other debts a month.
    other_limits_minor : int
        Revolving limits with other lenders.
    overdue : tuple of Overdue
    """

    as_of: date
    obligations_minor: int = 0
    other_limits_minor: int = 0
    overdue: tuple[Overdue, ...] = ()


def hidden_from(record: Overdue, rule: CreditRepair) -> date | None:
    """Return the day from which an overdue payment is no longer shown, or None."""
    within = rule.arose_from <= record.arose <= rule.arose_to
    if record.repaid is None or record.repaid > rule.repaid_by:
        return None
    if not within or record.amount_minor > rule.most_minor:
        return None
    if record.repaid <= rule.early_by:
        return rule.early_hidden
    return _end_of_next_month(record.repaid)


def shown(view: BureauView, rule: CreditRepair | None, day: date) -> BureauView:
    """Return the view without the overdue payments that are no longer shown on a day.

    Parameters
    ----------
    view : BureauView
    rule : CreditRepair, optional
        Of the pack; None: all is shown.
    day : date
    """
    if rule is None:
        return view
    kept = []
    for record in view.overdue:
        gone = hidden_from(record, rule)
        if gone is None or day < gone:
            kept.append(record)
    return replace(view, overdue=tuple(kept))


def _end_of_next_month(day: date) -> date:
    year, month = divmod(12 * day.year + day.month, 12)  # month counts from 0: the next one
    return date(year, month + 1, calendar.monthrange(year, month + 1)[1])
