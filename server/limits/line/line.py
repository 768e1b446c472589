"""A credit line as a value, and the state machine it moves on (domain 5.1, 5.2).

Nothing here decides. A line changes only through events (`server.limits.line.events`), which check
every move against `MOVES`; what decides is `server.limits.line.review`, and what people do by hand
stands in `server.limits.line.limit_acts` and `server.limits.line.acts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from shared.errors import Conflict, DataError

Cause = Literal["", "arrears", "default", "fraud", "purpose"]
RANK: Final[tuple[Cause, ...]] = ("", "arrears", "default", "purpose", "fraud")
"""Why a line is frozen, gravest last: only a graver cause replaces another."""
LOOKED_INTO: Final[frozenset[Cause]] = frozenset({"fraud", "purpose"})
"""Causes of a freeze that only a person ends: no way around it, such as a new line."""


class State(StrEnum):
    """Where a line stands."""

    PENDING = "pending"
    ACTIVE = "active"
    OBSERVATION = "observation"
    REDUCED = "reduced"
    RESTORING = "restoring"
    FROZEN = "frozen"
    CLOSING = "closing"
    CLOSED = "closed"


_END: Final = frozenset({State.CLOSING, State.CLOSED})
MOVES: Final[Mapping[State, frozenset[State]]] = MappingProxyType(
    {
        State.PENDING: frozenset({State.ACTIVE, State.CLOSED}),
        State.ACTIVE: frozenset({State.OBSERVATION, State.REDUCED, State.FROZEN}) | _END,
        State.OBSERVATION: frozenset({State.ACTIVE, State.REDUCED, State.FROZEN}) | _END,
        State.REDUCED: frozenset({State.RESTORING, State.OBSERVATION, State.FROZEN}) | _END,
        State.RESTORING: frozenset({State.ACTIVE, State.OBSERVATION, State.REDUCED, State.FROZEN})
        | _END,
        State.FROZEN: frozenset({State.OBSERVATION}) | _END,
        State.CLOSING: frozenset({State.CLOSED}),
        State.CLOSED: frozenset(),
    }
)
"""Every move there is; staying is none."""
DRAWING: Final = frozenset({State.ACTIVE, State.OBSERVATION, State.REDUCED, State.RESTORING})
"""States in which money can be drawn."""
OPEN: Final = DRAWING | {State.FROZEN}
"""States of a line that was opened and is not being closed."""


def check_move(before: State, after: State) -> None:
    """Check a move.

    Raises
    ------
    Conflict
        If there is no such move; names both states.
    """
    if after is not before and after not in MOVES[before]:
        ways = ", ".join(sorted(MOVES[before])) or "nowhere"
        hint = f"from {before} a line goes to {ways}"
        raise Conflict(f"a line cannot go from {before} to {after}", check="state", hint=hint)


@dataclass(frozen=True, slots=True)
class Window:
    """An open observation or hold (domain M46).

    Parameters
    ----------
    code : str
        Of the rule; `B08` and `B10` also after a freeze.
    opened_on, seen_on : date
        When it was first and last set off.
    run : int
        Scheduled reviews in a row that saw it.
    clean : int
        Clean scheduled reviews in a row since.
    score : int, optional
        When it was last seen: what a recovery is measured from.
    """

    code: str
    opened_on: date
    seen_on: date
    run: int = 0
    clean: int = 0
    score: int | None = None


@dataclass(frozen=True, slots=True)
class Delinquency:
    """What is overdue, and what still has to be cured.

    Parameters
    ----------
    days_past_due : int
    bucket : str
        `C`, `1-29`, ...
    curing : bool
        It was past grace, and the cure period is not over.
    clear_since : date, optional
        First day since which nothing is overdue; None while something is, or nothing needs a cure.
    defaulted_on, forborne_on : date, optional
        Of the spell that is not cured yet.
    """

    days_past_due: int = 0
    bucket: str = "C"
    curing: bool = False
    clear_since: date | None = None
    defaulted_on: date | None = None
    forborne_on: date | None = None


@dataclass(frozen=True, slots=True)
class Temporary:
    """An amount on top of the limit that falls away by itself.

    Parameters
    ----------
    amount_minor : int
    purpose : str
    since, until : date
        First and last day.
    """

    amount_minor: int
    purpose: str
    since: date
    until: date


@dataclass(frozen=True, slots=True)
class Offer:
    """A higher limit that waits for the customer's consent.

    Parameters
    ----------
    limit_minor : int
    made_on, until : date
        First and last day.
    """

    limit_minor: int
    made_on: date
    until: date


@dataclass(frozen=True, slots=True)
class Line:
    """A credit line.

    Parameters
    ----------
    product : str
    state : State
    version : int
        Events so far.
    base_limit_minor : int
        What steps are shares of: the limit last agreed with the customer.
    approved_limit_minor : int
        Where restoration ends; more needs the customer's consent.
    effective_limit_minor : int
        What may be drawn up to; never above the approved limit.
    advised_limit_minor : int
        What the customer was told as the limit for days past due: never below what is owed and
        held, so that no cut makes anybody a defaulter (CRR 178).
    caps_limit_minor : int
        Where the limit would be had nothing been observed: the caps' own path. What lies between
        it and the effective limit is owed to behaviour.
    windows : tuple of Window
    delinquency : Delinquency
    clean_reviews : int
        In a row.
    frozen_for : {'', 'arrears', 'default', 'fraud', 'purpose'}
    score : int, optional
        At the last scheduled review.
    opened_on, next_review_on : date, optional
    changed_on : date
        Of the last event.
    cut_on, caps_cut_on : date, optional
        The last time that the limit, or the caps' own path, went down.
    loosened_on : date, optional
        The last move towards a higher limit: out of observation, into restoring, restored.
    restored_on, increased_on, offered_on, consent_withdrawn_on : date, optional
    temporary : Temporary, optional
    offer : Offer, optional
    before_cuts : tuple of (date, int)
        Limits that were cut, with the day of the cut, as long as utilisation remembers them.

    Raises
    ------
    DataError
        If an amount is negative, or the limits do not stand in order.
    """

    product: str = ""
    state: State = State.PENDING
    version: int = 0
    base_limit_minor: int = 0
    approved_limit_minor: int = 0
    effective_limit_minor: int = 0
    advised_limit_minor: int = 0
    caps_limit_minor: int = 0
    windows: tuple[Window, ...] = ()
    delinquency: Delinquency = field(default_factory=Delinquency)
    clean_reviews: int = 0
    frozen_for: Cause = ""
    score: int | None = None
    opened_on: date | None = None
    next_review_on: date | None = None
    changed_on: date = date.min
    cut_on: date | None = None
    caps_cut_on: date | None = None
    loosened_on: date | None = None
    restored_on: date | None = None
    increased_on: date | None = None
    offered_on: date | None = None
    consent_withdrawn_on: date | None = None
    temporary: Temporary | None = None
    offer: Offer | None = None
    before_cuts: tuple[tuple[date, int], ...] = ()

    def __post_init__(self) -> None:
        ordered = (
            0 <= self.effective_limit_minor <= self.caps_limit_minor <= self.approved_limit_minor
            and self.effective_limit_minor <= self.advised_limit_minor
            and self.base_limit_minor >= 0
        )
        if not ordered or (self.state is State.FROZEN) != bool(self.frozen_for):
            rule = "limits must hold 0 <= effective <= caps <= approved and effective <= advised"
            raise DataError("line", [rule, "frozen_for must say why, and only why, it is frozen"])

    @property
    def may_draw(self) -> bool:
        """Whether money can be drawn: the state, and the customer's consent."""
        return self.state in DRAWING and self.consent_withdrawn_on is None

    @property
    def is_reduced(self) -> bool:
        """Whether the limit is below the approved one."""
        return self.effective_limit_minor < self.approved_limit_minor

    def temporary_on(self, day: date) -> int:
        """Return the temporary amount of a day, minor units."""
        passing = self.temporary
        return passing.amount_minor if passing and passing.since <= day <= passing.until else 0

    def window(self, code: str) -> Window | None:
        """Return the open window of a rule, if there is one."""
        return next((one for one in self.windows if one.code == code), None)

    def last_cut(self) -> date | None:
        """Return when the cool-down began: the last cut of the limit or of the caps' own path.

        The latter counts also where the limit was already lower, else a line that was low because
        of its behaviour would come back before one that was not (invariant I9).
        """
        days = [day for day in (self.cut_on, self.caps_cut_on) if day is not None]
        return max(days, default=None)


BLANK: Final = Line()
"""What the first event of a line is applied to."""
