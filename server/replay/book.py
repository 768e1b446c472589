"""The lines of a replay: opened, drawn on and reviewed by the rules of the service itself.

Reviews are `server.limits.batch.batch.review_batch`, whose every row is the scalar review of the
service; a line is opened by `server.limits.line.limit_acts.open_line`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from server.limits.basis.reasons import Reason
from server.limits.batch.batch import BatchReviewed, review_batch
from server.limits.batch.columns import (
    NEVER,
    NONE,
    Columns,
    FactColumns,
    LineColumns,
    TargetColumns,
)
from server.limits.batch.inputs import InputColumns, ScoreColumns
from server.limits.batch.pack import line_columns
from server.limits.batch.target import scaled_by, targets_of
from server.limits.line.limit_acts import open_line, request
from server.limits.line.line import State
from server.limits.line.target import target_from
from server.limits.rules.line_policy import LinePolicy
from server.limits.rules.pack import Pack
from server.limits.rules.policy import Policy
from server.replay.card import ReplayCard, grade_places, scores
from server.replay.population import features
from server.replay.shares import WHOLE, Places, Shares, places_of
from shared.world.life import DEFAULT_LATE, MINOR, Life

Floats = NDArray[np.float64]

START: Final = date(2026, 1, 1)
DAYS: Final = 30
_PRODUCT: Final = "revolving_consumer"
_NO_DRAWS: Final = (State.FROZEN, State.CLOSED, State.PENDING)
_SHORT: Final = 3
_AGREED: Final = ("base_limit_minor", "approved_limit_minor", "effective_limit_minor")


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides in a replay.

    Parameters
    ----------
    name : str
    policy : Policy
    pack : Pack
    line : LinePolicy
    shares : Shares
        Of what the caps allow: as far as the lender's own budget reaches.
    """

    name: str
    policy: Policy
    pack: Pack
    line: LinePolicy
    shares: Shares = WHOLE


@dataclass(frozen=True, slots=True)
class Book:
    """The lines of a block after a month.

    Parameters
    ----------
    rules : Rules
    card : ReplayCard
    rows : (m,) int64
        Whose lines they are, among the people of the block.
    lines : LineColumns
    clear_since : (m,) int32
        First day with nothing overdue; 0 before anything was.
    last_draw_on : (m,) int32
    spending : (3, m) float64
        With card and line in the last months, in minor units.
    reviewed : BatchReviewed or None
        The last reviews.
    prob_micro : (m,) int64
        Chance of default at the last review.
    states : (m,) int32
        The state that each line was in then; see `server.replay.shares`.
    """

    rules: Rules
    card: ReplayCard
    rows: NDArray[np.int64]
    lines: LineColumns
    clear_since: NDArray[np.int32]
    last_draw_on: NDArray[np.int32]
    spending: Floats
    reviewed: BatchReviewed | None
    prob_micro: NDArray[np.int64]
    states: Places

    def __len__(self) -> int:
        return len(self.lines)

    def limits(self, people: int) -> Floats:
        """Return up to which each of the people may owe: what draws are let through."""
        found = np.zeros(people)
        barred = self.lines.is_in(*_NO_DRAWS)
        found[self.rows] = np.where(barred, 0, self.lines.effective_limit_minor)
        return found


def day_of(month: int) -> date:
    """Return the day at the end of a month, on which reviews are made."""
    return START + timedelta(days=DAYS * month)


def opened(rules: Rules, card: ReplayCard, life: Life) -> Book:
    """Open a line to everybody whom the caps allow one.

    Parameters
    ----------
    rules : Rules
    card : ReplayCard
    life : Life
        At the end of the last month without lines.
    """
    day = day_of(life.number)
    every = np.arange(len(life.people))
    prob = card.default_prob_micro(features(life))
    nothing = np.zeros(every.size, np.int64)
    targets = _targets(rules, prob, life, every, nothing, nothing, day)
    states, targets = _shared(rules, targets, prob, nothing, nothing, nothing)
    limits = targets.lowest_minor
    rows = np.flatnonzero(limits > 0)
    blank = np.zeros(rows.size, np.int32)
    return Book(
        rules=rules,
        card=card,
        rows=rows,
        lines=_lines(rules.line, limits[rows], scores(prob)[rows], day),
        clear_since=blank,
        last_draw_on=blank,
        spending=MINOR * life.past.spent[-_SHORT:, rows],
        reviewed=None,
        prob_micro=prob[rows],
        states=states[rows],
    )


