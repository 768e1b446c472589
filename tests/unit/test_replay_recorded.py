"""Recorded months as a replay's population: mapped by hand, read with every finding, played."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest

from server.accounts.scores import load_policy
from server.commands.replay_common import load_line_policy
from server.replay.book import Rules
from server.replay.figures import Prices
from server.replay.play import Arm, Setting, hindsight, learn, play
from server.replay.recorded import (
    _COLUMNS,
    BEFORE,
    MONTHS,
    UNKNOWN,
    Recorded,
    begin,
    live,
    read_recorded,
)
from shared.errors import DataError, EnvironmentFault
from shared.world.chance import Span
from shared.world.economy import ECONOMIES
from shared.world.life import MINOR, WISH
from tests.support import data_path

ONE = Span(0, 0, 1)


def card(bill, paid, late=(0,) * MONTHS, limit=100_000.0):
    rows = [np.array(values, np.float64)[:, None] for values in (late, bill, paid)]
    return Recorded(np.array([limit]), rows[0].astype(np.int8), rows[1], rows[2], np.array([False]))


def lives(recorded, limit):
    """Return the line after each month: owed, repaid, drawn, wanted and not had, behind."""
    life, found = begin(recorded, ONE), []
    for _ in range(MONTHS - BEFORE):
        life = live(recorded, ONE, life, np.array([float(limit)]))
        drawn = life.drawn
        found.append(
            tuple(
                float(values[0])
                for values in (
                    life.line.bill,
                    drawn.paid,
                    drawn.spent,
                    drawn.unmet,
                    life.line.late,
                )
            )
        )
    return found


def test_a_line_is_used_as_the_card_was_in_proportion():
    # Owed 1,000 throughout; each month half is repaid and as much is spent.
    recorded = card([1000] * MONTHS, [500] * MONTHS)
    spent = WISH * MINOR * 500
    first, second, third, _ = lives(recorded, 10**9)
    assert first == (spent, 0, spent, 0, 0)
    assert second == (spent / 2 + spent, spent / 2, spent, 0, 0)
    assert third[1] == round(second[0] / 2)


def test_what_the_limit_does_not_let_is_wanted_and_not_had():
    recorded = card([1000] * MONTHS, [0] * MONTHS, late=(0, 0, 0, 1, 2, 0))
    assert [one[0] for one in lives(recorded, 50)] == [0, 0, 0, 0]  # nothing was spent at all
    spends = card([1000, 1000, 2000, 3000, 4000, 5000], [0] * MONTHS, late=(0, 0, 0, 1, 2, 0))
    owed = lives(spends, 10_000)
    wish = WISH * MINOR * 1000
    assert owed[0] == (wish, 0, wish, 0, 0)
    assert owed[1] == (10_000, 0, 10_000 - wish, 2 * wish - 10_000, 1)
    assert owed[2] == (10_000, 0, 0, wish, 2)
    assert owed[3][4] == 0
    # A cut below what is owed leaves it where it is.
    life = begin(spends, ONE)
    life = live(spends, ONE, life, np.array([10_000.0]))
    life = live(spends, ONE, life, np.array([100.0]))
    assert (float(life.line.bill[0]), float(life.drawn.spent[0])) == (wish, 0)


def written(path, change=None, **more):
    """Write a table of two cards; `change` maps a column to a value."""
    row = dict.fromkeys(_COLUMNS, "1") | {"LIMIT_BAL": "20000"} | (change or {}) | more
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, row)
        out.writeheader()
        out.writerows([row, row])
    return path


def test_what_is_written_is_read_packed_or_not(tmp_path):
    plain = written(tmp_path / "a.csv", {"PAY_0": "-2", "PAY_6": "3", "BILL_AMT1": "-40"})
    got = read_recorded(plain)
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    again = read_recorded(packed)
    assert len(got) == len(again) == 2
    assert got.late[:, 0].tolist() == [3, 1, 1, 1, 1, 0]  # April first; nothing to pay is not late
    assert got.bill[:, 0].tolist() == [1, 1, 1, 1, 1, 0]  # what the bank owes is nothing owed
    assert got.missed.all()


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"PAY_0": "often"}, "something else than numbers"),
        ({"LIMIT_BAL": "0"}, "a limit above 0"),
        ({"BILL_AMT3": "nan"}, "a limit above 0, and numbers"),
    ],
)
def test_values_that_cannot_be_are_refused_by_the_name_of_the_file(tmp_path, change, finding):
    with pytest.raises(DataError, match=finding) as caught:
        read_recorded(written(tmp_path / "bad.csv", change))
    assert "bad.csv" in str(caught.value)


def test_missing_columns_and_other_files_are_told(tmp_path):
    (tmp_path / "few.csv").write_text("LIMIT_BAL,PAY_0\n1,2\n")
    with pytest.raises(DataError) as caught:
        read_recorded(tmp_path / "few.csv")
    assert "BILL_AMT6: is missing" in caught.value.findings
    assert len(caught.value.findings) == len(_COLUMNS) - 2
    with pytest.raises(EnvironmentFault):
        read_recorded(tmp_path / "none.csv")
    (tmp_path / "not.csv.gz").write_bytes(b"plain")
    with pytest.raises(EnvironmentFault):
        read_recorded(tmp_path / "not.csv.gz")
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is no text"):
        read_recorded(tmp_path / "bytes.csv")


@pytest.mark.data
def test_a_policy_on_real_months_and_what_became_of_whose_limit_fell():
    recorded = read_recorded(data_path("uci_default/UCI_Credit_Card.csv.gz"))
    rules = Rules("reference", *load_policy(None), load_line_policy(None))
    arm = Arm(rules, learn(1, without=UNKNOWN), Prices(0.146))
    calm = ECONOMIES["calm"]
    setting = Setting(len(recorded), MONTHS - BEFORE, 1, calm, (arm, arm), recorded)
    outcome = play(setting)
    first, second = outcome.figures
    assert first.people == 30_000
    assert 15_000 < first.lines == second.lines < 28_000
    assert outcome.swap.cells["only_first"]["people"] == 0  # the same rules, the same people
    [one, _] = hindsight(setting, recorded.missed)
    assert one["fell"] + one["kept"] == first.lines
    assert 0 < one["fell_missed"] < one["fell"]
    assert 0 < one["kept_missed"] < one["kept"]
    # The card was fitted on simulated people, and ranks the real ones all the same.
    rate = {
        grade: told["defaults"] / max(told["opened"], 1) for grade, told in first.grades.items()
    }
    assert rate["D"] > 1.5 * rate["C"] > 0
