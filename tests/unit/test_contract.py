"""A contract is read whole or refused whole, and columns are held against it with all findings."""

from __future__ import annotations

import dataclasses
import tomllib

import numpy as np
import pytest

from clients.data.datasets import embedded_contract
from shared.contract import EVERY, Contract, Feature, check_columns, normalise_id
from shared.errors import ConfigError, DataError

CONTRACT = Contract(
    name="toy",
    version=1,
    id_column="ID",
    label_column="BAD",
    label_owner="bank",
    positive=1,
    features=(
        Feature("AGE", "bank", "integer", low=18, high=110, missing=(999,), special=(-1,)),
        Feature("RATIO", "bank", "number", low=0, high=1, direction="up"),
        Feature("KIND", "bank", "category", levels=("salary", "savings"), missing=("unknown",)),
        Feature("LATE", "bureau", "integer", low=0, high=9, reason="PAY_STATUS"),
    ),
)


def objects(*values):
    return np.array(values, dtype=object)


def good():
    return {
        "ID": objects("a", "b", "c", "d"),
        "AGE": np.array([20, 999, -1, 40]),
        "RATIO": np.array([0.0, 0.5, np.nan, 1.0]),
        "KIND": objects("salary", "unknown", None, "savings"),
        "BAD": np.array([0, 1, 0, 1]),
    }


def findings(columns, purpose="train", contract=CONTRACT, *, with_label=True):
    with pytest.raises(DataError) as caught:
        check_columns(
            contract, "bank", columns, with_label=with_label, source="bank.csv", purpose=purpose
        )
    return caught.value.findings


def test_good_columns_come_back_clean_with_codes_and_missing_values_told_apart():
    checked = check_columns(CONTRACT, "bank", good(), with_label=True, source="bank.csv")
    assert checked.ids == ("a", "b", "c", "d")
    assert list(checked.values) == ["AGE", "RATIO", "KIND"]
    np.testing.assert_array_equal(checked.values["AGE"], [20, np.nan, -1, 40])
    np.testing.assert_array_equal(checked.values["KIND"], [0, np.nan, np.nan, 1])
    np.testing.assert_array_equal(checked.label, [0, 1, 0, 1])
    assert checked.label.dtype == np.uint8
    assert {array.dtype for array in checked.values.values()} == {np.dtype(np.float64)}


def test_checked_columns_do_not_share_memory_with_the_raw_ones():
    raw = good()
    checked = check_columns(CONTRACT, "bank", raw, with_label=True, source="bank.csv")
    checked.values["RATIO"][:] = 7
    assert raw["RATIO"][0] == 0.0


@pytest.mark.parametrize(
    ("column", "values", "finding"),
    [
        ("AGE", np.array([20, 17, 111, 40]), "AGE: outside [18, 110] (2 values)"),
        ("AGE", np.array([20, 30.5, 31, 40]), "AGE: not an integer (1 value)"),
        ("AGE", objects("20", "x", "31", "40"), "AGE: not a number (1 value)"),
        ("AGE", objects("20", "21", "31", "40"), "AGE: wrong type, numbers are stored as text"),
        ("AGE", np.array(["2020-01-01"] * 4, "M8[D]"), "AGE: wrong type datetime64[D]"),
        ("AGE", np.full(4, 30), "AGE: constant column"),
        ("AGE", np.full(4, 999), "AGE: constant column"),
        ("RATIO", np.array([0, np.inf, 0.1, 0.2]), "RATIO: infinite (1 value)"),
        ("KIND", objects("salary", "gold", "gold", None), "KIND: unknown level 'gold' (2 values)"),
        ("KIND", np.array(["2020-01-01"] * 4, "M8[D]"), "KIND: wrong type datetime64[D]"),
        ("ID", objects("a", "b", "b", "b"), "ID: id repeated (2 rows)"),
        ("ID", objects("a", "a ", "c", "d"), "ID: one customer in two spellings"),
        ("ID", objects("K1", "\uff2b1", "c", "d"), "ID: one customer in two spellings"),
        ("ID", objects("a", " ", None, "d"), "ID: empty id (2 rows)"),
        ("ID", np.array([1.0, 2.0, 3.0, 4.0]), "ID: ids must be texts or integers, not float64"),
        ("BAD", np.array([0, 1, 2, 1]), "BAD: label must be 0 or 1"),
        ("BAD", np.array([0, 1, np.nan, 1]), "BAD: missing (1 value)"),
        ("BAD", np.zeros(4), "BAD: one class only"),
        ("BAD", objects("no", "yes", "no", "yes"), "BAD: not a number (4 values)"),
    ],
)
def test_each_mistake_is_named_with_its_column_and_count(column, values, finding):
    found = findings({**good(), column: values})
    assert any(line.startswith(finding) for line in found), found
    assert len(found) == 1


def test_integers_that_would_lose_digits_are_refused():
    contract = dataclasses.replace(CONTRACT, features=(Feature("AGE", "bank", "integer"),))
    largest = {**good(), "AGE": np.array([1, 2, 3, 2**53])}
    check_columns(contract, "bank", largest, with_label=True, source="bank.csv")
    larger = {**good(), "AGE": np.array([1, 2, 3, 2**53 + 1])}
    assert findings(larger, contract=contract) == ("AGE: beyond 2^53 (1 value)",)


