"""`confide log export` and `consistency`: what leaves the house of the decision log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from server.accounts.replaying import digests_in, embedded_texts
from server.commands.common import DEFAULT_FEDERATION, FederationOption, StoreOption
from server.commands.log_source import OutOption, Source, covering_head, opened_log
from server.commands.log_verify import named, parsed
from server.prooflog.book import LogBook
from server.prooflog.export import export_consistency, export_decision, export_range, to_bytes
from server.prooflog.heads import read_head, verify_head
from server.store import log as store_log
from server.store.log import StoredLog
from server.store.people import texts_at
from shared.edge.files import write_atomic
from shared.errors import NotFound, UsageError


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
    with opened_log(store, federation) as source:
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


def consistency(
    old: Annotated[Path, typer.Argument(help="A signed head that somebody kept.")],
    store: StoreOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
) -> None:
    """Show that the log extends a head that was given away earlier."""
    with opened_log(store, federation) as source:
        newest = covering_head(source)
        with named(old):
            kept = read_head(parsed(old))
            verify_head(kept, newest.head.log)
        source.book.check_extends(kept.head)
        made = export_consistency(source.book.leaves, kept, newest)
    _put(made, out)


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


def _put(value: dict[str, Any], out: Path | None) -> None:
    if out is None:
        typer.echo(to_bytes(value), nl=False)
    else:
        write_atomic(out, to_bytes(value))
        typer.echo(f"wrote {out}", err=True)
