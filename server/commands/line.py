"""`confide line`: credit lines as an operator sees them, and what a person may decide on one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import Connection

from server.accounts.desk import Desk
from server.accounts.keeping import Decided
from server.accounts.lineview import line_view
from server.accounts.opening import open_line
from server.accounts.reviewing import decide_line
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
    money,
    person,
)
from server.commands.desks import opened_desk
from server.store.lines import StoredLine, lines_of, page_of_lines
from shared.errors import UsageError

line = typer.Typer(no_args_is_help=True, help="Credit lines, and what a person decides on one.")

IdArgument = Annotated[str, typer.Argument(help="Id of the line; `confide line list`.")]


@line.command("list")
def list_lines(
    customer: Annotated[str, typer.Option(help="A customer's lines, closed ones too.")] = "",
    after: Annotated[str, typer.Option(help="Begin behind this id.")] = "",
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Lines at most.")] = 100,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """List open lines, or all lines of a customer."""
    with opened_desk(federation, store, policy) as desk, desk.store.read() as db:
        if customer:
            rows = [one for one in lines_of(db, customer) if one.id > after][:count]
        else:
            rows = page_of_lines(db, after=after, count=count)
        digits = desk.rules.policy.minor_digits
    if form is Format.JSON:
        emit([_row(one) for one in rows])
        return
    for one in rows:
        typer.echo(
            f"{one.id}  {one.product:<20} {one.state:<12} "
            f"limit {money(one.totals.limit_minor, digits):>12}  "
            f"owed {money(one.totals.outstanding_minor, digits):>12}  v{one.version}"
        )
    if not rows:
        typer.echo("no line")


@line.command()
def show(
    line_id: IdArgument,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show a line: what can be drawn, what binds, what is due, what it waits for."""
    from server.api.shapes.lines import Line  # noqa: PLC0415 - its library takes time to load

    with opened_desk(federation, store, policy) as desk, desk.store.read() as db:
        now = desk.clock()
        digits = desk.follow(db, now).policy.minor_digits
        view = Line.seen(line_view(desk, db, line_id, now)).model_dump(mode="json")
    if form is Format.JSON:
        emit(view)
    else:
        _print_line(view, digits)


