"""Files of outcomes: what is told comes back, and nothing else is taken for one."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import rfc8785

from clients.data.datasets import embedded_contract
from clients.holdings import write_table
from clients.party import Party
from clients.releases.outcomes import Joined, join
from clients.store import Store
from shared.config import PartyFile
from shared.errors import BadPeer, DataError, UsageError
from shared.feed import pseudonym
from shared.identity import Identity
from shared.outcomes import KIND, Outcomes, open_outcomes, pack_outcomes

SERVICE = Identity("operator", b"\x01" * 32)
TOLD = Outcomes("2026-01-31", "2027-01-26", {"b" * 64: True, "a" * 64: False})


def test_what_is_told_comes_back_and_the_same_is_written_the_same():
    raw = pack_outcomes(SERVICE, TOLD)
    assert open_outcomes(raw, SERVICE.fingerprint, "outcomes.json") == TOLD
    turned = Outcomes(TOLD.since, TOLD.until, dict(reversed(list(TOLD.bad.items()))))
    assert pack_outcomes(SERVICE, turned) == raw


def changed(**body):
    found = json.loads(pack_outcomes(SERVICE, TOLD))
    found["outcomes"].update(body)
    return json.dumps(found).encode()


def signed(**body):
    """Sign what the service would never sign."""
    found = json.loads(changed(**body))
    message = rfc8785.dumps(found["outcomes"])
    return json.dumps({**found, "signature": SERVICE.sign(KIND, message).hex()}).encode()


@pytest.mark.parametrize(
    "body",
    [
        {"rows": [["a" * 64, 1], ["b" * 64, 1]]},
        {"since": "2026-02-01"},
        {"until": "2027-12-31"},
        {"kind": "confide/outcomes/2"},
    ],
)
def test_a_changed_word_is_a_wrong_signature(body):
    with pytest.raises(BadPeer, match="not valid"):
        open_outcomes(changed(**body), SERVICE.fingerprint, "outcomes.json")


def test_another_services_key_is_not_the_pinned_one():
    other = Identity("operator", b"\x02" * 32)
    with pytest.raises(BadPeer, match="not the one pinned"):
        open_outcomes(pack_outcomes(other, TOLD), SERVICE.fingerprint, "outcomes.json")


@pytest.mark.parametrize(
    "body",
    [
        {"rows": [["a" * 64, 2]]},
        {"rows": [["a" * 64, True]]},
        {"rows": [["a" * 63, 1]]},
        {"rows": [["a" * 64, 1], ["a" * 64, 0]]},
        {"rows": [["a" * 64, 1, 1]]},
        {"rows": 5},
        {"since": "2027-01-26"},
        {"since": "today"},
        {"kind": "confide/feed/1"},
        {"more": 1},
    ],
)
def test_what_is_signed_must_be_outcomes_all_the_same(body):
    with pytest.raises(DataError, match="is no file of outcomes"):
        open_outcomes(signed(**body), SERVICE.fingerprint, "outcomes.json")


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"outcomes": {}, "key": "zz", "signature": ""}', b"[" * 100_000]
)
def test_other_files_are_refused_by_name(raw):
    with pytest.raises(DataError, match=r"outcomes\.json"):
        open_outcomes(raw, SERVICE.fingerprint, "outcomes.json")


# At the party with the label.

KEY = b"k" * 32


def a_party(folder, name="bank"):
    """Return a party with two tables of four customers each, and nobody else."""
    contract, _ = embedded_contract("world_months")
    for at, table in enumerate(("train", "test")):
        names = np.array([f"C{4 * at + number}" for number in range(4)], object)
        label = np.array([0, 0, 1, 1], np.int64)
        write_table(folder / f"{table}.parquet", {"ID": names, "X": label + 5, "DEFAULT": label})
    return Party(name, None, contract, PartyFile(), Store(folder))


def told_of(folder, **bad):
    rows = {pseudonym(KEY, name): value for name, value in bad.items()}
    path = folder / "outcomes.json"
    path.write_bytes(pack_outcomes(SERVICE, Outcomes(TOLD.since, TOLD.until, rows)))
    return path


def labels(folder, table):
    return pq.read_table(folder / f"{table}.parquet").column("DEFAULT").to_pylist()


def test_who_defaulted_on_a_line_is_bad_at_home_too_and_nobody_becomes_good(tmp_path):
    party = a_party(tmp_path)
    path = told_of(tmp_path, C0=True, C1=False, C2=True, C3=False, C5=True, C99=True)
    assert join(party, path, SERVICE.fingerprint, KEY) == Joined(told=6, known=5, added=2)
    assert labels(tmp_path, "train") == [1, 0, 1, 1]
    assert labels(tmp_path, "test") == [0, 1, 1, 1]
    assert pq.read_table(tmp_path / "test.parquet").column("X").to_pylist() == [5, 5, 6, 6]
    assert join(party, path, SERVICE.fingerprint, KEY) == Joined(told=6, known=5, added=0)


def test_what_is_not_signed_by_the_service_changes_no_table(tmp_path):
    party = a_party(tmp_path)
    before = (tmp_path / "train.parquet").read_bytes()
    path = told_of(tmp_path, C0=True)
    with pytest.raises(BadPeer):
        join(party, path, "0" * 64, KEY)
    assert (tmp_path / "train.parquet").read_bytes() == before


def test_only_who_has_the_label_takes_outcomes_in(tmp_path):
    with pytest.raises(UsageError, match="payments holds no label"):
        join(a_party(tmp_path, "payments"), told_of(tmp_path, C0=True), SERVICE.fingerprint, KEY)
