"""Moments: exact counts, from rows, from the tables of several holders, and as sums."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import BadPeer, UsageError
from shared.scorecard.blocks import Block, one_hot
from shared.scorecard.moments import add, assemble, pooled


def block(owner, name, n_atoms, *, features=None):
    ladder = np.tri(n_atoms, n_atoms - 1, -1).astype(np.uint8)
    columns = tuple(f"{name}>#{k}" for k in range(n_atoms - 1))
    return Block(owner, features or (name,), columns, ladder, np.zeros(n_atoms - 1, dtype=np.int8))


BLOCKS = {
    "bank": (block("bank", "age", 3), block("bank", "limit", 4)),
    "shop": (block("shop", "spend", 5),),
    "bureau": (block("bureau", "late", 2), block("bureau", "lines", 3)),
}
ALL = tuple(one for blocks in BLOCKS.values() for one in blocks)


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    codes = [rng.integers(0, one.n_atoms, n).astype(np.int16) for one in ALL]
    return codes, rng.integers(0, 2, n).astype(np.uint8)


def dense(codes):
    return np.hstack([one_hot(c, b.n_atoms) for c, b in zip(codes, ALL, strict=True)]).astype(int)


def tables(codes, label):
    """What the holders would hand over: own, cross and label tables."""
    matrix = dense(codes)
    sizes = [sum(one.n_atoms for one in blocks) for blocks in BLOCKS.values()]
    parts = dict(zip(BLOCKS, np.split(matrix, np.cumsum(sizes)[:-1], axis=1), strict=True))
    own = {party: part.T @ part for party, part in parts.items()}
    cross = {
        ("bank", "shop"): parts["bank"].T @ parts["shop"],
        ("bureau", "bank"): parts["bureau"].T @ parts["bank"],
        ("bureau", "shop"): parts["bureau"].T @ parts["shop"],
    }
    bads = {party: part.T @ label.astype(int) for party, part in parts.items()}
    return own, cross, bads


def test_pooled_moments_are_the_products_of_the_one_hot_matrix():
    codes, label = rows(20_000)  # more than one chunk
    moments = pooled(ALL, codes, label)
    matrix = dense(codes)
    assert np.array_equal(moments.counts, matrix.T @ matrix)
    assert np.array_equal(moments.bads, matrix.T @ label.astype(int))
    assert (moments.n, moments.n_bad) == (20_000, label.sum())
    assert moments.counts.dtype == moments.bads.dtype == np.int64
    moments.check()


def test_columns_are_the_products_of_the_cumulated_matrix():
    codes, label = rows(700)
    columns = pooled(ALL, codes, label).columns()
    cumulated = np.hstack([b.ladder[c] for c, b in zip(codes, ALL, strict=True)]).astype(int)
    assert np.array_equal(columns.gram, cumulated.T @ cumulated)
    assert np.array_equal(columns.sums, cumulated.sum(0))
    assert np.array_equal(columns.bads, cumulated.T @ label.astype(int))
    assert columns.owners == tuple(["bank"] * 5 + ["shop"] * 4) + ("bureau",) * 3


def test_constant_and_doubled_columns_are_dropped_and_their_place_is_remembered():
    codes, label = rows(500)
    codes[0][:] = 1  # age>#0 holds everywhere, age>#1 nowhere
    codes[3] = (codes[4] > 1).astype(np.int16)  # lines>#1 is late, of the same holder
    moments = pooled(ALL, codes, label)
    columns = moments.columns()
    assert not {"age>#0", "age>#1", "lines>#1"} & set(columns.names)
    assert len(columns.names) == 9
    parts = columns.by_block(np.arange(1, 10))
    assert [part.tolist() for part in parts] == [[0, 0], [1, 2, 3], [4, 5, 6, 7], [8], [9, 0]]


def test_equal_columns_of_two_holders_both_stay():
    codes, label = rows(500)
    codes[3] = (codes[2] > 2).astype(np.int16)  # late of the bureau is spend>#2 of the shop
    columns = pooled(ALL, codes, label).columns()
    assert {"late>#0", "spend>#2"} <= set(columns.names)


def test_pair_columns_are_marked():
    pair = block("shop", "spend x visits", 3, features=("spend", "visits"))
    codes = [np.arange(60, dtype=np.int16) % 3, np.arange(60, dtype=np.int16) // 20]
    columns = pooled([block("shop", "spend", 3), pair], codes, np.arange(60) % 2).columns()
    assert columns.paired.tolist() == [False, False, True, True]


def test_tables_of_three_holders_assemble_to_the_pooled_moments():
    codes, label = rows(900)
    own, cross, bads = tables(codes, label)
    blind = assemble(BLOCKS, own, cross, bads, n=900, n_bad=int(label.sum()))
    whole = pooled(ALL, codes, label)
    assert blind.blocks == whole.blocks
    assert np.array_equal(blind.counts, whole.counts)
    assert np.array_equal(blind.bads, whole.bads)


def _broken(part):
    codes, label = rows(900)
    own, cross, bads = tables(codes, label)
    part(own, cross, bads)
    return lambda: assemble(BLOCKS, own, cross, bads, n=900, n_bad=int(label.sum()))


def _shift(table, entries):
    for place, change in entries:
        table[place] += change


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (lambda o, c, b: _shift(c["bank", "shop"], [((0, 0), 1)]), "between bank and shop"),
        (lambda o, c, b: _shift(c["bureau", "shop"], [((2, 1), -3)]), "between shop and bureau"),
        (lambda o, c, b: _shift(o["shop"], [((1, 1), 1)]), "shop"),
        (lambda o, c, b: _shift(o["bank"], [((0, 4), 1)]), "between bank and bank"),
        (lambda o, c, b: _shift(c["bank", "shop"], [((0, 0), -5000)]), "negative"),
        (lambda o, c, b: _shift(b["bureau"], [((0,), 1)]), "bureau: .*label"),
        (lambda o, c, b: c.pop(("bank", "shop")), "bank and shop: expected a table"),
        (lambda o, c, b: c.update({("bank", "shop"): np.ones((2, 2), int)}), "shape"),
        (lambda o, c, b: c.update({("bank", "shop"): c["bank", "shop"] * 1.0}), "integers"),
    ],
)
def test_a_table_that_does_not_add_up_names_the_pair(part, message):
    with pytest.raises(BadPeer, match=message):
        _broken(part)()


def test_moments_of_two_banks_add_up_to_those_of_all_their_rows():
    codes, label = rows(1000)
    first = pooled(ALL, [c[:300] for c in codes], label[:300])
    second = pooled(ALL, [c[300:] for c in codes], label[300:])
    both, whole = add(first, second), pooled(ALL, codes, label)
    assert np.array_equal(both.counts, whole.counts)
    assert np.array_equal(both.bads, whole.bads)
    assert (both.n, both.n_bad) == (whole.n, whole.n_bad)


def test_moments_of_different_columns_are_not_added():
    codes, label = rows(50)
    renamed = (block("bank", "AGE", 3), *ALL[1:])
    with pytest.raises(BadPeer, match="different columns"):
        add(pooled(ALL, codes, label), pooled(renamed, codes, label))


def test_rows_that_do_not_fit_are_refused():
    codes, label = rows(50)
    with pytest.raises(UsageError, match="one entry a row"):
        pooled(ALL, codes, label[:-1])
    with pytest.raises(UsageError, match="0 or 1"):
        pooled(ALL, codes, label * 2)
    with pytest.raises(UsageError, match="5 blocks"):
        pooled(ALL, codes[:-1], label)
