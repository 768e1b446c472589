"""Time rounds of the neural model on each engine: seconds and bytes, secure against plain sums.

    python scripts/bench_rounds.py --rounds 5 --holders 10 100 1000 --json rounds.json

`local` and `flower` train one federation of banks over the simulated world, each with the secure
sum and with `scripts/plain_sum`, which takes the masks off in the processes of this measurement
alone; the four take turns. `simulation` deals one table out to more and more holders and draws a
share of them each round. A round is what `neural_<n>` takes: message, training, sum. Bytes are
those of all parties together: what they send to each other and to the coordinator, and the weights
that they get.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from _bench import load, machine, show_mapping, spread, versions, write_json

from clients.data.datasets import embedded_contract
from clients.data.world import make_world
from clients.holdings import write_table

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ROOT / "scripts" / "plain_sum"
BANKS = ("east", "north", "south", "west")
#: Share of the holders that a round draws.
FRACTIONS = {10: 1.0, 100: 0.32, 1000: 0.1}


def run(*command: str, plain: bool = False) -> str:
    """Run a Python command; return its standard output."""
    path = [str(PLAIN), str(ROOT)] if plain else [str(ROOT)]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
    )
    if done.returncode:
        said = done.stdout[-2000:] + done.stderr  # with --format json an error goes to stdout
        sys.exit(f"{' '.join(command)} ended with {done.returncode}:\n{said}")
    return done.stdout


def confide(*arguments: str) -> str:
    return run("-m", "server.cli", *arguments)


def make_federation(place: Path, customers: int) -> Path:
    """Make banks over the simulated world's card table, and their keys; return the folder."""
    head, *features = embedded_contract("world")[1].decode().split("[[features]]")
    kept = [text for text in features if 'owner = "bank"' in text]
    (place / "contract.toml").write_text("[[features]]".join([head, *kept]))
    banks = [word for bank in BANKS for word in ("--bank", bank)]
    parties = [word for bank in BANKS for word in ("--party", bank)]
    table = str(place / "banks.parquet")
    write_table(Path(table), make_world(customers, 1)["bank"])
    folder = place / "banks"
    confide("data", "split", table, str(folder), "--contract", str(place / "contract.toml"), *banks)
    confide("init", str(folder), *parties)
    return folder


def train_once(engine: str, federation: Path, count: int) -> None:
    """Train in this process; print each round's seconds and bytes as JSON."""
    # Flower and torch take seconds to import; the process that measures needs neither.
    from server.commands.train import Engine, trainer  # noqa: PLC0415
    from server.engines.launcher import new_run  # noqa: PLC0415
    from shared.protocols import sum as sums  # noqa: PLC0415

    flags = {"neural.rounds": count, "neural.local_epochs": 1}
    rounds: list[dict[str, float]] = []

    def report(event: str, details: dict[str, Any]) -> None:
        if event == "done" and details["name"].removeprefix("neural_").isdigit():
            sent = sum(one["bytes_sent"] for one in details["replies"].values())
            rounds.append({"seconds": details["seconds"], "bytes": sent})

    began = time.perf_counter()
    outcome = trainer(Engine(engine))(federation, new_run(), flags, report, model="neural")
    weights = outcome["model"]["parameters"]
    for one in rounds:
        one["bytes"] += 8 * weights * len(outcome["parties"])
    told = {"plain": sums.sum_party.__name__ == "plain_party", "weights": weights}
    told |= {"whole_s": time.perf_counter() - began, "rounds": rounds}
    print(json.dumps(told))


