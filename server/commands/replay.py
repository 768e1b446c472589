"""`confide replay`: a policy's rules played through, on a known story or on a simulated world."""

from __future__ import annotations

import typer

from server.commands import replay_challengers, replay_world
from server.commands.common import Format, FormatOption, emit
from server.commands.replay_common import LinePolicyOption, load_line_policy
from server.limits.line.golden import REPAID_ON, Row, Trace, frequent, run, stable, with_downturn

replay = typer.Typer(no_args_is_help=True, help="Try a policy's rules before they meet people.")
_LEGEND = (
    "A active, O observation, R reduced, RS restoring. B01 drew often, B02 went on, B03 at the",
    "floor, M01 the downturn, H01 clean reviews so far, R01 out of observation, R02 a step up,",
    "R03 restored. Both customers repaid everything on time; they and their money are invented.",
)


@replay.callback()
def root() -> None:
    """Try a policy's rules before they meet people."""


replay.command("world")(replay_world.world)
replay.command("recorded")(replay_world.recorded)
replay.command("frontier")(replay_world.frontier)
replay.command("challengers")(replay_challengers.challengers)
replay.command("report")(replay_world.report)
replay.command("customer")(replay_world.customer)


@replay.command()
def golden(line_policy: LinePolicyOption = None, form: FormatOption = Format.TEXT) -> None:
    """Print the limits of two punctual customers through twelve reviews and a downturn."""
    policy = with_downturn(load_line_policy(line_policy))
    traces = [run(customer, policy) for customer in (stable(), frequent())]
    if form is Format.JSON:
        emit({"policy": policy.name, "customers": [_plain(trace) for trace in traces]})
        return
    typer.echo(f"policy {policy.name}, limits in whole units after each review")
    typer.echo(f"{'cycle':>5} {'day':>4}  " + "  ".join(f"{_head(one):<43}" for one in traces))
    for rows in zip(*(trace.rows for trace in traces), strict=True):
        day = rows[0].cycle * 30
        typer.echo(f"{rows[0].cycle:>5} {day:>4}  " + "  ".join(map(_cells, rows)))
    for line in _LEGEND:
        typer.echo(line)


def _head(trace: Trace) -> str:
    return f"{trace.customer.name:<18} available, then day {REPAID_ON}"


def _cells(row: Row) -> str:
    drawn, repaid = row.available_drawn_minor // 100, row.available_repaid_minor // 100
    late = f" {row.days_past_due} days late" if row.days_past_due else ""
    return f"{row.cell:<18} {drawn:>9} {repaid:>9}{late}".ljust(43)


def _plain(trace: Trace) -> dict[str, object]:
    return {
        "name": trace.customer.name,
        "cycles": [row.to_mapping() for row in trace.rows],
        "events": [event.to_mapping() for event in trace.events],
    }
