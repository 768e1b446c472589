"""One scorecard over three real processes: accuracy, exactness, seconds, bytes, memory.

The published split of real customers goes to three holders; the product trains as `confide train`
does (engine local, default settings). In the same run the rows are pooled and counted again (the
moments must be equal as integers), and boosted trees and a logistic regression learn from the
pooled raw columns.

    python scripts/bench_scorecard.py --data DIR/default_credit_split --demographics --json out.json
    python scripts/bench_scorecard.py --data DIR/default_credit_split --json out.json
    python scripts/bench_scorecard.py --data DIR/default_credit_split --grow --rows 30000 100000
    python scripts/bench_scorecard.py --real-data UCI_Credit_Card.csv.gz

Wall seconds depend on who else uses the machine, so CPU seconds of all processes together stand
beside them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import (
    Bar,
    family_cpu,
    load,
    machine,
    show_bars,
    show_mapping,
    spread,
    versions,
    write_json,
)
from _credit import (
    BUILDER,
    Split,
    derived_matrix,
    head,
    holders,
    make_federation,
    raw_matrix,
    read_split,
)
from _exact import compare_pooled
from _growth import grow
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from server.coordinator import load_federation
from server.engines.launcher import new_run, train_local

PHASES = ("align", "moments", "score")
PACKAGES = ("confide", "numpy", "cryptography", "flwr", "scikit-learn", "xgboost-cpu|xgboost")
MAX_SECONDS, MAX_RSS_MB, MAX_DIFFERENCE, MAX_BEHIND = 10.0, 1024.0, 1e-9, 0.002
#: Least test AUC and KS, without demographics and with them.
LEAST = {False: (0.781, 0.430), True: (0.785, 0.435)}
LEAST_REAL, MOST_REAL_ALONE = 0.77, 0.70


@dataclass(frozen=True, slots=True)
class Training:
    """One run of the product.

    `outcome` is what the coordinator has in the end, `cpu` the CPU seconds of coordinator and
    parties by phase.
    """

    outcome: dict[str, Any]
    cpu: dict[str, float]

    @property
    def run(self) -> str:
        return str(self.outcome["run"])

    @property
    def card(self) -> dict[str, Any]:
        return dict(self.outcome["moments"][BUILDER])

    @property
    def seconds(self) -> dict[str, float]:
        wall: dict[str, float] = dict(self.outcome["seconds"])
        fit = float(self.card["fit_seconds"])
        return {**wall, "fit": fit, "protocol": wall["moments"] + wall["score"]}

    def by_holder(self, key: str, phases: tuple[str, ...]) -> dict[str, list[float]]:
        """Return what each holder reported in each phase."""
        return {
            holder: [self.outcome[phase][holder][key] for phase in phases]
            for holder in self.outcome["join"]
        }


def train_once(federation: Path) -> Training:
    """Run the product: a process a party, all defaults."""
    before: dict[str, float] = {}
    cpu: dict[str, float] = {}

    def report(event: str, details: dict[str, Any]) -> None:
        if event == "phase":
            before[details["name"]] = family_cpu()
        elif event == "done":
            cpu[details["name"]] = family_cpu() - before[details["name"]]

    return Training(train_local(federation, new_run(), {}, report), cpu)


def compare_models(split: Split, *, demographics: bool, with_boosting: bool) -> dict[str, Any]:
    """Return what other models reach on the pooled columns."""
    # Only here: `--grow` starts processes whose memory is measured, and they import this file.
    from _models import boosting, logistic  # noqa: PLC0415

    held = holders(demographics=demographics)
    train, test = raw_matrix(split.train, held), raw_matrix(split.test, held)
    label, seen = split.train["y"], split.test["y"]
    report: dict[str, Any] = {"logistic": logistic(train, label, test, seen)}
    if with_boosting:
        more = np.hstack([train, derived_matrix(split.train)])
        more_test = np.hstack([test, derived_matrix(split.test)])
        report["boosting"] = boosting(train, label, test, seen)
        report["boosting_with_derived"] = boosting(more, label, more_test, seen)
    return report


def accuracy(training: Training) -> dict[str, Any]:
    found = training.outcome["score"][BUILDER]
    alone = {name: {"auc": one["auc"], "ks": one["ks"]} for name, one in found["alone"].items()}
    return {
        "test_auc": found["auc"],
        "test_ks": found["ks"],
        "auc_interval": found["auc_interval"],
        "ks_interval": found["ks_interval"],
        "alone": dict(sorted(alone.items())),
    }


def cost(trainings: list[Training]) -> dict[str, Any]:
    """Return seconds (medians), spreads, CPU, bytes and memory over all repeats."""
    last = trainings[-1]
    walls = {name: [one.seconds[name] for one in trainings] for name in last.seconds}
    cpus = {name: [one.cpu[name] for one in trainings] for name in PHASES}
    cpus["protocol"] = [one.cpu["moments"] + one.cpu["score"] for one in trainings]
    names = {"sent": "bytes_sent", "received": "bytes_received"}
    traffic = {
        way: {phase: last.by_holder(key, (phase,)) for phase in PHASES}
        for way, key in names.items()
    }
    peaks = [one.by_holder("peak_rss_mb", PHASES) for one in trainings]
    spreads = {name: spread(values) for name, values in walls.items()}
    return {
        "seconds": {name: one["median"] for name, one in spreads.items()},
        "seconds_spread": spreads,
        "cpu_seconds_all_processes": {name: spread(values) for name, values in cpus.items()},
        "bytes": {
            holder: {way: {p: int(traffic[way][p][holder][0]) for p in PHASES} for way in names}
            for holder in sorted(last.outcome["join"])
        },
        "peak_rss_mb": {
            holder: round(max(max(one[holder]) for one in peaks), 1) for holder in sorted(peaks[0])
        },
        "notes": "fit is the builder's time within moments; protocol is moments and score",
    }


def bars_of(report: Mapping[str, Any], *, demographics: bool) -> list[Bar]:
    least_auc, least_ks = LEAST[demographics]
    bars = [
        Bar("test AUC", report["test_auc"], ">=", least_auc),
        Bar("test KS", report["test_ks"], ">=", least_ks),
        Bar("blind = pooled, as integers", float(report["blind_equals_pooled"]), ">=", 1),
        Bar("summed = pooled, as integers", float(report["summed_equals_pooled"]), ">=", 1),
        Bar("coefficients", report["max_coefficient_difference"], "<=", MAX_DIFFERENCE),
        Bar("points = those of the pooled card", float(report["points_equal_pooled"]), ">=", 1),
        Bar("moments + fit + score, s", report["seconds"]["protocol"], "<=", MAX_SECONDS),
        Bar("peak memory of a party, MB", max(report["peak_rss_mb"].values()), "<=", MAX_RSS_MB),
    ]
    if report["pooled_boosting_test_auc"] is not None:
        behind = report["pooled_boosting_test_auc"] - report["test_auc"]
        bars.append(Bar("behind pooled boosting, AUC", behind, "<=", MAX_BEHIND))
    return bars


def bench(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, compare, and return the report."""
    split = read_split(arguments.data)
    split = head(split, arguments.customers) if arguments.customers else split
    held = holders(demographics=arguments.demographics)
    report = {**start(), "holders": {name: list(columns) for name, columns in held.items()}}
    with temporary_folder() as folder:
        federation = make_federation(folder, split, held)
        agreed, _ = load_federation(federation)
        report["settings"] = {
            part: asdict(getattr(agreed, part)) for part in ("scorecard", "floors", "protocol")
        }
        trainings = []
        for number in range(arguments.repeats):
            trainings.append(train_once(federation))
            say(f"run {number + 1}: {trainings[-1].seconds}")
        report |= accuracy(trainings[-1]) | cost(trainings)
        say("pooling the rows")
        with threadpool_limits(1, user_api="blas"):
            report |= compare_pooled(federation, trainings[-1].run)
    card = trainings[-1].card
    report |= {"columns": card["columns"], "points_kept": card["points_kept"], "kkt": card["kkt"]}
    say("learning from the pooled columns")
    models = compare_models(
        split, demographics=arguments.demographics, with_boosting=not arguments.no_boosting
    )
    found = models.get("boosting")
    report |= {"pooled_models": models, "pooled_boosting_test_auc": found and found["test_auc"]}
    report["load"].append(load())
    return report


