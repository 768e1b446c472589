"""What differential privacy costs: AUC against epsilon, for a card and for the network.

Real customers (default of credit card clients; the published split's 24,000 to learn from, 6,000 to
evaluate on), without demographics, as three banks. For each epsilon and seed:

* *moments*: bin edges from a noisy histogram (a tenth of the budget's square), then one release of
  noisy moments; the noise is drawn by three banks, of which one may collude with the builder;
* *network*: DP-SGD on the same noisy columns, the same banks, the same epsilon for all together.

Against: the same coarse columns (8 bins, one-hot, no pairs) without noise, and the full card. The
two accountants are compared in the same run. Noise comes from a keystream of the seed, so that a
number can be had again; the product takes it from the operating system.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Bar, load, machine, show_bars, spread, versions, write_json
from _credit import BILLS, BUILDER, HOLDERS, PAYMENTS, STATUS, Table, read_split
from numpy.typing import NDArray

from shared import metrics
from shared.contract import EVERY
from shared.contract import Feature as Contracted
from shared.masks import Keystream
from shared.neural.layout import Layout
from shared.neural.net import build
from shared.neural.train import default_prob
from shared.privacy.accounting import UNIT, Mechanism, epsilon, multiplier_for, split_in_two
from shared.privacy.clip import Clip
from shared.privacy.moments import Table as Release
from shared.privacy.noise import SharedNoise, honest_majority
from shared.privacy.plans import coarse_tallies, plan_noisy
from shared.privacy.sgd import dp_update
from shared.privacy.terms import BINS_SHARE, MOST_BINS, shared_noise
from shared.privacy.tidy import tidy
from shared.scorecard.bins import Axis, Floors
from shared.scorecard.blocks import Block
from shared.scorecard.buckets import count_all
from shared.scorecard.build import BuildSettings, draft_card
from shared.scorecard.columns import BlockPlan
from shared.scorecard.moments import Moments, add, pooled
from shared.scorecard.planning import ColumnSettings, plan_blocks
from shared.scorecard.thin import thin

Floats = NDArray[np.float64]

FEATURES = ("LIMIT_BAL", *BILLS, *PAYMENTS, *STATUS)
# Of the contract, so public.
RANGES: dict[str, tuple[float | None, float | None]] = {
    "LIMIT_BAL": (0, None),
    **dict.fromkeys(BILLS, (None, None)),
    **dict.fromkeys(PAYMENTS, (0, None)),
    **dict.fromkeys(STATUS, (-2, 9)),
}
COLUMNS = tuple(
    Contracted(name, EVERY, "integer", low=low, high=high) for name, (low, high) in RANGES.items()
)
BANKS, DELTA = 3, 1e-5
PACKAGES = ("numpy", "torch", "dp-accounting", "opacus")
MOST_LOSS, MOST_APART = 0.006, 0.02

# The network and its training, the same for every epsilon but for the steps and the rate of
# learning: with more noise, fewer and shorter steps.
HIDDEN, BLOCKS, CLIP, RATE = 16, 1, 0.5, 1 / 12
STEPS = {8.0: 300, 3.0: 240, 1.0: 160, 0.5: 100}
LEARNING_RATE, MOMENTUM = 3.0, 0.9


@dataclass(frozen=True)
class Feature:
    """What planning the full card needs of a feature."""

    name: str
    dtype: str = "number"
    special: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()
    direction: str = ""


@dataclass(frozen=True)
class Design:
    """How the features are cut."""

    plans: tuple[BlockPlan, ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        return tuple(plan.public() for plan in self.plans)

    def codes(self, table: Table) -> list[NDArray[Any]]:
        return [plan.encode(table) for plan in self.plans]

    def moments(self, table: Table) -> Moments:
        return pooled(self.blocks, self.codes(table), table["y"])

    def inputs(self, table: Table) -> Floats:
        """Return the ladders of the bins: "above edge k" for every feature and edge."""
        parts = [
            block.ladder.astype(np.float64)[code]
            for block, code in zip(self.blocks, self.codes(table), strict=True)
        ]
        return np.concatenate(parts, axis=1)


def read(folder: Path) -> tuple[Table, Table]:
    """Return the published split's customers with their amounts in money."""
    split = read_split(folder / "default_credit_split")
    with gzip.open(folder / "uci_default" / "UCI_Credit_Card.csv.gz", "rt", newline="") as stream:
        rows = list(csv.reader(stream))
    names = rows[0]
    values = np.array(rows[1:], dtype=np.float64)
    place = {str(int(number)): row for row, number in enumerate(values[:, names.index("ID")])}

    def part(ids: NDArray[Any]) -> Table:
        chosen = values[[place[str(int(float(one)))] for one in ids]]
        table: Table = {name: chosen[:, names.index(name)] for name in FEATURES}
        table["y"] = chosen[:, names.index("default.payment.next.month")].astype(np.int64)
        return table

    return part(split.train["id"]), part(split.test["id"])


