"""The world over months: one seed, one world, whoever writes it; a limit is answered to."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clients.holdings import read_table
from clients.world import making
from clients.world.making import PART_BLOCKS, World, ids, live, make
from clients.world.records import HOLDERS
from shared.errors import EnvironmentFault, UsageError
from shared.world.chance import BLOCK, Span, luck, spans, stream
from shared.world.economy import ECONOMIES, SEASON, Economy, season
from shared.world.month import BEGINNING, NORMALS, UNIFORMS, begin, month
from shared.world.people import born
from shared.world.traits import FITTED

SPAN = Span(3, 3 * BLOCK, 3 * BLOCK + 2000)
CALM = ECONOMIES["calm"]


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def column(folder, holder, name):
    tables = [read_table(path) for path in sorted((folder / holder).glob("*.parquet"))]
    return np.concatenate([np.asarray(table.column(name).to_pylist()) for table in tables])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "made"
    make(out, World(4000, 8, seed=5))
    return out


def test_the_same_seed_gives_the_same_files_however_many_processes_write_them(tmp_path):
    world = World(PART_BLOCKS * BLOCK + 500, 2, seed=9)
    told = []
    alone = make(tmp_path / "one", world, tell=lambda *one: told.append(one))
    assert make(tmp_path / "two", world, processes=2) == alone
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert told == [(1, 2), (2, 2)]
    make(tmp_path / "other", replace(world, seed=10))
    assert files(tmp_path / "other") != files(tmp_path / "one")


def test_a_block_needs_no_other_block_and_a_larger_world_has_the_same_people():
    whole = list(live(Span(3, SPAN.start, SPAN.start + BLOCK), 1, 3, CALM))
    part = list(live(SPAN, 1, 3, CALM))
    for large, small in zip(whole, part, strict=True):
        for name in ("bill", "late", "shock"):
            both = (getattr(one.seen.after, name) for one in (large, small))
            every, some = both
            np.testing.assert_array_equal(every[: len(SPAN)], some)
    other = next(iter(live(replace(SPAN, block=4), 1, 1, CALM)))
    assert not np.array_equal(other.seen.people.cause, part[0].seen.people.cause)


def test_spans_are_whole_blocks_but_for_the_last():
    assert [len(span) for span in spans(2 * BLOCK + 5)] == [BLOCK, BLOCK, 5]
    assert list(spans(2 * BLOCK + 5, 2 * BLOCK)) == [Span(2, 2 * BLOCK, 2 * BLOCK + 5)]
    with pytest.raises(ValueError, match="first of a block"):
        list(spans(100, 7))
    for seed, block, number in ((-1, 0, 0), (2**64, 0, 0), (1, -1, 0), (1, 0, -1)):
        with pytest.raises(ValueError, match="64 bits"):
            stream(seed, block, number)


def test_every_holder_knows_its_share_and_nobody_twice_in_a_month(folder):
    everybody = set(ids(Span(0, 0, 4000), 5))
    assert len(everybody) == 4000
    for holder in HOLDERS:
        names, months = column(folder, holder, "ID"), column(folder, holder, "MONTH")
        known = set(names)
        assert known <= everybody
        assert 0.5 < len(known) / 4000 < 0.97, holder
        assert len(set(zip(names, months, strict=True))) == names.size
        # Thin files begin later, and whoever is known stays.
        first = dict(zip(names[::-1], months[::-1], strict=True))
        counts = dict(zip(*np.unique(names, return_counts=True), strict=True))
        assert all(counts[name] == 9 - first[name] for name in known)
        assert len(set(first.values())) > 1


def test_what_no_model_may_see_is_at_no_holder(folder):
    kept = set(read_table(folder / "people" / "part-00000.parquet").column_names)
    assert kept == {"ID", "AGE", "WOMAN", "BUSINESS"}
    for holder in HOLDERS:
        seen = set(read_table(folder / holder / "part-00000.parquet").column_names)
        assert seen & kept == {"ID"}
        assert min(column(folder, holder, name).min() for name in seen - {"ID", "BILL"}) >= 0


def test_amounts_of_different_holders_are_of_the_same_lives(folder):
    """A bill is the one before, less what was paid, and what was spent: at three holders."""
    rows = {}
    for holder, names in (("bank", ["BILL"]), ("payments", ["PAID"]), ("ecommerce", ["SPENT"])):
        table = pyarrow.parquet.read_table(folder / holder / "part-00000.parquet")
        keys = zip(table["ID"].to_pylist(), table["MONTH"].to_pylist(), strict=True)
        rows[holder] = dict(zip(keys, table[names[0]].to_pylist(), strict=True))
    checked = 0
    for (name, number), bill in rows["bank"].items():
        before = rows["bank"].get((name, number - 1))
        paid, spent = (rows[one].get((name, number)) for one in ("payments", "ecommerce"))
        if None not in (before, paid, spent):
            assert bill == before - paid + spent
            checked += 1
    assert checked > 10_000


def lived(limit_of, months=12):
    """Let the people of a block live with limits; return what happened, month by month."""
    people = born(SPAN, 1, FITTED)
    after = begin(people, luck(stream(1, 3, 1), len(SPAN), *BEGINNING), FITTED)
    found = []
    for number in range(1, months + 1):
        got = luck(stream(1, 3, number + 1), len(SPAN), UNIFORMS, NORMALS)
        after, happened = month(people, after, limit_of(people, number), got, FITTED)
        found.append((after, happened))
    return people, found


def test_a_cut_leaves_the_balance_raises_the_use_and_sends_people_elsewhere():
    people, calm = lived(lambda people, number: people.limit)
    _, cut = lived(lambda people, number: people.limit * (1.0 if number < 6 else 0.5))
    for before, after in zip(calm[:5], cut[:5], strict=True):
        np.testing.assert_array_equal(before[0].bill, after[0].bill)
    use = [after.bill.sum() / people.limit.sum() for after, _ in (calm[5], cut[5])]
    assert use[1] < use[0]
    assert use[1] / 0.5 > use[0]  # of the limit that is left
    assert cut[5][1].unmet.sum() > 2 * calm[5][1].unmet.sum()
    # Lateness is the same luck: what differs between two policies, the policies do.
    np.testing.assert_array_equal(calm[-1][0].late, cut[-1][0].late)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_more_limit_never_leaves_less_bill_nor_more_unmet(low, high):
    low, high = sorted((low, high))
    _, small = lived(lambda people, number: low * people.limit, months=4)
    _, large = lived(lambda people, number: high * people.limit, months=4)
    assert (small[0][1].unmet >= large[0][1].unmet).all()
    assert (small[0][0].bill <= large[0][0].bill).all()


def test_a_worse_economy_makes_more_people_late_and_nobody_earlier():
    def late(economy):
        return np.stack([one.seen.after.late > 0 for one in live(SPAN, 1, 6, economy)])

    calm, bad = late(CALM), late(Economy(swing=0.0, downturn_from=1, depth=1.0))
    assert bad[0].sum() > calm[0].sum()
    assert bad.mean() > 1.1 * calm.mean()
    assert not (calm[0] & ~bad[0]).any()


def test_a_downturn_comes_goes_and_a_year_has_its_seasons():
    economy = Economy(swing=0.0, downturn_from=3, downturn_months=4, depth=0.6)
    course = [economy.distress(number) for number in range(1, 13)]
    assert course == pytest.approx([0, 0, 0.15, 0.3, 0.45, 0.6, 0.45, 0.3, 0.15, 0, 0, 0])
    assert season(1) == season(13) == SEASON[0]
    assert np.mean(SEASON) == pytest.approx(1.0)


def test_a_folder_that_is_there_stays_and_a_full_disk_leaves_nothing(folder, tmp_path, monkeypatch):
    before = files(folder)
    with pytest.raises(UsageError, match="not empty"):
        make(folder, World(10, 1))
    assert files(folder) == before

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(making.pa.parquet, "write_table", full)
    with pytest.raises(EnvironmentFault, match="disk is full"):
        make(tmp_path / "new", World(10, 1))
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_a_world_and_says_how_many_rows(confide, tmp_path):
    out = tmp_path / "world"
    words = ("--customers", 300, "--months", 3, "--format", "json")
    status, said, _ = confide("world", "make", out, *words)
    assert status == 0
    assert f'"folder": "{out}"' in said
    assert Path(out / "world.toml").read_text() == (
        'customers = 300\nmonths = 3\nseed = 1\neconomy = "cycle"\n'
    )
    status, _, err = confide("world", "make", out)
    assert status == 2
    assert "not empty" in err


def test_people_are_an_array_a_trait():
    people = born(SPAN, 1, FITTED)
    assert {getattr(people, one.name).shape for one in fields(people)} == {(len(SPAN),)}
    some = people.only(people.business)
    assert 0 < len(some) < len(people)
    assert people.limit.min() >= 10_000
