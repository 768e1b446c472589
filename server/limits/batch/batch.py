"""Reviews of many lines at once, the same as `server.limits.line.review` row by row.

A nightly review of a million lines looks at facts that stand in columns. Each step of the scalar
review has a twin here that takes all lines at once, under the same name and in the same order; the
scalar one stays what the policy means, and every row is tested against it. What is recorded of a
line comes from the scalar one as well: `BatchReviewed.reviewed` runs it on the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

import numpy as np

from server.limits.batch import down, late, up
from server.limits.batch.columns import (
    NONE,
    STATES,
    Columns,
    Counts,
    Flags,
    LineColumns,
    TargetColumns,
)
from server.limits.batch.look import look
from server.limits.batch.rows import facts_of_row, line_of_row, target_of_row
from server.limits.batch.state import KINDS, BatchUnderReview
from server.limits.line.events import LineEvent
from server.limits.line.line import State
from server.limits.line.review import review
from server.limits.line.review_state import Reviewed
from server.limits.rules.line_policy import LinePolicy
from shared.errors import Conflict


@dataclass(frozen=True, slots=True)
class BatchReviewed:
    """The outcome of the reviews of a page of lines.

    Parameters
    ----------
    columns : Columns
        As the reviews found them.
    targets : TargetColumns
    policy : LinePolicy
    as_of : date
    line : LineColumns
        After the reviews.
    happened : (n,) Counts
        A bit for each of `KINDS`: the events, in that order.
    codes : tuple of str
    reasons : (n, 4) Counts
        Places in `codes`, in order; -1 from where there are no more.
    changed : (n,) Flags
        Lines of which more changed than counters and days: an event other than the closing one, a
        window opened or closed, the bucket, the caps' own path, the advised limit or the offer.
    """

    columns: Columns
    targets: TargetColumns
    policy: LinePolicy
    as_of: date
    line: LineColumns
    happened: Counts
    codes: tuple[str, ...]
    reasons: Counts
    changed: Flags

    def __len__(self) -> int:
        return len(self.line)

    def did(self, kind: str) -> Flags:
        """Return the lines to which an event of a kind happened."""
        found: Flags = (self.happened & (1 << KINDS.index(kind))) != 0
        return found

    def state(self, row: int) -> State:
        """Return the state of a line after its review."""
        return STATES[int(self.line.state[row])]

    def codes_of(self, row: int) -> tuple[str, ...]:
        """Return the codes of a line's reasons."""
        return tuple(self.codes[place] for place in self.reasons[row] if place != NONE)

    def reviewed(self, row: int) -> Reviewed:
        """Return the scalar review of a line: what is recorded of it, event by event."""
        return review(
            line_of_row(self.columns.line, row),
            facts_of_row(self.columns.facts, row),
            target_of_row(self.targets, row),
            self.policy,
            self.as_of,
        )

    def events_of(self, row: int) -> tuple[LineEvent, ...]:
        """Return the events of a line's review."""
        return self.reviewed(row).events

    def to_write(self) -> Iterator[tuple[int, Reviewed]]:
        """Yield every line that changed in more than counters, with its scalar review."""
        for row in np.flatnonzero(self.changed).tolist():
            yield row, self.reviewed(row)


def review_batch(
    columns: Columns, targets: TargetColumns, policy: LinePolicy, as_of: date
) -> BatchReviewed:
    """Review a page of lines.

    Parameters
    ----------
    columns : Columns
        A page of some ten thousand rows stays in the processor's cache.
    targets : TargetColumns
        What the caps allow on that day.
    policy : LinePolicy
    as_of : date

    Raises
    ------
    Conflict
        If a line is pending or closed, or the day lies before its last change; says how many.
    """
    day = as_of.toordinal()
    _check(columns.line, as_of)
    it = BatchUnderReview(columns, look(columns, policy, day), targets, policy, day)
    down.lapse(it)
    late.buckets(it)
    down.watch(it)
    down.caps_path(it)
    down.cut(it)
    down.step_down(it)
    up.leave(it)
    up.step_up(it)
    down.scale(it)
    up.offer(it)
    return _close(it, columns, as_of)


def _check(line: LineColumns, as_of: date) -> None:
    without = int(line.is_in(State.PENDING, State.CLOSED).sum())
    if without:
        raise Conflict(
            f"{without} lines are pending or closed: they have no reviews", check="state"
        )
    later = int((line.changed_on > as_of.toordinal()).sum())
    if later:
        raise Conflict(
            f"{later} lines changed after {as_of}; nothing happens to a line before that",
            check="clock",
        )


def _close(it: BatchUnderReview, columns: Columns, as_of: date) -> BatchReviewed:
    """Note the closing event; return the lines, what happened and the reasons."""
    every, line, scheduled = np.ones(len(it.line), np.bool_), it.line, it.scheduled
    scores = it.facts.measures.get("score")
    score = line.score if scores is None else np.where(scores != NONE, scores, line.score)
    next_on = it.as_of + it.policy.every_days
    it.note(
        "reviewed",
        every,
        caps_limit_minor=it.caps,
        caps_cut_on=it.caps_cut_on,
        advised_limit_minor=it.advised(),
        offer_minor=it.offer_minor,
        offer_made_on=it.offer_made_on,
        offer_until=it.offer_until,
        clean_reviews=np.where(scheduled, it.clean(), line.clean_reviews),
        next_review_on=np.where(scheduled, next_on, line.next_review_on),
        score=np.where(scheduled, score, line.score),
        changed_on=it.as_of,
    )
    it.line = replace(it.line, windows=it.windows)
    it.told.then(it.last_words)
    up.standing(it, it.told.silent)
    return BatchReviewed(
        columns=columns,
        targets=it.target,
        policy=it.policy,
        as_of=as_of,
        line=it.line,
        happened=it.happened,
        codes=it.told.codes,
        reasons=it.told.places,
        changed=_changed(it),
    )


def _changed(it: BatchUnderReview) -> Flags:
    """Return the lines of which more changed than counters and days."""
    before, after, size = it.before, it.line, len(it.line)
    result: Flags = it.happened != 1 << KINDS.index("reviewed")
    for name in ("bucket", "curing", "caps_limit_minor", "advised_limit_minor", "offer_minor"):
        result = result | (getattr(before, name) != getattr(after, name))
    for place in range(len(after.windows.codes)):
        was, now = (one.windows.rows(size, one.windows.code == place) for one in (before, after))
        result = result | (was != now)
    return result
