"""What the holders see of the people of a replay, and what became of them."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.world.chance import Span
from shared.world.economy import Economy
from shared.world.life import DEFAULT_LATE, Life, live
from shared.world.traits import FITTED, Traits

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SHORT: Final = 3


def features(life: Life) -> dict[str, Floats]:
    """Return what the holders see at the end of a month: the columns of `card.FEATURES`."""
    past, people = life.past, life.people
    bills = np.maximum(past.bill[-1 - _SHORT : -1].sum(axis=0), 1.0)
    paid = past.paid[-_SHORT:].sum(axis=0)
    spent = past.spent[-_SHORT:].sum(axis=0)
    return {
        "UTILISATION": _whole(100 * past.bill[-1] / people.limit, 200),
        "INCOME": _whole(people.income / 1000, 500),
        "LIMIT": _whole(people.limit / 10_000, 400),
        "PAID": _whole(100 * paid / bills, 100),
        "SPENT": _whole(100 * spent / people.limit, 400),
        "BEHIND": past.late[-1].astype(np.float64),
        "WORST": past.late.max(axis=0).astype(np.float64),
        "TIMES": (past.late > 0).sum(axis=0).astype(np.float64),
        "ENQUIRIES": _whole(past.enquiries[-_SHORT:].sum(axis=0), 40),
        "OTHERS": _whole(100 * past.others[-1] / (12 * people.income), 1000),
    }


def defaults(
    span: Span, seed: int, life: Life, months: int, economy: Economy, traits: Traits = FITTED
) -> Flags:
    """Return who is in default in some month to come, without a line."""
    found = np.zeros(len(life.people), np.bool_)
    nothing = np.zeros(len(life.people))
    for _ in range(months):
        life = live(life, span, seed, nothing, economy, traits)
        found |= life.card.late >= DEFAULT_LATE
    return found


def _whole(amount: Floats, most: int) -> Floats:
    found: Floats = np.clip(np.rint(amount), 0, most)
    return found
