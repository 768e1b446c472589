"""Bad input of any kind ends a run by name, with its exit status, and nothing half-written.

Whole trainings in threads: what is wrong is found where it lies, and the coordinator tells whose
file, column and rule it is, never a row or an id. `test_train.py` shows the same on the real
command line.
"""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from clients.keys.setup import init_federation
from shared.errors import ConfideError, ConfigError, EnvironmentFault, PartyLost, Refused, RunFailed
from tests import whole_runs
from tests.whole_runs import (
    HOLDERS,
    assert_nothing_half_written,
    build,
    cards,
    change,
    column,
    edit,
    train,
)

SECRET = "C00000SECRET"


@pytest.fixture
def federation(tmp_path):
    return build(tmp_path, customers=300)


def fails(path, **how):
    """Train, and return the error; check that the folder is as it was, but for logs and locks."""
    before = _content(path.parent)
    with pytest.raises(ConfideError) as caught:
        train(path, **how)
    error = caught.value
    for name in sorted({*_ids(path.parent), SECRET}):
        assert name not in str(error)
    assert not cards(path.parent)
    assert_nothing_half_written(path.parent)
    error.left = sorted(_content(path.parent) - before)
    return error


def _content(folder):
    logged = {"lock", "phases.jsonl"}  # the second says when which phase ended, and how
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.name not in logged}


def _ids(folder):
    ids = set()
    for path in folder.glob("*/*.parquet"):
        try:
            ids |= {str(name) for name in column(path, "ID")}
        except (KeyError, ConfideError):
            continue
    return ids - {"", "None"}


def beyond_beginnings(error):
    """Return what a run left beyond its folders and what it began with."""
    begun = re.compile(r"[a-z]+/runs(/first(/(began|scorecard)\.json)?)?")
    return [name for name in error.left if not begun.fullmatch(name)]


def without(name):
    def change(columns):
        del columns[name]
        return columns

    return change


def with_column(name, make):
    def change(columns):
        columns[name] = make(columns[name].copy())
        return columns

    return change


def first_id_twice(ids):
    ids[1] = ids[0]
    return ids


def second_spelling(ids):
    wide = str.maketrans(
        "0123456789", "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19"
    )
    ids[1] = " " + ids[0].translate(wide)
    return ids


def other_level(values):
    values[0] = "yacht"
    return values


def beyond(values):
    values = values.astype(np.float64)
    values[:3] = 77.0
    return values


