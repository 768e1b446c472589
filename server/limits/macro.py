"""Overlays for the state of the economy: a multiplier, from and until a day, approved by two.

An overlay can only lower limits below what the policy's own scenario says; it ends by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from server.limits.policy import Macro, Policy
from server.limits.tables import Tables, in_force, parse_decimal_toml


@dataclass(frozen=True, slots=True)
class Overlay:
    """A multiplier for a time.

    Parameters
    ----------
    scenario : str
    multiplier : Decimal
        In (0, 1].
    since, until : date
        First day on which it holds, and the first on which it does not.
    approved_by : tuple of str
        Two different people.
    """

    scenario: str
    multiplier: Decimal
    since: date
    until: date
    approved_by: tuple[str, ...]


def with_overlays(policy: Policy, overlays: Sequence[Overlay]) -> Policy:
    """Return the policy whose scenario on each day is the lowest of its own and the overlays'."""
    days = {row.since for row in policy.macro}
    for one in overlays:
        days |= {one.since, one.until}
    rows = []
    for day in sorted(days):
        own = in_force(policy.macro, day)
        if own is None:
            continue  # before the policy's first scenario nothing is decided
        on = [one for one in overlays if one.since <= day < one.until]
        lowest = min(on, key=lambda one: one.multiplier, default=None)
        if lowest is not None and lowest.multiplier < own.multiplier:
            own = Macro(day, lowest.multiplier, lowest.scenario)
        rows.append(replace(own, since=day))
    return replace(policy, macro=tuple(rows))


def parse_overlays(text: str, source: str) -> tuple[Overlay, ...]:
    """Read and lint a file of overlays.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, ["overlays"])
    rows = []
    for path, row in tables.rows(top, "overlays"):
        tables.unknown(path, row, ["scenario", "multiplier", "since", "until", "approved_by"])
        since, until = tables.day(row, "since", path), tables.day(row, "until", path)
        tables.check(since < until, path, "since must be before until", f"{since} and {until}")
        rows.append(
            Overlay(
                scenario=tables.words(row, "scenario", path),
                multiplier=tables.number(row, "multiplier", path, high=1, above_zero=True),
                since=since,
                until=until,
                approved_by=_approved(tables, row, path),
            )
        )
    tables.finish()
    return tuple(rows)


def _approved(tables: Tables, row: Mapping[str, Any], path: str) -> tuple[str, ...]:
    value = row.get("approved_by")
    names = value if isinstance(value, list) else []
    good = all(isinstance(name, str) and name.strip() for name in names)
    good = good and len({name.strip() for name in names if isinstance(name, str)}) >= 2
    tables.check(good, f"{path}.approved_by", "must name two different people", value)
    return tuple(names) if good else ()
