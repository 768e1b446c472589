"""The simulated world: one latent borrower behind the monthly records of four holders.

No row is real. Every customer has a standing risk, a wealth, a liking for shopping, a care with
bills and, month by month, a distress that follows them with shocks that fade. The bank, the
payments platform, the shop platform and the bureau each see a noisy trace of that distress in
records of their own, and a default is what distress does to the month after the last record. The
strengths are tuned so that each holder alone, and all together, rank customers about as well as
the same holders do on real data (``tests/unit/test_world.py`` holds the bands): together they know
more than the best of them, which is the reason to federate.

This is the one module that may draw random numbers; it protects nobody's data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clients.data.features import (
    MONTHS,
    BankRecords,
    BureauRecords,
    PaymentRecords,
    ShopRecords,
    bank_columns,
    bureau_columns,
    payment_columns,
    shop_columns,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.random import Generator
    from numpy.typing import NDArray

    from clients.data.features import Raw

#: Customers and seed of the world that needs no arguments.
DEFAULT_CUSTOMERS = 12_000
DEFAULT_SEED = 1

#: Share of customers who default in the month after the records, as in the UCI data.
DEFAULT_RATE = 0.22

#: Range of the share of all customers that one holder knows.
COVERAGE = (0.80, 0.95)

_ACCOUNTS = np.array(["salary", "current", "savings"], dtype=object)
_GOODS = np.array(["groceries", "fashion", "home", "electronics", "games"], dtype=object)


@dataclass(frozen=True, slots=True)
class Borrowers:
    """What nobody sees.

    Parameters
    ----------
    distress : ndarray of float64, shape (n, MONTHS + 1)
        Distress by month, higher is worse; the last month is that of the outcome.
    wealth, appetite, care : ndarray of float64, shape (n,)
        Log income, liking for shopping and care with bills, all standardised; each moves distress,
        so that the holder who sees it adds what the others cannot see.
    default : ndarray of bool, shape (n,)
        The outcome.
    """

    distress: NDArray[np.float64]
    wealth: NDArray[np.float64]
    appetite: NDArray[np.float64]
    care: NDArray[np.float64]
    default: NDArray[np.bool_]


def make_world(
    customers: int = DEFAULT_CUSTOMERS, seed: int = DEFAULT_SEED
) -> dict[str, dict[str, NDArray[Any]]]:
    """Make the world: for each holder its own table, in its own order.

    Parameters
    ----------
    customers : int
        People in the world; each holder knows 80-95 % of them.
    seed : int
        The same seed gives the same world.

    Returns
    -------
    dict
        Holder to raw columns by name as in ``contracts/world.toml``, with ``ID`` and, at the bank,
        ``DEFAULT``.
    """
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(6)]
    people, draw = streams[0], streams[1]
    numbers = people.choice(10**11, size=customers, replace=False)
    ids = np.array([f"C{number:011d}" for number in numbers.tolist()], dtype=object)
    borrowers = make_borrowers(customers, people)
    tables: dict[str, Raw] = {
        "bank": bank_columns(bank_records(borrowers, streams[2])),
        "payments": payment_columns(payment_records(borrowers, streams[3])),
        "ecommerce": shop_columns(shop_records(borrowers, streams[4])),
        "bureau": bureau_columns(bureau_records(borrowers, streams[5])),
    }
    tables["bank"]["DEFAULT"] = borrowers.default.astype(np.int64)
    return {name: _subset({"ID": ids, **table}, draw) for name, table in tables.items()}


def make_borrowers(n: int, rng: Generator) -> Borrowers:
    """Draw `n` latent borrowers and their outcomes."""
    risk = rng.standard_normal(n)
    wealth = rng.standard_normal(n)
    appetite = rng.standard_normal(n)
    care = rng.standard_normal(n)
    cause = 0.4 * risk - 0.38 * wealth + 0.3 * appetite - 0.25 * care
    shock = 0.8 * rng.standard_normal(n)  # with the two numbers below its spread stays at 0.8
    distress = np.empty((n, MONTHS + 1))
    for month in range(MONTHS + 1):
        shock = 0.85 * shock + 0.42 * rng.standard_normal(n)
        distress[:, month] = cause + shock
    score = 3.0 * distress[:, -1] + rng.logistic(size=n)
    return Borrowers(distress, wealth, appetite, care, score > np.quantile(score, 1 - DEFAULT_RATE))


def bank_records(people: Borrowers, rng: Generator) -> BankRecords:
    """Draw the bank's six months: a limit, its use, repayments and income credited."""
    n = len(people.wealth)
    income = np.exp(8.6 + 0.45 * people.wealth + 0.3 * rng.standard_normal(n))
    generosity = np.exp(0.7 + 0.5 * rng.standard_normal(n))
    limit = _cents(np.maximum(income * generosity // 100, 10)) * 100  # in steps of a hundred
    distress = people.distress[:, :MONTHS]
    habit = 1.1 * rng.standard_normal((n, 1))
    use = _logistic(-0.8 + habit + 0.2 * distress + 0.5 * rng.standard_normal(distress.shape))
    balance = (use * 1.05 * limit[:, None]).astype(np.int64)
    balance[rng.random(n) < 0.06] = 0
    full = rng.random((n, 1)) < _logistic(-0.4 - 0.8 * habit - 0.15 * distress[:, :1])
    share = np.where(full, 1.0, np.minimum(rng.lognormal(-2.3, 0.6, distress.shape), 1.0))
    share = np.where(rng.random(distress.shape) < _logistic(-3.6 + 0.45 * distress), 0.0, share)
    repayment = np.zeros_like(balance)
    repayment[:, 1:] = (share[:, 1:] * balance[:, :-1]).astype(np.int64)
    paid = rng.random(distress.shape) > _logistic(-3.4 + 0.3 * distress)
    wobble = np.exp(0.12 * rng.standard_normal(distress.shape) - 0.02 * distress)
    inflow = _cents(income[:, None] * wobble) * paid
    kind = _ACCOUNTS[rng.choice(3, size=n, p=[0.55, 0.3, 0.15])]
    kind[rng.random(n) < 0.02] = None
    return BankRecords(_months(n, 0.05, rng), kind, limit, balance, repayment, inflow)


def payment_records(people: Borrowers, rng: Generator) -> PaymentRecords:
    """Draw the payments platform's six months: transfers, refused payments, bills."""
    distress = people.distress[:, :MONTHS]
    n = len(distress)
    activity = 0.7 * rng.standard_normal((n, 1))
    bills = rng.poisson(np.where(rng.random((n, 1)) < 0.08, 0.0, 2.5), distress.shape)
    late = rng.binomial(bills, _logistic(-2.9 + 0.35 * distress - 0.8 * people.care[:, None]))
    lowest = rng.lognormal(5.2 + 0.3 * people.wealth[:, None] - 0.2 * distress, 1.2)
    return PaymentRecords(
        months=_months(n, 0.08, rng),
        transfers=rng.poisson(np.exp(1.6 + activity + 0.05 * distress)),
        failed=rng.poisson(np.exp(-2.6 + 0.3 * distress + 0.5 * activity)),
        bills=bills,
        late=late,
        lowest=_cents(np.minimum(lowest, 1e8)),
    )


def shop_records(people: Borrowers, rng: Generator) -> ShopRecords:
    """Draw the shop platform's six months: orders, returns, instalments."""
    distress = people.distress[:, :MONTHS]
    n = len(distress)
    taste = people.appetite[:, None]
    orders = rng.poisson(np.exp(0.3 + 0.7 * taste + 0.4 * rng.standard_normal((n, 1))), (n, MONTHS))
    orders[rng.random(n) < 0.05] = 0
    basket = rng.lognormal(3.9 + 0.3 * people.wealth[:, None], 0.9, (n, MONTHS))
    goods = _GOODS[rng.choice(5, size=n, p=[0.34, 0.24, 0.18, 0.16, 0.08])]
    goods[orders.sum(axis=1) == 0] = None
    months = _months(n, 0.10, rng)
    return ShopRecords(
        months=months,
        goods=goods,
        orders=orders,
        returns=rng.binomial(orders, _logistic(-2.4 + 0.3 * taste + 0.1 * distress)),
        instalments=rng.binomial(orders, _logistic(-1.8 + 0.1 * taste + 0.2 * distress)),
        spend=_cents(orders * basket),
    )


def bureau_records(people: Borrowers, rng: Generator) -> BureauRecords:
    """Draw the bureau's six months: enquiries, other loans, arrears that grow or are cured."""
    distress = people.distress[:, :MONTHS]
    n = len(distress)
    arrears = np.zeros((n, MONTHS), dtype=np.int64)
    state = np.zeros(n, dtype=np.int64)
    for month in range(MONTHS):
        worse = rng.random(n) < _logistic(-2.3 + 0.85 * distress[:, month] + 1.2 * (state > 0))
        cured = rng.random(n) < 0.55
        state = np.where(worse, np.minimum(state + 1, 9), np.where(cured, 0, state))
        arrears[:, month] = state
    lenders = 1 + rng.poisson(np.exp(0.3 + 0.15 * distress.mean(axis=1)))
    drift = np.cumsum(0.03 * distress + 0.08 * rng.standard_normal(distress.shape), axis=1)
    level = 7.2 + 0.4 * people.wealth[:, None] + 0.9 * rng.standard_normal((n, 1))
    return BureauRecords(
        known=rng.random(n) > 0.07,
        lenders=lenders,
        enquiries=rng.poisson(np.exp(-1.5 + 0.3 * distress)),
        balance=_cents(lenders[:, None] * np.exp(level + drift)),
        arrears=arrears,
    )


def _subset(table: Mapping[str, NDArray[Any]], rng: Generator) -> dict[str, NDArray[Any]]:
    """Keep a random 80-95 % of the customers, in an order of the holder's own."""
    n = len(table["ID"])
    rows = rng.permutation(n)[: round(n * rng.uniform(*COVERAGE))]
    return {name: column[rows] for name, column in table.items()}


def _months(n: int, thin: float, rng: Generator) -> NDArray[np.int64]:
    """Return months on the books: all six, but for a share of thin files."""
    return np.where(rng.random(n) < thin, rng.integers(1, MONTHS, n), MONTHS)


def _cents(amount: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(100 * amount).astype(np.int64)


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-x))
