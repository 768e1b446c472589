"""From a holder's own months to the columns of ``contracts/world_months.toml``.

Each function sees one holder's records alone. NaN is missing, -1 says that there is nothing to
measure; a month in which a customer was not known yet counts nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute

from clients.data.features import NOTHING, THIN
from clients.holdings import read_table
from clients.world.living import month_file
from shared.errors import DataError
from shared.world.life import DEFAULT_LATE, SEEN_MONTHS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Raw = dict[str, NDArray[Any]]
    Floats = NDArray[np.float64]

# Whom the holder knew once, and not in the last month.
_GONE: Final = -1
#: Months after which it is known what became of somebody.
OUTCOME_MONTHS: Final = 12


@dataclass(frozen=True, slots=True)
class Months:
    """A holder's records of some months, the latest last, of those whom it knows in the last.

    Parameters
    ----------
    ids : (n,) object
    known : (n, k) bool
        Whether the holder knew the customer in the month.
    values : mapping of str to (n, k) float64
        By column; 0 where it did not.
    """

    ids: NDArray[Any]
    known: NDArray[np.bool_]
    values: Mapping[str, Floats]

    @property
    def thin(self) -> NDArray[np.bool_]:
        """Who is known for too short a time for a change to say anything."""
        found: NDArray[np.bool_] = self.known.sum(axis=1) < THIN
        return found

    def mean(self, name: str) -> Floats:
        """Return the mean of a column over the known months."""
        found: Floats = self.values[name].sum(axis=1) / self.known.sum(axis=1)
        return found

    def sum(self, name: str) -> Floats:
        """Return the sum of a column."""
        found: Floats = self.values[name].sum(axis=1)
        return found


def read_months(folder: Path, holder: str, last: int, count: int = SEEN_MONTHS) -> Months:
    """Read the months of a holder up to one.

    Parameters
    ----------
    folder : Path
        Of the world.
    holder : str
    last : int
        The latest month; it and those before must be there.
    count : int
        How many.

    Raises
    ------
    DataError
        If the world has not lived so long, or a file is damaged.
    EnvironmentFault
        If a file cannot be read.
    """
    if last < count:
        raise DataError(holder, [f"there are not {count} months up to month {last}"])
    tables = [
        read_table(month_file(folder, holder, number))
        for number in range(last - count + 1, last + 1)
    ]
    ids = tables[-1].column("ID").combine_chunks()
    known = np.zeros((len(ids), count), np.bool_)
    values = {
        name: np.zeros((len(ids), count))
        for name in tables[-1].column_names
        if name not in {"ID", "MONTH"}
    }
    # Arrow looks ids up where they lie; as texts of Python's they would take most of the time.
    everywhere = pa.chunked_array([one for table in tables for one in table.column("ID").chunks])
    rows = pa.compute.index_in(everywhere, value_set=ids).fill_null(_GONE).to_numpy()
    ends = np.cumsum([len(table) for table in tables])
    for month, (table, here) in enumerate(zip(tables, np.split(rows, ends[:-1]), strict=True)):
        there = here != _GONE
        known[here[there], month] = True
        for name, column in values.items():
            column[here[there], month] = table.column(name).to_numpy()[there]
    return Months(ids.to_numpy(zero_copy_only=False), known, values)


def bank(months: Months) -> Raw:
    """Return the bank's columns."""
    use = months.values["BILL"] / np.maximum(months.values["LIMIT"], 1.0)
    change = use[:, -2:].mean(axis=1) - use[:, -THIN]
    owed = months.values["BILL"][:, :-1].sum(axis=1)
    # What was repaid in a month was owed at the end of the one before.
    before = np.where(months.known[:, :-1], months.values["REPAID"][:, 1:], 0.0).sum(axis=1)
    income = months.mean("INCOME")
    gap = np.where(months.known, months.values["INCOME"] - income[:, None], 0.0)
    spread = np.sqrt((gap**2).sum(axis=1) / months.known.sum(axis=1))
    return {
        "BANK_LIMIT": months.values["LIMIT"][:, -1],
        "BANK_UTILISATION": use[:, -1].round(4),
        "BANK_UTILISATION_CHANGE": _unless(months.thin, change),
        "BANK_REPAID_SHARE": np.minimum(_share(before, owed), 3.0),
        "BANK_INCOME": income.round(),
        "BANK_INCOME_VARIATION": _unless(months.thin | (income <= 0), _ratio(spread, income)),
    }


