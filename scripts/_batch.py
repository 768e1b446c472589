"""A million lines with a past, their review in two processes, and a sample of it one by one.

Lines are opened and reviewed for some months with draws, arrears, outages and a downturn at random,
so that the page that is timed holds every state in shares that come about by themselves.
"""

from __future__ import annotations

import multiprocessing
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
from _bench import peak_rss_mb, spread

from server.accounts.scores import load_policy
from server.limits.basis.reasons import Reason
from server.limits.batch.batch import BatchReviewed, review_batch
from server.limits.batch.columns import NEVER, NONE, STATES, Columns, FactColumns, LineColumns
from server.limits.batch.inputs import InputColumns, ScoreColumns
from server.limits.batch.pack import line_columns
from server.limits.batch.rows import facts_of_row, line_of_row
from server.limits.batch.state import KINDS
from server.limits.batch.target import targets_of
from server.limits.caps.caps import Income, Inputs
from server.limits.caps.decide import decide
from server.limits.caps.snapshot import Rating, Snapshot
from server.limits.line.line import Line, State
from server.limits.line.review import review
from server.limits.line.target import target_of
from server.limits.rules.line_lint import parse_line_policy
from server.policies import embedded
from shared.scorecard.scale import PRODUCT_SCALE, round_half_away

PAGE = 50_000
MONTHS = 8
START = date(2026, 1, 1)
LINES = parse_line_policy(*embedded("line_reference"))
LIMITS, PACK = load_policy(None)
GRADES = list(LIMITS.grades)
SCORE_REASONS = tuple(
    Reason(f"S-{code}", "score", points_lost=points, holders=("bank",))
    for code in ("LATENESS", "ENQUIRIES", "USE", "TENURE", "INCOME", "SPENDING")
    for points in range(1, 16)
)
SCALES = (Decimal(1), Decimal("0.93"))


@dataclass(frozen=True)
class Page:
    """Everything that the review of a page takes."""

    columns: Columns
    scores: ScoreColumns
    inputs: InputColumns
    scale: Any
    day: date


@dataclass(frozen=True)
class People:
    """What stays the same of a page's customers."""

    risk: Any
    often: Any
    income: Any
    limit: Any


def make_page(seed: int, rows: int) -> Page:
    """Return a page of lines that were opened and then reviewed for some months."""
    rng = np.random.default_rng(seed)
    people = People(
        risk=rng.beta(1.1, 28, rows),
        often=rng.random(rows) < 0.08,
        income=rng.integers(30, 200, rows) * 10_000,
        limit=rng.integers(5, 250, rows) * LINES.quantum_minor,
    )
    line, day = opened(people), START
    for _ in range(MONTHS):
        day += timedelta(days=LINES.every_days)
        page = month(rng, people, line, day)
        line = reviewed(page).line
    return month(rng, people, line, day + timedelta(days=LINES.every_days))


def opened(people: People) -> LineColumns:
    """Return the lines on the day after opening."""
    one = Line(
        product="revolving_consumer",
        state=State.ACTIVE,
        version=2,
        opened_on=START,
        next_review_on=START + timedelta(days=LINES.every_days),
        changed_on=START,
    )
    blank = line_columns([one], LINES)
    same = {
        name: np.repeat(getattr(blank, name), people.limit.size)
        for name in LineColumns.__slots__
        if name not in {"texts", "windows", "before_cuts"}
    }
    limits = {f"{name}_limit_minor": people.limit for name in _LIMITS}
    # Else all offers of half a year would be made in the same month.
    ago = START.toordinal() - people.income // 10_000
    return replace(blank, **{**same, **limits, "offered_on": ago.astype(np.int32)})


_LIMITS = ("base", "approved", "effective", "advised", "caps")


