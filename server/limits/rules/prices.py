"""What each grade pays: a table of prices, read and linted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from server.limits.basis.tables import Tables


@dataclass(frozen=True, slots=True)
class Price:
    """What a grade pays.

    Parameters
    ----------
    grade : str
    annual_rate : Decimal
        Interest a year on what is outstanding.
    guarantee_monthly : Decimal
        Fee of a guarantor a month, on the amount drawn.
    """

    grade: str
    annual_rate: Decimal
    guarantee_monthly: Decimal = Decimal(0)


def parse_prices(tables: Tables, top: Mapping[str, Any], prefix: str = "") -> Mapping[str, Price]:
    """Read a table of prices: a safer grade never pays more (invariant I7).

    Parameters
    ----------
    tables : Tables
        Takes the findings.
    top : mapping
        The table that holds `prices`.
    prefix : str
        Of the paths in findings.
    """
    rows = []
    for at, row in tables.rows(top, "prices"):
        path = prefix + at
        tables.unknown(path, row, ["grade", "annual_rate", "guarantee_monthly"])
        fee = Decimal(0)
        if "guarantee_monthly" in row:
            fee = tables.number(row, "guarantee_monthly", path, high=1)
        rate = tables.number(row, "annual_rate", path, high=1)
        rows.append(Price(tables.words(row, "grade", path), rate, fee))
    path, names = f"{prefix}prices", [row.grade for row in rows]
    tables.check(len(set(names)) == len(names), path, "grades must differ", names)
    for safer, riskier in pairwise(rows):
        pair = f"{safer.grade} (safer) must not pay more than {riskier.grade}"
        for column in ("annual_rate", "guarantee_monthly"):
            less, more = getattr(safer, column), getattr(riskier, column)
            tables.check(less <= more, f"{path}.{column}", pair, f"{less} and {more}")
    return MappingProxyType({row.grade: row for row in rows})
