"""`confide policy diff`: how two rule files differ, in words and in lines."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.comparing import Comparison, Moves, compare
from server.accounts.rule_lint import RuleFile, read_all, reread
from server.accounts.rules import RuleText, rulebook_of
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
    money,
)
from server.commands.desks import opened_desk
from server.commands.policy import file_view
from server.limits.basis.differences import Difference, differences
from server.policies import embedded
from shared.edge.files import read_text
from shared.errors import UsageError

_REFERENCE = "reference"
_EMBEDDED = {"policy": "reference", "line": "line_reference", "catalogue": "products"}
_EMBEDDED |= {"actions": "advice"}


def diff(
    before: Annotated[str, typer.Argument(help="A rule file, or the word reference.")],
    after: Annotated[str, typer.Argument(help="A rule file of the same kind.")],
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    form: FormatOption = Format.TEXT,
) -> None:
    """Say field by field how two rule files differ and, with a store, for how many lines."""
    new = read_all([(read_text(Path(after)), after)])[0]
    old = _other(before, new)
    if old.kind != new.kind:
        raise UsageError(
            f"{before} is of kind {old.kind}, {after} of {new.kind}",
            hint="compare two files of one kind",
        )
    found = differences((old.rule.text, old.rule.source), (new.rule.text, new.rule.source))
    digits = getattr(new.value, "minor_digits", 2)
    swaps = _compared(federation, store, old, new) if store else None
    if form is Format.JSON:
        view: dict[str, Any] = {"kind": new.kind, "before": file_view(old), "after": file_view(new)}
        view["differences"] = [one.to_mapping() for one in found]
        emit(view | ({"lines": swaps.to_mapping()} if swaps else {}))
        return
    _print_diff(old, new, found, swaps, digits)


def _other(before: str, new: RuleFile) -> RuleFile:
    if before != _REFERENCE:
        return read_all([(read_text(Path(before)), before)])[0]
    name = f"pack_{new.subject.replace('-', '_')}" if new.subject else new.kind
    try:
        text, source = embedded(_EMBEDDED.get(name, name))
    except FileNotFoundError as error:
        raise UsageError(f"there is no reference of kind {new.kind}") from error
    return reread(new.kind, RuleText.of(text, source))


def _print_diff(
    old: RuleFile,
    new: RuleFile,
    found: tuple[Difference, ...],
    swaps: Comparison | None,
    digits: int,
) -> None:
    typer.echo(f"{new.kind}: {old.title} ({old.rule.source}), {new.title} ({new.rule.source})")
    for one in found:
        typer.echo(f"  {one.told(digits)}")
    if not found:
        typer.echo("  they say the same")
    if swaps is not None:
        _print_swaps(swaps, digits)


def _compared(federation: Path, store: str, old: RuleFile, new: RuleFile) -> Comparison:
    """Hold two rule files against each other on the lines of a store, the other rules as they are.

    Raises
    ------
    ConfideError
        If the desk cannot be opened, or one of the files does not fit the other rules.
    """
    with opened_desk(federation, store) as desk:
        now = desk.clock()
        with desk.store.read() as db:
            sources = desk.follow(db, now).sources
            books = [rulebook_of({**sources, one.kind: one.rule}) for one in (old, new)]
            return compare(desk, db, books[0], books[1], now)


def _print_swaps(found: Comparison, digits: int) -> None:
    caps = found.caps
    typer.echo(f"{caps.people} lines; what the caps allow: {_moved(found.allowed, digits)}")
    typer.echo(
        f"  {caps.both.people} with a limit by both, {caps.swapped_in.people} only by the new, "
        f"{caps.swapped_out.people} only by the old, {caps.neither.people} by neither"
    )
    typer.echo(f"  in all {money(caps.volume_change_minor, digits, sign='+')}")
    typer.echo(f"after a review today: {_moved(found.reviewed, digits)}")
    if found.failed:
        typer.echo(f"{found.failed} lines cannot be decided on by one of the two")


def _moved(moves: Moves, digits: int) -> str:
    return (
        f"{moves.higher} higher (by {money(moves.up_minor, digits)}, at most "
        f"{money(moves.most_up_minor, digits)}), {moves.lower} lower (by "
        f"{money(moves.down_minor, digits)}, at most {money(moves.most_down_minor, digits)}), "
        f"{moves.same} the same"
    )
