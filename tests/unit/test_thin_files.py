"""What other holders add for people with a thin file: who they are, and what is compared."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from clients.world.living import begin
from clients.world.making import World
from clients.world.tables import OUTCOME_MONTHS, TABLES, learning_table, table_of_month
from shared.world.life import SEEN_MONTHS
from tests.support import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
from check_thin_files import compare, people_of

PEOPLE, SEED, MONTHS = 12_000, 3, 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("thin") / "world"
    begin(folder, World(PEOPLE, MONTHS, SEED, "calm"))
    return folder


def test_a_thin_file_is_one_that_began_within_the_months_looked_back_on(folder):
    columns, thin = people_of(folder)
    assert {column.size for column in columns.values()} == {thin.size}
    assert 0 < thin.mean() < 0.05
    every = [set(learning_table(folder, holder, MONTHS)["ID"].tolist()) for holder in TABLES]
    people = set.intersection(*every)
    assert thin.size == len(people)
    # The bank did not know them yet in the first of the months that its columns look back on.
    first = MONTHS - OUTCOME_MONTHS - SEEN_MONTHS + 1
    assert thin.sum() == len(people - set(table_of_month(folder, "bank", first)["ID"].tolist()))
    assert set(np.unique(columns["DEFAULT"])) == {0, 1}


def test_all_holders_tell_people_apart_better_than_the_bank_alone():
    found = compare(PEOPLE, SEED)
    assert list(found) == ["thin file", "others"]
    for group in found.values():
        every, alone = group["all holders"], group["the bank alone"]
        assert every["people"] == alone["people"] > 0
        assert every["default"] == alone["default"]
    every, alone = (found["others"][name] for name in ("all holders", "the bank alone"))
    assert every["auc"] > alone["auc"] + 0.03
    assert every["allowed"] > alone["allowed"]
