"""A policy file read and linted: all findings at once.

Among them are tables in which a safer grade would get less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from server.limits.basis.tables import Tables, parse_decimal_toml
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Capacity, GradeRow, LossCap, Macro, Policy

_TOP = (
    "id",
    "version",
    "effective_from",
    "jurisdiction",
    "currency",
    "minor_digits",
    "quantum_minor",
    "product",
    "grades",
    "expected_loss",
    "stress_loss",
    "capacity",
    "haircuts",
    "other_lenders",
    "macro",
)


def parse_policy(text: str, source: str) -> Policy:
    """Read and lint the text of a policy file.

    Parameters
    ----------
    text, source : str
        The file's text and name.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    tables.unknown("", top, list(_TOP))
    product = _section(tables, top, "product", ("name", "cap_minor"))
    policy = Policy(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        effective_from=tables.day(top, "effective_from"),
        jurisdiction=tables.words(top, "jurisdiction"),
        currency=tables.words(top, "currency"),
        minor_digits=tables.whole(top, "minor_digits", low=0, high=4),
        quantum_minor=tables.amount(top, "quantum_minor", low=1),
        product=tables.words(product, "name", "product"),
        product_cap_minor=tables.amount(product, "cap_minor", "product"),
        grades=parse_grades(tables, top),
        expected_loss=parse_loss(tables, top, "expected_loss"),
        stress_loss=parse_loss(tables, top, "stress_loss") if "stress_loss" in top else None,
        capacity=_capacity(tables, top),
        haircuts=_haircuts(tables, top),
        macro=_macro(tables, top),
        other_lenders_minor=_other_lenders(tables, top) if "other_lenders" in top else None,
    )
    starts = bool(policy.macro) and policy.macro[0].since <= policy.effective_from
    rule = "the first scenario must begin by effective_from"
    tables.check(starts, "macro", rule, [str(row.since) for row in policy.macro])
    tables.finish()
    return policy


def check_together(policy: Policy, pack: Pack, grades: Sequence[str]) -> None:
    """Check that a policy fits a jurisdiction pack and the grades of a scorecard.

    Parameters
    ----------
    policy : Policy
    pack : Pack
    grades : sequence of str
        Of the card's scale, safest first.

    Raises
    ------
    ConfigError
        With all findings.
    """
    tables = Tables(f"policy {policy.name}")
    tables.check(policy.jurisdiction == pack.id, "jurisdiction", f"must be {pack.id!r}", pack.id)
    tables.check(
        policy.currency == pack.currency,
        "currency",
        f"must be {pack.currency!r}, the pack's",
        policy.currency,
    )
    tables.check(
        list(policy.grades) == list(grades),
        "grades",
        f"must be the scorecard's, safest first: {', '.join(grades)}",
        ", ".join(policy.grades),
    )
    tables.finish()


def _section(
    tables: Tables, top: Mapping[str, Any], name: str, known: tuple[str, ...]
) -> Mapping[str, Any]:
    section = tables.table(name, top.get(name, {}))
    tables.unknown(name, section, list(known))
    return section


def parse_grades(
    tables: Tables, top: Mapping[str, Any], prefix: str = ""
) -> Mapping[str, GradeRow]:
    """Read the table of grades: a safer grade never gets less, whatever the column.

    Parameters
    ----------
    tables : Tables
        Takes the findings.
    top : mapping
        The table that holds `grades`.
    prefix : str
        Of the paths in findings.
    """
    rows = []
    for at, row in tables.rows(top, "grades"):
        path = prefix + at
        tables.unknown(path, row, ["name", "limit_minor", "income_multiple", "presumed_minor"])
        name, limit = tables.words(row, "name", path), tables.amount(row, "limit_minor", path)
        multiple = tables.number(row, "income_multiple", path, high=100)
        presumed = tables.amount(row, "presumed_minor", path) if "presumed_minor" in row else None
        rows.append(GradeRow(name, limit, multiple, presumed))
    names, path = [row.name for row in rows], f"{prefix}grades"
    tables.check(bool(rows), path, "must hold a row for each grade, safest first", names)
    tables.check(len(set(names)) == len(names), path, "names must differ", names)
    known = [row.presumed_minor is not None for row in rows]
    every = all(known) or not any(known)
    tables.check(every, f"{path}.presumed_minor", "must stand in all rows or none", known)
    for safer, riskier in pairwise(rows):
        pair = f"{safer.name} (safer) must not get less than {riskier.name}"
        for column in ("limit_minor", "income_multiple", "presumed_minor"):
            more, less = getattr(safer, column) or 0, getattr(riskier, column) or 0
            tables.check(more >= less, f"{path}.{column}", pair, f"{more} and {less}")
    return MappingProxyType({row.name: row for row in rows})


def parse_loss(tables: Tables, top: Mapping[str, Any], name: str, prefix: str = "") -> LossCap:
    """Read a cap on a loss."""
    path = prefix + name
    section = tables.table(path, top.get(name, {}))
    tables.unknown(path, section, ["most_minor", "lgd", "ccf"])
    return LossCap(
        most_minor=tables.amount(section, "most_minor", path),
        lgd=tables.number(section, "lgd", path, high=1, above_zero=True),
        ccf=tables.number(section, "ccf", path, high=1, above_zero=True),
    )


def _other_lenders(tables: Tables, top: Mapping[str, Any]) -> int:
    section = _section(tables, top, "other_lenders", ("total_minor",))
    return tables.amount(section, "total_minor", "other_lenders")


def _capacity(tables: Tables, top: Mapping[str, Any]) -> Capacity:
    section = _section(tables, top, "capacity", ("dti", "annual_rate", "months"))
    return Capacity(
        dti=tables.number(section, "dti", "capacity", high=1),
        annual_rate=tables.number(section, "annual_rate", "capacity", high=1),
        months=tables.whole(section, "months", "capacity", low=1, high=120),
    )


def _haircuts(tables: Tables, top: Mapping[str, Any]) -> Mapping[str, Decimal]:
    section = tables.table("haircuts", top.get("haircuts", {}))
    tables.check(bool(section), "haircuts", "must hold a share for each source of income", None)
    return MappingProxyType(
        {name: tables.number(section, name, "haircuts", high=1) for name in section}
    )


def _macro(tables: Tables, top: Mapping[str, Any]) -> tuple[Macro, ...]:
    rows = []
    for path, row in tables.rows(top, "macro"):
        tables.unknown(path, row, ["since", "multiplier", "scenario"])
        since, scenario = tables.day(row, "since", path), tables.words(row, "scenario", path)
        multiplier = tables.number(row, "multiplier", path, high=1, above_zero=True)
        rows.append(Macro(since, multiplier, scenario))
    tables.dates_rise("macro", rows)
    return tuple(rows)
