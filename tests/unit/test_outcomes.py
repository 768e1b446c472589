"""Files of outcomes: what is told comes back, and nothing else is taken for one."""

from __future__ import annotations

import json
from datetime import date

import pytest

from shared.errors import BadPeer, DataError
from shared.identity import Identity
from shared.outcomes import Outcomes, open_outcomes, pack_outcomes

SERVICE = Identity("operator", b"\x01" * 32)
TOLD = Outcomes(date(2026, 1, 31), date(2027, 1, 26), {"b" * 64: True, "a" * 64: False})


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
    import rfc8785  # noqa: PLC0415

    from shared.outcomes import KIND  # noqa: PLC0415

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
