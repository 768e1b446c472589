"""Real data from its publisher, and one table split into the tables of several holders.

The UCI table is accepted by the SHA-256 of its *content*: the publisher ships a spreadsheet in a
ZIP, others a CSV with other column names or ``20000.0`` for ``20000``, and all of them are the
same 30,000 customers. Whatever is not, is refused before anything is written.

Splits draw no random numbers: who is at which holder, and who is held out for the test, follows
from a hash of the customer's id, so every party makes the same choice without a word.
"""

from __future__ import annotations

import hashlib
import importlib.resources
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np

from clients.data.sources import download, parse_table, read_bytes
from clients.holdings import parse_contract, write_table
from shared.contract import EVERY, check_columns, normalise_id
from shared.edge.files import write_atomic
from shared.errors import ConfigError, DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from shared.contract import Contract

#: Where the publisher keeps the table.
UCI_URL = "https://archive.ics.uci.edu/static/public/350/default+of+credit+card+clients.zip"

#: Columns of the publisher's table, in its order; the label is renamed to DEFAULT.
UCI_COLUMNS = (
    *("ID", "LIMIT_BAL", "SEX", "EDUCATION", "MARRIAGE", "AGE"),
    *("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6"),
    *(f"BILL_AMT{month}" for month in range(1, 7)),
    *(f"PAY_AMT{month}" for month in range(1, 7)),
    "DEFAULT",
)

#: `table_digest` of the published table.
UCI_DIGEST = "debf24d75b240e4f9e7faecd964ae5859976878bb9a19917962ed5670992c83b"

#: Share of customers held out for the test unless told otherwise.
TEST_SHARE = 0.2

#: Range of the share of the customers that one holder keeps.
COVERAGE = (0.80, 0.95)

_LABEL_NAMES = {"default payment next month", "default.payment.next.month", "default", "y"}


def embedded_contract(name: str) -> tuple[Contract, bytes]:
    """Return a contract that comes with the package, and its file.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    folder = importlib.resources.files("clients") / "contracts"
    entry = folder / f"{name}.toml"
    if not name.isidentifier() or not entry.is_file():
        known = sorted(item.name.removesuffix(".toml") for item in folder.iterdir())
        raise UsageError(f"no contract named {name!r}", hint=f"there are {', '.join(known)}")
    content = entry.read_bytes()
    return parse_contract(content.decode(), f"{name}.toml"), content


def fetch_uci_default(
    source: Path | None = None,
    *,
    url: str = UCI_URL,
    digest: str = UCI_DIGEST,
    timeout_s: float = 30.0,
    progress: Callable[[int, int | None], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Return "Default of Credit Card Clients", checked against its digest.

    Parameters
    ----------
    source : Path, optional
        A ``.csv``, ``.csv.gz``, ``.xls`` or ``.zip`` at hand; without it, the file is downloaded.
    url : str
        Where to download it; HTTPS, or HTTP on this machine.
    digest : str
        `table_digest` that the table must have.
    timeout_s : float
        How long one read may take, in seconds.
    progress : callable, optional
        Told the bytes read and, where the server says so, the bytes in all.

    Returns
    -------
    dict
        Columns by name, shape (30000,): ``ID`` as text, the publisher's columns as int64, and the
        derived ``SPEND_1`` to ``SPEND_5``.

    Raises
    ------
    EnvironmentFault
        If the file cannot be read or downloaded.
    DataError
        If it is not the published table.
    """
    if source is None:
        content = download(url, timeout_s=timeout_s, progress=progress)
        name = urllib.parse.unquote_plus(urllib.parse.urlsplit(url).path).rpartition("/")[2]
    else:
        content, name = read_bytes(source), source.name
    columns = _integers(parse_table(name, content), name)
    got = table_digest(columns)
    if got != digest:
        rule = f"not the published table: SHA-256 of its content is {got}, must be {digest}"
        raise DataError(name, [rule], hint="nothing was written")
    return _with_spend(columns)


