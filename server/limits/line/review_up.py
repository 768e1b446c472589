"""What a review may give: the exit from observation, a step up, an offer; and why not more."""

from __future__ import annotations

from datetime import timedelta

from server.limits.basis.reasons import Reason
from server.limits.line.delinquency import add_months
from server.limits.line.line import Offer, State
from server.limits.line.reasons import because, cooling, progress
from server.limits.line.review_state import RISING, UnderReview
from server.limits.line.triggers import is_over, needed_reviews, observes


def leave(it: UnderReview) -> None:
    """Close the windows that are over; leave observation when the last one is.

    Parameters
    ----------
    it : UnderReview
    """
    if not it.scheduled:
        return
    policy = it.policy
    over = [one for one in it.windows if is_over(one, policy, it.as_of)]
    it.windows = tuple(one for one in it.windows if one not in over)
    it.last_words += [
        progress(one.code, one.clean, needed_reviews(one.code, policy))
        for one in it.windows
        if one.clean
    ]
    watching = any(observes(one, policy) for one in it.windows)
    it.left = any(observes(one, policy) for one in over)
    line = it.line
    if line.state is State.OBSERVATION and not watching:
        it.left = True
        state = State.REDUCED if line.is_reduced else State.ACTIVE
        it.journal.note(
            "left_observation",
            [because("R01")],
            state=state,
            loosened_on=it.as_of,
            windows=it.windows,
        )
    elif it.left and not watching:
        it.last_words.append(because("R01"))


def step_up(it: UnderReview) -> None:
    """Restore a step, not in the same review as a cut or an exit.

    Parameters
    ----------
    it : UnderReview
    """
    line, policy = it.line, it.policy
    if not it.may_rise() or line.state not in RISING:
        return
    limit, goal = line.effective_limit_minor, line.approved_limit_minor
    ceiling = min(goal, it.target.lowest_minor)
    step = policy.step(line.base_limit_minor, policy.up_share)
    new = max(limit, min(limit + step, ceiling))
    if new == limit < goal:
        return
    told = because("R02", step=new - limit)
    if line.state is State.REDUCED or new < goal:
        it.raise_to("stepped_up", told, State.RESTORING, new)
    if new == goal:
        it.raise_to("restored", because("R03"), State.ACTIVE, new)


def offer(it: UnderReview) -> None:
    """Offer a higher limit where the caps allow one; silence is a no.

    Parameters
    ----------
    it : UnderReview
    """
    line, policy = it.line, it.policy
    allowed, offered = it.target.lowest_minor, it.offered
    if offered and (it.windows or offered.limit_minor > allowed or it.held()):
        it.offered = offered = None
    if offered or line.state is not State.ACTIVE or allowed <= line.approved_limit_minor:
        return
    if not it.may_rise() or not _long_enough(it):
        return
    most = line.approved_limit_minor + policy.floored(
        policy.increase_share * line.approved_limit_minor
    )
    best = min(allowed, most)
    if best > line.approved_limit_minor:
        until = it.as_of + timedelta(days=policy.offer_days)
        it.offered = Offer(best, it.as_of, until)
        it.journal.note("offered", offer=it.offered, offered_on=it.as_of)


def _long_enough(it: UnderReview) -> bool:
    """Return whether the line is old enough, and the last increase or offer long ago."""
    line, months = it.line, it.policy.months_between
    past = [day for day in (line.increased_on, line.offered_on) if day is not None]
    if any(add_months(day, months) > it.as_of for day in past):
        return False
    opened = line.opened_on
    return opened is not None and it.days_since(opened) >= it.policy.days_after_opening


def standing(it: UnderReview) -> list[Reason]:
    """Return why the limit is not higher, behaviour first, then what is not about it.

    Parameters
    ----------
    it : UnderReview
    """
    line, target, policy = it.line, it.target, it.policy
    found = [progress(one.code, one.clean, needed_reviews(one.code, policy)) for one in it.windows]
    found += it.held()
    cut = line.last_cut()
    if line.state in RISING and not it.cooled(cut) and cut is not None:
        found.append(cooling(cut + timedelta(days=policy.cool_down_days)))
    return [*found, *target.told()]
