"""The catalogue of products, as dated text: what each is for, whom it fits, what it costs.

A limit policy is written for one product and holds how the lender decides
(`server.limits.rules.policy`); the catalogue holds what differs between products. `for_product`
lays one over the other, so that all products go through the same decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Literal

from server.limits.basis.reasons import Reason
from server.limits.basis.tables import Tables
from server.limits.rules.pack import Pack
from server.limits.rules.policy import GradeRow, LossCap, Policy
from server.limits.rules.prices import Price
from shared.errors import NotFound


@dataclass(frozen=True, slots=True)
class Temporary:
    """What an emergency gets on top of a line, for a time.

    Parameters
    ----------
    most_minor : int
    share : Decimal
        Of the approved limit, at most.
    days : int
        Until it falls back by itself.
    """

    most_minor: int
    share: Decimal
    days: int

    def amount(self, approved_minor: int, quantum_minor: int) -> int:
        """Return the temporary amount for a line, down to the quantum."""
        most = min(Decimal(self.most_minor), self.share * approved_minor)
        return int(most // quantum_minor) * quantum_minor


@dataclass(frozen=True, slots=True)
class Velocity:
    """How much may be drawn within a short time.

    Parameters
    ----------
    days : int
        Local days, today included.
    most_minor : int
        Draws and open holds of these days together.
    """

    days: int
    most_minor: int


@dataclass(frozen=True, slots=True)
class Product:
    """One product.

    Parameters
    ----------
    id : str
    borrower : {'consumer', 'business'}
    lender : {'bank', 'micro_lender'}
        Under whose rules it is lent.
    cap_minor, floor_minor, quantum_minor : int
        Largest and smallest line, and the step between lines.
    least_draw_minor : int
        Smaller draws cost more to handle than they bring.
    months : tuple of int
        Over how many months a draw can be repaid.
    purposes : frozenset of str
        What a draw may be for.
    income_minor : int
        Monthly income that must be proven to fit; 0 where none must.
    grades : mapping of str to GradeRow
        Safest first.
    expected_loss : LossCap
        With the product's loss given default and conversion factor.
    prices : mapping of str to Price
        By grade; a safer grade never pays more.
    temporary : Temporary, optional
    velocity : Velocity, optional
    """

    id: str
    borrower: str
    lender: str
    cap_minor: int
    floor_minor: int
    quantum_minor: int
    least_draw_minor: int
    months: tuple[int, ...]
    purposes: frozenset[str]
    income_minor: int
    grades: Mapping[str, GradeRow]
    expected_loss: LossCap
    prices: Mapping[str, Price]
    temporary: Temporary | None = None
    velocity: Velocity | None = None

    def opens(self, limit_minor: int) -> bool:
        """Return whether a decided limit is enough for a line: at least the floor, and above 0."""
        return limit_minor >= max(1, self.floor_minor)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All products.

    Parameters
    ----------
    id, version : str
    effective_from : date
    currency : str
    products : mapping of str to Product
        In the order in which they are offered.
    """

    id: str
    version: str
    effective_from: date
    currency: str
    products: Mapping[str, Product]

    def product(self, name: str) -> Product:
        """Return a product.

        Raises
        ------
        NotFound
            If there is none of that name.
        """
        found = self.products.get(name)
        if found is None:
            raise NotFound(f"no product {name!r}; there are {', '.join(self.products)}")
        return found


@dataclass(frozen=True, slots=True)
class Need:
    """What somebody wants.

    Parameters
    ----------
    amount_minor : int
    purpose : str
    borrower : {'consumer', 'business'}
    proven_income_minor : int
        Monthly, after haircuts.
    """

    amount_minor: int
    purpose: str
    borrower: str = "consumer"
    proven_income_minor: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """Whether a product fits a need.

    Parameters
    ----------
    product : str
        The one asked about.
    suggested : str, optional
        The first product that fits, where another one does.
    misfits : tuple of str
        Why it does not fit: `borrower`, `purpose`, `income`, `too_much` or `too_little`.
    reasons : tuple of Reason
        P-FIT where it does not: about the product, not about the customer.
    """

    product: str
    suggested: str | None
    misfits: tuple[str, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a draw for a purpose.

    Parameters
    ----------
    answer : {'allowed', 'temporary', 'refused', 'forbidden'}
        `temporary`: allowed, and a temporary line is on offer. `refused`: this product is not for
        it. `forbidden`: the law says no, which freezes the line (trigger B10).
    rule : str
        What forbids it.
    reasons : tuple of Reason
    """

    answer: Literal["allowed", "temporary", "refused", "forbidden"]
    rule: str = ""
    reasons: tuple[Reason, ...] = ()


def match(catalogue: Catalogue, name: str, need: Need) -> Fit:
    """Say whether a product fits a need and, if not, which one does.

    Raises
    ------
    NotFound
        If there is no such product.
    """
    misfits = _misfits(catalogue.product(name), need)
    if not misfits:
        return Fit(name, None, (), ())
    fitting = (one.id for one in catalogue.products.values() if not _misfits(one, need))
    return Fit(name, next(fitting, None), misfits, (Reason("P-FIT", "outside"),))


def _misfits(product: Product, need: Need) -> tuple[str, ...]:
    findings = {
        "borrower": product.borrower != need.borrower,
        "purpose": need.purpose not in product.purposes,
        "income": need.proven_income_minor < product.income_minor,
        "too_much": need.amount_minor > product.cap_minor,
        "too_little": need.amount_minor < product.least_draw_minor,
    }
    return tuple(name for name, wrong in findings.items() if wrong)


def purpose_of_draw(product: Product, pack: Pack, purpose: str, day: date) -> Verdict:
    """Say what becomes of a draw for a purpose; the law first, then the product."""
    law = pack.forbids(purpose, day)
    if law is not None:
        return Verdict("forbidden", law.origin.rule, (Reason("B10", "policy"),))
    if purpose not in product.purposes:
        return Verdict("refused", "", (Reason("P-FIT", "outside"),))
    if purpose == "emergency" and product.temporary is not None:
        return Verdict("temporary")
    return Verdict("allowed")


def for_product(policy: Policy, catalogue: Catalogue, name: str) -> Policy:
    """Return the policy with a product's own figures in place of the file's.

    Raises
    ------
    NotFound
        If there is no such product.
    ConfigError
        If currency or grades are not the policy's.
    """
    product = catalogue.product(name)
    tables = Tables(f"catalogue {catalogue.id}/{catalogue.version}")
    same = catalogue.currency == policy.currency
    tables.check(same, "currency", f"must be {policy.currency!r}, the policy's", catalogue.currency)
    grades = list(product.grades)
    rule = f"must be the policy's, safest first: {', '.join(policy.grades)}"
    tables.check(grades == list(policy.grades), f"{name}.grades", rule, grades)
    tables.finish()
    return replace(
        policy,
        id=f"{policy.id}.{name}",
        version=f"{policy.version}+{catalogue.version}",
        effective_from=max(policy.effective_from, catalogue.effective_from),
        product=name,
        product_cap_minor=product.cap_minor,
        quantum_minor=product.quantum_minor,
        grades=product.grades,
        expected_loss=product.expected_loss,
        borrower=product.borrower,
        lender=product.lender,
    )
