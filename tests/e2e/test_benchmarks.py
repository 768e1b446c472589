"""The bench scripts run, on little, and write the JSON that is read from them.

Nothing here looks at a time or at a bar: small data on a busy machine says nothing about either.
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.world.traits import FITTED
from tests.support import data_path

ROOT = Path(__file__).resolve().parents[2]
SCORECARD_KEYS = {
    "test_auc",
    "test_ks",
    "auc_interval",
    "ks_interval",
    "alone",
    "pooled_test_auc",
    "pooled_boosting_test_auc",
    "seconds",
    "bytes",
    "peak_rss_mb",
    "max_coefficient_difference",
    "machine",
    "versions",
    "load",
    "settings",
    "columns",
    "points_kept",
    "bars",
}

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def run_script(name, tmp_path, *words):
    """Run a bench script; return its JSON. A missed bar is no failure here."""
    report = tmp_path / "report.json"
    command = [sys.executable, ROOT / "scripts" / name, *words, "--json", report]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr[-2000:]
    assert report.exists(), done.stderr[-2000:]
    return json.loads(report.read_text()), done


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    """A folder in the form of the published split, with invented customers."""
    folder = tmp_path_factory.mktemp("split")
    rng = np.random.default_rng(1)
    number = 0
    for name, rows in (("guest", 1000), ("host_1", 1000), ("host_2", 500), ("test", 600)):
        borrower = rng.normal(size=(rows, 1))
        values = np.round(0.6 * borrower + rng.normal(size=(rows, 23)), 6)
        bad = (rng.normal(size=rows) < borrower[:, 0] - 0.8).astype(int)
        with gzip.open(folder / f"{name}.csv.gz", "wt", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["id", "y", *(f"x{column}" for column in range(23))])
            for label, row in zip(bad.tolist(), values.tolist(), strict=True):
                number += 1
                writer.writerow([number, label, *row])
    return folder


def test_scorecard_bench_measures_the_product_and_agrees_with_pooled_rows(split, tmp_path):
    report, _ = run_script(
        "bench_scorecard.py",
        tmp_path,
        *("--data", split, "--demographics", "--repeats", 1, "--no-boosting"),
    )
    assert set(report) >= SCORECARD_KEYS
    assert report["blind_equals_pooled"]
    assert report["summed_equals_pooled"]
    assert report["points_equal_pooled"]
    assert report["max_coefficient_difference"] <= 1e-9
    assert report["pooled_test_auc"] == report["test_auc"]
    assert 0.6 < report["test_auc"] < 1
    holders = {"bank", "payments", "bureau"}
    assert set(report["alone"]) == set(report["bytes"]) == set(report["peak_rss_mb"]) == holders
    assert all(one["auc"] <= report["test_auc"] for one in report["alone"].values())
    assert set(report["seconds"]) == {
        *("align", "moments", "fit", "score", "release"),
        "protocol",
    }
    assert report["seconds"]["fit"] < report["seconds"]["moments"]
    assert report["bytes"]["payments"]["sent"]["moments"] > 100_000


def test_a_wrong_header_of_the_split_is_named(split, tmp_path):
    for name in ("guest", "host_1", "host_2", "test"):
        with gzip.open(tmp_path / f"{name}.csv.gz", "wt") as stream:
            stream.write("id,y,x1\n1,0,0.5\n")
    command = [sys.executable, ROOT / "scripts/bench_scorecard.py", "--data", tmp_path]
    done = subprocess.run([str(w) for w in command], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "guest.csv.gz: its header is not id,y,x0" in done.stderr


def test_growth_reports_time_and_memory_of_every_member(split, tmp_path):
    report, done = run_script(
        "bench_scorecard.py", tmp_path, "--data", split, "--grow", "--rows", 2500
    )
    assert set(report["runs"]) == {"2500"}
    for costs in report["runs"].values():
        assert set(costs) == {"bank", "payments", "bureau", "coordinator"}
        assert all(cost["protocol"] > 0 and cost["exchange"] > 0 for cost in costs.values())
        assert all((cost["fit"] > 0) == (name == "bank") for name, cost in costs.items())
    assert "Alignment is left out" in done.stdout


def test_moments_bench_counts_the_same_by_every_way(tmp_path):
    words = ("--sizes", 3000, "--features", 2, "--bins", 4, "--repeats", 1, "--cores", 1)
    report, done = run_script("bench_moments.py", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    ways = {row["way"]: row for row in report["runs"]}
    assert set(ways) == {"blind, all", "summed", "pooled", "dense", "sparse"}
    assert all(row["counted"] == 3000 and row["peak_mb"]["median"] > 0 for row in ways.values())
    assert ways["blind, all"]["processes"] == ways["summed"]["processes"] == 4
    assert ways["blind, all"]["mb_sent"]["median"] > 0.1


def test_moments_bench_ends_where_two_tables_differ():
    sys.path.insert(0, str(ROOT / "scripts"))
    from _counting import Bins, Cost  # noqa: PLC0415
    from bench_moments import check_equal  # noqa: PLC0415

    runs = {
        (way, 1): [{"one": Cost(1.0, 1.0, 1.0, 1.0, 0, found)}]
        for way, found in (("pooled", "a"), ("sparse", "b"))
    }
    with pytest.raises(SystemExit, match="2 different tables of the same 3,000 customers"):
        check_equal(Bins(3000, 2, 4), runs)


def test_columns_bench_makes_the_holders_columns_and_says_what_it_left_out(tmp_path):
    words = ("--people", 2000, "--months", 7, "--repeats", 1, "--cores", 1)
    report, done = run_script("bench_columns.py", tmp_path, *words)
    assert done.returncode == 0, done.stderr
    ways = {row["way"] for row in report["runs"]}
    assert ways | set(report["absent"]) == {"numpy", "polars", "duckdb"}
    assert "numpy" in ways
    assert all(f"LEFT OUT: {way} is absent" in done.stdout for way in report["absent"])
    assert report["largest_difference"] <= 1e-9


def test_columns_bench_ends_where_a_column_is_another(tmp_path):
    sys.path.insert(0, str(ROOT / "scripts"))
    from bench_columns import difference  # noqa: PLC0415

    ours = {"bank/ID": np.array(["C1", "C2"]), "BANK_LIMIT": np.array([1.0, np.nan])}
    np.savez(tmp_path / "numpy.npz", **ours)
    np.savez(tmp_path / "polars.npz", **ours)
    assert difference(tmp_path, "polars") == 0
    np.savez(tmp_path / "polars.npz", **ours | {"BANK_LIMIT": np.array([1.0, 0.0])})
    with pytest.raises(SystemExit, match="polars: BANK_LIMIT is another than ours"):
        difference(tmp_path, "polars")


def test_secure_sum_bench_reports_its_bars(tmp_path):
    report, _ = run_script(
        "bench_sum.py",
        tmp_path,
        *("--values", 2000, "--parties", 3, "--repeats", 4, "--rounds", 2),
    )
    assert report["bars"]["error_below_1e_12"]
    assert set(report) >= {"machine", "versions", "load", "party_cpu_milliseconds", "whole_sum"}


def test_alignment_bench_finds_the_same_customers_with_every_backend(tmp_path):
    report, _ = run_script(
        "bench_alignment.py",
        tmp_path,
        *("--sizes", 400, "--step-ids", 100, "--repeats", 1, "--backends", "x25519", "p256"),
    )
    assert set(report) >= {"machine", "versions", "load", "default"}
    assert {name: rows[0]["common"] for name, rows in report["runs"].items()} == {
        "x25519": 200,
        "p256": 200,
    }


def test_the_simulated_world_is_as_near_to_real_months_as_is_said(tmp_path):
    """These bars are no times: the same world is as near on every machine."""
    table = data_path("uci_default/UCI_Credit_Card.csv.gz")
    report, done = run_script("calibrate_world.py", tmp_path, "--data", table)
    assert done.returncode == 0, done.stdout
    assert len(report["rates"]) == 14
    assert set(report["aucs"]) == {"bank", "payments", "ecommerce", "bureau", "all"}
    # And it is the script that says so: people who never answer for what they owe are too far off.
    sys.path.insert(0, str(ROOT / "scripts"))
    from _calibration import figures, real_months, world_months  # noqa: PLC0415

    real = figures(real_months(table))
    careless = figures(world_months(8192, 1, replace(FITTED, miss=FITTED.miss + 1.0)))
    assert careless["late in a month"] > 1.15 * real["late in a month"]


def test_world_bench_writes_as_many_rows_in_one_process_and_in_two(tmp_path):
    words = ("--people", 70_000, "--csv-people", 5000, "--months", 2, "--repeats", 1)
    report, _ = run_script("bench_world.py", tmp_path, *words)
    assert report["one process"]["rows"] == report["two processes"]["rows"] > 500_000
    assert report["whole, as CSV"]["rows"] > 30_000
    assert len(report["bars"]) == 2


def test_replay_bench_plays_the_lines_that_were_asked_for(tmp_path):
    words = ("--lines", 9_000, "--months", 2, "--repeats", 1, "--customers", 20_000)
    report, _ = run_script("bench_replay.py", tmp_path, *words)
    assert report["2 cores"]["lines"] == report["1 cores"]["lines"]
    assert abs(report["2 cores"]["lines"] / 9_000 - 1) < 0.05
    assert set(report) >= {
        "machine",
        "versions",
        "load",
        "reviews",
        "scoring",
        "batch scoring",
        "bars",
    }
