"""A bank that is better off with a card of its own customers is told so, and nobody else is."""

from __future__ import annotations

import json

import numpy as np
import pytest

from clients.card import own as own_card
from clients.card.parts import plans_from_value
from clients.party import Party
from shared.errors import DataError
from tests.banks import BANKS, build
from tests.whole_runs import edit, train


def unlike_others(table):
    """At this bank the old are bad, whatever else: elsewhere age tells next to nothing."""
    rng = np.random.default_rng(3)
    bad = table["DEFAULT"].astype(bool)
    age = np.where(bad, rng.integers(45, 80, len(bad)), rng.integers(18, 55, len(bad)))
    return table | {"AGE": age}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path, _ = build(tmp_path_factory.mktemp("unlike"), sizes=(500, 520, 480, 510))
    for table in ("train", "test"):
        edit(path.parent / "west" / f"{table}.parquet", unlike_others)
    return path, train(path)


def answer(path, bank):
    return json.loads((path.parent / bank / "runs" / "first" / "own_card.json").read_text())


def test_the_bank_that_is_unlike_the_others_is_told_and_keeps_its_own_card(trained):
    path, _ = trained
    told = answer(path, "west")
    assert told["answer"] == "own"
    assert "better off with a card of its own customers" in told["told"]
    assert told["difference"]["low"] > 0
    # What it keeps is that very card: scored by hand, it ranks as well as it was told.
    party = Party.load(path, "west")
    plans = plans_from_value(told["plans"], "own_card.json")
    codes = [plan.encode(party.test.values) for plan in plans]
    points = sum(np.array(one)[code] for one, code in zip(told["points"], codes, strict=True))
    label = party.test.label.astype(np.int64)
    again = own_card.compare(label, points, points)
    assert again["auc"]["own"] == told["auc"]["own"]


def test_a_bank_that_no_card_of_its_own_serves_better_keeps_the_common_one(trained):
    path, _ = trained
    for bank in ("east", "south"):
        told = answer(path, bank)
        assert told["answer"] == "common"
        assert "points" not in told
        assert told["customers"] == len(Party.load(path, bank).test.ids)


def test_nothing_of_the_answer_leaves_the_bank(trained):
    path, outcome = trained
    assert set(outcome["score"]["west"]) == set(outcome["score"]["south"])
    assert "own" not in json.dumps(outcome["score"]["west"])
    for bank in BANKS:
        lines = Party.load(path, bank).store.ledger()
        assert not any("own card" in line.entry.what for line in lines)


def test_an_own_card_that_is_better_by_chance_alone_is_not_kept():
    rng = np.random.default_rng(1)
    label = (rng.random(400) < 0.3).astype(np.int64)
    common = (-10 * label + 20 * rng.normal(size=400)).astype(np.int64)
    as_good = own_card.compare(label, common, common)
    assert (as_good["answer"], as_good["difference"]["value"]) == ("common", 0.0)
    better = own_card.compare(label, common, common - 40 * label)
    assert better["answer"] == "own"
    worse = own_card.compare(label, common - 40 * label, common)
    assert worse["answer"] == "common"
    # A little better, on few customers: within one standard error of nothing.
    few = label[:60]
    nearly = common[:60] - np.where(np.arange(60) == np.flatnonzero(few)[0], 15, 0)
    little = own_card.compare(few, common[:60], nearly)
    assert little["difference"]["value"] > 0
    assert little["answer"] == "common"


def test_too_few_customers_of_a_class_are_no_comparison():
    with pytest.raises(DataError, match="two goods and two bads"):
        own_card.compare(np.array([0, 0, 1]), np.arange(3), np.arange(3))
