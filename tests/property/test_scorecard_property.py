"""What holds for any table: floors, ladders, exact moments, and a solver that is right and ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import ElasticNet

from shared.contract import Feature
from shared.scorecard.bins import Axis
from shared.scorecard.columns import Floors, one_hot
from shared.scorecard.moments import add, pooled
from shared.scorecard.path import fit_path
from shared.scorecard.planning import ColumnSettings, plan_blocks
from shared.scorecard.solve import Problem, fit
from tests.depth import depth

QUICK = settings(
    max_examples=depth(30, 40), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def any_column(rng, n):
    """Draw one column: continuous, lumpy, heavy-tailed or nearly constant; gaps and codes."""
    kind = rng.integers(4)
    if kind == 0:
        column = rng.normal(size=n)
    elif kind == 1:
        column = rng.poisson(rng.uniform(0.05, 3), n).astype(np.float64)
    elif kind == 2:
        column = np.round(np.exp(3 * rng.normal(size=n)), 1)
    else:
        column = (rng.random(n) < rng.uniform(0, 0.1)).astype(np.float64)
    column[rng.random(n) < rng.choice([0, 0.01, 0.2, 1.0], p=[0.5, 0.2, 0.28, 0.02])] = -7.0
    column[rng.random(n) < rng.choice([0, 0.01, 0.3])] = np.nan
    return column


@st.composite
def holders(draw):
    """Draw a holder's table, its features and how to cut them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 1500))
    count = draw(st.integers(1, 5))
    values = {f"x{k}": any_column(rng, n) for k in range(count)}
    features = [
        Feature(name, "shop", special=(-7.0, -8.0), direction=rng.choice(["", "up", "down"]))
        for name in values
    ]
    levels = tuple("abcdefg"[: draw(st.integers(1, 7))])
    values["kind"] = np.floor(len(levels) * rng.random(n) ** 3)
    values["kind"][rng.random(n) < 0.02] = np.nan
    features.append(Feature("kind", "shop", dtype="category", levels=levels))
    cut = ColumnSettings(
        thresholds=draw(st.integers(1, 30)),
        pair_thresholds=draw(st.integers(1, 6)),
        pair_levels=draw(st.integers(1, 6)),
        floors=Floors(draw(st.integers(1, 120)), draw(st.sampled_from([0.0, 0.004, 0.1]))),
    )
    return features, values, cut


@QUICK
@given(holders(), st.integers(0, 2**32 - 1))
def test_every_bin_and_its_complement_hold_the_floor_and_moments_are_exact(holder, seed):
    features, values, cut = holder
    plans = plan_blocks("shop", features, values, cut, with_pairs=True)
    n = len(values["kind"])
    label = np.random.default_rng(seed).integers(0, 2, n)
    blocks, codes = [p.public() for p in plans], [p.encode(values) for p in plans]
    for block, code in zip(blocks, codes, strict=True):
        counts = np.bincount(code, minlength=block.n_atoms)
        assert len(counts) == block.n_atoms >= 2
        assert min(counts.min(), n - counts.max()) >= cut.floors.minimum(n)
        assert len(np.unique(block.ladder, axis=0)) == block.n_atoms
        assert not block.ladder[0].any()
    assume(blocks)
    moments = pooled(blocks, codes, label)
    moments.check()
    rows = np.hstack([one_hot(c, b.n_atoms) for c, b in zip(codes, blocks, strict=True)])
    rows = rows.astype(np.int64)
    assert np.array_equal(moments.counts, rows.T @ rows)
    assert np.array_equal(moments.bads, rows.T @ label)
    columns = moments.columns()
    for index, name in enumerate(columns.names):
        block = next(k for k, block in enumerate(blocks) if name in block.columns)
        held = blocks[block].ladder[codes[block], blocks[block].columns.index(name)]
        assert columns.sums[index] == held.sum()
        assert columns.bads[index] == (held * label).sum()
    half = n // 2
    parts = [
        pooled(blocks, [c[part] for c in codes], label[part])
        for part in (slice(half), slice(half, n))
    ]
    both = add(*parts)
    assert np.array_equal(both.counts, moments.counts)
    assert (both.n, both.n_bad) == (moments.n, moments.n_bad)


@QUICK
@given(holders())
def test_thresholds_and_products_are_what_their_names_say(holder):
    features, values, cut = holder
    for plan in plan_blocks("shop", features, values, cut, with_pairs=True):
        indicators = plan.public().ladder[plan.encode(values)]
        ordinary = np.all([~np.isnan(values[x]) & (values[x] != -7) for x in plan.features], axis=0)
        columns = [values[x][ordinary] for x in plan.features]
        if isinstance(plan.bins, Axis):
            for k, edge in enumerate(plan.bins.edges):
                assert np.array_equal(indicators[ordinary, k], columns[0] > edge)
        elif len(plan.features) == 2:
            for k, (i, j) in enumerate(plan.bins.kept):
                one, two = plan.bins.first.edges[i], plan.bins.second.edges[j]
                assert np.array_equal(
                    indicators[ordinary, k], (columns[0] > one) & (columns[1] > two)
                )


@QUICK
@given(holders(), st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=9))
def test_any_number_can_be_scored(holder, numbers):
    features, values, cut = holder
    fresh = {name: np.array(numbers) for name in values if name != "kind"}
    fresh["kind"] = np.zeros(len(numbers))
    for plan in plan_blocks("shop", features, values, cut, with_pairs=True):
        codes = plan.encode(fresh)
        assert codes.min() >= 0
        assert codes.max() < plan.n_atoms


