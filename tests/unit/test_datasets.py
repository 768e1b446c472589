"""Real data is taken by its content only, and a split is the same for everyone without a word."""

from __future__ import annotations

import gzip
import http.server
import io
import json
import struct
import sys
import threading
import zipfile

import numpy as np
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from clients.data import datasets
from clients.data.commands import data
from clients.data.datasets import (
    UCI_COLUMNS,
    embedded_contract,
    fetch_uci_default,
    split_table,
    table_digest,
)
from clients.data.sources import download
from shared.contract import EVERY, Contract, Feature
from shared.errors import ConfigError, DataError, EnvironmentFault, UsageError
from tests import banks, support

CONTRACT, _ = embedded_contract("uci_default")
PUBLISHED = [*UCI_COLUMNS[:-1], "default payment next month"]


@pytest.fixture(scope="module")
def table():
    """Return a small table of the publisher's shape."""
    rng = np.random.default_rng(5)
    columns = {name: rng.integers(-2, 5_000, 400) for name in UCI_COLUMNS}
    columns["ID"] = np.arange(1, 401)
    columns["DEFAULT"] = rng.integers(0, 2, 400)
    for name in ("PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6"):
        columns[name] = rng.integers(-2, 9, 400)
    for name in ("LIMIT_BAL", *(f"PAY_AMT{month}" for month in range(1, 7))):
        columns[name] = abs(columns[name])
    return columns


def as_csv(table, names, spell=str):
    rows = np.column_stack([table[name] for name in UCI_COLUMNS]).tolist()
    lines = [",".join(f'"{name}"' for name in names)]
    lines += [",".join(spell(cell) for cell in row) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def as_xls(table):
    """Write the oldest spreadsheet format (BIFF 2) as the publisher lays its sheet out."""
    junk = ["", *(f"X{index}" for index in range(1, 24)), "Y"]
    out = [struct.pack("<4H", 0x0009, 4, 2, 0x0010)]
    for row, names in enumerate((junk, PUBLISHED)):
        for column, name in enumerate(names):
            text = name.encode()
            head = struct.pack("<4H3xB", 0x0004, 8 + len(text), row, column, len(text))
            out.append(head + text)
    values = np.column_stack([table[name] for name in UCI_COLUMNS])
    rows, columns = np.indices(values.shape)
    cell = [
        ("op", "<u2"),
        ("len", "<u2"),
        ("row", "<u2"),
        ("col", "<u2"),
        ("at", "V3"),
        ("x", "<f8"),
    ]
    cells = np.zeros(values.size, dtype=cell)
    cells["op"], cells["len"] = 0x0003, 15
    cells["row"], cells["col"] = rows.ravel() + 2, columns.ravel()
    cells["x"] = values.ravel()
    return b"".join([*out, cells.tobytes(), struct.pack("<2H", 0x000A, 0)])


def as_zip(name, content):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return out.getvalue()


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content)
    return path


