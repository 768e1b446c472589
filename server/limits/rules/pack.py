"""The jurisdiction pack: every legal number with its rule, its source and the day it began.

Rows are `in force` or a `draft`; only those in force bind, unless the whole pack is a draft that is
kept to compare with. `verified = false` marks what was told by practitioners and not looked up: it
binds all the same, for a cap left out by doubt is worse than one kept, but a report names it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from server.limits.basis.tables import LARGEST_MINOR, Tables, in_force, parse_decimal_toml
from server.limits.rules.pack_rows import (
    DUTIES,
    FIGURES,
    CreditRepair,
    Duty,
    Figure,
    LegalCap,
    Origin,
)
from shared.errors import ConfigError

_HIGHEST: Final[Mapping[str, int]] = {
    "share": 1,
    "multiple": 1000,
    "minor": LARGEST_MINOR,
    "days": 3660,
    "months": 600,
    "years": 50,
    "count": 100,
}
_TOPIC: Final = re.compile(r"[A-Z][A-Z_]*")
_ROW: Final = ("since", "status", "verified", "rule", "source", "note")


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
    uncapped : str
        Why no law caps what a consumer owes, where there is no row; '' where there are.
    figures : tuple of Figure
        By name, then date.
    duties, forbidden_purposes : tuple of Duty
    credit_repair : CreditRepair, optional
    """

    id: str
    version: str
    status: str
    currency: str
    consumer_cap: tuple[LegalCap, ...]
    uncapped: str = ""
    figures: tuple[Figure, ...] = ()
    duties: tuple[Duty, ...] = ()
    forbidden_purposes: tuple[Duty, ...] = ()
    credit_repair: CreditRepair | None = None

    @property
    def name(self) -> str:
        """Id and version, as decisions state it."""
        return f"{self.id}/{self.version}"

    def cap_on(self, day: date) -> LegalCap | None:
        """Return the cap of a day; None only where the pack says why there is none.

        Raises
        ------
        ConfigError
            If the pack knows none for that day: nothing is decided without it.
        """
        cap = in_force(self.consumer_cap, day)
        if cap is None and not self.uncapped:
            raise ConfigError(f"pack {self.name}", [f"consumer_cap: none is in force on {day}"])
        return cap

    def figure(self, name: str, day: date) -> Figure | None:
        """Return the number of a name that binds on a day, or None."""
        return in_force([row for row in self.figures if row.name == name and self._binds(row)], day)

    def number(self, name: str, day: date) -> Decimal:
        """Return the value of a number that must be there.

        Raises
        ------
        ConfigError
            If the pack has none in force on that day.
        """
        found = self.figure(name, day)
        if found is None:
            raise ConfigError(
                f"pack {self.name}", [f"figures: {name!r} must be in force on {day}. Got none"]
            )
        return found.value

    def duty(self, name: str, day: date) -> Duty | None:
        """Return the duty of a name that binds on a day, or None."""
        return in_force([row for row in self.duties if row.name == name and self._binds(row)], day)

    def keeps_out(self, topics: Collection[str], day: date) -> tuple[tuple[str, Duty], ...]:
        """Return which of a score's topics a duty that binds on a day keeps out, in order."""
        rows = [row for row in self.duties if self._binds(row) and row.since <= day]
        found = {topic: row for row in rows for topic in row.topics if topic in topics}
        return tuple(sorted(found.items()))

    def forbids(self, purpose: str, day: date) -> Duty | None:
        """Return the rule that forbids lending for a purpose on a day, or None."""
        rows = [row for row in self.forbidden_purposes if row.name == purpose and self._binds(row)]
        return in_force(rows, day)

    def unverified(self) -> tuple[str, ...]:
        """Return the names of all rows that nobody looked up, each with the day it begins."""
        rows: tuple[Figure | Duty, ...] = (
            *self.figures,
            *self.duties,
            *self.forbidden_purposes,
        )
        return tuple(f"{row.name} ({row.since})" for row in rows if not row.origin.verified)

    def _binds(self, row: Figure | Duty) -> bool:
        return self.status == "draft" or row.origin.status == "in force"