@line.command("open")
def open_one(
    customer: Annotated[str, typer.Argument(help="The customer's pseudonym.")],
    by: ByOption,
    product: Annotated[str, typer.Option(help="Of the catalogue.")] = "revolving_consumer",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Open a line for a customer who gave consent, or say why there is none."""
    with opened_desk(federation, store, policy) as desk:
        now = desk.clock()
        with desk.store.write() as db:
            desk.follow(db, now)
            done = open_line(desk, db, customer, product, now, person(by))
        _tell(done, form, desk.rules.policy.minor_digits)


@line.command()
def review(
    line_id: IdArgument,
    by: ByOption,
    reason: WhyOption = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Review a line now; before its day a review may lower, but raises nothing."""
    _decide(federation, store, policy, form, line_id, "review", by, reason)


@line.command()
def freeze(
    line_id: IdArgument,
    by: ByOption,
    reason: WhyOption,
    cause: Annotated[str, typer.Option(help="fraud or purpose.")] = "fraud",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Stop draws at once; repaying stays possible."""
    if cause not in {"fraud", "purpose"}:
        raise UsageError("--cause must be fraud or purpose")
    _decide(federation, store, policy, form, line_id, f"freeze_{cause}", by, _said(reason))


@line.command()
def release(
    line_id: IdArgument,
    by: ByOption,
    reason: WhyOption,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """End a freeze for fraud or a purpose, after a person has looked into it."""
    _decide(federation, store, policy, form, line_id, "release", by, _said(reason))


@line.command()
def temporary(
    line_id: IdArgument,
    amount_minor: Annotated[
        int, typer.Argument(help="On top of the limit, in minor units.", min=1)
    ],
    by: ByOption,
    reason: WhyOption,
    until: Annotated[str, typer.Option(help="Last day, as 2026-01-31.")] = "",
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Add an amount for an emergency that falls away by itself."""
    more = {"limit_minor": amount_minor, "until": day_if(until)}
    _decide(federation, store, policy, form, line_id, "temporary", by, _said(reason), more)


@line.command()
def close(
    line_id: IdArgument,
    by: ByOption,
    reason: WhyOption,
    federation: FederationOption = DEFAULT_FEDERATION,
    store: StoreOption = "",
    policy: PolicyOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Close a line; while something is owed, it only lets nothing be drawn."""
    _decide(federation, store, policy, form, line_id, "close", by, _said(reason))


def _decide(
    federation: Path,
    store: str,
    policy: Path | None,
    form: Format,
    line_id: str,
    purpose: str,
    by: str,
    reason: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Decide on a line by a person's word, and tell what came of it.

    Raises
    ------
    ConfideError
        See `server.accounts.reviewing.decide_line`.
    """

    def work(desk: Desk, db: Connection) -> Decided:
        now = desk.clock()
        desk.follow(db, now)
        return decide_line(desk, db, line_id, purpose, now, person(by), note=reason, **(more or {}))

    _run(federation, store, policy, form, work)


def _run(
    federation: Path,
    store: str,
    policy: Path | None,
    form: Format,
    work: Callable[[Desk, Connection], Decided],
) -> None:
    with opened_desk(federation, store, policy) as desk:
        with desk.store.write() as db:
            done = work(desk, db)
        _tell(done, form, desk.rules.policy.minor_digits)


def _said(reason: str) -> str:
    """Return a reason, which must be one.

    Raises
    ------
    UsageError
    """
    if not reason.strip():
        raise UsageError("--reason must say why")
    return reason


def _tell(done: Decided, form: Format, digits: int) -> None:
    if form is Format.JSON:
        from server.api.shapes.decisions import LimitDecision  # noqa: PLC0415 - as in `show`

        emit(LimitDecision.of(done).model_dump(mode="json"))
        return
    kept, found = done.decision, done.line
    where = f"{found.id} is {found.state}" if found else "no line is opened"
    old, new = (money(one, digits) for one in (done.old_minor, done.new_minor))
    moved = f"limit stays {new}" if old == new else f"limit {old} becomes {new}"
    typer.echo(f"{kept.purpose}: {where}, {moved} (decision {kept.id})")
    for reason in done.reasons:
        note = " (not about the customer)" if reason.family == "outside" else ""
        typer.echo(f"  {reason.code}{note}")


def _print_line(view: Mapping[str, Any], digits: int) -> None:
    typer.echo(
        f"{view['line_id']}  {view['product']}, {view['state']}, version {view['version']}\n"
        f"limit {money(view['effective_limit_minor'], digits)} of "
        f"{money(view['approved_limit_minor'], digits)} agreed, "
        f"available {money(view['available_minor'], digits)} {view['currency']}"
    )
    for term in view["waterfall"]:
        mark = "<- binds" if term["binds"] else ""
        typer.echo(f"  {term['name']:<18} {money(term['amount_minor'], digits):>14}  {mark}")
    if view["next_due"]:
        due = view["next_due"]
        typer.echo(f"due {due['due_on']}: {money(due['amount_minor'], digits)}")
    if view["days_past_due"]:
        typer.echo(f"{view['days_past_due']} days past due")
    for one in view["observation"]:
        typer.echo(f"{one['rule']}: {one['progress']} clean, not before {one['earliest_exit']}")
    for one in view["lender_disclosure"]:
        typer.echo(f"lent by {one['partner_id']}: {money(one['open_minor'], digits)}")
    typer.echo(f"next review {view['next_review_on'] or 'none'}")


def _row(one: StoredLine) -> dict[str, Any]:
    from server.api.shapes.lines import LineRow  # noqa: PLC0415 - as in `show`

    return LineRow.of(one).model_dump(mode="json")
