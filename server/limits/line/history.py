"""Dated events of a customer, and the measures that the triggers take of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from server.limits.rules.line_policy import LinePolicy


@dataclass(frozen=True, slots=True)
class History:
    """What happened, in order of days; an empty part is known to be empty, None is not known.

    Parameters
    ----------
    draws : tuple of (date, int)
        Day and amount, minor units.
    balances : tuple of (date, int)
        What was owed after each change of it.
    spending : tuple of (date, int), optional
        Day and amount.
    enquiries : tuple of date, optional
        Hard ones.
    others : tuple of (date, int), optional
        Revolving balances with other lenders, as reported from a day on.
    forbidden : tuple of date
        Draws for a forbidden purpose that no person has looked into yet.
    """

    draws: tuple[tuple[date, int], ...] = ()
    balances: tuple[tuple[date, int], ...] = ()
    spending: tuple[tuple[date, int], ...] | None = None
    enquiries: tuple[date, ...] | None = None
    others: tuple[tuple[date, int], ...] | None = None
    forbidden: tuple[date, ...] = ()


def measures(
    history: History, policy: LinePolicy, as_of: date, score: int | None = None
) -> dict[str, int]:
    """Return every measure that a policy's triggers need and that is known.

    A window of n days ends with `as_of` and holds n days.

    Parameters
    ----------
    history : History
    policy : LinePolicy
    as_of : date
    score : int, optional
    """
    found = {} if score is None else {"score": score}
    for rule in policy.rules.values():
        for condition in (*rule.enter, *rule.exit):
            for days in (condition.days, condition.over_days):
                if days:
                    found.update(_measure(condition.metric, days, history, as_of))
    return found


def _measure(metric: str, days: int, history: History, as_of: date) -> dict[str, int]:
    first = as_of - timedelta(days=days - 1)
    found: dict[str, int] = {}
    if metric == "draws":
        found[f"draws_{days}d"] = _count((day for day, _ in history.draws), first, as_of)
    elif metric == "forbidden_purposes":
        found[f"forbidden_purposes_{days}d"] = _count(history.forbidden, first, as_of)
    elif metric == "enquiries" and history.enquiries is not None:
        found[f"enquiries_{days}d"] = _count(history.enquiries, first, as_of)
    elif metric == "utilisation":
        carried = value_on(history.balances, first - timedelta(days=1))
        inside = [owed for day, owed in history.balances if first <= day <= as_of]
        found[f"peak_balance_{days}d"] = max(carried, *inside, 0)
    elif metric == "spend_surge" and history.spending is not None:
        spent = sum(amount for day, amount in history.spending if first <= day <= as_of)
        found[f"spend_{days}d"] = spent
    elif metric == "others_growth" and history.others is not None:
        found["others"] = value_on(history.others, as_of)
        found[f"others_{days}d_ago"] = value_on(history.others, as_of - timedelta(days=days))
    return found


def value_on(changes: Iterable[tuple[date, int]], day: date) -> int:
    """Return the value at the end of a day; 0 before the first."""
    value = 0
    for since, amount in changes:
        if since > day:
            break
        value = amount
    return value


def _count(days: Iterable[date], first: date, last: date) -> int:
    return sum(first <= day <= last for day in days)