def banks_of(table: Table) -> list[Table]:
    """Split customers among banks, one after the other."""
    return [{name: column[bank::BANKS] for name, column in table.items()} for bank in range(BANKS)]


def exact_design(table: Table) -> Design:
    """Cut at the customers' own quantiles: what the noise is held against."""
    plans = []
    for name in FEATURES:
        edges = np.unique(np.quantile(table[name], np.arange(1, MOST_BINS) / MOST_BINS))
        kept = tuple(edges[edges < table[name].max()].tolist())
        plans.append(BlockPlan(EVERY, Axis(name, kept, (), (), float(np.median(table[name])))))
    return Design(tuple(plans))


def noisy_design(banks: list[Table], multiplier: float, entropy: Any) -> Design:
    """Plan from the banks' noisy histograms as the product does."""
    columns = coarse_tallies(COLUMNS, ())
    noise, unit = shared_noise(BANKS, 0, len(columns), multiplier)
    total = np.zeros(sum(column.size for column in columns))
    for bank in banks:
        total += count_all(columns, bank) * unit + noise.draw(len(total), entropy)
    n = sum(len(bank["y"]) for bank in banks)
    deviation = noise.deviation / unit
    return Design(plan_noisy(EVERY, columns, total / unit, deviation, n, Floors()))


def auc_of_card(moments: Moments, design: Design, test: Table, ridge: float = 1e-3) -> float:
    points = draft_card(moments, BuildSettings(ridge=ridge)).points
    total = sum(part[code] for part, code in zip(points, design.codes(test), strict=True))
    return float(metrics.roc_auc(test["y"], -np.asarray(total, dtype=np.float64)))


def private_card(banks: list[Table], test: Table, multiplier: float, entropy: Any) -> float:
    first, second = split_in_two(multiplier, BINS_SHARE)
    design = noisy_design(banks, first, entropy)
    release = Release.of(design.blocks)
    noise, unit = shared_noise(BANKS, 0, release.squared_sensitivity, second)
    total = np.zeros(release.size, dtype=np.int64)
    for bank in banks:
        total += release.vector(design.moments(bank)) * unit + noise.draw(release.size, entropy)
    n = sum(len(bank["y"]) for bank in banks)
    tidied = tidy(total / unit, design.blocks, n, noise.deviation / unit)
    return auc_of_card(tidied.moments, design, test, tidied.ridge)


def full_card(train: Table, test: Table) -> float:
    """Fit the product's own card on pooled rows: fine bins, pairs, three holders."""
    plans: list[BlockPlan] = []
    for owner, names in HOLDERS.items():
        values = {name: train[name] for name in names}
        features = [Feature(name) for name in names]
        with_pairs = owner != BUILDER
        own = plan_blocks(owner, features, values, ColumnSettings(), with_pairs=with_pairs)
        if owner == BUILDER:
            own = thin(own, values, train["y"], int(0.006 * len(train["y"])))
        plans += own
    moments = pooled(
        [plan.public() for plan in plans], [p.encode(train) for p in plans], train["y"]
    )
    points = draft_card(moments).points
    total = sum(part[plan.encode(test)] for part, plan in zip(points, plans, strict=True))
    return float(metrics.roc_auc(test["y"], -np.asarray(total, dtype=np.float64)))


def network(
    banks: list[Table], test: Table, design: Design, steps: int, multiplier: float, entropy: Any
) -> float:
    """Train by DP-SGD; with no noise where the multiplier is 0. Return the AUC."""
    tables = [design.inputs(bank) for bank in banks]
    layout = Layout((False,) * tables[0].shape[1], HIDDEN, BLOCKS)
    weights, speed = layout.initial(1), np.zeros(layout.size)
    clip = Clip(CLIP)
    expected = RATE * sum(map(len, tables))
    noise = None
    if multiplier:
        noise = SharedNoise(BANKS, honest_majority(BANKS), clip.units**2, multiplier)
    for step in range(steps):
        net = build(layout, weights)
        total = np.zeros(layout.size, dtype=np.int64)
        for rows, bank in zip(tables, banks, strict=True):
            total += dp_update(net, rows, bank["y"], clip, entropy, rate=RATE)
            if noise:
                total += noise.draw(layout.size, entropy)
        speed = MOMENTUM * speed + (1 - MOMENTUM) * clip.mean(total, expected)
        fall = 0.5 * (1 + math.cos(math.pi * step / steps))
        weights = layout.project(weights - LEARNING_RATE * fall / CLIP * speed)
    return float(metrics.roc_auc(test["y"], default_prob(layout, weights, design.inputs(test))))


