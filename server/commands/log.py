"""`confide log`: the decision log's head, what leaves the house of it, and its verification."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from server.api.service import HOME, load_policy
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    emit,
)
from server.limits.record import KIND as DECISION_RECORD
from server.limits.record import Rules, read_record, replay
from server.policies import embedded
from server.prooflog.book import LogBook
from server.prooflog.export import export_consistency, export_decision, export_range, to_bytes
from server.prooflog.folder import open_book, read_book
from server.prooflog.heads import SignedHead, read_head, verify_head
from server.prooflog.verify import Verified, verify_bytes, verify_together
from shared.edge.clock import utc_now
from shared.edge.files import load_identity, read_text, write_atomic
from shared.errors import EnvironmentFault, LogBroken, UsageError

FOLDER, KEY = "log", "log.key"

log = typer.Typer(no_args_is_help=True, help="The decision log: heads, exports, verification.")

OutOption = Annotated[
    Path | None, typer.Option("--out", help="Write the export here, not to stdout.")
]
_PIN = re.compile(r"[0-9a-f]{64}")


@log.command()
def head(
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign a new head over all leaves first.")
    ] = False,
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Check the whole log on the disk against every head, and show the newest."""
    home = federation.parent / HOME
    if sign:
        identity = load_identity(home / KEY, "log", None)
        with open_book(home / FOLDER) as book:
            book.sign(identity, utc_now())
    book = read_book(home / FOLDER)
    signed = checked_head(book)
    if out is not None:
        write_atomic(out, to_bytes(signed.to_mapping()))
    if form is Format.JSON:
        emit({**signed.to_mapping(), "unsigned": book.leaves.size() - signed.head.size})
        return
    newest = signed.head
    typer.echo(f"{newest.size} leaves, root {newest.root}")
    typer.echo(f"  signed {newest.time} by {newest.log}")
    typer.echo(f"  {book.leaves.size() - newest.size} leaves since then are not signed yet")


@log.command()
def export(
    leaf: Annotated[int, typer.Argument(help="Number of the first leaf, from 0.")],
    to: Annotated[
        int | None, typer.Option("--to", help="Export a range: up to, not including, this leaf.")
    ] = None,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="Of a range: leaves only, no decision.")
    ] = False,
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
) -> None:
    """Export a decision, or a range of them, so that anybody can verify it offline."""
    book = read_book(federation.parent / HOME / FOLDER)
    signed = checked_head(book)
    if to is not None:
        openings = None if sealed else book.openings
        _put(export_range(book.leaves, openings, signed, leaf, to), out)
    elif sealed:
        raise UsageError("--sealed goes with --to")
    else:
        _put(export_decision(book.leaves, book.openings, signed, leaf), out)


@log.command()
def consistency(
    old: Annotated[Path, typer.Argument(help="A signed head that somebody kept.")],
    federation: FederationOption = DEFAULT_FEDERATION,
    out: OutOption = None,
) -> None:
    """Show that the log extends a head that was given away earlier."""
    book = read_book(federation.parent / HOME / FOLDER)
    newest = checked_head(book)
    with _naming(old):
        kept = read_head(_parsed(old))
        verify_head(kept, newest.head.log)
    book.check_extends(kept.head)
    _put(export_consistency(book.leaves, kept, newest), out)


@log.command()
def verify(
    files: Annotated[list[Path], typer.Argument(help="Exported decisions, ranges, heads.")],
    pin: Annotated[
        str, typer.Option("--pin", help="Fingerprint of the operator's log key, 64 hex digits.")
    ],
    again: Annotated[
        bool, typer.Option("--replay", help="Make every opened decision again and compare.")
    ] = False,
    policy: Annotated[
        list[Path] | None, typer.Option("--policy", help="Text of a policy, for --replay.")
    ] = None,
    pack: Annotated[
        list[Path] | None, typer.Option("--pack", help="Text of a pack, for --replay.")
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Verify exports offline: one by one, then against each other."""
    if not _PIN.fullmatch(pin):
        raise UsageError("--pin must be 64 small hex digits", hint="`confide log head` shows it")
    rules = _rules(policy or [], pack or []) if again else None
    shown = []
    for path in files:
        with _naming(path):
            found = verify_bytes(_bytes(path), pin)
            shown.append(Shown(path, found, _replayed(found, rules) if rules else 0))
    linked = verify_together([one.found for one in shown])
    if form is Format.JSON:
        emit({"files": [one.to_mapping() for one in shown], "linked": linked, "pin": pin})
        return
    for one in shown:
        typer.echo(one.line())
    if not linked:
        note = "these heads are not linked: ask for `confide log consistency` between them"
        typer.echo(note)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is told of a file.

    Parameters
    ----------
    path : Path
    found : Verified
    replayed : int
        Decisions that were made again.
    """

    path: Path
    found: Verified
    replayed: int

    def to_mapping(self) -> dict[str, Any]:
        """Return the JSON form."""
        newest = self.found.heads[-1]
        return {
            "file": str(self.path),
            "kind": self.found.kind,
            "size": newest.size,
            "time": newest.time,
            "first": self.found.first,
            "count": self.found.count,
            "opened": len(self.found.records),
            "replayed": self.replayed,
        }

    def line(self) -> str:
        """Return a line for people."""
        heads = self.found.heads
        parts = [f"{self.path} is in order: {self.found.kind}"]
        if self.found.count:
            last = self.found.first + self.found.count - 1
            which = f"leaf {last}" if self.found.count == 1 else f"leaves {self.found.first}-{last}"
            parts.append(f"{which}, {len(self.found.records)} opened, {self.replayed} made again")
        if len(heads) > 1:
            parts.append(f"{heads[-1].size} leaves extend {heads[0].size}")
        parts.append(f"head of {heads[-1].size} leaves signed {heads[-1].time}")
        return ", ".join(parts)


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


def _rules(policies: list[Path], packs: list[Path]) -> Rules:
    """Return the embedded rules and those in files."""
    reference, _ = load_policy(None)
    given_policies = [(read_text(path), str(path)) for path in policies]
    given_packs = [(read_text(path), str(path)) for path in packs]
    return Rules.of(
        [embedded("reference"), *given_policies],
        [embedded(f"pack_{reference.jurisdiction.replace('-', '_')}"), *given_packs],
    )


def _replayed(found: Verified, rules: Rules) -> int:
    """Make the decisions of an export again; return how many there were.

    Records of other kinds, such as an operator's notes, are no decisions of the limit's arithmetic.
    """
    count = 0
    for index, record in found.records.items():
        if record.get("kind") == DECISION_RECORD:
            with _naming(f"leaf {index}"):
                replay(read_record(record), rules)
            count += 1
    return count


@contextmanager
def _naming(where: Path | str) -> Iterator[None]:
    """Name the file in what is refused."""
    try:
        yield
    except LogBroken as error:
        message = f"{where}: {error.message}"
        raise LogBroken(message, check=error.check, hint=error.hint) from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror}") from error


def _parsed(path: Path) -> Any:
    try:
        return json.loads(_bytes(path))
    except (ValueError, RecursionError) as error:
        raise LogBroken("form: it is not JSON", check="form") from error


def _put(value: dict[str, Any], out: Path | None) -> None:
    if out is None:
        typer.echo(to_bytes(value), nl=False)
    else:
        write_atomic(out, to_bytes(value))
        typer.echo(f"wrote {out}", err=True)
