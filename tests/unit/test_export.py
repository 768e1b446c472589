"""Exports: what another system computes from them is what the party computes, row by row."""

from __future__ import annotations

import json
import sqlite3

import numpy as np
import pytest
import typer.testing

from clients.card.parts import Part, encode
from clients.holdings import arrays, read_table
from clients.party import Party
from clients.releases.export import card_json, export, part_json
from clients.releases.kept import load_release, own_release
from clients.releases.reader import score_row
from clients.releases.sql import part_sql
from server.releases.registry import Registry
from shared.contract import Contract, Feature, check_columns
from shared.errors import ConfideError, NotFound, UsageError
from shared.release import unpack_release
from shared.scorecard.card import Line
from shared.scorecard.columns import Floors, Summary
from shared.scorecard.planning import ColumnSettings, plan_blocks
from tests import releases
from tests.whole_runs import HOLDERS, build, column, train


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = build(tmp_path_factory.mktemp("exported"))
    return path, train(path)


def run(*arguments):
    """Run the command in this process; return what it printed."""
    app = typer.Typer()
    app.command()(export)
    result = typer.testing.CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def in_sqlite(query, columns, table="customers"):
    """Load columns into SQLite as they are, and return the rows of the query as dicts by id."""
    base = sqlite3.connect(":memory:")
    base.row_factory = sqlite3.Row
    names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
    base.execute(f'CREATE TABLE "{table}" ({names})')
    cells = zip(*(map(plain, values) for values in columns.values()), strict=True)
    marks = ", ".join("?" * len(columns))
    base.executemany(f'INSERT INTO "{table}" VALUES ({marks})', cells)
    found = base.execute(query).fetchall()
    return {row[0]: dict(row) for row in found}


def plain(value):
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


def rows_of(columns):
    return [
        dict(zip(columns, map(plain, cells), strict=True))
        for cells in zip(*columns.values(), strict=True)
    ]


# The real thing: every party of a trained federation, every row of its own tables.


@pytest.mark.parametrize("party", HOLDERS)
@pytest.mark.parametrize("table", ["train", "test"])
def test_sql_and_json_of_a_part_give_every_row_of_the_own_table_its_points(trained, party, table):
    path, _ = trained
    own = Party.load(path, party)
    _, part = own_release(own)
    columns = getattr(own, table)
    points = part.total(encode(part.plans, columns, np.arange(len(columns.ids)))).tolist()
    raw = arrays(read_table(path.parent / party / f"{table}.parquet"))
    found = in_sqlite(run("-f", path, "-p", party, "--as", "sql"), raw)
    assert [found[name]["points"] for name in columns.ids] == points
    card = json.loads(run("-f", path, "-p", party, "--as", "json"))
    assert [score_row(card, row) for row in rows_of(raw)] == points
    assert len(set(points)) > 3
    assert (card["kind"], card["parties"]) == ("scorecard-part", [party])


def test_joined_the_parts_give_the_totals_that_the_builder_opened(trained, monkeypatch):
    path, _ = trained
    totals = []

    def keep(party, run, found, *rest):
        totals.extend(found.tolist())
        return finish(party, run, found, *rest)

    from clients.card.builder import finish  # noqa: PLC0415

    monkeypatch.setattr("clients.card.builder.finish", keep)
    train(path, "second")
    card = json.loads(run("-f", path, "--as", "json", "--join"))
    assert (card["kind"], card["release"]) == ("scorecard-joined", "scorecard-0002")
    assert card["parties"] == list(HOLDERS)
    assert card["calibration"]["points"]
    bank = Party.load(path, "bank")
    ids = [bank.train.ids[row] for row in bank.store.load_array("second", "train_rows")]
    ids += [bank.test.ids[row] for row in bank.store.load_array("second", "test_rows")]
    people = dict.fromkeys(ids)
    for holder in HOLDERS:
        for table in ("train", "test"):
            for row in rows_of(arrays(read_table(path.parent / holder / f"{table}.parquet"))):
                if row["ID"] in people:
                    people[row["ID"]] = (people[row["ID"]] or {}) | row
    assert [score_row(card, people[name]) for name in ids] == totals


