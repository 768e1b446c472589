"""The neural model trained with noise by the product's own parts: AUC against epsilon.

    python scripts/bench_noisy_rounds.py --data DIR [--epsilon 8 1] [--seeds 3] [--json FILE]

Default of Credit Card Clients, the published split's customers without demographics, as three
banks: what `scripts/bench_privacy.py` trains on one-hot columns. Here the inputs are the product's
piecewise-linear encoding with noisy edges, and the steps those of its rounds, all but the messages:
the secure sum adds whole numbers, so it changes no bit (`tests/protocols/test_neural_noise.py`).
With `--processes` it is `confide train --model neural` on engine `local`, and epsilon is worked out
again from a bank's ledger. Noise comes from the operating system: no two runs are the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from _bench import load, machine, spread, versions, write_json
from _credit import BILLS, PAYMENTS
from bench_privacy import FEATURES, HIDDEN, LEARNING_RATE, RANGES, RATE, STEPS, banks_of, read

from clients.holdings import write_table
from clients.keys.setup import init_federation
from clients.neural.data import learning, testing
from clients.party import Party
from clients.store import Store
from shared import metrics
from shared.config import Federation
from shared.neural import noisy_edges
from shared.neural.inputs import Encoding
from shared.neural.layout import Layout
from shared.neural.net import build
from shared.neural.noisy import Descent, Plan, check_step
from shared.neural.train import default_prob
from shared.privacy.audit import audit
from shared.privacy.sgd import dp_update

BANKS = ("east", "north", "west")
DELTA, CLIP, PIECES, ROUNDS = 1e-5, 0.5, 8, 4


def contract() -> str:
    lines = ['name = "default_credit"', "version = 1", 'id_column = "id"', 'label_column = "y"']
    lines += ['label_owner = "*"', "positive = 1"]
    for name in FEATURES:
        low, high = RANGES[name]
        amount = name in (*BILLS, *PAYMENTS, "LIMIT_BAL")
        lines += ["", "[[features]]", f'name = "{name}"', 'owner = "*"']
        lines.append(f'dtype = "{"number" if amount else "integer"}"')
        lines += [f"low = {low}"] * (low is not None) + [f"high = {high}"] * (high is not None)
    return "\n".join([*lines, ""])


def federation(folder: Path, data: Path) -> Path:
    (folder / "banks.toml").write_text(contract())
    path = init_federation(folder / "out", folder / "banks.toml", name="noisy", parties=BANKS)
    for part, table in zip(("train", "test"), read(data), strict=True):
        table["id"] = np.array([f"{part}{number:05d}" for number in range(len(table["y"]))])
        for bank, own in zip(BANKS, banks_of(table), strict=True):
            write_table(path.parent / bank / f"{part}.parquet", own)
    for bank in BANKS:
        file = path.parent / bank / "party.toml"
        text = "\n".join(
            "privacy_epsilon = 100.0" if "privacy_epsilon" in line else line
            for line in file.read_text().splitlines()
        )
        file.write_text(text + "\n")
    return path


def settings(epsilon: float, steps: int) -> dict[str, Any]:
    noise = {
        "privacy.training_epsilon": epsilon,
        "privacy.delta": DELTA,
        "privacy.clip": CLIP,
        "privacy.rate": RATE,
        "privacy.steps": steps,
        "privacy.step_length": LEARNING_RATE,
    }
    net = {"neural.hidden": HIDDEN, "neural.pieces": PIECES, "neural.rounds": ROUNDS}
    return noise | net | {"neural.holdout": 0.05}


def train(path: Path, agreed: dict[str, Any], limit: float) -> dict[str, Any]:
    words = [word for name, value in agreed.items() for word in ("--set", f"{name}={value}")]
    command = ["-W", "ignore", "-m", "server.cli", "train", "-f", str(path), "--model", "neural"]
    done = subprocess.run(
        [sys.executable, *command, *words, "--format", "json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=limit,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout)["data"]
    return result


def auc_of(path: Path, run: str) -> float:
    """Return the AUC of the common model over all banks' customers to evaluate on."""
    label, prob = [], []
    for bank in BANKS:
        party, folder = Party.load(path, bank), path.parent / bank / "runs" / run
        about = json.loads((folder / "neural.json").read_text())
        encoding = Encoding.from_mapping(party.contract.of(bank), about["edges"], bank)
        layout = Layout(encoding.monotone, **about["network"])
        test = testing(party)
        weights = np.load(folder / "neural_weights.npy")
        prob.append(default_prob(layout, weights, encoding.apply(test.values)))
        label.append(test.label)
    return float(metrics.roc_auc(np.concatenate(label), np.concatenate(prob)))


