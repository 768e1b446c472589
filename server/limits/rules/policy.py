"""The limit policy: a dated TOML file that people can read, as frozen values.

Everything that is a choice of the lender stands there and nothing of it in code; everything that is
law stands in a jurisdiction pack (`server.limits.rules.pack`). A file is linted when it is read:
all findings at once, among them tables in which a safer grade would get less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from server.limits.basis.tables import Tables, in_force, parse_decimal_toml
from server.limits.rules.pack import Pack
from shared.errors import ConfigError

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


@dataclass(frozen=True, slots=True)
class GradeRow:
    """What a grade gets: a limit, and how many monthly incomes.

    Parameters
    ----------
    name : str
        Grade of the scorecard's scale.
    limit_minor : int
    income_multiple : Decimal
        Of the monthly income after its haircut.
    presumed_minor : int, optional
        Monthly income counted where no more is proven. None: the policy does not look at incomes,
        and no income bounds a limit (decision 18).
    """

    name: str
    limit_minor: int
    income_multiple: Decimal
    presumed_minor: int | None = None


@dataclass(frozen=True, slots=True)
class LossCap:
    """The most that may be lost on one line (domain 2.3).

    Parameters
    ----------
    most_minor : int
    lgd : Decimal
        Share of the exposure that a default loses, in (0, 1].
    ccf : Decimal
        Share of the undrawn limit that is drawn by the time of a default, in (0, 1].
    """

    most_minor: int
    lgd: Decimal
    ccf: Decimal


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a customer can repay out of income (domain 2.3).

    Parameters
    ----------
    dti : Decimal
        Largest share of the income that goes into repayments.
    annual_rate : Decimal
        Interest a year.
    months : int
        Over which the line could be repaid.
    """

    dti: Decimal
    annual_rate: Decimal
    months: int


@dataclass(frozen=True, slots=True)
class Macro:
    """The multiplier of a scenario, from a day on.

    Parameters
    ----------
    since : date
    multiplier : Decimal
        In (0, 1].
    scenario : str
    """

    since: date
    multiplier: Decimal
    scenario: str


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole policy file.

    Parameters
    ----------
    id, version : str
    effective_from : date
        First day on which it may decide.
    jurisdiction : str
        Which pack of legal numbers goes with it.
    currency : str
        ISO 4217.
    minor_digits : int
        Decimals of the currency: 2 where a minor unit is a hundredth.
    quantum_minor : int
        Limits are whole multiples of it.
    product : str
    product_cap_minor : int
    grades : mapping of str to GradeRow
        Safest first.
    expected_loss : LossCap
    stress_loss : LossCap or None
        The same for a year as bad as one in a thousand.
    capacity : Capacity
    haircuts : mapping of str to Decimal
        Share of an income that counts, by where the figure is from.
    macro : tuple of Macro
        By date.
    other_lenders_minor : int, optional
        The most that a customer's revolving limits may come to with all lenders together.
    borrower : {'consumer', 'business'}
        Whose legal cap applies; a policy file is a consumer's, the product catalogue says else.
    lender : {'bank', 'micro_lender'}
        Whose legal cap applies.
    """

    id: str
    version: str
    effective_from: date
    jurisdiction: str
    currency: str
    minor_digits: int
    quantum_minor: int
    product: str
    product_cap_minor: int
    grades: Mapping[str, GradeRow]
    expected_loss: LossCap
    stress_loss: LossCap | None
    capacity: Capacity
    haircuts: Mapping[str, Decimal]
    macro: tuple[Macro, ...]
    other_lenders_minor: int | None = None
    borrower: str = "consumer"
    lender: str = "bank"

    @property
    def name(self) -> str:
        """Id and version, as decisions state it."""
        return f"{self.id}/{self.version}"

    def macro_on(self, day: date) -> Macro:
        """Return the scenario of a day.

        Raises
        ------
        ConfigError
            If the policy is not yet in force on that day.
        """
        macro = in_force(self.macro, day)
        if macro is None or day < self.effective_from:
            rule = f"effective_from: the policy is in force from {self.effective_from} on"
            raise ConfigError(f"policy {self.name}", [f"{rule}. Got {day}"])
        return macro


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
