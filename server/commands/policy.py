"""`confide policy`: rule files linted and compared, what is in force, and who let it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.comparing import Comparison, Moves, compare
from server.accounts.desk import RuleText, rulebook_of
from server.accounts.partners import paused
from server.accounts.policies import sources_in_force
from server.accounts.rule_lint import RuleFile, lint, read_all, reread
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    StoreOption,
    emit,
)
from server.commands.desks import opened_desk
from server.commands.policy_acts import add_acts
from server.commands.rule_store import open_rules
from server.commands.score import PolicyOption
from server.limits.differences import Difference, differences
from server.limits.rule_kinds import KINDS
from server.policies import embedded
from server.store.approvals import Approval, approvals_in
from server.store.rulebook import Entry, history, schedule
from shared.edge.clock import utc_now
from shared.edge.files import read_text
from shared.errors import UsageError

policy = typer.Typer(
    no_args_is_help=True,
    help="Rules: limit policy, line policy, packs, products and the rest of what is decided by.",
)
add_acts(policy)

FilesArgument = Annotated[list[Path], typer.Argument(help="Rule files of any kind.")]
OnOption = Annotated[str, typer.Option("--on", help="A day, as 2026-01-31.  [default: today]")]
_REFERENCE = "reference"
_EMBEDDED = {"policy": "reference", "line": "line_reference", "catalogue": "products"}
_EMBEDDED |= {"actions": "advice"}


@policy.command("lint")
def lint_files(files: FilesArgument, on: OnOption = "", form: FormatOption = Format.TEXT) -> None:
    """Check rule files, alone, together, and against the law; tell all findings at once."""
    found = lint([(read_text(path), str(path)) for path in files], day_of(on))
    if form is Format.JSON:
        emit([_file(one) for one in found])
        return
    for one in found:
        typer.echo(f"{one.rule.source}: {one.kind}, {one.title}, {one.rule.digest[:12]}, in order")


@policy.command()
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
        view: dict[str, Any] = {"kind": new.kind, "before": _file(old), "after": _file(new)}
        view["differences"] = [one.to_mapping() for one in found]
        emit(view | ({"lines": swaps.to_mapping()} if swaps else {}))
        return
    _print_diff(old, new, found, swaps, digits)


@policy.command()
def show(
    kind: Annotated[str, typer.Argument(help="One kind: print its text as it is.")] = "",
    on: OnOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    files: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print what is in force, what is to come, and what waits for approval."""
    with open_rules(federation, store, files) as opened, opened.store.read() as db:
        day = day_of(on) if on else opened.terms.today
        sources = sources_in_force(db, day, opened.terms.opening)
        plan = schedule(db)
        waiting = [
            one for state in ("proposed", "approved") for one in approvals_in(db, state, count=1000)
        ]
        stopped = paused(db)
    if kind:
        _print_text(kind, sources, form)
        return
    dates = {one.digest: one.since for one in plan if one.since <= day}
    rows = [_in_force(name, sources[name], dates) for name in _shown(sources)]
    coming = [asdict(one) | {"since": str(one.since)} for one in plan if one.since > day]
    view = {
        "day": str(day),
        "in_force": rows,
        "to_come": coming,
        "waiting": [_waiting(one) for one in waiting],
        "increases_paused": stopped.paused,
    }
    if form is Format.JSON:
        emit(view)
    else:
        _print_show(view)


