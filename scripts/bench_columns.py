"""Holders' columns from their months: the product's numpy, Polars and DuckDB on the same files.

    python scripts/bench_columns.py --json columns.json

A simulated world is lived for two years; then every holder's columns are made from its last months
as `confide world tables` makes them, by each way in a process of its own, on one core and on two.
The columns must be equal. A first pass warms caches and pools; the second is timed. Peak memory is
that of the process, less what it had before the first pass.

The product needs neither Polars nor DuckDB. Give them an environment of their own and name its
interpreter:

    python -m venv columns && columns/bin/pip install polars duckdb numpy pyarrow
    python scripts/bench_columns.py --columns-python columns/bin/python
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _bench import load, machine, only, show_mapping, spread, versions, write_json
from _column_ways import HOLDERS, WAYS

from clients.world.living import begin
from clients.world.making import World

ROOT = Path(__file__).resolve().parents[1]
OURS = "numpy"
#: Sums of the same numbers in another order.
MOST_OFF = 1e-9

Passes = dict[tuple[str, int], list[dict[str, Any]]]


def main() -> int:
    """Measure, print, and write JSON."""
    given = _arguments()
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("numpy", "pyarrow"),
        "load": [load()],
        "people": given.people,
        "months": given.months,
        "holders": HOLDERS,
    }
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    pythons = interpreters(given.columns_python)
    with tempfile.TemporaryDirectory(prefix="columns-") as place:
        last = begin(Path(place) / "world", World(given.people, given.months))
        passes, off = measure(Path(place), last, pythons, given.cores, given.repeats)
    report["runs"] = [summary(passes, way, cores) for way, cores in passes]
    report |= {"largest_difference": off, "absent": [way for way in WAYS if way not in pythons]}
    report["load"].append(load())
    show(report)
    write_json(given.json, report)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--columns-python", default=sys.executable, help="with Polars and DuckDB")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def interpreters(elsewhere: str) -> dict[str, str]:
    """Return by which interpreter each way runs; say loudly which cannot."""
    found = {OURS: sys.executable}
    for way in WAYS:
        if way == OURS:
            continue
        command = [elsewhere, "-c", f"import {way}, numpy, pyarrow"]
        if subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode:
            print(f"LEFT OUT: {way} is absent. Give it an environment of its own:")
            print("  python -m venv columns && columns/bin/pip install polars duckdb numpy pyarrow")
            print("  and pass --columns-python columns/bin/python", flush=True)
        else:
            found[way] = elsewhere
    return found


def measure(
    place: Path, last: int, pythons: Mapping[str, str], cores: Sequence[int], repeats: int
) -> tuple[Passes, float]:
    """Return what each way took each time, and the largest difference of a column from ours."""
    passes: Passes = defaultdict(list)
    off = 0.0
    # Ways take turns, so that a busy minute of the machine does not fall on one alone.
    for _ in range(repeats):
        for count in cores:
            for way, python in pythons.items():
                with only(count):
                    passes[way, count].append(run(python, way, place, last, count))
                off = max(off, difference(place, way))
    return passes, off


def run(python: str, way: str, place: Path, last: int, cores: int) -> dict[str, Any]:
    """Make all columns in a process of its own; return what it says that they took."""
    words = [way, place / "world", last, place / f"{way}.npz"]
    command = [python, ROOT / "scripts" / "_column_ways.py", *words]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT) if way == OURS else "",
        "OMP_NUM_THREADS": str(cores),  # Arrow's threads, too
        "POLARS_MAX_THREADS": str(cores),
    }
    done = subprocess.run(
        [str(word) for word in command], env=environment, stdout=subprocess.PIPE, check=True
    )
    return dict(json.loads(done.stdout))


def difference(place: Path, way: str) -> float:
    """Return how far a way's columns are from ours; end the script where they are others."""
    with np.load(place / f"{OURS}.npz") as ours, np.load(place / f"{way}.npz") as theirs:
        columns = {name: (ours[name], theirs[name]) for name in ours.files}
    off = 0.0
    for name, (one, other) in columns.items():
        if name.endswith("/ID"):
            same = np.array_equal(one, other)
        else:
            same = np.allclose(one, other, rtol=0, atol=MOST_OFF, equal_nan=True)
            off = max(off, float(np.nanmax(np.abs(one - other))))
        if not same:
            raise SystemExit(f"{way}: {name} is another than ours")
    return off


def summary(passes: Passes, way: str, cores: int) -> dict[str, Any]:
    """Return medians with their spread, and times against ours of the same round."""
    found, ours = passes[way, cores], passes[OURS, cores]
    pairs = list(zip(found, ours, strict=True))
    return {
        "way": way,
        "version": found[0]["version"],
        "cores": cores,
        "seconds": spread([one["seconds"] for one in found]),
        "first_seconds": spread([one["first_seconds"] for one in found]),
        "cpu_seconds": spread([one["cpu_seconds"] for one in found]),
        "numpy_over_this": spread([own["seconds"] / one["seconds"] for one, own in pairs], 2),
        "numpy_over_this_cpu": spread(
            [own["cpu_seconds"] / one["cpu_seconds"] for one, own in pairs], 2
        ),
        "peak_mb_above": spread([one["peak_mb"] - one["before_mb"] for one in found], 0),
    }


def show(report: Mapping[str, Any]) -> None:
    print(f"\n{report['people']:,} people, {report['months']} months; columns of all four holders")
    print(
        f"{'way':<8} {'cores':>5} {'s':>6} {'range':>14} {'first s':>8} {'CPU s':>6}"
        f" {'numpy takes times':>19} {'of CPU':>16} {'peak MB':>8}"
    )
    for row in report["runs"]:
        wall, times, cpu = row["seconds"], row["numpy_over_this"], row["numpy_over_this_cpu"]
        between = f"{wall['min']:.2f} to {wall['max']:.2f}"
        print(
            f"{row['way']:<8} {row['cores']:>5} {wall['median']:>6.2f} {between:>14}"
            f" {row['first_seconds']['median']:>8.2f} {row['cpu_seconds']['median']:>6.2f}"
            f" {_times(times):>19} {_times(cpu):>16} {row['peak_mb_above']['median']:>8.0f}"
        )
    print(f"largest difference of a column: {report['largest_difference']:.1g}")


def _times(one: Mapping[str, float]) -> str:
    return f"{one['median']:.2f} ({one['min']:.2f}-{one['max']:.2f})"


if __name__ == "__main__":
    sys.exit(main())
