"""A whole run's logs: every line can be read by a machine, and none tells of a person."""

from __future__ import annotations

import json
import re

import pytest

from clients.holdings import read_table
from shared.contract import normalise_id
from shared.edge.logs import VARIABLE
from tests.whole_runs import HOLDERS, build, column

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
#: A number by itself: not a part of a name, an instant or another number.
_NUMBER = re.compile(r"(?<![\w.:-])-?\d+(?:\.\d+)?(?![\w.:-])")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return build(tmp_path_factory.mktemp("federation"))


def ids_of(table):
    """Return the ids of a table's customers, as texts."""
    return [str(one) for one in column(table, "ID")]


def secrets_of(path):
    """Return what no log may hold: ids, pseudonyms, keys, and amounts of the tables."""
    found = set()
    for party in HOLDERS:
        home = path.parent / party
        for name in ("train", "test"):
            table = home / f"{name}.parquet"
            ids = ids_of(table)
            found |= set(ids) | {normalise_id(one) for one in ids}
        found |= {key.read_text().strip() for key in home.glob("*.key")}
        for feed in home.rglob("*.feed"):
            found |= {json.loads(line)[0] for line in feed.read_text().splitlines()[1:]}
    return {one for one in found if len(one) >= 5}


def amounts_of(path):
    """Return the numbers of the tables that have four digits or more."""
    found = set()
    for table in path.parent.glob("*/train.parquet"):
        read = read_table(table)
        for name in read.column_names:
            found |= {str(value) for value in read.column(name).to_pylist() if name != "ID"}
    return {one for one in found if len(re.sub(r"\D", "", one)) >= 4}


def numbers_in(lines):
    """Return the numbers in the texts of JSON lines; bare numbers stand under known names alone."""
    told = {text for line in lines for text in line.values() if isinstance(text, str)}
    return {number for text in told for number in _NUMBER.findall(text)}


def found_in(text, secrets):
    return sorted(one for one in secrets if one in text)


def test_a_run_tells_its_steps_and_of_nobody(confide, path):
    status, _, err = confide("train", "-f", path, "--format", "json", env={VARIABLE: "json"})
    assert status == 0, err
    logs = {
        party: "\n".join(log.read_text() for log in (path.parent / party / "logs").glob("*.log"))
        for party in HOLDERS
    }
    everything = "\n".join([err, *logs.values()])
    hidden = secrets_of(path)
    assert len(hidden) > 500  # ids of all tables, keys, pseudonyms
    assert found_in(everything, hidden) == []
    # The control: one that is planted is found.
    planted = ids_of(path.parent / "bank" / "train.parquet")[7]
    assert found_in(everything + f" customer {planted}", hidden)

    lines = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    everybodys = [json.loads(line) for text in logs.values() for line in text.splitlines()]
    amounts = amounts_of(path)
    assert not numbers_in(lines + everybodys) & amounts
    planted = next(iter(amounts))
    assert numbers_in([{"event": f"it owes {planted}"}]) & amounts
    (run,) = {line["run"] for line in lines if line["event"] == "a run ended"}
    phases = [line["phase"] for line in lines if line["event"] == "a phase ended"]
    assert phases == ["align", "moments", "score", "release"]
    for party, text in logs.items():
        told = [json.loads(line) for line in text.splitlines()]
        ended = [line for line in told if line["event"] == "a phase ended"]
        assert [line["phase"] for line in ended] == phases
        assert {(line["party"], line["run"]) for line in ended} == {(party, run)}
        assert all(line["seconds"] > 0 for line in ended)
        assert all(line["bytes_sent"] > 0 for line in ended if line["phase"] == "align")
    # And what the phases left behind is what Prometheus is told of.
    kept = [json.loads(line) for line in (path.parent / "bank" / "phases.jsonl").open()]
    assert {one["phase"] for one in kept} == set(phases)
    assert {one["outcome"] for one in kept} == {"ok"}
