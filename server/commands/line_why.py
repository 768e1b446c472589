"""`confide line why`: why a limit is not higher, why it is not back, and what would help."""

from __future__ import annotations

from typing import Annotated

import typer

from server.accounts import answering
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    PolicyOption,
    StoreOption,
    emit,
)
from server.commands.desks import opened_desk
from server.commands.line import IdArgument
from server.limits.words.explain import LANGUAGES


def why(
    line_id: IdArgument,
    language: Annotated[str, typer.Option(help=f"One of {', '.join(LANGUAGES)}.")] = "en",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Say why a limit is not higher, why it is not back, and what would help."""
    with opened_desk(federation, store, policy) as desk, desk.store.read() as db:
        now = desk.clock()
        desk.follow(db, now)
        told = answering.why(desk, db, line_id, language, now)
    if form is Format.JSON:
        emit(told)
        return
    typer.echo(told["headline"])
    for one in told["reasons"]:
        typer.echo(f"  {one['code']:<18} {one['text']}")
    for one in told["not_about_you"]:
        typer.echo(f"  {one['code']:<18} {one['text']} (not about you)")
    for one in told["why_low"]["path"]:
        typer.echo(f"  {one['text']}")
    cut = told["why_low"]["last_cut"]
    if cut is not None:
        typer.echo(" ".join([cut["text"], *(one["text"] for one in cut["reasons"])]))
    typer.echo(" ".join(told["why_not_back"]["at_once"]["text"]))
    way = told["why_not_back"]["restoration"]
    if way is not None:
        typer.echo(" ".join(way["text"]))
        for step in way["steps"]:
            typer.echo(f"  {step['text']}")
    for one in told["advice"]:
        typer.echo(f"  {one['code']:<18} {one['action']} {one['result']}")
