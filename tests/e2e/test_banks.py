"""`confide train` on federations of several banks, on the real command line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import jsonschema
import pytest

from clients.store import Store
from shared.privacy.audit import audit
from tests.banks import BANKS, build
from tests.whole_runs import assert_nothing_half_written, change

SCHEMA = json.loads(
    (Path(__file__).parents[2] / "docs" / "schema" / "train.schema.json").read_text()
)
pytestmark = [pytest.mark.slow, pytest.mark.e2e]


def data_of(out):
    """Return what a training said, held against its schema."""
    told = json.loads(out)
    jsonschema.validate(told, SCHEMA)
    return told["data"]


def test_four_banks_train_one_card_that_all_of_them_sign(confide, tmp_path):
    path, _ = build(tmp_path)
    status, out, err = confide("train", "-f", path, "--format", "json")
    assert status == 0, err
    result = data_of(out)
    assert sorted(result["release"]["signatures"]) == list(BANKS)
    assert result["lost"] == {}
    said = [line.split()[0] for line in err.splitlines() if "4/4 parties" in line]
    assert said == ["bins", "cells", "moments", "score", "release"]
    status, out, err = confide("train", "-f", path)
    assert status == 0, err
    assert "all banks" in out


def test_a_bank_that_is_killed_is_named_and_the_rest_finish(start, tmp_path):
    path, _ = build(tmp_path, sizes=(2000, 2100, 1900, 2050))
    running = start("train", "-f", path, "--format", "json")
    running.said("are there after")
    os.kill(running.party("south"), signal.SIGKILL)
    assert running.end() == 0, running.stderr
    assert "south was lost in phase" in running.stderr
    result = data_of(running.stdout)
    assert set(result["lost"]) == {"south"}
    assert "south" not in result["release"]["signatures"]
    assert running.left_behind() == []
    assert_nothing_half_written(path.parent, killed="south")
    for bank in BANKS:
        Store(path.parent / bank).ledger()


def test_banks_and_holders_of_columns_train_one_card(confide, tmp_path):
    columns = ("platform", "bureau")
    sizes = (180, 190, 185)
    path, _ = build(tmp_path, banks=BANKS[:3], columns=columns, sizes=sizes, builder_rank=0.5)
    status, out, err = confide("train", "-f", path, "--format", "json")
    assert status == 0, err
    result = data_of(out)
    assert sorted(result["release"]["signatures"]) == sorted((*BANKS[:3], *columns))
    assert {row["holder"] for row in result["worth"]} == {"*", *columns}


def test_banks_with_noise_say_what_epsilon_covers_and_what_it_does_not(confide, tmp_path):
    path, _ = build(tmp_path, sizes=(900, 950, 920, 930))
    asked = ("--set", "privacy.moments_epsilon=3")
    status, out, err = confide("train", "-f", path, *asked, "--format", "json")
    assert status == 0, err
    result = data_of(out)
    assert set(result["privacy"]) == set(BANKS)
    for bank, told in result["privacy"].items():
        found = audit(Store(path.parent / bank).ledger(), told["delta"])
        assert told["epsilon"] == found.epsilon <= 3
        assert told["with_noise"] == found.with_noise == 2
        assert told["without"] > 0
    assert "cells" not in result["seconds"]
    name = result["release"]["name"]
    status, out, err = confide("model", "verify", name, "-f", path)
    assert status == 0, err
    assert "for 2 openings with noise" in out
    assert "epsilon says nothing of them" in out
    status, out, err = confide("model", "show", name, "-f", path, "--format", "json")
    assert status == 0, err
    assert json.loads(out)["data"]["privacy"]["east"] == result["privacy"]["east"]


def test_a_bank_whose_budget_is_spent_is_named_and_nothing_left_it(confide, tmp_path):
    path, _ = build(tmp_path)
    change(tmp_path / "north" / "party.toml", privacy_epsilon=1.0)
    status, _, err = confide("train", "-f", path, "--set", "privacy.moments_epsilon=3")
    assert status == 4, err
    assert "north" in err
    assert "of 1 allowed" in err
    assert not (tmp_path / "north" / "ledger.jsonl").exists()
    assert not list(tmp_path.rglob("card.json"))