def show(report: Mapping[str, Any]) -> None:
    show_mapping(report["machine"] | report["versions"] | {"load": report["load"]})
    print(f"\n{report['columns']} columns, {report['points_kept']} with points\n")
    print(f"{'test':<34} {'AUC':>8} {'KS':>8}")
    low, high = report["auc_interval"]
    rows = {f"{name} alone": (one["auc"], one["ks"]) for name, one in report["alone"].items()}
    rows["card, blind"] = (report["test_auc"], report["test_ks"])
    rows["card, pooled rows"] = (report["pooled_test_auc"], report["pooled_test_ks"])
    for name, one in report["pooled_models"].items():
        rows[f"pooled {name.replace('_', ' ')}"] = (one["test_auc"], one["test_ks"])
    for name, (auc, ks) in rows.items():
        print(f"{name:<34} {auc:>8.4f} {ks:>8.4f}")
    print(f"95 % interval of the card's AUC: {low:.4f} to {high:.4f}\n")
    print(f"{'phase':<10} {'wall s':>8} {'lowest':>8} {'highest':>8} {'CPU s, all processes':>22}")
    for name, one in report["seconds_spread"].items():
        cpu = report["cpu_seconds_all_processes"].get(name)
        used = f"{cpu['median']:>22.2f}" if cpu else f"{'within moments':>22}"
        print(f"{name:<10} {one['median']:>8.2f} {one['min']:>8.2f} {one['max']:>8.2f} {used}")
    print(f"\n{'holder':<10} {'MB sent, align':>15} {'moments':>9} {'score':>7} {'peak MB':>9}")
    for name, one in report["bytes"].items():
        sent = [one["sent"][phase] / 1e6 for phase in PHASES]
        peak = report["peak_rss_mb"][name]
        print(f"{name:<10} {sent[0]:>15.2f} {sent[1]:>9.2f} {sent[2]:>7.2f} {peak:>9.0f}")
    print()


