"""Real months as a population: six months of cards, mapped onto the events of a line.

The data are "Default of Credit Card Clients" (Yeh & Lien 2009): limit, status, bill and payment of
30,000 cards from April to September 2005. A line is used as the card was, in proportion, as far as
its limit lets it. What people did they did: here nobody answers to a limit, so a policy's
harm is not seen, but who would have been cut, and whether they paid in the end, is.
"""

from __future__ import annotations

import csv
import gzip
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import DataError, EnvironmentFault
from shared.world.chance import Span
from shared.world.life import MINOR, WISH, Life, Past
from shared.world.month import Happened, Standing
from shared.world.people import People
from shared.world.traits import FITTED

Floats = NDArray[np.float64]

#: Months that are recorded, and those of them that pass before the first line is opened.
MONTHS: Final = 6
BEFORE: Final = 2
#: What the data do not tell: no card may count it.
UNKNOWN: Final = frozenset({"INCOME", "ENQUIRIES", "OTHERS"})
_STATUS: Final = ("PAY_6", "PAY_5", "PAY_4", "PAY_3", "PAY_2", "PAY_0")
_BILL: Final = tuple(f"BILL_AMT{number}" for number in range(MONTHS, 0, -1))
_PAID: Final = tuple(f"PAY_AMT{number}" for number in range(MONTHS, 0, -1))
_MISSED: Final = "default.payment.next.month"
_COLUMNS: Final = ("LIMIT_BAL", *_STATUS, *_BILL, *_PAID, _MISSED)


@dataclass(frozen=True, slots=True)
class Recorded:
    """Months of cards, April first.

    Parameters
    ----------
    limit : (n,) float64
    late : (6, n) int8
        Payments behind.
    bill, paid : (6, n) float64
    missed : (n,) bool
        Whether the payment of the month after was missed.
    """

    limit: Floats
    late: NDArray[np.int8]
    bill: Floats
    paid: Floats
    missed: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.limit.size)


def read_recorded(path: Path) -> Recorded:
    """Read the months of a CSV, packed by gzip or not.

    Raises
    ------
    EnvironmentFault
        If it cannot be read.
    DataError
        If a column is missing, a value is no number, or a limit is none.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.name.endswith(".gz") else raw).decode()
    except (OSError, EOFError) as error:
        raise EnvironmentFault(f"cannot read {path}: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(path.name, ["is no text"]) from error
    rows = csv.reader(io.StringIO(text))
    head = next(rows, [])
    missing = [f"{name}: is missing" for name in _COLUMNS if name not in head]
    if missing:
        raise DataError(path.name, missing, hint="it must be the UCI card data")
    places = [head.index(name) for name in _COLUMNS]
    try:
        table = np.array([[float(row[at]) for at in places] for row in rows], np.float64)
    except (ValueError, IndexError) as error:
        raise DataError(path.name, ["a row holds something else than numbers"]) from error
    if not table.size or not np.isfinite(table).all() or (table[:, 0] <= 0).any():
        raise DataError(path.name, ["every row must have a limit above 0, and numbers"])
    status, bill, paid = (table[:, 1 + MONTHS * at : 1 + MONTHS * (at + 1)].T for at in range(3))
    late = np.clip(status, 0, np.iinfo(np.int8).max).astype(np.int8)
    missed = table[:, -1] != 0
    return Recorded(table[:, 0], late, np.maximum(bill, 0.0), np.maximum(paid, 0.0), missed)


def begin(recorded: Recorded, span: Span) -> Life:
    """Return the people of a block before the first month in which they may have a line."""
    people = _people(recorded, span)
    nothing = np.zeros(len(people))
    blank = np.zeros(len(people), np.int8)
    card = Standing(nothing, nothing, blank, nothing)
    life = Life(people, card, card, None, None, Past.empty(len(people)), -BEFORE)
    for _ in range(BEFORE):
        life = live(recorded, span, life, nothing)
    return life


def live(recorded: Recorded, span: Span, life: Life, limit: Floats) -> Life:
    """Let the next recorded month pass.

    Parameters
    ----------
    recorded : Recorded
    span : Span
    life : Life
    limit : (n,) float64
        Up to which each may owe on the line, in minor units.
    """
    number = life.number + 1
    at, here = number + BEFORE - 1, slice(span.start, span.stop)
    late, bill = recorded.late[at, here], recorded.bill[at, here]
    paid = recorded.paid[at, here]
    spent = np.maximum(bill - life.card.bill + paid, 0.0) if at else np.zeros(bill.size)
    card = Standing(life.card.shock, bill, late, life.card.others)
    share = np.divide(paid, life.card.bill, out=np.ones(bill.size), where=life.card.bill > 0)
    repaid = np.round(np.minimum(share, 1.0) * life.line.bill)
    left = life.line.bill - repaid
    wanted = np.round(WISH * MINOR * spent)
    drawn = np.clip(np.minimum(wanted, limit - left), 0.0, None)
    owed = left + drawn
    line = Standing(card.shock, owed, np.where(owed > 0, late, 0).astype(np.int8), card.others)
    happened = _happened(paid, spent, np.zeros(bill.size))
    return Life(
        life.people,
        card,
        line,
        happened,
        _happened(repaid, drawn, wanted - drawn),
        life.past.then(card, happened),
        number,
    )


def _happened(paid: Floats, spent: Floats, unmet: Floats) -> Happened:
    nothing = np.zeros(paid.size)
    return Happened(
        paid=paid,
        spent=spent,
        unmet=unmet,
        whole=np.zeros(paid.size, np.bool_),
        draws=(spent > 0).astype(np.int8),  # how often is not recorded
        enquiries=nothing.astype(np.int8),
        distress=nothing,
    )


def _people(recorded: Recorded, span: Span) -> People:
    """Return who has which card; an income is what such a limit stands for in the world."""
    limit = recorded.limit[span.start : span.stop]
    nothing, none = np.zeros(limit.size), np.zeros(limit.size, np.bool_)
    return People(
        cause=nothing,
        wealth=nothing,
        appetite=nothing,
        care=nothing,
        income=limit / np.exp(FITTED.log_multiple),
        limit=limit,
        thirst=nothing,
        transactor=none,
        idle=none,
        thin=none,
        business=none,
        age=nothing,
        woman=none,
    )
