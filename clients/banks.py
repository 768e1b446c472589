"""One table as the tables of several banks: the same features, other customers.

Like the splits of `clients.datasets` it draws no random numbers: a hash of the customer's id says
whose customer it is, and who is held out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.datasets import TEST_SHARE, split_holdings
from clients.holdings import parse_contract
from shared.contract import EVERY, Contract, check_columns
from shared.neural.inputs import check_same_features

# An owner in TOML, on a line of its own.
_OWNER = re.compile(r"""(?m)^[ \t]*((?:label_)?owner)[ \t]*=[ \t]*["'][^"'\n]*["']""")

Tables = dict[str, dict[str, dict[str, NDArray[Any]]]]


def same_features(content: bytes, source: str) -> tuple[Contract, bytes]:
    """Return a contract under which every party holds all features and the label, and its file.

    Parameters
    ----------
    content : bytes
        The file of a contract with owners.
    source : str
        Its name.

    Raises
    ------
    ConfigError
        If an owner stands where this does not find it.
    """
    text = _OWNER.sub(rf'\1 = "{EVERY}"', content.decode())
    contract = parse_contract(text, source)
    check_same_features(contract)
    return contract, text.encode()


def split_customers(
    table: Mapping[str, NDArray[Any]],
    contract: Contract,
    banks: Sequence[str],
    *,
    source: str,
    test_share: float = TEST_SHARE,
) -> Tables:
    """Deal the customers of a table out to several banks.

    Parameters
    ----------
    table : mapping of str to ndarray, shape (n,)
        Raw columns; those the contract does not name are left out.
    contract : Contract
    banks : sequence of str
        Their names.
    source : str
        Name of the table, for messages.
    test_share : float
        Share of customers held out, in (0, 1).

    Returns
    -------
    dict
        Bank to ``train`` and ``test`` to raw columns.

    Raises
    ------
    DataError
        If the table breaks the contract.
    """
    ids = check_columns(contract, banks[0], table, with_label=True, source=source).ids
    names = [contract.id_column, *(item.name for item in contract.features), contract.label_column]
    place = np.array([_bank(key, len(banks)) for key in ids])
    tables = {
        bank: {name: np.asarray(table[name])[place == number] for name in names}
        for number, bank in enumerate(banks)
    }
    return split_holdings(tables, contract, test_share=test_share)


def _bank(key: str, count: int) -> int:
    digest = hashlib.sha256(f"bank\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % count
