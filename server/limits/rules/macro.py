"""Overlays for the state of the economy: a multiplier, from and until a day, approved by two.

An overlay can only lower limits below what the policy's own scenario says; it ends by itself. A
file of overlays is the one source of downturns (decision 22): it is laid over the limit policy,
which lowers what is decided, and the same days are told to the policy of a line's life, which then
knows what the scenario is called and when it ends.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from server.limits.basis.tables import Tables, in_force, parse_decimal_toml
from server.limits.rules import line_policy
from server.limits.rules.policy import Macro, Policy


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
    rows = [
        replace(own, since=day)
        if lowest is None
        else Macro(day, lowest.multiplier, lowest.scenario)
        for day, own, lowest in _spans(policy, overlays)
    ]
    return replace(policy, macro=tuple(rows))


def downturns(policy: Policy, overlays: Sequence[Overlay]) -> tuple[line_policy.Overlay, ...]:
    """Return the spans of days on which overlays lower limits, as a line's policy knows them.

    Spans that follow each other without a gap are one downturn, whose end is known only if the
    policy's own scenario then takes nothing: where it does, nobody is told of an end.

    Parameters
    ----------
    policy : Policy
        Without the overlays.
    overlays : sequence of Overlay
    """
    spans, told, chain = _spans(policy, overlays), [], []
    ends = [day - timedelta(days=1) for day, _, _ in spans[1:]]
    for (day, own, lowest), until in zip(spans, [*ends, None], strict=True):
        if lowest is not None and until is not None:
            chain.append(_span(lowest, day, until))
            continue
        if own.multiplier == 1:
            told += chain
        chain = []
    return tuple(told)


def _spans(policy: Policy, overlays: Sequence[Overlay]) -> list[tuple[date, Macro, Overlay | None]]:
    """Return each day on which something begins, the own scenario, and what lies below it."""
    days = {row.since for row in policy.macro}
    for one in overlays:
        days |= {one.since, one.until}
    spans = []
    for day in sorted(days):
        own = in_force(policy.macro, day)
        if own is None:
            continue  # before the policy's first scenario nothing is decided
        on = [one for one in overlays if one.since <= day < one.until]
        lowest = min(on, key=lambda one: one.multiplier, default=None)
        lower = lowest is not None and lowest.multiplier < own.multiplier
        spans.append((day, own, lowest if lower else None))
    return spans


def _span(overlay: Overlay, since: date, until: date) -> line_policy.Overlay:
    return line_policy.Overlay(
        scenario=overlay.scenario,
        since=since,
        until=until,
        multiplier=overlay.multiplier,
        approved_by=overlay.approved_by,
        approved_on=since,
        note=overlay.scenario,
    )


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
