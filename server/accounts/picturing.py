"""Counting the whole portfolio: once a night, or when somebody asks, a page of lines at a time.

What pages show of all lines is read from these figures (`server.store.pictures`), never counted for
a request. Four are made in one go: `totals` of each day, which are kept; `portfolio` by product,
grade, state and bucket; `scores` of who has a line or was refused one; and `restorations`.

Each page of lines is read in a transaction of its own, so that nothing waits for the count: it is
of the time that it took, not of an instant.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from server.accounts.desk import Desk, text_of
from server.accounts.kept import Kept, Span, kept, kept_of
from server.accounts.outcomes import Spells, summed
from server.limits.line.line import State
from server.limits.rules.products import Product
from server.store import pictures
from server.store.lease import lease
from server.store.lines import StoredLine, page_of_lines
from server.store.pictures import Picture
from server.store.tables import LINES
from shared.errors import EnvironmentFault, NotFound
from shared.scorecard.scale import Scale

TOTALS: Final = "totals"
PORTFOLIO: Final = "portfolio"
SCORES: Final = "scores"
RESTORATIONS: Final = "restorations"
NONE: Final = "none"
"""Grade of a line that was never scored."""
_JOB: Final = "portfolio-count"
_PAGE: Final = 250
_OUT: Final = frozenset({State.PENDING, State.CLOSED})
Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class _Model:
    """What a score means today; without a release, nothing."""

    release: str = ""
    scale: Scale | None = None

    def prob(self, score: int) -> float:
        return 0.0 if self.scale is None else float(self.scale.default_prob_of(score))

    def grade(self, score: int | None) -> str:
        return NONE if self.scale is None or score is None else self.scale.grade_of(score)


@dataclass(slots=True)
class _Count:
    """What was counted so far."""

    cells: dict[tuple[str, str, str, str], list[float]] = field(default_factory=dict)
    scores: dict[str, dict[int, list[float]]] = field(default_factory=dict)
    refused: dict[str, Counter[int]] = field(default_factory=dict)
    otherwise: Counter[str] = field(default_factory=Counter)
    unscored: Counter[str] = field(default_factory=Counter)
    holders: set[tuple[str, str]] = field(default_factory=set)
    spells: Spells = field(default_factory=Spells)


def count(desk: Desk, told: Told | None = None) -> None:
    """Count the portfolio and keep the figures of today.

    Parameters
    ----------
    desk : Desk
    told : callable, optional
        Told after each page how many lines were counted, and of how many.

    Raises
    ------
    Conflict
        With check `lease`, if another process counts.
    EnvironmentFault
        If the store is away: what was counted before stays.
    """
    with lease(desk.store, _JOB):
        _counted(desk, told)


def _counted(desk: Desk, told: Told | None) -> None:
    now = desk.clock()
    with desk.store.read() as db:
        desk.follow(db, now)
        span, model = Span.of(None, None, desk.today(now)), _model(desk, now)
        every = int(db.execute(sa.select(sa.func.count()).select_from(LINES)).scalar_one())
    found, after, done = _Count(), "", 0
    while True:
        with desk.store.read() as db:
            desk.follow(db, now)
            page = page_of_lines(db, after=after, count=_PAGE, closed=True)
            _lines(desk, db, page, span, model, found)
        done, after = done + len(page), page[-1].id if page else after
        if told is not None:
            told(done, max(every, done))
        if len(page) < _PAGE:
            break
    with desk.store.read() as db:
        desk.follow(db, now)
        _refusals(desk, db, span, found)
    _keep(desk, found, span, model, now)


def _model(desk: Desk, now: datetime) -> _Model:
    try:
        release, _, _ = desk.scores.serving(text_of(now))
    except (EnvironmentFault, NotFound):
        return _Model()
    return _Model(release.name, release.model.scale)


def _lines(
    desk: Desk,
    db: Connection,
    page: list[StoredLine],
    span: Span,
    model: _Model,
    found: _Count,
) -> None:
    histories = kept_of(db, span, [one.id for one in page])
    for line in page:
        history = histories.get(line.id, [])
        if history:
            found.spells.add(history)
        if line.closed_at is None and line.state not in _OUT:
            _line(desk, line, _score_of(line, history), model, found)


def _score_of(line: StoredLine, history: list[Kept]) -> int | None:
    """Return a line's newest score: of its last decision that had one, else of its last review."""
    for one in reversed(history):
        snapshot = one.snapshot
        if snapshot is not None:
            return int(snapshot["rating"]["score"])
    score = line.domain.get("score")
    return None if score is None else int(score)


