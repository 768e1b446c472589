"""A review on its way: what its steps share, and how a limit goes down and up in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from server.limits.basis.reasons import Reason
from server.limits.line.bars import bars
from server.limits.line.events import Journal, LineEvent
from server.limits.line.line import Line, Offer, State
from server.limits.line.reasons import curing
from server.limits.line.target import Target
from server.limits.line.triggers import Facts, Seen
from server.limits.rules.line_policy import LinePolicy

RISING: Final = frozenset({State.REDUCED, State.RESTORING})
"""States from which a step goes up."""
_DOWN: Final = {State.ACTIVE: State.REDUCED, State.RESTORING: State.REDUCED}


@dataclass(frozen=True, slots=True)
class Reviewed:
    """The outcome of a review.

    Parameters
    ----------
    line : Line
    events : tuple of LineEvent
        At least one; the last closes the review.
    reasons : tuple of Reason
        At most four: of what happened, or else why the limit is not higher.
    """

    line: Line
    events: tuple[LineEvent, ...]
    reasons: tuple[Reason, ...]


def is_idle(line: Line, facts: Facts, policy: LinePolicy, as_of: date) -> bool:
    """Return whether nothing was drawn and nothing owed for so long that a line counts as idle.

    Parameters
    ----------
    line : Line
    facts : Facts
    policy : LinePolicy
        Without a rule on inactivity no line is idle.
    as_of : date
    """
    rule, since = policy.inactivity, facts.last_draw_on or line.opened_on
    if rule is None or since is None or facts.outstanding_minor:
        return False
    return (as_of - since).days >= rule.after_days


class UnderReview:
    """One review on its way; each step notes what it does as an event.

    Parameters
    ----------
    line : Line
    facts : Facts
    seen : Seen
    target : Target
    policy : LinePolicy
    as_of : date

    Attributes
    ----------
    before : Line
        As the review found it; `line` is the line by now.
    scheduled : bool
        Whether the review counts: an early one may only lower, hold and freeze.
    windows, late, caps, caps_cut_on, offered
        What the closing event will say of the line, as the steps have left it so far.
    start : int
        The limit that steps down are taken from, minor units.
    fell, left : bool
        Whether the limit fell, or an observation ended, in this review.
    last_words : list of Reason
        What the closing event tells.
    barred : list of Reason
        What forbids raising anything, whatever the customer did on the line.
    """

    def __init__(
        self, line: Line, facts: Facts, seen: Seen, target: Target, policy: LinePolicy, as_of: date
    ) -> None:
        self.journal = Journal(line, as_of)
        self.before, self.facts, self.seen = line, facts, seen
        self.target, self.policy, self.as_of = target, policy, as_of
        self.scheduled = line.next_review_on is None or as_of >= line.next_review_on
        self.windows, self.late = line.windows, line.delinquency
        self.caps, self.caps_cut_on = line.caps_limit_minor, line.caps_cut_on
        self.offered: Offer | None = line.offer
        self.start = line.effective_limit_minor
        self.fell = self.left = False
        self.last_words: list[Reason] = []
        self.barred = bars(line, facts, target, policy)

    @property
    def line(self) -> Line:
        """The line as it is by now."""
        return self.journal.line

    def held(self) -> list[Reason]:
        """Return what forbids raising anything (invariant I13)."""
        behaviour = [curing(self.late, self.policy.arrears)] if self.late.curing else []
        return behaviour + self.barred

    def lower(self, kind: str, reasons: tuple[Reason, ...], low: int) -> None:
        """Note a lower limit, and that nothing rises in this review."""
        state = _DOWN.get(self.line.state, self.line.state)
        self.journal.note(kind, reasons, state=state, **self.lowered_to(low))
        self.fell, self.offered = True, None

    def lowered_to(self, low: int) -> dict[str, Any]:
        """Return the changes of a lower limit; utilisation goes on remembering the old one."""
        line = self.line
        if low >= line.effective_limit_minor:
            return {}
        since = self.as_of - timedelta(days=self.policy.memory_days)
        remembered = tuple(one for one in line.before_cuts if one[0] > since)
        return {
            "effective_limit_minor": low,
            "cut_on": self.as_of,
            "before_cuts": (*remembered, (self.as_of, line.effective_limit_minor)),
            "offer": None,
        }

    def raise_to(self, kind: str, reason: Reason, state: State, new: int) -> None:
        """Note a higher limit; the caps' own path is never below it."""
        self.caps = max(self.caps, new)
        changes: dict[str, Any] = {
            "state": state,
            "effective_limit_minor": new,
            "caps_limit_minor": self.caps,
            "advised_limit_minor": self.advised(new),
            "loosened_on": self.as_of,
        }
        if state is State.ACTIVE:
            changes["restored_on"] = self.as_of
        self.journal.note(kind, [reason], **changes)

    def advised(self, limit: int) -> int:
        """Return what the customer is told of a limit: never below what is owed and held."""
        owed = self.facts.outstanding_minor + self.facts.held_minor
        return max(limit + self.line.temporary_on(self.as_of), owed)

    def clean(self) -> int:
        """Return the clean reviews in a row, this one included."""
        return self.before.clean_reviews + 1 if self.seen.clean else 0

    def cooled(self, since: date | None) -> bool:
        """Return whether the cool-down since a day is over."""
        return since is None or self.days_since(since) >= self.policy.cool_down_days

    def days_since(self, day: date) -> int:
        """Return the days since a day."""
        return (self.as_of - day).days

    def is_idle(self) -> bool:
        """Return whether nothing was drawn for so long that the line counts as idle."""
        return is_idle(self.line, self.facts, self.policy, self.as_of)

    def after_cut(self, limit: int, goal: int) -> int:
        """Return a limit after a cut: one step at most, but never above law and customer."""
        low = max(goal, self.policy.lowest_after_cut(limit))
        absolute = self.target.absolute_minor
        return low if absolute is None else min(low, max(goal, absolute))

    def may_rise(self) -> bool:
        """Return whether anything may be raised in this review."""
        free = self.scheduled and not (self.fell or self.left or self.windows)
        clean = self.clean() >= self.policy.up_clean_reviews
        cooled = self.cooled(self.line.cut_on) and self.cooled(self.caps_cut_on)
        return free and clean and cooled and not self.held() and not self.is_idle()
