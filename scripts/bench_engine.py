"""Time a whole training from command to signed release: engine `flower`, with `local` beside it.

    python scripts/bench_engine.py --customers 12000 --repeats 3 --json engine.json

Every run is the real command in a process of its own, on a fresh copy of one simulated world of
four parties; the engines take turns, so that a busy machine slows both alike. `flower` starts
SuperLink, relay and four SuperNodes with TLS and node authentication, and ends when nothing of them
is left.
The load is reported: the bar is for a calm machine of two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from _bench import Bar, load, machine, show_bars, spread, versions, write_json

ENGINES = ("flower", "local")
MAX_SECONDS = 60.0
STEPS = ("start", "join", "align", "moments", "score", "release", "stop", "whole")


def confide(*arguments: str) -> str:
    """Run one of confide's commands; return its standard output."""
    command = [sys.executable, "-m", "server.cli", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def make_federation(folder: Path, customers: int) -> None:
    """Make a simulated world of four parties and everybody's keys."""
    confide("data", "make", str(folder), "--customers", str(customers), "--seed", "1")
    confide("init", str(folder))


def train(engine: str, folder: Path) -> dict[str, float]:
    """Train once; return the seconds of each step."""
    began = time.time()
    command = ["train", "-f", str(folder / "federation.toml"), "--engine", engine]
    result = json.loads(confide(*command, "--format", "json"))["data"]
    ended = time.time()
    steps = {name: result["seconds"][name] for name in STEPS if name in result["seconds"]}
    steps["whole"] = ended - began
    if engine == "flower":
        events = _events(folder)
        first = next(at for event, at in events if event == "phase")
        steps["start"] = events[0][1] - began
        steps["join"] = first - events[0][1]
        steps["stop"] = ended - max(at for event, at in events if event == "done")
    else:
        steps["start"] = steps["whole"] - sum(
            seconds for name, seconds in steps.items() if name != "whole"
        )
    return steps


def _events(folder: Path) -> list[tuple[str, float]]:
    (path,) = folder.glob("coordinator/runs/*/progress.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [(line["event"], line["at"]) for line in lines]


def measure(customers: int, repeats: int) -> tuple[dict[str, Any], list[float]]:
    """Return the spread of each step's seconds by engine, and the loads before each run."""
    seconds: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in ENGINES}
    loads = []
    with tempfile.TemporaryDirectory(prefix="bench") as place:
        world = Path(place) / "world"
        make_federation(world, customers)
        for turn in range(repeats):
            for engine in ENGINES:
                folder = Path(place) / f"{engine}{turn}"
                shutil.copytree(world, folder)
                loads.append(load())
                for name, value in train(engine, folder).items():
                    seconds[engine][name].append(value)
                shutil.rmtree(folder)
                print(
                    f"{engine} {seconds[engine]['whole'][-1]:.1f} s, load {loads[-1]}", flush=True
                )
    spreads = {
        engine: {step: spread(steps[step]) for step in STEPS if step in steps}
        for engine, steps in seconds.items()
    }
    return spreads, loads


def show(spreads: dict[str, Any]) -> None:
    """Print the medians of both engines, a line a step."""
    print(f"{'seconds':<9}" + "".join(f"{engine:>10} {'(spread)':<14}" for engine in spreads))
    for step in STEPS:
        line = f"{step:<9}"
        for values in spreads.values():
            one = values.get(step)
            ends = f"({one['min']:.1f}-{one['max']:.1f})" if one else ""
            line += f"{one['median'] if one else float('nan'):>10.2f} {ends:<14}"
        print(line)


def main() -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--customers", type=int, default=12000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    spreads, loads = measure(options.customers, options.repeats)
    bar = Bar(
        "flower, command to signed release, s",
        spreads["flower"]["whole"]["median"],
        "<=",
        MAX_SECONDS,
    )
    show(spreads)
    print(f"load before the runs: {min(loads)} to {max(loads)} on {os.cpu_count()} cores")
    met = show_bars([bar])
    report = {
        "machine": machine(),
        "versions": versions("confide", "flwr", "numpy", "cryptography"),
        "customers": options.customers,
        "repeats": options.repeats,
        "loads": loads,
        "seconds": spreads,
        "bars": [bar.to_mapping()],
    }
    write_json(options.json, report)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
