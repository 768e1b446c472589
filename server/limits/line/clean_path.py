"""The coming reviews of a line if all of them are clean: how it rises, when its windows end.

Nothing is guessed at: every step is one that `review_seen` itself takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final

from server.limits.line.line import Line, State
from server.limits.line.reasons import because
from server.limits.line.review import review_seen
from server.limits.line.target import Target
from server.limits.line.triggers import Facts, Seen
from server.limits.rules.line_policy import LinePolicy

_HORIZON: Final = timedelta(days=1830)
_IDLE_REVIEWS: Final = 14
"""So many reviews in a row without a change, and none will come: longer than any cure."""


def earliest_exits(line: Line, policy: LinePolicy, as_of: date) -> dict[str, date]:
    """Return the first day on which each open window can be over, by code.

    Parameters
    ----------
    line : Line
    policy : LinePolicy
    as_of : date
        No review comes before it; every review is on its day and clean.

    Returns
    -------
    dict of str to date
        Without those that are up to a person.
    """
    # How far the caps let the limit rise has no part in when a window is over.
    whole = line.approved_limit_minor
    target = Target(whole, whole, whole, reasons=(because("P-AGREED"),))
    return exits_on(line, clean_path(line, target, policy, as_of))


def exits_on(line: Line, path: Iterable[tuple[date, Line]]) -> dict[str, date]:
    """Return the first day on a path after which each window is gone; no step beyond the last."""
    waiting = {one.code for one in line.windows}
    found: dict[str, date] = {}
    for day, after in path if waiting else ():
        over = {code for code in waiting if after.window(code) is None}
        found |= dict.fromkeys(over, day)
        waiting -= over
        if not waiting:
            break
    return found


def clean_path(
    line: Line, target: Target, policy: LinePolicy, as_of: date
) -> Iterator[tuple[date, Line]]:
    """Yield the line after each coming review, all of them clean, until nothing changes."""
    calm = Seen({}, frozenset(policy.rules), clean=True)
    target, quiet = replace(target, missing={}), 0
    downturn = downturn_until(target, policy, as_of)
    late = line.delinquency
    if late.curing and late.clear_since is None:
        late = replace(late, clear_since=as_of)
    line = replace(line, consent_withdrawn_on=None, delinquency=late)
    day = max(as_of, line.next_review_on or as_of)
    last = as_of + _HORIZON
    while (
        day <= last
        and quiet < _IDLE_REVIEWS
        and line.state
        not in {
            State.PENDING,
            State.CLOSING,
            State.CLOSED,
        }
    ):
        # Somebody who borrows a little, and pays: nothing is idle, overdue or in dispute.
        facts = Facts(last_draw_on=day, budget_used=Decimal(0))
        if downturn is not None and day > downturn:
            target, downturn, quiet = _after_downturn(target), None, 0
        after = review_seen(line, facts, calm, target, policy, day).line
        settled = after.state is State.ACTIVE and not after.is_reduced
        moved = (after.state, after.effective_limit_minor, len(after.windows)) != (
            line.state,
            line.effective_limit_minor,
            len(line.windows),
        )
        yield day, after
        quiet = 0 if moved or downturn is not None else quiet + 1
        if settled and not after.windows and not after.delinquency.curing:
            return
        line, day = after, after.next_review_on or last + timedelta(days=1)


def downturn_until(target: Target, policy: LinePolicy, as_of: date) -> date | None:
    """Return the last day of the downturn that lowers a target, if the policy says it.

    Another one that begins on the day after is the same downturn.
    """
    overlay = policy.overlay_on(as_of)
    if overlay is None or overlay.scenario != target.scenario:
        return None
    until = overlay.until
    while (after := policy.overlay_on(until + timedelta(days=1))) is not None:
        until = after.until
    return until


def _after_downturn(target: Target) -> Target:
    """Return what the caps allow without the downturn; the allocator's share stays."""
    scaled = target.full_minor if target.scaled_minor == target.limit_minor else target.scaled_minor
    return replace(target, limit_minor=target.full_minor, scaled_minor=scaled, scenario="")