TABLES = {
    "missing column": ("payments", "train", without("WALLET_FAILED"), "WALLET_FAILED: column is"),
    "missing label": ("bank", "train", without("DEFAULT"), "DEFAULT: column is missing"),
    "missing label of the test": ("bank", "test", without("DEFAULT"), "DEFAULT: column is missing"),
    "missing id column": ("bureau", "test", without("ID"), "ID: column is missing"),
    "wrong type": (
        "payments",
        "train",
        with_column("WALLET_FAILED", lambda v: np.array([SECRET] * len(v), dtype=object)),
        "WALLET_FAILED: not a number",
    ),
    "numbers as text": (
        "bureau",
        "train",
        with_column("CREDIT_LENDERS", lambda v: np.array(list(map(str, v)), dtype=object)),
        "CREDIT_LENDERS: wrong type, numbers are stored as text",
    ),
    "out of range": (
        "bureau",
        "test",
        with_column("CREDIT_ARREARS_NOW", beyond),
        r"CREDIT_ARREARS_NOW: outside \[0, 9\] \(3 values\)",
    ),
    "duplicate ids": ("ecommerce", "train", with_column("ID", first_id_twice), "ID: id repeated"),
    "one customer in two spellings": (
        "ecommerce",
        "train",
        with_column("ID", second_spelling),
        "ID: one customer in two spellings",
    ),
    "one class only": (
        "bank",
        "train",
        with_column("DEFAULT", np.zeros_like),
        "DEFAULT: one class only",
    ),
    "constant column": (
        "bureau",
        "train",
        with_column("CREDIT_BALANCE", lambda v: np.full_like(v, 7)),
        "CREDIT_BALANCE: constant column",
    ),
    "unseen category in training": (
        "bank",
        "train",
        with_column("BANK_ACCOUNT", other_level),
        r"BANK_ACCOUNT: unknown level 'yacht' \(1 value\)",
    ),
    "unseen category at scoring": (
        "bank",
        "test",
        with_column("BANK_ACCOUNT", other_level),
        r"BANK_ACCOUNT: unknown level 'yacht' \(1 value\)",
    ),
    "no rows": (
        "payments",
        "train",
        lambda columns: {name: values[:0] for name, values in columns.items()},
        "table holds no rows",
    ),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_breaks_the_contract_is_named_with_its_party_and_column(federation, case):
    party, table, spoil, finding = TABLES[case]
    edit(federation.parent / party / f"{table}.parquet", spoil)
    error = fails(federation)
    assert isinstance(error, RunFailed)
    assert (error.party, error.reported, error.exit_status) == (party, "data", 1)
    assert error.message.startswith(f"{table}.parquet: ")
    with pytest.raises(RunFailed, match=finding):
        raise error
    assert not error.left


def test_all_findings_of_a_table_come_at_once(federation):
    def spoil(columns):
        columns = with_column("ID", first_id_twice)(without("WALLET_FAILED")(columns))
        return with_column("BILLS_LATE_MONTHS", beyond)(columns)

    edit(federation.parent / "payments" / "train.parquet", spoil)
    error = fails(federation)
    for name in ("WALLET_FAILED: column", "ID: id repeated", "BILLS_LATE_MONTHS: outside"):
        assert name in error.message


def test_a_customer_to_learn_from_may_not_be_one_to_evaluate_on(federation):
    home = federation.parent / "bureau"
    ids = column(home / "train.parquet", "ID")
    edit(
        home / "test.parquet",
        with_column("ID", lambda values: np.array([*ids[:2], *values[2:]], dtype=object)),
    )
    error = fails(federation)
    assert (error.party, error.exit_status) == ("bureau", 1)
    assert "test.parquet: 2 customers are also in train.parquet" in error.message
    assert not error.left


# Files of a party.


def chmod(path):
    path.chmod(0o644)


def other_key(path):
    path.write_text("ab" * 32)


def no_key(path):
    path.write_text("a key, surely\n")


FILES = {
    "key that others can read": ("identity.key", chmod, 4, "can be read by others"),
    "key of somebody else": ("identity.key", other_key, 4, "is not the key that the federation"),
    "no key in the key file": ("identity.key", no_key, 4, "does not hold a key of 64 hex digits"),
    "no key file": ("identity.key", lambda path: path.unlink(), 3, "cannot read .*identity.key"),
    "no party file": ("party.toml", lambda path: path.unlink(), 3, "cannot read .*party.toml"),
    "unknown setting": (
        "party.toml",
        lambda path: path.write_text('trian = "x.parquet"\n'),
        2,
        "trian: is not a setting; did you mean 'train'",
    ),
    "setting of the wrong type": (
        "party.toml",
        lambda path: path.write_text("train = 7\nfurther_moments = 'maybe'\n"),
        2,
        r"train: must be a text. Got 7; further_moments: must be 'refuse' or 'accept'",
    ),
    "no toml": ("party.toml", lambda path: path.write_text("train ="), 2, "party.toml: not TOML"),
    "no text": ("party.toml", lambda path: path.write_bytes(b"\xff\xfe"), 2, "not a text in UTF-8"),
    "no table": ("train.parquet", lambda path: path.unlink(), 3, "cannot read .*train.parquet"),
    "damaged table": (
        "test.parquet",
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        1,
        "test.parquet: not a table that can be read",
    ),
    "ledger cut in the middle": (
        "ledger.jsonl",
        lambda path: path.write_text("{}\n"),
        4,
        "a ledger line is malformed",
    ),
    "ledger of binary": (
        "ledger.jsonl",
        lambda path: path.write_bytes(b"\xff\n"),
        4,
        "has a line that is not JSON",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_a_partys_file_that_is_not_as_it_should_be_is_named(federation, case):
    name, spoil, status, finding = FILES[case]
    spoil(federation.parent / "payments" / name)
    with pytest.raises(ConfideError, match=finding) as caught:
        train(federation)
    error = caught.value
    assert (error.party, error.exit_status) == ("payments", status)
    assert not cards(federation.parent)


def test_the_coordinators_own_key_is_checked_too(federation):
    chmod(federation.parent / "coordinator" / "identity.key")
    with pytest.raises(Refused, match=r"identity\.key can be read by others"):
        train(federation)


# Parties that do not agree.


def own_copy(path, party, **settings):
    """Give a party a federation file and contract of its own."""
    folder = path.parent / "elsewhere"
    folder.mkdir()
    (folder / "contract.toml").write_bytes((path.parent / "contract.toml").read_bytes())
    copy = folder / "federation.toml"
    copy.write_text(path.read_text())
    for home in HOLDERS:
        (folder / home).symlink_to(path.parent / home)
    change(copy, **settings)
    return {party: copy}


def test_a_party_with_another_contract_is_named_before_anything_is_exchanged(federation):
    files = own_copy(federation, "payments")
    contract = files["payments"].parent / "contract.toml"
    contract.write_text(contract.read_text().replace("version = 1", "version = 2"))
    error = fails(federation, files=files)
    assert (error.party, error.reported, error.exit_status) == ("payments", "contract-changed", 1)
    assert "works on another contract" in error.message
    assert not error.left


def test_a_party_with_another_agreement_is_refused_at_the_first_hello(federation):
    files = own_copy(federation, "payments", score_openings=9)
    error = fails(federation, files=files)
    assert error.exit_status == 1
    assert "another contract, federation file or job" in error.message
    assert not beyond_beginnings(error)


def test_a_contract_changed_between_two_phases_ends_the_run(federation):
    files = own_copy(federation, "payments")
    contract = files["payments"].parent / "contract.toml"

    def dies(party, kind):
        if (party, kind) == ("payments", "evaluate.score"):
            text = contract.read_text().replace("version = 1", "version = 2")
            contract.write_text(text)
        return False

    error = fails(federation, files=files, dies=dies)
    assert error.exit_status == 1
    assert "another contract, federation file or job" in error.message


def test_bins_of_another_contract_are_refused_by_the_name_of_the_column(federation):
    def dies(party, kind):
        if (party, kind) == ("payments", "evaluate.score"):
            path = federation.parent / "payments/runs/first/plans.json"
            path.write_text(path.read_text().replace("WALLET_LOWEST", "WALLET_HIGHEST"))
        return False

    error = fails(federation, dies=dies)
    assert (error.party, error.exit_status) == ("payments", 1)
    assert "WALLET_HIGHEST: no such column" in error.message


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("plans.json", b"{}", 2),
        ("plans.json", b'[{"owner"', 3),
        ("train_rows.npy", b"\x93NUMPY", 3),
        ("alignment.json", None, 3),
    ],
)
def test_a_runs_state_that_was_damaged_between_phases_is_named(federation, name, content, status):
    phase = "train.moments" if name == "alignment.json" else "evaluate.score"

    def dies(party, kind):
        if (party, kind) == ("payments", phase):
            path = federation.parent / "payments/runs/first" / name
            path.unlink() if content is None else path.write_bytes(content)
        return False

    with pytest.raises(ConfideError, match=name) as caught:
        train(federation, dies=dies)
    assert (caught.value.party, caught.value.exit_status) == ("payments", status)
    assert not cards(federation.parent)


def test_a_builder_without_the_label_is_refused(federation):
    change(federation, builder="payments")
    with pytest.raises(
        ConfideError, match=r"builder: must hold DEFAULT\. Got 'payments'"
    ) as caught:
        train(federation)
    assert caught.value.exit_status == 2


def test_a_party_that_the_file_does_not_know_is_refused(federation):
    files = own_copy(federation, "payments")
    text = files["payments"].read_text().replace("[parties.payments]", "[parties.paymentz]")
    files["payments"].write_text(text)
    error = fails(federation, files=files)
    assert error.exit_status == 2
    assert "parties.payments: there is no such party" in error.message


# Too few people.


def test_too_small_an_intersection_is_refused_before_any_table_is_counted(tmp_path):
    path = build(tmp_path, customers=300, min_common=200)
    error = fails(path)
    assert error.exit_status == 4
    assert "at least 200 are needed" in error.message or "under the floor of 200" in error.message
    assert not beyond_beginnings(error)


def test_no_common_customer_at_all_is_the_same_refusal(federation):
    for table in ("train", "test"):
        rename = with_column("ID", lambda ids: np.array([f"X{name}" for name in ids], dtype=object))
        edit(federation.parent / "bureau" / f"{table}.parquet", rename)
    error = fails(federation)
    assert error.exit_status == 4
    assert "0 ids are common" in error.message


def test_a_builder_with_more_columns_than_its_customers_allow_is_refused(tmp_path):
    error = fails(build(tmp_path, customers=300, builder_rank=0.01))
    assert (error.party, error.reported, error.exit_status) == ("bank", "floor", 4)
    assert "allow the builder columns of rank" in error.message


def test_floors_that_leave_nobody_a_bin_are_refused(tmp_path):
    path = build(tmp_path, customers=300, parties=("bank", "bureau", "payments"), rows=400)
    error = fails(path)
    assert (error.reported, error.exit_status) == ("floor", 4)


# The federation file itself.


def test_init_refuses_to_replace_keys_and_a_contract_of_one_party(tmp_path):
    path = build(tmp_path, customers=300)
    key = (tmp_path / "bank" / "identity.key").read_text()
    with pytest.raises(EnvironmentFault, match="already there"):
        init_federation(tmp_path, tmp_path / "contract.toml", name="again")
    assert (tmp_path / "bank" / "identity.key").read_text() == key
    init_federation(tmp_path, tmp_path / "contract.toml", name="again", force=True)
    assert (tmp_path / "bank" / "identity.key").read_text() != key
    assert (tmp_path / "bank" / "identity.key").stat().st_mode & 0o077 == 0
    alone = tmp_path / "alone.toml"
    text = (tmp_path / "contract.toml").read_text()
    head, *features = text.split("[[features]]")
    mine = [part for part in features if 'owner = "bank"' in part]
    alone.write_text("[[features]]".join([head, *mine]))
    with pytest.raises(ConfideError, match="needs two parties or more"):
        init_federation(tmp_path / "new", alone, name="alone")
    assert not (tmp_path / "new").exists()
    assert path.exists()


def test_a_federation_file_with_mistakes_tells_all_of_them(federation):
    text = federation.read_text()
    text = text.replace('builder = "bank"', 'bilder = "bank"\nbuilder = "nobody"')
    federation.write_text(text)
    change(federation, deadline_s=0)
    with pytest.raises(ConfigError) as caught:
        train(federation)
    assert caught.value.findings == (
        "bilder: is not a setting; did you mean 'builder'?",
        "protocol.deadline_s: must be at least 1. Got 0",
        "builder: must be one of the parties. Got 'nobody'",
    )


def test_a_party_that_is_not_there_is_named(federation):
    class Absent(whole_runs.ThreadGrid):
        def get_node_ids(self):
            return list(super().get_node_ids())[:-1]

    def run():
        return train(federation, grid=Absent)

    with pytest.raises(PartyLost, match="is not there") as caught:
        run()
    assert (caught.value.party, caught.value.exit_status) == ("payments", 3)


def test_the_control_trains(federation):
    """Without any of the above the same federation gives a card."""
    train(federation)
    assert len(cards(federation.parent)) == 1
    assert json.loads(cards(federation.parent)[0].read_text())["rows"] >= 100
