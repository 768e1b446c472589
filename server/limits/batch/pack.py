"""From lines, facts and targets to columns; `server.limits.batch.rows` goes back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final, Generic, TypeVar

import numpy as np

from server.limits.basis.reasons import Reason
from server.limits.batch.columns import (
    AT,
    NEVER,
    NONE,
    Columns,
    Counts,
    Cuts,
    Days,
    FactColumns,
    LineColumns,
    Money,
    TargetColumns,
    Windows,
)
from server.limits.line.line import RANK, Line
from server.limits.line.target import Target
from server.limits.line.triggers import Facts
from server.limits.rules.line_policy import LinePolicy
from shared.errors import UsageError

_T = TypeVar("_T")
AMOUNTS: Final = (
    "base_limit_minor",
    "approved_limit_minor",
    "effective_limit_minor",
    "advised_limit_minor",
    "caps_limit_minor",
)
DATES: Final = (
    "opened_on",
    "next_review_on",
    "changed_on",
    "cut_on",
    "caps_cut_on",
    "loosened_on",
    "restored_on",
    "increased_on",
    "offered_on",
    "consent_withdrawn_on",
)
CURE: Final = ("clear_since", "defaulted_on", "forborne_on")


class Table(Generic[_T]):
    """Values that stand once, and the place of each."""

    def __init__(self, known: Iterable[_T] = ()) -> None:
        self._at = {value: place for place, value in enumerate(known)}

    def place(self, value: _T) -> int:
        """Return the place of a value, a new one if it was not there."""
        return self._at.setdefault(value, len(self._at))

    def places(self, values: Iterable[_T | None]) -> Counts:
        """Return the place of each value, -1 where there is none."""
        return counts([NONE if one is None else self.place(one) for one in values])

    @property
    def all(self) -> tuple[_T, ...]:
        """Every value, by its place."""
        return tuple(self._at)


def columns_of(lines: Sequence[Line], facts: Sequence[Facts], policy: LinePolicy) -> Columns:
    """Return lines and facts as columns.

    Parameters
    ----------
    lines : sequence of Line
    facts : sequence of Facts
        As many.
    policy : LinePolicy
        Its rules are known to the columns even where no line has a window of them.

    Raises
    ------
    UsageError
        If a measure is negative: -1 stands for one that is not known.
    """
    return Columns(line_columns(lines, policy), fact_columns(facts))


def line_columns(lines: Sequence[Line], policy: LinePolicy) -> LineColumns:
    """Return lines as columns; see `columns_of`."""
    texts = Table[str]()
    late = [line.delinquency for line in lines]
    passing = [line.temporary for line in lines]
    offers = [line.offer for line in lines]
    amounts: dict[str, Any] = {
        name: money([getattr(one, name) for one in lines]) for name in AMOUNTS
    }
    days: dict[str, Any] = {name: _days([getattr(one, name) for one in lines]) for name in DATES}
    days |= {name: _days([getattr(one, name) for one in late]) for name in CURE}
    return LineColumns(
        product=texts.places(line.product for line in lines),
        state=counts([AT[line.state] for line in lines]),
        version=counts([line.version for line in lines]),
        **amounts,
        windows=_windows(lines, policy),
        days_past_due=counts([one.days_past_due for one in late]),
        bucket=texts.places(one.bucket for one in late),
        curing=np.array([one.curing for one in late], np.bool_),
        **days,
        clean_reviews=counts([line.clean_reviews for line in lines]),
        frozen_for=counts([RANK.index(line.frozen_for) for line in lines]),
        score=counts([_or_none(line.score) for line in lines]),
        temporary_minor=money([one.amount_minor if one else NONE for one in passing]),
        temporary_purpose=texts.places(one.purpose if one else None for one in passing),
        temporary_since=_days([one.since if one else None for one in passing]),
        temporary_until=_days([one.until if one else None for one in passing]),
        offer_minor=money([one.limit_minor if one else NONE for one in offers]),
        offer_made_on=_days([one.made_on if one else None for one in offers]),
        offer_until=_days([one.until if one else None for one in offers]),
        before_cuts=_cuts(lines),
        texts=texts.all,
    )


def fact_columns(facts: Sequence[Facts]) -> FactColumns:
    """Return facts as columns; see `columns_of`."""
    names = sorted({name for one in facts for name in one.measures})
    measures = {name: money([one.measures.get(name, NONE) for one in facts]) for name in names}
    if any((one.measures.get(name, 0)) < 0 for one in facts for name in names):
        raise UsageError("a measure must be 0 or more; one that is not known is left out")
    budgets = Table[Any]()
    return FactColumns(
        outstanding_minor=money([one.outstanding_minor for one in facts]),
        held_minor=money([one.held_minor for one in facts]),
        measures=measures,
        days_past_due=counts([one.days_past_due for one in facts]),
        clear_since=_days([one.clear_since for one in facts]),
        forborne_on=_days([one.forborne_on for one in facts]),
        fraud=np.array([one.fraud for one in facts], np.bool_),
        consent=np.array([one.consent for one in facts], np.bool_),
        dispute=np.array([one.dispute for one in facts], np.bool_),
        budget_used=budgets.places(one.budget_used for one in facts),
        budgets=budgets.all,
        last_draw_on=_days([one.last_draw_on for one in facts]),
    )


def target_columns(targets: Sequence[Target]) -> TargetColumns:
    """Return targets as columns.

    Raises
    ------
    UsageError
        If the reasons of one target state different amounts: all are of the smallest cap.
    """
    book, scenarios = Table[tuple[Reason, bool]](), Table[str]()
    silences: Table[tuple[tuple[str, str], ...]] = Table([()])
    width = max((len(one.reasons) for one in targets), default=1)
    reasons = np.full((len(targets), width), NONE, np.int32)
    amounts = np.full(len(targets), NONE, np.int64)
    for row, one in enumerate(targets):
        stated = [reason.amount_minor for reason in one.reasons]
        found = {amount for amount in stated if amount is not None}
        if len(found) > 1:
            raise UsageError("the reasons of a target must state one amount")
        for amount in found:
            amounts[row] = amount
        for column, reason in enumerate(one.reasons):
            key = (replace(reason, amount_minor=None), reason.amount_minor is not None)
            reasons[row, column] = book.place(key)
    return TargetColumns(
        limit_minor=money([one.limit_minor for one in targets]),
        full_minor=money([one.full_minor for one in targets]),
        scaled_minor=money([one.scaled_minor for one in targets]),
        absolute_minor=money([_or_none(one.absolute_minor) for one in targets]),
        amount_minor=amounts,
        reasons=reasons,
        scenario=scenarios.places(one.scenario for one in targets),
        scenarios=scenarios.all,
        missing=silences.places(tuple(one.missing.items()) for one in targets),
        silences=tuple(dict(one) for one in silences.all),
        book=tuple(reason for reason, _ in book.all),
        with_amount=np.array([stated for _, stated in book.all], np.bool_),
    )


def _windows(lines: Sequence[Line], policy: LinePolicy) -> Windows:
    flat = [(row, one) for row, line in enumerate(lines) for one in line.windows]
    codes = dict.fromkeys([*policy.rules, "B08", *(one.code for _, one in flat)])
    at = {code: place for place, code in enumerate(codes)}
    return Windows(
        codes=tuple(codes),
        row=np.array([row for row, _ in flat], np.int64),
        code=counts([at[one.code] for _, one in flat]),
        opened_on=_days([one.opened_on for _, one in flat]),
        seen_on=_days([one.seen_on for _, one in flat]),
        run=counts([one.run for _, one in flat]),
        clean=counts([one.clean for _, one in flat]),
        score=counts([_or_none(one.score) for _, one in flat]),
    )


def _cuts(lines: Sequence[Line]) -> Cuts:
    flat = [(row, *one) for row, line in enumerate(lines) for one in line.before_cuts]
    return Cuts(
        row=np.array([row for row, _, _ in flat], np.int64),
        on=_days([day for _, day, _ in flat]),
        limit_minor=money([limit for _, _, limit in flat]),
    )


def money(values: Iterable[int]) -> Money:
    """Return amounts as a column."""
    return np.array(list(values), np.int64)


def counts(values: Iterable[int]) -> Counts:
    """Return whole numbers as a column."""
    return np.array(list(values), np.int32)


def _days(values: Iterable[date | None]) -> Days:
    return np.array([NEVER if one is None else one.toordinal() for one in values], np.int32)


def _or_none(value: int | None) -> int:
    return NONE if value is None else value
