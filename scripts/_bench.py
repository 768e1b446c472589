"""What the bench scripts share: the machine and its versions, medians with spread, bars, JSON."""

from __future__ import annotations

import contextlib
import json
import operator
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "<": operator.lt,
}


def load() -> float:
    """Return how many processes wanted a core, on average over the last minute."""
    return round(os.getloadavg()[0], 2)


def machine() -> dict[str, Any]:
    """Return what the numbers were measured on."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        lines = [one for one in cpu_info.read_text().splitlines() if one.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gb": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the version of Python and of each package; a name may have alternatives after `|`."""
    return {
        "python": platform.python_version(),
        **{name.partition("|")[0]: _version(name) for name in packages},
    }


def _version(names: str) -> str:
    for name in names.split("|"):
        with contextlib.suppress(PackageNotFoundError):
            return version(name)
    return "not installed"


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    """Return median, quartiles and extremes; one value is its own quartiles."""
    ends = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {
        "median": round(ends[1], digits),
        "lower_quartile": round(ends[0], digits),
        "upper_quartile": round(ends[2], digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def peak_rss_mb() -> float:
    """Return the largest resident set this process has had, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ended_cpu() -> float:
    """Return CPU seconds of this process and of its ended children."""
    own, ended = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime


def family_cpu() -> float:
    """Return CPU seconds of this process and of its living children (Linux; own ones elsewhere)."""
    total, me, tick = time.process_time(), str(os.getpid()), os.sysconf("SC_CLK_TCK")
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # A command's name may hold spaces and brackets; what follows it does not.
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[1] == me:
            total += (int(fields[11]) + int(fields[12])) / tick
    return total


@contextlib.contextmanager
def only(cores: int) -> Iterator[None]:
    """Let this process, and those that it starts, run on so many cores (Linux)."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@dataclass(frozen=True, slots=True)
class Bar:
    """Something a run must reach.

    Parameters
    ----------
    name : str
    value : float
        Measured.
    relation : {">=", "<=", "<"}
    limit : float
    """

    name: str
    value: float
    relation: str
    limit: float

    @property
    def met(self) -> bool:
        return _RELATIONS[self.relation](self.value, self.limit)

    def to_mapping(self) -> dict[str, Any]:
        return {**asdict(self), "met": self.met}


def show_bars(bars: Sequence[Bar]) -> bool:
    """Print each bar with what was measured; return whether all were met."""
    width = max(len(bar.name) for bar in bars)
    for bar in bars:
        verdict = "met" if bar.met else "MISSED"
        print(f"{verdict:<7} {bar.name:<{width}}  {bar.value:>12.6g} {bar.relation} {bar.limit:g}")
    return all(bar.met for bar in bars)


def show_mapping(values: Mapping[str, Any]) -> None:
    """Print names and values, a line each."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        print(f"  {name:<{width}}  {value}")


def write_json(path: Path | None, report: Mapping[str, Any]) -> None:
    """Write a report, whole or not at all; without a path, do nothing."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text(json.dumps(report, indent=2) + "\n")
    beside.replace(path)
