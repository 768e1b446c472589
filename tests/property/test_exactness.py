"""The central property: blind, summed and pooled moments are the same integers, so cards agree."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clients.card.builder import label_of, settings_of
from clients.card.parts import encode, plans_from_value
from clients.party import Party
from shared.scorecard.build import draft_card
from shared.scorecard.card import Card
from shared.scorecard.moments import Moments, add, pooled
from tests.depth import depth
from tests.whole_runs import HOLDERS, build, train

FEW = settings(
    max_examples=depth(2, 4),
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # a whole training an example: too slow to shrink
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def rows_in_one_place(path, run="first"):
    """Return what nobody holds in a real run: all blocks, the bins of all rows, and the label."""
    blocks, codes, label = [], [], None
    for name in HOLDERS:
        if not (path.parent / name).exists():
            continue
        party = Party.load(path, name)
        plans = plans_from_value(party.store.load_value(run, "plans"), "plans.json")
        rows = party.store.load_array(run, "train_rows")
        blocks += [plan.public() for plan in plans]
        codes += list(encode(plans, party.train, rows).T)
        if party.is_builder:
            label = label_of(party.train)[rows]
    return blocks, codes, label


def assert_same(first, second):
    np.testing.assert_array_equal(first.counts, second.counts)
    np.testing.assert_array_equal(first.bads, second.bads)
    assert (first.n, first.n_bad) == (second.n, second.n_bad)


@FEW
@given(
    seed=st.integers(0, 1000),
    customers=st.integers(320, 560),
    others=st.sampled_from([("bureau",), ("ecommerce", "payments"), HOLDERS[1:]]),
    thresholds=st.integers(1, 8),
    pairs=st.integers(0, 2),
)
def test_blind_moments_are_the_pooled_and_the_summed_ones_and_so_is_the_card(
    tmp_path_factory, seed, customers, others, thresholds, pairs
):
    path = build(
        tmp_path_factory.mktemp("world"),
        parties=("bank", *others),
        customers=customers,
        seed=seed,
        thresholds=thresholds,
        pair_thresholds=pairs,
        two_party_scores="accept",
    )
    train(path)
    builder = Party.load(path, "bank")
    blocks, codes, label = rows_in_one_place(path)
    whole = pooled(blocks, codes, label)
    load = builder.store.load_array
    blind = Moments(
        whole.n, whole.blocks, load("first", "moments"), load("first", "moments_bads"), whole.n_bad
    )
    assert_same(blind, whole)
    cut = len(label) // 3
    summed = add(
        pooled(blocks, [code[:cut] for code in codes], label[:cut]),
        pooled(blocks, [code[cut:] for code in codes], label[cut:]),
    )
    assert_same(blind, summed)
    fitted = settings_of(builder)
    drafts = [draft_card(moments, fitted) for moments in (blind, whole, summed)]
    for draft in drafts[1:]:
        np.testing.assert_allclose(
            draft.fit.coefficients, drafts[0].fit.coefficients, rtol=0, atol=1e-9
        )
    card = Card.from_mapping(
        json.loads((path.parent / "bank/runs/first/card.json").read_text()), "card.json"
    )
    assert [list(line.points) for line in card.lines] == [
        points.tolist() for points in drafts[1].points
    ]
    assert card.cp == pytest.approx(drafts[1].fit.cp, abs=1e-9)


def test_one_customer_more_is_seen(tmp_path):
    """The control: the comparison above would notice a single row."""
    path = build(tmp_path, parties=("bank", "bureau"), customers=300, two_party_scores="accept")
    train(path)
    blocks, codes, label = rows_in_one_place(path)
    whole = pooled(blocks, codes, label)
    label[0] = 1 - label[0]
    other = pooled(blocks, codes, label)
    with pytest.raises(AssertionError):
        assert_same(whole, other)
