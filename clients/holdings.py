"""A party's own table: CSV, CSV.gz and Parquet through Arrow, checked against the contract."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from shared.contract import Columns, Contract, check_columns
from shared.edge.files import atomic_file
from shared.errors import ConfigError, DataError, EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from shared.contract_columns import Purpose

_CSV = (".csv", ".csv.gz")
_PARQUET = (".parquet", ".pq")


def load_contract(path: Path) -> Contract:
    """Read a contract file.

    Raises
    ------
    EnvironmentFault
        If the file cannot be read.
    ConfigError
        If it is not TOML, or not a contract: all findings.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise EnvironmentFault(f"cannot read the contract {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), ["not a text in UTF-8"]) from error
    return parse_contract(text, str(path))


def parse_contract(text: str, source: str) -> Contract:
    """Read a contract from the text of a TOML file.

    Raises
    ------
    ConfigError
        If it is not TOML, or not a contract: all findings.
    """
    try:
        mapping = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(source, [f"not TOML: {error}"]) from error
    return Contract.from_mapping(mapping, source)


def load_holding(
    path: Path,
    contract: Contract,
    owner: str,
    purpose: Purpose = "train",
    *,
    with_label: bool | None = None,
) -> Columns:
    """Read a party's table and hold it against the contract.

    Parameters
    ----------
    path : Path
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file.
    contract : Contract
        What was agreed.
    owner : str
        Party whose table it is.
    purpose : {"train", "score"}
        What for; see `check_columns`.
    with_label : bool, optional
        Whether the label is asked for; by default when training at the label's owner.

    Raises
    ------
    EnvironmentFault
        If the file is not there or may not be read.
    DataError
        If it is no table, or breaks the contract: all findings.
    """
    if with_label is None:
        with_label = purpose == "train" and contract.holds_label(owner)
    labels = {contract.label_column} if isinstance(contract.positive, str) else set()
    texts = {contract.id_column, *labels}
    texts |= {feature.name for feature in contract.of(owner) if feature.dtype == "category"}
    columns = arrays(read_table(path, texts=texts))
    return check_columns(
        contract, owner, columns, with_label=with_label, source=path.name, purpose=purpose
    )


def read_table(path: Path, *, texts: Iterable[str] = (), content: bytes | None = None) -> pa.Table:
    """Read a table.

    Parameters
    ----------
    path : Path
        A ``.csv``, ``.csv.gz`` or ``.parquet`` file.
    texts : iterable of str
        Columns of a CSV that stay text, such as ids with leading zeros.
    content : bytes, optional
        The bytes of the file, where they are at hand already.

    Raises
    ------
    EnvironmentFault
        If the file is not there or may not be read.
    DataError
        If it is of another kind, not a table, or names a column twice.
    """
    name = path.name.lower()
    if not name.endswith(_CSV + _PARQUET):
        kinds = ", ".join(_CSV + _PARQUET)
        raise DataError(path.name, [f"unknown kind of file, must end in {kinds}"])
    try:
        with _opened(path, content) as stream:
            table = _read_stream(stream, name, texts)
    except pa.ArrowInvalid:
        # Arrow quotes the offending row, so neither its message nor its traceback is passed on.
        raise DataError(path.name, ["not a table that can be read"], hint=_kind(name)) from None
    except (OSError, EOFError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
        raise DataError(path.name, ["damaged or cut short"], hint=_kind(name)) from error
    twice = sorted({key for key in table.column_names if table.column_names.count(key) > 1})
    if twice:
        raise DataError(path.name, [f"{key}: two columns of this name" for key in twice])
    return table


def arrays(table: pa.Table) -> dict[str, NDArray[Any]]:
    """Return the columns of a table as arrays: numbers as they are, the rest as objects."""
    return {name: _array(table.column(name)) for name in table.column_names}


def write_table(path: Path, columns: Mapping[str, NDArray[Any] | pa.Array]) -> None:
    """Write columns to a Parquet file, whole or not at all.

    Raises
    ------
    EnvironmentFault
        If the folder or the disk does not take it.
    """
    with atomic_file(path) as stream:
        pa.parquet.write_table(pa.table(dict(columns)), stream, compression="zstd")


def _opened(path: Path, content: bytes | None) -> pa.NativeFile:
    """Return a stream of Arrow's own.

    Arrow's threads let go of a stream of Python's after the table is there, which aborts a process
    that is just ending ("terminate called without an active exception").
    """
    if content is not None:
        return pa.BufferReader(content)
    with path.open("rb"):  # names the cause of a failure, which Arrow's does not
        return pa.OSFile(str(path))


def _read_stream(stream: pa.NativeFile, name: str, texts: Iterable[str]) -> pa.Table:
    if name.endswith(_PARQUET):
        return pa.parquet.read_table(stream)
    types = dict.fromkeys(texts, pa.string())
    # A text such as "NA" may be the name of a level: what is missing, the contract says.
    convert = pa.csv.ConvertOptions(column_types=types, strings_can_be_null=False)
    compression = "gzip" if name.endswith(".gz") else None
    with pa.input_stream(stream, compression=compression) as plain:
        return pa.csv.read_csv(plain, convert_options=convert)


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    if pa.types.is_nested(column.type):
        # A type that no rule of the contract accepts stands for the lists and structs themselves.
        return np.empty(len(column), dtype="V1")
    array: NDArray[Any] = column.to_numpy()
    return array


def _kind(name: str) -> str:
    return "a CSV file with a header row" if name.endswith(_CSV) else "a Parquet file"
