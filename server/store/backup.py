"""A store as files, and back: one state of every table, with a manifest that tells each file.

A backup is a folder: a file of JSON lines for each table, read in one transaction, and
``manifest.json`` with the SHA-256 of each and the newest signed head. It appears whole or not at
all, and fits either kind of database. Restoring goes into an empty database only, in one
transaction, and counts only once everything that is kept twice was recomputed from it.

The files hold salts and records: who has a backup has all personal data that was not deleted when
it was made. It can be read by its owner only.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import rfc8785
import sqlalchemy as sa
from sqlalchemy import Connection, Table, exc

from server.prooflog.book import check_head
from server.prooflog.heads import SignedHead, check_after, read_head, verify_head
from server.store import checks, log
from server.store.engine import Store
from server.store.ids import utc
from server.store.log import StoredHeads, StoredLog
from server.store.log_checks import check_log
from server.store.migrate import current
from server.store.schema import METADATA
from server.store.tables import Instant
from shared.edge.files import atomic_file, atomic_folder, write_atomic
from shared.errors import DataError, EnvironmentFault, LogBroken, UsageError

KIND: Final = "confide/store-backup/1"
MANIFEST: Final = "manifest.json"
_PAGE: Final = 2000
_LONGEST: Final = 1 << 26  # bytes of one row


@dataclass(frozen=True, slots=True)
class Backup:
    """What a manifest says.

    Parameters
    ----------
    schema : str
        Version of the store's schema.
    created : str
        Instant.
    tables : mapping of str to Part
    head : SignedHead, optional
        The newest one in it.
    """

    schema: str
    created: str
    tables: dict[str, Part]
    head: SignedHead | None

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(part.rows for part in self.tables.values())

    def to_bytes(self) -> bytes:
        """Return the manifest as canonical JSON."""
        head = None if self.head is None else self.head.to_mapping()
        tables = {name: part.to_mapping() for name, part in self.tables.items()}
        told = {"kind": KIND, "schema": self.schema, "created": self.created}
        return rfc8785.dumps({**told, "tables": tables, "head": head})


@dataclass(frozen=True, slots=True)
class Part:
    """The file of one table.

    Parameters
    ----------
    rows, size : int
        Rows, and bytes.
    sha256 : str
        Of the file, in hex.
    """

    rows: int
    size: int
    sha256: str

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"rows": self.rows, "bytes": self.size, "sha256": self.sha256}


def backup(store: Store, folder: Path, now: datetime) -> Backup:
    """Write one state of a store to a new folder.

    Parameters
    ----------
    store : Store
    folder : Path
        Must be new or empty.
    now : datetime

    Returns
    -------
    Backup

    Raises
    ------
    UsageError
        If there is something in the folder.
    EnvironmentFault
        If the disk does not take it, or the database is away; no folder is left.
    """
    with store.read() as db, atomic_folder(folder) as fresh:
        fresh.chmod(0o700)
        _take_time(db)
        heads = StoredHeads(db).heads()
        made = Backup(
            schema=current(db) or "",
            created=f"{utc(now):%Y-%m-%dT%H:%M:%SZ}",
            tables={table.name: _write(db, table, fresh) for table in METADATA.sorted_tables},
            head=heads[-1] if heads else None,
        )
        write_atomic(fresh / MANIFEST, made.to_bytes(), mode=0o600)
    return made


def read_backup(folder: Path) -> Backup:
    """Read a backup's manifest, and check every file against it.

    Raises
    ------
    DataError
        With every file that is missing, too many, or not the one of the manifest.
    EnvironmentFault
        If something cannot be read.
    """
    made = _manifest(folder)
    findings = []
    try:
        found = {path.name for path in folder.iterdir()} - {MANIFEST}
        wanted = {_file(name) for name in made.tables}
        findings += [f"{name} is missing" for name in sorted(wanted - found)]
        findings += [f"{name} is not in the manifest" for name in sorted(found - wanted)]
        for name, part in made.tables.items():
            if _file(name) in found and _digest(folder / _file(name)) != part.sha256:
                findings.append(f"{_file(name)} is not the file of the manifest")
    except OSError as error:
        raise EnvironmentFault(f"cannot read {error.filename}: {error.strerror}") from error
    if findings:
        raise DataError(str(folder), findings, hint="use another backup")
    return made


def restore(
    store: Store, folder: Path, *, pin: str = "", known: SignedHead | None = None
) -> Backup:
    """Fill an empty database from a backup, all of it or nothing.

    Parameters
    ----------
    store : Store
        Of this version's schema, without a row.
    folder : Path
    pin : str
        Fingerprint of the operator's log key; empty: the one that signed the backup's first head.
    known : SignedHead, optional
        The newest head that somebody outside kept: the restored log must reach as far.

    Returns
    -------
    Backup

    Raises
    ------
    UsageError
        If the database is not empty.
    EnvironmentFault
        If the backup is of another schema, or the database or the disk fails.
    DataError
        With all that is wrong with the files or their content.
    LogBroken
        With check `shrunk`, `root`, `fork` or `key`, if the log in the backup is not the one that
        the known head is of, or ends before it.
    """
    made = read_backup(folder)
    with store.write() as db:
        _take_time(db)
        _check_fits(db, made)
        for table in METADATA.sorted_tables:
            _read(db, table, folder, made.tables[table.name])
        _check_content(db, made, folder, pin)
        if known is not None:
            check_reaches(db, known, pin)
    return made


def check_reaches(db: Connection, known: SignedHead, pin: str = "") -> None:
    """Check that the log of a store goes on from a head that somebody outside kept.

    Raises
    ------
    LogBroken
        With check `key`, `signature`, `shrunk`, `fork` or `root`.
    """
    heads, stored = StoredHeads(db).heads(), StoredLog(db)
    verify_head(known, pin or (heads[-1].head.log if heads else known.head.log))
    size, missing = stored.size(), known.head.size - stored.size()
    if missing > 0:
        why = f"shrunk: a head of {known.head.size} leaves was signed, and {size} are here"
        hint = f"{missing} decisions are missing: find a newer backup"
        raise LogBroken(why, check="shrunk", hint=hint)
    same = log.head_of_size(db, known.head.size)
    if same is not None and same.head.root != known.head.root:
        check_after(same.head, known.head)
    check_head(stored, size, known.head)


def _take_time(db: Connection) -> None:
    """Let statements of this transaction run as long as they need."""
    if db.dialect.name == "postgresql":
        db.exec_driver_sql("SET LOCAL statement_timeout = 0")
        db.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")


def _write(db: Connection, table: Table, folder: Path) -> Part:
    spell = [_speller(column) for column in table.columns]
    query = sa.select(table).order_by(*(_sorted(db, one) for one in table.primary_key.columns))
    digest, rows, size = hashlib.sha256(), 0, 0
    with atomic_file(folder / _file(table.name), mode=0o600) as stream:
        header = [column.name for column in table.columns]
        for row in _lines(db, query, header, spell):
            line = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
            stream.write(line)
            digest.update(line)
            rows, size = rows + 1, size + len(line)
    return Part(rows - 1, size, digest.hexdigest())


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


def _read(db: Connection, table: Table, folder: Path, part: Part) -> None:
    """Fill a table from its file, which `read_backup` has checked."""
    path = folder / _file(table.name)
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


def _insert(db: Connection, table: Table, page: list[dict[str, Any]], path: Path) -> None:
    try:
        db.execute(sa.insert(table), page)
    except (exc.IntegrityError, exc.DataError, exc.StatementError) as error:
        if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.InternalError):
            raise  # the database itself, not what it was given
        why = "the database refuses a row: it breaks a rule, or another that it needs is missing"
        raise DataError(str(path), [why]) from error


def _check_fits(db: Connection, made: Backup) -> None:
    found = current(db)
    if found != made.schema or set(made.tables) != set(METADATA.tables):
        why = f"the backup is of schema {made.schema}, this version's is {found}"
        hint = "restore with the version that made it, then run `confide store upgrade`"
        raise EnvironmentFault(why, hint=hint)
    for table in METADATA.sorted_tables:
        if db.execute(sa.select(sa.literal(1)).select_from(table).limit(1)).first():
            hint = "restore into a new database"
            raise UsageError(f"the database is not empty: {table.name} has rows", hint=hint)


def _check_content(db: Connection, made: Backup, folder: Path, pin: str) -> None:
    """Recompute all that is kept twice, and hold the log against the manifest's head.

    Raises
    ------
    DataError
    """
    looked = check_log(db, pin)
    findings = [*checks.findings(db), *looked.findings]
    if looked.newest != made.head:
        findings.append("head: the newest signed head is not the one of the manifest")
    if findings:
        raise DataError(str(folder), findings, hint="use another backup; nothing was restored")


def _manifest(folder: Path) -> Backup:
    path = folder / MANIFEST
    try:
        value = json.loads(path.read_bytes())
        tables = {
            str(name): Part(int(part["rows"]), int(part["bytes"]), str(part["sha256"]))
            for name, part in value["tables"].items()
        }
        head = None if value["head"] is None else read_head(value["head"])
        made = Backup(str(value["schema"]), str(value["created"]), tables, head)
        same = value["kind"] == KIND and made.to_bytes() == path.read_bytes()
    except OSError as error:
        hint = "name the folder of a backup"
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}", hint=hint) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, LogBroken) as error:
        raise DataError(str(path), ["is no manifest of a backup"]) from error
    if not same:
        raise DataError(str(path), ["is not as a backup writes it"])
    return made


def _file(table: str) -> str:
    return f"{table}.jsonl"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