def in_process(path: Path, agreed: dict[str, Any]) -> dict[str, Any]:
    """Train as parties and coordinator do, without messages; return AUC and seconds a step."""
    parties = [Party.load(path, bank) for bank in BANKS]
    federation = overlaid(parties[0].federation, agreed)
    plan, features = Plan.of(federation), parties[0].contract.of(BANKS[0])
    own = [learning(party)[0] for party in parties]
    noise = plan.edges_noise(len(BANKS), noisy_edges.sensitivity(features))
    size = noisy_edges.counted(features)
    total = sum(noisy_edges.own_counts(features, one.values) + noise.draw(size) for one in own)
    encoding = noisy_edges.read(features, total, PIECES, noise.deviation)
    layout = Layout(encoding.monotone, HIDDEN, 1)
    tables = [(encoding.apply(one.values), one.label) for one in own]
    noise, customers = plan.step_noise(len(BANKS)), sum(map(len, own))
    weights = layout.initial(1)
    descent = Descent(plan, layout, federation.privacy.step_length, weights, 0.0)
    speed, started = np.zeros(layout.size), time.process_time()
    for step in range(plan.steps.steps):
        net = build(layout, weights)
        opened = sum(
            dp_update(net, rows, label, plan.clip, rate=RATE) + noise.draw(layout.size)
            for rows, label in tables
        )
        check_step(np.append(opened, customers), plan, noise, expected=customers)
        gradient = plan.clip.mean(opened, RATE * customers)
        weights, speed = descent.take(weights, speed, gradient, step)
    tests = [testing(party) for party in parties]
    prob = [default_prob(layout, weights, encoding.apply(one.values)) for one in tests]
    label = np.concatenate([one.label for one in tests])
    return {
        "auc": float(metrics.roc_auc(label, np.concatenate(prob))),
        "cpu_seconds_a_step": (time.process_time() - started) / plan.steps.steps,
        "parameters": layout.size,
    }


def overlaid(federation: Federation, agreed: dict[str, Any]) -> Federation:
    sections: dict[str, dict[str, Any]] = {"privacy": {}, "neural": {}}
    for name, value in agreed.items():
        section, _, field = name.partition(".")
        sections[section][field] = value
    return replace(
        federation,
        privacy=replace(federation.privacy, **sections["privacy"]),
        neural=replace(federation.neural, **sections["neural"]),
    )


def by_processes(path: Path, agreed: dict[str, Any], limit: float) -> dict[str, Any]:
    started = time.perf_counter()
    result = train(path, agreed, limit)
    seconds = time.perf_counter() - started
    return {
        "auc": auc_of(path, result["run"]),
        "epsilon_of_ledger": audit(Store(path.parent / BANKS[0]).ledger(), DELTA).epsilon,
        "seconds": round(seconds, 1),
        "best_round": result["best_round"],
        "parameters": result["model"]["parameters"],
    }


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    report: dict[str, Any] = {
        "schema": "confide/bench-noisy-rounds/1",
        "machine": machine(),
        "versions": versions("numpy", "torch", "dp-accounting", "flwr"),
        "load": [load()],
        "delta": DELTA,
        "price": [],
    }
    for target in arguments.epsilon:
        steps = arguments.steps or STEPS.get(target, 160)
        runs = []
        for _ in range(arguments.seeds):
            agreed = settings(target, steps)
            with TemporaryDirectory() as folder:
                path = federation(Path(folder), arguments.data)
                if arguments.processes:
                    runs.append(by_processes(path, agreed, arguments.limit))
                else:
                    runs.append(in_process(path, agreed))
            print(f"epsilon {target}: {runs[-1]}", file=sys.stderr, flush=True)
        found = spread([one["auc"] for one in runs], 4)
        report["price"].append({"epsilon": target, "steps": steps, "auc": found, "runs": runs})
    report["load"].append(load())
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the real data sets")
    parser.add_argument("--epsilon", type=float, nargs="+", default=[8.0, 1.0])
    parser.add_argument("--seeds", type=int, default=1, help="runs at each epsilon")
    parser.add_argument("--steps", type=int, default=0, help="instead of those of each epsilon")
    parser.add_argument("--processes", action="store_true", help="by `confide train`")
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds a run may take")
    parser.add_argument("--json", type=Path, help="write the report here")
    arguments = parser.parse_args()
    write_json(arguments.json, bench(arguments))
    return 0


if __name__ == "__main__":
    sys.exit(main())
