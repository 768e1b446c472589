"""Why a limit is not restored, when it will be, and by which steps (domain 5.5, M66, M67).

Nothing is promised that the policy would not do: the dates and steps are those that `review_seen`
itself gives if every coming review is clean and the caps stay as they are today.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from server.limits.basis.reasons import Reason
from server.limits.line.bars import bars_told
from server.limits.line.clean_path import clean_path, downturn_until, exits_on
from server.limits.line.delinquency import advance, cured_on
from server.limits.line.line import LOOKED_INTO, Line, State, Window
from server.limits.line.reasons import FROZEN, because, curing
from server.limits.line.target import Target
from server.limits.line.triggers import Facts, needed_reviews, over_from
from server.limits.rules.line_policy import Condition, LinePolicy


@dataclass(frozen=True, slots=True)
class Need:
    """What an open rule waits for.

    Parameters
    ----------
    code : str
    conditions : tuple of Condition
        What each review must meet.
    clean, needed : int
        Clean reviews in a row: so far, and until it is over. Both 0 for a cure period.
    not_before : date, optional
        Its shortest time.
    earliest : date, optional
        The first day on which it can be over; None where that is up to a person.
    """

    code: str
    conditions: tuple[Condition, ...]
    clean: int
    needed: int
    not_before: date | None
    earliest: date | None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A coming change, if every review is clean.

    Parameters
    ----------
    on : date
    state : State
    limit_minor : int
    """

    on: date
    state: State
    limit_minor: int


