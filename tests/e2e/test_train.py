"""`confide train` on the real command line, one process a party."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest

from clients.store import Store
from tests.support import ROOT
from tests.whole_runs import (
    HOLDERS,
    assert_nothing_half_written,
    build,
    cards,
    change,
    column,
    edit,
)

pytestmark = pytest.mark.e2e


@pytest.fixture
def federation(tmp_path):
    return build(tmp_path)


def says_nothing_of_a_row(text, folder):
    ids = {name for path in folder.glob("*/*.parquet") for name in map(str, column(path, "ID"))}
    words = set(re.findall(r"\w+", text))
    return not ids & words and "Traceback" not in text


@pytest.mark.slow
def test_json_holds_its_schema_and_flags_reach_every_party(confide, federation):
    # A relative path, since the command runs beside the federation's folder; and a flag.
    relative = Path("..") / federation.relative_to(federation.parents[1])
    flag = ("--set", "scorecard.thresholds=1")
    status, out, err = confide("train", "-f", relative, "--format", "json", *flag)
    assert status == 0, err
    result = json.loads(out)
    schema = json.loads((ROOT / "docs" / "schema" / "train.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(result, schema)
    data = result["data"]
    assert set(data["bytes"]["align"]) == set(data["peak_rss_mb"]) == set(HOLDERS)
    assert sorted(row["holder"] for row in data["worth"]) == sorted(HOLDERS)
    assert Path(data["card"]["path"]).is_file()
    assert len(cards(federation.parent)) == 1
    assert "align" in err
    plans = list(federation.parent.glob("*/runs/*/plans.json"))
    assert len(plans) == len(HOLDERS)
    for plan in plans:  # the flag has reached every party
        for block in json.loads(plan.read_text()):
            assert len(block.get("axis", {"edges": []})["edges"]) <= 1
    broken = json.loads(out)
    del broken["data"]["test"]["auc_interval"]
    broken["data"]["surprise"] = 1
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(broken))
    assert len(errors) == 2  # the control: the schema is not satisfied by anything


@pytest.mark.slow
def test_a_missing_column_names_party_file_and_column_and_no_row(confide, federation):
    def spoil(columns):
        del columns["WALLET_FAILED"]
        return columns

    edit(federation.parent / "payments" / "train.parquet", spoil)
    status, out, err = confide("train", "-f", federation)
    assert (status, out) == (1, "")
    assert "payments" in err
    assert "train.parquet: WALLET_FAILED: column is missing" in err
    assert says_nothing_of_a_row(err, federation.parent)
    assert not cards(federation.parent)
    assert not list(federation.parent.rglob("ledger.jsonl"))


@pytest.mark.slow
def test_an_error_as_json_has_its_code_party_and_hint(confide, federation):
    (federation.parent / "payments" / "identity.key").chmod(0o640)
    status, out, _ = confide("train", "-f", federation, "--format=json")
    assert status == 4
    envelope = json.loads(out)
    assert (envelope["schema_version"], envelope["status"]) == (1, "error")
    error = envelope["error"]
    assert (error["code"], error["party"]) == ("refused", "payments")
    assert "identity.key can be read by others" in error["message"]
    assert "chmod 600" in error["hint"]


@pytest.mark.slow
def test_too_small_an_intersection_ends_with_a_refusal(confide, federation):
    status, out, err = confide(
        "train", "-f", federation, "--set", "protocol.min_common=300", "--format", "text"
    )
    assert (status, out) == (4, "")
    assert "under the floor of 300" in err or "at least 300 are needed" in err
    assert not cards(federation.parent)
    assert_nothing_half_written(federation.parent)


@pytest.mark.slow
def test_two_parties_need_their_word_and_the_ledger_keeps_it(confide, tmp_path):
    path = build(tmp_path, parties=("bank", "bureau"), customers=350)
    status, _, err = confide("train", "-f", path)
    assert status == 4
    assert 'two_party_scores = "accept"' in err
    assert not list(tmp_path.rglob("ledger.jsonl"))
    change(path, two_party_scores="accept")
    status, _, err = confide("train", "-f", path)
    assert status == 0, err
    lines = [line.entry.what for line in Store(tmp_path / "bureau").ledger()]
    assert "own points, openly" in lines


@pytest.mark.slow
def test_other_bins_need_consent_the_second_time(confide, federation):
    assert confide("train", "-f", federation)[0] == 0
    status, _, err = confide("train", "-f", federation, "--set", "scorecard.thresholds=3")
    assert status == 4
    assert 'further_moments = "accept"' in err
    assert len(cards(federation.parent)) == 1


def test_a_federation_file_that_is_not_there_or_has_an_unknown_key(confide, tmp_path):
    status, _, err = confide("train", "-f", tmp_path / "none.toml")
    assert status == 3
    assert "none.toml" in err
    assert "confide init" in err
    path = build(tmp_path, customers=300)
    path.write_text(path.read_text().replace("[floors]", "[flors]"))
    status, _, err = confide("train", "-f", path)
    assert status == 2
    assert "flors: is not a setting; did you mean 'floors'?" in err


def test_a_dry_run_starts_nothing_and_changes_nothing(confide, federation):
    before = {path: path.stat().st_mtime_ns for path in federation.parent.rglob("*")}
    status, out, err = confide("train", "-f", federation, "--dry-run", "--format", "json")
    assert status == 0, err
    assert json.loads(out)["data"]["parties"] == list(HOLDERS)
    assert {path: path.stat().st_mtime_ns for path in federation.parent.rglob("*")} == before


@pytest.mark.slow
def test_a_second_run_in_the_same_folder_is_refused_while_the_first_goes_on(
    start, confide, tmp_path
):
    path = build(tmp_path, customers=2000)
    first = start("train", "-f", path)
    first.said("are there after")
    status, _, err = confide("train", "-f", path)
    assert status == 3
    assert f"another run is using {tmp_path / 'coordinator'}" in err
    assert first.end() == 0, first.stderr
    assert len(cards(tmp_path)) == 1