@st.composite
def problems(draw):
    """Draw a least-squares problem; columns may be copies, opposites or sums of others."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, p = draw(st.integers(8, 60)), draw(st.integers(1, 14))
    x = rng.normal(size=(n, p)) if draw(st.booleans()) else rng.integers(0, 2, (n, p)).astype(float)
    for k in range(1, p):
        trick = rng.integers(6)
        if trick == 0:
            x[:, k] = x[:, rng.integers(k)]
        elif trick == 1:
            x[:, k] = 1 - x[:, rng.integers(k)]
        elif trick == 2:
            x[:, k] = x[:, :k].sum(1)
    keep = x.std(0) > 1e-9
    x = x[:, keep]
    assume(x.shape[1] > 0)
    z = (x - x.mean(0)) / x.std(0)
    y = (rng.random(n) < 1 / (1 + np.exp(-z[:, 0] - rng.normal(size=n)))).astype(float)
    assume(0 < y.sum() < n)
    gram = z.T @ z / n
    np.fill_diagonal(gram, 1.0)
    p = z.shape[1]
    signs = rng.integers(-1, 2, p) if draw(st.booleans()) else np.zeros(p)
    weights = rng.uniform(0.5, 2, p) if draw(st.booleans()) else np.ones(p)
    problem = Problem(
        n, gram, z.T @ (y - y.mean()) / n, x.mean(0), x.std(0),
        y.mean(), y.var(), signs.astype(np.int8), weights,
    )  # fmt: skip
    return problem, z, y


def objective(problem, b, penalty, ridge):
    quadratic = b @ problem.gram @ b / 2 - problem.pull @ b + ridge / 2 * b @ b
    return quadratic + penalty * problem.weights @ np.abs(b)


def coordinate_descent(problem, penalty, ridge, sweeps=400):
    """Slow and simple: one coefficient after the other until nothing moves."""
    b = np.zeros(problem.pull.size)
    for _ in range(sweeps):
        moved = 0.0
        for j in range(b.size):
            force = problem.pull[j] - problem.gram[j] @ b + b[j]
            value = np.sign(force) * max(abs(force) - penalty * problem.weights[j], 0) / (1 + ridge)
            if problem.signs[j] * value < 0:
                value = 0.0
            moved, b[j] = max(moved, abs(value - b[j])), value
        if moved < 1e-14:
            break
    return b


RIDGES = st.sampled_from([1e-6, 1e-3, 0.1])


@QUICK
@given(problems(), st.floats(0, 1), RIDGES)
def test_no_point_beats_the_fit_and_its_conditions_hold(case, share, ridge):
    problem, _, _ = case
    penalty = share * problem.largest_penalty
    card = fit(problem, penalty, ridge=ridge)
    assert card.kkt < 1e-12
    assert (problem.signs * card.standard >= 0).all()
    slow = coordinate_descent(problem, penalty, ridge)
    ours, theirs = (objective(problem, b, penalty, ridge) for b in (card.standard, slow))
    assert ours <= theirs + 1e-13
    assert theirs <= ours + 1e-3  # the oracle came near
    if ridge > 0.01:  # with less, it crawls along the valley of doubled columns
        assert np.allclose(card.standard, slow, atol=1e-8)


@QUICK
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@given(problems(), st.floats(0.01, 0.9))
def test_it_agrees_with_scikit_learn(case, share):
    problem, z, y = case
    free = Problem(
        problem.n, problem.gram, problem.pull, problem.mean, problem.deviation,
        problem.label_mean, problem.label_variance,
        np.zeros_like(problem.signs), np.ones_like(problem.weights),
    )  # fmt: skip
    penalty, ridge = share * free.largest_penalty, 0.01
    oracle = ElasticNet(
        alpha=penalty + ridge, l1_ratio=penalty / (penalty + ridge), tol=1e-12, max_iter=100_000
    ).fit(z, y)
    card = fit(free, penalty, ridge=ridge)
    assert np.allclose(card.standard, oracle.coef_, atol=1e-6)
    fitted = card.intercept + (z * problem.deviation + problem.mean) @ card.coefficients
    assert np.allclose(fitted, oracle.predict(z), atol=1e-6)
    assert card.rss == pytest.approx(((y - fitted) ** 2).sum(), rel=1e-9)


@QUICK
@given(problems(), RIDGES)
def test_a_path_ends_and_every_card_on_it_is_a_minimum(case, ridge):
    problem, _, _ = case
    path = fit_path(problem, penalties=12, span=(1.0, 1e-4), ridge=ridge)
    assert path.fits[0].df == 0
    assert max(card.kkt for card in path.fits) < 1e-12
    losses = [card.rss / problem.n + ridge * card.standard @ card.standard for card in path.fits]
    assert (np.diff(losses) <= 1e-12).all()  # a smaller penalty never fits worse


def test_the_oracle_warns_when_it_is_not_done():
    """Scikit-learn would tell us if its answer were not a minimum: the comparison can fail."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(40, 12)) @ rng.normal(size=(12, 12))
    with pytest.warns(ConvergenceWarning):
        ElasticNet(alpha=1e-9, tol=1e-14, max_iter=2).fit(z, rng.normal(size=40))
