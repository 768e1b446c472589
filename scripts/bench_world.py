"""Time a world being written: a million people for two years, in one process and in two.

    python scripts/bench_world.py --json world.json

The alternative in the same run is what most generators do: the same months, each holder's table
built whole in memory and written as CSV, on as many people as fit that (a part of the world). Each
run is a process of its own: peak memory is the sum of its processes' peaks.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from _bench import Bar, load, machine, show_bars, spread, versions, write_json

ROOT = Path(__file__).resolve().parents[1]
MOST_S, MOST_GB = 600.0, 4.0
_CSV = """
import sys
from pathlib import Path
import pyarrow as pa, pyarrow.csv
from clients.world import making
from shared.world.chance import spans
out, people, months = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
out.mkdir()
world = making.World(people, months)
blocks = [list(making._block(span, world)) for span in spans(people)]
rows = 0
for place, holder in enumerate(making.HOLDERS):
    table = pa.concat_tables([one[place] for one in blocks])
    at = table.schema.get_field_index("ID")
    table = table.set_column(at, "ID", table["ID"].cast(pa.string()))
    pa.csv.write_csv(table, out / f"{holder}.csv")
    rows += table.num_rows
print(rows)
"""
_OURS = """
import sys
from pathlib import Path
from clients.world.making import World, make
if __name__ == "__main__":
    out, people, months, processes = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    print(sum(make(out, World(people, months), processes=processes).values()))
"""


def main() -> int:
    """Measure; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--csv-people", type=int, default=100_000)
    parser.add_argument("--months", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("numpy", "pyarrow"),
        "load": load(),
        "people": given.people,
        "months": given.months,
    }
    with tempfile.TemporaryDirectory(prefix="world-") as place:
        for name, script, people, processes in (
            ("one process", _OURS, given.people, 1),
            ("two processes", _OURS, given.people, 2),
            ("whole, as CSV", _CSV, given.csv_people, 1),
        ):
            runs = [
                measure(script, Path(place) / "world", people, given.months, processes)
                for _ in range(given.repeats)
            ]
            report[name] = {
                "people": people,
                "rows": runs[0]["rows"],
                "seconds": spread([one["seconds"] for one in runs]),
                "rows_per_second": spread([one["rows"] / one["seconds"] for one in runs], 0),
                "peak_gb": spread([one["peak_gb"] for one in runs]),
                "bytes_per_row": spread([one["bytes"] / one["rows"] for one in runs]),
            }
            told = report[name]
            print(
                f"{name:<14} {people:>10,} people {told['rows']:>12,} rows "
                f"{told['seconds']['median']:>8.1f} s {told['rows_per_second']['median']:>12,.0f}"
                f" rows/s {told['peak_gb']['median']:>6.2f} GB "
                f"{told['bytes_per_row']['median']:>6.1f} bytes a row",
                flush=True,
            )
    two = report["two processes"]
    bars = [
        Bar("a world of the size of the bar: seconds", two["seconds"]["median"], "<=", MOST_S),
        Bar("its peak memory, GB", two["peak_gb"]["median"], "<=", MOST_GB),
    ]
    met = show_bars(bars)
    write_json(given.json, report | {"bars": [bar.to_mapping() for bar in bars]})
    return 0 if met else 1


def measure(script: str, out: Path, people: int, months: int, processes: int) -> dict[str, float]:
    """Write a world in a process of its own, and remove it."""
    words = [str(out), str(people), str(months), str(processes)]
    file = out.with_name("make.py")
    file.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, str(file), *words], stdout=subprocess.PIPE, env=environment
    ) as process:
        peaks: dict[int, int] = {}
        while process.poll() is None:
            peaks |= {pid: max(kb, peaks.get(pid, 0)) for pid, kb in _memory(process.pid).items()}
            time.sleep(0.2)
        seconds = time.monotonic() - began
        assert process.stdout is not None
        rows = int(process.stdout.read())
    if process.returncode:
        raise SystemExit(f"the world was not written: status {process.returncode}")
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    shutil.rmtree(out)
    return {
        "seconds": seconds,
        "rows": rows,
        "peak_gb": sum(peaks.values()) / 2**20,
        "bytes": size,
    }


def _memory(parent: int) -> dict[int, int]:
    """Return the memory of a process and its children now, in kB."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            status = (entry / "status").read_text()
        except OSError:
            continue
        lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        if int(entry.name) == parent or int(lines["PPid"]) == parent:
            found[int(entry.name)] = int(lines.get("VmRSS", "0 kB").split()[0])
    return found


if __name__ == "__main__":
    sys.exit(main())
