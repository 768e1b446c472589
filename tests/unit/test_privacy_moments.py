"""One noisy release of moments: how far a customer moves it, and what the solver gets of it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from shared.contract import Feature
from shared.errors import BadPeer, FloorBroken, Refused, UsageError
from shared.masks import Keystream
from shared.privacy.edges import coarse_grid, edges_of
from shared.privacy.moments import LABEL_WEIGHT, Table
from shared.privacy.noise import Grain, SharedNoise
from shared.privacy.plans import bins_within, coarse_tallies, plan_noisy
from shared.privacy.terms import shared_noise
from shared.privacy.tidy import Variances, tidy, tidy_counts
from shared.scorecard.bins import Floors
from shared.scorecard.blocks import Block
from shared.scorecard.buckets import Tally, count_all
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
    grid = coarse_grid("number", 0, None)
    counts = Tally("x", grid=grid).count({"x": values})[:-1]
    assert counts.sum() == 20_000
    noisy = counts + np.random.default_rng(3).normal(0, 20, len(grid))
    edges = edges_of(noisy, grid, 8, 20.0)
    shares = np.diff([0.0, *(float((values <= edge).mean()) for edge in edges), 1.0])
    assert len(edges) == 7
    assert shares.min() > 0.05
    assert shares.max() < 0.2


def test_one_customer_moves_one_count_a_column_whatever_its_values():
    features = [
        Feature("LATE", "*", "integer", low=0, high=12, special=(-1.0,)),
        Feature("AMOUNT", "*", "number"),
        Feature("HOME", "*", "category", levels=("own", "rent")),
    ]
    columns = coarse_tallies(features, ())
    base = {"LATE": [0.0, 12.0], "AMOUNT": [-1e12, 1e12], "HOME": [0.0, 1.0]}
    before = count_all(columns, {name: np.array(values) for name, values in base.items()})
    for late, amount, home in product((3.0, -1.0, np.nan), (0.0, 5e-9, np.nan), (1.0, np.nan)):
        row = dict(zip(base, (late, amount, home), strict=True))
        more = {name: np.array([*values, row[name]]) for name, values in base.items()}
        moved = count_all(columns, more) - before
        assert moved.sum() == (moved**2).sum() == len(columns)


@pytest.mark.parametrize(
    ("dtype", "low", "high", "most"),
    [
        ("integer", 0, 12, 13),
        ("number", 0, 1, 80),
        ("integer", None, None, 260),
        ("number", 0, None, 170),
    ],
)
def test_coarse_buckets_are_few_ascend_and_lie_within_the_contract(dtype, low, high, most):
    grid = coarse_grid(dtype, low, high)
    assert 12 < len(grid) <= most
    assert (np.diff(grid) > 0).all()
    assert grid[-1] == (np.inf if high is None else high)
    assert low is None or grid[0] >= low


def test_bins_from_noisy_counts_hold_the_floor_and_what_noise_alone_gives_has_none():
    features = [
        Feature("LATE", "*", "integer", low=0, high=12, special=(-1.0,), direction="up"),
        Feature("HOME", "*", "category", levels=("own", "rent", "boat")),
        Feature("EMPTY", "*", "integer", low=0, high=12),
    ]
    columns = coarse_tallies(features, ())
    rng = np.random.default_rng(4)
    late = rng.poisson(2, 4000).clip(0, 12).astype(float)
    late[:900] = -1
    home = rng.choice([0.0, 1.0], 4000)
    home[:3] = 2
    values = {"LATE": late, "HOME": home, "EMPTY": np.zeros(4000)}
    counts = count_all(columns, values)
    noisy = counts + rng.normal(0, 20, len(counts))
    plans = plan_noisy("bank", columns, noisy, 20.0, 4000, Floors(rows=100))
    assert [plan.features for plan in plans] == [("LATE",), ("HOME",)]
    lates, homes = plans
    assert lates.sign == 1
    assert lates.bins.apart == ((-1.0,),)
    assert np.bincount(lates.encode(values)).min() > 60
    assert homes.n_atoms == 2
    assert plan_noisy("bank", columns, 0 * noisy, 20.0, 4000, Floors(rows=100)) == ()


def test_fewer_bins_where_the_rank_is_bounded():
    assert [bins_within(4, rank) for rank in (100, 29, 13, 5)] == [8, 8, 4, 2]
    with pytest.raises(FloorBroken):
        bins_within(4, 4)


def test_each_table_may_have_noise_of_its_own_and_exact_ones_are_trusted():
    blocks, codes, label = people()
    exact = pooled(blocks, codes, label)
    table = Table.of(blocks)
    counts, bads = table.read(table.vector(exact))
    owners = np.arange(len(blocks)) >= 2  # the first two are the builder's own
    tables = 60.0**2 * np.add.outer(owners, owners).astype(float)
    tables[np.diag_indices(len(blocks))] /= 2
    scale = np.sqrt(np.repeat(np.repeat(tables, 5, axis=0), 5, axis=1))
    draw = np.random.default_rng(5).normal(size=counts.shape) * scale
    noisy = counts + (np.triu(draw) + np.triu(draw, 1).T) * (counts > 0)
    found = tidy_counts(noisy, bads, blocks, len(label), Variances(tables, 20.0**2 * owners))
    bins = np.diag(found.moments.counts)
    assert np.abs(bins[:10] - np.diag(exact.counts)[:10]).max() <= 1
    assert np.abs(bins[10:] - np.diag(exact.counts)[10:]).max() > 5
    assert found.moments.n_bad == exact.n_bad
    best = auc(draft_card(exact).points, codes, label)
    draft = draft_card(found.moments, BuildSettings(ridge=found.ridge))
    assert auc(draft.points, codes, label) > best - 0.01


def test_little_noise_on_few_counts_is_counted_in_finer_units():
    noise, unit = shared_noise(3, 0, 18, 0.6)
    assert unit == 4
    assert noise.share_variance >= 16
    assert noise.deviation / unit == pytest.approx(0.6 * np.sqrt(18) * np.sqrt(1.5), rel=0.05)
    assert shared_noise(3, 0, 494, 4.0)[1] == 1
    grain = noise.grain(unit)
    assert "variance" in grain.kind("counts")
    assert grain.bound(10) == 10 * unit + noise.bound
    for wrong in ((1, 1), (100, 0), (100.0, 1), (100, 1 << 20)):
        with pytest.raises(Refused):
            Grain(*wrong)
