"""The customers of simulated holders: one table, dealt out by seeded draws.

Shares come from a symmetric Dirichlet distribution; which customer goes where is a random
permutation. Every holder has a few customers at least. A quarter of a holder's customers is what it
evaluates on. Everything follows from table, number of holders, concentration and seed, so a holder
needs no file of its own: whoever plays it reads the table and takes its rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.data.datasets import embedded_contract
from clients.data.split import same_features
from clients.holdings import arrays, read_table
from clients.neural.data import Customers
from shared.contract import Columns, Contract, check_columns
from shared.errors import DataError, EnvironmentFault
from shared.simulated import LEAST_CUSTOMERS, Simulation

_TEST_SHARE = 4  # a quarter
_BANK = "simulated"


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose columns every simulated holder has.

    Parameters
    ----------
    contract : Contract
    columns : Columns
        Of all customers.
    """

    contract: Contract
    columns: Columns

    @property
    def features(self) -> tuple[Any, ...]:
        """The features, as the contract describes them."""
        return tuple(self.contract.of(_BANK))


@lru_cache(maxsize=1)
def load(table: str, contract: str) -> Table:
    """Read a table and its contract, whoever owns the columns there.

    Raises
    ------
    ConfideError
        If one cannot be read, or the table breaks the contract.
    """
    path = Path(contract)
    content = _read(path) if path.suffix or path.exists() else embedded_contract(contract)[1]
    agreed, _ = same_features(content, contract)
    texts = [agreed.id_column, *(one.name for one in agreed.features if one.dtype == "category")]
    raw = arrays(read_table(Path(table), texts=texts))
    columns = check_columns(agreed, _BANK, raw, with_label=True, source=Path(table).name)
    return Table(agreed, columns)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentFault(f"cannot read the contract {path}: {error.strerror}") from error


@lru_cache(maxsize=1)
def shares(customers: int, holders: int, concentration: float, seed: int) -> list[NDArray[np.intp]]:
    """Return the rows of every holder.

    Parameters
    ----------
    customers, holders : int
    concentration : float
        See `Simulation`.
    seed : int

    Raises
    ------
    DataError
        If there are too few customers.
    """
    spread = customers - holders * LEAST_CUSTOMERS
    if spread < 0:
        raise DataError(
            "the table",
            [f"{customers} customers for {holders} holders of {LEAST_CUSTOMERS} at least"],
            hint="fewer holders",
        )
    draw = np.random.default_rng(seed)
    further = draw.multinomial(spread, draw.dirichlet(np.full(holders, concentration)))
    ends = np.cumsum(further + LEAST_CUSTOMERS)
    return np.split(draw.permutation(customers), ends[:-1])


def customers_of(job: Simulation, place: int) -> tuple[Customers, Customers]:
    """Return the customers that a holder learns from, and those that it evaluates on.

    Parameters
    ----------
    job : Simulation
    place : int
        Of the holder, from 0.
    """
    columns = load(job.table, job.contract).columns
    rows = shares(len(columns.ids), job.holders, job.concentration, job.neural.seed)[place]
    cut = len(rows) // _TEST_SHARE
    return _take(columns, rows[cut:]), _take(columns, rows[:cut])


def _take(columns: Columns, rows: NDArray[np.intp]) -> Customers:
    assert columns.label is not None  # it was asked for
    values: Mapping[str, Any] = {name: one[rows] for name, one in columns.values.items()}
    return Customers(values, columns.label[rows].astype(np.int64))