def payments(months: Months) -> Raw:
    """Return the payments platform's columns."""
    return {
        "WALLET_TRANSFERS": months.mean("TRANSFERS").round(2),
        "WALLET_FAILED": months.sum("FAILED"),
        "WALLET_REPAID": months.mean("PAID").round(),
        "BILLS_LATE_SHARE": _share(months.sum("BILLS_LATE"), months.sum("BILLS")),
    }


def ecommerce(months: Months) -> Raw:
    """Return the shop platform's columns."""
    spend = months.mean("SPENT")
    recent = months.values["SPENT"][:, -2:].mean(axis=1)
    change = np.where(spend > 0, np.minimum(_ratio(recent, spend), 10.0), NOTHING)
    return {
        "SHOP_ORDERS": months.sum("ORDERS"),
        "SHOP_SPEND": spend.round(),
        "SHOP_SPEND_CHANGE": _unless(months.thin, change),
        "SHOP_RETURN_SHARE": _share(months.sum("RETURNS"), months.sum("ORDERS")),
    }


def bureau(months: Months) -> Raw:
    """Return the bureau's columns."""
    behind = months.values["BEHIND"]
    return {
        "CREDIT_ARREARS_NOW": behind[:, -1],
        "CREDIT_ARREARS_WORST": behind.max(axis=1),
        "CREDIT_ARREARS_MONTHS": (behind > 0).sum(axis=1),
        "CREDIT_ENQUIRIES": months.values["ENQUIRIES"][:, -THIN:].sum(axis=1),
        "CREDIT_LENDERS": months.values["LENDERS"][:, -1],
        "CREDIT_BALANCE": months.values["OTHER_DEBT"][:, -1],
    }


#: What each holder computes, in the order of the contract.
TABLES: Final[Mapping[str, Callable[[Months], Raw]]] = {
    "bank": bank,
    "payments": payments,
    "ecommerce": ecommerce,
    "bureau": bureau,
}
#: Who knows what became of people.
_LABELS: Final = "bank"


def table_of_month(folder: Path, holder: str, month: int) -> Raw:
    """Return a holder's columns as of the end of a month.

    Raises
    ------
    DataError, EnvironmentFault
        See `read_months`.
    """
    months = read_months(folder, holder, month)
    return {"ID": months.ids, **TABLES[holder](months)}


def learning_table(folder: Path, holder: str, last: int) -> Raw:
    """Return a holder's columns of those whose outcome is over by now, with it at the bank.

    The columns are as of `OUTCOME_MONTHS` before, so that nobody counts as good before the time is
    over. Who was in default already then teaches nothing, and is left out where it is known.

    Parameters
    ----------
    folder : Path
    holder : str
    last : int
        The month that the world has come to.

    Raises
    ------
    DataError, EnvironmentFault
        See `read_months`.
    """
    then = last - OUTCOME_MONTHS
    table = table_of_month(folder, holder, then)
    if holder != _LABELS:
        return table
    after = read_months(folder, holder, last, OUTCOME_MONTHS + 1)
    place = {name: at for at, name in enumerate(after.ids.tolist())}
    late = after.values["LATE"][[place[name] for name in table["ID"].tolist()]]
    table["DEFAULT"] = (late[:, 1:].max(axis=1) >= DEFAULT_LATE).astype(np.int64)
    sound = late[:, 0] < DEFAULT_LATE
    return {name: column[sound] for name, column in table.items()}


def _unless(missing: NDArray[np.bool_], values: Floats) -> Floats:
    return np.where(missing, np.nan, values).round(4)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(whole.shape), where=whole > 0)


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part / whole to four digits, `NOTHING` where there is no whole."""
    return np.where(whole > 0, _ratio(part, whole), NOTHING).round(4)
