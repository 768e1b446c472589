"""The bench's paired interval over seeds is DeLong's, and narrower than that of one seed."""

from __future__ import annotations

import numpy as np
import pytest

from scripts._paired import paired
from shared.challenger.compare import Pairs, delong

N = 600


@pytest.fixture
def customers():
    """Labels, and noisy scores of two models over three seeds, with ties."""
    rng = np.random.default_rng(5)
    label = (rng.random(N) < 0.3).astype(np.int64)
    risk = label + rng.normal(size=N)
    noisy = [[np.round(risk + rng.normal(size=N) * s, 1) for _ in range(3)] for s in (1.5, 0.8)]
    return label, *noisy


def test_with_one_seed_it_is_the_product_s_own_interval(customers):
    label, before, after = customers
    ours = paired(label, before[:1], after[:1])
    theirs, _ = delong(Pairs.of_rows(label, before[0], after[0]))
    assert ours["before"] == pytest.approx(theirs.champion, abs=1e-12)
    assert ours["after"] == pytest.approx(theirs.challenger, abs=1e-12)
    for name, value in (
        ("difference", theirs.difference.value),
        ("low", theirs.difference.low),
        ("high", theirs.difference.high),
    ):
        assert ours[name] == pytest.approx(value, abs=1e-12)


def test_over_seeds_it_is_the_mean_and_its_interval_is_narrower(customers):
    label, before, after = customers
    whole = paired(label, before, after)
    each = [paired(label, [a], [b]) for a, b in zip(before, after, strict=True)]
    assert whole["difference"] == pytest.approx(np.mean([one["difference"] for one in each]))
    assert whole["by_seed"] == [round(one["difference"], 4) for one in each]
    assert whole["high"] - whole["low"] < min(one["high"] - one["low"] for one in each)


def test_a_model_against_itself_gains_nothing_for_sure(customers):
    label, before, _ = customers
    one = paired(label, before, before)
    assert one["low"] == one["difference"] == one["high"] == 0.0
