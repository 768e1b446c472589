"""One noisy release of moments: how far a customer moves it, and what the solver gets of it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from shared.errors import BadPeer, UsageError
from shared.masks import Keystream
from shared.privacy.edges import amount_grid, edges_of, histogram
from shared.privacy.moments import LABEL_WEIGHT, Table
from shared.privacy.noise import SharedNoise
from shared.privacy.tidy import tidy
from shared.scorecard.blocks import Block
from shared.scorecard.build import BuildSettings, draft_card
from shared.scorecard.moments import pooled


def block(name, bins):
    ladder = (np.arange(bins)[:, None] > np.arange(bins - 1)[None, :]).astype(np.uint8)
    columns = tuple(f"{name}>{k}" for k in range(bins - 1))
    return Block("bank", (name,), columns, ladder, np.zeros(bins - 1, np.int8))


def vector_of(blocks, rows, labels):
    codes = [np.array([row[k] for row in rows], dtype=np.int64) for k in range(len(blocks))]
    label = np.array(labels, dtype=np.int64)
    return Table.of(blocks).vector(pooled(blocks, codes, label))


@pytest.mark.parametrize("sizes", [(2,), (3, 2), (2, 3, 2)])
def test_no_customer_moves_the_release_further_than_its_sensitivity(sizes):
    blocks = [block(f"f{k}", bins) for k, bins in enumerate(sizes)]
    others, labels = [(0,) * len(sizes), tuple(bins - 1 for bins in sizes)], [0, 1]
    base = vector_of(blocks, others, labels)
    moved = {}
    for row in product(*(range(bins) for bins in sizes)):
        for label in (0, 1):
            step = vector_of(blocks, [*others, row], [*labels, label]) - base
            moved[row, label] = step
    squares = [int((step**2).sum()) for step in moved.values()]
    bound = Table.of(blocks).squared_sensitivity
    assert max(squares) == bound  # reached, so it cannot be smaller either
    exchanged = [
        int(((one - other) ** 2).sum()) for one in moved.values() for other in moved.values()
    ]
    assert max(exchanged) == 2 * bound


def test_the_sensitivity_is_the_one_written_down():
    assert Table((8,) * 19).squared_sensitivity == 171 + 19 + LABEL_WEIGHT**2 * 19


def test_a_pair_of_features_is_refused():
    pair = Block("bank", ("a", "b"), ("a>0",), np.array([[0], [1]], np.uint8), np.zeros(1, np.int8))
    with pytest.raises(UsageError, match="pairs"):
        Table.of([block("a", 2), pair])


def people(n=6000, seed=1):
    """Blocks, codes and labels of customers whose features depend on one hidden number."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    blocks = [block(f"f{k}", 5) for k in range(6)]
    codes = [
        np.searchsorted([-1, -0.4, 0.4, 1], 0.7 * hidden + 0.7 * rng.normal(size=n)) for _ in blocks
    ]
    label = (rng.normal(size=n) < 0.8 * hidden - 0.9).astype(np.int64)
    return blocks, codes, label


def auc(points, codes, label):
    total = -sum(part[code] for part, code in zip(points, codes, strict=True))
    order = np.argsort(np.argsort(total))
    bad = label == 1
    return (order[bad].sum() - bad.sum() * (bad.sum() - 1) / 2) / (bad.sum() * (~bad).sum())


def test_reading_a_vector_gives_back_the_counts():
    blocks, codes, label = people(500)
    moments = pooled(blocks, codes, label)
    table = Table.of(blocks)
    counts, bads = table.read(table.vector(moments))
    assert table.vector(moments).shape == (table.size,)
    assert np.array_equal(counts, moments.counts)
    assert np.array_equal(bads, moments.bads)
    with pytest.raises(BadPeer):
        table.read(np.zeros(table.size + 1))


@pytest.mark.parametrize("multiplier", [0.6, 4.0, 40.0])
def test_the_solver_gets_moments_that_could_be_those_of_people(multiplier):
    blocks, codes, label = people()
    table = Table.of(blocks)
    noise = SharedNoise(3, 1, table.squared_sensitivity, multiplier)
    draw = Keystream(bytes(32), "tidy").read
    vector = table.vector(pooled(blocks, codes, label))
    noisy = vector + sum(noise.draw(table.size, draw) for _ in range(3))
    tidied = tidy(noisy, blocks, len(label), noise.deviation)
    counts = tidied.moments.counts
    assert np.array_equal(counts, counts.T)
    bins = np.diag(counts)
    centred = counts - np.outer(bins, bins) / len(label)
    assert np.linalg.eigvalsh(centred)[0] > -0.01 * len(label)
    for span in table.spans():
        assert abs(int(bins[span].sum()) - len(label)) <= 5  # rounding of whole customers
    assert 0 <= tidied.kept <= 1
    draft = draft_card(tidied.moments, BuildSettings(ridge=tidied.ridge))
    assert np.isfinite(draft.fit.cp)


def test_a_little_noise_costs_little_and_a_lot_costs_more():
    blocks, codes, label = people()
    table = Table.of(blocks)
    exact = pooled(blocks, codes, label)
    best = auc(draft_card(exact).points, codes, label)
    found = []
    for multiplier in (0.6, 300.0):
        noise = SharedNoise(3, 1, table.squared_sensitivity, multiplier)
        draw = Keystream(bytes(32), "price").read
        noisy = table.vector(exact) + sum(noise.draw(table.size, draw) for _ in range(3))
        tidied = tidy(noisy, blocks, len(label), noise.deviation)
        draft = draft_card(tidied.moments, BuildSettings(ridge=tidied.ridge))
        found.append(auc(draft.points, codes, label))
    assert found[0] > best - 0.005
    assert found[1] < best - 0.01


def test_noise_that_drowns_the_label_is_refused():
    blocks, codes, label = people(200)
    table = Table.of(blocks)
    vector = table.vector(pooled(blocks, codes, np.where(np.arange(200) < 5, 1, 0)))
    vector[-sum(table.sizes) :] -= 10_000
    with pytest.raises(BadPeer, match="no bad"):
        tidy(vector, blocks, len(label), 100.0)


def test_edges_from_a_histogram_are_near_the_quantiles():
    values = np.exp(np.random.default_rng(2).normal(9, 1, 20_000))
    grid = amount_grid(0)
    counts = histogram(values, grid)
    assert counts.sum() == 20_000
    noisy = counts + np.random.default_rng(3).normal(0, 20, len(grid))
    edges = edges_of(noisy, grid, 8, 20.0)
    shares = np.diff([0.0, *(float((values <= edge).mean()) for edge in edges), 1.0])
    assert len(edges) == 7
    assert shares.min() > 0.05
    assert shares.max() < 0.2


def test_one_customer_moves_one_count_of_a_histogram():
    grid = amount_grid(-2, 9)
    values = np.array([-2.0, 0.0, 3.0, 8.0])
    more = histogram(np.append(values, 3.0), grid) - histogram(values, grid)
    assert more.sum() == 1
    assert (more**2).sum() == 1
    assert edges_of(np.zeros(len(grid)), grid, 8, 1.0) == ()
