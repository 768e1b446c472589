"""`confide replay world` and `customer`: a policy tried on people who live on with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from server.commands.common import Format, FormatOption, emit
from server.commands.replay_common import (
    CYCLE,
    AgainstLinePolicyOption,
    AgainstPolicyOption,
    AllocatedOption,
    EconomyOption,
    HoldersOption,
    LinePolicyOption,
    MonthsOption,
    PeopleOption,
    PolicyOption,
    SeedOption,
    arm_of,
    reaching,
    rules_of,
    tell,
)
from server.commands.replay_text import lines_of
from server.commands.report import Tongue
from server.limits.batch.columns import STATES
from server.replay import told
from server.replay.book import DAYS
from server.replay.evidence import gather
from server.replay.frontier import TIMES
from server.replay.frontier import frontier as play_frontier
from server.replay.play import (
    Arm,
    Setting,
    hindsight,
    learn,
    learn_on_lines,
    moments,
    play,
)
from server.replay.recorded import BEFORE, MONTHS, UNKNOWN, read_recorded
from shared.edge.clock import utc_now
from shared.edge.files import write_atomic
from shared.edge.workers import cores
from shared.errors import NotFound
from shared.world.chance import BLOCK, Span
from shared.world.economy import ECONOMIES
from shared.world.life import warm

_RECORDED = "Recorded months (UCI, 2005): nobody answers to a limit here, and incomes are assumed."


def world(
    people: PeopleOption = 20_000,
    months: MonthsOption = 24,
    seed: SeedOption = 1,
    economy: EconomyOption = CYCLE,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    holders: HoldersOption = None,
    allocated: AllocatedOption = 1.0,
    against_policy: AgainstPolicyOption = None,
    against_line_policy: AgainstLinePolicyOption = None,
    against_holders: Annotated[
        list[str] | None,
        typer.Option("--against-holder", help="Another card, of these holders alone."),
    ] = None,
    against_allocated: Annotated[
        float | None,
        typer.Option(min=0.01, max=1.0, help="With partners who fund more, or fewer."),
    ] = None,
    against_refresh: Annotated[
        bool,
        typer.Option(
            "--against-refresh", help="With a card, after a year, that learned from repaid lines."
        ),
    ] = False,
    processes: Annotated[
        int, typer.Option(min=0, max=256, help="0: one a core. The figures are the same.")
    ] = 0,
    form: FormatOption = Format.TEXT,
) -> None:
    """Let simulated people live with a policy, or with two of them, and count what comes of it."""
    first = arm_of("these rules", policy, line_policy, holders or [], seed)
    arms = [reaching(first, allocated)]
    differs = (against_policy, against_line_policy, against_holders, against_allocated)
    if any(differs) or against_refresh:
        other = against_policy or policy, against_line_policy or line_policy
        second = arm_of("the other rules", *other, against_holders or holders or [], seed)
        second = reaching(second, against_allocated or allocated)
        later = learn_on_lines(second, seed) if against_refresh else None
        arms.append(replace(second, refreshed=later))
    setting = Setting(people, months, seed, ECONOMIES[str(economy.value)], tuple(arms))
    outcome = play(setting, processes=processes or cores(), tell=tell)
    if form is Format.JSON:
        emit(told.mapping(outcome, tuple(arm.rules.name for arm in arms)))
        return
    for line in lines_of(outcome, tuple(arm.rules.name for arm in arms)):
        typer.echo(line)


def recorded(
    table: Annotated[Path, typer.Argument(help="UCI_Credit_Card.csv, packed or not.")],
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    allocated: AllocatedOption = 1.0,
    against_policy: AgainstPolicyOption = None,
    against_line_policy: AgainstLinePolicyOption = None,
    seed: SeedOption = 1,
    form: FormatOption = Format.TEXT,
) -> None:
    """Try a policy, or two of them, on six real months of 30,000 cards."""
    known = read_recorded(table)
    card = learn(seed, without=UNKNOWN)
    first, prices = rules_of("these rules", policy, line_policy)
    arms = [reaching(Arm(first, card, prices), allocated)]
    if against_policy or against_line_policy:
        other = against_policy or policy, against_line_policy or line_policy
        second, prices = rules_of("the other rules", *other)
        arms.append(reaching(Arm(second, card, prices), allocated))
    calm = ECONOMIES["calm"]
    setting = Setting(len(known), MONTHS - BEFORE, seed, calm, tuple(arms), known)
    outcome, names = play(setting), tuple(arm.rules.name for arm in arms)
    after = hindsight(setting, known.missed)
    if form is Format.JSON:
        emit({**told.mapping(outcome, names), "hindsight": list(after)})
        return
    for line in lines_of(outcome, names, _RECORDED):
        typer.echo(line)
    for name, one in zip(names, after, strict=True):
        shares = [one[f"{those}_missed"] / max(one[those], 1) for those in ("fell", "kept")]
        typer.echo(
            f"{name}: {one['fell']:,} limits fell, and {shares[0]:.1%} of those people missed the "
            f"payment of the month after; {one['kept']:,} did not, {shares[1]:.1%}."
        )


def frontier(
    people: PeopleOption = 20_000,
    months: MonthsOption = 24,
    seed: SeedOption = 1,
    economy: EconomyOption = CYCLE,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    times: Annotated[
        list[float] | None,
        typer.Option("--times", min=0.01, help="Of the loss a line may cost; again for more."),
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show what more risk would bring: profit against loss, for several bounds on expected loss."""
    arm = arm_of("", policy, line_policy, [], seed)
    setting = Setting(people, months, seed, ECONOMIES[str(economy.value)], (arm,))
    wanted = sorted(set(times or TIMES))
    points = play_frontier(setting, wanted, processes=cores(), tell=tell)
    if form is Format.JSON:
        emit({"points": [asdict(one) for one in points]})
        return
    yearly = "lost a year"
    typer.echo(f"{'times':>6}{'have a line':>13}{'limit':>9}{yearly:>13}{'profit a month':>16}")
    for point in points:
        row = point.summary
        typer.echo(
            f"{point.times:>6g}{row['approved']:>13.1%}{row['limit_minor'] / 100:>9,.0f}"
            f"{row['loss_rate']:>13.2%}{row['profit_total_minor'] / 100 / months:>16,.0f}"
            + ("" if point.efficient else "  beaten by another")
        )


