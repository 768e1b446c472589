"""Months lived by a world, its holders and the limit service: real processes, feeds and a store."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections import Counter

import pytest

from server.releases.registry import Registry
from tests.depth import depth

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1800)]
SMALL = ("--people", "4000", "--applicants", "80", "--night-days", "10", "--format", "json")
YEAR = 12
# Months of the cycle that is killed in its second.
SOME = depth(2, 4)


def decisions(folder):
    """Yield the records of all decisions."""
    with sqlite3.connect(folder / "federation" / "limits" / "limits.db") as db:
        for (raw,) in db.execute("SELECT record FROM decision_records"):
            record = json.loads(bytes(raw))
            if "ask" in record:
                yield record


def test_a_year_of_months_with_everything_at_work(start, tmp_path):
    """One test, since a year is lived once: whoever reads a failure has the line of the check."""
    folder = tmp_path / "it"
    running = start("cycle", folder, "--months", str(YEAR), *SMALL)
    assert running.end(1500) == 0, running.stderr
    rows = json.loads(running.stdout)["data"]
    every_month_people_draw_repay_and_are_reviewed(folder, rows)
    each_quarter_a_challenger_is_judged_by_what_it_was_seen_beside(folder, rows)
    a_year_later_lines_teach_and_no_sooner(folder, rows)


def every_month_people_draw_repay_and_are_reviewed(folder, rows):
    assert [row["month"] for row in rows] == list(range(YEAR + 1))
    lines = rows[0]["openings"]["opened"]
    assert lines > 15
    assert sum(rows[0]["openings"].values()) == 80
    for row in rows[1:]:
        assert row["nights"]["reviewed"] == lines  # one scheduled review of each, every month
        assert row["nights"]["failed"] == 0
        assert 0 < row["reviewed"]["default_prob"] < 1
        assert row["reviewed"]["allowed_minor"] >= 0
        assert row["drawn_minor"] > 0
    assert all(row["repaid_minor"] > 0 for row in rows[2:])
    owed = sum(row["drawn_minor"] - row["repaid_minor"] for row in rows[1:])
    assert owed == rows[-1]["owed_minor"]  # nothing lost, nothing doubled
    seen = Counter(
        one["about"]["model"] for one in decisions(folder) if one["ask"]["purpose"] == "review"
    )
    assert sum(seen.values()) == lines * YEAR
    with sqlite3.connect(folder / "federation" / "limits" / "limits.db") as db:
        assert db.execute("SELECT count(*) FROM bureau_views").fetchone() == (lines * YEAR,)


def each_quarter_a_challenger_is_judged_by_what_it_was_seen_beside(folder, rows):
    judged = {row["month"]: row for row in rows if "judged" in row}
    assert list(judged) == [3, 6, 9, 12]
    assert judged[3]["judged"]["outcome"] == "none"  # there was nobody to judge yet
    assert {judged[month]["judged"]["outcome"] for month in (6, 9, 12)} <= {
        "promoted",
        "refused",
        "too few",
    }
    book = Registry(folder / "federation" / "releases").book()
    states = Counter(one.state for one in book.entries.values())
    assert states["champion"] == 1
    assert states["challenger"] == 1  # the last, still in shadow
    assert sum(states.values()) == 5
    tried = [one for one in book.log if one.action == "trial"]
    assert [one.release for one in tried] == [rows[month]["tried"] for month in (6, 9, 12)]
    noted = [one for one in decisions(folder) if "challenger" in one["about"]]
    assert len(noted) > 100
    assert all(one["about"]["challenger"] != one["about"]["model"] for one in noted)


def a_year_later_lines_teach_and_no_sooner(folder, rows):
    assert [row["month"] for row in rows if "labels" in row] == [YEAR]
    labels = rows[YEAR]["labels"]
    lines = rows[0]["openings"]["opened"]
    assert 0 < labels["told"] <= lines  # who did not consent to it is not in it
    assert 0 < labels["known"] <= labels["told"]
    told = json.loads((folder / "federation" / "bank" / "outcomes.json").read_text())["outcomes"]
    assert (told["since"], told["until"]) == ("2026-01-01", "2026-12-27")


def test_it_goes_on_where_it_was_killed_and_comes_to_the_same(start, tmp_path):
    undisturbed = start("cycle", tmp_path / "calm", "--months", str(SOME), *SMALL)
    assert undisturbed.end(800) == 0, undisturbed.stderr
    folder = tmp_path / "it"
    arguments = ("cycle", folder, "--months", str(SOME), *SMALL)
    first = start(*arguments)
    first.said("month  1 ")
    first.until((folder / "world" / "people" / "acts-0020.parquet").exists)
    for pid in first.processes():
        os.kill(pid, signal.SIGKILL)
    first.process.wait()
    again = start(*arguments)
    assert again.end(800) == 0, again.stderr
    rows = json.loads(again.stdout)["data"]
    assert [row["month"] for row in rows] == list(range(SOME + 1))
    assert rows == json.loads(undisturbed.stdout)["data"]
    other = start("cycle", folder, "--months", str(SOME), *SMALL, "--seed", "2")
    assert other.end() == 1
    assert "was lived with other settings" in other.stderr + other.stdout
    (folder / "months.jsonl").write_text("{\n")
    damaged = start(*arguments)
    assert damaged.end() == 1
    assert "is damaged" in damaged.stderr + damaged.stdout
