"""A holder's columns from its months by numpy, Polars or DuckDB: one way, in a process of its own.

    python scripts/_column_ways.py WAY FOLDER LAST OUT.npz

`numpy` is the product's own code. The others do the same sums in their own words, and may have an
environment of their own: nothing of the product is imported for them. A way ends with a table in
memory in its own form. The second pass tells what the work takes, the first what a command waits.

In the others' words a customer is known to a holder without a gap, as everybody in the world is.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

COUNT, THIN, NOTHING = 6, 3, -1.0
HOLDERS = ("bank", "payments", "ecommerce", "bureau")
Table = Callable[[str], Any]

#: What DuckDB adds up for each customer of a holder, and what it makes of that. `k` is the number
#: of months; {last} and {before} are months, {thin} the earliest that a change looks at.
QUERIES: Mapping[str, tuple[str, str]] = {
    "bank": (
        """
        sum("LIMIT") FILTER (MONTH = {last}) AS now_limit,
        sum(BILL / greatest("LIMIT", 1)) FILTER (MONTH = {last}) AS now_use,
        coalesce(sum(BILL / greatest("LIMIT", 1)) FILTER (MONTH >= {before}), 0) AS late_use,
        coalesce(sum(BILL / greatest("LIMIT", 1)) FILTER (MONTH = {thin}), 0) AS thin_use,
        coalesce(sum(BILL) FILTER (MONTH < {last}), 0) AS owed,
        sum(REPAID) - arg_min(REPAID, MONTH) AS repaid,
        avg(INCOME) AS income, stddev_pop(INCOME) AS gap
        """,
        """
        now_limit AS BANK_LIMIT, round_even(now_use, 4) AS BANK_UTILISATION,
        CASE WHEN k < 3 THEN 'NaN' ELSE round_even(late_use / 2 - thin_use, 4) END
            AS BANK_UTILISATION_CHANGE,
        CASE WHEN owed > 0 THEN least(round_even(repaid / owed, 4), 3) ELSE -1 END
            AS BANK_REPAID_SHARE,
        round_even(income, 0) AS BANK_INCOME,
        CASE WHEN k < 3 OR income <= 0 THEN 'NaN' ELSE round_even(gap / income, 4) END
            AS BANK_INCOME_VARIATION
        """,
    ),
    "payments": (
        """
        avg(TRANSFERS) AS transfers, sum(FAILED) AS failed, avg(PAID) AS paid,
        sum(BILLS_LATE) AS late, sum(BILLS) AS bills
        """,
        """
        round_even(transfers, 2) AS WALLET_TRANSFERS, failed AS WALLET_FAILED,
        round_even(paid, 0) AS WALLET_REPAID,
        CASE WHEN bills > 0 THEN round_even(late / bills, 4) ELSE -1 END AS BILLS_LATE_SHARE
        """,
    ),
    "ecommerce": (
        """
        sum(ORDERS) AS orders, sum(RETURNS) AS returned, avg(SPENT) AS spend,
        sum(SPENT) FILTER (MONTH >= {before}) / 2 AS recent
        """,
        """
        orders AS SHOP_ORDERS, round_even(spend, 0) AS SHOP_SPEND,
        CASE WHEN k < 3 THEN 'NaN' WHEN spend > 0 THEN round_even(least(recent / spend, 10), 4)
            ELSE -1 END AS SHOP_SPEND_CHANGE,
        CASE WHEN orders > 0 THEN round_even(returned / orders, 4) ELSE -1 END AS SHOP_RETURN_SHARE
        """,
    ),
    "bureau": (
        """
        sum(BEHIND) FILTER (MONTH = {last}) AS now_behind, max(BEHIND) AS worst,
        count(*) FILTER (BEHIND > 0) AS months,
        sum(ENQUIRIES) FILTER (MONTH >= {thin}) AS enquiries,
        sum(LENDERS) FILTER (MONTH = {last}) AS lenders,
        sum(OTHER_DEBT) FILTER (MONTH = {last}) AS balance
        """,
        """
        now_behind AS CREDIT_ARREARS_NOW, worst AS CREDIT_ARREARS_WORST,
        months AS CREDIT_ARREARS_MONTHS, enquiries AS CREDIT_ENQUIRIES,
        lenders AS CREDIT_LENDERS, balance AS CREDIT_BALANCE
        """,
    ),
}


def main() -> int:
    """Do a way twice; print what it took, and write the columns of the second pass."""
    way, folder, last, out = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    table = WAYS[way](folder, last)
    before, passes = peak_mb(), []
    for _ in range(2):
        began, cpu = time.perf_counter(), time.process_time()
        tables = {holder: table(holder) for holder in HOLDERS}
        passes.append((time.perf_counter() - began, time.process_time() - cpu))
    told = {
        "version": version(way),
        "first_seconds": passes[0][0],
        "seconds": passes[1][0],
        "cpu_seconds": passes[1][1],
        "before_mb": before,
        "peak_mb": peak_mb(),
    }
    keep(out, tables)
    sys.stdout.write(json.dumps(told) + "\n")
    return 0


def by_numpy(folder: Path, last: int) -> Table:
    """Do as `confide world tables` does."""
    from clients.world.tables import table_of_month  # noqa: PLC0415

    return lambda holder: table_of_month(folder, holder, last)


def by_duckdb(folder: Path, last: int) -> Table:
    """Group the rows of all months by customer, in SQL."""
    import duckdb  # noqa: PLC0415 - may be absent

    link = duckdb.connect()
    link.execute(f"SET threads = {len(os.sched_getaffinity(0))}")
    months = {"last": last, "before": last - 1, "thin": last - THIN + 1}

    def table(holder: str) -> Any:
        folded, columns = QUERIES[holder]
        files = [str(path) for path in files_of(folder, holder, last)]
        query = f"""
            WITH folded AS (
                SELECT ID, count(*) AS k, {folded.format(**months)} FROM read_parquet({files})
                GROUP BY ID HAVING max(MONTH) = {last}
            ) SELECT ID, {columns} FROM folded
            """
        return link.sql(query).to_arrow_table()

    return table


def by_polars(folder: Path, last: int) -> Table:
    """Group the rows of all months by customer, lazily."""
    import polars as pl  # noqa: PLC0415 - may be absent

    words = Words(pl, last)

    def table(holder: str) -> Any:
        more, folded, columns = RECIPES[holder](words)
        months = pl.scan_parquet(files_of(folder, holder, last)).with_columns(more)
        latest = pl.col("MONTH").max()
        known = months.group_by("ID").agg(k=pl.len(), latest=latest, **folded)
        return known.filter(pl.col("latest") == last).select("ID", **columns).collect().to_dict()

    return table


@dataclass(frozen=True, slots=True)
class Words:
    """What the sums are said with in Polars.

    Parameters
    ----------
    pl : module
    last : int
        The latest month.
    """

    pl: Any
    last: int

    def since(self, column: str, first: int) -> Any:
        """Return the sum of a column from a month on."""
        return (self.pl.col(column) * (self.pl.col("MONTH") >= first)).sum()

    def share(self, part: str, whole: str) -> Any:
        there = (self.pl.col(part) / self.pl.col(whole)).round(4)
        return self.pl.when(self.pl.col(whole) > 0).then(there).otherwise(NOTHING)

    def unless(self, missing: Any, values: Any) -> Any:
        return self.pl.when(missing).then(float("nan")).otherwise(values.round(4))

    @property
    def thin(self) -> Any:
        return self.pl.col("k") < THIN


#: What is computed a month, added up a customer, and made of that.
Recipe = tuple[list[Any], dict[str, Any], dict[str, Any]]


def polars_bank(words: Words) -> Recipe:
    pl, last = words.pl, words.last
    month, income = pl.col("MONTH"), pl.col("income")
    use = (pl.col("BILL") / pl.max_horizontal(pl.col("LIMIT"), 1.0)).alias("USE")
    folded = {
        "limit": words.since("LIMIT", last),
        "use": words.since("USE", last),
        "recent": words.since("USE", last - 1),
        "early": (pl.col("USE") * (month == last - THIN + 1)).sum(),
        "owed": pl.col("BILL").sum() - words.since("BILL", last),
        "repaid": (pl.col("REPAID") * (month > month.min())).sum(),
        "income": pl.col("INCOME").mean(),
        "gap": pl.col("INCOME").std(ddof=0),
    }
    columns = {
        "BANK_LIMIT": pl.col("limit"),
        "BANK_UTILISATION": pl.col("use").round(4),
        "BANK_UTILISATION_CHANGE": words.unless(words.thin, pl.col("recent") / 2 - pl.col("early")),
        "BANK_REPAID_SHARE": pl.min_horizontal(words.share("repaid", "owed"), 3.0),
        "BANK_INCOME": income.round(),
        "BANK_INCOME_VARIATION": words.unless(words.thin | (income <= 0), pl.col("gap") / income),
    }
    return [use], folded, columns


def polars_payments(words: Words) -> Recipe:
    pl = words.pl
    folded = {
        "transfers": pl.col("TRANSFERS").mean(),
        "failed": pl.col("FAILED").sum(),
        "paid": pl.col("PAID").mean(),
        "late": pl.col("BILLS_LATE").sum(),
        "bills": pl.col("BILLS").sum(),
    }
    columns = {
        "WALLET_TRANSFERS": pl.col("transfers").round(2),
        "WALLET_FAILED": pl.col("failed"),
        "WALLET_REPAID": pl.col("paid").round(),
        "BILLS_LATE_SHARE": words.share("late", "bills"),
    }
    return [], folded, columns


def polars_ecommerce(words: Words) -> Recipe:
    pl, spend = words.pl, words.pl.col("spend")
    folded = {
        "orders": pl.col("ORDERS").sum(),
        "returned": pl.col("RETURNS").sum(),
        "spend": pl.col("SPENT").mean(),
        "recent": words.since("SPENT", words.last - 1) / 2,
    }
    change = pl.when(spend > 0).then(pl.min_horizontal(pl.col("recent") / spend, 10.0))
    columns = {
        "SHOP_ORDERS": pl.col("orders"),
        "SHOP_SPEND": spend.round(),
        "SHOP_SPEND_CHANGE": words.unless(words.thin, change.otherwise(NOTHING)),
        "SHOP_RETURN_SHARE": words.share("returned", "orders"),
    }
    return [], folded, columns


def polars_bureau(words: Words) -> Recipe:
    pl, last = words.pl, words.last
    folded = {
        "CREDIT_ARREARS_NOW": words.since("BEHIND", last),
        "CREDIT_ARREARS_WORST": pl.col("BEHIND").max(),
        "CREDIT_ARREARS_MONTHS": (pl.col("BEHIND") > 0).sum(),
        "CREDIT_ENQUIRIES": words.since("ENQUIRIES", last - THIN + 1),
        "CREDIT_LENDERS": words.since("LENDERS", last),
        "CREDIT_BALANCE": words.since("OTHER_DEBT", last),
    }
    return [], folded, {name: pl.col(name) for name in folded}


RECIPES: Mapping[str, Callable[[Words], Recipe]] = {
    "bank": polars_bank,
    "payments": polars_payments,
    "ecommerce": polars_ecommerce,
    "bureau": polars_bureau,
}
WAYS: Mapping[str, Callable[[Path, int], Table]] = {
    "numpy": by_numpy,
    "polars": by_polars,
    "duckdb": by_duckdb,
}


def files_of(folder: Path, holder: str, last: int) -> list[Path]:
    numbers = range(last - COUNT + 1, last + 1)
    return [folder / holder / f"month-{number:04d}.parquet" for number in numbers]


def peak_mb() -> float:
    """Return the largest resident set, MiB; what `getrusage` tells begins with the parent's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def keep(out: Path, tables: Mapping[str, Any]) -> None:
    """Write the columns of all holders, each holder's customers in the order of their ids."""
    import numpy as np  # noqa: PLC0415 - not before the others' memory is measured

    columns = {}
    for holder, table in tables.items():
        names = getattr(table, "column_names", None) or list(table.keys())
        arrays = {name: np.asarray(table[name]) for name in names}
        ids = arrays.pop("ID").astype("U13")
        order = np.argsort(ids)
        columns[f"{holder}/ID"] = ids[order]
        columns |= {name: np.asarray(one, np.float64)[order] for name, one in arrays.items()}
    np.savez(out, **columns)


if __name__ == "__main__":
    sys.exit(main())
