"""The builder keeps within its rank, and keeps what its label asks for."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract import Feature
from shared.scorecard.columns import Floors
from shared.scorecard.planning import ColumnSettings, plan_blocks
from shared.scorecard.thin import rank_of, thin

FEATURES = [
    Feature("SIGNAL", "bank"),
    Feature("NOISE", "bank", special=(-1.0,)),
    Feature("KIND", "bank", dtype="category", levels=("a", "b", "c")),
]
SETTINGS = ColumnSettings(thresholds=20, floors=Floors(rows=30, share=0.01))


def people(n, seed):
    rng = np.random.default_rng(seed)
    signal, noise = rng.normal(size=n), rng.normal(size=n)
    noise[rng.random(n) < 0.1] = -1.0
    values = {"SIGNAL": signal, "NOISE": noise, "KIND": rng.integers(0, 3, n).astype(float)}
    label = (rng.random(n) < 1 / (1 + np.exp(1 - 2 * signal))).astype(np.int64)
    return values, label


def planned(values):
    return plan_blocks("bank", FEATURES, values, SETTINGS, with_pairs=False)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 50), rank=st.integers(6, 60))
def test_the_rank_is_kept_and_every_bin_keeps_its_floor(seed, rank):
    values, label = people(1500, seed)
    plans = planned(values)
    kept = thin(plans, values, label, rank)
    assert rank_of(kept) == min(rank, rank_of(plans))
    for plan in kept:
        counts = np.bincount(plan.encode(values), minlength=plan.n_atoms)
        assert counts.min() >= SETTINGS.floors.minimum(1500)


def test_what_fits_is_left_alone():
    values, label = people(1500, 0)
    plans = planned(values)
    assert thin(plans, values, label, rank_of(plans)) == plans


def test_thresholds_that_the_label_asks_for_stay_and_noise_goes():
    values, label = people(4000, 1)
    kept = {plan.features[0]: plan for plan in thin(planned(values), values, label, 14)}
    signal = len(kept["SIGNAL"].bins.edges)
    noise = len(kept["NOISE"].bins.edges) if "NOISE" in kept else 0
    assert signal > noise
    assert kept["KIND"].n_atoms == 3


def test_bins_apart_and_categories_are_never_dropped():
    values, label = people(1500, 2)
    kept = thin(planned(values), values, label, 1)
    assert [plan.features[0] for plan in kept] == ["NOISE", "KIND"]
    assert rank_of(kept) == pytest.approx(4)
