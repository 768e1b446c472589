"""Several banks against the same rows in one place: is the card the pooled one, to the last count?

    python scripts/bench_horizontal.py --real-data UCI_Credit_Card.csv.gz --json out.json

The real table is dealt out to four banks; then the bank's own features to three banks, while the
other owners keep theirs. Each federation trains as `confide train` does (engine local). Moments
must be equal to the pooled counts as integers, and points to those of the card fitted on them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench import Bar, machine, show_bars, show_mapping, versions, write_json
from numpy.typing import NDArray

from clients.card.builder import settings_of
from clients.card.parts import plans_from_value
from clients.data.datasets import embedded_contract, fetch_uci_default, write_parties
from clients.data.split import same_features, split_customers
from clients.keys.setup import init_federation
from clients.party import Party
from server.engines.launcher import new_run, train_local
from shared.contract import EVERY
from shared.scorecard.build import draft_card
from shared.scorecard.columns import BlockPlan
from shared.scorecard.moments import Moments, pooled

BANKS = ("east", "north", "south", "west")
Table = dict[str, NDArray[Any]]


def main() -> int:
    """Measure; return 1 where a bar is missed."""
    given = _arguments()
    whole = fetch_uci_default(given.real_data)
    table: Table = {name: column[: given.customers] for name, column in whole.items()}
    results, bars = {}, []
    for name, banks, owner in (("banks", BANKS, ""), ("banks and columns", BANKS[:3], "bank")):
        if given.only not in {None, name}:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = _measure(Path(folder), table, banks, owner, given.thresholds)
        show_mapping({"federation": name, **found})
        results[name] = found
        bars += [
            Bar(f"{name}: counts that differ from the pooled ones", found["counts"], "<=", 0),
            Bar(f"{name}: points that differ from the pooled ones", found["points"], "<=", 0),
        ]
    met = show_bars(bars)
    told = {"machine": machine(), "versions": versions("numpy", "flwr"), "results": results}
    write_json(given.json, told | {"bars": [bar.to_mapping() for bar in bars]})
    return 0 if met else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--real-data", type=Path, required=True, help="the UCI table")
    parser.add_argument("--thresholds", type=int, default=12, help="most thresholds of a feature")
    parser.add_argument("--customers", type=int, default=30_000, help="of the table, at most")
    parser.add_argument("--only", choices=("banks", "banks and columns"), help="one federation")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _measure(
    folder: Path, table: Table, banks: Sequence[str], owner: str, thresholds: int
) -> dict[str, Any]:
    _, content = embedded_contract("uci_default")
    contract, content = same_features(content, "uci_default", owner)
    write_parties(folder, split_customers(table, contract, banks, source="uci_default"), content)
    path = init_federation(folder, folder / "contract.toml", name="bench", parties=banks)
    run = new_run()
    started = time.perf_counter()
    flags = {"scorecard.thresholds": thresholds, "protocol.deadline_s": 600}
    outcome = train_local(path, run, flags, lambda *_: None)
    seconds = time.perf_counter() - started
    builder = Party.load(path, banks[0])
    home = builder.store.home / "runs" / run
    whole = _pooled(path, banks, run)
    draft = draft_card(whole, settings_of(builder))
    lines = builder.store.load_value(run, "draft")["lines"]
    ours = [point for line in lines for point in line["points"]]
    theirs = [point for block in draft.points for point in block.tolist()]
    return {
        "customers": whole.n,
        "bins": len(whole.counts),
        "counts": int((np.load(home / "moments.npy") != whole.counts).sum())
        + int((np.load(home / "moments_bads.npy") != whole.bads).sum()),
        "points": sum(a != b for a, b in zip(ours, theirs, strict=True)),
        "auc": outcome["score"][banks[0]]["auc"],
        "ks": outcome["score"][banks[0]]["ks"],
        "seconds": round(seconds, 1),
        "phases": {name: round(value, 1) for name, value in outcome["seconds"].items()},
        "megabytes_sent": {
            phase: round(sum(one["bytes_sent"] for one in outcome[phase].values()) / 1e6, 1)
            for phase in outcome["seconds"]
        },
    }


def _pooled(path: Path, banks: Sequence[str], run: str) -> Moments:
    """Count over all customers in one place, with the parties' own bins."""
    parties = {name: Party.load(path, name) for name in banks}
    holders = {name: Party.load(path, name) for name in parties[banks[0]].shape.columns}
    place = {
        name: {key: row for row, key in enumerate(one.train.ids)}
        for name, one in {**parties, **holders}.items()
    }
    common = [
        (bank, key)
        for bank, one in parties.items()
        for key in one.train.ids
        if all(key in place[holder] for holder in holders)
    ]
    blocks, codes = [], []
    for unit in sorted([EVERY, *holders]):
        rows = [(bank if unit == EVERY else unit, key) for bank, key in common]
        names = list(({**parties, **holders}[rows[0][0]]).train.values)
        values = {
            name: np.array(
                [
                    {**parties, **holders}[who].train.values[name][place[who][key]]
                    for who, key in rows
                ]
            )
            for name in names
        }
        for plan in _plans(parties[banks[0]] if unit == EVERY else holders[unit], run):
            blocks.append(plan.public())
            codes.append(plan.encode(values))
    label = [int(_label(parties[bank])[place[bank][key]]) for bank, key in common]
    return pooled(blocks, codes, np.array(label))


def _plans(party: Party, run: str) -> tuple[BlockPlan, ...]:
    return plans_from_value(party.store.load_value(run, "plans_1"), "plans_1.json")


def _label(party: Party) -> NDArray[Any]:
    if party.train.label is None:
        raise SystemExit(f"{party.name} holds no label")
    return party.train.label


if __name__ == "__main__":
    sys.exit(main())
