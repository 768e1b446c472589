"""What the rules of a lender must keep to: the legal numbers of the pack, on a given day.

A limit is cut by the law's cap whatever the policy says (`server.limits.caps.caps`). A policy that
promises more than the law allows is refused all the same: its figures would be read by people and
counted in budgets, and never come true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Protocol

from server.limits.portfolio.budget import BudgetRules
from server.limits.rules.catalogue import check_purposes
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.pack import Pack
from server.limits.rules.policy import GradeRow, Policy
from server.limits.rules.pricing import check_prices, cost_cap
from server.limits.rules.products import Catalogue, Product
from shared.errors import ConfigError


class Rules(Protocol):
    """The rules of a lender, as far as the law has a say in them."""

    @property
    def policy(self) -> Policy:
        """What is decided by."""
        ...

    @property
    def pack(self) -> Pack:
        """The legal numbers."""
        ...

    @property
    def line(self) -> LinePolicy:
        """How a limit falls and comes back."""
        ...

    @property
    def catalogue(self) -> Catalogue:
        """The products."""
        ...

    @property
    def budget(self) -> BudgetRules:
        """What may be committed in all."""
        ...


def findings_on(rules: Rules, day: date, *, prime_rate: Decimal | None = None) -> list[str]:
    """Return everything in a set of rules that the law does not allow on a day, by field.

    Parameters
    ----------
    rules : Rules
    day : date
    prime_rate : Decimal, optional
        Of the day; without one, a cap that is a multiple of it is named as not checked.

    Returns
    -------
    list of str
        One line each: the kind of file, the path, what must hold, and by which rule. Empty where
        all is in order.
    """
    pack = rules.pack
    found = [f"pack: status: must be 'in force'. Got {pack.status!r}"] if _draft(pack) else []
    try:
        pack.cap_on(day)
    except ConfigError as error:
        return [*found, *(f"pack: {finding}" for finding in error.findings)]
    found += _policy(rules, day)
    for name, product in rules.catalogue.products.items():
        found += [f"catalogue: {name}.{one}" for one in _product(product, pack, day, prime_rate)]
    try:
        check_purposes(rules.catalogue, pack, day)
    except ConfigError as error:
        found += [f"catalogue: {finding}" for finding in error.findings]
    return [*found, *_line(rules, day), *_budget(rules, day)]


def most_by_law(pack: Pack, day: date, borrower: str, lender: str) -> tuple[int, str] | None:
    """Return the most that one borrower may owe whatever the income, and the rule; None: no cap.

    Parameters
    ----------
    pack : Pack
    day : date
    borrower : {'consumer', 'business'}
    lender : {'bank', 'micro_lender'}
    """
    if borrower == "business":
        figure = pack.figure("business_cap", day)
        return None if figure is None else (int(figure.value), figure.origin.rule)
    law = pack.cap_on(day)
    if law is None:
        return None
    micro = pack.figure("micro_lender_consumer_cap", day) if lender == "micro_lender" else None
    if micro is not None and micro.value < law.amount_minor:
        return int(micro.value), micro.origin.rule
    return law.amount_minor, law.rule


def _draft(pack: Pack) -> bool:
    return pack.status == "draft"


def _policy(rules: Rules, day: date) -> Iterator[str]:
    policy, most = rules.policy, most_by_law(rules.pack, day, "consumer", "bank")
    if most is not None:
        fields = {"product.cap_minor": policy.product_cap_minor, **_limits(policy.grades)}
        yield from (f"policy: {one}" for one in _above(fields, *most))
    yield from (
        f"policy: {one}"
        for one in _terms({"capacity.months": policy.capacity.months}, rules.pack, day)
    )


def _product(product: Product, pack: Pack, day: date, prime_rate: Decimal | None) -> Iterator[str]:
    most = most_by_law(pack, day, product.borrower, product.lender)
    if most is not None:
        yield from _above({"cap_minor": product.cap_minor, **_limits(product.grades)}, *most)
    yield from _terms({"months": max(product.months)}, pack, day)
    try:
        cap = cost_cap(pack, day, lender=product.lender, prime_rate=prime_rate)
        check_prices(product.id, product.prices, product.months, cap)
    except ConfigError as error:
        yield from error.findings


def _line(rules: Rules, day: date) -> Iterator[str]:
    """Check days past due: a line may be stricter than the law, not more lenient."""
    arrears, pack = rules.line.arrears, rules.pack
    default = pack.figure("default_days", day)
    if default is not None and arrears.default_from > default.value + 1:
        yield _finding(
            "line: delinquency.default_from",
            f"at most {default.value + 1}",
            default.origin.rule,
            arrears.default_from,
        )
    cure = pack.figure("cure_months", day)
    if cure is not None and arrears.default_cure_days < 30 * cure.value:
        yield _finding(
            "line: delinquency.default_cure_days",
            f"at least {30 * cure.value}",
            cure.origin.rule,
            arrears.default_cure_days,
        )
    forborne = pack.figure("forbearance_months", day)
    if forborne is not None and arrears.forbearance_months < forborne.value:
        yield _finding(
            "line: delinquency.forbearance_months",
            f"at least {forborne.value}",
            forborne.origin.rule,
            arrears.forbearance_months,
        )


def _budget(rules: Rules, day: date) -> Iterator[str]:
    names = ("leverage_other_debt", "leverage_standard_debt")
    figures = [rules.pack.figure(name, day) for name in names]
    legal = [one for one in figures if one is not None]
    asked = sum(rules.budget.debt_multiples, Decimal(0))
    if len(legal) == len(names) and asked > sum(one.value for one in legal):
        most = sum(one.value for one in legal)
        yield _finding(
            "budget: debt_multiples", f"at most {most} together", legal[0].origin.rule, asked
        )
    weight = rules.pack.figure("retail_risk_weight", day)
    if weight is not None and rules.budget.risk_weight < weight.value:
        yield _finding(
            "budget: risk_weight",
            f"at least {weight.value}",
            weight.origin.rule,
            rules.budget.risk_weight,
        )


def _limits(grades: Mapping[str, GradeRow]) -> dict[str, int]:
    return {f"grades.{name}.limit_minor": row.limit_minor for name, row in grades.items()}


def _above(fields: Mapping[str, int], most: int, rule: str) -> Iterator[str]:
    for path, value in fields.items():
        if value > most:
            yield _finding(path, f"at most {most}", rule, value)


def _terms(fields: Mapping[str, int], pack: Pack, day: date) -> Iterator[str]:
    longest = pack.figure("max_term_years", day)
    for path, months in fields.items():
        if longest is not None and months > 12 * longest.value:
            yield _finding(path, f"at most {12 * longest.value}", longest.origin.rule, months)


def _finding(path: str, rule: str, source: str, got: object) -> str:
    return f"{path}: must be {rule} ({source}). Got {got}"
