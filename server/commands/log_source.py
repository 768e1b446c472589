"""The decision log that a command is about: the store's, or the one in files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import Connection

from server.accounts.scores import HOME
from server.commands.common import store_url
from server.prooflog.book import Headers, LogBook
from server.prooflog.folder import read_book
from server.prooflog.heads import SignedHead, verify_head
from server.store.engine import Store, open_store
from server.store.log import StoredLog
from server.store.log_checks import book_of

FOLDER = "log"
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Write the export here, not to stdout.")
]


@dataclass(frozen=True, slots=True)
class Source:
    """A log, wherever it is kept.

    Parameters
    ----------
    book : LogBook
    headers : Headers, optional
        Of a store's decisions.
    db : Connection, optional
        The transaction that reads a store.
    """

    book: LogBook
    headers: Headers | None = None
    db: Connection | None = None


@contextmanager
def opened_store(url: str, federation: Path) -> Iterator[Store | None]:
    """Give the store; None where none was named and there is none beside the federation file."""
    where = store_url(url, federation)
    beside = federation.absolute().parent / HOME / "limits.db"
    if not url and where.startswith("sqlite:") and not beside.exists():
        yield None
        return
    opened = open_store(where, pool=1)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def opened_log(url: str, federation: Path) -> Iterator[Source]:
    """Give the log of the store, in one state of it, or else the log in files."""
    with opened_store(url, federation) as opened:
        if opened is None:
            yield Source(read_book(federation.parent / HOME / FOLDER))
            return
        with opened.read() as db:
            book = book_of(db)
            headers = book.leaves if isinstance(book.leaves, StoredLog) else None
            yield Source(book, headers, db)


def checked_head(book: LogBook) -> SignedHead:
    """Return the newest head, once every head, and the leaves under it, are seen to be in order.

    Raises
    ------
    NotFound
        If none was signed yet.
    LogBroken
        By the name of the check.
    """
    newest = book.newest()
    book.check(newest.head.log)
    return newest


def covering_head(source: Source) -> SignedHead:
    """Return the newest head of a log that something is exported of.

    A log in files was checked by its head when it was read; of a store the newest head is.

    Raises
    ------
    NotFound
        If none was signed yet.
    LogBroken
        By the name of the check.
    """
    if source.db is None:
        return checked_head(source.book)
    newest = source.book.newest()
    verify_head(newest, newest.head.log)
    source.book.check_head(newest.head)
    return newest
