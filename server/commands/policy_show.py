"""`confide policy show` and `history`: what is in force, what is to come, and who let it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date
from typing import Annotated, Any

import typer

from server.accounts.pausing import paused
from server.accounts.policies import sources_in_force
from server.accounts.rule_lint import reread
from server.accounts.rules import RuleText
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    PolicyOption,
    StoreOption,
    emit,
)
from server.commands.policy import OnOption, day_of
from server.commands.rule_store import open_rules
from server.limits.checks.rule_kinds import KINDS
from server.store import rulebook
from server.store.approvals import Approval, approvals_in
from server.store.rulebook import Entry
from shared.errors import UsageError


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
        plan = rulebook.schedule(db)
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


def history(
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    files: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Print everything that was ever activated: from when, by whom, and why."""
    with open_rules(federation, store, files) as opened, opened.store.read() as db:
        entries = rulebook.history(db)
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
