"""From a holder's months to its columns: by hand for one person, and labels that are over."""

from __future__ import annotations

import numpy as np
import pytest

from clients.data.datasets import embedded_contract
from clients.holdings import arrays, read_table, write_table
from clients.world.living import begin, month_file
from clients.world.making import World
from clients.world.tables import (
    OUTCOME_MONTHS,
    TABLES,
    Months,
    bank,
    bureau,
    ecommerce,
    learning_table,
    payments,
    read_months,
    table_of_month,
)
from shared.contract import check_columns
from shared.errors import DataError
from shared.world.life import DEFAULT_LATE

LAST = 18


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "world"
    begin(folder, World(3000, LAST, seed=3))
    return folder


def months(known=(1, 1, 1, 1, 1, 1), **values):
    table = {name: np.array([row], np.float64) for name, row in values.items()}
    return Months(np.array(["C1"], object), np.array([known], bool), table)


def first(table):
    return {name: column[0] for name, column in table.items()}


def test_the_banks_columns_by_hand():
    got = first(
        bank(
            months(
                LIMIT=[100] * 6,
                BILL=[10, 20, 30, 40, 50, 80],
                REPAID=[99, 5, 5, 5, 5, 10],
                INCOME=[10, 20, 10, 20, 10, 20],
            )
        )
    )
    assert got["BANK_UTILISATION"] == 0.8
    assert got["BANK_UTILISATION_CHANGE"] == 0.25  # the mean of .5 and .8, less .4
    assert got["BANK_REPAID_SHARE"] == 0.2  # 30 of the 150 owed before; the first month's is not
    assert got["BANK_INCOME"] == 15
    assert got["BANK_INCOME_VARIATION"] == round(5 / 15, 4)


def test_who_is_new_has_no_change_and_counts_from_the_day_it_came():
    got = first(
        bank(
            months(
                (0, 0, 0, 0, 1, 1),
                LIMIT=[0, 0, 0, 0, 100, 100],
                BILL=[0, 0, 0, 0, 50, 50],
                REPAID=[0, 0, 0, 0, 7, 10],
                INCOME=[0, 0, 0, 0, 10, 20],
            )
        )
    )
    assert np.isnan(got["BANK_UTILISATION_CHANGE"])
    assert np.isnan(got["BANK_INCOME_VARIATION"])
    assert got["BANK_REPAID_SHARE"] == 0.2
    assert got["BANK_INCOME"] == 15


def test_the_others_columns_by_hand_and_nothing_to_measure_is_minus_one():
    wallet = first(
        payments(
            months(
                TRANSFERS=[1] * 6,
                FAILED=[0, 1, 0, 0, 0, 2],
                PAID=[6] * 6,
                BILLS=[2] * 6,
                BILLS_LATE=[0, 0, 0, 1, 1, 1],
            )
        )
    )
    assert wallet == {
        "WALLET_TRANSFERS": 1,
        "WALLET_FAILED": 3,
        "WALLET_REPAID": 6,
        "BILLS_LATE_SHARE": 0.25,
    }
    nothing = first(ecommerce(months(SPENT=[0] * 6, ORDERS=[0] * 6, RETURNS=[0] * 6)))
    assert (nothing["SHOP_SPEND_CHANGE"], nothing["SHOP_RETURN_SHARE"]) == (-1, -1)
    shop = first(ecommerce(months(SPENT=[1, 1, 1, 1, 4, 4], ORDERS=[1] * 6, RETURNS=[0] * 5 + [3])))
    assert (shop["SHOP_SPEND_CHANGE"], shop["SHOP_RETURN_SHARE"]) == (2, 0.5)
    told = first(
        bureau(
            months(
                BEHIND=[0, 2, 1, 0, 0, 1],
                ENQUIRIES=[5, 0, 0, 1, 0, 1],
                LENDERS=[3] * 6,
                OTHER_DEBT=[1, 2, 3, 4, 5, 6],
            )
        )
    )
    assert list(told.values()) == [1, 2, 3, 2, 3, 6]


@pytest.mark.parametrize("holder", list(TABLES))
def test_every_table_fits_the_contract(world, holder):
    agreed, _ = embedded_contract("world_months")
    scored = check_columns(
        agreed,
        holder,
        table_of_month(world, holder, LAST),
        source=holder,
        purpose="score",
        with_label=False,
    )
    learned = check_columns(
        agreed,
        holder,
        learning_table(world, holder, LAST),
        source=holder,
        purpose="train",
        with_label=holder == "bank",
    )
    assert len(scored.ids) >= len(learned.ids) > 2000
    if learned.label is not None:
        assert 0.05 < learned.label.mean() < 0.3


def test_months_are_put_beside_each_other_by_id_whatever_their_order(world, tmp_path):
    """Who came later, who left, and rows in another order in every month."""
    written = (("left", "b", "a"), (9, 2, 1)), (("a", "b"), (3, 4)), (("new", "b", "a"), (7, 6, 5))
    for number, (names, bills) in enumerate(written, start=1):
        columns = {"ID": np.array(names, object), "BILL": np.array(bills)}
        write_table(month_file(tmp_path, "bank", number), columns)
    found = read_months(tmp_path, "bank", 3, 3)
    assert found.ids.tolist() == ["new", "b", "a"]
    assert found.known.tolist() == [[False, False, True], [True] * 3, [True] * 3]
    assert found.values["BILL"].tolist() == [[0, 0, 7], [2, 4, 6], [1, 3, 5]]
    # The same of a world, in which some come later.
    whole = read_months(world, "bank", LAST)
    latest = arrays(read_table(month_file(world, "bank", LAST - 3)))
    bills = dict(zip(latest["ID"].tolist(), latest["BILL"].tolist(), strict=True))
    assert whole.values["BILL"][:, -4].tolist() == [bills.get(one, 0) for one in whole.ids.tolist()]


def test_a_label_is_what_came_in_the_year_after_and_who_was_in_default_is_left_out(world):
    table = learning_table(world, "bank", LAST)
    then = LAST - OUTCOME_MONTHS
    late = {}
    for month in range(then, LAST + 1):
        one = arrays(read_table(month_file(world, "bank", month)))
        for name, behind in zip(one["ID"].tolist(), one["LATE"].tolist(), strict=True):
            late.setdefault(name, []).append(behind)
    for name, bad in zip(table["ID"].tolist(), table["DEFAULT"].tolist(), strict=True):
        assert len(late[name]) == OUTCOME_MONTHS + 1
        assert late[name][0] < DEFAULT_LATE
        assert bad == (max(late[name][1:]) >= DEFAULT_LATE)
    there = table_of_month(world, "bank", then)["ID"].tolist()
    assert set(there) - set(table["ID"].tolist()) == {
        name for name in there if late[name][0] >= DEFAULT_LATE
    }
    with pytest.raises(DataError, match="there are not 6 months"):
        learning_table(world, "bank", LAST - 1)
