"""Triggers B01-B10: what sets one off, what a clean review is, and the windows they open.

A measure that is missing (its holder is silent) sets nothing off, and makes no review clean: an
outage cuts nobody, and raises nobody (invariant I13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Final, TypeAlias

from server.limits.basis.reasons import Reason
from server.limits.line.line import Line, Window
from server.limits.rules.line_policy import Condition, LinePolicy, Rule

Ratio: TypeAlias = tuple[int, int]
"""A numerator and a denominator above 0: a metric, exactly."""
_COUNTS: Final = frozenset({"draws", "enquiries", "forbidden_purposes"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What a review looks at, besides the caps.

    Parameters
    ----------
    outstanding_minor, held_minor : int
        What is owed, and what open holds reserve.
    measures : mapping of str to int
        `draws_30d`, `peak_balance_30d`, `spend_30d`, `enquiries_90d`, `others`, `others_90d_ago`,
        `forbidden_purposes_30d`, `score`: windows are the policy's. What is not known is left out.
    days_past_due : int
    clear_since : date, optional
        First day with nothing overdue, if known.
    forborne_on : date, optional
    fraud, consent, dispute : bool
        Fraud is suspected; the customer's consent stands; a dispute is open.
    budget_used : Decimal
        Share of the portfolio's budget.
    last_draw_on : date, optional
    """

    outstanding_minor: int = 0
    held_minor: int = 0
    measures: Mapping[str, int] = field(default_factory=dict)
    days_past_due: int = 0
    clear_since: date | None = None
    forborne_on: date | None = None
    fraud: bool = False
    consent: bool = True
    dispute: bool = False
    budget_used: Decimal = Decimal(0)
    last_draw_on: date | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What a review sees.

    Parameters
    ----------
    fired : mapping of str to Reason
        Rules that were set off, with the figures.
    calm : frozenset of str
        Rules at or below their exit, of those that matter today.
    clean : bool
        Nothing is overdue, and the rules of `observation.always` are calm.
    """

    fired: Mapping[str, Reason]
    calm: frozenset[str]
    clean: bool


def look(line: Line, facts: Facts, policy: LinePolicy, as_of: date) -> Seen:
    """Return what a review of a line sees on a day."""
    fired, calm = {}, set()
    whole = largest_limit(line, policy, as_of)
    for code, rule in policy.rules.items():
        window = line.window(code)
        reason = _fires(rule, line, facts, whole)
        if reason is not None:
            fired[code] = reason
        elif (code in policy.always or window is not None) and _calm(rule, window, facts, whole):
            calm.add(code)
    on_time = facts.days_past_due <= policy.arrears.grace_days
    return Seen(fired, frozenset(calm), on_time and calm.issuperset(policy.always))


def largest_limit(line: Line, policy: LinePolicy, as_of: date) -> int:
    """Return the limit that utilisation is a share of: the largest of the days remembered.

    A cut makes the same debt a larger share; were that share fed back, the cut would cause the
    next one (domain 7).
    """
    since = as_of - timedelta(days=policy.memory_days)
    past = [limit for day, limit in line.before_cuts if day > since]
    return max(line.effective_limit_minor, *past, 1)


def measured(condition: Condition, facts: Facts, whole: int, before: int | None) -> Ratio | None:
    """Return a metric, or None where it is not known.

    Parameters
    ----------
    condition : Condition
    facts : Facts
    whole : int
        See `largest_limit`.
    before : int, optional
        The score that a drop or a recovery is measured from.
    """
    metric, days, known = condition.metric, condition.days, facts.measures
    if metric in _COUNTS:
        count = known.get(f"{metric}_{days}d")
        return None if count is None else (count, 1)
    if metric == "utilisation":
        peak = known.get(f"peak_balance_{days}d")
        return None if peak is None else (peak, whole)
    if metric == "spend_surge":
        return _surge(
            known.get(f"spend_{days}d"), known.get(f"spend_{condition.over_days}d"), condition
        )
    if metric == "others_growth":
        now, then = known.get("others"), known.get(f"others_{days}d_ago")
        return None if now is None or then is None else (now - then, max(then, 1))
    score = known.get("score")
    if score is None or before is None:
        return None
    return (before - score if metric == "score_drop" else score - before, 1)


def _surge(short: int | None, long: int | None, condition: Condition) -> Ratio | None:
    """Return the spending of a window over its share of the longer one's."""
    if short is None or long is None:
        return None
    return (short * condition.over_days, max(long * condition.days, 1))