def parse_pack(text: str, source: str) -> Pack:
    """Read and lint the text of a jurisdiction pack.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    known = ["id", "version", "status", "currency", "consumer_cap", "uncapped", "figures"]
    tables.unknown("", top, [*known, "duties", "forbidden_purposes", "credit_repair"])
    pack = Pack(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        status=tables.words(top, "status"),
        currency=tables.words(top, "currency"),
        consumer_cap=_caps(tables, top),
        uncapped=tables.words(top, "uncapped") if "uncapped" in top else "",
        figures=_figures(tables, top),
        duties=_duties(tables, top, "duties", DUTIES),
        forbidden_purposes=_duties(tables, top, "forbidden_purposes", ()),
        credit_repair=_credit_repair(tables, top) if "credit_repair" in top else None,
    )
    tables.check(
        pack.status in {"in force", "draft", ""},
        "status",
        "must be 'in force' or 'draft'",
        pack.status,
    )
    rule = "must hold one row or more, or `uncapped` must say why there is none"
    tables.check(bool(pack.consumer_cap) != bool(pack.uncapped), "consumer_cap", rule, [])
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


def _figures(tables: Tables, top: Mapping[str, Any]) -> tuple[Figure, ...]:
    rows = []
    for path, row in tables.rows(top, "figures"):
        tables.unknown(path, row, ["name", "value", *_ROW])
        name = tables.words(row, "name", path)
        unit = FIGURES.get(name)
        tables.check(unit is not None, f"{path}.name", "must be a known figure", name)
        value = tables.number(row, "value", path, high=_HIGHEST[unit or "share"])
        whole = unit in {"share", "multiple", None} or value == value.to_integral_value()
        tables.check(whole, f"{path}.value", f"must be a whole number of {unit}", str(value))
        rows.append(Figure(name, tables.day(row, "since", path), value, _origin(tables, row, path)))
    for name, status in sorted({(row.name, row.origin.status) for row in rows}):
        same = [row for row in rows if (row.name, row.origin.status) == (name, status)]
        tables.dates_rise(f"figures {name!r}", same)
    return tuple(sorted(rows, key=lambda row: (row.name, row.since)))


def _duties(
    tables: Tables, top: Mapping[str, Any], key: str, known: tuple[str, ...]
) -> tuple[Duty, ...]:
    rows = []
    for path, row in tables.rows(top, key):
        tables.unknown(path, row, ["name", *_ROW, *(("topics",) if known else ())])
        name = tables.words(row, "name", path)
        tables.check(not known or name in known, f"{path}.name", "must be a known duty", name)
        since, topics = tables.day(row, "since", path), _topics(tables, row, path)
        rows.append(Duty(name, since, _origin(tables, row, path), topics))
    return tuple(sorted(rows, key=lambda row: (row.name, row.since)))


def _topics(tables: Tables, row: Mapping[str, Any], path: str) -> tuple[str, ...]:
    found = row.get("topics", [])
    good = isinstance(found, list) and len(set(map(str, found))) == len(found)
    good = good and all(isinstance(one, str) and _TOPIC.fullmatch(one) for one in found)
    tables.check(good, f"{path}.topics", "must be different reason codes, such as SHOPPING", found)
    return tuple(found) if good else ()


def _origin(tables: Tables, row: Mapping[str, Any], path: str) -> Origin:
    status = tables.words(row, "status", path)
    good = status in {"in force", "draft"}
    tables.check(good, f"{path}.status", "must be 'in force' or 'draft'", status)
    verified = row.get("verified")
    tables.check(isinstance(verified, bool), f"{path}.verified", "must be true or false", verified)
    return Origin(
        status=status,
        verified=verified is True,
        rule=tables.words(row, "rule", path),
        source=tables.words(row, "source", path),
        note=tables.words(row, "note", path) if "note" in row else "",
    )


def _credit_repair(tables: Tables, top: Mapping[str, Any]) -> CreditRepair:
    path = "credit_repair"
    row = tables.table(path, top.get(path))
    days = ("arose_from", "arose_to", "repaid_by", "early_by", "early_hidden")
    tables.unknown(path, row, ["most_minor", *days, *_ROW[1:]])
    arose_from, arose_to, repaid_by, early_by, early_hidden = (
        tables.day(row, key, path) for key in days
    )
    rule = "arose_from <= arose_to <= repaid_by and early_by <= repaid_by must hold"
    in_order = arose_from <= arose_to <= repaid_by and early_by <= repaid_by
    tables.check(in_order, path, rule, [str(row.get(key)) for key in days])
    return CreditRepair(
        most_minor=tables.amount(row, "most_minor", path),
        arose_from=arose_from,
        arose_to=arose_to,
        repaid_by=repaid_by,
        early_by=early_by,
        early_hidden=early_hidden,
        origin=_origin(tables, row, path),
    )
