"""Rows of columns as lines, facts and targets: nothing was lost on the way into the columns."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np

from server.limits.batch.columns import (
    NEVER,
    NONE,
    STATES,
    Cuts,
    FactColumns,
    LineColumns,
    TargetColumns,
    Windows,
)
from server.limits.batch.pack import AMOUNTS, CURE, DATES
from server.limits.line.line import RANK, Delinquency, Line, Offer, Temporary, Window
from server.limits.line.target import Target
from server.limits.line.triggers import Facts


def line_of_row(columns: LineColumns, row: int) -> Line:
    """Return a row as a line."""
    texts = columns.texts
    passing = offer = None
    if columns.temporary_minor[row] != NONE:
        since, until = _day(columns.temporary_since[row]), _day(columns.temporary_until[row])
        purpose = texts[columns.temporary_purpose[row]]
        passing = Temporary(int(columns.temporary_minor[row]), purpose, since, until)
    if columns.offer_minor[row] != NONE:
        made, until = _day(columns.offer_made_on[row]), _day(columns.offer_until[row])
        offer = Offer(int(columns.offer_minor[row]), made, until)
    amounts: dict[str, Any] = {name: int(getattr(columns, name)[row]) for name in AMOUNTS}
    dates: dict[str, Any] = {name: _maybe(getattr(columns, name)[row]) for name in DATES}
    return Line(
        product=texts[columns.product[row]],
        state=STATES[columns.state[row]],
        version=int(columns.version[row]),
        **amounts,
        **dates,
        windows=_windows_of(columns.windows, row),
        delinquency=Delinquency(
            days_past_due=int(columns.days_past_due[row]),
            bucket=texts[columns.bucket[row]],
            curing=bool(columns.curing[row]),
            **{name: _maybe(getattr(columns, name)[row]) for name in CURE},
        ),
        clean_reviews=int(columns.clean_reviews[row]),
        frozen_for=RANK[columns.frozen_for[row]],
        score=_known(columns.score[row]),
        temporary=passing,
        offer=offer,
        before_cuts=_cuts_of(columns.before_cuts, row),
    )


def facts_of_row(columns: FactColumns, row: int) -> Facts:
    """Return a row as facts."""
    found = {name: int(values[row]) for name, values in columns.measures.items()}
    return Facts(
        outstanding_minor=int(columns.outstanding_minor[row]),
        held_minor=int(columns.held_minor[row]),
        measures={name: value for name, value in found.items() if value != NONE},
        days_past_due=int(columns.days_past_due[row]),
        clear_since=_maybe(columns.clear_since[row]),
        forborne_on=_maybe(columns.forborne_on[row]),
        fraud=bool(columns.fraud[row]),
        consent=bool(columns.consent[row]),
        dispute=bool(columns.dispute[row]),
        budget_used=columns.budgets[columns.budget_used[row]],
        last_draw_on=_maybe(columns.last_draw_on[row]),
    )


def target_of_row(columns: TargetColumns, row: int) -> Target:
    """Return a row as a target."""
    amount = int(columns.amount_minor[row])
    reasons = [
        replace(columns.book[place], amount_minor=amount)
        if columns.with_amount[place]
        else columns.book[place]
        for place in columns.reasons[row].tolist()
        if place != NONE
    ]
    return Target(
        limit_minor=int(columns.limit_minor[row]),
        full_minor=int(columns.full_minor[row]),
        scaled_minor=int(columns.scaled_minor[row]),
        reasons=tuple(reasons),
        absolute_minor=_known(columns.absolute_minor[row]),
        scenario=columns.scenarios[columns.scenario[row]],
        missing=columns.silences[columns.missing[row]],
    )


def _windows_of(columns: Windows, row: int) -> tuple[Window, ...]:
    first, last = np.searchsorted(columns.row, [row, row + 1]).tolist()
    return tuple(
        Window(
            code=columns.codes[columns.code[at]],
            opened_on=_day(columns.opened_on[at]),
            seen_on=_day(columns.seen_on[at]),
            run=int(columns.run[at]),
            clean=int(columns.clean[at]),
            score=_known(columns.score[at]),
        )
        for at in range(first, last)
    )


def _cuts_of(columns: Cuts, row: int) -> tuple[tuple[date, int], ...]:
    first, last = np.searchsorted(columns.row, [row, row + 1]).tolist()
    return tuple((_day(columns.on[at]), int(columns.limit_minor[at])) for at in range(first, last))


def _known(value: np.integer[Any]) -> int | None:
    return None if value == NONE else int(value)


def _day(value: np.integer[Any]) -> date:
    return date.fromordinal(int(value))


def _maybe(value: np.integer[Any]) -> date | None:
    return None if value == NEVER else _day(value)
