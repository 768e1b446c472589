"""`confide review`: the nightly reviews of all lines, that can be cut off and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from typing import Annotated

import typer

from server.accounts import picturing
from server.accounts.desk import Desk
from server.accounts.nightly import PAGE, review_due
from server.accounts.nights import Night
from server.commands.common import (
    DEFAULT_FEDERATION,
    FederationOption,
    Format,
    FormatOption,
    PolicyOption,
    StoreOption,
    day_if,
    emit,
)
from server.commands.desks import opened_desk
from server.store import people
from server.store.lease import lease
from shared.errors import Conflict

review = typer.Typer(no_args_is_help=True, help="Reviews of all lines that are due.")
_JOB = "nightly-review"
_TOLD = ("reviewed", "raised", "lowered", "offered", "frozen", "aged", "closed", "failed")


@review.command("run")
def run_reviews(
    day: Annotated[
        str, typer.Option("--day", help="The local day; a guard: another day is refused.")
    ] = "",
    page: Annotated[int, typer.Option(min=1, max=2000, help="Lines a transaction.")] = PAGE,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Age every line and review those that are due, once a night however often it is started."""
    guard = day_if(day)
    with opened_desk(federation, store, policy) as desk, lease(desk.store, _JOB):
        today = desk.today(desk.clock())
        with desk.store.read() as db:
            known = people.run_of(db, (guard or today).isoformat())
        over = known is not None and known["done_at"] is not None
        night = review_due(desk, guard, page=page, told=_progress(form, over=over))
        if not over:
            with suppress(Conflict):  # another process counts at this moment
                _count(desk, form)
    if form is Format.JSON:
        emit({**asdict(night), "day": str(night.day), "nothing_to_do": over})
    else:
        _print(night, over=over)
    if night.failures:
        raise typer.Exit(1)


@review.command("count")
def count_portfolio(
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Count the figures of the portfolio that pages show; `run` does it after each night."""
    with opened_desk(federation, store, policy) as desk:
        _count(desk, form)
        day = str(desk.today(desk.clock()))
    if form is Format.JSON:
        emit({"day": day, "counted": True})
    else:
        typer.echo(f"{day}: the portfolio is counted")


def _count(desk: Desk, form: Format) -> None:
    def told(done: int, every: int) -> None:
        typer.echo(f"{done} of {every} lines counted", err=True)

    picturing.count(desk, None if form is Format.JSON else told)


def _progress(form: Format, *, over: bool) -> Callable[[Night], None] | None:
    """Return what tells of each page on stderr; nobody, where there is nothing to do."""
    if over or form is Format.JSON:
        return None

    def told(night: Night) -> None:
        seen, reviewed = night.counts["seen"], night.counts["reviewed"]
        typer.echo(f"page {night.pages}: {seen} lines seen, {reviewed} reviewed", err=True)

    return told


def _print(night: Night, *, over: bool) -> None:
    if over:
        typer.echo(f"{night.day}: there was nothing to do, the run of this day is over")
        return
    begun = ", taken up where another run ended" if night.resumed else ""
    typer.echo(f"{night.day}: {night.counts['seen']} lines seen{begun}")
    typer.echo("  " + ", ".join(f"{night.counts[name]} {name}" for name in _TOLD))
    for line_id, code in night.failures:
        typer.echo(f"  {line_id} failed: {code}", err=True)
