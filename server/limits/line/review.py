"""A review of a line, in the one order that the policy fixes (domain 5.6).

1 buckets and triggers, 2 target, 3 cut, 4 step down, 5 exit from observation, 6 step up, 7 the
allocator's scale, 8 reasons, 9 the closing event. The order is part of the policy: another one
gives other limits. `server.limits.batch.batch` takes the same steps for many lines at once.

Reviews that come early (an alert, a new score) may lower, hold and freeze. Only a scheduled one
counts towards an exit, raises or offers anything (invariant I20).

Where the study can be read in two ways, `docs/decisions/0021-reading-of-reviews.md` argues the one
that is built: a step down after a cut in the same review is not taken on top but where it would go
lower (else the riskier of two lines could fare better), and a cut of what the caps allow starts the
cool-down of every line below, too.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any, Final

from server.limits.line import review_down as down
from server.limits.line import review_up as up
from server.limits.line.line import Line, State
from server.limits.line.reasons import because, first_of
from server.limits.line.review_state import Reviewed, UnderReview
from server.limits.line.target import Target
from server.limits.line.triggers import Facts, Seen, look
from server.limits.rules.line_policy import LinePolicy
from shared.errors import Conflict

_WITHOUT: Final = frozenset({State.PENDING, State.CLOSED})
_STILL: Final = frozenset({State.FROZEN, State.CLOSING})


def review(line: Line, facts: Facts, target: Target, policy: LinePolicy, as_of: date) -> Reviewed:
    """Review a line.

    Parameters
    ----------
    line : Line
    facts : Facts
    target : Target
        What the caps allow on that day.
    policy : LinePolicy
    as_of : date
        Scheduled if it is not before `line.next_review_on`.

    Raises
    ------
    Conflict
        If the line is pending or closed, or the day lies before its last change.
    """
    return review_seen(line, facts, look(line, facts, policy, as_of), target, policy, as_of)


def review_seen(
    line: Line, facts: Facts, seen: Seen, target: Target, policy: LinePolicy, as_of: date
) -> Reviewed:
    """Review a line on what was already seen of it; see `review`."""
    if line.state in _WITHOUT:
        raise Conflict(f"a line that is {line.state} has no reviews", check="state")
    it = UnderReview(line, facts, seen, target, policy, as_of)
    down.lapse(it)
    down.buckets(it)
    if it.line.state not in _STILL:
        down.watch(it)
        down.caps_path(it)
        down.cut(it)
        down.step_down(it)
        up.leave(it)
        up.step_up(it)
        down.scale(it)
        up.offer(it)
    return _close(it)


def age(line: Line, facts: Facts, policy: LinePolicy, as_of: date) -> Reviewed:
    """Move only the buckets on, as a job does every day: it may freeze, and take one step down.

    Parameters
    ----------
    line, facts, policy, as_of
        See `review`; no trigger is looked at.

    Raises
    ------
    Conflict
        See `review`.
    """
    if line.state in _WITHOUT:
        raise Conflict(f"a line that is {line.state} has no days past due", check="state")
    whole = line.approved_limit_minor
    target = Target(whole, whole, whole, reasons=(because("B08"),))
    it = UnderReview(line, facts, Seen({}, frozenset(), clean=False), target, policy, as_of)
    it.scheduled = False
    down.lapse(it)
    down.buckets(it)
    if it.line.state not in _STILL:
        down.step_down(it)
    return _close(it)


def _close(it: UnderReview) -> Reviewed:
    """Note the closing event; return the line, the events and the reasons."""
    line, policy = it.line, it.policy
    changes: dict[str, Any] = {
        "windows": it.windows,
        "delinquency": it.late,
        "caps_limit_minor": it.caps,
        "caps_cut_on": it.caps_cut_on,
        "advised_limit_minor": it.advised(line.effective_limit_minor),
        "offer": it.offered,
    }
    if it.scheduled:
        changes["clean_reviews"] = it.clean()
        changes["next_review_on"] = it.as_of + timedelta(days=policy.every_days)
        changes["score"] = it.facts.measures.get("score", line.score)
    it.journal.note("reviewed", first_of(it.last_words), **changes)
    events = tuple(it.journal.events)
    told = first_of(reason for one in events for reason in one.reasons)
    return Reviewed(it.line, events, told or first_of(up.standing(it)))


__all__ = ["Reviewed", "age", "review", "review_seen"]
