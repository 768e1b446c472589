"""Typed reads from TOML tables, and rows that hold from a date: all findings of a file at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar, cast

from shared.errors import ConfigError
from shared.settings import Reader

LARGEST_MINOR = 10**15
"""No amount is larger: far above any line, far below where exact arithmetic gets slow."""


class Dated(Protocol):
    """A row that holds from a day until the next row begins."""

    @property
    def since(self) -> date:
        """First day on which it holds."""
        ...


_Row = TypeVar("_Row", bound=Dated)


def in_force(rows: Sequence[_Row], day: date) -> _Row | None:
    """Return the row that holds on a day, or None before the first; rows rise by `since`."""
    held = None
    for row in rows:
        if row.since > day:
            break
        held = row
    return held


def parse_decimal_toml(text: str, source: str) -> dict[str, Any]:
    """Parse TOML with exact decimals: `0.7` is seven tenths, not the nearest binary fraction.

    Raises
    ------
    ConfigError
        If it is not TOML; names the line.
    """
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [f"not TOML: {error}"]) from error


class Tables(Reader):
    """Reads values of money, shares and dates; what is wrong takes a stand-in and a finding."""

    def amount(self, table: Mapping[str, Any], key: str, path: str = "", *, low: int = 0) -> int:
        """Return a whole number of minor units."""
        return self.whole(table, key, path, low=low, high=LARGEST_MINOR)

    def whole(
        self, table: Mapping[str, Any], key: str, path: str = "", *, low: int, high: int
    ) -> int:
        """Return a whole number in [low, high]."""
        value = table.get(key)
        good = type(value) is int and low <= value <= high
        self.check(good, _at(path, key), f"must be a whole number from {low} to {high}", value)
        return cast("int", value) if good else low

    def number(
        self,
        table: Mapping[str, Any],
        key: str,
        path: str = "",
        *,
        high: int,
        above_zero: bool = False,
    ) -> Decimal:
        """Return an exact number in [0, high], or in (0, high]."""
        value = table.get(key)
        if type(value) is int:
            value = Decimal(value)
        least = "above 0" if above_zero else "at least 0"
        good = isinstance(value, Decimal) and value.is_finite() and 0 <= value <= high
        good = good and not (above_zero and value == 0) and _digits(value) <= 9
        rule = f"must be {least} and at most {high}, with at most 9 decimals"
        self.check(good, _at(path, key), rule, _shown(value))
        return cast("Decimal", value) if good else Decimal(high)

    def day(self, table: Mapping[str, Any], key: str, path: str = "") -> date:
        """Return a date."""
        value = table.get(key)
        good = isinstance(value, date) and not isinstance(value, datetime)
        self.check(good, _at(path, key), "must be a date such as 2026-01-31", _shown(value))
        return cast("date", value) if good else date.min

    def words(self, table: Mapping[str, Any], key: str, path: str = "") -> str:
        """Return a text that is not empty."""
        value = table.get(key)
        good = isinstance(value, str) and bool(value.strip())
        self.check(good, _at(path, key), "must be a text", value)
        return cast("str", value) if good else ""

    def rows(self, table: Mapping[str, Any], key: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Return the tables of an array, each with its path."""
        value = table.get(key, [])
        good = isinstance(value, list) and all(isinstance(row, Mapping) for row in value)
        self.check(good, key, "must be an array of tables", value)
        return [(f"{key}[{i + 1}]", row) for i, row in enumerate(value)] if good else []

    def dates_rise(self, key: str, rows: Sequence[Dated]) -> None:
        """Note dated rows that are out of order or begin on the same day."""
        days = [row.since for row in rows]
        self.check(
            days == sorted(set(days)), key, "dates must rise strictly", [str(day) for day in days]
        )


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _digits(value: Any) -> int:
    return max(0, -int(value.as_tuple().exponent))


def _shown(value: Any) -> Any:
    """Return a value as people wrote it, for a message."""
    return str(value) if isinstance(value, Decimal | date) else value
