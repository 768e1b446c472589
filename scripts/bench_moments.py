"""Moments over a million customers, and ten: the product's own ways to count, and anyone's.

    python scripts/bench_moments.py --json moments.json
    python scripts/bench_moments.py --sizes 10000000 --repeats 1 --json moments-10m.json

Three holders with the same customers count blindly, over the sample that is the default and over
all (what a federation gets that raises `sample_cap`); three banks with other customers each add
their counts, which takes all customers always; and one process counts rows that lie in one place.
In the same run stand two alternatives for that last one: 0/1 matrices multiplied by numpy, and
sparse ones by scipy, a million rows at a time. All tables must be equal where the same customers
are counted.

Members are a process each with one BLAS thread, as the launcher starts them; `cores` are those that
all of them together may run on. `bench_scorecard.py --grow` has the whole phase of real customers,
with planning and fitting.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _bench import load, machine, only, show_mapping, spread, versions, write_json
from _counting import WAYS, Bins, Cost, member
from _growth import together

_PATIENCE_S = 3600.0


def main() -> int:
    """Measure, print, and write JSON."""
    given = _arguments()
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("numpy", "scipy", "cryptography"),
        "load": [load()],
        "features": given.features,
        "bins": given.bins,
        "runs": [],
    }
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    print(
        f"\n{'rows':>11} {'counted':>11} {'way':<15} {'cores':>5} {'wall s':>8} {'range':>17}",
        end="",
    )
    print(f" {'CPU s':>8} {'MB above bins':>14} {'peak MB':>8} {'MB sent':>8}")
    for size in given.sizes:
        bins = Bins(size, given.features, given.bins)
        # Where the sample is everybody, it is counted under its other name.
        ways = [name for name in given.ways if not 0 < size <= WAYS[name].cap]
        for row in measure(bins, ways, given.cores, given.repeats):
            report["runs"].append(row)
            show(row)
            write_json(given.json, report)
    report["load"].append(load())
    write_json(given.json, report)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--features", type=int, default=10, help="of each of three holders")
    parser.add_argument("--bins", type=int, default=8, help="of each feature")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="WAY")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def measure(
    bins: Bins, ways: Sequence[str], cores: Sequence[int], repeats: int
) -> Iterator[dict[str, Any]]:
    """Yield what each way took; the tables of the same customers must be the same."""
    runs: dict[tuple[str, int], list[Mapping[str, Cost]]] = defaultdict(list)
    # Ways take turns, so that a busy minute of the machine does not fall on one alone.
    for _ in range(repeats):
        for name in ways:
            for count in cores:
                # Who counts alone takes one core, however many there are.
                if count == min(cores) or len(WAYS[name].members) > 1:
                    with only(count):
                        runs[name, count].append(run(name, bins))
    check_equal(bins, runs)
    for (name, count), found in runs.items():
        yield summary(bins, name, count, found)


def run(name: str, bins: Bins) -> dict[str, Cost]:
    """Count once; return what each member paid."""
    words = {one: (name, one, bins) for one in WAYS[name].members}
    return together(member, words, _PATIENCE_S)


def check_equal(bins: Bins, runs: Mapping[tuple[str, int], Sequence[Mapping[str, Cost]]]) -> None:
    """End the script where two ways that count the same customers found other counts."""
    tables = defaultdict(set)
    for (name, _), found in runs.items():
        for costs in found:
            tables[counted(bins, name)] |= {cost.found for cost in costs.values() if cost.found}
    for rows, found in tables.items():
        if len(found) != 1:
            raise SystemExit(f"{len(found)} different tables of the same {rows:,} customers")


def counted(bins: Bins, name: str) -> int:
    return min(bins.rows, WAYS[name].cap or bins.rows)


def summary(
    bins: Bins, name: str, cores: int, found: Sequence[Mapping[str, Cost]]
) -> dict[str, Any]:
    """Return medians with their spread: the slowest member's wall, the largest member's memory."""
    members = [list(costs.values()) for costs in found]
    return {
        "rows": bins.rows,
        "counted": counted(bins, name),
        "way": name,
        "cores": cores,
        "processes": len(WAYS[name].members),
        "wall_seconds": spread([max(one.wall for one in costs) for costs in members]),
        "cpu_seconds": spread([sum(one.cpu for one in costs) for costs in members]),
        "mb_above_bins": spread([max(one.above for one in costs) for costs in members], 0),
        "peak_mb": spread([max(one.table + one.above for one in costs) for costs in members], 0),
        "mb_sent": spread([sum(one.sent for one in costs) / 1e6 for costs in members], 1),
    }


def show(row: Mapping[str, Any]) -> None:
    wall = row["wall_seconds"]
    between = f"({wall['min']:.2f} to {wall['max']:.2f})"
    print(
        f"{row['rows']:>11,} {row['counted']:>11,} {row['way']:<15} {row['cores']:>5}"
        f" {wall['median']:>8.2f} {between:>17} {row['cpu_seconds']['median']:>8.2f}"
        f" {row['mb_above_bins']['median']:>14.0f} {row['peak_mb']['median']:>8.0f}"
        f" {row['mb_sent']['median']:>8.1f}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