def test_the_whole_card_has_every_point_and_no_edge(trained):
    path, outcome = trained
    release = unpack_release(outcome["release"]["bank"]["release"])
    now = Party.load(path, "bank").store.now()
    Registry(path.parent / "releases").take(release, Party.load(path, "bank").federation, now)
    text = run("-f", path, "--release", "scorecard-0001", "--as", "json")
    card = json.loads(text)
    assert card == json.loads(json.dumps(card_json(release.manifest)))
    signed = release.manifest.card
    assert [tuple(line["points"]) for line in card["lines"]] == [
        line.points for line in signed.lines
    ]
    assert [Line(**tupled(line)) for line in card["lines"]] == list(signed.lines)
    assert "edges" not in text
    part = run("-f", path, "-p", "payments", "--as", "json")
    assert '"edges"' in part  # the control


def tupled(line):
    return {key: tuple(value) if isinstance(value, list) else value for key, value in line.items()}


def test_a_part_goes_into_a_file_under_another_tables_name(trained, tmp_path):
    path, _ = trained
    out = tmp_path / "part.sql"
    assert run("-f", path, "-p", "bureau", "--as", "sql", "--table", 'a "b"', "--out", out) == ""
    assert 'FROM "a ""b"""' in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("--as", "sql"), UsageError),
        (("--as", "json", "--join", "-p", "bank"), UsageError),
        (("--as", "json", "-p", "bank", "--release", "scorecard-0099"), NotFound),
        (("--as", "json", "-p", "bank", "--release", "../x"), NotFound),
        (("--as", "json", "-p", "nobody"), ConfideError),
    ],
)
def test_what_cannot_be_exported_is_refused(trained, arguments, kind):
    with pytest.raises(kind):
        run("-f", trained[0], *arguments)


def test_a_part_of_other_points_than_those_signed_is_not_exported(trained, tmp_path):
    path, _ = trained
    own = Party.load(path, "payments")
    file = own.store.run_path("first", "part.json")
    kept = file.read_text()
    value = json.loads(kept)
    value["blocks"][0]["points"][0] += 1
    try:
        file.write_text(json.dumps(value))
        with pytest.raises(ConfideError, match="other points than its part"):
            own_release(own, "scorecard-0001")
    finally:
        file.write_text(kept)
    own_release(own, "scorecard-0001")
    assert load_release(own.releases, "scorecard-0001").manifest.run == "first"
    assert column(path.parent / "payments/train.parquet", "ID")


# Every kind of block: missing and special codes with and without a bin, pairs, summaries.

CONTRACT = Contract(
    name="toy",
    version=1,
    id_column="ID",
    label_column="BAD",
    label_owner="bank",
    positive=1,
    features=(
        Feature("A", "shop", "integer", special=(-1.0, -2.0), missing=(-9.0,)),
        Feature("B", "shop", "number", special=(-1.0,)),
        Feature("C", "shop", "number", missing=(-5.5,)),
        Feature('odd "name"', "shop", "number"),
        Feature("KIND", "shop", "category", levels=("x", "it's", "z", "rare"), missing=("?",)),
    ),
    summaries=tuple(
        Summary(f"{kind}_{relation or 'plain'}", kind, ("A", "B", "C"), relation, other)
        for kind in ("mean", "max", "min", "sum")
        for relation, other in (("", ""), ("minus", 'odd "name"'), ("over", "C"))
    ),
)


def toy(seed, n=600, *, rare=0.1):
    """Return raw columns with every code there is, some rare and some common."""
    rng = np.random.default_rng(seed)

    def mixed(values, *codes):
        for code, share in codes:
            values = np.where(rng.random(n) < share, code, values)
        return values

    number = rng.normal(0, 30, n)
    return {
        "ID": np.array([f"C{row}" for row in range(n)], dtype=object),
        "A": mixed(rng.integers(0, 40, n).astype(float), (-1, 0.2), (-2, rare / 10), (-9, 0.1)),
        "B": mixed(number, (-1, rare), (np.nan, rare / 20)),
        "C": mixed(np.round(number + rng.normal(0, 1, n), 1), (-5.5, 0.15), (0.0, 0.05)),
        'odd "name"': rng.exponential(1 / 3, n),
        "KIND": rng.choice(
            ["x", "it's", "z", "rare", "?", ""], n, p=[0.4, 0.3, 0.15, 0.05, 0.05, 0.05]
        ),
    }


