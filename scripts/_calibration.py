"""What six months of a card show, real and simulated, by the same code on the same columns.

Real months are the UCI card data's (Yeh & Lien 2009): limit, bill, payment and status of six
months, and whether the payment of the month after was missed. Simulated months are those of
`clients.world`, in the same coding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]

from clients.data.datasets import fetch_uci_default
from clients.world.making import live
from shared import metrics
from shared.world.chance import spans
from shared.world.economy import Economy
from shared.world.traits import FITTED, Traits

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
MONTHS = 6
# The suffix of each month's column, April first.
_SUFFIXES = ("6", "5", "4", "3", "2", "1")
_BINS = 8
_FOLDS = 5
#: Two payments behind is what nobody cures by chance.
_TWO = 2


@dataclass(frozen=True, slots=True)
class CardMonths:
    """Six months of many cards.

    Parameters
    ----------
    limit : (n,) float64
    status : (n, 6) int
        Payments behind; 0 or less where none is: -1 paid whole, -2 nothing to pay.
    bill, paid : (n, 6) float64
    late_next : (n,) bool
        Whether the payment of the month after is missed.
    """

    limit: Floats
    status: NDArray[np.int64]
    bill: Floats
    paid: Floats
    late_next: Flags


def real_months(table: Path) -> CardMonths:
    """Return the published months."""
    got = fetch_uci_default(table)

    def stacked(name: str, suffixes: tuple[str, ...] = _SUFFIXES) -> Floats:
        return np.stack([np.asarray(got[name + one], np.float64) for one in suffixes], axis=1)

    return CardMonths(
        limit=np.asarray(got["LIMIT_BAL"], np.float64),
        status=stacked("PAY_", ("6", "5", "4", "3", "2", "0")).astype(np.int64),
        bill=stacked("BILL_AMT"),
        paid=stacked("PAY_AMT"),
        late_next=np.asarray(got["DEFAULT"]) == 1,
    )


def world_months(customers: int, seed: int, traits: Traits = FITTED) -> CardMonths:
    """Return as many months of the world, as its economy worsens like that of 2005."""
    depth = (MONTHS + 1) * traits.lift
    economy = Economy(swing=0.0, downturn_from=1, downturn_months=MONTHS + 1, depth=depth)
    parts = []
    for span in spans(customers):
        seen = [one.seen for one in live(span, seed, MONTHS + 1, economy, traits)]
        late = np.stack([one.after.late.astype(np.int64) for one in seen], axis=1)
        bill = np.stack([one.after.bill for one in seen[:MONTHS]], axis=1)
        whole = np.stack([one.happened.whole for one in seen[:MONTHS]], axis=1)
        spent = np.stack([one.happened.spent for one in seen[:MONTHS]], axis=1)
        parts.append(
            CardMonths(
                limit=seen[0].people.limit,
                status=reported(late[:, :MONTHS], whole, (bill <= 0) | (whole & (spent <= 0))),
                bill=bill,
                paid=np.stack([one.happened.paid for one in seen[:MONTHS]], axis=1),
                late_next=late[:, MONTHS] > 0,
            )
        )
    return CardMonths(*(np.concatenate([getattr(one, name) for one in parts]) for name in _FIELDS))


_FIELDS = ("limit", "status", "bill", "paid", "late_next")


def reported(late: NDArray[np.int64], whole: Flags, nothing: Flags) -> NDArray[np.int64]:
    """Return status as the real data have it: they tell of past months with hindsight.

    There, a payment missed and made good within a month stands in the last month alone; in earlier
    ones it is no delay, or the beginning of one of two payments.
    """
    status = np.where(nothing, -2, np.where(whole, -1, 0))
    status = np.where(late > 0, late, status)
    for month in range(late.shape[1] - 1):
        one = late[:, month] == 1
        status[one, month] = np.where(late[one, month + 1] >= _TWO, _TWO, 0)
    return status


def figures(months: CardMonths) -> dict[str, float]:
    """Return the rates that a world is held against, as shares."""
    late = months.status > 0
    ever, now = late.any(axis=1), late[:, -1]
    cured, relapsed = cured_and_relapsed(late)
    used = months.bill / months.limit[:, None]
    bad = months.late_next
    return {
        "late in a month": float(late.mean()),
        "late in the last": float(now.mean()),
        "late at least once": float(ever.mean()),
        "cured, of those": float(cured.sum() / ever.sum()),
        "relapsed, of the cured": float(relapsed.sum() / cured.sum()),
        "defaults next": float(bad.mean()),
        "defaults, never late": float(bad[~ever].mean()),
        "defaults, late but cured": float(bad[ever & ~now].mean()),
        "defaults, late now": float(bad[now].mean()),
        "defaults, two behind": float(bad[months.status[:, -1] >= _TWO].mean()),
        "utilisation, mean": float(np.clip(used, 0.0, 2.0).mean()),
        "utilisation, median": float(np.median(used)),
        "utilisation above .9": float((used > 0.9).mean()),
        "owes nothing": float((used <= 0).mean()),
    }


def cured_and_relapsed(late: Flags) -> tuple[Flags, Flags]:
    """Return who was late and then not, and who of them was late once more."""
    was, cured = late[:, 0].copy(), np.zeros(len(late), np.bool_)
    relapsed = cured.copy()
    for month in range(1, late.shape[1]):
        relapsed |= cured & late[:, month]
        cured |= was & ~late[:, month]
        was |= late[:, month]
    return cured, relapsed


def holders(months: CardMonths) -> dict[str, Floats]:
    """Return what each holder sees, and all together."""
    spent = months.bill[:, 1:] - months.bill[:, :-1] + months.paid[:, 1:]
    found = {
        "bank": np.column_stack([months.limit, months.bill]),
        "payments": months.paid,
        "ecommerce": spent,
        "bureau": months.status.astype(np.float64),
    }
    return found | {"all": np.column_stack(list(found.values()))}


def aucs(months: CardMonths) -> dict[str, float]:
    """Return how well each holder alone, and all together, tell who defaults next."""
    label = months.late_next.astype(np.int64)
    return {name: held_out_auc(columns, label) for name, columns in holders(months).items()}


def held_out_auc(columns: Floats, label: NDArray[np.int64]) -> float:
    """Return the AUC of a logistic regression on weights of evidence, over five folds."""
    score = np.zeros(label.size)
    for learn, hold in StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(columns, label):
        pairs = [_weights(column[learn], label[learn], column[hold]) for column in columns.T]
        model = LogisticRegression(max_iter=100)
        model.fit(np.column_stack([one for one, _ in pairs]), label[learn])
        score[hold] = model.decision_function(np.column_stack([one for _, one in pairs]))
    return metrics.roc_auc(label, score)


def _weights(learn: Floats, label: NDArray[np.int64], hold: Floats) -> tuple[Floats, Floats]:
    edges = np.unique(np.quantile(learn, np.linspace(0, 1, _BINS + 1)[1:-1]))
    at = np.searchsorted(edges, learn, side="right")
    bad = np.bincount(at, label, edges.size + 1) + 0.5
    good = np.bincount(at, 1 - label, edges.size + 1) + 0.5
    weight = np.log(bad / bad.sum() / (good / good.sum()))
    return weight[at], weight[np.searchsorted(edges, hold, side="right")]


def compared(real: Mapping[str, float], made: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Return both side by side."""
    return {name: {"real": real[name], "world": made[name]} for name in real}