def month(rng: np.random.Generator, people: People, line: LineColumns, day: date) -> Page:
    """Return what a review of the lines looks at on a day."""
    rows = len(line)
    rate = np.clip(people.risk * rng.uniform(0.8, 1.25, rows), 0.0005, 0.6)
    score = round_half_away(PRODUCT_SCALE.score_of(rate)).astype(np.int64)
    owed = (line.effective_limit_minor * rng.random(rows) * rng.choice([0.4, 1.0], rows)).astype(
        np.int64
    )
    facts = make_facts(rng, people, owed, score, day)
    known = rng.random(rows) < 0.3
    silent = (rng.random(rows) < 0.01).astype(np.int32)
    none = np.full(rows, NONE, np.int64)
    return Page(
        columns=Columns(line, facts),
        scores=ScoreColumns(
            default_prob_micro=np.maximum(1, (rate * 1e6).astype(np.int64)),
            grade=(4 - np.searchsorted([550, 600, 650, 700], score, side="right")).astype(np.int32),
            book=SCORE_REASONS,
            reasons=rng.integers(0, len(SCORE_REASONS), (rows, 4), dtype=np.int32),
            silences=({}, {"bureau": "stale"}),
            missing=silent,
        ),
        inputs=InputColumns(
            current_minor=line.effective_limit_minor,
            drawn_minor=owed,
            own_minor=np.where(rng.random(rows) < 0.01, line.approved_limit_minor, none),
            has_income=known,
            monthly_minor=np.where(known, people.income, 0),
            sources=tuple(LIMITS.haircuts),
            source=np.where(known, rng.integers(0, len(LIMITS.haircuts), rows), NONE).astype(
                np.int32
            ),
            obligations_minor=np.where(known, people.income // 7, 0),
            whole=np.zeros(rows, np.bool_),
            uplift_minor=np.zeros(rows, np.int64),
            others_minor=np.where(known, people.income * 3, none),
            capital_minor=none,
            partner_minor=none,
        ),
        scale=(rng.random(rows) < 0.02).astype(np.int32),
        day=day,
    )


def make_facts(
    rng: np.random.Generator, people: People, owed: Any, score: Any, day: date
) -> FactColumns:
    """Return a month's facts: most customers borrow now and then and pay in time."""
    rows, today = owed.size, day.toordinal()
    spent = rng.integers(0, 300_000, rows)
    busy = people.often & (rng.random(rows) < 0.7)
    late = rng.random(rows)
    enquiries = rng.poisson(0.25, rows)
    others = rng.integers(0, 500_000, rows)
    return FactColumns(
        outstanding_minor=owed,
        held_minor=np.where(rng.random(rows) < 0.02, 10_000, 0),
        measures={
            "draws_30d": np.where(busy, rng.integers(5, 10, rows), rng.integers(0, 4, rows)),
            "peak_balance_30d": owed,
            "spend_30d": spent,
            "spend_90d": spent * 3 - rng.integers(0, 100_000, rows) * (spent > 200_000),
            "enquiries_30d": enquiries,
            "enquiries_90d": enquiries + rng.poisson(0.3, rows),
            "others": others,
            "others_90d_ago": (others * rng.uniform(0.7, 1.1, rows)).astype(np.int64),
            "forbidden_purposes_30d": (rng.random(rows) < 0.0003).astype(np.int64),
            "score": score,
        },
        days_past_due=np.select([late < 0.002, late < 0.006, late < 0.02], [70, 35, 8], 0).astype(
            np.int32
        ),
        clear_since=np.full(rows, NEVER, np.int32),
        forborne_on=np.where(rng.random(rows) < 0.0005, today, NEVER).astype(np.int32),
        fraud=rng.random(rows) < 0.0002,
        consent=rng.random(rows) > 0.003,
        dispute=rng.random(rows) < 0.002,
        budgets=(Decimal("0.71"),),
        budget_used=np.zeros(rows, np.int32),
        last_draw_on=np.full(rows, today - 5, np.int32),
    )


def reviewed(page: Page) -> BatchReviewed:
    """Return the review of a page: the caps from the score, then the lines."""
    targets = targets_of(
        LIMITS, PACK, page.scores, page.inputs, LINES, page.day, scales=SCALES, scale=page.scale
    )
    return review_batch(page.columns, targets, LINES, page.day)


def inputs_of_row(inputs: InputColumns, row: int, day: date) -> Inputs:
    def known(name: str) -> int | None:
        value = int(getattr(inputs, f"{name}_minor")[row])
        return None if value == NONE else value

    income = None
    if inputs.has_income[row]:
        income = Income(
            int(inputs.monthly_minor[row]),
            inputs.sources[inputs.source[row]],
            int(inputs.obligations_minor[row]),
            bool(inputs.whole[row]),
            int(inputs.uplift_minor[row]),
        )
    return Inputs(
        day,
        int(inputs.current_minor[row]),
        int(inputs.drawn_minor[row]),
        known("own"),
        income,
        known("others"),
        known("capital"),
        known("partner"),
    )


def snapshot_of_row(scores: ScoreColumns, row: int) -> Snapshot:
    rate = Decimal(int(scores.default_prob_micro[row])).scaleb(-6)
    rating = Rating(0, rate, 0, GRADES[scores.grade[row]])
    reasons = tuple(scores.book[place] for place in scores.reasons[row] if place != NONE)
    return Snapshot(rating, rating, {}, scores.silences[scores.missing[row]], reasons)


def compare(page: Page, done: BatchReviewed, rows: list[int]) -> tuple[int, float, list[str]]:
    """Review some rows one by one; return how many, the CPU seconds, and what differs."""
    plain = [
        (
            snapshot_of_row(page.scores, row),
            inputs_of_row(page.inputs, row, page.day),
            line_of_row(page.columns.line, row),
            facts_of_row(page.columns.facts, row),
            SCALES[page.scale[row]],
        )
        for row in rows
    ]
    start = time.process_time()
    told = [
        review(
            line,
            facts,
            target_of(decide(LIMITS, PACK, snapshot, inputs), LINES, page.day, scale=scale),
            LINES,
            page.day,
        )
        for snapshot, inputs, line, facts, scale in plain
    ]
    spent, wrong = time.process_time() - start, []
    for row, one in zip(rows, told, strict=True):
        kinds = [kind for k, kind in enumerate(KINDS) if done.happened[row] >> k & 1]
        if (
            one.line != line_of_row(done.line, row)
            or kinds != [event.kind for event in one.events]
            or done.codes_of(row) != tuple(reason.code for reason in one.reasons)
        ):
            wrong.append(f"row {row}: {kinds}")
    return len(rows), spent, wrong


def _process(seeds: list[int], rows: int, repeats: int, sample: int, gate: Any, told: Any) -> None:
    """Make pages, review them again and again in step with the others, then check a sample."""
    pages = [make_page(seed, rows) for seed in seeds]
    times = []
    for _ in range(repeats):
        gate.wait()
        start, cpu = time.perf_counter(), time.process_time()
        for page in pages:
            reviewed(page)
        times.append((start, time.perf_counter(), time.process_time() - cpu))
    states: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    checked, scalar, wrong, changed, writing = 0, 0.0, [], 0, []
    rng = np.random.default_rng(seeds[0])
    for page in pages:
        done = reviewed(page)
        states.update(STATES[one].value for one in done.line.state.tolist())
        happened.update({kind: int(done.did(kind).sum()) for kind in KINDS})
        changed += int(done.changed.sum())
        chosen = sorted(rng.choice(rows, sample // len(pages), replace=False).tolist())
        count, spent, found = compare(page, done, chosen)
        checked, scalar, wrong = checked + count, scalar + spent, wrong + found
        start = time.process_time()
        wanted = np.flatnonzero(done.changed)[:200].tolist()
        for row in wanted:
            done.reviewed(row)
        writing.append((time.process_time() - start) / max(1, len(wanted)))
    told.put((times, states, happened, checked, scalar, wrong, changed, writing, peak_rss_mb()))


def measure_batch(lines: int, repeats: int, processes: int, sample: int) -> dict[str, Any]:
    """Return seconds for a review of so many lines, what it did, and what the sample says."""
    own = multiprocessing.get_context("spawn")
    rows = min(PAGE, max(1, lines // processes))
    pages = lines // processes // rows
    gate, told = own.Barrier(processes), own.Queue()
    workers = [
        own.Process(
            target=_process,
            args=(
                list(range(number * pages + 1, (number + 1) * pages + 1)),
                rows,
                repeats,
                sample // processes,
                gate,
                told,
            ),
        )
        for number in range(processes)
    ]
    for one in workers:
        one.start()
    results = [told.get(timeout=1800) for _ in workers]
    for one in workers:
        one.join()
    return summary(results, rows * pages * processes, processes)


def summary(results: list[Any], lines: int, processes: int) -> dict[str, Any]:
    rounds = list(zip(*(one[0] for one in results), strict=True))
    wall = [max(end for _, end, _ in each) - min(start for start, _, _ in each) for each in rounds]
    cpu = [sum(spent for _, _, spent in each) for each in rounds]
    checked, scalar = sum(one[3] for one in results), sum(one[4] for one in results)
    wrong = [line for one in results for line in one[5]]
    states, happened = sum((one[1] for one in results), Counter()), Counter()
    for one in results:
        happened.update(one[2])
    median = spread(wall)["median"]
    a_row = scalar / checked
    return {
        "lines": lines,
        "processes": processes,
        "seconds": spread(wall),
        "cpu_seconds": spread(cpu),
        "lines_a_second": round(lines / median),
        "states": dict(states.most_common()),
        "happened": dict(happened),
        "changed_share": round(sum(one[6] for one in results) / lines, 4),
        "scalar_microseconds_a_line": round(a_row * 1e6, 1),
        "times_the_scalar": round(a_row * lines / spread(cpu)["median"], 1),
        "write_microseconds_a_changed_line": round(
            float(np.median([value for one in results for value in one[7]])) * 1e6, 1
        ),
        "checked": checked,
        "differences": len(wrong),
        "first_differences": wrong[:5],
        "peak_rss_mb_a_process": round(max(one[8] for one in results)),
    }
