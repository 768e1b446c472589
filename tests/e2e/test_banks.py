"""`confide train` on federations of several banks, on the real command line."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import jsonschema
import pytest

from clients.store import Store
from tests.banks import BANKS, build
from tests.whole_runs import assert_nothing_half_written

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
    assert_nothing_half_written(path.parent)
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
