"""`confide policy` where people decide: activate, approve, reject, pause and resume increases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts import activating, pausing
from server.accounts.activating import Change
from server.commands.common import (
    DEFAULT_FEDERATION,
    ByOption,
    FederationOption,
    Format,
    FormatOption,
    PolicyOption,
    StoreOption,
    WhyOption,
    day_if,
    emit,
    person,
)
from server.commands.rule_store import RuleStore, open_rules
from server.store import approvals
from server.store.approvals import Approval
from shared.edge.files import read_text
from shared.errors import NotFound

IdArgument = Annotated[str, typer.Argument(help="Id of a proposal; `confide policy show`.")]


def activate(
    files: Annotated[list[Path], typer.Argument(help="Rule files of any kind.")],
    by: ByOption,
    reason: WhyOption,
    since: Annotated[
        str,
        typer.Option(
            "--from", help="First day, as 2026-01-31.  [default: the file's own, or today]"
        ),
    ] = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Propose that rule files come into force; another person approves them."""
    named = [(read_text(path), path.name) for path in files]
    with open_rules(federation, store, policy) as opened:
        change = Change(named, day_if(since), person(by), reason)
        with opened.store.write() as db:
            asked = activating.propose(db, change, opened.terms, opened.now)
    if form is Format.JSON:
        emit({"id": asked.id, "state": asked.state, **asked.payload})
        return
    for one in asked.payload["files"]:
        typer.echo(f"{one['kind']} {one['title']} ({one['digest'][:12]}) from {one['since']}")
    typer.echo(f"another person approves it: confide policy approve {asked.id} --by NAME")


def approve(
    proposal: IdArgument,
    by: ByOption,
    answer: Annotated[str, typer.Option("--answer", help="What the approver says.")] = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Approve what another person proposed; it comes into force on its day."""
    with open_rules(federation, store, policy) as opened:
        with opened.store.read() as db:
            found = approvals.get_approval(db, proposal)
        done = _approved(opened, found, person(by), answer)
    if form is Format.JSON:
        emit({"id": proposal, "kind": found.kind, "done": done})
        return
    for one in done:
        typer.echo(one["told"])


def reject(
    proposal: IdArgument,
    by: ByOption,
    reason: WhyOption,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Reject what another person proposed."""
    with open_rules(federation, store, policy) as opened, opened.store.write() as db:
        _known(approvals.get_approval(db, proposal))
        found = approvals.decide(db, proposal, person(by), opened.now, approve=False, answer=reason)
    if form is Format.JSON:
        emit({"id": found.id, "state": found.state})
    else:
        typer.echo(f"{found.id} is rejected; nothing changed")


def pause(
    by: ByOption,
    reason: WhyOption,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Pause all increases at once; one person may, for it takes nothing from anybody."""
    with open_rules(federation, store, policy) as opened, opened.store.write() as db:
        pausing.set_pause(db, paused=True, by=person(by), reason=reason, now=opened.now)
    if form is Format.JSON:
        emit({"increases_paused": True})
    else:
        typer.echo("no limit is raised from now on; existing limits stay as they are")


def resume(
    by: ByOption,
    reason: WhyOption,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Propose that increases go on; another person approves it."""
    with open_rules(federation, store, policy) as opened, opened.store.write() as db:
        asked = pausing.propose_resume(db, person(by), reason, opened.now)
    if form is Format.JSON:
        emit({"id": asked.id, "state": asked.state})
    else:
        typer.echo(f"another person approves it: confide policy approve {asked.id} --by NAME")


def _approved(opened: RuleStore, found: Approval, by: str, answer: str) -> list[dict[str, Any]]:
    """Approve a proposal by its kind; return what came of it, each with a sentence."""
    _known(found)
    with opened.store.write() as db:
        if found.kind == pausing.PAUSE:
            approvals.decide(db, found.id, by, opened.now, approve=True, answer=answer)
            pausing.apply_pause(db, found.id, opened.now)
            return [{"kind": pausing.PAUSE, "told": "increases go on"}]
        rows = activating.approve(db, found.id, by, answer, opened.terms, opened.now)
    return [
        {
            "kind": one.kind,
            "title": one.title,
            "digest": one.digest,
            "since": str(one.since),
            "told": f"{one.kind} {one.title} is in force from {one.since} on",
        }
        for one in rows
    ]


def _known(found: Approval) -> None:
    """Check that a proposal is one of rules.

    Raises
    ------
    NotFound
    """
    if found.kind not in {activating.APPROVAL, pausing.PAUSE}:
        raise NotFound(
            "there is no proposal of rules of that id", hint=f"that one is of kind {found.kind}"
        )