def report(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path(
        "replay.html"
    ),
    people: PeopleOption = 20_000,
    months: MonthsOption = 24,
    seed: SeedOption = 1,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    lang: Annotated[Tongue, typer.Option(help="Language of the report.")] = Tongue.EN,
    form: FormatOption = Format.TEXT,
) -> None:
    """Answer the questions of borrowers from a replay, as one HTML file with pictures."""
    from server.report.evidence import evidence_of  # noqa: PLC0415 - templates take a moment

    rules, prices = rules_of("these rules", policy, line_policy)
    found = gather(
        rules,
        prices,
        people=people,
        months=months,
        seed=seed,
        processes=cores(),
        tell=tell,
    )
    again = f"confide replay report --people {people} --months {months} --seed {seed}"
    again += "".join(
        f" --{name} {path}"
        for name, path in (("policy", policy), ("line-policy", line_policy))
        if path
    )
    raw = evidence_of(found, lang.value, utc_now(), again).encode()
    write_atomic(output, raw)
    if form is Format.JSON:
        arms = {name: told.summary(figures) for name, figures in found.figures.items()}
        emit({"report": str(output.absolute()), "bytes": len(raw), "arms": arms})
        return
    typer.echo(f"{output}: {len(raw):,} bytes; nobody in it is real")


def customer(
    number: Annotated[int, typer.Argument(min=0, help="Which of the people, from 0.")],
    months: MonthsOption = 24,
    seed: SeedOption = 1,
    economy: EconomyOption = CYCLE,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    holders: HoldersOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show one of the people month by month: the limit, what is owed, and every reason."""
    arm = arm_of("these rules", policy, line_policy, holders or [], seed)
    setting = Setting(number + 1, months, seed, ECONOMIES[str(economy.value)], (arm,))
    rows = list(_months_of(setting, number))
    if form is Format.JSON:
        emit({"customer": number, "months": rows})
        return
    typer.echo(f"{'month':>5} {'day':>5} {'limit':>9} {'owed':>9}  late  state and reasons")
    for row in rows:
        limit, owed = row["limit_minor"] // 100, row["owed_minor"] // 100
        typer.echo(
            f"{row['month']:>5} {row['month'] * DAYS:>5} {limit:>9,} {owed:>9,} "
            f"{row['behind']:>5}  {row['state']} {' '.join(row['codes'])}"
        )


def _months_of(setting: Setting, number: int) -> Iterator[dict[str, Any]]:
    """Yield a customer's months.

    Raises
    ------
    NotFound
        If the rules give that customer no line.
    """
    block, place = divmod(number, BLOCK)
    span = Span(block, block * BLOCK, number + 1)
    start = warm(span, setting.seed)
    for one in moments(setting, span, start, setting.arms[0]):
        at = one.book.rows.searchsorted(place)
        if at == len(one.book) or one.book.rows[at] != place:
            raise NotFound(f"customer {number} has no line under these rules")
        assert one.book.reviewed is not None
        yield {
            "month": one.life.number,
            "limit_minor": int(one.book.lines.effective_limit_minor[at]),
            "owed_minor": round(float(one.life.line.bill[place])),
            "behind": int(one.life.line.late[place]),
            "state": STATES[int(one.book.lines.state[at])].value,
            "codes": list(one.book.reviewed.codes_of(int(at))),
        }
