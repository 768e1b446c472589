"""`confide replay world` and `customer`: a policy tried on people who live on with it."""

from __future__ import annotations

import enum
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from server.accounts.scores import load_policy
from server.commands.common import Format, FormatOption, emit
from server.commands.report import Tongue
from server.limits.batch.columns import STATES
from server.replay import told
from server.replay.book import DAYS, Rules
from server.replay.card import FEATURES
from server.replay.evidence import gather
from server.replay.figures import Prices, prices_of
from server.replay.frontier import TIMES
from server.replay.frontier import frontier as play_frontier
from server.replay.play import (
    Arm,
    Outcome,
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
from shared.errors import NotFound, UsageError
from shared.world.chance import BLOCK, Span
from shared.world.economy import ECONOMIES
from shared.world.life import warm

EconomyName = enum.StrEnum("EconomyName", {name.upper(): name for name in ECONOMIES})  # type: ignore[misc]
HOLDERS = tuple(dict.fromkeys(one.owner for one in FEATURES))

_NOBODY_IS_REAL = "Nobody here is real: people, money and economy are simulated."
_RECORDED = "Recorded months (UCI, 2005): nobody answers to a limit here, and incomes are assumed."

PeopleOption = Annotated[int, typer.Option(min=1, max=100_000_000, help="People in the world.")]
MonthsOption = Annotated[int, typer.Option(min=1, max=240, help="Months with a line.")]
SeedOption = Annotated[int, typer.Option(min=0, max=2**64 - 1, help="The same seed, the same.")]
EconomyOption = Annotated[EconomyName, typer.Option(help="What falls to everybody at once.")]
PolicyOption = Annotated[
    Path | None, typer.Option("--policy", help="A limit policy; without one, the reference.")
]
LinePolicyOption = Annotated[
    Path | None,
    typer.Option("--line-policy", help="A policy of a line's life; without one, the reference."),
]
HoldersOption = Annotated[
    list[str] | None,
    typer.Option("--holder", help="The card learns from these alone; again for more."),
]
AllocatedOption = Annotated[
    float,
    typer.Option(
        min=0.01, max=1.0, help="Share of what the caps allow that the own budget reaches for."
    ),
]
_CYCLE = EconomyName.CYCLE  # type: ignore[attr-defined]


def world(
    people: PeopleOption = 20_000,
    months: MonthsOption = 24,
    seed: SeedOption = 1,
    economy: EconomyOption = _CYCLE,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    holders: HoldersOption = None,
    allocated: AllocatedOption = 1.0,
    against_policy: Annotated[
        Path | None, typer.Option(help="Another limit policy, on the same people.")
    ] = None,
    against_line_policy: Annotated[
        Path | None, typer.Option(help="Another policy of a line's life.")
    ] = None,
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
    first = _arm("these rules", policy, line_policy, holders or [], seed)
    arms = [reaching(first, allocated)]
    differs = (against_policy, against_line_policy, against_holders, against_allocated)
    if any(differs) or against_refresh:
        other = against_policy or policy, against_line_policy or line_policy
        second = _arm("the other rules", *other, against_holders or holders or [], seed)
        second = reaching(second, against_allocated or allocated)
        later = learn_on_lines(second, seed) if against_refresh else None
        arms.append(replace(second, refreshed=later))
    setting = Setting(people, months, seed, ECONOMIES[str(economy.value)], tuple(arms))
    outcome = play(setting, processes=processes or cores(), tell=_tell)
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
    against_policy: Annotated[
        Path | None, typer.Option(help="Another limit policy, on the same people.")
    ] = None,
    against_line_policy: Annotated[
        Path | None, typer.Option(help="Another policy of a line's life.")
    ] = None,
    seed: SeedOption = 1,
    form: FormatOption = Format.TEXT,
) -> None:
    """Try a policy, or two of them, on six real months of 30,000 cards."""
    known = read_recorded(table)
    card = learn(seed, without=UNKNOWN)
    first, prices = _rules("these rules", policy, line_policy)
    arms = [reaching(Arm(first, card, prices), allocated)]
    if against_policy or against_line_policy:
        other = against_policy or policy, against_line_policy or line_policy
        second, prices = _rules("the other rules", *other)
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
    economy: EconomyOption = _CYCLE,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    times: Annotated[
        list[float] | None,
        typer.Option("--times", min=0.01, help="Of the loss a line may cost; again for more."),
    ] = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show what more risk would bring: profit against loss, for several bounds on expected loss."""
    arm = _arm("", policy, line_policy, [], seed)
    setting = Setting(people, months, seed, ECONOMIES[str(economy.value)], (arm,))
    wanted = sorted(set(times or TIMES))
    points = play_frontier(setting, wanted, processes=cores(), tell=_tell)
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


def reaching(arm: Arm, allocated: float) -> Arm:
    """Return an arm whose budget reaches for a share of what the caps allow."""
    return replace(arm, rules=replace(arm.rules, allocated=Decimal(str(allocated))))


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

    rules, prices = _rules("these rules", policy, line_policy)
    found = gather(
        rules,
        prices,
        people=people,
        months=months,
        seed=seed,
        processes=cores(),
        tell=_tell,
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
    economy: EconomyOption = _CYCLE,
    policy: PolicyOption = None,
    line_policy: LinePolicyOption = None,
    holders: HoldersOption = None,
    form: FormatOption = Format.TEXT,
) -> None:
    """Show one of the people month by month: the limit, what is owed, and every reason."""
    arm = _arm("these rules", policy, line_policy, holders or [], seed)
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


def lines_of(
    outcome: Outcome, names: tuple[str, ...], ends: str = _NOBODY_IS_REAL
) -> Iterator[str]:
    """Yield the lines of a report."""
    heads = [f"{name:>16}" for name in names]
    yield f"{'':<34}" + "".join(heads)
    columns = [told.summary(figures) for figures in outcome.figures]
    for level, rows in told.LEVELS.items():
        yield level
        for name, form in rows:
            cells = "".join(f"{_cell(column[name], form):>16}" for column in columns)
            yield f"  {_LABELS[name]:<32}{cells}"
    for name, figures in zip(names, outcome.figures, strict=True):
        yield ""
        yield f"{name}, whoever was never late"
        yield f"{'':<34}" + "".join(f"{head:>13}" for head in _PUNCTUAL)
        for group, one in figures.groups.items():
            lines = max(one["lines"], 1.0)
            first, last = one["first_minor"] / lines / 100, one["last_minor"] / lines / 100
            whole = one["whole"] / lines
            yield f"  {group:<32}{one['lines']:>13,.0f}{first:>13,.0f}{last:>13,.0f}{whole:>13.1%}"
        yield ""
        yield f"{name}, by the grade that a line was opened in"
        yield f"{'':<34}" + "".join(f"{head:>13}" for head in _GRADES)
        for grade, one in figures.grades.items():
            lines = max(one["opened"], 1.0)
            yield (
                f"  {grade:<32}{one['opened']:>13,.0f}{one['last']:>13,.0f}"
                f"{one['whole'] / lines:>13.1%}{one['defaults'] / lines:>13.1%}"
            )
        yield ""
        yield f"{name}, by month"
        yield f"{'month':>6}{'lines':>10}{'limit':>10}" + "".join(
            f"{head:>9}" for head in ("used", "late", "lowered", "raised")
        )
        for row in told.months_of(figures):
            if row["month"] == 1 or row["month"] % 3 == 0:
                yield (
                    f"{row['month']:>6.0f}{row['lines']:>10,.0f}{row['limit_minor'] / 100:>10,.0f}"
                    f"{row['utilisation']:>9.1%}{row['late']:>9.1%}{row['lowered']:>9.1%}"
                    f"{row['raised']:>9.1%}"
                )
    if outcome.swap.cells:
        yield ""
        yield from _swap(outcome.swap.cells, names)
    yield ""
    yield ends


_PUNCTUAL = ("lines", "first limit", "last limit", "kept whole")
_GRADES = ("opened", "at the end", "kept whole", "in default")
_LABELS = {
    "people": "people",
    "approved": "have a line",
    "limit_minor": "mean limit at the end",
    "utilisation": "share of the limits that is used",
    "unmet_minor": "wanted and not had, a month",
    "lowered": "limits lowered, a month",
    "lowered_punctual": "of them with nothing overdue",
    "raised": "limits raised, a month",
    "restored": "cut limits that came back",
    "median_months": "after months, the median",
    "defaults": "lines in default by the end",
    "loss_rate": "lost of what is owed, a year",
    "expected_loss_rate": "expected to be lost",
    "profit_minor": "profit a line and month",
    "in_use": "lines still in use at the end",
    "late": "lines overdue, in a month",
    "elsewhere_minor": "owed elsewhere at the end",
}


def _cell(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    if form == "share":
        return f"{value:.2%}"
    if form == "money":
        return f"{value / 100:,.0f}"
    return f"{value / 100:,.2f}" if form == "cents" else f"{value:,.0f}"


def _swap(cells: Mapping[str, Mapping[str, float]], names: tuple[str, ...]) -> Iterator[str]:
    first, second = names
    yield f"{'who has a line':<26}{'people':>10}{'default':>9}{'limits':>15}{'profit':>14}"
    labels = {
        "both": "under both",
        "only_first": f"only under {first}",
        "only_second": f"only under {second}",
        "neither": "under neither",
    }
    for name, label in labels.items():
        cell = cells[name]
        order = "first" if name == "only_first" else "second"
        bad = cell[f"bad_{order}"] / max(cell["people"], 1.0)
        limits, profit = cell[f"limit_minor_{order}"] / 100, cell[f"profit_minor_{order}"] / 100
        yield f"{label:<26}{cell['people']:>10,.0f}{bad:>9.1%}{limits:>15,.0f}{profit:>14,.0f}"


def _arm(
    name: str, policy: Path | None, line_policy: Path | None, holders: list[str], seed: int
) -> Arm:
    """Return what decides.

    Raises
    ------
    UsageError
        If a holder is none.
    ConfigError, EnvironmentFault
        Of a file.
    """
    unknown = sorted(set(holders) - set(HOLDERS))
    if unknown:
        raise UsageError(f"no holder {unknown[0]!r}", hint=f"there are {', '.join(HOLDERS)}")
    rules, prices = _rules(name, policy, line_policy)
    return Arm(rules, learn(seed, frozenset(holders)), prices)


def _rules(name: str, policy: Path | None, line_policy: Path | None) -> tuple[Rules, Prices]:
    from server.commands.replay import load_line_policy  # noqa: PLC0415 - it mounts this command

    limits, pack = load_policy(policy)
    rules = Rules(name, limits, pack, load_line_policy(line_policy))
    return rules, prices_of(limits)


def _tell(done: int, blocks: int) -> None:
    if blocks > 1:
        sys.stderr.write(f"\r{done} of {blocks} parts" + ("\n" if done == blocks else ""))
        sys.stderr.flush()