def test_all_mistakes_come_at_once():
    columns = {**good(), "AGE": np.array([1, 2, 3, 4]), "BAD": np.zeros(4)}
    columns["ID"] = objects("a", "a", "b", "c")
    del columns["RATIO"]
    found = findings(columns)
    assert [line.partition(":")[0] for line in found] == ["RATIO", "ID", "AGE", "BAD"]


def test_a_table_without_rows_or_with_ragged_columns_is_refused():
    assert findings({name: array[:0] for name, array in good().items()}) == ("table holds no rows",)
    assert "one length" in findings({**good(), "AGE": np.array([20, 30])})[0]
    assert "one length" in findings({**good(), "AGE": np.zeros((4, 2))})[0]


def test_scoring_allows_a_constant_column_but_no_unknown_level():
    columns = {**good(), "AGE": np.full(4, 30)}
    check_columns(CONTRACT, "bank", columns, with_label=False, source="bank.csv", purpose="score")
    columns["KIND"] = objects("salary", "gold", "salary", "salary")
    found = findings(columns, purpose="score", with_label=False)
    assert found == ("KIND: unknown level 'gold' (1 value)",)


def test_a_single_customer_can_be_scored():
    columns = {name: array[:1] for name, array in good().items()}
    checked = check_columns(
        CONTRACT, "bank", columns, with_label=False, source="x", purpose="score"
    )
    assert checked.ids == ("a",)
    assert checked.label is None


def test_extra_columns_are_a_note_and_no_error():
    columns = {**good(), "COLOUR": np.zeros(4)}
    checked = check_columns(CONTRACT, "bank", columns, with_label=True, source="bank.csv")
    assert checked.notes == ("columns not in the contract, passed over: COLOUR",)
    assert "COLOUR" not in checked.values


def test_messages_never_hold_an_id_or_a_value_of_a_row():
    secret = "4711998877"
    columns = {
        "ID": objects(secret, secret, f" {secret}", ""),
        "AGE": objects(secret, "x", None, 3),
        "RATIO": np.full(4, float(secret)),
        "KIND": objects(secret, secret, secret, secret),
        "BAD": np.full(4, int(secret)),
    }
    with pytest.raises(DataError) as caught:
        check_columns(CONTRACT, "bank", columns, with_label=True, source="bank.csv")
    assert secret not in str(caught.value)
    assert len(caught.value.findings) >= 6


def test_many_unknown_levels_are_counted_and_not_quoted():
    columns = {**good(), "KIND": objects("Ann", "Bob", "Cleo", "Dan")}
    assert "'Ann'" in findings(columns)[0]  # four levels are still quoted: the control
    names = [f"name-{index}" for index in range(8)]
    columns = {name: np.resize(array, 8) for name, array in good().items()}
    columns |= {"ID": objects(*"abcdefgh"), "KIND": objects(*names)}
    found = findings(columns)
    assert found == ("KIND: unknown levels, 8 of them; is this the right column? (8 values)",)


def test_a_label_of_texts_maps_its_positive_value_to_one():
    contract = dataclasses.replace(CONTRACT, positive="bad")
    columns = {**good(), "BAD": objects("good", "bad", "good", "bad")}
    checked = check_columns(contract, "bank", columns, with_label=True, source="x")
    np.testing.assert_array_equal(checked.label, [0, 1, 0, 1])
    columns["BAD"] = objects("good", "bad", "so-so", "")
    found = findings(columns, contract=contract)
    assert found == (
        "BAD: missing (1 value)",
        "BAD: label may hold one value besides 'bad', it holds 2",
    )


def test_a_label_where_zero_is_bad_is_turned_round():
    contract = dataclasses.replace(CONTRACT, positive=0)
    checked = check_columns(contract, "bank", good(), with_label=True, source="x")
    np.testing.assert_array_equal(checked.label, [1, 0, 1, 0])


def test_integer_ids_and_levels_are_spelled_as_people_do():
    contract = dataclasses.replace(
        CONTRACT, features=(Feature("KIND", "bank", "category", levels=("1", "2")),)
    )
    columns = {"ID": np.array([1, 20, 3]), "KIND": np.array([1.0, 2.0, np.nan])}
    checked = check_columns(contract, "bank", columns, with_label=False, source="x")
    assert checked.ids == ("1", "20", "3")
    np.testing.assert_array_equal(checked.values["KIND"], [0, 1, np.nan])


def test_normalisation_folds_width_and_trims_but_keeps_case():
    assert normalise_id(" \uff2b\uff11\u3000") == "K1"
    assert normalise_id("k1") != normalise_id("K1")


def test_parties_own_their_features_and_a_star_means_every_party():
    assert CONTRACT.parties == ("bank", "bureau")
    assert [feature.name for feature in CONTRACT.of("bureau")] == ["LATE"]
    shared = dataclasses.replace(
        CONTRACT, label_owner=EVERY, features=(Feature("AGE", EVERY, "integer"),)
    )
    assert shared.of("anyone") == shared.features
    assert shared.holds_label("anyone")
    assert not CONTRACT.holds_label("bureau")


