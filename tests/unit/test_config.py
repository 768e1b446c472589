"""Settings: every mistake at once, by its path; a flag over the environment over the file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.config import Federation, PartyFile, parse_federation, parse_toml
from shared.errors import ConfigError
from shared.sections import SECTIONS, Card, Limits, Member, Protocol
from shared.settings import commented

NAMES = ("coordinator", "bank", "payments", "bureau")
PIN = {name: hashlib.sha256(name.encode()).hexdigest() for name in NAMES}
TEXT = f"""
name = "tested"
builder = "bank"
contract = "contract.toml"
[protocol]
deadline_s = 30
[coordinator]
fingerprint = "{PIN["coordinator"]}"
[parties.bank]
fingerprint = "{PIN["bank"]}"
home = "bank"
[parties.payments]
fingerprint = "{PIN["payments"]}"
"""


def read(text=TEXT, environment=None, flags=None):
    return parse_federation(text, "federation.toml", environment or {}, flags)


def findings(*arguments, **named):
    with pytest.raises(ConfigError) as caught:
        read(*arguments, **named)
    return caught.value.findings


def test_a_federation_file_is_read_with_its_defaults():
    federation, origins = read()
    assert federation.holders == ("bank", "payments")
    assert federation.protocol == Protocol(deadline_s=30)
    assert (federation.floors, federation.scorecard) == (Limits(), Card())
    assert dict(federation.roster.fingerprints) == {
        name: PIN[name] for name in ("bank", "payments", "coordinator")
    }
    assert origins["protocol.deadline_s"] == "file"
    assert origins["protocol.min_common"] == "default"
    assert set(origins) == {
        f"{section}.{item.name}" for section, kind in SECTIONS.items() for item in fields(kind)
    }


def test_every_mistake_of_a_file_comes_at_once_with_its_path():
    text = TEXT.replace('name = "tested"', "name = 7\nnaem = 1")
    text = text.replace("deadline_s = 30", 'dedline_s = 30\nworkers = true\nmin_common = "many"')
    text = text.replace("[coordinator]", "[floors]\nshare = 0.7\nrows = 1.5\n[coordinator]")
    text = text.replace(PIN["bank"], "abc").replace('home = "bank"', "home = 3")
    assert findings(text) == (
        "naem: is not a setting; did you mean 'name'?",
        "parties.bank.home: must be a text. Got 3",
        "name: must be a name. Got 7",
        "protocol.dedline_s: is not a setting; did you mean 'deadline_s'?",
        "protocol.min_common: must be a whole number. Got 'many'",
        "protocol.workers: must be a whole number. Got True",
        "floors.rows: must be a whole number. Got 1.5",
        "floors.share: must be at most 0.5. Got 0.7",
        "bank.fingerprint: must be 64 hex digits. Got 'abc'",
    )


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ('builder = "bank"', 'builder = "shop"', "builder: must be one of the parties. Got 'shop'"),
        ('contract = "contract.toml"', "", "contract: must be a name. Got None"),
        (PIN["payments"], PIN["bank"], "fingerprint: must differ between members. Got ''"),
        (PIN["payments"], PIN["payments"].upper(), "payments.fingerprint: must be 64 hex digits."),
        ("[protocol]\ndeadline_s = 30", "protocol = 3", "protocol: must be a table. Got 3"),
        ("[parties.payments]", "[parties.bank.payments]", "parties: must be 2 to 10 tables. Got 1"),
        ("deadline_s = 30", "score_openings = 11", "protocol.score_openings: must be at most 10."),
        ("deadline_s = 30", 'two_party_scores = "yes"', "must be 'refuse' or 'accept'. Got 'yes'"),
    ],
)
def test_a_mistake_is_told_with_its_rule_and_what_was_there(old, new, finding):
    assert old in TEXT
    assert any(finding in found for found in findings(TEXT.replace(old, new)))


@pytest.mark.parametrize(
    "name",
    ["coordinator", "Limits", "releases", "ca", "a/b", "..", "a.b", "", "-f", "a b", "ä", "x" * 65],
)
def test_a_party_whose_name_is_a_role_or_no_plain_word_is_refused(name):
    """Folders, processes and frames are named after parties."""
    text = TEXT.replace("[parties.payments]", f"[parties.{json.dumps(name)}]")
    assert any(finding.startswith("parties: a name must") for finding in findings(text))
    text = TEXT.replace("[parties.payments]", '[parties."Bureau_2-x"]')
    assert "Bureau_2-x" in read(text)[0].parties  # the control


def test_a_mistake_in_the_syntax_names_the_line():
    with pytest.raises(ConfigError, match=r"federation.toml: not TOML: .*line 2"):
        parse_toml("name = 1\nname\nbuilder = 2", "federation.toml")


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default():
    variable = {"CONFIDE_PROTOCOL_DEADLINE_S": "40", "CONFIDE_FLOORS_SHARE": "0.01"}
    flag = {"protocol.deadline_s": 50}
    for environment, flags, value, origin in (
        ({}, {}, 30, "file"),
        (variable, {}, 40, "environment"),
        ({}, flag, 50, "flag"),
        (variable, flag, 50, "flag"),
    ):
        federation, origins = read(TEXT, environment, flags)
        assert federation.protocol.deadline_s == value
        assert origins["protocol.deadline_s"] == origin
    federation, origins = read(TEXT, variable)
    assert (federation.floors.share, origins["floors.share"]) == (0.01, "environment")
    assert origins["floors.rows"] == "default"


def test_variables_of_every_kind_are_read_as_the_file_would_be():
    federation, _ = read(
        TEXT,
        {
            "CONFIDE_SCORECARD_SPARSER": "true",
            "CONFIDE_SCORECARD_PDO": "20",
            "CONFIDE_PROTOCOL_ALIGNMENT_GROUP": "p256",
            "PATH": "x",
            "CONFIDE_TEST_DATA": "no section, so none of our business",
        },
    )
    assert (federation.scorecard.sparser, federation.scorecard.pdo) == (True, 20.0)
    assert federation.protocol.alignment_group == "p256"


def test_an_unknown_or_wrong_variable_is_refused_by_name():
    with pytest.raises(ConfigError) as caught:
        read(TEXT, {"CONFIDE_PROTOCOL_DEDLINE_S": "3", "CONFIDE_FLOORS_ROW": "3"})
    assert caught.value.findings == (
        "CONFIDE_PROTOCOL_DEDLINE_S: is not a setting; did you mean CONFIDE_PROTOCOL_DEADLINE_S?",
        "CONFIDE_FLOORS_ROW: is not a setting; did you mean CONFIDE_FLOORS_ROWS?",
    )
    assert findings(TEXT, {"CONFIDE_FLOORS_ROWS": "many"}) == (
        "floors.rows: must be a whole number. Got 'many'",
    )


def _other(value, rules):
    if rules["choices"]:
        return next(choice for choice in rules["choices"] if choice != value)
    return not value if isinstance(value, bool) else value * 0.5 or 0.25


@pytest.mark.parametrize(
    ("section", "name"),
    [(section, item.name) for section, kind in SECTIONS.items() for item in fields(kind)],
)
def test_the_agreement_changes_with_every_agreed_setting(section, name):
    federation, _ = read()
    part = getattr(federation, section)
    (item,) = (item for item in fields(part) if item.name == name)
    value = getattr(part, name)
    other = _other(value, item.metadata)
    other = int(value + 1) if type(value) is int else other
    changed = replace(federation, **{section: replace(part, **{name: other})})
    assert changed.agreement("c") != federation.agreement("c")


def test_the_agreement_changes_with_names_pins_and_contract_but_not_with_homes():
    federation, _ = read()
    digest = federation.agreement("c")
    assert read()[0].agreement("c") == digest
    assert federation.agreement("d") != digest
    for changed in (
        replace(federation, name="other"),
        replace(federation, builder="payments"),
        replace(federation, coordinator=Member(PIN["bureau"])),
        replace(federation, parties={**federation.parties, "bureau": Member(PIN["bureau"])}),
        replace(federation, parties={**federation.parties, "payments": Member(PIN["bureau"])}),
        replace(federation, ca="f" * 64),
    ):
        assert changed.agreement("c") != digest
    moved = {name: Member(PIN[name], home=f"elsewhere/{name}") for name in federation.parties}
    home = replace(federation, parties=moved, contract="elsewhere.toml")
    assert home.agreement("c") == digest


def test_a_commented_file_reads_back_as_the_defaults_and_shows_only_decisions():
    sections = {"protocol": Protocol(deadline_s=7), "floors": Limits(), "scorecard": Card(pdo=20.0)}
    text = TEXT.replace("[protocol]\ndeadline_s = 30\n", "")
    text += "\n".join(commented(section, values) for section, values in sections.items())
    federation, origins = read(text)
    assert {name: getattr(federation, name) for name in sections} == sections
    assert [path for path, origin in origins.items() if origin == "file"] == [
        "protocol.deadline_s",
        "scorecard.pdo",
    ]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_settings_survive_the_commented_file(data):
    def value_of(item):
        rules, kind = item.metadata, item.type
        if rules["choices"]:
            return st.sampled_from(rules["choices"])
        if kind == "bool":
            return st.booleans()
        low = rules["low"] if rules["low"] is not None else -1000
        high = rules["high"] if rules["high"] is not None else low + 1000
        if item.name == "quorum":
            high = 2  # of the two parties in the file
        return st.integers(low, high) if kind == "int" else st.floats(low, high)

    sections = {
        section: kind(**{item.name: data.draw(value_of(item)) for item in fields(kind)})
        for section, kind in SECTIONS.items()
    }
    text = TEXT.replace("[protocol]\ndeadline_s = 30\n", "")
    text += "\n".join(commented(section, values) for section, values in sections.items())
    # With every line decided, and with those at their default left as comments.
    federation, _ = read(text)
    assert {name: getattr(federation, name) for name in sections} == sections


def test_a_party_file_is_read_the_same_way():
    text = commented("", PartyFile())
    assert PartyFile.from_mapping(parse_toml(text, "party.toml"), "party.toml") == PartyFile()
    with pytest.raises(ConfigError) as caught:
        PartyFile.from_mapping({"tset": "x", "further_moments": "yes"}, "party.toml")
    assert caught.value.findings == (
        "tset: is not a setting; did you mean 'test'?",
        "further_moments: must be 'refuse' or 'accept'. Got 'yes'",
    )


def test_every_setting_has_its_sentence():
    for kind in (*SECTIONS.values(), Member, PartyFile):
        for item in fields(kind):
            assert len(item.metadata["doc"]) > 10
            assert not item.metadata["doc"].endswith(".")
    assert Federation.__doc__
