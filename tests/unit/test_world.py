"""The simulated world is the same for a seed, fits its contract, and rewards joining forces."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import KFold, cross_val_predict

from clients.data import features
from clients.data.datasets import embedded_contract
from clients.data.features import (
    BankRecords,
    BureauRecords,
    PaymentRecords,
    ShopRecords,
    bank_columns,
    bureau_columns,
    payment_columns,
    shop_columns,
)
from clients.data.world import DEFAULT_CUSTOMERS, make_world
from shared.contract import check_columns

CONTRACT, _ = embedded_contract("world")


@pytest.fixture(scope="module")
def world():
    return make_world()


@pytest.fixture(scope="module")
def checked(world):
    return {
        party: check_columns(
            CONTRACT, party, table, with_label=CONTRACT.holds_label(party), source=party
        )
        for party, table in world.items()
    }


def test_every_holder_fits_the_contract_with_no_column_to_spare(checked):
    assert tuple(checked) == CONTRACT.parties
    assert all(columns.notes == () for columns in checked.values())


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_other_seeds_fit_the_contract_too(seed):
    for party, table in make_world(3_000, seed).items():
        check_columns(CONTRACT, party, table, with_label=party == "bank", source=party)


def test_the_same_seed_gives_the_same_world_and_another_seed_another():
    one, two, three = make_world(2_000, 7), make_world(2_000, 7), make_world(2_000, 8)
    for party, table in one.items():
        for name, column in table.items():
            assert column.tolist() == pytest.approx(two[party][name].tolist(), nan_ok=True) or (
                column.tolist() == two[party][name].tolist()
            )
    assert not set(one["bank"]["ID"]) & set(three["bank"]["ID"])


def test_each_holder_knows_80_to_95_percent_in_an_order_of_its_own(world):
    sets = {party: set(table["ID"]) for party, table in world.items()}
    for party, ids in sets.items():
        assert len(ids) == len(world[party]["ID"])
        assert 0.80 <= len(ids) / DEFAULT_CUSTOMERS <= 0.95
    common = set.intersection(*sets.values())
    assert 0.4 < len(common) / DEFAULT_CUSTOMERS < 0.8
    orders = {tuple(key for key in table["ID"] if key in common) for table in world.values()}
    assert len(orders) == len(world)


def test_only_the_bank_knows_the_outcome_and_a_fifth_defaults(world):
    assert [party for party, table in world.items() if "DEFAULT" in table] == ["bank"]
    assert world["bank"]["DEFAULT"].mean() == pytest.approx(0.22, abs=0.01)


def test_the_data_is_as_awkward_as_real_data(checked):
    values = {name: column for part in checked.values() for name, column in part.values.items()}
    missing = {name for name, column in values.items() if np.isnan(column).any()}
    special = {
        feature.name
        for feature in CONTRACT.features
        if np.isin(values[feature.name], feature.special).mean() > 0.03
    }
    assert {"BANK_ACCOUNT", "BANK_INFLOW_VARIATION", "SHOP_SPEND_CHANGE", "SHOP_GOODS"} <= missing
    assert {"BANK_REPAID_SHARE", "BILLS_LATE_SHARE", "CREDIT_ARREARS_NOW"} <= special
    spend = values["SHOP_SPEND"]
    assert np.quantile(spend, 0.99) > 8 * np.median(spend)  # a heavy tail


def indicators(feature, column):
    """One-hot: nine quantile cuts, missing and special codes apart."""
    plain = column[~np.isnan(column) & ~np.isin(column, feature.special)]
    cuts = (
        np.unique(plain)
        if feature.dtype == "category"
        else np.quantile(plain, np.arange(1, 10) / 10)
    )
    bins = np.digitize(column, np.unique(cuts))
    bins = np.where(np.isnan(column), -1, np.where(np.isin(column, feature.special), -2, bins))
    return (bins[:, None] == np.unique(bins)).astype(float)


def test_together_the_holders_know_more_than_the_best_of_them_as_in_the_real_data(checked):
    common = sorted(set.intersection(*(set(part.ids) for part in checked.values())))
    blocks = {}
    for party, part in checked.items():
        place = {key: row for row, key in enumerate(part.ids)}
        rows = [place[key] for key in common]
        blocks[party] = np.hstack(
            [indicators(CONTRACT.feature(name), col[rows]) for name, col in part.values.items()]
        )
        if part.label is not None:
            label = part.label[rows].astype(float)
    blocks["all"] = np.hstack(list(blocks.values()))

    folds = KFold(5, shuffle=True, random_state=0)

    def auc(block):
        # Least squares ranks like a logistic regression on indicators, in a tenth of the time.
        return roc_auc_score(label, cross_val_predict(Ridge(alpha=100), block, label, cv=folds))

    aucs = {name: auc(block) for name, block in blocks.items()}
    bands = {
        "bank": (0.61, 0.67),
        "payments": (0.65, 0.70),
        "ecommerce": (0.55, 0.64),
        "bureau": (0.73, 0.765),
        "all": (0.765, 0.80),
    }
    for name, (low, high) in bands.items():
        assert low <= aucs[name] <= high, aucs
    assert aucs["all"] > max(value for name, value in aucs.items() if name != "all") + 0.015


def monthly(*months):
    return np.array([months], dtype=np.int64)


def test_the_bank_counts_only_months_on_the_books():
    raw = {
        "kind": np.array(["salary"], dtype=object),
        "limit": np.array([1_000]),
        "balance": monthly(0, 0, 0, 400, 500, 700),
        "repayment": monthly(0, 0, 0, 90, 100, 125),
        "inflow": monthly(0, 0, 0, 300, 300, 600),
    }
    columns = bank_columns(BankRecords(months=np.array([3]), **raw))
    assert columns["BANK_UTILISATION"] == [0.7]
    assert columns["BANK_UTILISATION_CHANGE"] == [0.2]  # (500 + 700) / 2 - 400
    assert columns["BANK_REPAID_SHARE"] == [0.25]  # (100 + 125) / (400 + 500)
    assert columns["BANK_INFLOW"] == [400]
    assert columns["BANK_INFLOW_VARIATION"] == [0.3536]  # sqrt(2 * 100^2 + 200^2) / 3) / 400
    thin = bank_columns(BankRecords(months=np.array([2]), **raw))
    assert np.isnan(thin["BANK_INFLOW_VARIATION"]).all()
    assert np.isnan(thin["BANK_UTILISATION_CHANGE"]).all()
    assert thin["BANK_INFLOW"] == [450]


def test_who_owed_nothing_has_no_share_repaid():
    zero = np.zeros((1, features.MONTHS), dtype=np.int64)
    columns = bank_columns(
        BankRecords(np.array([6]), np.array([None]), np.array([1_000]), zero, zero, zero)
    )
    assert columns["BANK_REPAID_SHARE"] == [features.NOTHING]
    assert np.isnan(columns["BANK_INFLOW_VARIATION"]).all()


def test_the_platform_tells_no_bill_from_no_late_bill():
    zero = monthly(0, 0, 0, 0, 0, 0)
    bills, late = monthly(1, 1, 2, 0, 2, 2), monthly(1, 0, 1, 0, 1, 1)
    lowest = monthly(5, 90, 80, 70, 60, 50)
    six = np.array([6])
    columns = payment_columns(PaymentRecords(six, bills, zero, bills, late, lowest))
    assert columns["BILLS_LATE_MONTHS"] == [4]
    assert columns["BILLS_LATE_SHARE"] == [0.5]
    assert columns["BILLS_LATE_RECENT"] == [2]
    assert columns["WALLET_LOWEST"] == [5]
    later = payment_columns(PaymentRecords(np.array([5]), bills, zero, bills, late, lowest))
    assert later["WALLET_LOWEST"] == [50]
    assert later["BILLS_LATE_MONTHS"] == [3]
    none = payment_columns(PaymentRecords(six, bills, zero, zero, zero, lowest))
    assert {name: none[name][0] for name in none if name.startswith("BILLS")} == {
        "BILLS_LATE_MONTHS": -1,
        "BILLS_LATE_SHARE": -1,
        "BILLS_LATE_RECENT": -1,
    }


def test_the_shop_tells_no_order_from_no_return():
    orders, zero = monthly(1, 1, 1, 1, 2, 2), monthly(0, 0, 0, 0, 0, 0)
    spend = monthly(10, 10, 10, 10, 40, 40)
    goods = np.array(["home"], dtype=object)
    six = np.array([6])
    columns = shop_columns(ShopRecords(six, goods, orders, zero, monthly(0, 0, 0, 0, 1, 1), spend))
    assert columns["SHOP_ORDERS"] == [8]
    assert columns["SHOP_SPEND"] == [20]
    assert columns["SHOP_SPEND_CHANGE"] == [2]
    assert columns["SHOP_RETURN_SHARE"] == [0]
    assert columns["SHOP_INSTALMENT_SHARE"] == [0.25]
    none = shop_columns(ShopRecords(six, np.array([None]), zero, zero, zero, zero))
    assert none["SHOP_RETURN_SHARE"] == none["SHOP_SPEND_CHANGE"] == [features.NOTHING]


def test_the_bureau_has_one_code_for_a_customer_that_no_lender_reports():
    records = {
        "lenders": np.array([2]),
        "enquiries": monthly(5, 0, 0, 1, 0, 2),
        "balance": monthly(100, 100, 100, 100, 100, 150),
        "arrears": monthly(0, 1, 2, 3, 0, 1),
    }
    columns = bureau_columns(BureauRecords(known=np.array([True]), **records))
    assert {name: column[0] for name, column in columns.items()} == {
        "CREDIT_ARREARS_NOW": 1,
        "CREDIT_ARREARS_WORST": 3,
        "CREDIT_ARREARS_MONTHS": 4,
        "CREDIT_ENQUIRIES": 3,
        "CREDIT_LENDERS": 2,
        "CREDIT_BALANCE": 150,
        "CREDIT_BALANCE_GROWTH": 1.5,
    }
    unknown = bureau_columns(BureauRecords(known=np.array([False]), **records))
    assert {column[0] for column in unknown.values()} == {features.NOTHING}
