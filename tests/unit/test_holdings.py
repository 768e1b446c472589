"""A party's file comes in whole and checked, or is refused by name without a row being shown."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from clients.holdings import load_contract, load_holding, read_table, write_table
from shared.contract import Contract, Feature
from shared.edge.files import atomic_file, atomic_folder, write_atomic
from shared.errors import ConfigError, DataError, EnvironmentFault, UsageError

CONTRACT = Contract(
    "toy",
    1,
    "ID",
    "BAD",
    "bank",
    1,
    (
        Feature("AGE", "bank", "integer", low=18),
        Feature("KIND", "bank", "category", levels=("NA", "savings", "01")),
    ),
)
CSV = b"ID,AGE,KIND,BAD\n007,20,NA,0\n008,,savings,1\n009,40,,0\n"


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", ["bank.csv", "bank.csv.gz", "bank.parquet", "BANK.CSV"])
def test_every_kind_of_file_gives_the_same_columns(tmp_path, kind):
    path = write(tmp_path, kind, gzip.compress(CSV) if kind.endswith("gz") else CSV)
    if kind.endswith("parquet"):
        table = pa.table(
            {
                "ID": ["007", "008", "009"],
                "AGE": pa.array([20, None, 40], pa.int32()),
                "KIND": pa.array(["NA", "savings", None]).dictionary_encode(),
                "BAD": pa.array([False, True, False]),
            }
        )
        pa.parquet.write_table(table, path)
    columns = load_holding(path, CONTRACT, "bank")
    assert columns.ids == ("007", "008", "009")
    np.testing.assert_array_equal(columns.values["AGE"], [20, np.nan, 40])
    np.testing.assert_array_equal(columns.values["KIND"], [0, 1, np.nan])
    np.testing.assert_array_equal(columns.label, [0, 1, 0])


def test_a_byte_order_mark_and_windows_line_ends_are_read_over(tmp_path):
    path = write(tmp_path, "bank.csv", b"\xef\xbb\xbf" + CSV.replace(b"\n", b"\r\n"))
    assert load_holding(path, CONTRACT, "bank").ids == ("007", "008", "009")


def test_scoring_asks_for_no_label_unless_told(tmp_path):
    path = write(tmp_path, "new.csv", b"ID,AGE,KIND\n1,20,01\n")
    columns = load_holding(path, CONTRACT, "bank", "score")
    assert columns.label is None
    np.testing.assert_array_equal(columns.values["KIND"], [2])
    with pytest.raises(DataError, match="BAD: column is missing"):
        load_holding(path, CONTRACT, "bank", "score", with_label=True)


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("a.csv", b"", "not a table"),
        ("a.csv", b"ID,AGE\n1,2\n3,4,SECRET\n", "not a table"),
        ("a.csv", b"ID,AGE\n\xff\xfe,2\n", "not a table"),
        ("a.csv", b"ID,ID\n1,2\n", "ID: two columns of this name"),
        ("a.csv.gz", b"no gzip SECRET", "damaged or cut short"),
        ("a.csv.gz", gzip.compress(CSV * 500)[:-30], "damaged or cut short"),
        ("a.parquet", b"PAR1 SECRET PAR1", "not a table"),
        ("a.xlsx", b"SECRET", "unknown kind of file"),
    ],
)
def test_a_file_that_is_no_table_is_named_and_never_quoted(tmp_path, name, content, finding):
    with pytest.raises(DataError, match=finding) as caught:
        read_table(write(tmp_path, name, content), texts=["ID"])
    assert str(caught.value).startswith(name)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__ or "SECRET" not in str(caught.value.__cause__)


def test_a_missing_file_or_a_folder_is_a_fault_of_the_environment(tmp_path):
    with pytest.raises(EnvironmentFault, match="No such file"):
        read_table(tmp_path / "none.parquet")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(EnvironmentFault, match="directory"):
        read_table(tmp_path / "folder.csv")


def test_a_column_of_lists_has_the_wrong_type(tmp_path):
    table = pa.table(
        {"ID": ["a", "b"], "AGE": [[20], [30]], "KIND": [{"x": 1}, {"x": 2}], "BAD": [0, 1]}
    )
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError) as caught:
        load_holding(tmp_path / "a.parquet", CONTRACT, "bank")
    assert caught.value.findings == (
        "AGE: wrong type list or struct, must be a number",
        "KIND: wrong type list or struct, must be a text",
    )


def test_every_finding_of_a_file_comes_at_once(tmp_path):
    text = b"ID,AGE,BAD\n1,old,0\n1,12,0\n"
    with pytest.raises(DataError) as caught:
        load_holding(write(tmp_path, "bank.csv", text), CONTRACT, "bank")
    assert caught.value.findings == (
        "KIND: column is missing",
        "ID: id repeated (1 row)",
        "AGE: not a number (1 value)",
        "AGE: outside [18, inf] (1 value)",
        "BAD: one class only, there is nothing to learn",
    )


def test_a_contract_file_that_is_no_contract_is_named(tmp_path):
    with pytest.raises(EnvironmentFault, match="No such file"):
        load_contract(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="not TOML"):
        load_contract(write(tmp_path, "c.toml", b"name = "))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_contract(write(tmp_path, "c.toml", b"\xff\xfe"))


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "deep" / "a.parquet"
    write_table(path, {"ID": np.array(["a", "b"], dtype=object), "X": np.array([1.5, np.nan])})
    table = read_table(path)
    assert table.column("ID").to_pylist() == ["a", "b"]
    assert [item.name for item in path.parent.iterdir()] == ["a.parquet"]


def test_a_block_that_fails_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_atomic(path, b"old")

    def fail():
        with atomic_file(path) as stream:
            stream.write(b"half of the new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentFault, match="disk is full") as caught:
        write_atomic(tmp_path / "a.txt", b"x")
    assert caught.value.exit_status == 3
    with (
        pytest.raises(EnvironmentFault, match="disk is full") as caught,
        atomic_folder(tmp_path / "out") as folder,
    ):
        write_table(folder / "a.parquet", {"X": np.zeros(3)})
    assert str(tmp_path / "out") in caught.value.message
    assert ".part" not in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_path_through_a_file_cannot_be_written(tmp_path):
    write_atomic(tmp_path / "file", b"x")
    with pytest.raises(EnvironmentFault, match="a file, not a folder"):
        write_atomic(tmp_path / "file" / "a.txt", b"x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(EnvironmentFault, match="a folder, not a file"):
        write_atomic(tmp_path / "folder", b"x")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    out = tmp_path / "out"

    def fill(*, fail):
        with atomic_folder(out) as folder:
            write_atomic(folder / "a.txt", b"x")
            assert not out.exists()
            if fail:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        fill(fail=True)
    assert list(tmp_path.iterdir()) == []
    fill(fail=False)
    assert (out / "a.txt").read_bytes() == b"x"
    with pytest.raises(UsageError, match="not empty"):
        fill(fail=False)


@pytest.mark.slow
def test_a_process_that_ends_right_after_reading_ends_well(tmp_path):
    """Arrow's threads aborted one in eleven such processes while they held a stream of Python's."""
    path = tmp_path / "bank.parquet"
    write_table(path, {f"c{number}": np.zeros(3000) for number in range(30)})
    script = "import sys; from pathlib import Path; from clients.holdings import read_table\n"
    script += "table = read_table(Path(sys.argv[1]))"
    for _ in range(8):
        together = [
            subprocess.Popen([sys.executable, "-c", script, path], stderr=subprocess.PIPE)
            for _ in range(8)
        ]
        for process in together:
            _, said = process.communicate(timeout=120)
            assert (process.returncode, said) == (0, b"")
