"""A store as files, and back: one state of every table, with a manifest that tells each file.

A backup is a folder: a file of JSON lines for each table, read in one transaction, and
``manifest.json`` with the SHA-256 of each and the newest signed head. It appears whole or not at
all, and fits either kind of database. Restoring goes into an empty database only, in one
transaction, and counts only once everything that is kept twice was recomputed from it.

The files hold salts and records: who has a backup has all personal data that was not deleted when
it was made. It can be read by its owner only.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection

from server.prooflog.book import check_head
from server.prooflog.heads import SignedHead, check_after, verify_head
from server.store import checks, log
from server.store.backup_manifest import MANIFEST, Backup, read_backup
from server.store.backup_tables import read_table, write_table
from server.store.engine import Store
from server.store.ids import utc
from server.store.log import StoredHeads, StoredLog
from server.store.log_checks import check_log
from server.store.migrate import current
from server.store.schema import METADATA
from shared.edge.files import atomic_folder, write_atomic
from shared.errors import DataError, EnvironmentFault, LogBroken, UsageError


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
            tables={table.name: write_table(db, table, fresh) for table in METADATA.sorted_tables},
            head=heads[-1] if heads else None,
        )
        write_atomic(fresh / MANIFEST, made.to_bytes(), mode=0o600)
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
            read_table(db, table, folder, made.tables[table.name])
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
