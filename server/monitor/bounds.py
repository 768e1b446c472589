"""When a figure calls for somebody to look: a dated TOML file, linted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Final

from server.limits.basis.tables import Tables, parse_decimal_toml

LOWEST_FLOOR: Final = 50
"""No file can ask for figures about fewer people (domain study 2.2)."""
_HIGH: Final = 10


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of the monitoring.

    Parameters
    ----------
    id, version : str
    floor : int
        Fewest people behind a figure about a group.
    ranking_drop : float
        Relative, of KS or AUC.
    slope_low, slope_high : float
        Of the calibration.
    backtest_level : float
        p-value of a grade's back-test.
    impact_ratio, mean_difference, limit_ratio, restoration_ratio : float
        Against the reference group.
    complaint_days : int
        Within which a complaint must be answered.
    """

    id: str
    version: str
    floor: int
    ranking_drop: float
    slope_low: float
    slope_high: float
    backtest_level: float
    impact_ratio: float
    mean_difference: float
    limit_ratio: float
    restoration_ratio: float
    complaint_days: int


def parse_bounds(text: str, source: str) -> Bounds:
    """Read and lint the text of a monitoring file.

    Raises
    ------
    ConfigError
        With all findings.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, [item.name for item in fields(Bounds)])
    bounds = Bounds(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        floor=tables.whole(top, "floor", low=LOWEST_FLOOR, high=10**6),
        complaint_days=tables.whole(top, "complaint_days", low=1, high=365),
        **{
            item.name: float(tables.number(top, item.name, high=_HIGH, above_zero=True))
            for item in fields(Bounds)
            if item.type == "float"
        },
    )
    rule = "must lie above slope_low"
    tables.check(
        bounds.slope_low < bounds.slope_high, "slope_high", rule, Decimal(str(bounds.slope_high))
    )
    tables.finish()
    return bounds