def reviewed(book: Book, before: Life, life: Life) -> Book:
    """Review every line at the end of a month.

    Parameters
    ----------
    book : Book
    before, life : Life
        At the beginning and at the end of the month.
    """
    day, rows = day_of(life.number), book.rows
    prob = book.card.default_prob_micro(features(life))[rows]
    owed = np.rint(life.line.bill[rows]).astype(np.int64)
    limit = book.lines.effective_limit_minor
    late = life.line.late[rows].astype(np.int32)
    targets = _targets(book.rules, prob, life, rows, limit, owed, day)
    states, targets = _shared(book.rules, targets, prob, owed, limit, late)
    was_late = before.line.late[rows] > 0
    clear = np.where(late > 0, NEVER, book.clear_since)
    clear = np.where((late == 0) & was_late, day.toordinal(), clear).astype(np.int32)
    assert life.drawn is not None  # a month has passed
    drew = life.drawn.draws[rows] > 0
    drawn_on = np.where(drew, day.toordinal() - 1, book.last_draw_on).astype(np.int32)
    month = MINOR * life.past.spent[-1][rows] + life.drawn.spent[rows]
    spending = np.concatenate([book.spending[1:], month[None]])
    facts = FactColumns(
        outstanding_minor=owed,
        held_minor=np.zeros_like(owed),
        measures=_measures(life, before, rows, spending, prob),
        days_past_due=DAYS * late,
        clear_since=clear,
        forborne_on=np.zeros_like(late),
        fraud=np.zeros(rows.size, np.bool_),
        consent=np.ones(rows.size, np.bool_),
        dispute=np.zeros(rows.size, np.bool_),
        budgets=(Decimal(0),),
        budget_used=np.zeros_like(late),
        last_draw_on=drawn_on,
    )
    done = review_batch(Columns(book.lines, facts), targets, book.rules.line, day)
    return replace(
        book,
        lines=accepted(done.line, targets, book.rules.line, day),
        clear_since=clear,
        last_draw_on=drawn_on,
        spending=spending,
        reviewed=done,
        prob_micro=prob,
        states=states,
    )


def accepted(
    lines: LineColumns, targets: TargetColumns, policy: LinePolicy, day: date
) -> LineColumns:
    """Return lines after everybody took what was offered, as `limit_acts.accept_offer` has it.

    Parameters
    ----------
    lines : LineColumns
    targets : TargetColumns
        Of the day.
    policy : LinePolicy
    day : date
    """
    today, quantum = day.toordinal(), policy.quantum_minor
    limit = np.minimum(lines.offer_minor, targets.lowest_minor) // quantum * quantum
    takes = (lines.offer_minor != NONE) & (lines.offer_until >= today) & ~targets.is_silent
    takes &= lines.is_in(State.ACTIVE) & (limit > lines.effective_limit_minor)
    agreed: dict[str, Any] = {
        name: np.where(takes, limit, getattr(lines, name))
        for name in (*_AGREED, "caps_limit_minor")
    }
    advised = np.maximum(lines.advised_limit_minor, limit)
    return replace(
        lines,
        **agreed,
        advised_limit_minor=np.where(takes, advised, lines.advised_limit_minor),
        increased_on=np.where(takes, today, lines.increased_on).astype(np.int32),
        changed_on=np.where(takes, today, lines.changed_on).astype(np.int32),
        version=(lines.version + takes).astype(np.int32),
        offer_minor=np.where(takes, NONE, lines.offer_minor),
        offer_made_on=np.where(takes, NEVER, lines.offer_made_on).astype(np.int32),
        offer_until=np.where(takes, NEVER, lines.offer_until).astype(np.int32),
    )


