"""Hold the simulated world against real months: rates, and what each holder can tell, side by side.

    python scripts/calibrate_world.py --data UCI_Credit_Card.csv.gz --json calibration.json

Without `--data` the table is downloaded from its publisher. Ends with 1 if a rate is further off
than 15 % of the real one, or an AUC by more than .02.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _bench import machine, versions, write_json
from _calibration import aucs, compared, figures, real_months, world_months

RATE, AUC = 0.15, 0.02


def main() -> int:
    """Measure, print, and say whether all of it is near enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="the real table, where it is at hand")
    parser.add_argument("--customers", type=int, default=100_000, help="in the world")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args()
    real, made = real_months(given.data), world_months(given.customers, given.seed)
    rates = compared(figures(real), figures(made))
    ranks = compared(aucs(real), aucs(made))
    print(f"{'':<26}{'real':>8}{'world':>8}{'off':>8}")
    far = 0
    for name, one in rates.items():
        off = one["world"] / one["real"] - 1
        far += _row(name, one, f"{off:+.1%}", within=abs(off) <= RATE)
    for name, one in ranks.items():
        off = one["world"] - one["real"]
        far += _row(f"AUC, {name}", one, f"{off:+.4f}", within=abs(off) <= AUC)
    report = {"machine": machine(), "versions": versions("numpy", "scikit-learn")}
    told = {"customers": given.customers, "seed": given.seed, "rates": rates, "aucs": ranks}
    write_json(given.json, report | told)
    return 1 if far else 0


def _row(name: str, one: dict[str, float], off: str, *, within: bool) -> int:
    mark = "" if within else "  too far"
    print(f"{name:<26}{one['real']:>8.4f}{one['world']:>8.4f}{off:>8}{mark}")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
