"""What may be committed in all: own funds, leverage, capital, a reserve, and a bad year.

Commitments count, not only what is drawn: an open line can be drawn tomorrow (domain 2.8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from server.limits.basis.tables import Tables, parse_decimal_toml
from shared.errors import UsageError


@dataclass(frozen=True, slots=True)
class Scenario:
    """A bad year.

    Parameters
    ----------
    name : str
    default_prob_times : Decimal
    lgd_plus, utilisation_plus : Decimal
    """

    name: str
    default_prob_times: Decimal
    lgd_plus: Decimal
    utilisation_plus: Decimal


@dataclass(frozen=True, slots=True)
class BudgetRules:
    """How the budget is made.

    Parameters
    ----------
    id, version : str
    effective_from : date
    capital_ratio : Decimal
        Own funds over risk-weighted assets that the lender keeps.
    risk_weight : Decimal
        Flat: the standardised approach.
    debt_multiples : tuple of Decimal
        What may be borrowed of each kind, over own funds.
    usage : Decimal
        Share of commitments that is counted as drawn at once, in (0, 1].
    reserve_share : Decimal
        Of the budget, never given out.
    pause_share : Decimal
        Of the budget: committed up to there, nothing is raised.
    loss_share : Decimal
        Of own funds, to lose in a year at most.
    inclusion_share : Decimal
        Of all commitments, to small firms at least.
    concentration_share : Decimal
        Of the budget, to one segment at most.
    scenarios : tuple of Scenario
    """

    id: str
    version: str
    effective_from: date
    capital_ratio: Decimal
    risk_weight: Decimal
    debt_multiples: tuple[Decimal, ...]
    usage: Decimal
    reserve_share: Decimal
    pause_share: Decimal
    loss_share: Decimal
    inclusion_share: Decimal
    concentration_share: Decimal
    scenarios: tuple[Scenario, ...]


@dataclass(frozen=True, slots=True)
class Budget:
    """What an allocation may give.

    Parameters
    ----------
    commitments_minor : int
        All limits together, the reserve already taken off.
    expected_loss_minor, capital_minor : int, optional
    risk_weight, capital_ratio : Decimal
        What an exposure ties up of the capital.
    inclusion_share : Decimal
        0 where there is no floor.
    concentration_share : Decimal
        1 where there is no bound.
    partners_minor : mapping of str to int
        What each partner may still fund.
    reserve_minor : int
        What is kept back.
    """

    commitments_minor: int
    expected_loss_minor: int | None = None
    capital_minor: int | None = None
    risk_weight: Decimal = Decimal("0.75")
    capital_ratio: Decimal = Decimal("0.08")
    inclusion_share: Decimal = Decimal(0)
    concentration_share: Decimal = Decimal(1)
    partners_minor: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    reserve_minor: int = 0


@dataclass(frozen=True, slots=True)
class Supply:
    """What own funds can carry (domain T26).

    Parameters
    ----------
    from_debt_minor, with_equity_minor : int
        Joint loans of which the own share is funded by debt alone, or by equity as well.
    by_capital_minor : int
        Joint loans whose own share the capital carries.
    """

    from_debt_minor: int
    with_equity_minor: int
    by_capital_minor: int

    @property
    def binding_minor(self) -> int:
        """The lower of what funding and capital allow."""
        return min(self.with_equity_minor, self.by_capital_minor)


def supply(own_funds_minor: int, own_share: Decimal, rules: BudgetRules) -> Supply:
    """Return what own funds can carry.

    Parameters
    ----------
    own_funds_minor : int
    own_share : Decimal
        Of each loan; 1 without partners.
    rules : BudgetRules

    Raises
    ------
    UsageError
        If own funds are negative or the share is not in (0, 1].
    """
    if own_funds_minor < 0 or not 0 < own_share <= 1:
        raise UsageError("own funds must be 0 or more, and the own share above 0 and at most 1")
    funds, share = Fraction(own_funds_minor), Fraction(own_share)
    debt = funds * sum(map(Fraction, rules.debt_multiples))
    carried = funds / (Fraction(rules.capital_ratio) * Fraction(rules.risk_weight))
    return Supply(
        math.floor(debt / share), math.floor((debt + funds) / share), math.floor(carried / share)
    )


def budget(
    own_funds_minor: int,
    own_share: Decimal,
    rules: BudgetRules,
    *,
    partners_minor: Mapping[str, int] | None = None,
) -> Budget:
    """Return what may be committed: what can be funded over the usage, less the reserve."""
    lent = supply(own_funds_minor, own_share, rules).binding_minor
    gross = math.floor(lent / Fraction(rules.usage))
    reserve = math.ceil(gross * Fraction(rules.reserve_share))
    return Budget(
        commitments_minor=gross - reserve,
        expected_loss_minor=math.floor(rules.loss_share * own_funds_minor),
        capital_minor=math.floor(own_funds_minor / Fraction(own_share)),
        risk_weight=rules.risk_weight,
        capital_ratio=rules.capital_ratio,
        inclusion_share=rules.inclusion_share,
        concentration_share=rules.concentration_share,
        partners_minor=MappingProxyType(dict(partners_minor or {})),
        reserve_minor=reserve,
    )


def increases_paused(committed_minor: int, budget_minor: int, pause_share: Decimal) -> bool:
    """Return whether so much is committed that nothing may be raised (invariant I13)."""
    return committed_minor >= Fraction(pause_share) * budget_minor


@dataclass(frozen=True, slots=True)
class Book:
    """One segment of the loan book, for a stress test.

    Parameters
    ----------
    name : str
    committed_minor : int
        Limits together.
    default_prob, lgd, utilisation, ccf : Decimal
        In [0, 1].
    """

    name: str
    committed_minor: int
    default_prob: Decimal
    lgd: Decimal
    utilisation: Decimal
    ccf: Decimal


@dataclass(frozen=True, slots=True)
class Stress:
    """What a bad year does.

    Parameters
    ----------
    scenario : str
    loss_minor : int
        Up.
    own_funds_minor : int
        What is left; negative where it is not enough.
    needed_minor : int
        Capital that the exposure then asks for, up.
    holds : bool
        What is left covers what is needed.
    losses_minor : mapping of str to int
        By segment, up.
    """

    scenario: str
    loss_minor: int
    own_funds_minor: int
    needed_minor: int
    holds: bool
    losses_minor: Mapping[str, int]


def stress(
    books: tuple[Book, ...], own_funds_minor: int, own_share: Decimal, rules: BudgetRules
) -> tuple[Stress, ...]:
    """Return what each scenario of the rules does to the own part of a loan book.

    Parameters
    ----------
    books : tuple of Book
    own_funds_minor : int
    own_share : Decimal
        Of losses and exposure; the partners bear the rest.
    rules : BudgetRules
    """
    results = []
    for scenario in rules.scenarios:
        losses, exposure = {}, Fraction(0)
        for book in books:
            owed = Fraction(own_share) * book.committed_minor * _owed(book, scenario)
            rate = min(
                Fraction(1), Fraction(book.default_prob) * Fraction(scenario.default_prob_times)
            )
            lost = min(Fraction(1), Fraction(book.lgd) + Fraction(scenario.lgd_plus))
            losses[book.name] = math.ceil(owed * rate * lost)
            exposure += owed
        loss = sum(losses.values())
        weight = Fraction(rules.risk_weight) * Fraction(rules.capital_ratio)
        needed, left = math.ceil(exposure * weight), own_funds_minor - loss
        results.append(
            Stress(scenario.name, loss, left, needed, left >= needed, MappingProxyType(losses))
        )
    return tuple(results)


def _owed(book: Book, scenario: Scenario) -> Fraction:
    drawn = min(Fraction(1), Fraction(book.utilisation) + Fraction(scenario.utilisation_plus))
    return drawn + Fraction(book.ccf) * (1 - drawn)


def parse_budget_rules(text: str, source: str) -> BudgetRules:
    """Read and lint the text of the budget rules.

    Raises
    ------
    ConfigError
        With all findings, each with its path.
    """
    tables, top = Tables(source), parse_decimal_toml(text, source)
    shares = ("capital_ratio", "risk_weight", "usage", "concentration_share", "pause_share")
    plain = ("reserve_share", "loss_share", "inclusion_share")
    known = ["id", "version", "effective_from", "debt_multiples", "scenarios", *shares, *plain]
    tables.unknown("", top, known)
    rules = BudgetRules(
        id=tables.words(top, "id"),
        version=tables.words(top, "version"),
        effective_from=tables.day(top, "effective_from"),
        debt_multiples=_multiples(tables, top),
        scenarios=_scenarios(tables, top),
        **{name: tables.number(top, name, high=1, above_zero=True) for name in shares},
        **{name: tables.number(top, name, high=1) for name in plain},
    )
    tables.finish()
    return rules


def _multiples(tables: Tables, top: Mapping[str, Any]) -> tuple[Decimal, ...]:
    section = tables.table("debt_multiples", top.get("debt_multiples", {}))
    return tuple(tables.number(section, name, "debt_multiples", high=1000) for name in section)


def _scenarios(tables: Tables, top: Mapping[str, Any]) -> tuple[Scenario, ...]:
    rows = []
    for path, row in tables.rows(top, "scenarios"):
        tables.unknown(path, row, ["name", "default_prob_times", "lgd_plus", "utilisation_plus"])
        times = tables.number(row, "default_prob_times", path, high=1000)
        lgd, used = (
            tables.number(row, key, path, high=1) for key in ("lgd_plus", "utilisation_plus")
        )
        rows.append(Scenario(tables.words(row, "name", path), times, lgd, used))
    names = [row.name for row in rows]
    tables.check(bool(rows), "scenarios", "must hold one row or more", names)
    return tuple(rows)
