"""What came of a replay, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from server.replay import told
from server.replay.play import Outcome

NOBODY_IS_REAL = "Nobody here is real: people, money and economy are simulated."


def lines_of(outcome: Outcome, names: tuple[str, ...], ends: str = NOBODY_IS_REAL) -> Iterator[str]:
    """Yield the lines of a report."""
    yield from levels_of([told.summary(figures) for figures in outcome.figures], names)
    for name, figures in zip(names, outcome.figures, strict=True):
        yield ""
        yield f"{name}, whoever was never late"
        yield f"{'':<34}" + "".join(f"{head:>13}" for head in _PUNCTUAL)
        for group, one in figures.groups.items():
            lines = max(one["lines"], 1.0)
            first, last = one["first_minor"] / lines / 100, one["last_minor"] / lines / 100
            whole = one["whole"] / lines
            yield f"  {group:<32}{one['lines']:>13,.0f}{first:>13,.0f}{last:>13,.0f}{whole:>13.1%}"
        yield ""
        yield f"{name}, by the grade that a line was opened in"
        yield f"{'':<34}" + "".join(f"{head:>13}" for head in _GRADES)
        for grade, one in figures.grades.items():
            lines = max(one["opened"], 1.0)
            yield (
                f"  {grade:<32}{one['opened']:>13,.0f}{one['last']:>13,.0f}"
                f"{one['whole'] / lines:>13.1%}{one['defaults'] / lines:>13.1%}"
            )
        yield ""
        yield f"{name}, cuts, by their reason"
        yield f"{'':<34}" + "".join(f"{head:>13}" for head in _CUTS)
        for row in told.coming_back(figures):
            median = "-" if row["median_months"] is None else row["median_months"]
            yield (
                f"  {row['code'] or 'no other reason':<32}{row['cuts']:>13,}"
                f"{row['restored']:>13.1%}{median:>13}"
            )
        yield ""
        yield f"{name}, who has a line"
        yield f"{'':<34}" + "".join(f"{head:>13}" for head in _KINDS)
        for kind, one in figures.kinds.items():
            share, first = one["lines"] / max(one["people"], 1.0), one["first_minor"] / 100
            mean = first / max(one["lines"], 1.0)
            yield f"  {kind:<32}{one['people']:>13,.0f}{share:>13.1%}{mean:>13,.0f}"
        yield ""
        yield f"{name}, by month"
        yield f"{'month':>6}{'lines':>10}{'limit':>10}" + "".join(
            f"{head:>9}" for head in ("used", "late", "lowered", "raised")
        )
        for row in told.months_of(figures):
            if row["month"] == 1 or row["month"] % 3 == 0:
                yield (
                    f"{row['month']:>6.0f}{row['lines']:>10,.0f}{row['limit_minor'] / 100:>10,.0f}"
                    f"{row['utilisation']:>9.1%}{row['late']:>9.1%}{row['lowered']:>9.1%}"
                    f"{row['raised']:>9.1%}"
                )
    if outcome.swap.cells:
        yield ""
        yield from _swap(outcome.swap.cells, names)
    yield ""
    yield ends


def levels_of(summaries: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Iterator[str]:
    """Yield the figures of borrowers, lender and market, a column for each set of rules."""
    yield f"{'':<34}" + "".join(f"{name:>16}" for name in names)
    for level, rows in told.LEVELS.items():
        yield level
        for name, form in rows:
            cells = "".join(f"{_cell(column[name], form):>16}" for column in summaries)
            yield f"  {_LABELS[name]:<32}{cells}"


_PUNCTUAL = ("lines", "first limit", "last limit", "kept whole")
_CUTS = ("cuts", "came back", "after months")
_KINDS = ("people", "have a line", "first limit")
_GRADES = ("opened", "at the end", "kept whole", "in default")
_LABELS = {
    "people": "people",
    "approved": "have a line",
    "limit_minor": "mean limit at the end",
    "utilisation": "share of the limits that is used",
    "unmet_minor": "wanted and not had, a month",
    "lowered": "limits lowered, a month",
    "lowered_punctual": "of them with nothing overdue",
    "raised": "limits raised, a month",
    "restored": "cut limits that came back",
    "median_months": "after months, the median",
    "defaults": "lines in default by the end",
    "loss_rate": "lost of what is owed, a year",
    "expected_loss_rate": "expected to be lost",
    "profit_minor": "profit a line and month",
    "in_use": "lines still in use at the end",
    "late": "lines overdue, in a month",
    "elsewhere_minor": "owed elsewhere at the end",
}


def _cell(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    if form == "share":
        return f"{value:.2%}"
    if form == "money":
        return f"{value / 100:,.0f}"
    return f"{value / 100:,.2f}" if form == "cents" else f"{value:,.0f}"


def _swap(cells: Mapping[str, Mapping[str, float]], names: tuple[str, ...]) -> Iterator[str]:
    first, second = names
    yield f"{'who has a line':<26}{'people':>10}{'default':>9}{'limits':>15}{'profit':>14}"
    labels = {
        "both": "under both",
        "only_first": f"only under {first}",
        "only_second": f"only under {second}",
        "neither": "under neither",
    }
    for name, label in labels.items():
        cell = cells[name]
        order = "first" if name == "only_first" else "second"
        bad = cell[f"bad_{order}"] / max(cell["people"], 1.0)
        limits, profit = cell[f"limit_minor_{order}"] / 100, cell[f"profit_minor_{order}"] / 100
        yield f"{label:<26}{cell['people']:>10,.0f}{bad:>9.1%}{limits:>15,.0f}{profit:>14,.0f}"
