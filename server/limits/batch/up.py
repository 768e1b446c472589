"""What reviews may give, for many lines: `server.limits.line.review_up`, step by step."""

from __future__ import annotations

import numpy as np

from server.limits.batch.columns import AT, NEVER, NONE, Flags
from server.limits.batch.days import month_earlier
from server.limits.batch.down import place_of
from server.limits.batch.exact import share_of
from server.limits.batch.state import BatchUnderReview
from server.limits.line.line import State
from server.limits.line.triggers import needed_reviews


def leave(it: BatchUnderReview) -> None:
    """Close the windows that are over; leave observation when the last one is.

    Parameters
    ----------
    it : BatchUnderReview
    """
    size, here = len(it.line), it.moving & it.scheduled
    windows, (over, observes) = it.windows, _over(it)
    over &= here[windows.row]
    it.left = windows.rows(size, over & observes)
    it.windows = windows.only(~over)
    clean = it.windows.clean > 0
    it.last_words.tell(here & it.windows.rows(size, clean), "H01")
    watching = windows.rows(size, observes & ~over)
    exits = here & it.line.is_in(State.OBSERVATION) & ~watching
    reduced = it.line.effective_limit_minor < it.line.approved_limit_minor
    state = np.where(reduced, AT[State.REDUCED], AT[State.ACTIVE])
    it.last_words.tell(~exits & it.left & ~watching, "R01")
    it.left = it.left | exits
    it.told.tell(exits, "R01")
    it.note("left_observation", exits, state=state, loosened_on=it.as_of)


def _over(it: BatchUnderReview) -> tuple[Flags, Flags]:
    """Return, window by window, which are over, and which are observations."""
    windows, policy = it.windows, it.policy
    rules = [policy.rules.get(code) for code in windows.codes]
    needed = np.array([needed_reviews(code, policy) for code in windows.codes])
    days = np.array([policy.dwell_days if rule is None else rule.min_days for rule in rules])
    observes = np.array([rule is None or rule.effect != "hold" for rule in rules])
    code = windows.code
    over = (windows.clean >= needed[code]) & (windows.seen_on + days[code] <= it.as_of)
    return over, observes[code]


def step_up(it: BatchUnderReview) -> None:
    """Restore a step, not in the same review as a cut or an exit.

    Parameters
    ----------
    it : BatchUnderReview
    """
    line = it.line
    rising = it.may_rise() & line.is_in(State.REDUCED, State.RESTORING)
    limit, goal = line.effective_limit_minor, line.approved_limit_minor
    ceiling = np.minimum(goal, it.target.lowest_minor)
    step = it.step(line.base_limit_minor, it.policy.up_share)
    new = np.maximum(limit, np.minimum(limit + step, ceiling))
    rising &= (new != limit) | (limit >= goal)
    part = rising & (line.is_in(State.REDUCED) | (new < goal))
    whole = rising & (new == goal)
    it.told.tell(part, "R02")
    it.raise_to("stepped_up", part, State.RESTORING, new)
    it.told.tell(whole, "R03")
    it.raise_to("restored", whole, State.ACTIVE, new)


def offer(it: BatchUnderReview) -> None:
    """Offer higher limits where the caps allow them; silence is a no.

    Parameters
    ----------
    it : BatchUnderReview
    """
    line, policy = it.line, it.policy
    allowed, approved = it.target.lowest_minor, line.approved_limit_minor
    watched = it.windows.rows(len(line))
    stale = watched | (it.offer_minor > allowed) | line.curing | it.barred
    it.withdraw_offer(it.moving & stale)
    wanted = (it.offer_minor == NONE) & line.is_in(State.ACTIVE) & (allowed > approved)
    most = approved + share_of(approved, policy.increase_share, policy.quantum_minor)
    best = np.minimum(allowed, most)
    made = wanted & it.may_rise() & _long_enough(it) & (best > approved)
    until = it.as_of + policy.offer_days
    it.offer_minor = np.where(made, best, it.offer_minor)
    it.offer_made_on = np.where(made, it.as_of, it.offer_made_on).astype(np.int32)
    it.offer_until = np.where(made, until, it.offer_until).astype(np.int32)
    it.note("offered", made, offered_on=it.as_of)


def _long_enough(it: BatchUnderReview) -> Flags:
    """Return whether lines are old enough, and the last increase or offer long ago."""
    line, policy = it.line, it.policy
    latest = month_earlier(it.as_of, policy.months_between)
    past = (line.increased_on <= latest) & (line.offered_on <= latest)  # never is 0
    old = it.as_of - line.opened_on >= policy.days_after_opening
    found: Flags = past & (line.opened_on != NEVER) & old
    return found


def standing(it: BatchUnderReview, where: Flags) -> None:
    """Tell why limits are not higher, behaviour first, then what is not about it.

    Parameters
    ----------
    it : BatchUnderReview
    where : (n,) Flags
        Lines of which nothing else was told.
    """
    line, target, told = it.line, it.target, it.told
    told.tell(where & it.windows.rows(len(line)), "H01")
    for code, found in it.held().items():
        told.tell(where & found, code)
    last_cut = np.maximum(line.cut_on, line.caps_cut_on)
    rising = line.is_in(State.REDUCED, State.RESTORING)
    told.tell(where & rising & ~it.cooled(last_cut), "H02")
    rows = np.flatnonzero(where)
    for column in range(target.reasons.shape[1]):
        told.tell_each(rows, place_of(it, rows, column))
        if column == 0:
            told.tell(where & (target.limit_minor < target.full_minor), "M-MACRO")
            told.tell(where & (target.scaled_minor < target.limit_minor), "C-CAP")
