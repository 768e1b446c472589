"""How to score a customer from an exported card: a reader of the JSON that needs only Python.

`score_row` is the reference for whoever carries a card into another system. It works on what
``confide model export --as json`` writes for a party (its part, with the edges) and on a whole card
that was joined.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any


def score_row(card: Mapping[str, Any], row: Mapping[str, Any]) -> int:
    """Return a customer's points.

    Parameters
    ----------
    card : mapping
        The parsed JSON.
    row : mapping of str to number, text or None
        The customer's columns as the parties' tables hold them; None is missing.

    Raises
    ------
    KeyError
        If a column is absent, or holds a level of a category that the card does not know.
    """
    return sum(line["points"][_bin(line, row, card["columns"])] for line in card["lines"])


def _bin(line: Mapping[str, Any], row: Mapping[str, Any], columns: Mapping[str, Any]) -> int:
    """Return the number of the bin in which a row lies."""
    if "levels" in line:
        level = _value(row, line["features"][0], columns)
        return int(line["levels"]["missing"] if level is None else line["levels"]["bins"][level])
    if "cells" in line:
        places = []
        for name, axis in zip(line["features"], line["cells"]["axes"], strict=True):
            place = _place(axis, _value(row, name, columns))
            places.append(place if place <= len(axis["edges"]) else 0)  # a bin apart is the lowest
        return int(line["cells"]["bins"][places[0]][places[1]])
    if "summary" in line:
        return _place(line["axis"], _derive(line["summary"], row, columns))
    return _place(line["axis"], _value(row, line["features"][0], columns))


def _place(axis: Mapping[str, Any], value: float | None) -> int:
    """Return the bin: how many edges lie below, or a bin apart for what is missing or special."""
    if value is None or value in axis["special"]:
        for number, codes in enumerate(axis["apart"]):
            if value in codes:
                return len(axis["edges"]) + 1 + number
        return int(axis["home"])
    return bisect_left(axis["edges"], value)


def _value(row: Mapping[str, Any], name: str, columns: Mapping[str, Any]) -> Any:
    """Return a cell: a number, the text of a level, or None."""
    value, column = row[name], columns[name]
    empty = value is None or value == "" or value != value  # noqa: PLR0124 - NaN
    if empty or value in column["missing"]:
        return None
    return str(value) if column["dtype"] == "category" else float(value)


def _derive(
    summary: Mapping[str, Any], row: Mapping[str, Any], columns: Mapping[str, Any]
) -> float | None:
    """Return a derived feature; missing where any of its sources is missing or special."""
    plain = {name: _value(row, name, columns) for name in summary["special"]}
    if any(value is None or value in summary["special"][name] for name, value in plain.items()):
        return None
    values = [plain[name] for name in summary["features"]]
    total = reduce(add, values)  # one after the other: `sum` rounds otherwise
    kinds = {"sum": total, "mean": total / len(values), "max": max(values), "min": min(values)}
    result: float = kinds[summary["kind"]]
    if not summary["relation"]:
        return result
    other = plain[summary["other"]]
    if summary["relation"] == "minus":
        return float(result - other)
    return float(result / other) if other else None