@policy.command("history")
def show_history(
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    files: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print everything that was ever activated: from when, by whom, and why."""
    with open_rules(federation, store, files) as opened, opened.store.read() as db:
        entries = history(db)
    if form is Format.JSON:
        emit([_entry(one) for one in entries])
        return
    for one in entries:
        what = one.activation
        typer.echo(
            f"{one.activated_at:%Y-%m-%d %H:%M}Z  {what.kind} {what.title} ({what.digest[:12]}) "
            f"from {what.since}: {one.proposer} proposed, {one.approver} approved: {one.reason}"
        )
    if not entries:
        typer.echo("nothing was ever activated: the reference holds")


def day_of(text: str) -> date:
    """Return a day that was written, or today.

    Raises
    ------
    UsageError
        If it is no day.
    """
    try:
        return date.fromisoformat(text or utc_now()[:10])
    except ValueError as error:
        raise UsageError(f"{text!r} is no day", hint="write it as 2026-01-31") from error


def _other(before: str, new: RuleFile) -> RuleFile:
    if before != _REFERENCE:
        return read_all([(read_text(Path(before)), before)])[0]
    name = f"pack_{new.subject.replace('-', '_')}" if new.subject else new.kind
    try:
        text, source = embedded(_EMBEDDED.get(name, name))
    except FileNotFoundError as error:
        raise UsageError(f"there is no reference of kind {new.kind}") from error
    return reread(new.kind, RuleText.of(text, source))


def _file(one: RuleFile) -> dict[str, Any]:
    return {
        "file": one.rule.source,
        "kind": one.kind,
        "title": one.title,
        "digest": one.rule.digest,
    }


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
    typer.echo(f"  in all {_money(caps.volume_change_minor, digits, sign='+')}")
    typer.echo(f"after a review today: {_moved(found.reviewed, digits)}")
    if found.failed:
        typer.echo(f"{found.failed} lines cannot be decided on by one of the two")


def _moved(moves: Moves, digits: int) -> str:
    return (
        f"{moves.higher} higher (by {_money(moves.up_minor, digits)}, at most "
        f"{_money(moves.most_up_minor, digits)}), {moves.lower} lower (by "
        f"{_money(moves.down_minor, digits)}, at most {_money(moves.most_down_minor, digits)}), "
        f"{moves.same} the same"
    )


def _money(minor: int, digits: int, sign: str = "") -> str:
    return f"{Decimal(minor).scaleb(-digits):{sign},.{digits}f}"


def _shown(sources: Mapping[str, RuleText]) -> list[str]:
    return [kind for kind in KINDS if kind in sources]


def _in_force(kind: str, rule: RuleText, dates: Mapping[str, date]) -> dict[str, Any]:
    since = dates.get(rule.digest)
    return {
        "kind": kind,
        "title": reread(kind, rule).title,
        "digest": rule.digest,
        "since": None if since is None else str(since),
    }


def _waiting(one: Approval) -> dict[str, Any]:
    return {
        "id": one.id,
        "kind": one.kind,
        "state": one.state,
        "proposer": one.proposer,
        "reason": one.reason,
        "expires_at": one.expires_at.isoformat(),
        "files": list(one.payload.get("files", [])),
    }


def _entry(one: Entry) -> dict[str, Any]:
    what = asdict(one.activation) | {"since": str(one.activation.since)}
    who = {"proposer": one.proposer, "approver": one.approver, "reason": one.reason}
    return {**what, **who, "activated_at": one.activated_at.isoformat()}


def _print_text(kind: str, sources: Mapping[str, RuleText], form: Format) -> None:
    if kind not in sources:
        raise UsageError(f"there is no rule of kind {kind!r}", hint=", ".join(_shown(sources)))
    rule = sources[kind]
    if form is Format.JSON:
        emit({"kind": kind, "source": rule.source, "digest": rule.digest, "text": rule.text})
    else:
        typer.echo(rule.text, nl=False)


def _print_show(view: Mapping[str, Any]) -> None:
    typer.echo(f"in force on {view['day']}")
    for row in view["in_force"]:
        since = f"since {row['since']}" if row["since"] else "from the start"
        typer.echo(f"  {row['kind']:<11} {row['title']:<32} {row['digest'][:12]}  {since}")
    for row in view["to_come"]:
        typer.echo(f"to come: {row['kind']} {row['title']} from {row['since']}")
    for row in view["waiting"]:
        what = ", ".join(f"{one['kind']} {one['title']}" for one in row["files"]) or row["kind"]
        typer.echo(f"waits: {row['id']} {what}, by {row['proposer']}: {row['reason']}")
    if view["increases_paused"]:
        typer.echo("increases are paused: confide policy resume")