def table_digest(columns: Mapping[str, NDArray[np.int64]]) -> str:
    """Return the SHA-256, in hex, of the UCI table's content.

    The text hashed is a header and a line per customer in order of ``ID``, integers in decimal,
    commas between, newlines after, whatever the file was like.
    """
    table = np.column_stack([columns[name] for name in UCI_COLUMNS])
    rows = table[np.argsort(table[:, 0], kind="stable")].tolist()
    lines = [",".join(UCI_COLUMNS), *(",".join(map(str, row)) for row in rows), ""]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def split_table(
    table: Mapping[str, NDArray[Any]],
    contract: Contract,
    *,
    source: str,
    test_share: float = TEST_SHARE,
    coverage: tuple[float, float] = COVERAGE,
) -> dict[str, dict[str, dict[str, NDArray[Any]]]]:
    """Split one table into its holders' tables, by columns and by customers.

    Parameters
    ----------
    table : mapping of str to ndarray, shape (n,)
        Raw columns of all holders.
    contract : Contract
        Says who holds which column.
    source : str
        Name of the table, for messages.
    test_share : float
        Share of customers held out, in (0, 1); the same customers at every holder.
    coverage : pair of float
        Range of the share of customers that one holder keeps: a hash of the holder's name picks
        the share, a hash of name and id the customers.

    Returns
    -------
    dict
        Holder to ``train`` and ``test`` to raw columns, rows in an order of the holder's own.

    Raises
    ------
    DataError
        If the table breaks the contract: all findings of all holders.
    """
    parties = _owners(contract)
    ids = _checked_ids(table, contract, parties, source)
    test = np.array([_unit("test", key) < test_share for key in ids])
    out = {}
    for party in parties:
        share = coverage[0] + (coverage[1] - coverage[0]) * _unit("coverage", party)
        place = np.array([_unit(f"holder {party}", key) for key in ids])
        order = np.argsort(place, kind="stable")
        order = order[place[order] < share]
        own = _own_columns(table, contract, party)
        out[party] = {
            "train": {name: column[order[~test[order]]] for name, column in own.items()},
            "test": {name: column[order[test[order]]] for name, column in own.items()},
        }
    return out


def split_holdings(
    tables: Mapping[str, Mapping[str, NDArray[Any]]],
    contract: Contract,
    *,
    test_share: float = TEST_SHARE,
) -> dict[str, dict[str, dict[str, NDArray[Any]]]]:
    """Split each holder's own table into train and test by the hash of the id."""
    out = {}
    for party, table in tables.items():
        ids = [normalise_id(str(key)) for key in table[contract.id_column].tolist()]
        test = np.array([_unit("test", key) < test_share for key in ids])
        out[party] = {
            "train": {name: column[~test] for name, column in table.items()},
            "test": {name: column[test] for name, column in table.items()},
        }
    return out


def write_parties(
    folder: Path, parties: Mapping[str, Mapping[str, Mapping[str, NDArray[Any]]]], contract: bytes
) -> None:
    """Write ``<folder>/<party>/{train,test}.parquet`` and ``<folder>/contract.toml``.

    Raises
    ------
    EnvironmentFault
        If the folder or the disk does not take it.
    """
    for party, parts in parties.items():
        for part, columns in parts.items():
            write_table(folder / party / f"{part}.parquet", columns)
    write_atomic(folder / "contract.toml", contract)


def _owners(contract: Contract) -> tuple[str, ...]:
    if any(feature.owner == EVERY for feature in contract.features) or not contract.parties:
        rule = f"a table is split by columns, so every feature needs one owner, not '{EVERY}'"
        raise ConfigError(f"contract {contract.name}", [rule])
    return contract.parties


def _checked_ids(
    table: Mapping[str, NDArray[Any]], contract: Contract, parties: Sequence[str], source: str
) -> tuple[str, ...]:
    findings: list[str] = []
    ids: tuple[str, ...] = ()
    for party in parties:
        try:
            ids = check_columns(
                contract, party, table, with_label=contract.holds_label(party), source=source
            ).ids
        except DataError as error:
            findings += error.findings
    if findings:
        raise DataError(source, tuple(dict.fromkeys(findings)), hint=f"contract {contract.name}")
    return ids


def _own_columns(
    table: Mapping[str, NDArray[Any]], contract: Contract, party: str
) -> dict[str, NDArray[Any]]:
    names = [contract.id_column, *(feature.name for feature in contract.of(party))]
    if contract.holds_label(party):
        names.append(contract.label_column)
    return {name: np.asarray(table[name]) for name in names}


def _unit(purpose: str, key: str) -> float:
    """Hash a key to [0, 1); each purpose is a choice of its own."""
    digest = hashlib.sha256(f"{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _integers(columns: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[np.int64]]:
    """Return the publisher's columns as int64, under their names here."""
    named = {
        "DEFAULT" if key.lower() in _LABEL_NAMES else key: array for key, array in columns.items()
    }
    findings = [f"{key}: column is missing" for key in UCI_COLUMNS if key not in named]
    out = {}
    for key in (key for key in UCI_COLUMNS if key in named):
        try:
            values = named[key].astype(np.float64)
        except (TypeError, ValueError):
            values = np.full(len(named[key]), np.nan)
        if not (np.isfinite(values) & (np.floor(values) == values)).all():
            findings.append(f"{key}: holds what is not an integer")
            continue
        out[key] = values.astype(np.int64)
    if findings:
        raise DataError(name, findings, hint="nothing was written")
    return out


def _with_spend(columns: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[Any]]:
    """Add what was bought in a month: the bill, less the bill before, plus what was paid."""
    out: dict[str, NDArray[Any]] = dict(columns)
    out["ID"] = np.array([str(key) for key in columns["ID"].tolist()], dtype=object)
    for month in range(1, 6):
        bill, before = columns[f"BILL_AMT{month}"], columns[f"BILL_AMT{month + 1}"]
        out[f"SPEND_{month}"] = bill - before + columns[f"PAY_AMT{month}"]
    return out
