"""`confide log`: the decision log's key and heads, what leaves the house of it, and its checks.

The log is the store's (`--store`). Where there is no store, it is the log in files that
`server.prooflog.folder` keeps beside the federation file. `verify` needs neither.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from server.accounts import proving
from server.accounts.desk import utc_clock
from server.accounts.proving import Place
from server.accounts.replaying import digests_in, embedded_texts, replay_store
from server.accounts.scores import HOME
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
    store_url,
)
from server.commands.log_verify import named, parsed, verify
from server.prooflog.book import Headers, LogBook
from server.prooflog.export import export_consistency, export_decision, export_range, to_bytes
from server.prooflog.folder import open_book, read_book
from server.prooflog.heads import SignedHead, read_head, verify_head
from server.store import log as store_log
from server.store.engine import Store, open_store
from server.store.log import StoredLog
from server.store.log_checks import book_of, check_log
from server.store.people import texts_at
from shared.edge.clock import utc_now
from shared.edge.files import load_identity, write_atomic
from shared.errors import DataError, NotFound, UsageError

FOLDER = "log"

log = typer.Typer(no_args_is_help=True, help="The decision log: heads, exports, verification.")
log.command()(verify)

OutOption = Annotated[
    Path | None, typer.Option("--out", help="Write the export here, not to stdout.")
]
PinOption = Annotated[
    str, typer.Option("--pin", help="Fingerprint of the log key; without it, that of log.key.")
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


@log.command()
def init(
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make the operator's log key where there is none, and show its fingerprint."""
    with _store(store, federation) as opened:
        if opened is None:
            raise NotFound("there is no store yet", hint="`confide store upgrade` makes one")
        identity = proving.make_log_key(Place(opened, federation.parent / HOME, utc_clock))
    _show_pin(identity.fingerprint, federation, form)


@log.command()
def pin(
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show the fingerprint of the log key: what whoever verifies must have from the operator."""
    identity = proving.log_key(federation.parent / HOME)
    with _store(store, federation) as opened:
        if opened is not None:
            with opened.read() as db:
                proving.check_pin(db, identity)
    _show_pin(identity.fingerprint, federation, form)


@log.command()
def head(
    sign: Annotated[
        bool,
        typer.Option("--sign", help="Take in what waits, and sign a new head over all leaves."),
    ] = False,
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check the log against its newest head (in files: against every head), and show it."""
    if sign:
        _sign(store, federation)
    with _source(store, federation) as source:
        signed = covering_head(source)
        unsigned = source.book.leaves.size() - signed.head.size
        waiting = 0 if source.db is None else store_log.waiting(source.db)
    if out is not None:
        write_atomic(out, to_bytes(signed.to_mapping()))
    if form is Format.JSON:
        emit({**signed.to_mapping(), "unsigned": unsigned, "waiting": waiting})
        return
    newest = signed.head
    typer.echo(f"{newest.size} leaves, root {newest.root}")
    typer.echo(f"  signed {newest.time} by {newest.log}")
    typer.echo(f"  {unsigned} leaves since then are not signed yet")
    if waiting:
        typer.echo(f"  {waiting} decisions wait for their leaf")


@log.command()
def export(
    leaf: Annotated[
        int | None, typer.Argument(help="Number of the first leaf, from 0.", show_default=False)
    ] = None,
    decision: Annotated[str, typer.Option("--decision", help="Id of a decision, for LEAF.")] = "",
    to: Annotated[
        int | None, typer.Option("--to", help="Export a range: up to, not including, this leaf.")
    ] = None,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Of a range: leaves only, no decision.")
    ] = False,
    rules: Annotated[
        Path | None,
        typer.Option("--rules", help="Folder for the rule texts that the decisions name."),
    ] = None,
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
) -> None:
    """Export a decision, or a range of them, so that anybody can verify it offline."""
    if sealed and to is None:
        raise UsageError("--sealed goes with --to")
    if (leaf is None) == (not decision):
        raise UsageError("name either a leaf or a --decision")
    with _source(store, federation) as source:
        signed = covering_head(source)
        first = _leaf_of(source, decision) if leaf is None else leaf
        book, headers = source.book, source.headers
        if to is None:
            made = export_decision(book.leaves, book.openings, signed, first, headers)
        else:
            _prepare(book, first, min(to, signed.head.size))
            openings = None if sealed else book.openings
            made = export_range(book.leaves, openings, signed, first, to, headers)
        texts = _texts_of(made, source.db) if rules is not None else {}
    if rules is not None:
        for digest, text in texts.items():
            write_atomic(rules / f"{digest}.toml", text.encode())
    _put(made, out)


@log.command()
def consistency(
    old: Annotated[Path, typer.Argument(help="A signed head that somebody kept.")],
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
) -> None:
    """Show that the log extends a head that was given away earlier."""
    with _source(store, federation) as source:
        newest = covering_head(source)
        with named(old):
            kept = read_head(parsed(old))
            verify_head(kept, newest.head.log)
        source.book.check_extends(kept.head)
        made = export_consistency(source.book.leaves, kept, newest)
    _put(made, out)