@pytest.mark.parametrize("seed", range(6))
def test_every_kind_of_bin_survives_sql_and_json_also_on_rows_never_seen(seed):
    raw = toy(seed, rare=0.02 if seed % 2 else 0.2)
    columns = check_columns(CONTRACT, "shop", raw, with_label=False, source="toy")
    settings = ColumnSettings(
        thresholds=6, floors=Floors(rows=15, share=0.0), summaries=CONTRACT.summaries
    )
    plans = plan_blocks("shop", CONTRACT.of("shop"), columns.values, settings, with_pairs=True)
    rng = np.random.default_rng(seed)
    points = tuple(rng.integers(-9, 10, plan.n_atoms) * rng.integers(0, 2) for plan in plans)
    part = Part(plans, points)
    kinds = {type(plan.bins).__name__ for plan in plans} | {
        "Summary" for plan in plans if plan.summary
    }
    assert kinds == {"Axis", "Levels", "Cells", "Summary"}
    lines = tuple(
        Line("shop", plan.features, "R", ("b",) * plan.n_atoms, tuple(own.tolist()), (), 0.0)
        for plan, own in zip(plans, points, strict=True)
    )
    manifest = releases.manifest()
    object.__setattr__(manifest.card, "lines", lines)
    query = part_sql(manifest, "shop", part, CONTRACT)
    card = json.loads(json.dumps(part_json(manifest, CONTRACT, {"shop": part})))
    for table in (raw, toy(seed + 100, rare=0.3)):
        seen = check_columns(CONTRACT, "shop", table, with_label=False, source="toy")
        wanted = part.total(encode(plans, seen, np.arange(len(seen.ids)))).tolist()
        found = in_sqlite(query, table)
        assert [found[name]["points"] for name in seen.ids] == wanted
        assert [score_row(card, row) for row in rows_of(table)] == wanted


def test_a_level_that_the_card_does_not_know_has_no_points_in_sql_and_is_an_error_in_json():
    raw = toy(1)
    columns = check_columns(CONTRACT, "shop", raw, with_label=False, source="toy")
    plans = plan_blocks(
        "shop",
        CONTRACT.of("shop")[4:],
        columns.values,
        ColumnSettings(floors=Floors(rows=15, share=0.0)),
        with_pairs=False,
    )
    part = Part(plans, tuple(np.arange(plan.n_atoms) + 1 for plan in plans))
    manifest = releases.manifest()
    own = tuple(part.points[0].tolist())
    line = Line("shop", ("KIND",), "R", ("b",) * len(own), own, (), 1.0)
    object.__setattr__(manifest.card, "lines", (line,))
    strange = {name: values[:2].copy() for name, values in raw.items()}
    strange["KIND"][:] = "new", "x"
    found = in_sqlite(part_sql(manifest, "shop", part, CONTRACT), strange)
    assert [row["points"] is None for row in found.values()] == [True, False]
    card = part_json(manifest, CONTRACT, {"shop": part})
    with pytest.raises(KeyError):
        score_row(card, rows_of(strange)[0])


def test_a_part_without_points_gives_everybody_none():
    raw = toy(2)
    columns = check_columns(CONTRACT, "shop", raw, with_label=False, source="toy")
    plans = plan_blocks(
        "shop",
        CONTRACT.of("shop"),
        columns.values,
        ColumnSettings(floors=Floors(rows=15, share=0.0)),
        with_pairs=False,
    )
    part = Part(plans, tuple(np.zeros(plan.n_atoms, dtype=np.int64) for plan in plans))
    found = in_sqlite(part_sql(releases.manifest(), "shop", part, CONTRACT), raw)
    assert {row["points"] for row in found.values()} == {0}
    assert len(found) == len(columns.ids)
