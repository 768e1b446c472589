"""A release counts only when every check says so, and the check that fails is named."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import Federation
from shared.errors import ReleaseRefused
from shared.instants import date_of, days_of, instant_of, later, seconds_of
from shared.release import (
    Manifest,
    Release,
    Signature,
    check_agreement,
    pack_release,
    read_release,
    release_name,
    unpack_release,
    verify_release,
)
from shared.sections import Member, Protocol
from tests.depth import depth
from tests.releases import CONTRACT, NOW, PARTIES, PEOPLE, card, federation, manifest, signed

GOOD = signed(manifest())
FILES = (GOOD.manifest.to_bytes(), GOOD.signatures_bytes())


def verify(release=GOOD, agreed=None, *, now=NOW, newest=0, contract=CONTRACT):
    verify_release(release, agreed or federation(), now=now, newest=newest, contract=contract)


def test_a_good_release_passes_and_survives_its_files():
    verify()
    verify(contract=None)
    again = read_release(*FILES)
    assert again.manifest.digest() == GOOD.manifest.digest()
    assert unpack_release(json.loads(json.dumps(pack_release(GOOD)))).signatures == GOOD.signatures
    verify(again)


def test_a_setting_changed_since_does_not_unmake_a_release_but_nobody_signs_under_it():
    changed = replace(federation(), protocol=Protocol(deadline_s=7))
    verify(agreed=changed)
    check_agreement(GOOD.manifest, federation())
    with pytest.raises(ReleaseRefused, match="other settings") as caught:
        check_agreement(GOOD.manifest, changed)
    assert caught.value.check == "federation"


def other_key(party):
    members = dict(federation().parties)
    members[party] = Member(PEOPLE["stranger"].fingerprint)
    return replace(federation(), parties=members)


def without(party):
    members = {name: member for name, member in federation().parties.items() if name != party}
    return replace(federation(), parties=members)


def renamed():
    return replace(federation(), name="another")


def stricter():
    return federation(valid_days=90)


def forged():
    """Return signatures under one manifest beside another with better points."""
    lines = card().lines
    better = replace(lines[0], points=(0, 31))
    changed = replace(GOOD.manifest, model=replace(card(), lines=(better, *lines[1:])))
    return Release(changed, GOOD.signatures)


def stranger_signs():
    raw = GOOD.manifest.to_bytes()
    person = PEOPLE["stranger"]
    extra = Signature(person.public_key.hex(), person.sign("release", raw).hex())
    return Release(GOOD.manifest, {**GOOD.signatures, "stranger": extra})


def for_another_purpose():
    raw = GOOD.manifest.to_bytes()
    person = PEOPLE["bank"]
    wrong = Signature(person.public_key.hex(), person.sign("hello", raw).hex())
    return Release(GOOD.manifest, {**GOOD.signatures, "bank": wrong})


def swapped():
    bank, bureau = GOOD.signatures["bank"], GOOD.signatures["bureau"]
    return Release(GOOD.manifest, {**GOOD.signatures, "bank": bureau, "bureau": bank})


HALF = "2026-08-28T12:00:00Z"  # 180 days on

REFUSED = {
    "another federation's name": ({"agreed": renamed()}, "federation"),
    "a party fewer in the federation": ({"agreed": without("bureau")}, "federation"),
    "another key pinned for a party": ({"agreed": other_key("payments")}, "federation"),
    "a shorter time agreed since": ({"agreed": stricter()}, "expiry"),
    "another contract": ({"contract": "d" * 64}, "contract"),
    "a changed manifest": ({"release": forged()}, "signature"),
    "a foreign key": ({"release": signed(manifest(), keys={"bank": "stranger"})}, "signature"),
    "a signature by nobody of the federation": ({"release": stranger_signs()}, "signature"),
    "a signature for another purpose": ({"release": for_another_purpose()}, "signature"),
    "signatures under each other's name": ({"release": swapped()}, "signature"),
    "a signature too few": ({"release": signed(manifest(), by=PARTIES[:2])}, "quorum"),
    "no signature": ({"release": signed(manifest(), by=())}, "quorum"),
    "a release that is known": ({"newest": 1}, "counter"),
    "a release rolled back": ({"newest": 7}, "counter"),
    "a release from the future": ({"now": "2026-03-01T11:54:59Z"}, "clock"),
    "an expired release": ({"now": HALF}, "expiry"),
    "a claim of more time than agreed": (
        {"release": signed(manifest(expires="2026-08-28T12:00:01Z"))},
        "expiry",
    ),
    "an end before its beginning": (
        {"release": signed(manifest(expires="2026-02-28T12:00:00Z"))},
        "expiry",
    ),
    "a name that is not its counter's": (
        {"release": signed(manifest(name="scorecard-0002"))},
        "form",
    ),
    "a counter of none": ({"release": signed(manifest(counter=0))}, "form"),
    "a date that is none": ({"release": signed(manifest(expires="2026-02-30T12:00:00Z"))}, "form"),
    "a card of another contract": (
        {"release": signed(manifest(model=replace(card(), contract="d" * 64)))},
        "form",
    ),
    "a card without calibration": (
        {"release": signed(manifest(model=replace(card(), calibration=None)))},
        "form",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_release_is_refused_by_the_name_of_its_check(what):
    change, check = REFUSED[what]
    with pytest.raises(ReleaseRefused) as caught:
        verify(**change)
    assert caught.value.check == check
    assert repr(check) in caught.value.message
    assert (caught.value.exit_status, caught.value.http_status) == (4, 403)


def test_its_neighbours_inside_the_bounds_pass():
    verify(now="2026-03-01T11:55:00Z")  # a clock 300 s slow
    verify(now="2026-08-28T11:59:59Z")
    verify(signed(manifest(counter=8)), newest=7)


def test_the_quorum_is_the_verifiers_own_and_no_release_can_set_it():
    two = federation(quorum=2)
    release = signed(manifest(two), by=PARTIES[:2])
    verify(release, two)
    with pytest.raises(ReleaseRefused) as caught:
        verify(signed(manifest(two), by=PARTIES[:1]), two)
    assert caught.value.check == "quorum"
    with pytest.raises(ReleaseRefused):
        verify(release)
    value = pack_release(release)
    value["manifest"]["quorum"] = 1
    with pytest.raises(ReleaseRefused) as caught:
        unpack_release(value)
    assert caught.value.check == "form"


def test_a_bad_signature_is_refused_even_where_enough_others_are_good():
    two = federation(quorum=2)
    good = signed(manifest(two))
    bad = replace(good.signatures["bank"], signature="0" * 128)
    with pytest.raises(ReleaseRefused) as caught:
        verify(Release(good.manifest, {**good.signatures, "bank": bad}), two)
    assert (caught.value.check, caught.value.party) == ("signature", "bank")


@settings(max_examples=depth(150, 300), deadline=None)
@given(data=st.data())
def test_no_single_byte_of_its_files_can_be_changed(data):
    which = data.draw(st.integers(0, 1))
    raw = bytearray(FILES[which])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != raw[at]))
    files = list(FILES)
    files[which] = bytes(raw)
    with pytest.raises(ReleaseRefused):
        verify(read_release(*files))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_byte_can_be_dropped_or_added(data):
    which = data.draw(st.integers(0, 1))
    at = data.draw(st.integers(0, len(FILES[which])))
    more = data.draw(st.sampled_from([b"", b" ", b"\n", b"0", b","]))
    raw = FILES[which][:at] + more + FILES[which][at + (not more) :]
    files = list(FILES)
    files[which] = raw
    if raw == FILES[which]:
        return
    with pytest.raises(ReleaseRefused):
        verify(read_release(*files))


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        [],
        {},
        {"manifest": {}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping(), "signatures": []},
        {"manifest": GOOD.manifest.to_mapping(), "signatures": {"bank": {"public_key": "00"}}},
        {"manifest": GOOD.manifest.to_mapping() | {"schema": 2}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"counter": True}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"counter": 2**60}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"parties": []}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"card": None}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"evaluation": 3}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"run": ""}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"parent": "0"}, "signatures": {}},
        {"manifest": GOOD.manifest.to_mapping() | {"more": 1}, "signatures": {}},
    ],
)
def test_what_is_no_release_is_refused_for_its_form(value):
    with pytest.raises(ReleaseRefused) as caught:
        unpack_release(value)
    assert caught.value.check == "form"


@pytest.mark.parametrize("worth", [10**400, -(10**400)])
def test_a_number_beyond_all_bounds_is_refused_for_its_form(worth):
    value = json.loads(json.dumps(GOOD.manifest.to_mapping()))
    Manifest.from_mapping(value)  # the control
    value["parties"][PARTIES[0]]["worth"] = worth
    with pytest.raises(ReleaseRefused, match="too large") as caught:
        Manifest.from_mapping(value)
    assert caught.value.check == "form"


@pytest.mark.parametrize("raw", [b"", b"{", b"[" * 100_000, b"NaN", b"\xff", b'{"a":NaN}'])
def test_bytes_that_are_no_manifest_are_refused(raw):
    with pytest.raises(ReleaseRefused):
        read_release(raw, FILES[1])
    with pytest.raises(ReleaseRefused):
        read_release(FILES[0], raw)


def test_a_huge_manifest_is_refused_before_it_is_parsed():
    with pytest.raises(ReleaseRefused, match="longer than"):
        read_release(b" " * (5 << 20), FILES[1])


def test_the_form_of_a_manifest_leaves_no_choice():
    value = GOOD.manifest.to_mapping()
    assert Manifest.from_mapping(json.loads(json.dumps(value))).digest() == GOOD.manifest.digest()
    line = {**value["card"]["lines"][0], "points": [0, 30.0]}
    for changed in (
        value | {"card": {**value["card"], "rows": "1000"}},
        value | {"card": {**value["card"], "lines": [{**line, "points": ["0", 30]}]}},
        value | {"card": {**value["card"], "lines": [{**line, "mean": 31.0}]}},
        value | {"card": {**value["card"], "lines": [{**line, "bins": ["base"]}]}},
        value | {"card": {**value["card"], "schema": 1}},
        value | {"card": {**value["card"], "remark": "x"}},
    ):
        with pytest.raises(ReleaseRefused):
            Manifest.from_mapping(changed)


def test_the_baseline_of_a_party_is_the_mean_of_its_lines_in_whole_points():
    baselines = {name: item.baseline_points for name, item in GOOD.manifest.parties.items()}
    assert baselines == {"bank": 4, "bureau": -6, "payments": -6}
    parties = dict(GOOD.manifest.parties)
    parties["bank"] = replace(parties["bank"], baseline_points=5)
    with pytest.raises(ReleaseRefused, match="baseline of bank"):
        verify(signed(manifest(parties=parties)))


def test_names_sort_as_their_counters_and_go_on_beyond_four_digits():
    assert [release_name(n) for n in (1, 42, 12345)] == [
        "scorecard-0001",
        "scorecard-0042",
        "scorecard-12345",
    ]


def test_a_federation_without_parties_verifies_nothing():
    empty = Federation("tested", "bank", "c", federation().coordinator, {})
    with pytest.raises(ReleaseRefused):
        verify(agreed=empty)


# Instants: texts that are reckoned with, without a clock.


@given(st.integers(0, 4_000_000_000))
def test_an_instant_survives_its_text(seconds):
    text = instant_of(seconds)
    assert seconds_of(text) == seconds
    assert date_of(text) == text[:10]
    assert days_of(text[:10]) == seconds // 86_400
    assert seconds_of(later(text, days=2, seconds=3)) == seconds + 2 * 86_400 + 3


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:01Z",
        "2026-01-01T00:00:00",
        "2026-01-01 00:00:00Z",
        "2026-01-01T00:00:00.5Z",
        "٢٠٢٦-01-01T00:00:00Z",
        "",
        None,
    ],
)
def test_what_is_no_instant_is_refused(text):
    with pytest.raises(ValueError, match=r"instant|range|parsing|parse"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["2026-13-01", "2026-02-29", "26-01-01", "2026-1-1", "today", 7])
def test_what_is_no_date_is_refused(text):
    with pytest.raises(ValueError, match=r"date|range|parsing|parse"):
        days_of(text)
