"""What holds for every contract and every table."""

from __future__ import annotations

import json
import random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contract import Contract, Feature, check_columns, normalise_id
from shared.errors import DataError
from tests.depth import depth

names = st.text("ABCDEFGH_", min_size=1, max_size=6)
numbers = st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6, allow_nan=False)


@st.composite
def features(draw):
    dtype = draw(st.sampled_from(["integer", "number", "category"]))
    owner = draw(st.sampled_from(["bank", "shop", "*"]))
    text = draw(st.text(max_size=8))
    if dtype == "category":
        texts = draw(st.lists(st.text(min_size=1, max_size=4), min_size=2, max_size=5, unique=True))
        cut = draw(st.integers(1, len(texts)))
        return Feature(
            "X", owner, dtype, levels=tuple(texts[:cut]), missing=tuple(texts[cut:]), unit=text
        )
    low, high = sorted([draw(numbers), draw(numbers)])
    codes = draw(st.lists(numbers, max_size=4, unique=True))
    return Feature(
        "X",
        owner,
        dtype,
        low=draw(st.sampled_from([None, low])),
        high=draw(st.sampled_from([None, high])),
        missing=tuple(codes[:2]),
        special=tuple(codes[2:]),
        direction=draw(st.sampled_from(["", "up", "down"])),
        description=text,
    )


@st.composite
def contracts(draw):
    unique = draw(st.lists(names, min_size=3, max_size=6, unique=True))
    made = []
    for name in unique[2:]:
        feature = draw(features())
        made.append(
            Feature(name, *(getattr(feature, key) for key in list(Feature.__slots__)[1:10]), "R1")
        )
    positive = draw(st.integers(-3, 3) | st.text(min_size=1, max_size=3))
    version = draw(st.integers(1, 99))
    return Contract("any", version, unique[0], unique[1], "bank", positive, tuple(made))


@given(contracts())
def test_a_contract_survives_the_way_through_its_mapping_and_json(contract):
    assert Contract.from_mapping(contract.to_mapping(), "x") == contract
    again = Contract.from_mapping(json.loads(json.dumps(contract.to_mapping())), "x")
    assert again == contract
    assert again.digest() == contract.digest()


@given(contracts(), contracts())
def test_two_contracts_have_one_digest_only_if_they_are_equal(one, other):
    assert (one.digest() == other.digest()) == (one == other)


@given(st.text())
def test_normalising_an_id_twice_changes_nothing(raw):
    once = normalise_id(raw)
    assert normalise_id(once) == once
    assert normalise_id(f"  {raw}\t") == once


CONTRACT = Contract(
    "toy",
    1,
    "ID",
    "BAD",
    "bank",
    1,
    (
        Feature("A", "bank", "integer", low=0, high=5, missing=(9,), special=(-1,)),
        Feature("K", "bank", "category", levels=("x", "y")),
    ),
)
cells = st.one_of(
    st.none(), st.integers(-3, 10), st.floats(), st.text("xy9 ", max_size=2), st.booleans()
)


@settings(max_examples=depth(150, 300))
@given(
    st.lists(
        st.tuples(st.text("ab \uff41", max_size=2) | st.none() | st.integers(0, 5), cells, cells),
        min_size=1,
        max_size=6,
    ),
    st.randoms(use_true_random=False),
)
def test_any_table_is_clean_or_refused_and_the_order_of_rows_does_not_matter(rows, shuffle):
    def run(rows):
        columns = {
            name: np.array([None, *(row[index] for row in rows)], dtype=object)[1:]
            for index, name in enumerate(["ID", "A", "K"])
        }
        try:
            return check_columns(
                CONTRACT, "bank", columns, with_label=False, source="x", purpose="score"
            )
        except DataError as error:
            return set(error.findings)

    checked = run(rows)
    order = list(range(len(rows)))
    random.Random(shuffle.random()).shuffle(order)
    turned = run([rows[index] for index in order])
    if isinstance(checked, set):
        assert turned == checked
        return
    values = checked.values["A"]
    known = values[~np.isnan(values)]
    assert np.isin(known, [-1, 0, 1, 2, 3, 4, 5]).all()
    assert len(set(checked.ids)) == len(rows)
    assert all(normalise_id(key) == key != "" for key in checked.ids)
    kinds = checked.values["K"]
    assert np.isin(kinds[~np.isnan(kinds)], [0, 1]).all()
    assert turned.ids == tuple(checked.ids[index] for index in order)
    np.testing.assert_array_equal(turned.values["A"], values[order])
