"""Who gains: each bank alone against the federation, by size and by kind of customers.

    python scripts/bench_gains.py --data ../shared/data [--json FILE] [--seeds 1 2 3] [--part NAME]

Parts: `sizes` (banks of 60/25/10/4/1 % of the customers) and `bands` (by credit limit), both on
uci_default without demographics. For each bank and for both models:

- neural: the network of its own customers alone, the federation's, and what it keeps after the
  do-no-harm check, over several seeds;
- card: the card fitted on its own counts, the one on the counts of all banks, and what the
  do-no-harm check tells it to use (`clients/card/own.py`, which looks at the customers to evaluate
  on); nothing is drawn. Alone it needs no floors for others' sake: a bin holds a twentieth of a
  small bank.

Differences are paired on the bank's own test customers: DeLong's interval, for the mean over seeds
by the mean of the placements. The bar: no bank with 1,000 test customers or more loses more than
.01 of AUC with what it keeps; smaller ones report the interval only.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from clients.card import own as own_card
from scripts import _bench
from scripts._paired import paired
from scripts.bench_neural import AGREED, Bank, encoded, federate, read_uci, recipe
from shared.contract import Feature
from shared.neural.layout import Layout
from shared.neural.personal import _best, choose
from shared.neural.train import default_prob
from shared.scorecard.bins import Floors
from shared.scorecard.buckets import count_all, tallies
from shared.scorecard.build import BuildSettings, draft_card
from shared.scorecard.columns import BlockPlan
from shared.scorecard.common import choose_pairs, count_cells, plan_singles, propose_pairs
from shared.scorecard.moments import pooled
from shared.scorecard.planning import ColumnSettings

Floats = NDArray[np.float64]
PARTS = {
    "sizes": ("60 %", "25 %", "10 %", "4 %", "1 %"),
    "bands": ("to 50,000", "to 140,000", "to 240,000", "above"),
}
#: From so many test customers on, the bar holds; and how much of AUC a bank may lose.
ENOUGH, MOST = 1000, 0.01
FLOORS = Floors()


def network_gains(
    banks: Sequence[Bank], features: tuple[Feature, ...], seeds: Sequence[int]
) -> list[dict[str, Any]]:
    """Return what each bank has of the federation's network, and of what it keeps."""
    tables, layout = encoded(banks, features)
    builder = max(tables, key=lambda table: len(table[1][1]))
    scores: list[dict[str, list[Any]]] = [
        {"alone": [], "common": [], "kept": [], "answer": []} for _ in tables
    ]
    for seed in seeds:
        common, _ = federate(tables, layout, builder[1], seed)
        for place, table in enumerate(tables):
            found = _of_bank(table, layout, common, seed, place)
            for name, one in found.items():
                scores[place][name].append(one)
    rows = []
    for one, (own, _, (_, label)) in zip(scores, tables, strict=True):
        row = {"customers": len(own[1]), "test": len(label), "bads": int(label.sum())}
        row["answer"] = dict(Counter(one["answer"]))
        row["common"] = paired(label, one["alone"], one["common"])
        row["kept"] = paired(label, one["alone"], one["kept"])
        rows.append(row)
    return rows


def _of_bank(table: Any, layout: Layout, common: Floats, seed: int, place: int) -> dict[str, Any]:
    """Return one seed's scores of a bank's test customers, and which model it keeps."""
    own, held, (inputs, _) = table
    start, one = layout.initial(seed), recipe(seed, f"{place}/personal")
    alone = _best(layout, start, own, held, replace(one, pull=0.0), AGREED.rounds)
    chosen = choose(layout, common, start, own, held, one, AGREED.rounds)
    models = {"alone": alone, "common": common, "kept": chosen.weights}
    found: dict[str, Any] = {
        name: default_prob(layout, weights, inputs) for name, weights in models.items()
    }
    return found | {"answer": chosen.kept}