def measure_engines(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds and bytes of a round by engine, with the secure and with the plain sum."""
    folder = make_federation(place, options.customers)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    weights = 0
    for _ in range(options.repeats):
        for engine in options.engines:
            for kind in ("secure", "plain"):
                federation = str(folder / "federation.toml")
                command = (__file__, "--one", engine, federation, str(options.rounds))
                told = json.loads(run(*command, plain=kind == "plain"))
                if told["plain"] != (kind == "plain"):
                    sys.exit("the masks are not where they are measured")
                weights = told["weights"]
                one = found[f"{engine}, {kind}"]
                # The first round brings torch into the parties' processes.
                one["first_round_s"].append(told["rounds"][0]["seconds"])
                one["seconds"] += [each["seconds"] for each in told["rounds"][1:]]
                one["bytes"] += [each["bytes"] for each in told["rounds"]]
                one["whole_s"].append(told["whole_s"])
                print(f"{engine}, {kind}: {told['whole_s']:.1f} s, load {load()}", flush=True)
    return {
        "parties": len(BANKS),
        "weights": weights,
        **{
            name: {what: spread(values) for what, values in one.items()}
            for name, one in found.items()
        },
    }


def measure_simulation(place: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return seconds and bytes of a round by number of simulated holders."""
    found = {}
    table = str(place / "many.parquet")
    write_table(Path(table), make_world(options.simulated, 2)["bank"])
    for holders in options.holders:
        fraction = FRACTIONS.get(holders, min(1.0, 100 / holders))
        began = time.perf_counter()
        confide(
            "train", "--engine", "simulation", "--model", "neural", "--table", table,
            "--contract", str(place / "contract.toml"), "--out", str(place / f"of{holders}"),
            "--holders", str(holders), "--fraction", str(fraction), "--format", "json",
            "--set", f"neural.rounds={options.rounds}", "--set", "neural.local_epochs=1",
        )  # fmt: skip
        whole = time.perf_counter() - began
        sums = [one for one in _summed(place / f"of{holders}") if one["name"][-1].isdigit()]
        found[str(holders)] = {
            "drawn": sums[0]["holders"],
            "sums_a_round": sums[0]["cohorts"],
            "failed": sum(len(one["failed"]) for one in sums),
            # The first round brings torch into Ray's actors.
            "first_round_s": round(sums[0]["seconds"], 2),
            "seconds": spread([one["seconds"] for one in sums[1:] or sums]),
            "bytes": spread([float(one["bytes_to"] + one["bytes_from"]) for one in sums]),
            "whole_s": round(whole, 1),
        }
        print(f"simulation of {holders}: {whole:.1f} s, load {load()}", flush=True)
    return found


def _summed(out: Path) -> list[dict[str, Any]]:
    (path,) = out.glob("runs/*/progress.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["details"] for line in lines if line["event"] == "summed"]


def show(report: dict[str, Any]) -> None:
    show_mapping(report["machine"] | report["versions"])
    rows = {name: one for name, one in report["engines"].items() if isinstance(one, dict)}
    rows |= {f"simulation, {count}": one for count, one in report["simulation"].items()}
    print(f"\n{'a round':<20} {'seconds':>8}  {'(spread)':<15} {'MB':>8}  drawn")
    for name, one in rows.items():
        seconds = one["seconds"]
        ends = f"({seconds['min']:.2f}-{seconds['max']:.2f})"
        moved = one["bytes"]["median"] / 1e6
        drawn = one.get("drawn", report["engines"].get("parties", ""))
        print(f"{name:<20} {seconds['median']:>8.2f}  {ends:<15} {moved:>8.2f}  {drawn}")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--customers", type=int, default=12_000, help="of the banks together")
    parser.add_argument("--simulated", type=int, default=40_000, help="customers of a simulation")
    parser.add_argument("--rounds", type=int, default=5, help="2 or more")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--engines", nargs="*", default=["local", "flower"])
    parser.add_argument("--holders", type=int, nargs="*", default=[10, 100, 1000])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        train_once(options.one[0], Path(options.one[1]), int(options.one[2]))
        return 0
    before = load()
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        report: dict[str, Any] = {
            "schema": "confide/bench-rounds/1",
            "machine": machine(),
            "versions": versions("flwr", "ray", "torch", "numpy", "cryptography"),
            "rounds": options.rounds,
            "repeats": options.repeats,
            "engines": measure_engines(Path(place), options),
        }
        write_json(options.json, report)  # the rest takes as long again
        report["simulation"] = measure_simulation(Path(place), options)
    report["loads"] = [before, load()]
    show(report)
    write_json(options.json, report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
