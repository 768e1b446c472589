"""How good the neural model is: federated against the same network on pooled customers.

    python scripts/bench_neural.py --data ../shared/data [--json FILE] [--seeds 1 2 3] [--part NAME]

Parts: `split` (the published split, all columns, three banks) and `uci` (uci_default, four banks,
as the contract says monotone). What each bank has of it is measured by `bench_gains.py`. Everything
but the messages is the product's own: edges from summed histograms, updates clipped and averaged,
the best round by the builder's customers held out. The secure sum rounds by less than 1e-6 a weight
(`tests/protocols/test_neural.py`).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from clients.data.datasets import embedded_contract, fetch_uci_default
from clients.data.split import same_features
from clients.neural.data import _unit
from scripts import _bench, _credit
from shared import metrics
from shared.contract import EVERY, Feature, check_columns
from shared.neural import average
from shared.neural.inputs import Encoding, own_counts
from shared.neural.layout import Layout
from shared.neural.personal import log_losses
from shared.neural.train import Recipe, default_prob, train
from shared.sections import Neural

AGREED = Neural()
FLOOR = 100


@dataclass(frozen=True)
class Bank:
    """Columns and labels of a bank's customers: to train on, held out of that, to test on."""

    own: tuple[dict[str, Any], Any]
    held: tuple[dict[str, Any], Any]
    test: tuple[dict[str, Any], Any]


def make_bank(columns: Mapping[str, Any], label: Any, ids: Sequence[str], test: Any) -> Bank:
    held = np.array([_unit(str(key)) < AGREED.holdout for key in ids])

    def some(rows: Any) -> tuple[dict[str, Any], Any]:
        return {name: column[rows] for name, column in columns.items()}, label[rows]

    return Bank(some(~test & ~held), some(~test & held), some(test))


def deal(ids: Sequence[str], salt: str, shares: Sequence[float]) -> Any:
    """Return each customer's bank, by a hash of the id."""
    place = np.array([_unit(f"{salt}{key}") for key in ids])
    return np.searchsorted(np.cumsum(shares)[:-1], place, side="right")


def read_published(folder: Path) -> tuple[list[Bank], tuple[Feature, ...]]:
    split = _credit.read_split(folder / "default_credit_split")
    names = _credit.COLUMNS
    both = {
        name: np.concatenate([split.train[name], split.test[name]]) for name in (*names, "id", "y")
    }
    test = np.arange(len(both["y"])) >= len(split.train["y"])
    where = deal(both["id"], "published", [1 / 3] * 3)
    banks = [
        make_bank(
            {name: both[name][where == one] for name in names},
            both["y"][where == one],
            both["id"][where == one],
            test[where == one],
        )
        for one in range(3)
    ]
    return banks, tuple(Feature(name, EVERY) for name in names)


def read_uci(folder: Path, by: str) -> tuple[list[Bank], tuple[Feature, ...]]:
    contract, _ = same_features(embedded_contract("uci_default")[1], "uci_default.toml")
    found = next(path for path in sorted((folder / "uci_default").iterdir()) if "csv" in path.name)
    table = fetch_uci_default(found)
    checked = check_columns(contract, "bank", table, with_label=True, source=found.name)
    if by == "bands":
        where = np.digitize(checked.values["LIMIT_BAL"], [50_001, 140_001, 240_001])
    elif by == "sizes":
        where = deal(checked.ids, "sizes", [0.6, 0.25, 0.1, 0.04, 0.01])
    else:
        where = deal(checked.ids, "banks", [0.25] * 4)
    label, ids = checked.label.astype(np.int64), np.array(checked.ids)
    test = np.array([_unit(f"test{key}") < 0.2 for key in ids])
    banks = [
        make_bank(
            {name: column[where == one] for name, column in checked.values.items()},
            label[where == one],
            ids[where == one],
            test[where == one],
        )
        for one in range(where.max() + 1)
    ]
    return banks, contract.features