def _fires(rule: Rule, line: Line, facts: Facts, whole: int) -> Reason | None:
    for condition in rule.enter:
        value = measured(condition, facts, whole, line.score)
        if value is not None and condition.met(value) and _amount(condition, facts, rule):
            return _told(rule.code, condition, value)
    return None


def _amount(condition: Condition, facts: Facts, rule: Rule) -> bool:
    """Return whether the amount behind a ratio is large enough to count."""
    if not rule.least_minor:
        return True
    name = "others" if condition.metric == "others_growth" else f"spend_{condition.days}d"
    return facts.measures.get(name, 0) >= rule.least_minor


def _calm(rule: Rule, window: Window | None, facts: Facts, whole: int) -> bool:
    before = None if window is None else window.score
    for condition in rule.exit:
        value = measured(condition, facts, whole, before)
        if value is None or not condition.met(value):
            return False
    return True


def _told(code: str, condition: Condition, value: Ratio) -> Reason:
    above, below = value
    figure: int | str = above if below == 1 else f"{Decimal(above) / below:.2f}"
    params: list[tuple[str, int | str]] = [("metric", condition.metric), ("value", figure)]
    params.append(("enter", str(condition.threshold)))
    if condition.days:
        params.append(("days", condition.days))
    return Reason(code, "behaviour", params=tuple(params))


def needed_reviews(code: str, policy: LinePolicy) -> int:
    """Return how many clean reviews in a row end a window."""
    rule = policy.rules.get(code)
    return policy.clean_reviews if rule is None else rule.reviews


def over_from(window: Window, policy: LinePolicy) -> date:
    """Return the first day on which a window may end."""
    rule = policy.rules.get(window.code)
    days = policy.dwell_days if rule is None else rule.min_days
    return window.seen_on + timedelta(days=days)


def is_over(window: Window, policy: LinePolicy, as_of: date) -> bool:
    """Return whether a window ends on a day."""
    enough = window.clean >= needed_reviews(window.code, policy)
    return enough and over_from(window, policy) <= as_of


def observes(window: Window, policy: LinePolicy) -> bool:
    """Return whether a window is an observation; else it only holds."""
    rule = policy.rules.get(window.code)
    return rule is None or rule.effect != "hold"


def watched(
    windows: tuple[Window, ...],
    seen: Seen,
    policy: LinePolicy,
    as_of: date,
    *,
    score: int | None,
    scheduled: bool,
) -> tuple[Window, ...]:
    """Return the windows after a review saw what it saw, those that are over included.

    Parameters
    ----------
    windows : tuple of Window
    seen : Seen
    policy : LinePolicy
    as_of : date
    score : int, optional
        Of today.
    scheduled : bool
        Only scheduled reviews count, in either direction, and never the one that opens a window.
    """
    result = []
    for window in windows:
        if window.code in seen.fired:
            run = window.run + scheduled
            result.append(replace(window, seen_on=as_of, run=run, clean=0, score=score))
        elif scheduled and window.opened_on < as_of:
            # A window after a freeze for arrears has no rule of its own.
            calm = seen.clean and (window.code in seen.calm or window.code not in policy.rules)
            result.append(replace(window, run=0, clean=window.clean + 1 if calm else 0))
        else:
            result.append(window)
    opened = {window.code for window in windows}
    result += [
        Window(code, as_of, as_of, run=int(scheduled), score=score)
        for code in seen.fired
        if code not in opened and policy.rules[code].effect != "freeze"
    ]
    return tuple(result)