def card_gains(banks: Sequence[Bank], features: tuple[Feature, ...]) -> list[dict[str, Any]]:
    """Return what each bank has of the common card against the card of its own counts."""
    learn = [_learning(bank) for bank in banks]
    together = (
        {name: np.concatenate([one[0][name] for one in learn]) for name in learn[0][0]},
        np.concatenate([one[1] for one in learn]),
    )
    common = fit_card(features, *together, FLOORS)
    rows = []
    for bank, (values, label) in zip(banks, learn, strict=True):
        small = Floors(rows=min(FLOORS.rows, max(10, len(label) // 20)), share=FLOORS.share)
        own = fit_card(features, values, label, small)
        seen = bank.test[1]
        before, after = (total(card, bank.test[0]) for card in (own, common))
        answer = own_card.compare(seen, after, before)["answer"]
        rows.append(
            {
                "customers": len(label),
                "test": len(seen),
                "bads": int(seen.sum()),
                "answer": {answer: 1},
                "common": paired(seen, [-before], [-after]),
                "kept": paired(seen, [-before], [-(before if answer == own_card.OWN else after)]),
            }
        )
    return rows


def _learning(bank: Bank) -> tuple[dict[str, Any], Any]:
    """Return all customers that a card learns from: it holds nobody out."""
    values = {name: np.concatenate([bank.own[0][name], bank.held[0][name]]) for name in bank.own[0]}
    return values, np.concatenate([bank.own[1], bank.held[1]])


def fit_card(
    features: tuple[Feature, ...], values: dict[str, Any], label: Any, floors: Floors
) -> list[tuple[BlockPlan, Any]]:
    """Fit a card as banks do together; with one bank's customers, as it would alone."""
    columns = tallies(features, ())
    settings = ColumnSettings(thresholds=12, floors=floors)
    counts = count_all(columns, values)
    singles = plan_singles(columns, counts, settings)
    proposed = propose_pairs(columns, counts, singles, settings)
    pairs: tuple[BlockPlan, ...] = ()
    if proposed:
        cells = count_cells(proposed, values)
        pairs = choose_pairs(proposed, cells, floors.minimum(len(label)))
    plans = (*singles, *pairs)
    codes = [plan.encode(values) for plan in plans]
    draft = draft_card(pooled([plan.public() for plan in plans], codes, label), BuildSettings())
    return list(zip(plans, draft.points, strict=True))


def total(card: list[tuple[BlockPlan, Any]], values: dict[str, Any]) -> Any:
    """Return the points of customers; more points, less risk."""
    return np.asarray(sum(points[plan.encode(values)] for plan, points in card), dtype=np.int64)


def show(part: str, kind: str, rows: Sequence[dict[str, Any]]) -> None:
    """Print one line a bank."""
    print(f"\n{part}, {kind}")
    head = f"{'bank':<12}{'learn':>8}{'test':>7}{'alone':>8}{'fed.':>8}"
    print(f"{head}   federated - alone          kept - alone               keeps")
    for name, row in zip(PARTS[part], rows, strict=True):
        common = row["common"]
        line = f"{name:<12}{row['customers']:>8,}{row['test']:>7,}"
        line += f"{common['before']:>8.4f}{common['after']:>8.4f}   {_told(common):<27}"
        kept = _told(row["kept"])
        answer = ", ".join(f"{name} {times}" for name, times in row["answer"].items())
        print(f"{line}{kept:<27}{answer}", flush=True)


def _told(one: dict[str, Any]) -> str:
    return f"{one['difference']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}]"


def bars_of(part: str, kind: str, rows: Sequence[dict[str, Any]]) -> list[_bench.Bar]:
    """Return the bar of every bank with enough customers."""
    found = []
    for name, row in zip(PARTS[part], rows, strict=True):
        if row["test"] >= ENOUGH:
            lost = -row["kept"]["difference"]
            found.append(_bench.Bar(f"{part} {name}, {kind}: AUC lost", lost, "<=", MOST))
    return found


def main() -> int:
    """Measure; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--part", choices=tuple(PARTS), action="append")
    parser.add_argument("--model", choices=("neural", "card"), action="append")
    given = parser.parse_args()
    torch.set_num_threads(1)
    report: dict[str, Any] = {
        "machine": _bench.machine(),
        "versions": _bench.versions("torch", "numpy", "scipy"),
        "load": _bench.load(),
        "settings": {"neural": repr(AGREED), "floors": repr(FLOORS), "seeds": given.seeds},
        "gains": {},
    }
    _bench.show_mapping({**report["machine"], **report["versions"], "load": report["load"]})
    bars = []
    for part in given.part or PARTS:
        banks, features = read_uci(given.data, part)
        for kind in given.model or ("neural", "card"):
            started = time.perf_counter()
            if kind == "neural":
                rows = network_gains(banks, features, given.seeds)
            else:
                rows = card_gains(banks, features)
            show(part, kind, rows)
            report["gains"][f"{part} {kind}"] = rows
            report["settings"][f"{part} {kind} seconds"] = round(time.perf_counter() - started, 1)
            bars += bars_of(part, kind, rows)
    print()
    met = _bench.show_bars(bars)
    _bench.write_json(given.json, report | {"bars": [bar.to_mapping() for bar in bars]})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
