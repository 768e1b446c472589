"""Reviews of many lines on their way: what `UnderReview` is to one line, as columns.

A step works on a mask of the lines that it is about. Fields keep the names that they have for one
line, so that a step here can be read beside its scalar twin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.limits.batch.codes import Codes
from server.limits.batch.columns import (
    AT,
    NEVER,
    NONE,
    Columns,
    Counts,
    Cuts,
    Days,
    Flags,
    Money,
    TargetColumns,
    Windows,
)
from server.limits.batch.exact import share_of, step_of
from server.limits.batch.look import SeenColumns
from server.limits.line.line import State
from server.limits.line.reasons import LINE_CODES
from server.limits.rules.line_policy import LinePolicy

KINDS: Final = (
    "lapsed",
    "frozen",
    "cured",
    "observed",
    "cut",
    "stepped_down",
    "left_observation",
    "stepped_up",
    "restored",
    "scaled",
    "offered",
    "reviewed",
)
"""Events of a review; a bit each, in the order in which they happen."""


class BatchUnderReview:
    """The reviews of many lines on their way.

    Parameters
    ----------
    columns : Columns
    seen : SeenColumns
    target : TargetColumns
    policy : LinePolicy
    as_of : int
        Ordinal.

    Attributes
    ----------
    line : LineColumns
        By now; `before` is as the reviews found them.
    told, last_words : Codes
        Of what happened, and of the closing event.
    happened : (n,) int32
        A bit for each of `KINDS`.
    moving : (n,) Flags
        Lines that the steps after the buckets are about: neither frozen nor closing.

    Others as in `server.limits.line.review_state.UnderReview`.
    """

    def __init__(
        self,
        columns: Columns,
        seen: SeenColumns,
        target: TargetColumns,
        policy: LinePolicy,
        as_of: int,
    ) -> None:
        line = columns.line
        self.before, self.line, self.facts = line, line, columns.facts
        self.seen, self.target, self.policy, self.as_of = seen, target, policy, as_of
        self.scheduled: Flags = as_of >= line.next_review_on  # without a day it is 0
        self.windows = line.windows
        self.caps, self.caps_cut_on = line.caps_limit_minor, line.caps_cut_on
        self.offer_minor = line.offer_minor
        self.offer_made_on, self.offer_until = line.offer_made_on, line.offer_until
        self.start = line.effective_limit_minor
        self.fell = np.zeros(len(line), np.bool_)
        self.left = np.zeros(len(line), np.bool_)
        self.moving = np.ones(len(line), np.bool_)
        self.happened = np.zeros(len(line), np.int32)
        codes = tuple(dict.fromkeys([*LINE_CODES, *policy.rules, *_codes(target)]))
        self.told, self.last_words = Codes(len(line), codes), Codes(len(line), codes)
        self.book = np.array([codes.index(code) for code in _codes(target)], np.int32)
        self._barred = self._what_bars()
        self.barred = np.logical_or.reduce([*self._barred.values()])

    def note(self, kind: str, where: Flags, **changes: Any) -> None:
        """Note an event of some lines: each field named takes the value, or a column's values.

        Parameters
        ----------
        kind : str
            One of `KINDS`.
        where : (n,) Flags
        **changes
        """
        bit = 1 << KINDS.index(kind)
        self.happened = self.happened | np.where(where, bit, 0).astype(np.int32)
        real: dict[str, Any] = {
            name: self.put(where, name, value) for name, value in changes.items()
        }
        real["version"] = self.line.version + where
        self.line = replace(self.line, **real)

    def put(self, where: Flags, name: str, value: Any) -> NDArray[Any]:
        """Return a column with other values for some lines."""
        old: NDArray[Any] = getattr(self.line, name)
        return np.where(where, value, old).astype(old.dtype)

    def withdraw_offer(self, where: Flags) -> None:
        """Let the offers of some lines fall away."""
        self.offer_minor = np.where(where, NONE, self.offer_minor)
        self.offer_made_on = np.where(where, NEVER, self.offer_made_on).astype(np.int32)
        self.offer_until = np.where(where, NEVER, self.offer_until).astype(np.int32)

    def held(self) -> Mapping[str, Flags]:
        """Return what forbids raising anything (invariant I13), by its code, in order."""
        line = self.line
        eased = line.curing & (line.forborne_on != NEVER) & (line.days_past_due == 0)
        return {"B08": line.curing & ~eased, "P-EASED": eased, **self._barred}

    def _what_bars(self) -> Mapping[str, Flags]:
        """Return what forbids it whatever the customer did on the line."""
        facts = self.facts
        full = [used >= self.policy.pause_at for used in facts.budgets]
        return {
            "H-MISSING": self.target.is_silent,
            "P-CONSENT": ~facts.consent | (self.line.consent_withdrawn_on != NEVER),
            "P-DISPUTE": facts.dispute,
            "C-PAUSE": np.array(full, np.bool_)[facts.budget_used],
        }

    def lower(self, kind: str, where: Flags, low: Money) -> None:
        """Note a lower limit of some lines, and that nothing rises in this review."""
        down = self.line.is_in(State.ACTIVE, State.RESTORING)
        state = np.where(down, AT[State.REDUCED], self.line.state)
        self.note(kind, where, state=state, **self.lowered_to(where, low))
        self.fell = self.fell | where
        self.withdraw_offer(where)

    def lowered_to(self, where: Flags, low: Money) -> dict[str, Any]:
        """Return the changes of a lower limit; utilisation goes on remembering the old one."""
        falls = where & (low < self.line.effective_limit_minor)
        self._remember(falls)
        return {
            "effective_limit_minor": np.where(falls, low, self.line.effective_limit_minor),
            "cut_on": np.where(falls, self.as_of, self.line.cut_on),
        }

    def _remember(self, falls: Flags) -> None:
        """Keep the limits of today of lines that fall, and forget what was too long ago."""
        cuts = self.line.before_cuts
        kept = ~falls[cuts.row] | (cuts.on > self.as_of - self.policy.memory_days)
        rows = np.flatnonzero(falls)
        row = np.concatenate([cuts.row[kept], rows])
        order = np.argsort(row, kind="stable")
        on = np.concatenate([cuts.on[kept], np.full(rows.size, self.as_of, np.int32)])
        limits = np.concatenate([cuts.limit_minor[kept], self.line.effective_limit_minor[rows]])
        self.line = replace(self.line, before_cuts=Cuts(row[order], on[order], limits[order]))

    def raise_to(self, kind: str, where: Flags, state: State, new: Money) -> None:
        """Note a higher limit of some lines; the caps' own path is never below it."""
        self.caps = np.where(where, np.maximum(self.caps, new), self.caps)
        changes: dict[str, Any] = {
            "state": AT[state],
            "effective_limit_minor": new,
            "loosened_on": self.as_of,
        }
        if state is State.ACTIVE:
            changes["restored_on"] = self.as_of
        self.note(kind, where, **changes)

    def advised(self) -> Money:
        """Return what customers are told of their limits: never below what is owed and held."""
        line = self.line
        lasts = (line.temporary_since <= self.as_of) & (self.as_of <= line.temporary_until)
        passing = np.where(lasts & (line.temporary_minor != NONE), line.temporary_minor, 0)
        owed = self.facts.outstanding_minor + self.facts.held_minor
        found: Money = np.maximum(line.effective_limit_minor + passing, owed)
        return found

    def clean(self) -> Counts:
        """Return the clean reviews in a row, this one included."""
        return np.where(self.seen.clean, self.before.clean_reviews + 1, 0).astype(np.int32)

    def cooled(self, since: Days) -> Flags:
        """Return whether the cool-down since a day is over, or never began."""
        found: Flags = (since == NEVER) | (self.as_of - since >= self.policy.cool_down_days)
        return found

    def is_idle(self) -> Flags:
        """Return whether nothing was drawn for so long that a line counts as idle."""
        rule, drawn = self.policy.inactivity, self.facts.last_draw_on
        since = np.where(drawn != NEVER, drawn, self.line.opened_on)
        if rule is None:
            return np.zeros(since.size, np.bool_)
        idle: Flags = (since != NEVER) & (self.as_of - since >= rule.after_days)
        idle &= self.facts.outstanding_minor == 0
        return idle

    def after_cut(self, limit: Money, goal: Money) -> Money:
        """Return limits after a cut: one step at most, but never above law and customer."""
        low = np.maximum(goal, self.lowest_after_cut(limit))
        absolute = self.target.absolute_minor
        return np.where(absolute == NONE, low, np.minimum(low, np.maximum(goal, absolute)))

    def may_rise(self) -> Flags:
        """Return whether anything may be raised in this review."""
        watched = self.windows.rows(len(self.line))
        free = self.moving & self.scheduled & ~(self.fell | self.left | watched)
        clean = self.clean() >= self.policy.up_clean_reviews
        cooled = self.cooled(self.line.cut_on) & self.cooled(self.caps_cut_on)
        found: Flags = free & clean & cooled & ~self.line.curing & ~self.barred & ~self.is_idle()
        return found

    def lowest_after_cut(self, limit: Money) -> Money:
        """Return the least that falling caps leave (`LinePolicy.lowest_after_cut`)."""
        found: Money = np.maximum(0, limit - self.step(limit, self.policy.cut_share))
        return found

    def step(self, base: Money, share: Decimal) -> Money:
        """Return steps (`LinePolicy.step`)."""
        return step_of(base, share, self.policy.quantum_minor)

    def floor(self) -> Money:
        """Return where steps down end (`LinePolicy.floor`)."""
        policy = self.policy
        return share_of(self.line.base_limit_minor, policy.floor_share, policy.quantum_minor)


def opened(
    it: BatchUnderReview, where: Flags, code: int, *, run: Counts | int, score: Money | None
) -> Windows:
    """Return a new window of a rule for some lines.

    Parameters
    ----------
    it : BatchUnderReview
    where : (n,) Flags
    code : int
        Place of the rule.
    run : (n,) Counts or int
    score : (n,) Money, optional
    """
    rows = np.flatnonzero(where)
    today = np.full(rows.size, it.as_of, np.int32)
    return Windows(
        codes=it.windows.codes,
        row=rows,
        code=np.full(rows.size, code, np.int32),
        opened_on=today,
        seen_on=today,
        run=np.broadcast_to(np.int32(run), rows.shape) if isinstance(run, int) else run[rows],
        clean=np.zeros(rows.size, np.int32),
        score=np.full(rows.size, NONE, np.int32) if score is None else score[rows].astype(np.int32),
    )


def _codes(target: TargetColumns) -> list[str]:
    return [reason.code for reason in target.book]
