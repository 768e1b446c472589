"""The jurisdiction pack: every legal number with its rule, its source and the day it began."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from server.limits.tables import Tables, in_force, parse_decimal_toml
from shared.errors import ConfigError


@dataclass(frozen=True, slots=True)
class LegalCap:
    """The most that one consumer may owe, from a day on.

    Parameters
    ----------
    since : date
        First day on which it holds.
    amount_minor : int
    income_parts : int
        Where above 0, the cap is also annual income over this: 3 is a third (domain T29).
    rule : str
        What says so.
    source : str
        Where that was read.
    """

    since: date
    amount_minor: int
    income_parts: int
    rule: str
    source: str


@dataclass(frozen=True, slots=True)
class Pack:
    """The legal numbers of a jurisdiction.

    Parameters
    ----------
    id, version : str
    status : str
        `in force`, or `draft` for rules that never were.
    currency : str
        ISO 4217.
    consumer_cap : tuple of LegalCap
        By date.
    """

    id: str
    version: str
    status: str
    currency: str
    consumer_cap: tuple[LegalCap, ...]

    @property
    def name(self) -> str:
        """Id and version, as decisions state it."""
        return f"{self.id}/{self.version}"

    def cap_on(self, day: date) -> LegalCap:
        """Return the cap of a day.

        Raises
        ------
        ConfigError
            If the pack knows none for that day: nothing is decided without it.
        """
        cap = in_force(self.consumer_cap, day)
        if cap is None:
            raise ConfigError(f"pack {self.name}", [f"consumer_cap: none is in force on {day}"])
        return cap


def parse_pack(text: str, source: str) -> Pack:
    """Read and lint the text of a jurisdiction pack.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, ["id", "version", "status", "currency", "consumer_cap"])
    pack = Pack(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        status=tables.words(top, "status"),
        currency=tables.words(top, "currency"),
        consumer_cap=_caps(tables, top),
    )
    tables.check(
        pack.status in {"in force", "draft", ""},
        "status",
        "must be 'in force' or 'draft'",
        pack.status,
    )
    tables.check(bool(pack.consumer_cap), "consumer_cap", "must hold one row or more", [])
    tables.dates_rise("consumer_cap", pack.consumer_cap)
    tables.finish()
    return pack


def _caps(tables: Tables, top: Mapping[str, Any]) -> tuple[LegalCap, ...]:
    rows = []
    for path, row in tables.rows(top, "consumer_cap"):
        tables.unknown(path, row, ["since", "amount_minor", "income_parts", "rule", "source"])
        parts = 0
        if "income_parts" in row:
            parts = tables.whole(row, "income_parts", path, low=1, high=100)
        rows.append(
            LegalCap(
                since=tables.day(row, "since", path),
                amount_minor=tables.amount(row, "amount_minor", path),
                income_parts=parts,
                rule=tables.words(row, "rule", path),
                source=tables.words(row, "source", path),
            )
        )
    return tuple(rows)
