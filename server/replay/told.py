"""A replay told in figures that people ask for: rates and means in place of sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from server.replay.figures import Figures
from server.replay.play import Outcome

_YEAR: Final = 12
_MINOR: Final = 100
#: The three whom a policy has an effect on (M108), and of which figures of `summary` each is told,
#: with their form: a share, a count, whole money, or money to the minor unit.
LEVELS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "borrowers": (
        ("people", "count"),
        ("approved", "share"),
        ("limit_minor", "money"),
        ("utilisation", "share"),
        ("unmet_minor", "money"),
        ("lowered", "share"),
        ("lowered_punctual", "share"),
        ("raised", "share"),
        ("restored", "share"),
        ("median_months", "count"),
    ),
    "lender": (
        ("defaults", "share"),
        ("loss_rate", "share"),
        ("expected_loss_rate", "share"),
        ("profit_minor", "cents"),
        ("in_use", "share"),
    ),
    "market": (
        ("late", "share"),
        ("elsewhere_minor", "money"),
    ),
}


def summary(figures: Figures) -> dict[str, Any]:
    """Return what a replay under one set of rules comes to.

    Parameters
    ----------
    figures : Figures

    Returns
    -------
    dict
        ``approved``: share of people with a line. Amounts are minor units, a line and month;
        ``loss_rate`` and ``expected_loss_rate`` are shares of what is owed, a year;
        ``lowered_punctual`` is a share of the limits that were lowered, ``in_use`` of the lines at
        the end: who still draws or owes has stayed a customer. Of the lines
        that were cut, ``restored`` is the share whose limit came back, after ``median_months``.
    """
    months = figures.months
    alive = np.maximum(months["lines"], 1.0)
    owed = np.maximum(months["outstanding_minor"].sum(), 1.0)
    profit = months["earned_minor"] - months["cost_minor"] - months["loss_minor"]
    waited = figures.waited_whole
    back, still = sum(waited.values()), sum(figures.cuts_open.values())
    return {
        "people": figures.people,
        "lines": figures.lines,
        "approved": figures.lines / max(figures.people, 1),
        "limit_minor": float(months["limit_minor"][-1] / alive[-1]),
        "utilisation": float(owed / max(months["limit_minor"].sum(), 1.0)),
        "unmet_minor": float(months["unmet_minor"].sum() / alive.sum()),
        "elsewhere_minor": float(months["elsewhere_minor"][-1] / max(figures.lines, 1)),
        "late": float(months["late"].sum() / alive.sum()),
        "defaults": float(months["defaults"].sum() / max(figures.lines, 1)),
        "loss_rate": float(_YEAR * months["loss_minor"].sum() / owed),
        "expected_loss_rate": float(_YEAR * months["expected_loss_minor"].sum() / owed),
        "profit_minor": float(profit.sum() / alive.sum()),
        "profit_total_minor": float(profit.sum()),
        "lowered": float(months["lowered"].sum() / alive.sum()),
        "lowered_punctual": float(
            months["lowered_punctual"].sum() / max(months["lowered"].sum(), 1.0)
        ),
        "in_use": float(months["in_use"][-1] / alive[-1]),
        "raised": float(months["raised"].sum() / alive.sum()),
        "restored": back / max(back + still, 1),
        "median_months": _median(waited),
    }


def coming_back(figures: Figures) -> list[dict[str, Any]]:
    """Return, by the reason of a cut, how many limits came back and how soon.

    Returns
    -------
    list of dict
        ``code``, ``cuts`` for it, ``restored``, the share of these that came back, and their
        ``median_months``; the most frequent first.
    """
    rows = []
    for code in figures.waited.keys() | figures.cuts_open.keys():
        waited = figures.waited.get(code, {})
        back = sum(waited.values())
        cuts = back + figures.cuts_open.get(code, 0)
        rows.append(
            {
                "code": code,
                "cuts": cuts,
                "restored": back / cuts,
                "median_months": _median(waited),
            }
        )
    return sorted(rows, key=lambda row: (-row["cuts"], row["code"]))


def efficient(rows: list[dict[str, Any]]) -> list[bool]:
    """Return which of some summaries no other beats: less loss and more profit at once."""
    points = [(row["loss_rate"], row["profit_total_minor"]) for row in rows]
    return [
        not any(
            loss <= own_loss and profit >= own_profit and (loss, profit) != (own_loss, own_profit)
            for loss, profit in points
        )
        for own_loss, own_profit in points
    ]


def _median(waited: Mapping[int, int]) -> int | None:
    """Return after how many months half of those had it back who got it back."""
    half = sum(waited.values()) / 2
    reached = 0
    for months, lines in sorted(waited.items()):
        reached += lines
        if reached >= half > 0:
            return months
    return None


def months_of(figures: Figures) -> list[dict[str, float]]:
    """Return each month: mean limit, use, and rates of that month."""
    found = []
    for at in range(len(figures.months["lines"])):
        one = {name: float(values[at]) for name, values in figures.months.items()}
        lines, limits = max(one["lines"], 1.0), max(one["limit_minor"], 1.0)
        found.append(
            {
                "month": at + 1,
                "lines": one["lines"],
                "limit_minor": one["limit_minor"] / lines,
                "utilisation": one["outstanding_minor"] / limits,
                "unmet_minor": one["unmet_minor"] / lines,
                "late": one["late"] / lines,
                "score": one["score"] / lines,
                "defaults": one["defaults"] / lines,
                "lowered": one["lowered"] / lines,
                "raised": one["raised"] / lines,
                "profit_minor": (one["earned_minor"] - one["cost_minor"] - one["loss_minor"])
                / lines,
            }
        )
    return found


def mapping(outcome: Outcome, names: tuple[str, ...]) -> dict[str, Any]:
    """Return an outcome as plain values, ready for JSON."""
    arms = []
    for name, figures in zip(names, outcome.figures, strict=True):
        told: Mapping[str, Any] = {"name": name, "summary": summary(figures)}
        arms.append({**told, "figures": figures.to_mapping()})
    return {"arms": arms, "swap": outcome.swap.cells}
