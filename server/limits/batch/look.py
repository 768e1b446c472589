"""What the reviews of many lines see: `server.limits.line.triggers.look`, a rule at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from server.limits.batch.columns import NONE, Columns, Counts, FactColumns, Flags, Money
from server.limits.batch.exact import met, times
from server.limits.rules.line_policy import Condition, LinePolicy, Rule


@dataclass(frozen=True, slots=True)
class SeenColumns:
    """What the reviews see; see `server.limits.line.triggers.Seen`.

    Parameters
    ----------
    fired, calm : mapping of str to (n,) Flags
        By rule, in the policy's order.
    clean : (n,) Flags
    """

    fired: Mapping[str, Flags]
    calm: Mapping[str, Flags]
    clean: Flags


@dataclass(frozen=True, slots=True)
class Ratios:
    """A metric of many lines, exactly.

    Parameters
    ----------
    above, below : (n,) int64 or object
        Numerators, and denominators above 0.
    known : (n,) Flags
        Where it is not, the ratio means nothing.
    """

    above: NDArray[Any]
    below: NDArray[Any]
    known: Flags


def look(columns: Columns, policy: LinePolicy, as_of: int) -> SeenColumns:
    """Return what the reviews of many lines see on a day.

    Parameters
    ----------
    columns : Columns
    policy : LinePolicy
    as_of : int
        Ordinal.
    """
    line, facts, windows = columns.line, columns.facts, columns.line.windows
    whole = largest_limit(columns, policy, as_of)
    fired: dict[str, Flags] = {}
    calm: dict[str, Flags] = {}
    for code, rule in policy.rules.items():
        fired[code] = _fires(rule, facts, whole, line.score)
        mine = windows.code == windows.codes.index(code)
        matters = (
            np.ones(len(line), np.bool_) if code in policy.always else windows.rows(len(line), mine)
        )
        before = np.full(len(line), NONE, np.int32)
        before[windows.row[mine]] = windows.score[mine]
        calm[code] = matters & ~fired[code]
        if calm[code].any():
            calm[code] &= _calm(rule, facts, whole, before)
    clean = facts.days_past_due <= policy.arrears.grace_days
    for code in policy.always:
        clean = clean & calm[code] if code in calm else np.zeros_like(clean)
    return SeenColumns(fired, calm, clean)


def largest_limit(columns: Columns, policy: LinePolicy, as_of: int) -> Money:
    """Return the limits that utilisation is a share of; see `server.limits.line.triggers`."""
    cuts = columns.line.before_cuts
    whole = np.maximum(columns.line.effective_limit_minor, 1)
    recent = cuts.on > as_of - policy.memory_days
    np.maximum.at(whole, cuts.row[recent], cuts.limit_minor[recent])
    return whole


def measured(condition: Condition, facts: FactColumns, whole: Money, before: Counts) -> Ratios:
    """Return a metric; see `server.limits.line.triggers.measured`.

    Parameters
    ----------
    condition : Condition
    facts : FactColumns
    whole : (n,) Money
    before : (n,) Counts
        The scores that a drop or a recovery is measured from.
    """
    metric, days = condition.metric, condition.days
    one = np.ones_like(whole)
    if metric == "utilisation":
        peak = _measure(facts, f"peak_balance_{days}d")
        return Ratios(peak, whole, peak != NONE)
    if metric == "spend_surge":
        short = _measure(facts, f"spend_{days}d")
        long = _measure(facts, f"spend_{condition.over_days}d")
        known = (short != NONE) & (long != NONE)
        return Ratios(times(short, condition.over_days), np.maximum(times(long, days), 1), known)
    if metric == "others_growth":
        now, then = _measure(facts, "others"), _measure(facts, f"others_{days}d_ago")
        return Ratios(now - then, np.maximum(then, 1), (now != NONE) & (then != NONE))
    if metric in {"score_drop", "score_recovery"}:
        score = _measure(facts, "score")
        by = before - score if metric == "score_drop" else score - before
        return Ratios(by, one, (score != NONE) & (before != NONE))
    count = _measure(facts, f"{metric}_{days}d")
    return Ratios(count, one, count != NONE)


def _measure(facts: FactColumns, name: str) -> Money:
    found = facts.measures.get(name)
    return np.full(facts.outstanding_minor.size, NONE, np.int64) if found is None else found


def _fires(rule: Rule, facts: FactColumns, whole: Money, score: Counts) -> Flags:
    found = np.zeros(whole.size, np.bool_)
    for condition in rule.enter:
        on_its_side = _met(condition, measured(condition, facts, whole, score))
        found |= on_its_side & _amount(condition, facts, rule)
    return found


def _amount(condition: Condition, facts: FactColumns, rule: Rule) -> Flags:
    """Return whether the amount behind a ratio is large enough to count."""
    if not rule.least_minor:
        return np.ones(facts.outstanding_minor.size, np.bool_)
    name = "others" if condition.metric == "others_growth" else f"spend_{condition.days}d"
    return _measure(facts, name) >= rule.least_minor


def _calm(rule: Rule, facts: FactColumns, whole: Money, before: Counts) -> Flags:
    found = np.ones(whole.size, np.bool_)
    for condition in rule.exit:
        found &= _met(condition, measured(condition, facts, whole, before))
    return found


def _met(condition: Condition, value: Ratios) -> Flags:
    """Return where a metric is known and on the condition's side."""
    threshold, rising = condition.threshold, condition.rising
    return value.known & met(value.above, value.below, threshold, rising=rising)