def encoded(banks: Sequence[Bank], features: tuple[Feature, ...]) -> tuple[Any, Layout]:
    """Return every bank's inputs and labels, and the layout."""
    counts = sum(own_counts(features, bank.own[0], FLOOR) for bank in banks)
    encoding = Encoding.from_counts(features, counts, AGREED.pieces)
    tables = [
        [(encoding.apply(values), label) for values, label in (bank.own, bank.held, bank.test)]
        for bank in banks
    ]
    return tables, Layout(encoding.monotone, AGREED.hidden, AGREED.blocks)


def recipe(seed: int, label: str) -> Recipe:
    one = AGREED
    return Recipe(one.local_epochs, one.batch, one.learning_rate, seed, label, one.decay)


def federate(tables: Any, layout: Layout, judge: Any, seed: int) -> tuple[Any, int]:
    """Return the weights of the best round by the judge's customers, and its number."""
    weights = best = layout.initial(seed)
    least, at = np.inf, 0
    sizes = [len(own[1]) for own, _, _ in tables]
    for number in range(1, AGREED.rounds + 1):
        updates = []
        for place, (own, _, _) in enumerate(tables):
            trained, _ = train(layout, weights, *own, recipe(seed, f"{place}/{number}"))
            updates.append(average.clipped(trained - weights, AGREED.clip))
        weights = layout.project(weights + np.average(updates, axis=0, weights=sizes))
        loss = log_losses(layout, weights, *judge).mean()
        if loss < least:
            best, least, at = weights, loss, number
    return best, at


def pool(tables: Any) -> Any:
    """Return all banks' customers as those of one."""
    return [
        tuple(np.concatenate([table[part][kind] for table in tables]) for kind in range(2))
        for part in range(3)
    ]


def measure(tables: Any, layout: Layout, seeds: Sequence[int]) -> dict[str, Any]:
    """Return AUC and KS, federated and pooled, seed by seed."""
    one = pool(tables)
    inputs, label = one[2]
    builder = max(tables, key=lambda table: len(table[1][1]))
    found: dict[str, Any] = {"auc": {}, "ks": {}, "round": {}, "seconds": {}}
    for name, given, judge in (("federated", tables, builder[1]), ("pooled", [one], one[1])):
        for values in found.values():
            values[name] = []
        for seed in seeds:
            started = time.perf_counter()
            weights, at = federate(given, layout, judge, seed)
            prob = default_prob(layout, weights, inputs)
            found["seconds"][name].append(time.perf_counter() - started)
            found["round"][name].append(at)
            found["auc"][name].append(metrics.roc_auc(label, prob))
            found["ks"][name].append(metrics.ks(label, prob))
            print(f"{name} seed {seed}: AUC {found['auc'][name][-1]:.4f}", flush=True)
    return found


def show(name: str, found: dict[str, Any]) -> dict[str, Any]:
    summary = {
        f"{side} {kind}": _bench.spread(found[kind][side], 4)
        for kind in ("auc", "ks", "seconds", "round")
        for side in ("federated", "pooled")
    }
    print(f"\n{name}")
    _bench.show_mapping(summary)
    return summary | {"runs": found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parts = ("split", "uci")
    parser.add_argument("--part", choices=parts, action="append")
    given = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "machine": _bench.machine(),
        "versions": _bench.versions("torch", "numpy", "flwr"),
        "load": _bench.load(),
        "settings": {"neural": repr(AGREED), "floor": FLOOR, "seeds": given.seeds},
    }
    _bench.show_mapping({**report["machine"], **report["versions"], "load": report["load"]})
    bars = []
    for part in given.part or parts:
        banks, features = (
            read_published(given.data) if part == "split" else read_uci(given.data, part)
        )
        tables, layout = encoded(banks, features)
        found = measure(tables, layout, given.seeds)
        report[part] = show(part, found)
        federated, pooled = (float(np.mean(found["auc"][side])) for side in ("federated", "pooled"))
        if part == "uci":
            bars.append(
                _bench.Bar("uci: pooled - federated, mean", pooled - federated, "<=", 0.003)
            )
        else:
            bars.append(_bench.Bar("split: federated AUC, mean", federated, ">=", 0.778))
    print()
    met = _bench.show_bars(bars)
    _bench.write_json(given.json, report | {"bars": [bar.to_mapping() for bar in bars]})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
