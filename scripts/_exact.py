"""Is the blind card the pooled card? Counts and fits of a finished run, once more from its rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clients.card import builder
from clients.card.parts import encode, plans_from_value
from clients.party import Party
from server.coordinator import load_federation
from shared import metrics
from shared.scorecard.blocks import Block
from shared.scorecard.build import Draft, draft_card
from shared.scorecard.moments import Moments, add, pooled

SHARDS = 3


@dataclass(frozen=True, slots=True, eq=False)
class Holder:
    """What a holder has on its disk after a run: bins of both tables in common order."""

    blocks: list[Block]
    train: NDArray[np.int16]
    test: NDArray[np.int16]


def read_holder(party: Party, run: str) -> Holder:
    plans = plans_from_value(party.store.load_value(run, "plans"), "plans.json")
    train = party.store.load_array(run, "train_rows")
    test = party.store.load_array(run, "test_rows")
    return Holder(
        [plan.public() for plan in plans],
        encode(plans, party.train, train),
        encode(plans, party.test, test),
    )


def compare_pooled(federation: Path, run: str) -> dict[str, Any]:
    """Pool the rows, count again with the parties' own bins, fit again, and compare.

    Returns
    -------
    dict
        Whether blind, summed and pooled counts are equal; the largest difference of coefficients
        among the three fits; whether the card's points are those of the pooled fit; the test AUC
        and KS of the pooled card with its whole points.
    """
    agreed, _ = load_federation(federation)
    parties = {name: Party.load(federation, name) for name in agreed.holders}
    kept = {name: read_holder(party, run) for name, party in parties.items()}
    fitting = parties[agreed.builder]
    blocks = [block for one in kept.values() for block in one.blocks]
    codes = np.column_stack([one.train for one in kept.values()]).T
    label, seen = (
        builder.label_of(table)[fitting.store.load_array(run, f"{part}_rows")]
        for part, table in (("train", fitting.train), ("test", fitting.test))
    )
    counted = pooled(blocks, list(codes), label)
    shards = np.array_split(np.arange(len(label)), SHARDS)
    summed = reduce(add, [pooled(blocks, list(codes[:, rows]), label[rows]) for rows in shards])
    blind = opened_moments(fitting, run, counted)
    settings = builder.settings_of(fitting)
    drafts = [draft_card(moments, settings) for moments in (counted, blind, summed)]
    points = np.concatenate([one.test for one in kept.values()], axis=1).T
    total = sum(line[codes] for line, codes in zip(drafts[0].points, points, strict=True))
    return {
        "blind_equals_pooled": same_counts(blind, counted),
        "summed_equals_pooled": same_counts(summed, counted),
        "max_coefficient_difference": max(difference(drafts[0], one) for one in drafts[1:]),
        "points_equal_pooled": card_points(fitting, run) == [p.tolist() for p in drafts[0].points],
        "pooled_test_auc": metrics.roc_auc(seen, -np.asarray(total)),
        "pooled_test_ks": metrics.ks(seen, -np.asarray(total)),
    }


def opened_moments(party: Party, run: str, like: Moments) -> Moments:
    """Return the moments as the builder opened them."""
    bads = party.store.load_array(run, "moments_bads")
    counts = party.store.load_array(run, "moments")
    first = like.blocks[0].n_atoms
    return replace(like, counts=counts, bads=bads, n_bad=int(bads[:first].sum()))


def card_points(party: Party, run: str) -> list[list[int]]:
    return [line["points"] for line in party.store.load_value(run, "card")["lines"]]


def same_counts(one: Moments, other: Moments) -> bool:
    """Return whether two sets of moments are equal as integers."""
    whole = one.counts.dtype.kind == other.counts.dtype.kind == "i"
    same = np.array_equal(one.counts, other.counts) and np.array_equal(one.bads, other.bads)
    return whole and same and (one.n, one.n_bad) == (other.n, other.n_bad)


def difference(one: Draft, other: Draft) -> float:
    """Return the largest difference of two cards' coefficients; infinite for other columns."""
    if one.columns.names != other.columns.names:
        return float("inf")
    return float(np.abs(one.fit.coefficients - other.fit.coefficients).max())
