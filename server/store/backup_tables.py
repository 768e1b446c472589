"""A table as a file of JSON lines, and back.

The first line names the columns. Rows are in order of their keys, by bytes on every database, so
that the same rows give the same file.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, Table, exc

from server.store.backup_manifest import Part, table_file
from server.store.tables import Instant
from shared.edge.files import atomic_file
from shared.errors import DataError, EnvironmentFault

_PAGE: Final = 2000
_LONGEST: Final = 1 << 26  # bytes of one row


def write_table(db: Connection, table: Table, folder: Path) -> Part:
    """Write a table to its file; return what the manifest says of it."""
    spell = [_speller(column) for column in table.columns]
    query = sa.select(table).order_by(*(_sorted(db, one) for one in table.primary_key.columns))
    digest, rows, size = hashlib.sha256(), 0, 0
    with atomic_file(folder / table_file(table.name), mode=0o600) as stream:
        header = [column.name for column in table.columns]
        for row in _lines(db, query, header, spell):
            line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            stream.write(line)
            digest.update(line)
            rows, size = rows + 1, size + len(line)
    return Part(rows - 1, size, digest.hexdigest())


def read_table(db: Connection, table: Table, folder: Path, part: Part) -> None:
    """Fill a table from its file, which `read_backup` has checked."""
    path = folder / table_file(table.name)
    names = [column.name for column in table.columns]
    readers = [_reader(column) for column in table.columns]
    page: list[dict[str, Any]] = []
    rows = 0
    try:
        with path.open("rb") as stream:
            if json.loads(stream.readline(_LONGEST)) != names:
                raise DataError(str(path), ["its columns are not those of this version"])
            for line in iter(lambda: stream.readline(_LONGEST), b""):
                values = zip(readers, json.loads(line), strict=True)
                told = [None if value is None else one(value) for one, value in values]
                page.append(dict(zip(names, told, strict=True)))
                rows += 1
                if len(page) == _PAGE:
                    _insert(db, table, page, path)
                    page = []
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise DataError(str(path), [f"line {rows + 2} is no row of {table.name}"]) from error
    if page:
        _insert(db, table, page, path)
    if rows != part.rows:
        raise DataError(str(path), [f"it has {rows} rows, the manifest says {part.rows}"])


def _lines(
    db: Connection,
    query: sa.Select[Any],
    header: list[str],
    spell: list[Callable[[Any], Any]],
) -> Iterator[list[Any]]:
    """Yield the names of the columns, then each row."""
    yield header
    for row in db.execute(query.execution_options(yield_per=_PAGE)):
        yield [None if value is None else one(value) for one, value in zip(spell, row, strict=True)]


def _sorted(db: Connection, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Sort by bytes on every database, so that the same rows give the same file."""
    if db.dialect.name == "postgresql" and isinstance(column.type, sa.String):
        return sa.collate(column, "C")
    return column


def _speller(column: sa.Column[Any]) -> Callable[[Any], Any]:
    """Return how a value of a column is spelt in JSON."""
    if isinstance(column.type, sa.LargeBinary):
        return lambda value: b64encode(value).decode()
    if isinstance(column.type, Instant):
        return lambda value: value.isoformat()
    return lambda value: value


def _reader(column: sa.Column[Any]) -> Callable[[Any], Any]:
    """Return how a value of a column is read from JSON."""
    if isinstance(column.type, sa.LargeBinary):
        return lambda value: b64decode(value, validate=True)
    if isinstance(column.type, Instant):
        return datetime.fromisoformat
    return lambda value: value


def _insert(db: Connection, table: Table, page: list[dict[str, Any]], path: Path) -> None:
    try:
        db.execute(sa.insert(table), page)
    except (exc.IntegrityError, exc.DataError, exc.StatementError) as error:
        if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError):
            raise  # the database itself, not what it was given
        why = "the database refuses a row: it breaks a rule, or another that it needs is missing"
        raise DataError(str(path), [why]) from error
