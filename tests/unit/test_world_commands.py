"""`confide world`: begun, lived, written down as tables; what is wrong is told by its file."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from clients.holdings import load_contract, load_holding
from server import cli

SMALL = ("--customers", "1000", "--months", "18", "--seed", "5")


@pytest.fixture
def confide(monkeypatch, capsys):
    """Run the command line in this process; return the exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["confide", *map(str, arguments)])
        status = cli.main()
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


def data(told):
    status, out, err = told
    assert status == 0, err
    return json.loads(out)["data"]


def test_a_world_is_begun_lived_and_told_to_its_holders(confide, tmp_path):
    folder, into = tmp_path / "world", tmp_path / "holders"
    assert data(confide("world", "begin", folder, *SMALL, "--format", "json"))["month"] == 18
    status, out, _ = confide("world", "month", folder)
    assert (status, out) == (0, f"{folder}: month 19 is over\n")
    rows = data(confide("world", "tables", folder, "--into", into, "--format", "json"))["rows"]
    assert list(rows) == ["bank", "payments", "ecommerce", "bureau"]
    learned = data(
        confide("world", "tables", folder, "--into", into, "--learn", "--format", "json")
    )["rows"]
    contract = load_contract(into / "contract.toml")
    for holder, count in rows.items():
        assert pq.read_table(into / holder / "customers.parquet").num_rows == count
        parts = [
            load_holding(into / holder / f"{name}.parquet", contract, holder)
            for name in ("train", "test")
        ]
        assert sum(len(part.ids) for part in parts) == learned[holder]


@pytest.mark.parametrize(
    ("arguments", "status", "why"),
    [
        (("begin", "{}", *SMALL), 2, "is not empty"),
        (("month", "{}/nowhere"), 3, "cannot read"),
        (("month", "{}", "--lines", "{}/none.csv"), 3, "cannot read"),
        (("month", "{}", "--lines", "{}/world.toml"), 1, "unknown kind of file"),
    ],
)
def test_what_is_wrong_is_told_by_the_file(confide, tmp_path, arguments, status, why):
    folder = tmp_path / "world"
    confide("world", "begin", folder, *SMALL)
    got, out, err = confide("world", *(one.format(folder) for one in arguments))
    assert got == status
    assert why in out + err


def test_too_young_a_world_has_nothing_to_learn_from(confide, tmp_path):
    folder = tmp_path / "world"
    confide("world", "begin", folder, "--customers", "1000", "--months", "17")
    status, out, err = confide("world", "tables", folder, "--into", tmp_path / "x", "--learn")
    assert status == 1
    assert "there are not 6 months up to month 5" in out + err
    assert not (tmp_path / "x").exists()
