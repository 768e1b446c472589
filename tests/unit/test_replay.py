"""A decision is kept with all it was made from, and made again from that, bit for bit (I5)."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.limits.basis.plain import EXACT, from_plain, to_plain
from server.limits.caps.caps import Inputs
from server.limits.caps.decide import Decision, decide
from server.limits.caps.record import DecisionRecord, Rules, digest_of, read_record, replay
from server.limits.caps.snapshot import Scorer, Share
from server.limits.rules.pack import parse_pack
from server.limits.rules.policy_lint import parse_policy
from server.policies import embedded
from shared.errors import LogBroken
from tests.depth import depth
from tests.service.kit import LINES, PARTIES, baselines, card

POLICY_TEXT, PACK_TEXT = embedded("reference")[0], embedded("pack_cn")[0]
POLICY, PACK = parse_policy(POLICY_TEXT, "policy"), parse_pack(PACK_TEXT, "pack")
RULES = Rules.of([(POLICY_TEXT, "policy")], [(PACK_TEXT, "pack")])
DAY = date(2026, 3, 1)
SCORER = Scorer(card(), baselines())
CODES = {owner: [code for who, code, _, _ in LINES if who == owner] for owner in PARTIES}

SCALARS = {
    # Beyond 2**53 too: what JSON does not carry exactly must come back all the same.
    int: st.one_of(st.integers(0, 10**8), st.integers(0, 10**18)),
    str: st.sampled_from(["bank", "platform"]),
    bool: st.booleans(),
    date: st.just(DAY),
    Decimal: st.integers(0, 10**6).map(lambda ppm: Decimal(ppm).scaleb(-6)),
}


def values_of(kind):
    """Return a strategy for an annotation: a field that is added tomorrow is drawn tomorrow."""
    if get_origin(kind) in {Union, types.UnionType}:
        inner = [one for one in get_args(kind) if one is not type(None)]
        return st.one_of(st.none(), *map(values_of, inner))
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{item.name: values_of(hints[item.name]) for item in fields(kind)})
    return SCALARS[kind]


@st.composite
def snapshots(draw):
    present = draw(st.lists(st.sampled_from(PARTIES), unique=True))
    shares = {}
    for party in present:
        low, high = SCORER.spans[party]
        codes = draw(st.lists(st.sampled_from(CODES[party]), unique=True))
        reasons = tuple((code, draw(st.integers(1, 50))) for code in codes)
        shares[party] = Share(draw(st.integers(low, high)), reasons)
    return SCORER.snapshot(shares, {party: "stale" for party in PARTIES if party not in shares})


def record(snapshot=None, inputs=None, about=None):
    snapshot = snapshot or SCORER.snapshot(
        {party: Share(SCORER.spans[party][1]) for party in PARTIES}, {}
    )
    inputs = inputs or Inputs(DAY, current_minor=500_000)
    return DecisionRecord(
        about=about if about is not None else {"line": "L1", "purpose": "review"},
        policy=digest_of(POLICY_TEXT),
        pack=digest_of(PACK_TEXT),
        snapshot=snapshot,
        inputs=inputs,
        decision=decide(POLICY, PACK, snapshot, inputs),
    )


def refused(work, *arguments):
    with pytest.raises(LogBroken) as caught:
        work(*arguments)
    return caught.value.check


def leaves_of(value, path=()):
    """Yield the path of every value in plain JSON that has none in it."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves_of(one, (*path, key))
    elif isinstance(value, list):
        for at, one in enumerate(value):
            yield from leaves_of(one, (*path, at))
    else:
        yield path


def changed(value, path, to):
    copy = json.loads(json.dumps(value))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = to(at[path[-1]])
    return copy


@settings(max_examples=depth(75, 150), deadline=None)
@given(snapshot=snapshots(), inputs=values_of(Inputs))
def test_i5_every_decision_is_made_again_bit_for_bit(snapshot, inputs):
    made = record(snapshot, inputs)
    raw = made.to_bytes()
    back = read_record(json.loads(raw))
    assert back == made
    assert back.to_bytes() == raw
    again = replay(back, RULES)
    assert again == made.decision
    assert type(again) is Decision


@settings(max_examples=depth(60, 100), deadline=None)
@given(data=st.data(), snapshot=snapshots(), inputs=values_of(Inputs))
def test_i5_no_other_outcome_replays(data, snapshot, inputs):
    made = record(snapshot, inputs)
    outcome = to_plain(made.decision)
    paths = [path for path in leaves_of(outcome) if path]
    path = data.draw(st.sampled_from(paths))

    def other(value):
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value - 1 if value == EXACT else value + 1
        if isinstance(value, str):
            return str(int(value) + 1) if value.isdigit() else value + "x"
        return 1 if path[-1] != "holders" else ["x"]

    mapping = {**made.to_mapping(), "decision": changed(outcome, path, other)}
    with pytest.raises(LogBroken) as caught:
        replay(read_record(mapping), RULES)
    assert caught.value.check in {"replay", "form"}


