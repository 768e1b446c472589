"""What the card is compared with: boosted trees and a logistic regression on pooled columns."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.model_selection import StratifiedKFold  # type: ignore[import-untyped]
from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from shared import metrics

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def boosting(train: Floats, label: Ints, test: Floats, seen: Ints) -> dict[str, Any]:
    """Return the best of twelve boosted ensembles by 5-fold AUC on the customers to learn from."""
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(train, label))
    tried: list[tuple[float, int, float, int]] = []
    for depth, rate in product((2, 3, 4), (0.05, 0.1)):
        aucs: dict[int, list[float]] = {100: [], 300: []}
        for learn, hold in folds:
            model = trees(depth, rate, 300).fit(train[learn], label[learn])
            # The first 100 trees of 300 are the 100 trees: nothing here is drawn.
            for count, into in aucs.items():
                margin = model.predict(train[hold], output_margin=True, iteration_range=(0, count))
                into.append(metrics.roc_auc(label[hold], margin.astype(np.float64)))
        tried += [(float(np.mean(values)), depth, rate, n) for n, values in aucs.items()]
    best, depth, rate, count = max(tried)
    model = trees(depth, rate, count).fit(train, label)
    margin = model.predict(test, output_margin=True).astype(np.float64)
    return {
        "test_auc": metrics.roc_auc(seen, margin),
        "test_ks": metrics.ks(seen, margin),
        "fold_auc": best,
        "depth": depth,
        "rate": rate,
        "trees": count,
    }


def trees(depth: int, rate: float, count: int) -> xgboost.XGBClassifier:
    # One thread: two that wait for each other on a shared machine took ten times as long.
    return xgboost.XGBClassifier(
        max_depth=depth, learning_rate=rate, n_estimators=count, tree_method="hist", n_jobs=1
    )


def logistic(train: Floats, label: Ints, test: Floats, seen: Ints) -> dict[str, float]:
    """Return a plain logistic regression on standardised columns."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(train, label)
    chance = model.predict_proba(test)[:, 1]
    return {"test_auc": metrics.roc_auc(seen, chance), "test_ks": metrics.ks(seen, chance)}