@log.command()
def check(
    pin: PinOption = "",
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Recompute chains, commitments, leaves, nodes and heads; name everything that is wrong."""
    key = federation.parent / HOME / proving.KEY
    pin = pin or (load_identity(key, "log", None).fingerprint if key.exists() else "")
    with _source(store, federation) as source:
        if source.db is None:
            checked_head(source.book)
            raise UsageError("a log in files is checked by `confide log head`: it is in order")
        found = check_log(source.db, pin)
    if found.findings:
        raise DataError("the decision log", found.findings)
    told = {
        "decisions": found.decisions,
        "records": found.records,
        "leaves": found.leaves,
        "waiting": found.pending,
        "heads": found.heads,
        "head": None if found.newest is None else found.newest.to_mapping(),
    }
    if form is Format.JSON:
        emit(told)
        return
    deleted = found.decisions - found.records
    typer.echo(f"in order: {found.decisions} decisions, the records of {deleted} deleted")
    typer.echo(f"  {found.leaves} leaves under {found.heads} signed heads, {found.pending} wait")


@log.command()
def replay(
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    form: FormatOption = Format.TEXT,
) -> None:
    """Make every decision of the store again from its record, and compare bit for bit."""
    with _source(store, federation) as source:
        if source.db is None:
            raise UsageError("a log in files is replayed by `confide log verify --replay`")
        began = time.perf_counter()
        found = replay_store(source.db)
        seconds = time.perf_counter() - began
    if found.failed:
        more = found.failed - len(found.findings)
        findings = [*found.findings, *([f"and {more} more"] if more else [])]
        raise DataError("the decision log", findings)
    rate = round(found.same / seconds) if seconds else 0
    told = {"same": found.same, "deleted": found.deleted, "other": found.other}
    if form is Format.JSON:
        emit({**told, "seconds": round(seconds, 3), "per_second": rate})
        return
    typer.echo(f"{found.same} decisions made again, bit for bit: {rate} a second")
    typer.echo(f"  {found.deleted} were deleted, {found.other} records are no decisions")


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


@contextmanager
def _store(url: str, federation: Path) -> Iterator[Store | None]:
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
def _source(url: str, federation: Path) -> Iterator[Source]:
    """Give the log of the store, in one state of it, or else the log in files."""
    with _store(url, federation) as opened:
        if opened is None:
            yield Source(read_book(federation.parent / HOME / FOLDER))
            return
        with opened.read() as db:
            book = book_of(db)
            headers = book.leaves if isinstance(book.leaves, StoredLog) else None
            yield Source(book, headers, db)


def _sign(url: str, federation: Path) -> None:
    home = federation.parent / HOME
    with _store(url, federation) as opened:
        if opened is None:
            identity = load_identity(home / proving.KEY, "log", None)
            with open_book(home / FOLDER) as book:
                book.sign(identity, utc_now())
            return
        place = Place(opened, home, utc_clock)
        proving.log_key(home)  # before anything is taken in
        proving.take_in(place)
        with opened.write() as db:
            proving.sign(place, db, place.clock())


def _leaf_of(source: Source, decision: str) -> int:
    if source.db is None:
        raise UsageError("--decision needs a store", hint="name a leaf")
    number = store_log.number_of(source.db, decision)
    if number is None:
        waits = store_log.is_waiting(source.db, decision)
        hint = "`confide log head --sign` takes it in" if waits else ""
        raise NotFound("the log has no decision of that id", hint=hint)
    return number


def _prepare(book: LogBook, first: int, last: int) -> None:
    """Read a range of a store at once."""
    if isinstance(book.leaves, StoredLog) and 0 <= first < last:
        book.leaves.load(first, last)


def _texts_of(made: dict[str, Any], db: Connection | None) -> dict[str, str]:
    """Return the rule texts that exported decisions name, by SHA-256.

    Raises
    ------
    NotFound
        If one is kept nowhere.
    """
    openings = made["openings"] if "openings" in made else [made["opening"]]
    wanted = set().union(*(digests_in(one["record"]) for one in openings or [] if one))
    texts = {one: text for one, text in embedded_texts().items() if one in wanted}
    if db is not None:
        texts |= texts_at(db, wanted - texts.keys())
    lost = sorted(wanted - texts.keys())
    if lost:
        raise NotFound(f"no rule text of SHA-256 {', '.join(lost)} is kept")
    return texts


def _show_pin(fingerprint: str, federation: Path, form: Format) -> None:
    path = federation.parent / HOME / proving.KEY
    if form is Format.JSON:
        emit({"pin": fingerprint, "key": str(path)})
        return
    typer.echo(fingerprint)
    typer.echo(
        f"  give it to whoever verifies; keep a copy of {path}, apart from backups", err=True
    )


def _put(value: dict[str, Any], out: Path | None) -> None:
    if out is None:
        typer.echo(to_bytes(value), nl=False)
    else:
        write_atomic(out, to_bytes(value))
        typer.echo(f"wrote {out}", err=True)
