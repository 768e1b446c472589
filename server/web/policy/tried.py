"""What came of rules on simulated people, as a page shows it: figures, frontiers, pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from server.limits.words.sentences import Texts
from server.replay.frontier import Point
from server.replay.told import LEVELS
from server.web.charts import Chart, Series, Swap, Unit, empty, failed, lines, loading, swap_set
from server.web.drawing import words_of
from server.web.slow import Made

_SHARE: Final = Unit("%", 2, 0.01)
_COUNT: Final = Unit()
_NOTHING: Final = "\N{EN DASH}"
_SIDES: Final = ("first", "second")
# In the order of the picture: both, only the second, only the first, none; and by whose figures
# a cell is told. Those of both count as the second has them.
_CELLS: Final = (
    ("both", "second"),
    ("only_second", "second"),
    ("only_first", "first"),
    ("neither", "second"),
)
FRONTIER: Final = ("approved", "limit_minor", "loss_rate", "profit_minor")
"""Figures of a step of the frontier."""
_FORMS: Final = {name: form for rows in LEVELS.values() for name, form in rows}
Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A figure under each of the rules.

    Parameters
    ----------
    name : str
        A key of `server.replay.told.summary`.
    cells : tuple of str
    """

    name: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """The rules with another bound on expected loss.

    Parameters
    ----------
    times : float
        Of the bound that they have.
    cells : tuple of str
        The figures of `FRONTIER`.
    efficient : bool
        No other step has less loss and more profit at once.
    """

    times: float
    cells: tuple[str, ...]
    efficient: bool


def levels_of(value: Figures | None, money: Unit) -> tuple[tuple[str, tuple[Row, ...]], ...]:
    """Return the figures by whom they are about: borrowers, lender, market.

    Parameters
    ----------
    value : mapping, optional
        Of `server.accounts.playing.play`.
    money : Unit
    """
    if value is None:
        return ()
    columns = [one["summary"] for one in value["arms"]]
    return tuple(
        (
            level,
            tuple(Row(name, tuple(_told(one, name, money) for one in columns)) for name, _ in rows),
        )
        for level, rows in LEVELS.items()
    )


def frontiers_of(value: Figures | None, money: Unit) -> tuple[tuple[Step, ...], ...]:
    """Return the frontier of each of the rules; nothing where none was asked for."""
    found = [] if value is None else [one["frontier"] for one in value["arms"]]
    return tuple(tuple(_step(one, money) for one in points) for points in found if points)


def charts_of(made: Made[dict[str, Any]] | None, money: Unit, texts: Texts) -> tuple[Chart, ...]:
    """Return the pictures, or what stands in their place; none where nothing was asked.

    Parameters
    ----------
    made : Made, optional
        Of `server.accounts.playing.play`.
    money : Unit
        Of sums of limits.
    texts : Texts
    """
    if made is None:
        return ()
    if made.value is None:
        instead = loading if made.state == "loading" else failed
        return (instead(words_of(texts, "try-limits")),)
    swap = made.value["swap"]
    limits = _limits(made.value["arms"], money, texts)
    if swap is None:
        return (limits,)
    return (swap_set(words_of(texts, "try-swap"), swap_cells(swap), money), limits)


def swap_cells(swap: Mapping[str, Mapping[str, float]]) -> tuple[Swap, ...]:
    """Return the four cells of a swap set in the order of the picture."""
    return tuple(_cell(swap[name], side) for name, side in _CELLS)


def _step(one: Point, money: Unit) -> Step:
    cells = tuple(_told(one.summary, name, money) for name in FRONTIER)
    return Step(one.times, cells, one.efficient)


def _told(summary: Figures, name: str, money: Unit) -> str:
    value: float | None = summary[name]
    units = {"share": _SHARE, "count": _COUNT, "money": money}
    unit = units.get(_FORMS[name]) or replace(money, digits=2)
    return _NOTHING if value is None else unit.told(value)


def _cell(one: Mapping[str, float], side: str) -> Swap:
    people = int(one["people"])
    rate = one[f"bad_{side}"] / people if people else None
    return Swap(people, rate, one[f"limit_minor_{side}"], one[f"profit_minor_{side}"])


def _limits(arms: Sequence[Figures], money: Unit, texts: Texts) -> Chart:
    """Draw the mean limit of the lines that are alive, by month."""
    words = words_of(texts, "try-limits")
    if not any(one["summary"]["lines"] for one in arms):
        return empty(words)
    series = [
        Series(
            texts.say(f"try.{side}"),
            tuple((float(row["month"]), row["limit_minor"]) for row in arm["months"]),
        )
        for side, arm in zip(_SIDES, arms, strict=False)
    ]
    return lines(words, series, Unit(), money, low=0.0)
