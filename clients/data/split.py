"""One table as the tables of several banks: the same features, other customers.

Like the splits of `clients.data.datasets` it draws no random numbers: a hash of the customer's id
says whose customer it is, and who is held out.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.data.datasets import TEST_SHARE, split_holdings
from clients.holdings import parse_contract
from shared.contract import EVERY, Contract, check_columns
from shared.errors import ConfigError
from shared.neural.inputs import check_same_features

# An owner in TOML, on a line of its own.
_OWNER = re.compile(r"""(?m)^[ \t]*((?:label_)?owner)[ \t]*=[ \t]*["']([^"'\n]*)["']""")

Tables = dict[str, dict[str, dict[str, NDArray[Any]]]]


def same_features(content: bytes, source: str, owner: str = "") -> tuple[Contract, bytes]:
    """Return a contract under which several banks hold the same features and the label.

    Parameters
    ----------
    content : bytes
        The file of a contract with owners.
    source : str
        Its name.
    owner : str
        Whose columns become the banks'; other owners keep theirs. By default everybody's.

    Returns
    -------
    contract : Contract
    content : bytes
        Its file.

    Raises
    ------
    ConfigError
        If an owner stands where this does not find it, or owns nothing.
    """
    contract = parse_contract(content.decode(), source)
    if owner and owner not in contract.parties:
        raise ConfigError(source, [f"no column is owned by {owner!r}"])

    def banks(found: re.Match[str]) -> str:
        kept = owner and found[2] != owner
        return found[0] if kept else f'{found[1]} = "{EVERY}"'

    text = _OWNER.sub(banks, content.decode())
    contract = parse_contract(text, source)
    if not owner:
        check_same_features(contract)
    elif owner in contract.parties or contract.label_owner != EVERY:
        raise ConfigError(
            source, [f"{owner!r} must own the label, each owner on a line of its own"]
        )
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
        Party to ``train`` and ``test`` to raw columns. Holders of columns know all customers.

    Raises
    ------
    DataError
        If the table breaks the contract.
    """
    ids = check_columns(contract, banks[0], table, with_label=True, source=source).ids
    names = [contract.id_column, *(item.name for item in contract.of(banks[0]))]
    names.append(contract.label_column)
    place = np.array([_bank(key, len(banks)) for key in ids])
    tables = {
        bank: {name: np.asarray(table[name])[place == number] for name in names}
        for number, bank in enumerate(banks)
    }
    for holder in contract.parties:
        own = check_columns(contract, holder, table, with_label=False, source=source).values
        tables[holder] = {name: np.asarray(table[name]) for name in (contract.id_column, *own)}
    return split_holdings(tables, contract, test_share=test_share)


def _bank(key: str, count: int) -> int:
    digest = hashlib.sha256(f"bank\0{key}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % count