def test_other_inputs_do_not_give_the_decision():
    made = record(inputs=Inputs(DAY, own_minor=100_000))
    assert made.decision.binding == ("own",)
    assert replay(made, RULES) == made.decision
    other = replace(made, inputs=Inputs(DAY, own_minor=50_000))
    with pytest.raises(LogBroken, match="another limit_minor, caps, reasons") as caught:
        replay(other, RULES)
    assert caught.value.check == "replay"
    assert "50000" not in str(caught.value)  # fields, never values


def test_what_a_decision_is_about_has_no_part_in_the_arithmetic_but_is_in_the_bytes():
    one, other = record(about={"line": "L1"}), record(about={"line": "L2"})
    assert replay(one, RULES) == replay(other, RULES)
    assert one.to_bytes() != other.to_bytes()


def test_an_unknown_policy_or_pack_is_refused_by_name():
    made = record()
    assert refused(replay, replace(made, policy="0" * 64), RULES) == "policy"
    assert refused(replay, replace(made, pack="0" * 64), RULES) == "pack"
    # A text that means the same is another text.
    near = Rules.of([(POLICY_TEXT + "# \n", "policy")], [(PACK_TEXT, "pack")])
    assert refused(replay, made, near) == "policy"
    assert next(iter(near.policies.values())) == POLICY


def test_a_day_on_which_the_rules_decide_nothing_does_not_replay():
    made = record()
    early = replace(made, inputs=replace(made.inputs, day=date(1999, 1, 1)))
    assert refused(replay, early, RULES) == "replay"


@pytest.mark.parametrize("kind", ["inputs", "snapshot", "decision"])
def test_a_field_that_is_missing_or_one_too_many_is_refused(kind):
    mapping = record().to_mapping()
    for name in mapping[kind]:
        rest = {key: value for key, value in mapping[kind].items() if key != name}
        assert refused(read_record, {**mapping, kind: rest}) == "form"
    assert refused(read_record, {**mapping, kind: {**mapping[kind], "more": 1}}) == "form"


def test_every_malformed_value_is_refused_with_the_name_of_its_field():
    mapping = record(inputs=Inputs(DAY, current_minor=10)).to_mapping()
    for path in leaves_of(mapping):
        for wrong in (1.5, [[]], {"a": 1}, float("nan")):
            with pytest.raises(LogBroken) as caught:
                read_record(changed(mapping, path, lambda _, wrong=wrong: wrong))
            assert caught.value.check == "form"
    text = {"day": "2026-3-1", "current_minor": "10", "drawn_minor": -5}
    for name, wrong in text.items():
        inputs = {**mapping["inputs"], name: wrong}
        assert refused(read_record, {**mapping, "inputs": inputs}) == "form"
    for wrong in (None, [], "text", {}, {**mapping, "kind": "confide/decision/2"}):
        assert refused(read_record, wrong) == "form"


@pytest.mark.parametrize("text", ["0.020", "2E-2", "NaN", "sNaN", "Infinity", " 0.02", "0_0", ""])
def test_a_decimal_stands_as_it_was_written_or_not_at_all(text):
    mapping = record().to_mapping()
    rating = {**mapping["snapshot"]["rating"], "default_prob": text}
    value = {**mapping, "snapshot": {**mapping["snapshot"], "rating": rating}}
    if text == "0.020":
        assert read_record(value).snapshot.rating.default_prob.as_tuple().exponent == -3
    else:
        assert refused(read_record, value) == "form"


@pytest.mark.parametrize("number", [0, 1, EXACT, EXACT + 1, 10**30, -EXACT - 1])
def test_a_whole_number_comes_back_whatever_its_size(number):
    plain = to_plain(number)
    assert isinstance(plain, int) == (abs(number) <= EXACT)
    assert from_plain(int, json.loads(json.dumps(plain))) == number
    with pytest.raises(ValueError, match="malformed"):  # one form only
        from_plain(int, str(number) if isinstance(plain, int) else f"0{plain}")


def test_what_has_no_one_text_is_no_part_of_a_record():
    for value in (1.5, datetime(2026, 3, 1), b"x", {1, 2}, object()):  # noqa: DTZ001 - any
        with pytest.raises(TypeError):
            to_plain(value)


def test_annotations_of_all_forms_are_read():
    @dataclass(frozen=True)
    class Inner:
        pair: tuple[str, int]
        names: Mapping[str, tuple[int, ...]]
        kind: Literal["a", "b"]

    Inner.__annotations__.update(
        pair=tuple[str, int], names=Mapping[str, tuple[int, ...]], kind=Literal["a", "b"]
    )
    value = Inner(("x", 1), {"n": (1, 2)}, "b")
    assert from_plain(Inner, to_plain(value)) == value
    for name, wrong in (("pair", ["x"]), ("pair", ["x", 1, 2]), ("kind", "c"), ("kind", [])):
        with pytest.raises(ValueError, match="malformed"):
            from_plain(Inner, {**to_plain(value), name: wrong})