def accountants() -> list[dict[str, float]]:
    """Compare the recorded accountant with Opacus' PRV accountant."""
    from opacus.accountants import PRVAccountant  # noqa: PLC0415 - not everybody has it

    found = []
    for multiplier, rate, steps in ((0.8, 0.024, 820), (1.0, 0.024, 820), (2.0, 0.1, 300)):
        other = PRVAccountant()
        other.history = [(multiplier, rate, steps)]
        ours = epsilon([Mechanism(multiplier, rate, steps)], DELTA)
        theirs = float(other.get_epsilon(DELTA))
        found.append(
            {"multiplier": multiplier, "rate": rate, "steps": steps, "pld": ours, "prv": theirs}
        )
    return found


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {
        "schema": "confide/bench-privacy/1",
        "machine": machine(),
        "versions": versions(*PACKAGES),
        "load": [load()],
        "unit": UNIT,
        "delta": DELTA,
        "banks": BANKS,
        "colluders": honest_majority(BANKS),
        "seeds": arguments.seeds,
    }
    train, test = read(arguments.data)
    banks = banks_of(train)
    coarse = exact_design(train)
    whole = coarse.moments(banks[0])
    for bank in banks[1:]:
        whole = add(whole, coarse.moments(bank))
    report["coarse_auc"] = auc_of_card(whole, coarse, test)
    report["full_auc"] = full_card(train, test)
    say(f"without noise: coarse {report['coarse_auc']:.4f}, full {report['full_auc']:.4f}")
    if "network" in arguments.what:
        blank = Keystream(bytes(32), "no noise").read
        report["network_auc"] = network(banks, test, coarse, STEPS[8.0], 0.0, blank)
        say(f"network without noise, clipped alike: {report['network_auc']:.4f}")
    report["price"] = []
    for target in arguments.epsilon:
        for what in arguments.what:
            line = priced(what, target, banks, test, arguments.seeds, report)
            report["price"].append(line)
            say(f"{what:<8} epsilon {target:<4} {line['auc']}")
    if not arguments.no_accountants:
        report["accountants"] = accountants()
    return report


def priced(
    what: str, target: float, banks: list[Table], test: Table, seeds: int, report: dict[str, Any]
) -> dict[str, Any]:
    """Measure one model at one epsilon over several draws of the noise."""
    started = time.perf_counter()
    steps = STEPS.get(target, 160)
    whole = multiplier_for(target, DELTA)
    if what == "network":
        first, _ = split_in_two(whole, BINS_SHARE)
        before = (Mechanism(first),)
        multiplier = multiplier_for(target, DELTA, rate=RATE, steps=steps, before=before)
    aucs = []
    for seed in range(seeds):
        entropy = Keystream(seed.to_bytes(32, "big"), f"{what}/{target}").read
        if what == "moments":
            aucs.append(private_card(banks, test, whole, entropy))
        else:
            design = noisy_design(banks, first, entropy)
            aucs.append(network(banks, test, design, steps, multiplier, entropy))
    found = spread(aucs, 4)
    line: dict[str, Any] = {"what": what, "epsilon": target, "auc": found, "values": aucs}
    if what == "moments":
        line |= {"multiplier": whole, "loss_to_coarse": report["coarse_auc"] - found["median"]}
        # The same noise where a customer is exchanged for another, sqrt(2) further apart.
        line["epsilon_exchanged"] = epsilon([Mechanism(whole / math.sqrt(2))], DELTA)
    else:
        line |= {"multiplier": multiplier, "rate": RATE, "steps": steps, "clip": CLIP}
        line["loss_to_network"] = report["network_auc"] - found["median"]
    line["loss_to_full"] = report["full_auc"] - found["median"]
    line["seconds"] = round((time.perf_counter() - started) / seeds, 1)
    return line


def bars_of(report: dict[str, Any]) -> list[Bar]:
    bars = [
        Bar("moments, epsilon 1: AUC lost", line["loss_to_coarse"], "<=", MOST_LOSS)
        for line in report["price"]
        if line["what"] == "moments" and line["epsilon"] == 1.0
    ]
    if "accountants" in report:
        apart = max(abs(one["pld"] / one["prv"] - 1) for one in report["accountants"])
        bars.append(Bar("accountants apart, as a share", apart, "<=", MOST_APART))
    return bars


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data sets")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[8.0, 3.0, 1.0, 0.5])
    parser.add_argument(
        "--what", nargs="+", choices=("moments", "network"), default=["moments", "network"]
    )
    parser.add_argument("--seeds", type=int, default=5, help="draws of the noise")
    parser.add_argument("--no-accountants", action="store_true")
    parser.add_argument("--json", type=Path, help="write the report here")
    arguments = parser.parse_args()
    report = bench(arguments)
    report["load"].append(load())
    bars = bars_of(report)
    report["bars"] = [bar.to_mapping() for bar in bars]
    met = show_bars(bars) if bars else True
    write_json(arguments.json, report)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
