"""The solver: exact minima from moments alone, and an end in every case."""

from __future__ import annotations

import numpy as np
import pytest

from shared.errors import UsageError
from shared.scorecard import active_set
from shared.scorecard.blocks import Block
from shared.scorecard.moments import pooled
from shared.scorecard.path import choose, fit_path
from shared.scorecard.solve import Problem, fit, standard_errors
from shared.scorecard.worth import worth_of_holders

OWNERS = ("bank", "shop", "bureau")


def table(n=4000, seed=0, owners=OWNERS, direction=0):
    """Three holders with two correlated features each, cut into seven bins, and a label."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=n)
    blocks, codes, drive = [], [], np.zeros(n)
    for k, owner in enumerate(owners):
        for feature in "ab":
            x = 0.6 * latent + rng.normal(size=n)
            code = np.searchsorted(np.quantile(x, np.arange(1, 7) / 7), x).astype(np.int16)
            ladder = np.tri(7, 6, -1).astype(np.uint8)
            name = f"{owner}.{feature}"
            columns = tuple(f"{name}>#{i}" for i in range(6))
            signs = np.full(6, direction, dtype=np.int8)
            blocks.append(Block(owner, (name,), columns, ladder, signs))
            codes.append(code)
            drive += (k + 1) * 0.2 * x
    label = (drive + rng.logistic(size=n) > 1.5).astype(np.uint8)
    return blocks, codes, label


def problem_of(*args, **kwargs):
    moments = pooled(*table(*args, **kwargs)).columns()
    return moments, Problem.of(moments)


def design(blocks, codes):
    return np.hstack([b.ladder[c] for c, b in zip(codes, blocks, strict=True)]).astype(np.float64)


def test_the_problem_is_the_standardised_table():
    blocks, codes, label = table()
    x = design(blocks, codes)
    problem = Problem.of(pooled(blocks, codes, label).columns())
    z = (x - x.mean(0)) / x.std(0)
    assert np.allclose(problem.gram, z.T @ z / len(z), atol=1e-13)
    assert np.allclose(problem.pull, z.T @ (label - label.mean()) / len(z), atol=1e-14)
    assert problem.label_variance == pytest.approx(label.var(), abs=1e-15)


def test_without_a_penalty_the_fit_is_least_squares():
    blocks, codes, label = table()
    x = design(blocks, codes)
    card = fit(Problem.of(pooled(blocks, codes, label).columns()), 0.0, ridge=1e-6)
    full = np.column_stack([np.ones(len(x)), x])
    expected, rss, *_ = np.linalg.lstsq(full, label.astype(float), rcond=None)
    assert np.allclose(card.coefficients, expected[1:], atol=2e-6)
    assert card.intercept == pytest.approx(expected[0], abs=1e-5)
    assert card.rss == pytest.approx(rss[0], rel=1e-8)


def test_at_the_largest_penalty_the_card_is_empty_and_just_below_it_is_not():
    _, problem = problem_of()
    assert fit(problem, problem.largest_penalty).df == 0
    assert fit(problem, problem.largest_penalty * 0.999).df == 1


def test_taking_in_one_column_at_a_time_gives_the_same_card(monkeypatch):
    _, problem = problem_of()
    card = fit(problem, 1e-3)
    monkeypatch.setattr(active_set, "_FALL", 10.0)  # several at once are never good enough
    slow = fit(problem, 1e-3)
    assert card.df > 16  # more than one batch
    assert slow.df == card.df
    assert np.allclose(slow.coefficients, card.coefficients, atol=1e-12)


def test_the_search_ends_even_if_the_conditions_never_seem_to_hold(monkeypatch):
    _, problem = problem_of()
    card = fit(problem, 1e-3)
    monkeypatch.setattr(
        active_set, "_TOLERANCE", -10.0
    )  # every column outside asks to come in, forever
    assert np.allclose(fit(problem, 1e-3).coefficients, card.coefficients, atol=1e-12)


def test_columns_that_all_count_the_same_rows_leave_an_empty_card():
    blocks, codes, label = table(100)
    constant = [np.zeros_like(code) for code in codes]
    problem = Problem.of(pooled(blocks, constant, label).columns())
    card = choose(fit_path(problem, penalties=3))
    assert card.df == 0
    assert card.intercept == pytest.approx(label.mean())


def test_a_warm_start_changes_nothing():
    _, problem = problem_of()
    path = fit_path(problem, penalties=12)
    for card in path.fits:
        cold = fit(problem, card.penalty)
        assert np.allclose(cold.coefficients, card.coefficients, atol=1e-12)
        assert cold.df == card.df
        assert card.kkt < 1e-12


def test_equal_moments_give_equal_cards_bit_for_bit():
    one, two = (fit_path(problem_of()[1], penalties=8) for _ in range(2))
    for first, second in zip(one.fits, two.fits, strict=True):
        assert first.coefficients.tobytes() == second.coefficients.tobytes()
        assert first.cp == second.cp


def test_the_choice_minimises_cp_and_the_sparser_one_stays_near():
    _, problem = problem_of()
    path = fit_path(problem, penalties=20, span=(0.9, 0.001))
    best, sparse = choose(path), choose(path, sparser=True)
    assert best.cp == min(card.cp for card in path.fits)
    assert best.cp == pytest.approx(problem.n * np.log(best.rss / problem.n) + 2 * best.df)
    assert sparse.df < best.df
    assert sparse.cp <= best.cp + np.sqrt(2 * best.df)


def test_an_asked_direction_is_kept_even_against_the_data():
    _, free = problem_of()
    _, forced = problem_of(direction=-1)
    assert (fit(free, 1e-3).coefficients > 0).any()
    card = fit(forced, 1e-3)
    assert (card.coefficients <= 0).all()
    assert card.kkt < 1e-12


def test_a_heavier_pair_weight_keeps_fewer_pairs():
    blocks, codes, label = table()
    paired = [Block(b.owner, (b.name, "z"), b.columns, b.ladder, b.signs) for b in blocks[2:]]
    moments = pooled([*blocks[:2], *paired], codes, label).columns()
    kept = [
        (fit(Problem.of(moments, pair_weight=weight), 2e-3).coefficients[moments.paired] != 0).sum()
        for weight in (1.0, 8.0)
    ]
    assert kept[1] < kept[0]
    with pytest.raises(UsageError, match="pair_weight"):
        Problem.of(moments, pair_weight=0)


def test_standard_errors_match_the_spread_of_repeated_samples():
    estimates, errors = [], []
    for seed in range(60):
        _, problem = problem_of(n=800, seed=seed)
        card = fit(problem, 0.0, ridge=1e-6)
        estimates.append(card.coefficients)
        errors.append(standard_errors(problem, card, ridge=1e-6))
    ratio = np.mean(errors, axis=0) / np.std(estimates, axis=0)
    assert 0.85 < np.median(ratio) < 1.15
    assert (standard_errors(problem, fit(problem, problem.largest_penalty)) == 0).all()


def test_impossible_requests_are_refused():
    blocks, codes, label = table(200)
    with pytest.raises(UsageError, match="one class only"):
        Problem.of(pooled(blocks, codes, np.zeros_like(label)).columns())
    _, problem = problem_of()
    with pytest.raises(UsageError, match="penalty"):
        fit(problem, -1.0)
    with pytest.raises(UsageError, match="ridge"):
        fit(problem, 0.1, ridge=0.0)


def test_shares_of_the_holders_add_up_to_the_whole_card():
    moments, problem = problem_of()
    card = choose(fit_path(problem, penalties=12))
    worth = worth_of_holders(problem, moments.owners, card)
    explained = 1 - card.rss / (problem.n * problem.label_variance)
    assert [one.holder for one in worth] == list(OWNERS)
    assert sum(one.shapley for one in worth) == pytest.approx(explained, abs=1e-12)
    bank, shop, bureau = worth
    assert bank.shapley < shop.shapley < bureau.shapley
    for one in worth:
        assert 0 < one.left_out < one.shapley < one.alone


def test_worth_equals_fits_without_the_other_columns():
    moments, problem = problem_of()
    card = fit(problem, 2e-3)
    bureau = worth_of_holders(problem, moments.owners, card)[2]
    blocks, codes, label = table()
    alone = Problem.of(pooled(blocks[4:], codes[4:], label).columns())
    expected = 1 - fit(alone, 2e-3).rss / (alone.n * alone.label_variance)
    assert bureau.alone == pytest.approx(expected, abs=1e-12)


def test_two_holders_with_the_same_information_share_it_and_lose_nothing_alone():
    blocks, codes, label = table(owners=("bank", "shop"))
    twin = [Block("twin", b.features, b.columns, b.ladder, b.signs) for b in blocks[2:]]
    moments = pooled([*blocks, *twin], [*codes, *codes[2:]], label).columns()
    problem = Problem.of(moments)
    _, shop, other = worth_of_holders(problem, moments.owners, fit(problem, 2e-3))
    assert shop.shapley == pytest.approx(other.shapley, rel=1e-9)
    assert max(shop.left_out, other.left_out) < 0.01 * shop.shapley


def test_worth_is_exact_for_ten_holders_at_most():
    moments, problem = problem_of()
    owners = [f"h{k % 11}" for k in range(len(moments.owners))]
    with pytest.raises(UsageError, match="at most 10"):
        worth_of_holders(problem, owners, fit(problem, 2e-3))
    with pytest.raises(UsageError, match="expected 36 names"):
        worth_of_holders(problem, owners[:-1], fit(problem, 2e-3))
