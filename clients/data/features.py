"""From a holder's own monthly records to the columns of its contract.

Each holder keeps six months of raw records, the oldest first, and computes its columns alone: no
function here sees two holders. Amounts are integers in cents. `months` says for how many of the
six months a customer was on the books; what lies before is zero in the raw arrays and is never
counted. The columns carry the codes of ``contracts/world.toml``: NaN is missing, -1 says that
there is nothing to measure (no bill fell due, no order was made, no loan is known).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Raw: TypeAlias = dict[str, NDArray[Any]]

#: Months of raw records.
MONTHS = 6

#: Special code: there is nothing to measure.
NOTHING = -1.0

#: With fewer months than this on the books a change or a variation says nothing.
THIN = 3


@dataclass(frozen=True, slots=True)
class BankRecords:
    """Accounts and revolving loans.

    Parameters
    ----------
    months : ndarray of int64, shape (n,)
        Months with records, 1 to `MONTHS`.
    kind : ndarray of object, shape (n,)
        Kind of the account; None where the bank does not know.
    limit : ndarray of int64, shape (n,)
        Credit limit in cents.
    balance, repayment, inflow : ndarray of int64, shape (n, MONTHS)
        Owed at the end of the month, repaid in it, and income credited in it, in cents.
    """

    months: NDArray[np.int64]
    kind: NDArray[Any]
    limit: NDArray[np.int64]
    balance: NDArray[np.int64]
    repayment: NDArray[np.int64]
    inflow: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PaymentRecords:
    """A wallet: transfers and bills.

    Parameters
    ----------
    months : ndarray of int64, shape (n,)
        Months with records, 1 to `MONTHS`.
    transfers, failed : ndarray of int64, shape (n, MONTHS)
        Transfers made, and payments refused for lack of funds.
    bills, late : ndarray of int64, shape (n, MONTHS)
        Bills that fell due, and those paid after their day.
    lowest : ndarray of int64, shape (n, MONTHS)
        Lowest balance in the month, in cents.
    """

    months: NDArray[np.int64]
    transfers: NDArray[np.int64]
    failed: NDArray[np.int64]
    bills: NDArray[np.int64]
    late: NDArray[np.int64]
    lowest: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShopRecords:
    """Orders on a shop platform.

    Parameters
    ----------
    months : ndarray of int64, shape (n,)
        Months with records, 1 to `MONTHS`.
    goods : ndarray of object, shape (n,)
        Kind of goods bought most; None without an order.
    orders, returns, instalments : ndarray of int64, shape (n, MONTHS)
        Orders, those sent back, and those paid in instalments.
    spend : ndarray of int64, shape (n, MONTHS)
        Amount of the orders in cents.
    """

    months: NDArray[np.int64]
    goods: NDArray[Any]
    orders: NDArray[np.int64]
    returns: NDArray[np.int64]
    instalments: NDArray[np.int64]
    spend: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BureauRecords:
    """What other lenders report.

    Parameters
    ----------
    known : ndarray of bool, shape (n,)
        Whether any lender reports the customer.
    lenders : ndarray of int64, shape (n,)
        Other lenders with an open loan.
    enquiries : ndarray of int64, shape (n, MONTHS)
        Applications for credit.
    balance : ndarray of int64, shape (n, MONTHS)
        Owed to other lenders in cents.
    arrears : ndarray of int64, shape (n, MONTHS)
        Months in arrears at the end of the month, 0 is up to date.
    """

    known: NDArray[np.bool_]
    lenders: NDArray[np.int64]
    enquiries: NDArray[np.int64]
    balance: NDArray[np.int64]
    arrears: NDArray[np.int64]


def bank_columns(records: BankRecords) -> Raw:
    """Return the bank's columns, each of shape (n,)."""
    on_books = _on_books(records.months)
    utilisation = records.balance / records.limit[:, None]
    owed = np.where(on_books[:, :-1], records.balance[:, :-1], 0).sum(axis=1)
    repaid = np.where(on_books[:, :-1], records.repayment[:, 1:], 0).sum(axis=1)
    thin = records.months < THIN
    inflow = _mean(records.inflow, on_books)
    spread = np.sqrt(_mean((records.inflow - inflow[:, None]) ** 2, on_books))
    variation = np.divide(spread, inflow, out=np.full(inflow.shape, np.nan), where=inflow > 0)
    return {
        "BANK_LIMIT": records.limit,
        "BANK_UTILISATION": utilisation[:, -1].round(4),
        "BANK_UTILISATION_CHANGE": _change(utilisation, thin=thin).round(4),
        "BANK_REPAID_SHARE": _share(repaid, owed),
        "BANK_INFLOW": inflow.round(),
        "BANK_INFLOW_VARIATION": np.where(thin, np.nan, variation).round(4),
        "BANK_ACCOUNT": records.kind,
    }


