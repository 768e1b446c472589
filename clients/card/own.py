"""Do no harm: a bank that is better off with a card of its own customers is told so.

Averaging helps most banks and may harm one whose customers are unlike the others'. So after phase
score every bank fits a card on its own counts, cut into bins of its own as it would alone, and
compares the two on its own customers to evaluate on. The answer and the own card stay in the bank's
folder (`runs/<run>/own_card.json`); nothing of it leaves. The bank's feed goes on with the
common card: what a bank decides by is its own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients import phases
from clients.card import builder
from clients.card.parts import Plans, encode, plans_to_value, take
from clients.party import Party
from shared.challenger.compare import Pairs, delong
from shared.errors import DataError, FloorBroken
from shared.jobs import Run
from shared.scorecard.buckets import count_all, tallies
from shared.scorecard.build import draft_card
from shared.scorecard.common import choose_pairs, count_cells, plan_singles, propose_pairs
from shared.scorecard.moments import pooled

Ints = NDArray[np.int64]

FILE = "own_card"
COMMON, OWN = "common", "own"
#: Level of an interval that is one standard error wide to either side.
_ONE_ERROR = erf(0.5**0.5)
TOLD = {
    COMMON: "no card of this bank's own customers is better here beyond chance: the common card "
    "is the one to use",
    OWN: "this bank is better off with a card of its own customers: its points are kept here, and "
    "its feed still goes by the common card",
}


def compare(label: Ints, common: Ints, own: Ints) -> dict[str, Any]:
    """Compare two cards on the same customers.

    The own card is the answer only where its AUC is higher by more than one standard error of the
    paired difference (DeLong): with few customers the common card stays.

    Parameters
    ----------
    label : ndarray of int64, shape (n,)
        1 is bad.
    common, own : ndarray of int64, shape (n,)
        Points; more points, less risk.

    Returns
    -------
    dict
        ``answer`` (`common` or `own`), ``told``, both AUCs, and the own card's less the common
        one's with its 95 % interval.

    Raises
    ------
    DataError
        If there are fewer than two good or two bad customers.
    """
    pairs = Pairs.of_rows(label, -common, -own)
    paired, _ = delong(pairs)
    narrow, _ = delong(pairs, _ONE_ERROR)
    answer = OWN if narrow.difference.low > 0.0 else COMMON
    gap = paired.difference
    return {
        "answer": answer,
        "told": TOLD[answer],
        "auc": {COMMON: paired.champion, OWN: paired.challenger},
        "difference": {"low": gap.low, "value": gap.value, "high": gap.high},
        "customers": len(label),
    }


def plan_own(party: Party, rows: Ints) -> Plans:
    """Plan bins from some of the own customers alone, by the rules that the banks agreed on."""
    columns = tallies(party.contract.of(party.name), party.contract.summaries)
    values = take(party.train, rows)
    counts = count_all(columns, values)
    settings = phases.column_settings(party, len(rows), len(rows))
    singles = plan_singles(columns, counts, settings)
    proposed = propose_pairs(columns, counts, singles, settings) if settings.pairs else ()
    if not proposed:
        return singles
    floor = phases.floors(party).minimum(len(rows))
    return *singles, *choose_pairs(proposed, count_cells(proposed, values), floor)


def fit_own(plans: Plans, party: Party, rows: Ints) -> tuple[Ints, ...]:
    """Return the points of a card of some of the own customers, for every bin of every plan.

    Raises
    ------
    FloorBroken
        If no bin tells anything about them.
    """
    if not plans:
        raise FloorBroken("every bin of this bank alone was merged away")
    codes = encode(plans, party.train, rows)
    label = builder.label_of(party.train)[rows]
    blocks = [plan.public() for plan in plans]
    moments = pooled(blocks, [codes[:, at] for at in range(len(plans))], label)
    return draft_card(moments, builder.settings_of(party)).points


def tell(party: Party, run: Run, totals: Mapping[str, tuple[Ints, Ints]]) -> None:
    """Compare, and write the answer down where only this bank reads it.

    Parameters
    ----------
    party : Party
    run : Run
    totals : mapping of str to (ndarray, ndarray)
        By table, ``train`` and ``test``: common points, and the rows they are of.
    """
    (_, train), (common, test) = totals["train"], totals["test"]
    plans = plan_own(party, train)
    try:
        points = fit_own(plans, party, train)
        codes = encode(plans, party.test, test)
        own = sum(values[codes[:, at]] for at, values in enumerate(points))
        label = builder.label_of(party.test)[test]
        told = compare(label, common, np.asarray(own, dtype=np.int64))
    except (DataError, FloorBroken) as error:
        told = {"answer": COMMON, "told": f"too few customers to compare: {error.message}"}
        points = ()
    kept = {"plans": plans_to_value(plans), "points": [one.tolist() for one in points]}
    party.store.keep_value(run.name, FILE, told | (kept if told["answer"] == OWN else {}))