def test_an_unknown_feature_is_answered_with_the_nearest_name():
    assert CONTRACT.feature("AGE").low == 18
    with pytest.raises(ConfigError, match="did you mean 'RATIO'"):
        CONTRACT.feature("RATOI")


def test_a_feature_without_a_reason_takes_its_name_in_capitals():
    assert Feature("pay amt.1", "bank").reason == "PAY_AMT_1"
    assert CONTRACT.feature("LATE").reason == "PAY_STATUS"


def test_the_digest_follows_every_field():
    digests = {CONTRACT.digest()}
    age, *rest = CONTRACT.features
    for change in (
        {"low": 19},
        {"special": (-2,)},
        {"missing": ()},
        {"unit": "years"},
        {"direction": "down"},
        {"reason": "OTHER"},
        {"owner": "bureau"},
        {"dtype": "number"},
    ):
        features = (dataclasses.replace(age, **change), *rest)
        digests.add(dataclasses.replace(CONTRACT, features=features).digest())
    digests |= {
        dataclasses.replace(CONTRACT, **change).digest()
        for change in ({"name": "b"}, {"version": 2}, {"positive": 0}, {"id_column": "KEY"})
    }
    assert len(digests) == 13


def test_the_digest_is_known_across_versions():
    assert CONTRACT.digest() == ("a78af56540ca5d935aaeb25dd1d11fd919cbcfe39a3b8b4130341bef602d97b4")


def test_all_mistakes_of_a_contract_file_come_at_once_with_their_paths():
    text = """
    name = "toy"
    verson = 2
    id_column = "ID"
    label_column = "BAD"
    label_owner = "The Bank"
    positive = 1.5
    [[features]]
    name = "AGE"
    owner = "bank"
    dtype = "int"
    low = 5
    high = 1
    lowest = 3
    [[features]]
    name = "AGE"
    owner = "bank"
    special = [-1, -1]
    missing = ["x"]
    direction = "left"
    reason = "late payer"
    [[features]]
    name = "KIND"
    owner = "bank"
    dtype = "category"
    low = 3
    """
    with pytest.raises(ConfigError) as caught:
        Contract.from_mapping(tomllib.loads(text), "toy.toml")
    paths = [line.partition(": ")[0] for line in caught.value.findings]
    assert paths == [
        "verson",
        "positive",
        "label_owner",
        "features.AGE.lowest",
        "features.AGE.dtype",
        "features.AGE.low",
        "features.AGE.missing",
        "features.AGE.special",
        "features.AGE.direction",
        "features.AGE.reason",
        "features.KIND.low",
        "features.KIND.levels",
        "features.AGE",
    ]
    assert "did you mean 'version'?" in caught.value.findings[0]
    assert str(caught.value).startswith("toy.toml: ")


@pytest.mark.parametrize("features", [None, [], "AGE", [3]])
def test_a_contract_without_a_list_of_features_is_refused(features):
    mapping = {**CONTRACT.to_mapping(), "features": features}
    with pytest.raises(ConfigError, match="features"):
        Contract.from_mapping(mapping, "toy.toml")


def test_the_id_column_is_no_feature_and_codes_do_not_mean_two_things():
    mapping = CONTRACT.to_mapping()
    mapping["features"] = [
        {"name": "ID", "owner": "bank"},
        {"name": "X", "owner": "bank", "missing": [-1], "special": [-1]},
    ]
    with pytest.raises(ConfigError) as caught:
        Contract.from_mapping(mapping, "toy.toml")
    assert [line.partition(":")[0] for line in caught.value.findings] == [
        "features.X.missing",
        "features.ID",
    ]


@pytest.mark.parametrize("name", ["world", "world_months", "uci_default"])
def test_the_contracts_that_come_along_are_sound(name):
    contract, content = embedded_contract(name)
    assert contract.parties == ("bank", "payments", "ecommerce", "bureau")
    assert contract.label_owner == "bank"
    assert all(feature.description for feature in contract.features)
    assert Contract.from_mapping(tomllib.loads(content.decode()), name) == contract
    assert not {"SEX", "AGE", "MARRIAGE", "EDUCATION"} & {item.name for item in contract.features}


def test_a_feature_may_say_on_what_ground_it_is_used():
    contract, content = embedded_contract("world_months")
    assert {feature.basis for feature in contract.features} == {"consent"}
    older, _ = embedded_contract("world")
    assert {feature.basis for feature in older.features} == {""}
    assert "basis" not in str(older.to_mapping())  # what says nothing keeps its digest
    mapping = tomllib.loads(content.decode())
    mapping["features"][0]["basis"] = "curiosity"
    with pytest.raises(ConfigError) as caught:
        Contract.from_mapping(mapping, "contract.toml")
    assert any(
        one.startswith("features.BANK_LIMIT.basis: must be") for one in caught.value.findings
    )
