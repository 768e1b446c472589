"""The network against the card, paired on the same held-out customers, by their own releases.

    python scripts/bench_challenger.py --data ../shared/data [--json FILE] [--part NAME] [--seeds 1]

Parts: `uci` (uci_default, four banks) and `split` (the published split, all columns, three banks).
Each federation trains a card, then a network, as `confide train` does (engine local); the
comparison is the one that the parties sign with the network: DeLong's interval from a summed
histogram of bands of points. Beside it stands the same from whole points in one place.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent.parent))

from clients.card.parts import encode
from clients.data.datasets import embedded_contract, fetch_uci_default, write_parties
from clients.data.split import same_features, split_customers
from clients.keys.setup import init_federation
from clients.neural import feeds as network_feeds
from clients.neural.champion import champions
from clients.party import Party
from scripts import _bench, _credit
from server.engines.launcher import new_run, train_local
from shared.challenger.compare import Pairs, delong
from shared.challenger.points import points_of
from shared.release import unpack_release

BANKS = ("east", "north", "south", "west")


def write_uci(folder: Path, data: Path) -> tuple[str, ...]:
    """Write the tables of four banks and their contract."""
    source = next(one for one in sorted((data / "uci_default").iterdir()) if "csv" in one.name)
    contract, content = same_features(embedded_contract("uci_default")[1], "uci_default")
    table = fetch_uci_default(source)
    write_parties(folder, split_customers(table, contract, BANKS, source="uci_default"), content)
    return BANKS


def write_split(folder: Path, data: Path) -> tuple[str, ...]:
    """Write the tables of three banks, each with a third of the published split."""
    split = _credit.read_split(data / "default_credit_split")
    text = _credit.contract_text(_credit.holders(demographics=True))
    _, content = same_features(text.encode(), "default_credit_split")
    banks = BANKS[:3]
    parts = {
        bank: {
            name: {key: column[place :: len(banks)] for key, column in table.items()}
            for name, table in (("train", split.train), ("test", split.test))
        }
        for place, bank in enumerate(banks)
    }
    write_parties(folder, parts, content)
    return banks


def measure(
    folder: Path, write: Callable[[Path, Path], tuple[str, ...]], given: argparse.Namespace
) -> dict[str, Any]:
    """Train both, and return what the network's manifest says of them; one entry a seed."""
    banks = write(folder, given.data)
    path = init_federation(folder, folder / "contract.toml", name="bench", parties=banks)
    flags = {"protocol.deadline_s": 3600, "scorecard.thresholds": given.thresholds}
    card = train_local(path, new_run(), flags, lambda *_: None)
    found: dict[str, Any] = {"card": card["score"][banks[0]], "networks": []}
    for seed in given.seeds:
        costs: dict[str, Any] = {}

        def told(event: str, details: dict[str, Any], costs: dict[str, Any] = costs) -> None:
            if event == "done":
                sent = sum(one["bytes_sent"] for one in details["replies"].values())
                costs[details["name"]] = [round(details["seconds"], 1), round(sent / 1e6, 2)]

        run = new_run()
        outcome = train_local(path, run, flags | {"neural.seed": seed}, told, model="neural")
        manifest = unpack_release(outcome["release"]["release"]).manifest
        evaluation = dict(manifest.evaluation)
        exact, p_value = delong(pooled(path, banks, manifest.name))
        found["networks"].append(
            {
                "seed": seed,
                "best_round": outcome["best_round"],
                "against": evaluation.pop("against")["comparison"],
                "exact": {"p_value": p_value, **_auc(exact)},
                "evaluation": evaluation,
                "release_seconds_and_megabytes": costs["neural_release"],
            }
        )
    return found


def _auc(found: Any) -> dict[str, float]:
    gap = found.difference
    return {
        "champion": found.champion,
        "challenger": found.challenger,
        "difference": gap.value,
        "low": gap.low,
        "high": gap.high,
    }


def pooled(path: Path, banks: tuple[str, ...], name: str) -> Pairs:
    """Return both models' whole points of all banks' customers to evaluate on, in one place."""
    rows: list[NDArray[Any]] = []
    for bank in banks:
        party = Party.load(path, bank)
        release, network = network_feeds.own_network(party, name)
        encoding, trained = network_feeds.as_trained(party, release, network)
        card = champions(party)[0].part
        at = np.arange(len(party.test.ids), dtype=np.int64)
        points = points_of(trained.model(encoding.apply(party.test.values)), network.scale)
        label = party.test.label
        if label is None:
            raise SystemExit(f"{bank} holds no label")
        rows.append(
            np.column_stack([label, card.total(encode(card.plans, party.test, at)), points])
        )
    label, old, new = np.concatenate(rows).T
    return Pairs.of_rows(label, -old, -new)


def main() -> int:
    """Measure; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--thresholds", type=int, default=8, help="of the card, a feature")
    parts = {"uci": write_uci, "split": write_split}
    parser.add_argument("--part", choices=tuple(parts), action="append")
    given = parser.parse_args()
    report: dict[str, Any] = {
        "machine": _bench.machine(),
        "versions": _bench.versions("torch", "numpy", "flwr"),
        "load": _bench.load(),
    }
    _bench.show_mapping({**report["machine"], **report["versions"], "load": report["load"]})
    bars = []
    for part in given.part or parts:
        with tempfile.TemporaryDirectory() as folder:
            found = report[part] = measure(Path(folder), parts[part], given)
        for one in found["networks"]:
            gap = one["against"]["auc"]["difference"]
            print(f"\n{part}, seed {one['seed']}")
            _bench.show_mapping(
                {
                    "customers": one["against"]["customers"],
                    "card": round(one["against"]["auc"]["champion"], 4),
                    "network": round(one["against"]["auc"]["challenger"], 4),
                    "difference": [round(gap[key], 4) for key in ("low", "value", "high")],
                    "p": round(one["against"]["p_value"], 4),
                    "exact difference": [
                        round(one["exact"][key], 4) for key in ("low", "difference", "high")
                    ],
                    "release, s and MB": one["release_seconds_and_megabytes"],
                },
            )
            error = abs(gap["value"] - one["exact"]["difference"])
            bars.append(_bench.Bar(f"{part}: bands off the whole points, AUC", error, "<=", 0.0005))
    print()
    met = _bench.show_bars(bars)
    _bench.write_json(given.json, report | {"bars": [bar.to_mapping() for bar in bars]})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