KINDS = {
    "a.csv": lambda t: as_csv(t, PUBLISHED),
    "kaggle.csv": lambda t: as_csv(t, [*UCI_COLUMNS[:-1], "default.payment.next.month"]),
    "decimals.csv": lambda t: as_csv(t, PUBLISHED, lambda cell: f"{cell}.0"),
    "a.csv.gz": lambda t: gzip.compress(as_csv(t, PUBLISHED)),
    "default of credit card clients.xls": as_xls,
    "a.zip": lambda t: as_zip("default of credit card clients.xls", as_xls(t)),
    "csv.zip": lambda t: as_zip("a.csv", as_csv(t, PUBLISHED)),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_form_of_the_table_has_one_digest(tmp_path, table, name):
    columns = fetch_uci_default(
        write(tmp_path, name, KINDS[name](table)), digest=table_digest(table)
    )
    assert columns["ID"][:3].tolist() == ["1", "2", "3"]
    for key in UCI_COLUMNS[1:]:
        np.testing.assert_array_equal(columns[key], table[key])


def test_the_order_of_rows_is_no_part_of_the_content_but_each_cell_is(table):
    turned = {name: column[::-1] for name, column in table.items()}
    assert table_digest(turned) == table_digest(table)
    for name in UCI_COLUMNS:
        other = {**table, name: table[name].copy()}
        other[name][7] += 1000
        assert table_digest(other) != table_digest(table)


def test_spend_is_the_accounting_identity_of_the_card(tmp_path, table):
    path = write(tmp_path, "a.csv", as_csv(table, PUBLISHED))
    columns = fetch_uci_default(path, digest=table_digest(table))
    for month in range(1, 6):
        closing = columns[f"BILL_AMT{month + 1}"] + columns[f"SPEND_{month}"]
        np.testing.assert_array_equal(
            closing - columns[f"PAY_AMT{month}"], columns[f"BILL_AMT{month}"]
        )


@pytest.mark.parametrize(
    ("name", "content", "finding"),
    [
        ("a.csv", b"ID,LIMIT_BAL\n1,2\n", "SEX: column is missing"),
        ("a.zip", b"no zip", "not a ZIP file"),
        ("a.zip", as_zip("readme.txt", b"x"), "must hold one"),
        ("a.xls", b"no spreadsheet", "not an .xls file"),
        ("a.xls", struct.pack("<4H2H", 9, 4, 2, 16, 10, 0), "no row of column names"),
        ("a.json", b"{}", "unknown kind of file"),
    ],
)
def test_what_is_not_the_table_is_refused_by_name(tmp_path, name, content, finding):
    with pytest.raises(DataError, match=finding) as caught:
        fetch_uci_default(write(tmp_path, name, content))
    assert str(caught.value).startswith(name)


def test_text_in_a_column_of_integers_is_named(tmp_path, table):
    content = as_csv(table, PUBLISHED, lambda cell: "SECRET" if cell == 400 else str(cell))
    with pytest.raises(DataError, match="ID: holds what is not an integer") as caught:
        fetch_uci_default(write(tmp_path, "a.csv", content))
    assert "SECRET" not in str(caught.value)


def test_a_zip_that_would_unpack_without_bound_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("clients.data.sources._MAX_BYTES", 10_000)
    bomb = as_zip("a.csv", bytes(1_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(DataError, match="unpacks to more"):
        fetch_uci_default(write(tmp_path, "a.zip", bomb))
    with pytest.raises(DataError, match="longer than"):
        fetch_uci_default(write(tmp_path, "a.csv", bytes(20_000)))


def test_a_spreadsheet_without_its_extra_says_what_to_install(tmp_path, table, monkeypatch):
    monkeypatch.setitem(sys.modules, "xlrd", None)
    with pytest.raises(EnvironmentFault, match=r"confide\[xls\]"):
        fetch_uci_default(write(tmp_path, "a.xls", as_xls(table)))


@pytest.fixture
def server(table):
    """Serve the table as the publisher does, and some answers that go wrong."""
    archive = as_zip("default of credit card clients.xls", as_xls(table))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path == "/none.zip":
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(archive)))
            self.end_headers()
            self.wfile.write(archive[:1000] if self.path == "/cut.zip" else archive)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def test_the_table_is_downloaded_with_progress_and_checked(server, table):
    told = []
    columns = fetch_uci_default(
        url=f"{server}/default+of+credit+card+clients.zip",
        digest=table_digest(table),
        progress=lambda done, total: told.append((done, total)),
    )
    assert len(columns["ID"]) == 400
    assert told
    assert told[-1][0] == told[-1][1]


def test_a_download_of_other_content_is_refused_with_both_digests(server, table):
    with pytest.raises(DataError, match="not the published table") as caught:
        fetch_uci_default(url=f"{server}/a.zip")
    assert table_digest(table) in caught.value.message
    assert datasets.UCI_DIGEST in caught.value.message


@pytest.mark.parametrize(
    ("path", "cause"), [("none.zip", "answered 404"), ("cut.zip", "cut short after 1,000")]
)
def test_a_download_that_fails_names_its_cause_and_the_way_round(server, path, cause):
    with pytest.raises(EnvironmentFault, match=cause) as caught:
        download(f"{server}/{path}", timeout_s=5)
    assert "--from" in caught.value.hint


def test_a_server_that_is_not_there_is_a_fault_of_the_environment():
    with pytest.raises(EnvironmentFault, match="cannot download"):
        download("http://127.0.0.1:9/a.zip", timeout_s=5)


@pytest.mark.parametrize("url", ["http://example.org/a.zip", "file:///etc/passwd", "ftp://x/a"])
def test_only_https_is_downloaded(url):
    with pytest.raises(UsageError, match="will not download"):
        download(url, timeout_s=5)


def split(table, **options):
    table = {**table, "ID": np.array([str(key) for key in table["ID"]], dtype=object)}
    for month in range(1, 6):
        table[f"SPEND_{month}"] = table[f"BILL_AMT{month}"]
    return split_table(table, CONTRACT, source="uci.parquet", **options)


def test_each_holder_gets_its_own_columns_and_only_the_bank_the_label(table):
    parts = split(table)
    assert tuple(parts) == CONTRACT.parties
    for party, part in parts.items():
        names = ["ID", *(feature.name for feature in CONTRACT.of(party))]
        assert list(part["train"]) == names + ["DEFAULT"] * (party == "bank")


def test_a_customer_is_held_out_everywhere_or_nowhere(table):
    parts = split(table, test_share=0.3).values()
    train = set().union(*(part["train"]["ID"] for part in parts))
    test = set().union(*(part["test"]["ID"] for part in parts))
    assert not train & test
    assert len(test) / (len(test) + len(train)) == pytest.approx(0.3, abs=0.07)


def test_holders_overlap_and_order_their_rows_differently(table):
    ids = {party: list(part["train"]["ID"]) for party, part in split(table).items()}
    total = len(set().union(*ids.values()))
    assert all(0.7 < len(own) / total < 1 for own in ids.values())
    common = set.intersection(*map(set, ids.values()))
    assert 0.3 * total < len(common) < 0.9 * total
    assert len({tuple(key for key in own if key in common) for own in ids.values()}) == 4
    assert all(own != sorted(own, key=int) for own in ids.values())


def test_a_split_depends_on_the_ids_alone_and_keeps_rows_together(table):
    turned = {name: column[::-1] for name, column in table.items()}
    one, two = split(table), split(turned)
    limits = dict(zip(map(str, table["ID"]), table["LIMIT_BAL"], strict=True))
    for party, part in one.items():
        for name in ("train", "test"):
            assert part[name]["ID"].tolist() == two[party][name]["ID"].tolist()
    bank = one["bank"]["train"]
    assert [limits[key] for key in bank["ID"]] == bank["LIMIT_BAL"].tolist()


def test_a_table_that_breaks_the_contract_is_refused_with_the_findings_of_all_holders(table):
    broken = {**table, "LIMIT_BAL": -table["LIMIT_BAL"], "PAY_0": table["PAY_0"] * 0}
    with pytest.raises(DataError) as caught:
        split(broken)
    assert [line.partition(":")[0] for line in caught.value.findings] == ["LIMIT_BAL", "PAY_0"]


def test_a_contract_of_equal_holders_cannot_split_by_columns():
    contract = Contract("h", 1, "ID", "Y", EVERY, 1, (Feature("X", EVERY),))
    with pytest.raises(ConfigError, match="one owner"):
        split_table({}, contract, source="x")


def test_an_unknown_contract_is_answered_with_the_known_ones():
    with pytest.raises(UsageError) as caught:
        embedded_contract("wrld")
    assert "uci_default, world" in caught.value.hint


def run(*args):
    return CliRunner().invoke(data, [str(arg) for arg in args])


def test_make_writes_four_holders_that_pass_the_check(tmp_path):
    out = tmp_path / "world"
    made = run("make", out, "--customers", 2000, "--format", "json")
    envelope = json.loads(made.stdout)
    assert (envelope["schema_version"], envelope["status"]) == (1, "ok")
    sizes = envelope["data"]["parties"]
    for party in ("bank", "payments", "ecommerce", "bureau"):
        for part in ("train", "test"):
            file = out / party / f"{part}.parquet"
            assert pyarrow.parquet.read_metadata(file).num_rows == sizes[party][part]
            result = run(
                *("check", file, "--contract", out / "contract.toml"),
                *("--party", party, "--format", "json"),
            )
            assert json.loads(result.stdout)["data"]["rows"] == sizes[party][part]
    again = run("make", out)
    assert isinstance(again.exception, UsageError)
    assert "not empty" in str(again.exception)


def test_check_prints_a_summary_and_raises_all_findings(tmp_path):
    good = b"ID,PAY_0,PAY_2,PAY_3,PAY_4,PAY_5,PAY_6,X\n1,0,0,0,0,0,,1\n2,1,1,1,1,1,1,1\n"
    args = ("--contract", "uci_default", "--party", "bureau")
    result = run("check", write(tmp_path, "a.csv", good), *args)
    assert result.exit_code == 0
    assert "2 rows, 6 features" in result.stdout
    assert "missing: PAY_6 1" in result.stdout
    assert "note: columns not in the contract, passed over: X" in result.stdout
    bad = good.replace(b"1,0,0,0", b"2,77,0,0").replace(b"PAY_6", b"PAY_7")
    error = run("check", write(tmp_path, "b.csv", bad), *args).exception
    assert isinstance(error, DataError)
    assert error.exit_status == 1
    assert error.findings == (
        "PAY_6: column is missing",
        "ID: id repeated (1 row)",
        "PAY_0: outside [-2, 9] (1 value)",
    )


def test_check_answers_an_unknown_party_with_the_nearest(tmp_path):
    error = run("check", tmp_path / "a.csv", "--contract", "world", "--party", "burau").exception
    assert isinstance(error, UsageError)
    assert "did you mean 'bureau'" in str(error)


def test_a_bank_of_any_name_checks_the_columns_that_banks_share(tmp_path):
    contract = write(tmp_path, "contract.toml", banks.CONTRACT.encode())
    columns = banks.people(60, seed=1)
    names = ("ID", "INCOME", "LATE", "AGE", "HOME", "DEFAULT")
    rows = zip(*(columns[name] for name in names), strict=True)
    lines = [",".join(names), *(",".join(str(cell) for cell in row) for row in rows), ""]
    text = "\n".join(lines).encode()
    args = ("--contract", contract, "--party", "north")
    result = run("check", write(tmp_path, "north.csv", text), *args)
    assert result.exit_code == 0, result.exception
    assert "party north" in result.stdout
    short = write(tmp_path, "short.csv", text.replace(b"AGE", b"EGA"))
    error = run("check", short, *args).exception
    assert "AGE: column is missing" in error.findings


def test_fetch_of_a_wrong_table_writes_nothing(tmp_path, table):
    source = write(tmp_path, "a.csv", as_csv(table, PUBLISHED))
    error = run("fetch", "uci-default", tmp_path / "out", "--from", source).exception
    assert isinstance(error, DataError)
    assert [item.name for item in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.data
def test_the_published_table_is_fetched_and_split(tmp_path):
    source = support.data_path("uci_default/UCI_Credit_Card.csv.gz")
    out = tmp_path / "uci"
    fetched = run("fetch", "uci-default", out, "--from", source, "--format", "json")
    result = json.loads(fetched.stdout)["data"]
    assert (result["rows"], result["default_rate"]) == (30_000, 0.2212)
    parties = tmp_path / "parties"
    made = run("split", result["table"], parties, "--contract", result["contract"])
    assert made.exit_code == 0, made.exception
    assert "in common" in made.stdout
    checked = run(
        *("check", parties / "bank" / "test.parquet"),
        *("--contract", "uci_default", "--party", "bank"),
    )
    assert checked.exit_code == 0, checked.exception
