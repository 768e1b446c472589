"""Many lines as columns: what `Line`, `Facts` and `Target` say of one, a page of thousands of them.

A column holds one field of every row. Money is int64 minor units, a day is its proleptic ordinal
(`date.toordinal`), and what is not there is 0 for a day and -1 for anything else. Texts stand once
in a table, and rows hold their places in it. What a line has any number of - windows, remembered
limits - stands flat, sorted by row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from server.limits.basis.reasons import Reason
from server.limits.line.line import State

Money: TypeAlias = NDArray[np.int64]
"""Minor units; -1 where there is none."""
Days: TypeAlias = NDArray[np.int32]
"""Ordinals of dates; 0 where there is none."""
Counts: TypeAlias = NDArray[np.int32]
"""Whole numbers, scores and places in a table; -1 where there is none."""
Flags: TypeAlias = NDArray[np.bool_]
NONE: Final = -1
NEVER: Final = 0
STATES: Final = tuple(State)
"""What the column of states counts from."""
AT: Final[Mapping[State, int]] = {state: number for number, state in enumerate(STATES)}


@dataclass(frozen=True, slots=True)
class Windows:
    """The open windows of all lines, sorted by row, in the order in which each line has them.

    Parameters
    ----------
    codes : tuple of str
    row : (m,) int64
    code : (m,) int32
        Place in `codes`.
    opened_on, seen_on : (m,) Days
    run, clean, score : (m,) Counts
        See `server.limits.line.line.Window`.
    """

    codes: tuple[str, ...]
    row: NDArray[np.int64]
    code: Counts
    opened_on: Days
    seen_on: Days
    run: Counts
    clean: Counts
    score: Counts

    def only(self, those: Flags) -> Windows:
        """Return some of them."""
        return Windows(
            self.codes,
            self.row[those],
            self.code[those],
            self.opened_on[those],
            self.seen_on[those],
            self.run[those],
            self.clean[those],
            self.score[those],
        )

    def and_then(self, more: Windows) -> Windows:
        """Return these and more of the same table, which each line has after its own."""
        row = np.concatenate([self.row, more.row])
        order = np.argsort(row, kind="stable")
        both = [
            np.concatenate([getattr(self, name), getattr(more, name)])[order]
            for name in ("code", "opened_on", "seen_on", "run", "clean", "score")
        ]
        return Windows(self.codes, row[order], *both)

    def rows(self, count: int, those: Flags | None = None) -> Flags:
        """Return which of so many lines have one, or one of some."""
        found = np.zeros(count, np.bool_)
        found[self.row if those is None else self.row[those]] = True
        return found


@dataclass(frozen=True, slots=True)
class Cuts:
    """Limits that were cut, as long as utilisation remembers them, sorted by row and day.

    Parameters
    ----------
    row : (m,) int64
    on : (m,) Days
    limit_minor : (m,) Money
    """

    row: NDArray[np.int64]
    on: Days
    limit_minor: Money


@dataclass(frozen=True, slots=True)
class LineColumns:
    """The fields of `server.limits.line.line.Line`, by the same names.

    Parameters
    ----------
    texts : tuple of str
        Products, buckets and purposes.
    product, bucket, temporary_purpose : (n,) Counts
        Places in `texts`.
    state : (n,) Counts
        Places in `STATES`.
    frozen_for : (n,) Counts
        Places in `server.limits.line.line.RANK`.
    days_past_due, curing, clear_since, defaulted_on, forborne_on
        Of the line's delinquency.
    temporary_minor, temporary_since, temporary_until
        -1 where there is no temporary amount.
    offer_minor, offer_made_on, offer_until
        -1 where there is no offer.
    windows : Windows
    before_cuts : Cuts
    """

    texts: tuple[str, ...]
    product: Counts
    state: Counts
    version: Counts
    base_limit_minor: Money
    approved_limit_minor: Money
    effective_limit_minor: Money
    advised_limit_minor: Money
    caps_limit_minor: Money
    windows: Windows
    days_past_due: Counts
    bucket: Counts
    curing: Flags
    clear_since: Days
    defaulted_on: Days
    forborne_on: Days
    clean_reviews: Counts
    frozen_for: Counts
    score: Counts
    opened_on: Days
    next_review_on: Days
    changed_on: Days
    cut_on: Days
    caps_cut_on: Days
    loosened_on: Days
    restored_on: Days
    increased_on: Days
    offered_on: Days
    consent_withdrawn_on: Days
    temporary_minor: Money
    temporary_purpose: Counts
    temporary_since: Days
    temporary_until: Days
    offer_minor: Money
    offer_made_on: Days
    offer_until: Days
    before_cuts: Cuts

    def __len__(self) -> int:
        return int(self.state.size)

    def is_in(self, *states: State) -> Flags:
        """Return which lines are in one of some states."""
        return np.isin(self.state, [AT[state] for state in states])


@dataclass(frozen=True, slots=True)
class FactColumns:
    """The fields of `server.limits.line.triggers.Facts`, by the same names.

    Parameters
    ----------
    measures : mapping of str to (n,) Money
        -1 where it is not known.
    budgets : tuple of Decimal
    budget_used : (n,) Counts
        Places in `budgets`.
    """

    outstanding_minor: Money
    held_minor: Money
    measures: Mapping[str, Money]
    days_past_due: Counts
    clear_since: Days
    forborne_on: Days
    fraud: Flags
    consent: Flags
    dispute: Flags
    budgets: tuple[Decimal, ...]
    budget_used: Counts
    last_draw_on: Days


@dataclass(frozen=True, slots=True)
class Columns:
    """Lines, and what a review looks at besides the caps.

    Parameters
    ----------
    line : LineColumns
    facts : FactColumns
    """

    line: LineColumns
    facts: FactColumns

    def __len__(self) -> int:
        return len(self.line)


@dataclass(frozen=True, slots=True)
class TargetColumns:
    """The fields of `server.limits.line.target.Target`, by the same names.

    Parameters
    ----------
    limit_minor, full_minor, scaled_minor : (n,) Money
    absolute_minor : (n,) Money
        -1 where neither law nor customer says.
    amount_minor : (n,) Money
        Of the caps that bind, for the reasons that state it; -1 where none does.
    book : tuple of Reason
        All reasons that occur, without the amounts of caps.
    with_amount : (len(book),) Flags
        Which of them state the amount.
    reasons : (n, w) Counts
        Places in `book`, -1 from where there are no more.
    scenarios : tuple of str
    scenario : (n,) Counts
    silences : tuple of mapping of str to str
        Holders that are silent, and why.
    missing : (n,) Counts
        Places in `silences`.
    """

    limit_minor: Money
    full_minor: Money
    scaled_minor: Money
    absolute_minor: Money
    amount_minor: Money
    book: tuple[Reason, ...]
    with_amount: Flags
    reasons: Counts
    scenarios: tuple[str, ...]
    scenario: Counts
    silences: tuple[Mapping[str, str], ...]
    missing: Counts

    @property
    def lowest_minor(self) -> Money:
        """The least of all that limits a line."""
        return np.minimum(self.limit_minor, self.scaled_minor)

    @property
    def is_silent(self) -> Flags:
        """Whether a holder is silent."""
        return np.array([bool(one) for one in self.silences], np.bool_)[self.missing]