@dataclass(frozen=True, slots=True)
class Restoration:
    """Why a limit is where it is, and how it comes back.

    Parameters
    ----------
    state : State
    limit_minor, approved_minor : int
    lost_to_behaviour_minor, lost_to_caps_minor : int
        They add up to what is missing.
    cut_on, cool_down_until : date, optional
    next_review_on : date, optional
    needs : tuple of Need
    waits_for : tuple of Reason
        What no review cures: a silent holder, consent, a dispute, a pause, a person's look.
    held_by : tuple of Reason
        What would still hold the limit at the end of the steps.
    earliest : date, optional
        Of the first step up.
    steps : tuple of PlannedStep
        Every coming change of state or limit.
    restored_on : date, optional
        When all of it is back; None if the caps do not allow that today.
    downturn_until : date, optional
        The plan counts on the downturn's ending then, as the policy says today.
    """

    state: State
    limit_minor: int
    approved_minor: int
    lost_to_behaviour_minor: int
    lost_to_caps_minor: int
    cut_on: date | None
    cool_down_until: date | None
    next_review_on: date | None
    needs: tuple[Need, ...]
    waits_for: tuple[Reason, ...]
    held_by: tuple[Reason, ...]
    earliest: date | None
    steps: tuple[PlannedStep, ...]
    restored_on: date | None
    downturn_until: date | None = None

    @property
    def progress(self) -> str:
        """Clean reviews of the slowest rule: ``1/2``; empty where none is counted."""
        counted = [one for one in self.needs if one.needed]
        slow = max(counted, key=lambda one: (one.needed - one.clean, one.code), default=None)
        return "" if slow is None else f"{slow.clean}/{slow.needed}"

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values, ready for JSON."""
        return {
            "state": self.state.value,
            "limit_minor": self.limit_minor,
            "approved_minor": self.approved_minor,
            "lost_to_behaviour_minor": self.lost_to_behaviour_minor,
            "lost_to_caps_minor": self.lost_to_caps_minor,
            "cut_on": _text(self.cut_on),
            "cool_down_until": _text(self.cool_down_until),
            "next_review_on": _text(self.next_review_on),
            "progress": self.progress,
            "needs": [_need(one) for one in self.needs],
            "waits_for": [reason.code for reason in self.waits_for],
            "held_by": [reason.code for reason in self.held_by],
            "earliest": _text(self.earliest),
            "steps": [
                {"on": _text(one.on), "state": one.state.value, "limit_minor": one.limit_minor}
                for one in self.steps
            ],
            "restored_on": _text(self.restored_on),
            "downturn_until": _text(self.downturn_until),
        }


def restoration(
    line: Line, facts: Facts, target: Target, policy: LinePolicy, as_of: date
) -> Restoration:
    """Explain what keeps a limit down and plan its way back.

    Parameters
    ----------
    line : Line
    facts : Facts
        Of today.
    target : Target
        Of today; the plan keeps it, but for a downturn that the policy ends.
    policy : LinePolicy
    as_of : date
        The plan begins with the first review on or after it; what is overdue counts as paid then.
    """
    path = list(clean_path(line, target, policy, as_of))
    effective = line.effective_limit_minor
    steps, before = [], line
    for day, after in path:
        if (after.state, after.effective_limit_minor) != (
            before.state,
            before.effective_limit_minor,
        ):
            steps.append(PlannedStep(day, after.state, after.effective_limit_minor))
        before = after
    cut = line.last_cut() if line.is_reduced else None
    cool = None if cut is None else cut + timedelta(days=policy.cool_down_days)
    return Restoration(
        state=line.state,
        limit_minor=effective,
        approved_minor=line.approved_limit_minor,
        lost_to_behaviour_minor=line.caps_limit_minor - effective,
        lost_to_caps_minor=line.approved_limit_minor - line.caps_limit_minor,
        cut_on=cut,
        cool_down_until=cool if cool is not None and cool > as_of else None,
        next_review_on=line.next_review_on,
        needs=tuple(_needs(line, facts, policy, path, as_of)),
        waits_for=tuple(_waits(line, facts, target, policy)),
        held_by=target.told() if before.is_reduced else (),
        earliest=next((one.on for one in steps if one.limit_minor > effective), None),
        steps=tuple(steps),
        restored_on=_restored(path, line),
        downturn_until=downturn_until(target, policy, as_of),
    )


def _restored(path: list[tuple[date, Line]], line: Line) -> date | None:
    """Return the day from which nothing is missing any more, if something is or will be."""
    whole, missing = None, line.is_reduced
    for day, after in path:
        if after.is_reduced:
            whole, missing = None, True
        elif whole is None and missing:
            whole = day
    return whole


def _needs(
    line: Line, facts: Facts, policy: LinePolicy, path: list[tuple[date, Line]], as_of: date
) -> Iterator[Need]:
    exits = exits_on(line, path)
    for window in line.windows:
        yield _window_need(window, policy, exits.get(window.code))
    late = advance(
        line.delinquency,
        policy.arrears,
        as_of,
        facts.days_past_due,
        clear_since=facts.clear_since,
        forborne_on=facts.forborne_on,
    )
    if late.curing:
        paid = late if late.clear_since else replace(late, clear_since=as_of)
        cured = cured_on(paid, policy.arrears)
        yield Need(curing(late, policy.arrears).code, (), 0, 0, cured, cured)


def _window_need(window: Window, policy: LinePolicy, earliest: date | None) -> Need:
    rule = policy.rules.get(window.code)
    own = () if rule is None else rule.exit
    shared = tuple(
        one
        for code in policy.always
        if code != window.code and code in policy.rules
        for one in policy.rules[code].exit
    )
    return Need(
        code=window.code,
        conditions=own + shared,
        clean=window.clean,
        needed=needed_reviews(window.code, policy),
        not_before=over_from(window, policy),
        earliest=earliest,
    )


def _waits(line: Line, facts: Facts, target: Target, policy: LinePolicy) -> Iterator[Reason]:
    if line.frozen_for in LOOKED_INTO:
        yield because(FROZEN[line.frozen_for])
    yield from bars_told(line, facts, target, policy)


def _need(one: Need) -> dict[str, Any]:
    return {
        "rule": one.code,
        "clean": one.clean,
        "needed": one.needed,
        "not_before": _text(one.not_before),
        "earliest": _text(one.earliest),
        "each_review": [
            {
                "metric": condition.metric,
                "days": condition.days,
                "at_least" if condition.rising else "at_most": str(condition.threshold),
            }
            for condition in one.conditions
        ],
    }


def _text(day: date | None) -> str | None:
    return None if day is None else day.isoformat()