def _measures(
    life: Life,
    before: Life,
    rows: NDArray[np.int64],
    spending: Floats,
    prob: NDArray[np.int64],
) -> dict[str, NDArray[np.int64]]:
    """Return what the triggers look at; a month has thirty days, three have ninety."""
    assert life.drawn is not None
    past = life.past

    def whole(amount: Floats) -> NDArray[np.int64]:
        return np.rint(amount).astype(np.int64)

    return {
        "draws_30d": life.drawn.draws[rows].astype(np.int64),
        "peak_balance_30d": whole(np.maximum(life.line.bill, before.line.bill)[rows]),
        "spend_30d": whole(spending[-1]),
        "spend_90d": whole(spending.sum(axis=0)),
        "enquiries_30d": whole(past.enquiries[-1][rows]),
        "enquiries_90d": whole(past.enquiries[-_SHORT:].sum(axis=0)[rows]),
        "others": whole(MINOR * past.others[-1][rows]),
        "others_90d_ago": whole(MINOR * past.others[-1 - _SHORT][rows]),
        "forbidden_purposes_30d": np.zeros(rows.size, np.int64),
        "score": scores(prob),
    }


def _targets(
    rules: Rules,
    prob: NDArray[np.int64],
    life: Life,
    rows: NDArray[np.int64],
    limit: NDArray[np.int64],
    owed: NDArray[np.int64],
    day: date,
) -> TargetColumns:
    """Return what the caps allow people on a day."""
    none = np.full(rows.size, NONE, np.int64)
    blank = np.zeros(rows.size, np.int32)
    found = ScoreColumns(
        default_prob_micro=prob,
        grade=_grades(rules, prob),
        book=(Reason("S-CARD", "score"),),
        reasons=np.zeros((rows.size, 1), np.int32),
        silences=({},),
        missing=blank,
    )
    inputs = InputColumns(
        current_minor=limit,
        drawn_minor=owed,
        own_minor=none,
        has_income=np.ones(rows.size, np.bool_),
        monthly_minor=np.rint(MINOR * life.people.income[rows]).astype(np.int64),
        sources=("bank",),
        source=blank,
        obligations_minor=np.zeros(rows.size, np.int64),
        whole=np.ones(rows.size, np.bool_),
        uplift_minor=np.zeros(rows.size, np.int64),
        others_minor=none,
        capital_minor=none,
        partner_minor=none,
    )
    return targets_of(rules.policy, rules.pack, found, inputs, rules.line, day)


def _grades(rules: Rules, prob: NDArray[np.int64]) -> NDArray[np.int32]:
    return grade_places(prob, tuple(rules.policy.grades))


def _shared(
    rules: Rules,
    targets: TargetColumns,
    prob: NDArray[np.int64],
    owed: NDArray[np.int64],
    limit: NDArray[np.int64],
    late: NDArray[Any],
) -> tuple[Places, TargetColumns]:
    """Return the state of each line, and its target after the share that goes with it."""
    allowed = targets.limit_minor
    states = places_of(_grades(rules, prob), owed, limit, allowed, late)
    shares, quantum = rules.shares, rules.line.quantum_minor
    scaled = scaled_by(allowed, shares.by_state, shares.places(states), quantum)
    return states, replace(targets, scaled_minor=scaled)


def _lines(
    policy: LinePolicy, limits: NDArray[np.int64], score: NDArray[np.int64], day: date
) -> LineColumns:
    """Return fresh lines: the service's own, opened once, with everybody's limit."""
    pending = request(_PRODUCT, day).line
    least = policy.quantum_minor
    reason = Reason("P-GRADE", "policy", amount_minor=least)
    target = target_from(least, (reason,), policy, multiplier=Decimal(1), scenario="")
    one = line_columns([open_line(pending, target, policy, day, consent=True).line], policy)
    many: dict[str, Any] = {
        field.name: np.repeat(value, limits.size)
        for field in fields(one)
        if isinstance(value := getattr(one, field.name), np.ndarray)
    }
    every = (*_AGREED, "advised_limit_minor", "caps_limit_minor")
    limited = dict.fromkeys(every, limits.astype(np.int64))
    return replace(one, **many | limited | {"score": score.astype(np.int32)})


def in_default(life: Life, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whose line is in default."""
    found: NDArray[np.bool_] = life.line.late[rows] >= DEFAULT_LATE
    return found
