"""Small federations of several banks, with or without holders of further columns."""

from __future__ import annotations

import numpy as np

from clients.data.datasets import split_holdings, write_parties
from clients.holdings import parse_contract
from clients.keys.setup import init_federation
from tests.whole_runs import LIGHT, change

BANKS = ("east", "north", "south", "west")
CONTRACT = """\
name = "banks"
version = 1
id_column = "ID"
label_column = "DEFAULT"
label_owner = "*"
positive = 1

[[features]]
name = "INCOME"
owner = "*"
low = 0
direction = "down"

[[features]]
name = "LATE"
owner = "*"
dtype = "integer"
low = 0
high = 12
special = [-1]
direction = "up"

[[features]]
name = "AGE"
owner = "*"
dtype = "integer"
low = 18
high = 99

[[features]]
name = "HOME"
owner = "*"
dtype = "category"
levels = ["own", "rent", "other"]
"""
FURTHER = """
[[features]]
name = "WALLET"
owner = "platform"

[[features]]
name = "ENQUIRIES"
owner = "bureau"
dtype = "integer"
low = 0
high = 40
"""


def people(n, seed, first=0):
    """Return customers with all columns, and their ids."""
    rng = np.random.default_rng(seed)
    income = np.round(rng.lognormal(10, 0.8, n))
    late = rng.poisson(0.7, n).clip(0, 12)
    late[rng.random(n) < 0.2] = -1
    home = rng.choice(["own", "rent", "other"], n, p=[0.5, 0.4, 0.1])
    age = rng.integers(18, 80, n)
    wallet = rng.normal(size=n)
    wallet[rng.random(n) < 0.15] = np.nan
    enquiries = rng.poisson(2, n).clip(0, 40)
    risk = 0.6 * np.maximum(late, 0) - 0.7 * (np.log(income) - 10) - 0.8 * np.nan_to_num(wallet)
    risk += 0.25 * enquiries + 0.5 * (home == "rent") + (age < 30) * (late > 1)
    label = (rng.random(n) < 1 / (1 + np.exp(2.2 - risk))).astype(np.int64)
    ids = np.array([f"c{first + number:06d}" for number in range(n)], dtype=object)
    return {
        "ID": ids,
        "DEFAULT": label,
        "INCOME": income,
        "LATE": late,
        "AGE": age,
        "HOME": home.astype(object),
        "WALLET": wallet,
        "ENQUIRIES": enquiries,
    }


def build(folder, *, banks=BANKS, columns=(), sizes=(260, 300, 340, 280), seed=1, **settings):
    """Write a federation of several banks; return its file and all customers by bank.

    Parameters
    ----------
    columns : tuple of str
        Of ``platform`` and ``bureau``, who know all banks' customers but a few.
    settings : values
        Of the federation file, on top of the light ones of `tests.whole_runs`.
    """
    parts = FURTHER.split("\n[[features]]")[1:]
    kept = [f"\n[[features]]{part}" for part in parts if any(f'"{one}"' in part for one in columns)]
    content = (CONTRACT + "".join(kept)).encode()
    contract = parse_contract(content.decode(), "contract.toml")
    everybody, tables = {}, {}
    for place, bank in enumerate(banks):
        size = sizes[place % len(sizes)]
        everybody[bank] = people(size, seed * 100 + place, 10_000 * place)
        names = ["ID", "DEFAULT", *(item.name for item in contract.of(bank))]
        tables[bank] = {name: everybody[bank][name] for name in names}
    for place, holder in enumerate(columns):
        names = ["ID", *(item.name for item in contract.of(holder))]
        whole = {name: np.concatenate([everybody[bank][name] for bank in banks]) for name in names}
        rng = np.random.default_rng(seed + place)
        known = rng.permutation(np.flatnonzero(rng.random(len(whole["ID"])) < 0.95))
        tables[holder] = {name: column[known] for name, column in whole.items()}
    write_parties(folder, split_holdings(tables, contract, test_share=0.3), content)
    path = init_federation(folder, folder / "contract.toml", name="banks", parties=banks)
    change(path, **(LIGHT | {"rows": 10, "min_common": 100} | settings))
    return path, everybody