def _line(desk: Desk, line: StoredLine, score: int | None, model: _Model, found: _Count) -> None:
    found.holders.add((line.customer_id, line.product))
    limit, owed = line.totals.limit_minor, line.totals.outstanding_minor
    exposure = loss = 0.0
    product = _product(desk, line.product)
    if product is not None:
        cap = product.expected_loss
        exposure = owed + float(cap.ccf) * max(0, limit - owed)
        loss = 0.0 if score is None else exposure * float(cap.lgd) * model.prob(score)
    key = (line.product, model.grade(score), line.state, line.domain["delinquency"]["bucket"])
    _add(
        found.cells.setdefault(key, [0.0] * 6), limit, owed, line.totals.held_minor, exposure, loss
    )
    if score is None:
        found.unscored[line.product] += 1
    else:
        row = found.scores.setdefault(line.product, {}).setdefault(score, [0.0] * 4)
        _add(row, limit, exposure, loss)


def _add(row: list[float], *amounts: float) -> None:
    for place, amount in enumerate((1, *amounts)):
        row[place] += amount


def _product(desk: Desk, name: str) -> Product | None:
    """Return a product; None for one that the rules of today do not know any more."""
    return desk.rules.catalogue.products.get(name)


def _refusals(desk: Desk, db: Connection, span: Span, found: _Count) -> None:
    """Count who asked in the span and has no line: by the last refusal of each."""
    last: dict[tuple[str, str], int | None] = {}
    for one in kept(db, span, "open"):
        key = (one.customer, str(one.body["ask"]["product"]))
        if one.after["version"] or key in found.holders:
            last.pop(key, None)
            continue
        snapshot = one.snapshot
        last[key] = None if snapshot is None else int(snapshot["rating"]["score"])
    grades = _grades(desk)
    for (_, product), score in last.items():
        cutoff = cutoff_of(desk, product, grades)
        if score is None or cutoff is None or score >= cutoff:
            found.otherwise[product] += 1
        else:
            found.refused.setdefault(product, Counter())[score] += 1


def cutoff_of(desk: Desk, product: str, grades: list[tuple[str, int]]) -> int | None:
    """Return the lowest score of a product that gets a limit; None where no grade does.

    Parameters
    ----------
    desk : Desk
    product : str
    grades : list of (str, int)
        Of the model, safest first: name and lowest score.
    """
    known = _product(desk, product)
    rows = {} if known is None else known.grades
    lowest = [least for name, least in grades if name in rows and rows[name].limit_minor > 0]
    return min(lowest, default=None)


def _grades(desk: Desk) -> list[tuple[str, int]]:
    scale = _model(desk, desk.clock()).scale
    return [] if scale is None else [(one.name, one.at_least) for one in scale.grades]


def _keep(desk: Desk, found: _Count, span: Span, model: _Model, now: datetime) -> None:
    day = span.until
    values = {
        TOTALS: _totals(found),
        PORTFOLIO: {
            "release": model.release,
            "cells": [[*key, *map(round, row)] for key, row in sorted(found.cells.items())],
        },
        SCORES: _scores(desk, found, model),
        RESTORATIONS: summed(desk, found.spells, span),
    }
    with desk.store.write() as db:
        for name, value in values.items():
            pictures.keep(db, Picture(name, day, value, now), alone=name != TOTALS)


def _totals(found: _Count) -> dict[str, Any]:
    """Return what is kept of every day."""
    sums, lines, owed = [0] * 4, Counter[str](), Counter[str]()
    states: Counter[str] = Counter()
    for (_, _, state, bucket), row in found.cells.items():
        sums = [kept_sum + round(part) for kept_sum, part in zip(sums, row[:4], strict=True)]
        lines[bucket] += round(row[0])
        owed[bucket] += round(row[2])
        states[state] += round(row[0])
    names = ("lines", "limit_minor", "owed_minor", "held_minor")
    return {
        **dict(zip(names, sums, strict=True)),
        "states": dict(states),
        "bucket_lines": dict(lines),
        "bucket_owed_minor": dict(owed),
    }


def _scores(desk: Desk, found: _Count, model: _Model) -> dict[str, Any]:
    grades = [] if model.scale is None else [(one.name, one.at_least) for one in model.scale.grades]
    return {
        "release": model.release,
        "grades": [list(one) for one in grades],
        "products": {
            name: {
                "cutoff": cutoff_of(desk, name, grades),
                "lines": [
                    [score, *map(round, row)]
                    for score, row in sorted(found.scores.get(name, {}).items())
                ],
                "refused": [
                    [score, people, *_estimate(desk, name, score, people, model)]
                    for score, people in sorted(found.refused.get(name, {}).items())
                ],
                "otherwise": found.otherwise[name],
                "unscored": found.unscored[name],
            }
            for name in sorted(desk.rules.catalogue.products)
        },
    }


def _estimate(desk: Desk, name: str, score: int, people: int, model: _Model) -> list[int]:
    """Return limit, exposure and loss of refused people, had they the smallest limit there is."""
    product = desk.rules.catalogue.products[name]
    least = min((one.limit_minor for one in product.grades.values() if one.limit_minor), default=0)
    cap, limit = product.expected_loss, people * least
    exposure = limit * float(cap.ccf)
    return [limit, round(exposure), round(exposure * float(cap.lgd) * model.prob(score))]
