"""Real customers for the scorecard bench: the published split, its holders, their federation."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.holdings import write_table
from clients.keys.setup import init_federation
from shared.edge.files import write_atomic

Table = dict[str, NDArray[Any]]

BILLS = tuple(f"BILL_AMT{month}" for month in range(1, 7))
PAYMENTS = tuple(f"PAY_AMT{month}" for month in range(1, 7))
STATUS = ("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6")
DEMOGRAPHICS = ("SEX", "EDUCATION", "MARRIAGE", "AGE")

#: What x0 to x22 of the published split are. The text that comes with it names the order of the
#: original table; joined by id with that table (UCI 350), every column has correlation 1.0 with the
#: one named here, and not with the one of that order.
COLUMNS = ("PAY_6", *BILLS, *PAYMENTS, "LIMIT_BAL", *DEMOGRAPHICS, *STATUS[:-1])

BUILDER = "bank"
HOLDERS: Mapping[str, tuple[str, ...]] = {
    BUILDER: ("LIMIT_BAL", *BILLS),
    "payments": PAYMENTS,
    "bureau": STATUS,
}

#: What the bank derives from its own columns. The split is z-scored, so the limit used is a
#: difference, not a ratio.
SUMMARIES: Mapping[str, tuple[str, tuple[str, ...], str, str]] = {
    "USED": ("mean", BILLS, "minus", "LIMIT_BAL"),
    "HIGHEST_BILL": ("max", BILLS, "", ""),
}


@dataclass(frozen=True, slots=True)
class Split:
    """Customers to learn from and to evaluate on: columns by name, `id` and `y` among them."""

    train: Table
    test: Table


def read_split(folder: Path) -> Split:
    """Read the published split: guest, host_1 and host_2 are the customers to learn from."""
    parts = [_read(folder / f"{name}.csv.gz") for name in ("guest", "host_1", "host_2")]
    train = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Split(train, _read(folder / "test.csv.gz"))


def _read(path: Path) -> Table:
    with gzip.open(path, "rt", newline="") as stream:
        rows = list(csv.reader(stream))
    wanted = ["id", "y", *(f"x{number}" for number in range(len(COLUMNS)))]
    if rows[0] != wanted:
        raise SystemExit(f"{path}: its header is not {','.join(wanted)}")
    columns = list(zip(*rows[1:], strict=True))
    table: Table = {
        "id": np.array(columns[0], dtype=object),
        "y": np.array(columns[1], dtype=np.float64).astype(np.int64),
    }
    for name, values in zip(COLUMNS, columns[2:], strict=True):
        table[name] = np.array(values, dtype=np.float64)
    return table


def head(split: Split, rows: int) -> Split:
    """Return fewer customers, for a quick look: `rows` to learn from, a quarter to evaluate on."""
    return Split(
        {name: column[:rows] for name, column in split.train.items()},
        {name: column[: rows // 4] for name, column in split.test.items()},
    )


def holders(*, demographics: bool) -> dict[str, tuple[str, ...]]:
    """Return who holds which columns."""
    extra = DEMOGRAPHICS if demographics else ()
    return {**HOLDERS, BUILDER: (*HOLDERS[BUILDER], *extra)}


def raw_matrix(table: Table, held: Mapping[str, tuple[str, ...]]) -> NDArray[np.float64]:
    """Return all holders' columns side by side, shape (n, p)."""
    return np.column_stack([table[name] for names in held.values() for name in names])


def derived_matrix(table: Table) -> NDArray[np.float64]:
    """Return the bank's two summaries, computed here by themselves, shape (n, 2)."""
    bills = np.column_stack([table[name] for name in BILLS])
    return np.column_stack([bills.mean(axis=1) - table["LIMIT_BAL"], bills.max(axis=1)])


def contract_text(held: Mapping[str, tuple[str, ...]]) -> str:
    """Return the data contract."""
    lines = ['name = "default_credit_split"', "version = 1", 'id_column = "id"']
    lines += ['label_column = "y"', f'label_owner = "{BUILDER}"', "positive = 1"]
    for owner, names in held.items():
        for name in names:
            lines += ["", "[[features]]", f'name = "{name}"', f'owner = "{owner}"']
            lines += ['dtype = "number"', 'unit = "standard deviations"']
    for name, (kind, features, relation, other) in SUMMARIES.items():
        lines += ["", "[[summaries]]", f'name = "{name}"', f'kind = "{kind}"']
        lines.append(f"features = {json.dumps(features)}")
        if relation:
            lines += [f'relation = "{relation}"', f'other = "{other}"']
    return "\n".join([*lines, ""])


def make_federation(folder: Path, split: Split, held: Mapping[str, tuple[str, ...]]) -> Path:
    """Write contract, keys and every holder's tables; return the federation file."""
    contract = folder / "contract.toml"
    write_atomic(contract, contract_text(held).encode())
    path = init_federation(folder, contract, name="bench")
    for owner, names in held.items():
        wanted = ("id", *names, *(("y",) if owner == BUILDER else ()))
        for part, table in (("train", split.train), ("test", split.test)):
            write_table(folder / owner / f"{part}.parquet", {name: table[name] for name in wanted})
    return path


def resampled(table: Table, rows: int, seed: int = 0) -> Table:
    """Return `rows` customers like the given ones: drawn with replacement, amounts shaken.

    Amounts move by a hundredth of a standard deviation, so that they are as good as all different,
    as in a large population; a repayment status keeps its few levels.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(table["y"]), rows)
    out: Table = {name: column[drawn] for name, column in table.items()}
    for name in (*BILLS, *PAYMENTS):
        out[name] = out[name] + rng.normal(0.0, 0.01, rows)
    out["id"] = np.array([f"customer-{number:09d}" for number in range(rows)], dtype=object)
    return out