def real_data(arguments: argparse.Namespace) -> dict[str, Any]:
    """Take the publisher's file through the commands a person types, with four holders."""
    with temporary_folder() as folder:
        table, parties = folder / "table", folder / "parties"
        contract = str(table / "contract.toml")
        confide("data", "fetch", "uci-default", table, "--from", arguments.real_data)
        confide("data", "split", table / "uci_default.parquet", parties, "--contract", contract)
        confide("init", parties)
        said = confide("train", "-f", parties / "federation.toml", "--format", "json")
    data = json.loads(said)["data"]
    kept = {key: data[key] for key in ("customers", "alone", "worth", "seconds", "card", "test")}
    kept["card"].pop("path")
    return {**start(), **kept, "test_auc": data["test"]["auc"], "test_ks": data["test"]["ks"]}


def real_bars(report: Mapping[str, Any]) -> list[Bar]:
    alone = report["alone"][BUILDER]["auc"]
    return [
        Bar("test AUC, four holders", report["test_auc"], ">=", LEAST_REAL),
        Bar("test AUC, the bank alone", alone, "<", MOST_REAL_ALONE),
    ]


def confide(*words: object) -> str:
    """Run the command; return what it printed."""
    code = "from server.cli import main; main()"
    command = [sys.executable, "-c", code, *(str(word) for word in words)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def start() -> dict[str, Any]:
    return {
        "schema": "confide/bench-scorecard/1",
        "machine": machine(),
        "versions": versions(*PACKAGES),
        "load": [load()],
    }


@contextmanager
def temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="confide-bench-") as name:
        yield Path(name)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the published split")
    parser.add_argument("--demographics", action="store_true", help="give them to the bank")
    parser.add_argument("--repeats", type=int, default=3, help="whole runs; seconds are medians")
    parser.add_argument("--no-boosting", action="store_true")
    parser.add_argument("--customers", type=int, help="only the first so many, for a quick look")
    parser.add_argument("--grow", action="store_true", help="measure the moments against rows")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[30_000, 100_000, 300_000, 1_000_000]
    )
    parser.add_argument("--real-data", type=Path, help="the publisher's file: four holders")
    parser.add_argument("--json", type=Path, help="write the report here")
    return parser


def main() -> int:
    parser = options()
    arguments = parser.parse_args()
    if arguments.real_data is None and arguments.data is None:
        parser.error("give --data or --real-data")
    warnings.filterwarnings("ignore", module="google.protobuf")
    if arguments.real_data:
        report = real_data(arguments)
        bars = real_bars(report)
        show_mapping(report["machine"] | report["customers"] | report["seconds"])
    elif arguments.grow:
        with temporary_folder() as folder:
            report, bars = grow(start(), read_split(arguments.data), arguments.rows, folder)
    else:
        report = bench(arguments)
        bars = bars_of(report, demographics=arguments.demographics)
        show(report)
    report["bars"] = [bar.to_mapping() for bar in bars]
    met = show_bars(bars)
    write_json(arguments.json, report)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