def payment_columns(records: PaymentRecords) -> Raw:
    """Return the payments platform's columns, each of shape (n,)."""
    on_books = _on_books(records.months)
    lowest = np.where(on_books, records.lowest, np.iinfo(np.int64).max).min(axis=1)
    months_late = ((records.late > 0) & on_books).sum(axis=1)
    bills = _sum(records.bills, on_books)
    return {
        "WALLET_TRANSFERS": _mean(records.transfers, on_books).round(2),
        "WALLET_LOWEST": lowest,
        "WALLET_FAILED": _sum(records.failed, on_books),
        "BILLS_LATE_MONTHS": np.where(bills > 0, months_late, NOTHING),
        "BILLS_LATE_SHARE": _share(_sum(records.late, on_books), bills),
        "BILLS_LATE_RECENT": np.where(
            records.bills[:, -2:].sum(axis=1) > 0, records.late[:, -2:].sum(axis=1), NOTHING
        ),
    }


def shop_columns(records: ShopRecords) -> Raw:
    """Return the shop platform's columns, each of shape (n,)."""
    on_books = _on_books(records.months)
    orders = _sum(records.orders, on_books)
    spend = _mean(records.spend, on_books)
    recent = records.spend[:, -2:].mean(axis=1)
    change = np.divide(recent, spend, out=np.full(spend.shape, NOTHING), where=spend > 0)
    return {
        "SHOP_ORDERS": orders,
        "SHOP_SPEND": spend.round(),
        "SHOP_SPEND_CHANGE": np.where(records.months < THIN, np.nan, change).round(4),
        "SHOP_RETURN_SHARE": _share(_sum(records.returns, on_books), orders),
        "SHOP_INSTALMENT_SHARE": _share(_sum(records.instalments, on_books), orders),
        "SHOP_GOODS": records.goods,
    }


def bureau_columns(records: BureauRecords) -> Raw:
    """Return the bureau's columns, each of shape (n,)."""
    start, end = records.balance[:, 0], records.balance[:, -1]
    growth = np.divide(end, start, out=np.full(start.shape, np.nan), where=start > 0)
    columns: Raw = {
        "CREDIT_ARREARS_NOW": records.arrears[:, -1],
        "CREDIT_ARREARS_WORST": records.arrears.max(axis=1),
        "CREDIT_ARREARS_MONTHS": (records.arrears > 0).sum(axis=1),
        "CREDIT_ENQUIRIES": records.enquiries[:, -THIN:].sum(axis=1),
        "CREDIT_LENDERS": records.lenders,
        "CREDIT_BALANCE": end,
        "CREDIT_BALANCE_GROWTH": growth.round(4),
    }
    return {name: np.where(records.known, column, NOTHING) for name, column in columns.items()}


def _on_books(months: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return, shape (n, MONTHS), which months count."""
    counted: NDArray[np.bool_] = np.arange(MONTHS) >= MONTHS - months[:, None]
    return counted


def _sum(monthly: NDArray[Any], on_books: NDArray[np.bool_]) -> NDArray[Any]:
    total: NDArray[Any] = np.where(on_books, monthly, 0).sum(axis=1)
    return total


def _mean(monthly: NDArray[Any], on_books: NDArray[np.bool_]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = _sum(monthly, on_books) / on_books.sum(axis=1)
    return mean


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Return part / whole to four digits, `NOTHING` where there is no whole."""
    share = np.full(whole.shape, NOTHING)
    np.divide(part, whole, out=share, where=whole > 0)
    return share.round(4)


def _change(monthly: NDArray[np.float64], *, thin: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the last two months' mean less that of the month before; NaN for thin files."""
    change = monthly[:, -2:].mean(axis=1) - monthly[:, -THIN]
    return np.where(thin, np.nan, change)
